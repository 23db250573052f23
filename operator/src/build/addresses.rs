//! Addresses and ports that a fleet's pods may reach.

use std::collections::BTreeSet;

use k8s_openapi::api::networking::v1::{IPBlock, NetworkPolicyPeer};
use tagfleet_crds::{
    DestinationSpec,
    destination::Vendor,
    tagging_container::{BufferKind, Otlp},
};
use url::Url;

use crate::fleet::Fleet;

/// IPv4 outside the public internet (IANA special-purpose registry, RFC 6890): what a gateway refuses to connect to.
const SPECIAL_V4: [&str; 14] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
];
/// IPv6 outside the public internet. NAT64 (`64:ff9b::/96`) stays in: a cluster with IPv6 only reaches vendors by it, and
/// no private address may be put into that prefix (RFC 6052, 3.1).
const SPECIAL_V6: [&str; 10] = [
    "::/128",
    "::1/128",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];
/// The port of https.
const HTTPS: u16 = 443;
/// The port of NATS where its URL names none.
const NATS: u16 = 4222;

/// The public internet.
pub(super) fn public() -> Vec<NetworkPolicyPeer> {
    vec![block("0.0.0.0/0", &SPECIAL_V4), block("::/0", &SPECIAL_V6)]
}

/// Every address but the link-local ones, where a cloud's metadata server gives away the node's credentials.
pub(super) fn all_but_link_local() -> Vec<NetworkPolicyPeer> {
    vec![block("0.0.0.0/0", &["169.254.0.0/16"]), block("::/0", &["fe80::/10"])]
}

/// A range without parts of it.
pub(super) fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: (!except.is_empty()).then(|| except.iter().map(|&range| range.to_owned()).collect()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

/// The ports of the destinations in force: that of https, and those that their URLs name.
pub(super) fn destination_ports(fleet: &Fleet) -> BTreeSet<u16> {
    let named = fleet
        .destinations
        .values()
        .filter_map(|destination| url_of(&destination.spec))
        .filter_map(port_of);
    named.chain([HTTPS]).collect()
}

/// The port of the OpenTelemetry collector.
pub(super) fn collector_port(fleet: &Fleet) -> Option<u16> {
    let Otlp { endpoint, .. } = fleet.container.spec.telemetry.as_ref()?.otlp.as_ref()?;
    port_of(endpoint)
}

/// The ports of the NATS servers.
pub(super) fn nats_ports(fleet: &Fleet) -> BTreeSet<u16> {
    let Some(BufferKind::JetStream(stream)) = fleet.container.spec.effective_buffer().kind() else {
        return BTreeSet::new();
    };
    nats_servers(&stream.url)
}

fn nats_servers(url: &str) -> BTreeSet<u16> {
    url.split(',')
        .map(|server| {
            server
                .rsplit_once(':')
                .and_then(|(_, port)| port.parse().ok())
                .unwrap_or(NATS)
        })
        .collect()
}

/// Whether a destination takes the pod's own identity at Google, which the metadata server gives out.
pub(super) fn takes_google_identity(fleet: &Fleet) -> bool {
    fleet
        .destinations
        .values()
        .any(|destination| match destination.spec.vendor() {
            Some(Vendor::PubSub(block)) => block.credentials.is_none(),
            Some(Vendor::BigQuery(block)) => block.credentials.is_none(),
            _ => false,
        })
}

/// Where the events of a destination go; none where it is the vendor's usual host.
fn url_of(destination: &DestinationSpec) -> Option<&str> {
    let vendor = destination.vendor()?;
    match vendor {
        Vendor::Webhook(block) => Some(block.endpoint.as_deref().unwrap_or(&block.url)),
        other => other.common().endpoint,
    }
}

fn port_of(url: &str) -> Option<u16> {
    Url::parse(url).ok()?.port_or_known_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use ipnet::IpNet;

    use super::*;

    #[test]
    fn a_range_is_left_out_of_one_that_holds_it() {
        let (v4, v6): (IpNet, IpNet) = ("0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap());
        for range in SPECIAL_V4 {
            let parsed: IpNet = range.parse().unwrap();
            assert!(v4.contains(&parsed) && parsed.trunc().to_string() == range, "{range}");
        }
        for range in SPECIAL_V6 {
            let parsed: IpNet = range.parse().unwrap();
            assert!(v6.contains(&parsed) && parsed.trunc().to_string() == range, "{range}");
        }
    }

    #[test]
    fn the_metadata_server_is_not_public() {
        let metadata: std::net::IpAddr = "169.254.169.254".parse().unwrap();
        let left_out = |ranges: &[&str]| ranges.iter().any(|it| it.parse::<IpNet>().unwrap().contains(&metadata));
        assert!(left_out(&SPECIAL_V4));
    }

    #[test]
    fn the_port_of_nats_is_the_urls_or_the_usual_one() {
        for (url, numbers) in [
            ("nats://nats.messaging", vec![4222]),
            ("tls://nats.messaging:4333", vec![4333]),
            ("nats://[fd00::1]:4444", vec![4444]),
            ("nats://a:4222,b:4333", vec![4222, 4333]),
        ] {
            assert_eq!(nats_servers(url), numbers.into_iter().collect(), "{url}");
        }
    }

    #[test]
    fn the_port_of_a_url_is_that_of_its_scheme_where_it_names_none() {
        for (url, number) in [
            ("https://a.example/hook", Some(443)),
            ("https://a.example:8443", Some(8443)),
            ("http://otel:4318", Some(4318)),
            ("http://otel", Some(80)),
            ("no url", None),
        ] {
            assert_eq!(port_of(url), number, "{url}");
        }
    }
}
