//! NetworkPolicy `<name>-gateway`: who reaches the pods, and what they reach.
//!
//! A second line of defence: a gateway itself refuses to connect to private addresses, after DNS.

use std::{collections::BTreeSet, net::SocketAddr};

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;
use tagfleet_crds::tagging_container::NetworkPolicy;

use super::{addresses, child, labels, metadata, names, ports};
use crate::{
    child::{Child, ChildKind, NAME},
    fleet::Fleet,
};

/// The name of the operator's pods (`app.kubernetes.io/name`), as the chart gives it.
const OPERATOR: &str = "tagfleet-operator";
/// The label that every namespace has: its name.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// None with `networkPolicy.enabled: false`.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let wanted = fleet.container.spec.network_policy.clone().unwrap_or_default();
    if !wanted.enabled {
        return Vec::new();
    }
    let spec = NetworkPolicySpec {
        pod_selector: Some(labels::selector(&fleet.name)),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(ingress(fleet, &wanted)),
        egress: Some(egress(fleet, wanted)),
    };
    let metadata = metadata::of(fleet, names::gateway(&fleet.name));
    vec![child(ChildKind::NetworkPolicy, metadata, json!({"spec": spec}))]
}

/// The public port from anywhere or from whom is named; the admin port from the operator, the own pods, and whoever
/// monitors. The kubelet's probes come from the node, which no policy keeps out.
fn ingress(fleet: &Fleet, wanted: &NetworkPolicy) -> Vec<NetworkPolicyIngressRule> {
    let operator = fleet.settings.operator_namespace.as_deref().map(operator);
    let own = NetworkPolicyPeer {
        pod_selector: Some(labels::selector(&fleet.name)),
        ..NetworkPolicyPeer::default()
    };
    let admin = operator
        .into_iter()
        .chain([own])
        .chain(wanted.monitoring.iter().cloned());
    vec![
        NetworkPolicyIngressRule {
            from: (!wanted.ingress.is_empty()).then(|| wanted.ingress.clone()),
            ports: Some(tcp([ports::HTTP])),
        },
        NetworkPolicyIngressRule {
            from: Some(admin.collect()),
            ports: Some(tcp([ports::ADMIN])),
        },
    ]
}

/// The operator's pods in the operator's namespace.
fn operator(namespace: &str) -> NetworkPolicyPeer {
    let label = |name: &str, value: &str| labels::matching([(name.to_owned(), value.to_owned())].into());
    NetworkPolicyPeer {
        namespace_selector: Some(label(NAMESPACE_NAME, namespace)),
        pod_selector: Some(label(NAME.0, OPERATOR)),
        ip_block: None,
    }
}

fn egress(fleet: &Fleet, wanted: NetworkPolicy) -> Vec<NetworkPolicyEgressRule> {
    let rules = [
        Some(dns()),
        Some(api_server(fleet)),
        Some(to(addresses::public(), addresses::destination_ports(fleet))),
        allowed_private(fleet),
        nats(fleet),
        collector(fleet),
    ];
    rules
        .into_iter()
        .flatten()
        .chain(metadata_server(fleet))
        .chain(wanted.egress)
        .collect()
}

/// Wherever it is: a Service, a cache on the node's link-local address, or a server outside.
fn dns() -> NetworkPolicyEgressRule {
    let port = |protocol: &str| NetworkPolicyPort {
        port: Some(IntOrString::Int(53)),
        protocol: Some(protocol.to_owned()),
        end_port: None,
    };
    NetworkPolicyEgressRule {
        to: None,
        ports: Some(vec![port("UDP"), port("TCP")]),
    }
}

/// No selector reaches the API server: it is no pod, or one on the host's network, and its addresses are the provider's to
/// choose. Where the operator knows them they alone are open; else the ports that API servers have, everywhere but on
/// link-local addresses.
fn api_server(fleet: &Fleet) -> NetworkPolicyEgressRule {
    let known = &fleet.settings.api_server;
    if known.is_empty() {
        return to(addresses::all_but_link_local(), [443, 6443]);
    }
    let hosts: BTreeSet<_> = known.iter().map(|address| IpNet::from(address.ip())).collect();
    to(
        hosts
            .iter()
            .map(|host| addresses::block(&host.to_string(), &[]))
            .collect(),
        known.iter().map(SocketAddr::port).collect::<BTreeSet<_>>(),
    )
}

/// The private ranges that the operator's settings open to destinations.
fn allowed_private(fleet: &Fleet) -> Option<NetworkPolicyEgressRule> {
    let ranges: BTreeSet<_> = fleet
        .settings
        .allowed_private_destinations
        .iter()
        .map(IpNet::trunc)
        .collect();
    let peers: Vec<_> = ranges
        .iter()
        .map(|range| addresses::block(&range.to_string(), &[]))
        .collect();
    (!peers.is_empty()).then(|| to(peers, addresses::destination_ports(fleet)))
}

/// A host's name is no selector: the port is open to every pod and address.
fn nats(fleet: &Fleet) -> Option<NetworkPolicyEgressRule> {
    let numbers = addresses::nats_ports(fleet);
    (!numbers.is_empty()).then(|| anywhere(numbers))
}

/// As with NATS.
fn collector(fleet: &Fleet) -> Option<NetworkPolicyEgressRule> {
    addresses::collector_port(fleet).map(|number| anywhere([number]))
}

/// Google's metadata server, and that of GKE's Workload Identity, which takes its place
/// (<https://cloud.google.com/kubernetes-engine/docs/how-to/network-policy#network-policy-and-workload-identity>).
fn metadata_server(fleet: &Fleet) -> Vec<NetworkPolicyEgressRule> {
    if !addresses::takes_google_identity(fleet) {
        return Vec::new();
    }
    vec![
        to(vec![addresses::block("169.254.169.254/32", &[])], [80]),
        to(vec![addresses::block("169.254.169.252/32", &[])], [988]),
    ]
}

fn to(peers: Vec<NetworkPolicyPeer>, numbers: impl IntoIterator<Item = u16>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(peers),
        ports: Some(tcp(numbers)),
    }
}

fn anywhere(numbers: impl IntoIterator<Item = u16>) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: None,
        ports: Some(tcp(numbers)),
    }
}

fn tcp(numbers: impl IntoIterator<Item = u16>) -> Vec<NetworkPolicyPort> {
    numbers
        .into_iter()
        .map(|number| NetworkPolicyPort {
            port: Some(IntOrString::Int(number.into())),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        })
        .collect()
}
