//! Each test is a small cluster: namespaces `shop` and `tagfleet`, pods, a policy.

use serde_json::{Value, json};

use super::*;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
const OPERATOR: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 4);

fn pod(namespace: &str, app: &str, address: Ipv4Addr) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": app, "namespace": namespace, "uid": format!("uid-{app}"), "labels": {"app": app}},
        "spec": {"containers": [{"name": "main", "ports": [
            {"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9090},
        ]}]},
        "status": {"phase": "Running", "podIP": address.to_string()},
    }))
    .expect("a Pod")
}

fn namespace(name: &str) -> Namespace {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"name": name}}})).expect("a Namespace")
}

/// A gateway and a stranger in `shop`, an operator in `tagfleet`, and policies of `shop`.
fn cluster(policies: &[Value]) -> Observed {
    let policy = |(number, spec): (usize, &Value)| {
        let metadata = json!({"name": format!("policy-{number}"), "namespace": "shop"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).expect("a NetworkPolicy")
    };
    Observed {
        policies: policies.iter().enumerate().map(policy).collect(),
        namespaces: ["shop", "tagfleet"].map(namespace).into(),
        pods: vec![
            pod("shop", "gateway", GATEWAY),
            pod("shop", "stranger", STRANGER),
            pod("tagfleet", "operator", OPERATOR),
        ],
        addresses: BTreeMap::new(),
    }
}

fn verdict(policies: &[Value], pod: Ipv4Addr) -> Verdict {
    let verdicts = judge(&cluster(policies)).expect("policies that can be enforced");
    verdicts.get(&pod).cloned().expect("a pod that is known")
}

/// What a policy for the gateway says, as its spec without the selector.
fn of_gateway(mut spec: Value) -> Value {
    spec["podSelector"] = json!({"matchLabels": {"app": "gateway"}});
    spec
}

/// Whom the gateway's rule of ingress from these peers lets in.
fn let_in(from: &Value) -> Vec<Peer> {
    let spec = of_gateway(json!({"policyTypes": ["Ingress"], "ingress": [{"from": from}]}));
    let ingress = verdict(&[spec], GATEWAY).ingress.expect("an isolated pod");
    ingress.into_iter().map(|allowed| allowed.peer).collect()
}

fn tcp(first: u16, last: u16) -> Option<Ports> {
    Some(Ports {
        protocol: Protocol::Tcp,
        range: Some((first, last)),
    })
}

#[test]
fn a_pod_that_no_policy_selects_is_not_isolated() {
    let policies = [of_gateway(json!({"policyTypes": ["Ingress", "Egress"]}))];
    assert_eq!(verdict(&policies, STRANGER), Verdict::default());
    assert_eq!(verdict(&policies, OPERATOR), Verdict::default());
}

#[test]
fn a_policy_isolates_in_the_directions_that_it_names() {
    let egress = verdict(&[of_gateway(json!({"policyTypes": ["Egress"]}))], GATEWAY);
    assert_eq!((egress.ingress, egress.egress), (None, Some(Vec::new())));
}

#[test]
fn a_policy_that_names_no_direction_is_of_ingress_and_of_egress_only_with_rules() {
    let silent = verdict(&[of_gateway(json!({}))], GATEWAY);
    assert_eq!((silent.ingress, silent.egress), (Some(Vec::new()), None));
    let with_egress = verdict(&[of_gateway(json!({"egress": [{}]}))], GATEWAY);
    assert_eq!(with_egress.egress.map(|rules| rules.len()), Some(1));
}

#[test]
fn an_empty_selector_selects_every_pod_of_the_policys_namespace() {
    let policies = [json!({"podSelector": {}, "policyTypes": ["Ingress"]})];
    assert_eq!(verdict(&policies, STRANGER).ingress, Some(Vec::new()));
    assert_eq!(verdict(&policies, OPERATOR).ingress, None);
}

#[test]
fn expressions_select_too() {
    let policies = [json!({
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["gateway"]}]},
        "policyTypes": ["Ingress"],
    })];
    assert_eq!(verdict(&policies, GATEWAY).ingress, None);
    assert_eq!(verdict(&policies, STRANGER).ingress, Some(Vec::new()));
}

#[test]
fn a_selector_of_pods_is_for_the_policys_namespace() {
    assert_eq!(
        let_in(&json!([{"podSelector": {}}])),
        [Peer::Pods([GATEWAY, STRANGER].into())]
    );
    assert_eq!(
        let_in(&json!([{"podSelector": {"matchLabels": {"app": "operator"}}}])),
        []
    );
}

#[test]
fn a_selector_of_namespaces_is_for_all_pods_in_them() {
    let peers = json!([{"namespaceSelector": {"matchLabels": {"name": "tagfleet"}}}]);
    assert_eq!(let_in(&peers), [Peer::Pods([OPERATOR].into())]);
}

#[test]
fn both_selectors_in_a_peer_must_match_and_either_of_two_peers() {
    let pods = json!({"matchLabels": {"app": "stranger"}});
    let namespaces = json!({"matchLabels": {"name": "tagfleet"}});
    assert_eq!(
        let_in(&json!([{"podSelector": pods, "namespaceSelector": namespaces}])),
        []
    );
    assert_eq!(
        let_in(&json!([{"podSelector": pods}, {"namespaceSelector": namespaces}])),
        [Peer::Pods([STRANGER].into()), Peer::Pods([OPERATOR].into())]
    );
}

#[test]
fn no_peers_are_everybody() {
    assert_eq!(let_in(&json!([])), [Peer::Anybody]);
}

#[test]
fn a_range_has_exceptions_and_one_of_ipv6_matches_nothing_here() {
    let peers = json!([{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.89.0.0/16"]}}, {"ipBlock": {"cidr": "::/0"}}]);
    let range = "10.0.0.0/8".parse().expect("a range");
    let except = vec!["10.89.0.0/16".parse().expect("a range")];
    assert_eq!(let_in(&peers), [Peer::Block { range, except }]);
}

#[test]
fn ports_are_numbers_ranges_names_or_a_whole_protocol() {
    let spec = of_gateway(json!({"policyTypes": ["Ingress"], "ingress": [{"ports": [
        {"port": 80}, {"port": 8000, "endPort": 8010}, {"port": "admin"}, {"port": "nobody"}, {"protocol": "UDP"},
    ]}]}));
    let ingress = verdict(&[spec], GATEWAY).ingress.expect("an isolated pod");
    let ports: Vec<_> = ingress.into_iter().map(|allowed| allowed.ports).collect();
    let udp = Ports {
        protocol: Protocol::Udp,
        range: None,
    };
    assert_eq!(ports, [tcp(80, 80), tcp(8000, 8010), tcp(9090, 9090), Some(udp)]);
}

#[test]
fn a_named_port_of_egress_is_that_of_each_pod_at_the_other_end() {
    let spec = of_gateway(json!({"policyTypes": ["Egress"], "egress": [
        {"to": [{"namespaceSelector": {"matchLabels": {"name": "tagfleet"}}}], "ports": [{"port": "admin"}]},
    ]}));
    let expected = Allowed {
        peer: Peer::Pods([OPERATOR].into()),
        ports: tcp(9090, 9090),
    };
    assert_eq!(verdict(&[spec], GATEWAY).egress, Some(vec![expected]));
}

#[test]
fn policies_add_up() {
    let port = |number| of_gateway(json!({"policyTypes": ["Ingress"], "ingress": [{"ports": [{"port": number}]}]}));
    let ingress = verdict(&[port(80), port(443)], GATEWAY)
        .ingress
        .expect("an isolated pod");
    assert_eq!(ingress.len(), 2);
}

#[test]
fn pods_that_ended_or_are_on_the_nodes_network_have_no_address_of_their_own() {
    let mut observed = cluster(&[]);
    let pods = &mut observed.pods;
    pods[0].status.as_mut().expect("a status").phase = Some("Succeeded".to_owned());
    pods[1].spec.as_mut().expect("a spec").host_network = Some(true);
    let verdicts = judge(&observed).expect("verdicts");
    assert_eq!(verdicts.into_keys().collect::<Vec<_>>(), [OPERATOR]);
}

#[test]
fn a_pod_is_known_by_the_address_that_it_was_given_before_its_status_tells_it() {
    let mut observed = cluster(&[json!({"podSelector": {}, "policyTypes": ["Ingress"]})]);
    observed.pods[0].status = None;
    observed.addresses.insert("uid-gateway".to_owned(), GATEWAY);
    let verdicts = judge(&observed).expect("verdicts");
    assert_eq!(verdicts[&GATEWAY].ingress, Some(Vec::new()));
}

#[test]
fn what_cannot_be_enforced_is_named() {
    let spec =
        of_gateway(json!({"policyTypes": ["Ingress"], "ingress": [{"ports": [{"protocol": "DCCP", "port": 80}]}]}));
    let error = judge(&cluster(&[spec])).expect_err("a protocol that nobody knows");
    assert_eq!(error, "NetworkPolicy shop/policy-0: protocol DCCP");
}
