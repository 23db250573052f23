//! The pods on the node, and which of them, or which addresses, a rule names.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::{
    api::{
        core::v1::{Container, Pod},
        networking::v1::{IPBlock, NetworkPolicyPeer},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    ResourceExt as _,
    core::{Selector, SelectorExt as _},
};

use super::{Observed, Peer};

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// As a policy or a container's port says it; TCP unless it is said.
    pub(super) fn parse(name: Option<&str>) -> Result<Self, String> {
        match name {
            None | Some("TCP") => Ok(Self::Tcp),
            Some("UDP") => Ok(Self::Udp),
            Some("SCTP") => Ok(Self::Sctp),
            Some(other) => Err(format!("protocol {other}")),
        }
    }
}

/// A pod with an address on the pods' network.
pub(super) struct PodOnNode<'a> {
    pub(super) namespace: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) address: Ipv4Addr,
    namespace_labels: Option<&'a BTreeMap<String, String>>,
    pod: &'a Pod,
}

impl PodOnNode<'_> {
    /// The numbers of its ports of that name.
    pub(super) fn ports_named(&self, name: &str, protocol: Protocol) -> impl Iterator<Item = u16> {
        let spec = self.pod.spec.iter();
        let containers = spec.flat_map(|spec| spec.containers.iter().chain(sidecars(spec.init_containers.as_deref())));
        let ports = containers.flat_map(|container| container.ports.iter().flatten());
        ports
            .filter(move |port| {
                port.name.as_deref() == Some(name) && Protocol::parse(port.protocol.as_deref()) == Ok(protocol)
            })
            .filter_map(|port| u16::try_from(port.container_port).ok())
    }
}

fn sidecars(init: Option<&[Container]>) -> impl Iterator<Item = &Container> {
    let init = init.unwrap_or_default().iter();
    init.filter(|container| container.restart_policy.as_deref() == Some("Always"))
}

/// Pods that have an address of their own: not those on the node's network, of which policies say nothing, and not those that
/// ended, whose address may be another pod's.
pub(super) fn pods_on_node(observed: &Observed) -> Vec<PodOnNode<'_>> {
    let namespaces: BTreeMap<_, _> = observed
        .namespaces
        .iter()
        .map(|namespace| (namespace.name_any(), namespace.labels()))
        .collect();
    let on_node = observed.pods.iter().filter_map(|pod| {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let on_host_network = pod.spec.as_ref()?.host_network == Some(true);
        if on_host_network || matches!(phase, Some("Succeeded" | "Failed")) {
            return None;
        }
        let told = || status?.pod_ip.as_ref()?.parse().ok();
        let given = observed.addresses.get(pod.metadata.uid.as_ref()?).copied();
        let namespace = pod.metadata.namespace.as_deref()?;
        Some(PodOnNode {
            namespace,
            labels: pod.labels(),
            address: given.or_else(told)?,
            namespace_labels: namespaces.get(namespace).copied(),
            pod,
        })
    });
    on_node.collect()
}

/// The peers of a rule in a policy of a namespace. Without any it is for everybody.
pub(super) fn of_rule(
    peers: &[NetworkPolicyPeer],
    namespace: &str,
    pods: &[PodOnNode<'_>],
) -> Result<Vec<Peer>, String> {
    if peers.is_empty() {
        return Ok(vec![Peer::Anybody]);
    }
    let mut found = Vec::new();
    for peer in peers {
        match &peer.ip_block {
            Some(range) => found.extend(block(range)?),
            None => found.extend(selected(peer, namespace, pods)?),
        }
    }
    Ok(found)
}

/// The pods of a peer, if there are any. Without a selector of namespaces they are in the policy's.
fn selected(peer: &NetworkPolicyPeer, namespace: &str, pods: &[PodOnNode<'_>]) -> Result<Option<Peer>, String> {
    let mut found = BTreeSet::new();
    for pod in pods {
        let in_namespace = match &peer.namespace_selector {
            None => pod.namespace == namespace,
            Some(selector) => match pod.namespace_labels {
                Some(labels) => selects(Some(selector), labels)?,
                None => false, // it was made just now
            },
        };
        if in_namespace && selects(peer.pod_selector.as_ref(), pod.labels)? {
            found.insert(pod.address);
        }
    }
    Ok((!found.is_empty()).then_some(Peer::Pods(found)))
}

/// Whether a selector matches labels. None, and one that asks for nothing, match all.
pub(super) fn selects(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> Result<bool, String> {
    let selector = selector.cloned().unwrap_or_default();
    let selector = Selector::try_from(selector).map_err(|error| format!("a selector: {error}"))?;
    Ok(selector.matches(labels))
}

/// A range of IPv4 addresses; nothing for one of IPv6.
fn block(block: &IPBlock) -> Result<Option<Peer>, String> {
    let parse = |range: &String| {
        let parsed = range.parse::<IpNet>();
        parsed.map_err(|error| format!("the range {range}: {error}"))
    };
    let IpNet::V4(range) = parse(&block.cidr)? else {
        return Ok(None);
    };
    let mut except = Vec::<Ipv4Net>::new();
    for part in block.except.iter().flatten() {
        if let IpNet::V4(part) = parse(part)? {
            except.push(part.trunc());
        }
    }
    Ok(Some(Peer::Block {
        range: range.trunc(),
        except,
    }))
}
