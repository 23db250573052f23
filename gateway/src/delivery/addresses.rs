//! Which addresses a vendor's name may lead to. Whoever may create a Destination must not reach what only the gateway's
//! network can reach, so private targets are refused when connecting, after DNS, not when the URL is written.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Which addresses outgoing calls may connect to.
#[derive(Clone, Debug, Default)]
pub enum AddressPolicy {
    /// Every address: file mode.
    #[default]
    AllowAll,
    /// Public addresses, and these private ranges: in a cluster, with `--allowed-private-destinations`.
    PublicOnly(Arc<[IpNet]>),
    /// Every address but those at which clouds answer a machine's questions about itself, its credentials among them: what
    /// whoever runs the cluster names, such as its collector of traces, which usually has a private address.
    NoMetadataServer,
}

impl AddressPolicy {
    /// Whether a connection to this address is allowed.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        match self {
            Self::AllowAll => true,
            Self::PublicOnly(allowed) => {
                let address = address.to_canonical();
                is_public(address) || allowed.iter().any(|range| range.contains(&address))
            }
            Self::NoMetadataServer => !is_metadata_server(address.to_canonical()),
        }
    }

    /// Whether a URL's scheme may be used: in a cluster https only. Cleartext is for what runs beside the gateway, so it
    /// needs an address, written as such, in one of the private ranges allowed; a name could lead anywhere.
    #[must_use]
    pub fn allows_scheme_of(&self, url: &Url) -> bool {
        let Self::PublicOnly(allowed) = self else { return true };
        let in_range = |address: IpAddr| {
            let address = address.to_canonical();
            allowed.iter().any(|range| range.contains(&address))
        };
        match (url.scheme(), url.host()) {
            ("https", _) => true,
            (_, Some(Host::Ipv4(address))) => in_range(address.into()),
            (_, Some(Host::Ipv6(address))) => in_range(address.into()),
            _ => false,
        }
    }

    /// Whether a URL's host may be asked for at all: an address in it never passes the resolver, so it is judged here.
    #[must_use]
    pub fn allows_host_of(&self, url: &Url) -> bool {
        match url.host() {
            Some(Host::Ipv4(address)) => self.allows(address.into()),
            Some(Host::Ipv6(address)) => self.allows(address.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        }
    }
}

/// Whether a metadata server may be there: link-local addresses, and those in a private range that AWS and Google Cloud
/// took for it (<https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>,
/// <https://cloud.google.com/compute/docs/metadata/querying-metadata>).
fn is_metadata_server(address: IpAddr) -> bool {
    const AWS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const GOOGLE: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == AWS || address == GOOGLE,
    }
}

/// Whether the address is one of the public internet (IANA special-purpose registries, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || (a == 198 && (18..20).contains(&b)) // benchmarking, RFC 2544
        || a >= 240) // reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded = |high: u16, low: u16| {
        let [p, q] = high.to_be_bytes();
        let [r, s] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(p, q, r, s))
    };
    match (a, b) {
        // NAT64 and 6to4 carry an IPv4 address that is what is reached in the end.
        (0x64, 0xff9b) if (c, d, e, f) == (0, 0, 0, 0) => embedded(g, h),
        (0x2002, _) => embedded(b, c),
        // Documentation, benchmarking and other protocol assignments.
        (0x2001, 0..=0x1ff | 0xdb8) => false,
        // Global unicast is 2000::/3; all else is unspecified, loopback, mapped, unique local, link-local, multicast.
        _ => (0x2000..0x4000).contains(&a),
    }
}

/// Resolves names by the system and leaves out addresses that the policy refuses.
#[derive(Clone, Debug)]
pub(super) struct GuardedResolver(pub(super) AddressPolicy);

/// What the resolver says when nothing allowed is left.
#[derive(Debug, thiserror::Error)]
enum NotAllowed {
    #[error(
        "{0} resolves to a private, loopback, link-local or shared address only, which destinations may not reach; \
         --allowed-private-destinations allows ranges"
    )]
    Private(String),
    #[error("{0} resolves to a link-local address only, where metadata servers are")]
    MetadataServer(String),
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| policy.allows(address.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(match policy {
                    AddressPolicy::NoMetadataServer => NotAllowed::MetadataServer(host).into(),
                    AddressPolicy::AllowAll | AddressPolicy::PublicOnly(_) => NotAllowed::Private(host).into(),
                });
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn public_only(allowed: &[&str]) -> AddressPolicy {
        AddressPolicy::PublicOnly(allowed.iter().map(|range| range.parse().unwrap()).collect())
    }

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        let policy = public_only(&[]);
        for address in [
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.9",
            "::",
            "::1",
            "::ffff:10.1.2.3",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "64:ff9b::7f00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(!policy.allows(address.parse().unwrap()), "{address}");
            assert!(AddressPolicy::AllowAll.allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn public_addresses_pass() {
        for address in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2a00:1450:4001:80e::200e",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(public_only(&[]).allows(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn the_operators_list_allows_private_ranges() {
        let policy = public_only(&["10.96.0.0/12", "fd00::/8"]);
        assert!(policy.allows("10.96.5.5".parse().unwrap()));
        assert!(policy.allows("::ffff:10.96.5.5".parse().unwrap()));
        assert!(policy.allows("fd00::7".parse().unwrap()));
        assert!(!policy.allows("10.1.0.1".parse().unwrap()));
    }

    #[test]
    fn an_address_in_the_url_is_judged_without_dns() {
        let policy = public_only(&[]);
        for url in [
            "http://127.0.0.1/",
            "http://[::1]:8080/",
            "http://2130706433/",
            "http://0x7f.1/",
        ] {
            assert!(!policy.allows_host_of(&url.parse().unwrap()), "{url}");
        }
        assert!(policy.allows_host_of(&"https://8.8.8.8/".parse().unwrap()));
        assert!(policy.allows_host_of(&"https://vendor.example/".parse().unwrap()));
    }

    #[test]
    fn cleartext_is_for_addresses_in_the_operators_list_only() {
        let policy = public_only(&["10.96.0.0/12", "fd00::/8"]);
        for url in ["http://10.96.0.7:8085/", "http://[fd00::7]/", "https://vendor.example/"] {
            assert!(policy.allows_scheme_of(&url.parse().unwrap()), "{url}");
        }
        for url in ["http://10.1.0.1/", "http://8.8.8.8/", "http://emulator.shop.svc/"] {
            assert!(!policy.allows_scheme_of(&url.parse().unwrap()), "{url}");
            assert!(AddressPolicy::AllowAll.allows_scheme_of(&url.parse().unwrap()), "{url}");
        }
    }

    #[test]
    fn a_collector_may_be_anywhere_but_at_a_metadata_server() {
        let policy = AddressPolicy::NoMetadataServer;
        for url in [
            "http://otel.observability:4318/",
            "http://10.96.0.7:4318/",
            "http://[fd00::7]/",
            "http://127.0.0.1/",
        ] {
            let url = url.parse().unwrap();
            assert!(policy.allows_host_of(&url) && policy.allows_scheme_of(&url), "{url}");
        }
        for url in [
            "http://169.254.169.254/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[fd00:ec2::254]/",
            "http://[fd20:ce::254]/",
        ] {
            assert!(!policy.allows_host_of(&url.parse().unwrap()), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_refused_after_dns() {
        let refused = GuardedResolver(public_only(&[]))
            .resolve("localhost".parse().unwrap())
            .await;
        assert!(refused.err().unwrap().to_string().contains("private"));
        let allowed = GuardedResolver(public_only(&["127.0.0.0/8", "::1/128"]))
            .resolve("localhost".parse().unwrap())
            .await;
        assert!(allowed.is_ok());
    }
}
