//! The privacy gate: what is removed here is never written anywhere.

/// `privacy.ipAddress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpAddressPolicy {
    /// The address stays as it is.
    Keep,
    /// IPv4 to /24, IPv6 to /48.
    #[default]
    Truncate,
    /// No address is kept.
    Remove,
}
