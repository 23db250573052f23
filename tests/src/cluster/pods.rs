//! Pods without a node: a test says what a kubelet would say of them, and the API server, the controllers and the operator
//! take it as they take a kubelet's word. An address in 127.0.0.0/8 makes a pod one that answers, when the test runs the
//! real program there.

use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::Namespace;
use crate::wait;

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Running {
    /// Its name.
    pub pod: String,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// An address of loopback that no other test uses: a pod's.
#[must_use]
pub fn free_ip() -> Ipv4Addr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let (process, number) = (std::process::id(), TAKEN.fetch_add(1, Ordering::Relaxed));
    let octet = |number: u32| u8::try_from(number).expect("below 256");
    // 1,000 addresses for each process, 16,000 processes before they repeat.
    Ipv4Addr::new(
        127,
        octet(1 + (process / 64) % 250),
        octet(process % 64 * 4 + number / 250 % 4),
        octet(1 + number % 250),
    )
}

impl Namespace<'_> {
    /// The pods with these labels that are not being deleted, by name.
    #[must_use]
    pub fn pods(&self, labels: &str) -> Vec<Pod> {
        let mut pods = self.list::<Pod>(labels);
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.sort_by_key(Pod::name_any);
        pods
    }

    /// Waits for so many pods with these labels, and says of each that has no address yet that it runs and is ready, at an
    /// address of its own. Returns all of them.
    pub fn run_pods(&self, labels: &str, count: usize, patience: Duration) -> Vec<Running> {
        let what = format!("{count} pods with {labels} in {}", self.name());
        let pods = wait::until(&what, patience, || {
            Some(self.pods(labels)).filter(|pods| pods.len() == count)
        });
        pods.iter()
            .map(|pod| {
                let pod_name = pod.name_any();
                let ip = address(pod).unwrap_or_else(|| {
                    let ip = free_ip();
                    self.run_pod(&pod_name, ip);
                    ip
                });
                Running { pod: pod_name, ip }
            })
            .collect()
    }

    /// Says of a pod that it runs at this address and is ready.
    pub fn run_pod(&self, pod: &str, ip: Ipv4Addr) {
        self.say_of_pod(
            pod,
            &status(
                "Running",
                Some(ip),
                true,
                &json!({"running": {}}),
                &self.container_of(pod),
            ),
        );
    }

    /// Says of a pod that it runs at this address and is not ready: its readiness probe fails.
    pub fn unready_pod(&self, pod: &str, ip: Ipv4Addr) {
        self.say_of_pod(
            pod,
            &status(
                "Running",
                Some(ip),
                false,
                &json!({"running": {}}),
                &self.container_of(pod),
            ),
        );
    }

    /// Says of a pod that its container waits, for a reason such as `ImagePullBackOff`.
    pub fn waiting_pod(&self, pod: &str, reason: &str, message: &str) {
        let waiting = json!({"waiting": {"reason": reason, "message": message}});
        self.say_of_pod(pod, &status("Pending", None, false, &waiting, &self.container_of(pod)));
    }

    fn container_of(&self, pod: &str) -> String {
        let pod = self.read::<Pod>(pod);
        pod.spec
            .and_then(|spec| spec.containers.first().map(|it| it.name.clone()))
            .unwrap_or_default()
    }

    fn say_of_pod(&self, pod: &str, status: &Value) {
        let patch = Patch::Strategic(json!({"status": status}));
        let said = self
            .cluster()
            .block_on(self.api::<Pod>().patch_status(pod, &PatchParams::default(), &patch));
        said.unwrap_or_else(|error| panic!("the status of pod {pod}: {error}"));
    }
}

/// The address that a pod has, if it is one of ours.
fn address(pod: &Pod) -> Option<Ipv4Addr> {
    pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

fn status(phase: &str, ip: Option<Ipv4Addr>, ready: bool, state: &Value, container: &str) -> Value {
    let word = if ready { "True" } else { "False" };
    // Without a time a pod is ready but never available (`minReadySeconds`).
    let now = Time(Timestamp::now());
    let condition = |kind: &str, word: &str| json!({"type": kind, "status": word, "lastTransitionTime": now});
    let mut status = json!({
        "phase": phase,
        "conditions": [
            condition("PodScheduled", "True"),
            condition("Initialized", "True"),
            condition("ContainersReady", word),
            condition("Ready", word),
        ],
        "containerStatuses": [{
            "name": container, "ready": ready, "restartCount": 0, "image": "", "imageID": "", "state": state,
        }],
    });
    if let Some(ip) = ip {
        status["podIP"] = json!(ip);
        status["podIPs"] = json!([{"ip": ip}]);
    }
    status
}
