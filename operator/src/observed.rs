//! What the API server says of a fleet's workload and pods, reduced to what rollout and status read.

use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Pod,
};

/// The Deployment or StatefulSet of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// The image of its pod template.
    pub image: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// The generation that its controller has seen.
    pub observed_generation: i64,
    /// Pods that are wanted (`spec.replicas`).
    pub desired: u32,
    /// Pods that there are.
    pub replicas: u32,
    /// Pods of the newest template.
    pub updated: u32,
    /// Pods that are ready.
    pub ready: u32,
    /// Pods that have been ready for long enough.
    pub available: u32,
    /// Why the rollout does not go on (`ProgressDeadlineExceeded`, `ReplicaFailure`), in its controller's words.
    pub stuck: Option<String>,
}

impl Workload {
    /// Whether its controller has seen the newest template, every pod is of it, and no pod of an older one is left.
    #[must_use]
    pub fn is_rolled_out(&self) -> bool {
        self.observed_generation >= self.generation && self.updated >= self.desired && self.replicas <= self.updated
    }
}

impl From<&Deployment> for Workload {
    fn from(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let status = deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let stuck = conditions.iter().find(|condition| {
            (condition.type_ == "Progressing" && condition.status == "False")
                || (condition.type_ == "ReplicaFailure" && condition.status == "True")
        });
        Self {
            image: spec.map(|spec| image(&spec.template)).unwrap_or_default(),
            generation: deployment.metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            desired: count(spec.and_then(|spec| spec.replicas).or(Some(1))),
            replicas: count(status.replicas),
            updated: count(status.updated_replicas),
            ready: count(status.ready_replicas),
            available: count(status.available_replicas),
            stuck: stuck.map(|condition| {
                let message = condition.message.clone().unwrap_or_default();
                format!("{}: {message}", condition.reason.as_deref().unwrap_or(&condition.type_))
            }),
        }
    }
}

impl From<&StatefulSet> for Workload {
    fn from(set: &StatefulSet) -> Self {
        let spec = set.spec.as_ref();
        let status = set.status.clone().unwrap_or_default();
        // A StatefulSet that has ended its rollout reports no separate count of updated pods.
        let is_current = status.current_revision.is_some() && status.current_revision == status.update_revision;
        let updated = if is_current {
            Some(status.replicas)
        } else {
            status.updated_replicas
        };
        Self {
            image: spec.map(|spec| image(&spec.template)).unwrap_or_default(),
            generation: set.metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation.unwrap_or_default(),
            desired: count(spec.and_then(|spec| spec.replicas).or(Some(1))),
            replicas: count(Some(status.replicas)),
            updated: count(updated),
            ready: count(status.ready_replicas),
            available: count(status.available_replicas),
            stuck: None,
        }
    }
}

fn image(template: &k8s_openapi::api::core::v1::PodTemplateSpec) -> String {
    let container = template.spec.as_ref().and_then(|spec| spec.containers.first());
    container
        .and_then(|container| container.image.clone())
        .unwrap_or_default()
}

fn count(number: Option<i32>) -> u32 {
    number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// A pod of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// Whether it is ready to serve.
    pub ready: bool,
    /// Whether it is being deleted.
    pub terminating: bool,
    /// Whether it has ended for good: its address may be another pod's by now.
    pub finished: bool,
    /// The image of its gateway.
    pub image: String,
    /// When it was made, unix seconds.
    pub created: i64,
    /// Why it does not run, in the kubelet's or the scheduler's words: `ImagePullBackOff: ...`, `Unschedulable: ...`.
    pub trouble: Option<String>,
}

impl PodState {
    /// Whether it is, or is about to be, one of the fleet's gateways: not on its way out.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        !self.terminating && !self.finished
    }

    /// Whether it serves.
    #[must_use]
    pub const fn serves(&self) -> bool {
        self.ready && self.is_live()
    }
}

impl From<&Pod> for PodState {
    fn from(pod: &Pod) -> Self {
        let status = pod.status.as_ref();
        let conditions = status
            .and_then(|status| status.conditions.as_deref())
            .unwrap_or_default();
        let holds = |kind: &str| conditions.iter().any(|it| it.type_ == kind && it.status == "True");
        Self {
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            ip: status
                .and_then(|status| status.pod_ip.clone())
                .filter(|ip| !ip.is_empty()),
            ready: holds("Ready"),
            terminating: pod.metadata.deletion_timestamp.is_some(),
            finished: matches!(
                status.and_then(|status| status.phase.as_deref()),
                Some("Succeeded" | "Failed")
            ),
            image: pod
                .spec
                .as_ref()
                .and_then(|spec| spec.containers.first()?.image.clone())
                .unwrap_or_default(),
            created: pod
                .metadata
                .creation_timestamp
                .as_ref()
                .map_or(0, |time| time.0.as_second()),
            trouble: status.and_then(trouble),
        }
    }
}

/// The first thing that keeps a pod from running.
fn trouble(status: &k8s_openapi::api::core::v1::PodStatus) -> Option<String> {
    let shown = |reason: Option<&str>, message: Option<&str>| match (reason, message) {
        (None, None) => None,
        (Some(word), None) | (None, Some(word)) => Some(word.to_owned()),
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
    };
    let waiting = status
        .container_statuses
        .iter()
        .flatten()
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .filter(|waiting| !matches!(waiting.reason.as_deref(), Some("ContainerCreating" | "PodInitializing")))
        .find_map(|waiting| shown(waiting.reason.as_deref(), waiting.message.as_deref()));
    let unschedulable = || {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        let condition = conditions
            .iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        shown(condition.reason.as_deref(), condition.message.as_deref())
    };
    let failed = || {
        let failed = status.phase.as_deref() == Some("Failed");
        failed
            .then(|| shown(status.reason.as_deref(), status.message.as_deref()))
            .flatten()
    };
    waiting.or_else(unschedulable).or_else(failed)
}
