//! The privacy gate: what is removed here is never written anywhere, log and destinations alike.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    event::{Event, field},
    ingest::visitor::text_of,
};

/// `privacy.ipAddress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpAddressPolicy {
    /// The address stays as it is.
    Keep,
    /// IPv4 keeps its first 24 bits, IPv6 its first 48.
    #[default]
    Truncate,
    /// No address is kept.
    Remove,
}

impl IpAddressPolicy {
    /// What may be kept of an address.
    #[must_use]
    pub fn apply(self, address: IpAddr) -> Option<IpAddr> {
        match self {
            Self::Keep => Some(address),
            Self::Truncate => Some(truncate(address)),
            Self::Remove => None,
        }
    }
}

/// Where an event may hold the visitor's address: the client's own field, and a custom parameter of that name, which
/// ingest keeps beside it.
const ADDRESS_FIELDS: [&str; 2] = [field::IP_OVERRIDE, "x_ip_override"];

/// Applies the policy to the event's addresses. Text that is no address could be anything and goes, unless all is kept.
pub fn guard_ip_address(event: &mut Event<'_>, policy: IpAddressPolicy) {
    if policy == IpAddressPolicy::Keep {
        return;
    }
    for name in ADDRESS_FIELDS {
        let Some(value) = event.fields_mut().get_mut(name) else {
            continue;
        };
        let address = value.as_str().and_then(|text| text.trim().parse().ok());
        match address.and_then(|address| policy.apply(address)) {
            Some(kept) => *value = text_of(kept).into(),
            None => drop(event.remove(name)),
        }
    }
}

/// The usual anonymisation: /24 and /48. An IPv4 address in IPv6's clothes is an IPv4 address.
fn truncate(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(policy: IpAddressPolicy, address: &str) -> Option<String> {
        let mut event = Event::new();
        event.set(field::IP_OVERRIDE, address.to_owned());
        guard_ip_address(&mut event, policy);
        event.text(field::IP_OVERRIDE).map(str::to_owned)
    }

    #[test]
    fn a_custom_parameter_is_no_way_around_the_policy() {
        let mut event = Event::new();
        event.set("x_ip_override", "203.0.113.77");
        guard_ip_address(&mut event, IpAddressPolicy::Truncate);
        assert_eq!(event.text("x_ip_override"), Some("203.0.113.0"));
    }

    #[test]
    fn an_address_is_truncated_removed_or_kept_as_the_policy_says() {
        for (policy, address, kept) in [
            (IpAddressPolicy::Truncate, "203.0.113.77", Some("203.0.113.0")),
            (IpAddressPolicy::Truncate, "2001:db8:1:2:3:4:5:6", Some("2001:db8:1::")),
            (IpAddressPolicy::Truncate, "::ffff:203.0.113.77", Some("203.0.113.0")),
            (IpAddressPolicy::Truncate, "jane@shop.example", None),
            (IpAddressPolicy::Remove, "203.0.113.77", None),
            (IpAddressPolicy::Keep, "203.0.113.77", Some("203.0.113.77")),
        ] {
            assert_eq!(after(policy, address).as_deref(), kept, "{policy:?} {address}");
        }
    }
}
