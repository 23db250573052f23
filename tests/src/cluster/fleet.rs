//! A fleet on a node: a TaggingContainer `shop` whose pods take hits through nginx, a Destination `orders` that ends at a sink,
//! and what tests ask of it.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Namespace,
    node::{ADDRESS, Node, address},
};
use crate::{
    hit, http,
    load::{Load, Report},
    sink::Sink,
    wait,
};

/// How long a test waits for what takes a node its time.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The label of a fleet's pods.
pub const GATEWAYS: &str = "app.kubernetes.io/instance=shop";

/// The fleet, in a restricted namespace of its own, with two pods that serve.
pub struct Fleet<'a> {
    /// The node that it runs on.
    pub node: &'a Node,
    /// Its namespace.
    pub space: Namespace<'a>,
    /// Its hostname.
    pub host: String,
    /// From `kubectl apply` to the condition `Ready`.
    pub ready_after: Duration,
    scratch: TempDir,
    /// The hits that were acknowledged under [`Self::load`], by event id.
    loads: RefCell<u32>,
}

impl<'a> Fleet<'a> {
    /// Applies container and Destination, and waits until hits come through.
    ///
    /// # Panics
    /// When they do not in time.
    #[must_use]
    pub fn apply(node: &'a Node, name: &str, sink: &Sink) -> Self {
        Self::with(node, name, &json!({"replicas": {"min": 2, "max": 2}}), &webhook(sink))
    }

    /// As [`Self::apply`], with further fields of the container's spec, and the Destination's spec.
    ///
    /// # Panics
    /// When hits do not come through in time.
    #[must_use]
    pub fn with(node: &'a Node, name: &str, container: &Value, orders: &Value) -> Self {
        let space = node.namespace(name);
        let scratch = tempfile::tempdir().expect("a folder");
        let host = format!("{}.shop.example", space.name());
        make_certificate(&host, scratch.path());
        let file = |name: &str| scratch.path().join(name).display().to_string();
        let (certificate, key) = (file("tls.crt"), file("tls.key"));
        space
            .kubectl(&format!("create secret tls shop-tls --cert={certificate} --key={key}"))
            .ok();
        let mut spec = json!({
            "hostnames": [host],
            "ingress": {"className": "nginx", "tls": {"secretName": "shop-tls"}},
            "clients": [{"name": "web", "ga4": {"measurementIds": [hit::MEASUREMENT_ID]}}],
            "buffer": {"disk": {"maxBytes": "256Mi"}},
        });
        merge(&mut spec, container);
        let fleet = Self {
            node,
            host,
            ready_after: Duration::ZERO,
            scratch,
            loads: RefCell::new(0),
            space,
        };
        let start = Instant::now();
        fleet.space.apply_json(&json!({
            "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": "shop"}, "spec": spec,
        }));
        fleet.destination("orders", orders);
        fleet
            .space
            .kubectl("wait --for=condition=Ready tc/shop --timeout=90s")
            .ok();
        let ready_after = start.elapsed();
        // Many times in a row: while nginx takes up new routes, its workers of before answer, too.
        let mut in_a_row = 0;
        wait::until_true("nginx routes to it", PATIENCE, || {
            let answer = http::request(node.ingress(80), "GET", "/healthz", &[("Host", &fleet.host)], b"");
            let is_routed = answer.is_ok_and(|answer| answer.status == 200);
            in_a_row = if is_routed { in_a_row + 1 } else { 0 };
            in_a_row == 20
        });
        Self { ready_after, ..fleet }
    }

    /// Applies a Destination of this fleet: the spec of it, but for `containerRefs`. Returns its generation.
    pub fn destination(&self, name: &str, spec: &Value) -> i64 {
        let mut spec = spec.clone();
        spec["containerRefs"] = json!([{"name": "shop"}]);
        let object = json!({
            "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": name}, "spec": spec,
        });
        self.space.apply_json(&object);
        let stored = self.space.get(&format!("destination/{name}"));
        stored["metadata"]["generation"].as_i64().expect("a generation")
    }

    /// The pods that are ready, `count` of them, once there are no others.
    #[must_use]
    pub fn pods(&self, count: usize) -> Vec<Pod> {
        self.space.wait_for_pods(GATEWAYS, count, PATIENCE)
    }

    /// Waits until every pod's gateway says that it has this generation of a Destination in force; returns how long that took.
    pub fn wait_until_in_force(&self, destination: &str, generation: i64, pods: &[Pod]) -> Duration {
        let start = Instant::now();
        let object = format!("Destination/{destination}");
        let what = format!("generation {generation} of {object} is in force in every pod");
        wait::until_true(&what, PATIENCE, || {
            pods.iter()
                .all(|pod| generation_in_force(pod, &object) == Some(generation))
        });
        start.elapsed()
    }

    /// One hit as a browser sends it, and the status of its answer.
    #[must_use]
    pub fn hit_over_tls(&self, event: &str, id: &str) -> String {
        let quiet = ["--silent", "--show-error", "--output", "/dev/null"];
        let output = Command::new("curl")
            .args(quiet)
            .args(["--write-out", "%{http_code}", "--user-agent"])
            .arg("Mozilla/5.0 (X11; Linux x86_64) Chrome/156.0.0.0")
            .arg("--cacert")
            .arg(self.scratch.path().join("tls.crt"))
            .args(["--resolve", &format!("{}:443:{ADDRESS}", self.host)])
            .arg(format!("https://{}{}", self.host, hit::target(event, id, "")))
            .output()
            .expect("curl");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// So many hits a second through nginx, for so many seconds. As a browser would, it sends a hit again whose connection
    /// nginx closed unanswered, which it does with idle ones whenever it gets new routes.
    #[must_use]
    pub fn load(&self, rate: u32, seconds: u32) -> Load {
        self.load_of("page_view", rate, seconds)
    }

    /// As [`Self::load`], of events of this name, each of a value of 42 EUR.
    #[must_use]
    pub fn load_of(&self, event: &str, rate: u32, seconds: u32) -> Load {
        let number = self.loads.replace_with(|number| *number + 1);
        let folder = self.scratch.path().join(number.to_string());
        fs::create_dir(&folder).expect("a folder");
        let acknowledged = self.scratch.path().join(format!("{number}.acknowledged"));
        let (rate, seconds) = (rate.to_string(), seconds.to_string());
        let acknowledged = acknowledged.display().to_string();
        let how_much = [
            "--resend",
            "--connections",
            "8",
            "--rate",
            &rate,
            "--duration",
            &seconds,
            "--event",
            event,
            "--parameters",
            "cu=EUR&epn.value=42",
        ];
        let arguments = [&how_much[..], &["--host", &self.host, "--acknowledged", &acknowledged]].concat();
        Load::start(self.node.ingress(80), &folder, &arguments)
    }

    /// The end of a load, and what became of it.
    #[must_use]
    pub fn finish(&self, load: Load) -> Report {
        let sent = load.finish(PATIENCE);
        println!(
            "{} hits sent, {} acknowledged ({} on a second connection), errors {:?}, p99 {} ms",
            sent.sent, sent.acknowledged, sent.resent, sent.errors, sent.latency_ms.p99
        );
        sent
    }

    /// Every hit that was acknowledged under any load arrives. Returns how many there were.
    ///
    /// # Panics
    /// When one does not, or there was none.
    pub fn assert_nothing_lost(&self, sink: &Sink) -> usize {
        let numbers = 0..*self.loads.borrow();
        let texts: Vec<String> = numbers
            .filter_map(|number| fs::read_to_string(self.scratch.path().join(format!("{number}.acknowledged"))).ok())
            .collect();
        let acknowledged: BTreeSet<&str> = texts.iter().flat_map(|text| text.lines()).collect();
        assert!(!acknowledged.is_empty());
        let mut missing = Vec::new();
        let arrived = wait::within(PATIENCE, || {
            let arrived = sink.ids();
            missing = acknowledged.iter().filter(|id| !arrived.contains_key(**id)).collect();
            missing.is_empty().then_some(())
        });
        println!("acknowledged {}, lost {}", acknowledged.len(), missing.len());
        assert!(arrived.is_some(), "lost: {missing:?}");
        acknowledged.len()
    }
}

/// A Destination that delivers to this sink and tries again soon.
#[must_use]
pub fn webhook(sink: &Sink) -> Value {
    json!({
        "delivery": {"retry": {"initialBackoff": "1s", "maxBackoff": "2s"}},
        "webhook": {"url": format!("{}/hook", sink.url())},
    })
}

/// Every hit of a load was answered well.
///
/// # Panics
/// When one was not.
pub fn assert_nothing_refused(sent: &Report) {
    assert_eq!(sent.acknowledged, sent.sent, "{:?}", sent.errors);
}

/// How often the kubelet started containers of a pod again.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter();
    let containers = statuses.flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}

/// The image of a pod.
#[must_use]
pub fn image_of(pod: &Pod) -> &str {
    let container = pod.spec.as_ref().and_then(|spec| spec.containers.first());
    container
        .and_then(|container| container.image.as_deref())
        .unwrap_or_default()
}

/// The names of pods, with how often each was started again: the same before and after when nothing happened to them.
#[must_use]
pub fn lives(pods: &[Pod]) -> BTreeSet<(String, i32)> {
    pods.iter().map(|pod| (pod.name_any(), restarts(pod))).collect()
}

/// The generation of an object that a pod's gateway says is in force.
#[must_use]
pub fn generation_in_force(pod: &Pod, object: &str) -> Option<i64> {
    let status = http::get(address(pod, 9090), "/status").ok()?.json();
    let objects = status["configuration"]["objects"].as_array()?;
    let found = objects.iter().find(|it| it["object"] == object)?;
    found["generation"].as_i64()
}

/// Puts these fields in place of those of the same names.
fn merge(spec: &mut Value, fields: &Value) {
    let further = fields.as_object().expect("fields of a spec");
    let spec = spec.as_object_mut().expect("a spec");
    spec.extend(further.iter().map(|(name, value)| (name.clone(), value.clone())));
}

fn make_certificate(host: &str, folder: &Path) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let made = Command::new("openssl")
        .args(["req", "-x509", "-days", "2", "-subj", "/CN=shop"])
        .args(key)
        .args(["-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-out", "tls.crt", "-keyout", "tls.key"])
        .current_dir(folder)
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
