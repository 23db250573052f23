//! Verdicts as an nftables table.

use std::{fmt, net::Ipv4Addr};

use super::{Allowed, Peer, Ports, Protocol, Verdicts};

/// The table's name.
pub const TABLE: &str = "tagfleet_policies";

/// What takes the table away, whether it is there or not.
#[must_use]
pub fn remove() -> String {
    format!("table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")
}

/// What puts the table in place of the one of before, in one step. The pods are behind a bridge.
///
/// Connections between pods and from outside are forwarded; those from a pod to the node's own addresses are its input. Both
/// are judged after a Service's address became a pod's or the node's. What the node itself sends passes: kubelet's probes, and
/// nginx. What comes from the bridge but from no pod that is known is dropped, and so is what goes to one: a pod is isolated
/// before anybody knows what it may do, and has no way around by IPv6.
///
/// Connections that were allowed when they were made go on, as with most network plugins.
#[must_use]
pub fn render(bridge: &str, verdicts: &Verdicts) -> String {
    let mut text = remove();
    text.push_str(&format!(
        "table inet {TABLE} {{\n\
         \tchain forward {{\n\t\ttype filter hook forward priority 10; policy accept;\n\
         \t\tct state established,related accept\n\
         \t\tiifname \"{bridge}\" jump from_pods\n\t\toifname \"{bridge}\" jump to_pods\n\t}}\n\
         \tchain input {{\n\t\ttype filter hook input priority 10; policy accept;\n\
         \t\tct state established,related accept\n\
         \t\tiifname \"{bridge}\" jump from_pods\n\t}}\n"
    ));
    let isolated = |side: Side| {
        let verdicts = verdicts.iter();
        verdicts.map(move |(pod, verdict)| match side {
            Side::From => (*pod, verdict.egress.as_deref()),
            Side::To => (*pod, verdict.ingress.as_deref()),
        })
    };
    for side in [Side::From, Side::To] {
        push_dispatch(&mut text, side, isolated(side));
        for (pod, allowed) in isolated(side) {
            if let Some(allowed) = allowed {
                push_pod(&mut text, side, pod, allowed);
            }
        }
    }
    text.push_str("}\n");
    text
}

/// Which end of a connection the pod is.
#[derive(Clone, Copy)]
enum Side {
    From,
    To,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::From => "from",
            Self::To => "to",
        }
    }

    /// What a packet calls the pod's address, and that of the other end.
    fn addresses(self) -> (&'static str, &'static str) {
        match self {
            Self::From => ("saddr", "daddr"),
            Self::To => ("daddr", "saddr"),
        }
    }

    fn chain_of(self, pod: Ipv4Addr) -> String {
        format!("{}_{}", self.name(), pod.to_string().replace('.', "_"))
    }
}

/// The chain that finds the pod's own.
fn push_dispatch<'a>(text: &mut String, side: Side, pods: impl Iterator<Item = (Ipv4Addr, Option<&'a [Allowed]>)>) {
    let (own, _) = side.addresses();
    text.push_str(&format!("\tchain {}_pods {{\n", side.name()));
    for (pod, allowed) in pods {
        let verdict = match allowed {
            None => "return".to_owned(),
            Some(_) => format!("goto {}", side.chain_of(pod)),
        };
        text.push_str(&format!("\t\tip {own} {pod} {verdict}\n"));
    }
    text.push_str("\t\tcounter drop\n\t}\n");
}

/// The chain of an isolated pod: it returns for what is allowed. No policy keeps a pod from itself, which it may meet by a
/// Service.
fn push_pod(text: &mut String, side: Side, pod: Ipv4Addr, allowed: &[Allowed]) {
    let (_, other) = side.addresses();
    text.push_str(&format!(
        "\tchain {} {{\n\t\tip {other} {pod} return\n",
        side.chain_of(pod)
    ));
    for Allowed { peer, ports } in allowed {
        let (peer, ports) = (OtherEnd(other, peer), DestinationPorts(*ports));
        text.push_str(&format!("\t\t{peer}{ports}return\n"));
    }
    text.push_str("\t\tcounter drop\n\t}\n");
}

/// The condition on the other end's address, with a space after it.
struct OtherEnd<'a>(&'static str, &'a Peer);

impl fmt::Display for OtherEnd<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(side, peer) = self;
        match peer {
            Peer::Anybody => Ok(()),
            Peer::Pods(pods) => {
                let pods: Vec<_> = pods.iter().map(ToString::to_string).collect();
                write!(formatter, "ip {side} {{ {} }} ", pods.join(", "))
            }
            Peer::Block { range, except } => {
                write!(formatter, "ip {side} {range} ")?;
                // One condition for each: parts may overlap, which a set of ranges may not.
                except
                    .iter()
                    .try_for_each(|part| write!(formatter, "ip {side} != {part} "))
            }
        }
    }
}

/// The condition on the port, with a space after it.
struct DestinationPorts(Option<Ports>);

impl fmt::Display for DestinationPorts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(Ports { protocol, range }) = self.0 else {
            return Ok(());
        };
        let protocol = match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        match range {
            None => write!(formatter, "meta l4proto {protocol} "),
            Some((first, last)) if first == last => write!(formatter, "{protocol} dport {first} "),
            Some((first, last)) => write!(formatter, "{protocol} dport {first}-{last} "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::Verdict;

    const SHOP: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);

    fn table(egress: Allowed) -> String {
        let verdict = Verdict {
            ingress: None,
            egress: Some(vec![egress]),
        };
        render("pods", &[(SHOP, verdict), (OTHER, Verdict::default())].into())
    }

    #[test]
    fn a_pod_of_a_policy_has_a_chain_and_others_pass_but_unknown_ones_do_not() {
        let text = table(Allowed {
            peer: Peer::Pods([OTHER].into()),
            ports: Some(Ports {
                protocol: Protocol::Tcp,
                range: Some((9090, 9090)),
            }),
        });
        let expected = "\tchain from_pods {\n\t\tip saddr 10.244.0.2 goto from_10_244_0_2\n\t\tip saddr 10.244.0.3 return\n\
                        \t\tcounter drop\n\t}\n\
                        \tchain from_10_244_0_2 {\n\t\tip daddr 10.244.0.2 return\n\
                        \t\tip daddr { 10.244.0.3 } tcp dport 9090 return\n\t\tcounter drop\n\t}\n\
                        \tchain to_pods {\n\t\tip daddr 10.244.0.2 return\n\t\tip daddr 10.244.0.3 return\n\
                        \t\tcounter drop\n\t}\n}\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn a_range_is_without_its_parts() {
        let text = table(Allowed {
            peer: Peer::Block {
                range: "0.0.0.0/0".parse().expect("a range"),
                except: ["10.0.0.0/8", "10.89.0.0/16"]
                    .map(|part| part.parse().expect("a range"))
                    .into(),
            },
            ports: Some(Ports {
                protocol: Protocol::Udp,
                range: Some((8000, 8010)),
            }),
        });
        let expected =
            "ip daddr 0.0.0.0/0 ip daddr != 10.0.0.0/8 ip daddr != 10.89.0.0/16 udp dport 8000-8010 return\n";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn a_rule_for_everybody_and_all_ports_has_no_condition() {
        let text = table(Allowed {
            peer: Peer::Anybody,
            ports: None,
        });
        assert!(text.contains("ip daddr 10.244.0.2 return\n\t\treturn\n"), "{text}");
    }

    #[test]
    fn it_takes_the_place_of_the_table_of_before() {
        let text = render("pods", &Verdicts::new());
        let start =
            "table inet tagfleet_policies {}\ndelete table inet tagfleet_policies\ntable inet tagfleet_policies {\n";
        assert!(text.starts_with(start), "{text}");
    }
}
