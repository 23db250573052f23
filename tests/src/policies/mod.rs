//! What enforces NetworkPolicies on a test node, whose network plugin enforces none: which traffic of which pod the policies
//! allow ([`judge`]), and that as the text of an nftables table ([`nft`]). The program is `src/bin/policies.rs`.
//!
//! The rules are those of networking.k8s.io/v1 (<https://kubernetes.io/docs/concepts/services-networking/network-policies/>).
//! Where it leaves a choice: a range of addresses matches pods too (some plugins do not let it), and what was connected before a
//! policy came stays so. Pods of the node have IPv4 addresses only, so that ranges of IPv6 addresses match nothing.

pub mod nft;
mod peers;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt as _;

pub use self::peers::Protocol;
use self::peers::{PodOnNode, pods_on_node, selects};

/// What the cluster holds.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// All NetworkPolicies.
    pub policies: Vec<NetworkPolicy>,
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// All pods.
    pub pods: Vec<Pod>,
    /// Addresses that the network plugin gave to pods, by the pod's uid. They are known before the pod's containers start; a
    /// pod's status tells its address only afterwards.
    pub addresses: BTreeMap<String, Ipv4Addr>,
}

/// What each pod may receive and send, by its address. A pod that no policy selects is here too.
pub type Verdicts = BTreeMap<Ipv4Addr, Verdict>;

/// What one pod may receive and send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Connections to the pod; nothing where all are allowed.
    pub ingress: Option<Vec<Allowed>>,
    /// Connections from the pod; nothing where all are allowed.
    pub egress: Option<Vec<Allowed>>,
}

/// Connections that a policy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// With whom.
    pub peer: Peer,
    /// To which ports; nothing where all are allowed, and protocols without ports too.
    pub ports: Option<Ports>,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Everybody.
    Anybody,
    /// Pods.
    Pods(BTreeSet<Ipv4Addr>),
    /// A range of addresses without parts of it.
    Block {
        /// The range.
        range: Ipv4Net,
        /// The parts.
        except: Vec<Ipv4Net>,
    },
}

impl Peer {
    fn contains(&self, address: Ipv4Addr) -> bool {
        match self {
            Self::Anybody => true,
            Self::Pods(pods) => pods.contains(&address),
            Self::Block { range, except } => {
                range.contains(&address) && !except.iter().any(|part| part.contains(&address))
            }
        }
    }
}

/// Ports of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The protocol.
    pub protocol: Protocol,
    /// The first and the last of them; nothing for all.
    pub range: Option<(u16, u16)>,
}

impl Ports {
    fn one(protocol: Protocol, number: u16) -> Self {
        let range = Some((number, number));
        Self { protocol, range }
    }
}

/// A pod's traffic in one direction, in which a rule's peers are at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

/// A rule of either direction.
struct Rule<'a> {
    peers: &'a [NetworkPolicyPeer],
    ports: &'a [NetworkPolicyPort],
}

/// What the policies of a cluster allow. An error names what cannot be enforced here.
pub fn judge(observed: &Observed) -> Result<Verdicts, String> {
    let pods = pods_on_node(observed);
    let mut verdicts: Verdicts = pods.iter().map(|pod| (pod.address, Verdict::default())).collect();
    for policy in &observed.policies {
        let in_policy = |error| format!("NetworkPolicy {}/{}: {error}", namespace_of(policy), policy.name_any());
        for pod in &pods {
            if !is_selected(policy, pod).map_err(in_policy)? {
                continue;
            }
            let verdict = verdicts.entry(pod.address).or_default();
            if applies_to(policy, Direction::Ingress) {
                let allowed = allowed(policy, Direction::Ingress, pod, &pods).map_err(in_policy)?;
                verdict.ingress.get_or_insert_default().extend(allowed);
            }
            if applies_to(policy, Direction::Egress) {
                let allowed = allowed(policy, Direction::Egress, pod, &pods).map_err(in_policy)?;
                verdict.egress.get_or_insert_default().extend(allowed);
            }
        }
    }
    Ok(verdicts)
}

fn namespace_of(policy: &NetworkPolicy) -> &str {
    policy.metadata.namespace.as_deref().unwrap_or_default()
}

fn is_selected(policy: &NetworkPolicy, pod: &PodOnNode<'_>) -> Result<bool, String> {
    let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
    Ok(pod.namespace == namespace_of(policy) && selects(selector, pod.labels)?)
}

/// Whether the policy isolates the pods that it selects in this direction. A policy that says nothing of it is one of ingress,
/// and one of egress if it has rules of egress.
fn applies_to(policy: &NetworkPolicy, direction: Direction) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let (name, unless_said) = match direction {
        Direction::Ingress => ("Ingress", true),
        Direction::Egress => ("Egress", spec.egress.as_ref().is_some_and(|rules| !rules.is_empty())),
    };
    match spec.policy_types.as_deref() {
        None | Some([]) => unless_said,
        Some(types) => types.iter().any(|it| it == name),
    }
}

/// What all rules of a policy in a direction allow a pod.
fn allowed(
    policy: &NetworkPolicy,
    direction: Direction,
    pod: &PodOnNode<'_>,
    pods: &[PodOnNode<'_>],
) -> Result<Vec<Allowed>, String> {
    let mut allowed = Vec::new();
    for rule in rules(policy, direction) {
        for peer in peers::of_rule(rule.peers, namespace_of(policy), pods)? {
            if rule.ports.is_empty() {
                allowed.push(Allowed { peer, ports: None });
                continue;
            }
            for port in rule.ports {
                allowed.extend(match direction {
                    Direction::Ingress => into_pod(&peer, port, pod)?,
                    Direction::Egress => out_of_pod(&peer, port, pods)?,
                });
            }
        }
    }
    Ok(allowed)
}

fn rules(policy: &NetworkPolicy, direction: Direction) -> Vec<Rule<'_>> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    match direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules.map(|rule| Rule::new(&rule.from, &rule.ports)).collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten();
            rules.map(|rule| Rule::new(&rule.to, &rule.ports)).collect()
        }
    }
}

impl<'a> Rule<'a> {
    fn new(peers: &'a Option<Vec<NetworkPolicyPeer>>, ports: &'a Option<Vec<NetworkPolicyPort>>) -> Self {
        Self {
            peers: peers.as_deref().unwrap_or_default(),
            ports: ports.as_deref().unwrap_or_default(),
        }
    }
}

/// A named port is the selected pod's own.
fn into_pod(peer: &Peer, port: &NetworkPolicyPort, pod: &PodOnNode<'_>) -> Result<Vec<Allowed>, String> {
    let protocol = Protocol::parse(port.protocol.as_deref())?;
    let ports = match &port.port {
        Some(IntOrString::String(name)) => pod
            .ports_named(name, protocol)
            .map(|number| Ports::one(protocol, number))
            .collect(),
        _ => vec![numbered(protocol, port)?],
    };
    let to_port = |ports| Allowed {
        peer: peer.clone(),
        ports: Some(ports),
    };
    Ok(ports.into_iter().map(to_port).collect())
}

/// A named port is that of the pod at the other end, and means another number for each.
fn out_of_pod(peer: &Peer, port: &NetworkPolicyPort, pods: &[PodOnNode<'_>]) -> Result<Vec<Allowed>, String> {
    let protocol = Protocol::parse(port.protocol.as_deref())?;
    let Some(IntOrString::String(name)) = &port.port else {
        let ports = Some(numbered(protocol, port)?);
        let peer = peer.clone();
        return Ok(vec![Allowed { peer, ports }]);
    };
    let others = pods.iter().filter(|pod| peer.contains(pod.address));
    let named = others.flat_map(|pod| {
        pod.ports_named(name, protocol).map(|number| Allowed {
            peer: Peer::Pods([pod.address].into()),
            ports: Some(Ports::one(protocol, number)),
        })
    });
    Ok(named.collect())
}

fn numbered(protocol: Protocol, port: &NetworkPolicyPort) -> Result<Ports, String> {
    let range = match port.port {
        Some(IntOrString::Int(first)) => {
            let last = port.end_port.unwrap_or(first);
            let number = |number: i32| u16::try_from(number).map_err(|_| format!("port {number}"));
            Some((number(first)?, number(last)?))
        }
        _ => None,
    };
    Ok(Ports { protocol, range })
}

#[cfg(test)]
mod tests;
