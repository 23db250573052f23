//! The whole of it on a node: images, the operator and gateways as pods of the restricted standard, nginx in front by the
//! operator's Ingress (it stands in for a controller), and what is promised of hits while pods come and go. NetworkPolicies
//! are enforced (node_policies.rs). scripts/test node runs it, as root.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::json;
use tagfleet_tests::{
    cluster::{
        Namespace,
        node::{ADDRESS, Node, OTHER_GATEWAY_IMAGE, address},
    },
    hit, http,
    load::{Load, Report},
    sink::{Behaviour, Sink},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(90);
const GATEWAYS: &str = "app.kubernetes.io/instance=shop";

#[test]
fn a_hit_through_the_ingress_ends_at_a_sink() {
    let Some(node) = Node::get("a_hit_through_the_ingress_ends_at_a_sink") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "ingress", &sink);
    println!(
        "from kubectl apply to a fleet that is Ready: {:.1} s",
        fleet.ready_after.as_secs_f64()
    );

    let status = fleet.hit_over_tls("purchase", "through-the-ingress");

    assert_eq!(status, "204");
    sink.wait_for_ids(1, PATIENCE);
    assert!(sink.ids().contains_key("through-the-ingress"), "{:?}", sink.ids());
}

#[test]
fn an_edited_destination_is_in_force_in_every_pod_within_a_second_and_no_hit_is_refused() {
    let Some(node) = Node::get("an_edited_destination_is_in_force_in_every_pod_within_a_second_and_no_hit_is_refused")
    else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "edit", &sink);
    let load = fleet.load(8);

    let mut slowest = Duration::ZERO;
    for name in ["one", "two", "three"] {
        let edit = json!({"spec": {"parameters": {"edit": format!("'{name}'")}}}).to_string();
        let args = [
            "--namespace",
            fleet.space.name(),
            "patch",
            "dest",
            "orders",
            "--type=merge",
            "-o=json",
            "-p",
            &edit,
        ];
        let answer = node.cluster().kubectl(args).ok();
        let start = Instant::now();
        let edited: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let generation = edited["metadata"]["generation"].as_i64().unwrap();
        wait::until_true("the edit is in force in every pod", PATIENCE, || {
            let mut pods = fleet.pods.iter();
            pods.all(|pod| generation_in_force(pod, "Destination/orders") == Some(generation))
        });
        slowest = slowest.max(start.elapsed());
    }

    println!(
        "an edit is in force in every pod after {} ms at most",
        slowest.as_millis()
    );
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let sent = fleet.finish(load);
    assert_nothing_refused(&sent);
    fleet.assert_nothing_lost(&sink);
}

#[test]
fn a_killed_container_loses_no_acknowledged_event() {
    let Some(node) = Node::get("a_killed_container_loses_no_acknowledged_event") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "killed", &sink);
    // The receiver is away, so that what is acknowledged is on the disk only.
    let away = Behaviour {
        status: Some(503),
        ..Behaviour::default()
    };
    sink.behave(&away);
    let load = fleet.load(6);
    wait::until_true("the receiver refuses", PATIENCE, || sink.stats().refused > 0);

    for pod in &fleet.pods {
        node.kill_gateway(pod);
    }
    let killed = Instant::now();
    wait::until_true("the kubelet restarted every container", PATIENCE, || {
        let pods = fleet.space.wait_for_pods(GATEWAYS, fleet.pods.len(), PATIENCE);
        pods.iter().all(|pod| restarts(pod) == 1)
    });
    println!(
        "all gateways killed at once are ready again after {:.1} s",
        killed.elapsed().as_secs_f64()
    );
    let sent = fleet.finish(load);
    sink.behave(&Behaviour::default());

    println!(
        "meanwhile {} of {} hits were acknowledged",
        sent.acknowledged, sent.sent
    );
    fleet.assert_nothing_lost(&sink);
}

#[test]
fn pods_that_are_deleted_or_rolled_to_another_image_drop_no_hit_and_lose_no_event() {
    let Some(node) = Node::get("pods_that_are_deleted_or_rolled_to_another_image_drop_no_hit_and_lose_no_event") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "rolled", &sink);
    let load = fleet.load(45);

    fleet
        .space
        .kubectl(&format!("delete pod {} --wait=false", fleet.pods[0].name_any()))
        .ok();
    fleet.space.wait_for_pods(GATEWAYS, fleet.pods.len(), PATIENCE);
    let image = json!({"spec": {"image": OTHER_GATEWAY_IMAGE}}).to_string();
    fleet
        .space
        .kubectl(&format!("patch tc shop --type=merge -p {image}"))
        .ok();
    let start = Instant::now();
    wait::until_true("every pod runs the other image", PATIENCE, || {
        let pods = fleet.space.wait_for_pods(GATEWAYS, fleet.pods.len(), PATIENCE);
        pods.iter().all(|pod| image_of(pod) == OTHER_GATEWAY_IMAGE)
    });

    println!(
        "a fleet of two rolled to another image in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    let sent = fleet.finish(load);
    assert_nothing_refused(&sent);
    fleet.assert_nothing_lost(&sink);
}

/// A container `shop` with a Destination `orders`, in a restricted namespace of its own, with two pods that serve.
struct Fleet<'a> {
    node: &'a Node,
    space: Namespace<'a>,
    host: String,
    pods: Vec<Pod>,
    ready_after: Duration,
    scratch: tempfile::TempDir,
}

impl<'a> Fleet<'a> {
    fn apply(node: &'a Node, name: &str, sink: &Sink) -> Self {
        let space = node.namespace(name);
        let scratch = tempfile::tempdir().unwrap();
        let host = format!("{}.shop.example", space.name());
        make_certificate(&host, scratch.path());
        let file = |name: &str| scratch.path().join(name).display().to_string();
        let (certificate, key) = (file("tls.crt"), file("tls.key"));
        space
            .kubectl(&format!("create secret tls shop-tls --cert={certificate} --key={key}"))
            .ok();
        let container = json!({
            "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": "shop"},
            "spec": {
                "hostnames": [host],
                "ingress": {"className": "nginx", "tls": {"secretName": "shop-tls"}},
                "replicas": {"min": 2, "max": 4},
                "clients": [{"name": "web", "ga4": {"measurementIds": [hit::MEASUREMENT_ID]}}],
                "buffer": {"disk": {"maxBytes": "256Mi"}},
            },
        });
        let destination = json!({
            "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": "orders"},
            "spec": {
                "containerRefs": [{"name": "shop"}],
                "delivery": {"retry": {"initialBackoff": "1s", "maxBackoff": "2s"}},
                "webhook": {"url": format!("{}/hook", sink.url())},
            },
        });
        let start = Instant::now();
        space.apply_json(&container);
        space.apply_json(&destination);
        space.kubectl("wait --for=condition=Ready tc/shop --timeout=90s").ok();
        let pods = space.wait_for_pods(GATEWAYS, 2, PATIENCE);
        let ready_after = start.elapsed();
        let fleet = Self {
            node,
            space,
            host,
            pods,
            ready_after,
            scratch,
        };
        let routed = || http::request(node.ingress(80), "GET", "/healthz", &[("Host", &fleet.host)], b"");
        wait::until_true("nginx routes to it", PATIENCE, || {
            routed().is_ok_and(|answer| answer.status == 200)
        });
        fleet
    }

    /// One hit as a browser sends it, and the status of its answer.
    fn hit_over_tls(&self, event: &str, id: &str) -> String {
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
            ])
            .args([
                "--user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0",
                "--cacert",
            ])
            .arg(self.scratch.path().join("tls.crt"))
            .args(["--resolve", &format!("{}:443:{ADDRESS}", self.host)])
            .arg(format!("https://{}{}", self.host, hit::target(event, id, "")))
            .output()
            .expect("curl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// 200 hits a second through nginx, for so many seconds. Few connections, so that none waits for its next hit while nginx
    /// gets new routes: a worker of before would still take it to pods that are gone.
    fn load(&self, seconds: u32) -> Load {
        let acknowledged = self.scratch.path().join("acknowledged").display().to_string();
        let seconds = seconds.to_string();
        let arguments = [
            "--connections",
            "2",
            "--rate",
            "200",
            "--duration",
            &seconds,
            "--host",
            &self.host,
            "--acknowledged",
            &acknowledged,
        ];
        Load::start(self.node.ingress(80), self.scratch.path(), &arguments)
    }

    fn finish(&self, load: Load) -> Report {
        let sent = load.finish(PATIENCE);
        println!(
            "{} hits sent, {} acknowledged, errors {:?}, p99 {} ms",
            sent.sent, sent.acknowledged, sent.errors, sent.latency_ms.p99
        );
        sent
    }

    /// Every acknowledged hit arrives.
    fn assert_nothing_lost(&self, sink: &Sink) {
        let text = fs::read_to_string(self.scratch.path().join("acknowledged")).unwrap();
        let acknowledged: BTreeSet<&str> = text.lines().collect();
        assert!(!acknowledged.is_empty());
        let mut missing = Vec::new();
        let arrived = wait::within(PATIENCE, || {
            let arrived = sink.ids();
            missing = acknowledged.iter().filter(|id| !arrived.contains_key(**id)).collect();
            missing.is_empty().then_some(())
        });
        println!("acknowledged {}, lost {}", acknowledged.len(), missing.len());
        assert!(arrived.is_some(), "lost: {missing:?}");
    }
}

/// Every hit that nginx took was answered well. Connections that nginx itself closed when it got new routes, before it read a
/// hit from them, are another matter: a gateway that fails shows as 502 or 504.
fn assert_nothing_refused(sent: &Report) {
    let closed_by_nginx = sent.errors.get("connection").copied().unwrap_or(0);
    assert_eq!(sent.acknowledged + closed_by_nginx, sent.sent, "{:?}", sent.errors);
}

fn make_certificate(host: &str, folder: &Path) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=shop",
            "-addext",
            &format!("subjectAltName=DNS:{host}"),
            "-out",
            "tls.crt",
            "-keyout",
            "tls.key",
        ])
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The generation of an object that a pod's gateway says is in force.
fn generation_in_force(pod: &Pod, object: &str) -> Option<i64> {
    let status = http::get(address(pod, 9090), "/status").ok()?.json();
    let objects = status["configuration"]["objects"].as_array()?;
    let found = objects.iter().find(|it| it["object"] == object)?;
    found["generation"].as_i64()
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}

fn image_of(pod: &Pod) -> &str {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container
        .and_then(|container| container.image.as_deref())
        .unwrap_or_default()
}
