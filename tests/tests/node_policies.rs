//! The NetworkPolicies of operator and chart, enforced on a node by the tests' stand-in for a network plugin
//! (`tagfleet_tests::policies`): who reaches whom, tried from the networks of real pods. scripts/test node runs it, as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process::{Command, Output},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;
use serde_json::json;
use tagfleet_crds::{TaggingContainer, tagging_container::GatewayCount};
use tagfleet_tests::{
    cluster::{
        Namespace,
        node::{ADDRESS, Node, address, is_ready},
    },
    hit, http,
    sink::Sink,
    skip, wait,
};

const PATIENCE: Duration = Duration::from_secs(90);
const GATEWAYS: &str = "app.kubernetes.io/instance=shop";
const PUBLIC: u16 = 8080;
const ADMIN: u16 = 9090;
/// The node's address on the bridge that the pods are behind: private, and not among the allowed destinations.
const BRIDGE: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// The Services of DNS and the API server.
const DNS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)), 53);
const API_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1)), 443);

#[test]
fn a_pod_of_another_namespace_reaches_the_public_port_and_not_the_admin_port() {
    let Some(node) = enforced("a_pod_of_another_namespace_reaches_the_public_port_and_not_the_admin_port") else {
        return;
    };
    let (space, elsewhere) = (node.namespace("shop"), node.namespace("stranger"));
    let fleet = apply_fleet(&space, &Sink::at(ADDRESS));
    let stranger = idle_pod(&elsewhere, "stranger");

    assert_eq!(connect(&stranger, address(&fleet[0], PUBLIC)), Outcome::Connected);
    assert_eq!(connect(&stranger, public_service(&space)), Outcome::Connected);
    assert_eq!(connect(&stranger, address(&fleet[0], ADMIN)), Outcome::Dropped);
}

#[test]
fn the_operator_reaches_the_admin_port_and_its_neighbours_do_not() {
    let Some(node) = enforced("the_operator_reaches_the_admin_port_and_its_neighbours_do_not") else {
        return;
    };
    let (space, elsewhere) = (node.namespace("asked"), node.namespace("impostor"));
    let fleet = apply_fleet(&space, &Sink::at(ADDRESS));
    let admin = address(&fleet[0], ADMIN);

    // In its namespace, but another pod; a pod as its own, but in another namespace.
    let of_operator = node.cluster().existing_namespace("tagfleet");
    assert_eq!(connect(&idle_pod(&of_operator, "neighbour"), admin), Outcome::Dropped);
    of_operator.kubectl("delete pod neighbour --wait=false").ok();
    assert_eq!(
        connect(&idle_pod(&elsewhere, "tagfleet-operator"), admin),
        Outcome::Dropped
    );
    // What gateways say of themselves is in the status only when the operator could ask them.
    let asked = space.wait_for::<TaggingContainer>("shop", "figures of both gateways", PATIENCE, |container| {
        let status = container.status.as_ref();
        let both = GatewayCount { updated: 2, total: 2 };
        status.is_some_and(|status| status.gateways == Some(both) && status.events_per_second.is_some())
    });
    println!("the operator knows of two gateways: {:?}", asked.status.unwrap().errors);
}

#[test]
fn a_gateway_reaches_dns_the_api_server_and_an_allowed_destination_and_no_other_private_address() {
    let test = "a_gateway_reaches_dns_the_api_server_and_an_allowed_destination_and_no_other_private_address";
    let Some(node) = enforced(test) else {
        return;
    };
    let (space, elsewhere) = (node.namespace("sending"), node.namespace("private"));
    let sink = Sink::at(ADDRESS);
    let fleet = apply_fleet(&space, &sink);
    let gateway = &fleet[0];
    let stranger = idle_pod(&elsewhere, "stranger");

    assert_eq!(hit::send(address(gateway, PUBLIC), "purchase", "allowed", ""), 204);
    sink.wait_for_ids(1, PATIENCE);
    assert!(sink.ids().contains_key("allowed"), "{:?}", sink.ids());
    assert!(is_answered_by_dns(gateway));
    assert_eq!(connect(gateway, DNS), Outcome::Connected);
    assert_eq!(connect(gateway, API_SERVER), Outcome::Connected);

    // The same port at another private address, of the node and of a pod; another port at the allowed address.
    let port = sink.address().port();
    let _listener = TcpListener::bind((BRIDGE, port)).unwrap();
    let other_sink = Sink::at(ADDRESS);
    let (of_node, of_pod) = (SocketAddr::from((BRIDGE, port)), address(&stranger, port));
    assert_eq!(connect(gateway, of_node), Outcome::Dropped);
    assert_eq!(connect(gateway, of_pod), Outcome::Dropped);
    assert_eq!(connect(gateway, other_sink.address()), Outcome::Dropped);
    // It is the policy that keeps it out: others come so far.
    let another = idle_pod(&elsewhere, "another");
    assert_eq!(connect(&another, of_node), Outcome::Connected);
    assert_eq!(connect(&another, of_pod), Outcome::Refused);
    assert_eq!(connect(&another, other_sink.address()), Outcome::Connected);
}

#[test]
fn who_monitors_reaches_the_admin_port_while_the_container_names_it() {
    let Some(node) = enforced("who_monitors_reaches_the_admin_port_while_the_container_names_it") else {
        return;
    };
    let (space, monitoring) = (node.namespace("watched"), node.namespace("monitoring"));
    let fleet = apply_fleet(&space, &Sink::at(ADDRESS));
    let admin = address(&fleet[0], ADMIN);
    let prometheus = idle_pod(&monitoring, "prometheus");
    let neighbour = idle_pod(&monitoring, "neighbour");
    assert_eq!(connect(&prometheus, admin), Outcome::Dropped);

    let peers = json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": monitoring.name()}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
    }]);
    space.patch("tc/shop", &json!({"spec": {"networkPolicy": {"monitoring": peers}}}));
    wait_for_outcome(&prometheus, admin, Outcome::Connected);
    assert_eq!(connect(&neighbour, admin), Outcome::Dropped);

    space.patch("tc/shop", &json!({"spec": {"networkPolicy": null}}));
    wait_for_outcome(&prometheus, admin, Outcome::Dropped);
}

#[test]
fn the_public_port_is_for_whom_the_container_names_and_for_the_node() {
    let Some(node) = enforced("the_public_port_is_for_whom_the_container_names_and_for_the_node") else {
        return;
    };
    let (space, elsewhere) = (node.namespace("closed"), node.namespace("edge"));
    let fleet = apply_fleet(&space, &Sink::at(ADDRESS));
    let public = address(&fleet[0], PUBLIC);
    let (edge, stranger) = (idle_pod(&elsewhere, "edge"), idle_pod(&elsewhere, "stranger"));

    let selector =
        json!({"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": ["edge"]}]});
    let peers = json!([{"namespaceSelector": {}, "podSelector": selector}]);
    space.patch("tc/shop", &json!({"spec": {"networkPolicy": {"ingress": peers}}}));

    wait_for_outcome(&stranger, public, Outcome::Dropped);
    assert_eq!(connect(&edge, public), Outcome::Connected);
    // As the kubelet's probes and the Ingress controller of this node do.
    assert!(http::is_ok(public, "/healthz"));
}

/// The node, if it enforces policies. If not, the test is skipped, aloud.
fn enforced(test: &str) -> Option<&'static Node> {
    let node = Node::get(test)?;
    match node.unenforced() {
        Some(why) => {
            skip::skip(test, &format!("NetworkPolicies are {why}"));
            None
        }
        None => Some(node),
    }
}

/// A container `shop` with two gateways, which send to the sink. Returns them when they are ready.
fn apply_fleet(space: &Namespace<'_>, sink: &Sink) -> Vec<Pod> {
    space.apply_json(&json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": "shop"},
        "spec": {
            "replicas": {"min": 2, "max": 2},
            "clients": [{"name": "web", "ga4": {"measurementIds": [hit::MEASUREMENT_ID]}}],
        },
    }));
    space.apply_json(&json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": "orders"},
        "spec": {"containerRefs": [{"name": "shop"}], "webhook": {"url": format!("{}/hook", sink.url())}},
    }));
    space.kubectl("wait --for=condition=Ready tc/shop --timeout=90s").ok();
    space.wait_for_pods(GATEWAYS, 2, PATIENCE)
}

/// A pod that does nothing, with its name as a label: what a test runs in its network comes from it. Policies are enforced for
/// it when it is returned: that it is ready is the kubelet's word, and until the pod is known all that it sends is dropped.
fn idle_pod(space: &Namespace<'_>, name: &str) -> Pod {
    space.apply_json(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "idle", "image": "tagfleet.test/pause:1", "imagePullPolicy": "Never",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    }));
    let pod = space.wait_for(name, "it is ready", PATIENCE, is_ready);
    wait_for_outcome(&pod, API_SERVER, Outcome::Connected);
    pod
}

/// The fleet's Service.
fn public_service(space: &Namespace<'_>) -> SocketAddr {
    let spec = space.read::<Service>("shop-gateway").spec.unwrap();
    let port = spec
        .ports
        .unwrap()
        .into_iter()
        .find(|port| port.name.as_deref() == Some("http"));
    let port = u16::try_from(port.unwrap().port).unwrap();
    SocketAddr::new(spec.cluster_ip.unwrap().parse().unwrap(), port)
}

/// What became of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Connected,
    /// Nothing listens there: the attempt came so far.
    Refused,
    /// No answer: a policy dropped it.
    Dropped,
}

/// Connects from a pod by TCP.
fn connect(from: &Pod, to: SocketAddr) -> Outcome {
    let (ip, port) = (to.ip(), to.port());
    let output = in_network_of(from, &format!("</dev/tcp/{ip}/{port}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => Outcome::Connected,
        Some(124) => Outcome::Dropped,
        _ if errors.contains("Connection refused") => Outcome::Refused,
        _ => panic!("{} to {to}: {errors}", from.name_any()),
    }
}

/// A new pod, and a changed container's policy, are enforced some moments later.
fn wait_for_outcome(from: &Pod, to: SocketAddr, outcome: Outcome) {
    let what = format!("{} to {to}: {outcome:?}", from.name_any());
    wait::until_true(&what, PATIENCE, || connect(from, to) == outcome);
}

/// Asks for a name by UDP, as a pod does: <https://www.rfc-editor.org/rfc/rfc1035#section-4.1>. It is one without a label of
/// ten characters: bash would send what is before that length, a line feed, on its own.
fn is_answered_by_dns(from: &Pod) -> bool {
    let name = r"\x08kube-dns\x0bkube-system\x03svc\x07cluster\x05local\0";
    let question = format!(r"\x54\x46\x01\0\0\x01\0\0\0\0\0\0{name}\0\x01\0\x01");
    let server = DNS.ip();
    let script = format!("exec 3<>/dev/udp/{server}/53; printf '{question}' >&3; head -c 2 <&3");
    in_network_of(from, &script).stdout == b"TF" // the question's number comes back
}

/// Runs a bash script in a pod's network, for two seconds at most: 124 is its exit code then.
fn in_network_of(pod: &Pod, script: &str) -> Output {
    let uid = pod.uid().unwrap();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cgroup"))
            .unwrap_or_default()
            .contains(&uid)
    });
    let network = format!("--net=/proc/{}/ns/net", pid.expect("a process of the pod"));
    let mut command = Command::new("nsenter");
    command.args([&network, "timeout", "2", "bash", "-c", script]);
    command.output().expect("nsenter(1)")
}
