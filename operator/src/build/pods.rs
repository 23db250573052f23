//! The template of a fleet's pods.
//!
//! It depends on the container's specification, its name, the image and the operator's `--allowed-private-destinations`
//! alone: configuration and credentials reach a running gateway through its mounts, and an upgrade of the operator alone
//! rolls no pod. Who changes what this file makes rolls every fleet of every user, and says so in the changelog.

use k8s_openapi::{
    api::core::v1::{
        ConfigMapVolumeSource, EmptyDirVolumeSource, LocalObjectReference, PodSecurityContext, PodSpec,
        PodTemplateSpec, SeccompProfile, SecretVolumeSource, TopologySpreadConstraint, Volume,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta},
};
use tagfleet_crds::tagging_container::PodOverrides;

use super::{
    container, labels, names, non_empty,
    storage::{Place, Storage},
};
use crate::fleet::Fleet;

/// The user and group that a gateway runs as: `nonroot` of the usual base images.
const USER: i64 = 65_532;
/// The volume with the data folder; of a StatefulSet, the name of the claim.
pub(super) const DATA: &str = "data";
/// The volume of the ConfigMap `<name>-config`.
pub(super) const CONFIG: &str = "config";
/// The volume of the Secret `<name>-credentials`.
pub(super) const CREDENTIALS: &str = "credentials";
/// Files of the credentials are read by the gateway's group only.
const CREDENTIALS_MODE: i32 = 0o440;
/// How long a pod that is to end goes on as before, until proxies and load balancers have taken it out: seconds.
pub(super) const DRAIN_SECONDS: i64 = 5;
/// How long a gateway takes at most to end what is under way once it is told to stop: seconds.
const STOP_SECONDS: i64 = 20;
/// What is left until the kubelet kills it: seconds.
const SPARE_SECONDS: i64 = 15;

/// The template. `spread_within` is the label by which the pods of one revision are told from those of another, so that a
/// rollout spreads the new pods among themselves.
pub(super) fn template(fleet: &Fleet, storage: &Storage, spread_within: Option<&str>) -> PodTemplateSpec {
    let overrides = fleet.container.spec.pod.clone().unwrap_or_default();
    let metadata = ObjectMeta {
        labels: Some(labels::beside(&overrides.labels, &fleet.name)),
        annotations: non_empty(overrides.annotations.clone()),
        ..ObjectMeta::default()
    };
    PodTemplateSpec {
        metadata: Some(metadata),
        spec: Some(spec(fleet, storage, overrides, spread_within)),
    }
}

fn spec(fleet: &Fleet, storage: &Storage, overrides: PodOverrides, spread_within: Option<&str>) -> PodSpec {
    let pull_secrets: Vec<_> = overrides
        .image_pull_secrets
        .into_iter()
        .map(|secret| LocalObjectReference { name: secret.name })
        .collect();
    PodSpec {
        service_account_name: Some(names::gateway(&fleet.name)),
        automount_service_account_token: Some(true),
        // A variable of a Service (TAGFLEET_PORT, of one that is called `tagfleet`) could be taken for a flag.
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        containers: vec![container::gateway(fleet, storage, &overrides.env)],
        volumes: Some(volumes(fleet, storage)),
        termination_grace_period_seconds: Some(DRAIN_SECONDS + STOP_SECONDS + SPARE_SECONDS),
        topology_spread_constraints: Some(spread(fleet, spread_within)),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: non_empty(overrides.node_selector),
        tolerations: (!overrides.tolerations.is_empty()).then_some(overrides.tolerations),
        affinity: overrides.affinity,
        priority_class_name: overrides.priority_class_name,
        ..PodSpec::default()
    }
}

/// The restricted Pod Security Standard, as far as it is the pod's.
fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        fs_group_change_policy: Some("OnRootMismatch".to_owned()),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            ..SeccompProfile::default()
        }),
        ..PodSecurityContext::default()
    }
}

fn volumes(fleet: &Fleet, storage: &Storage) -> Vec<Volume> {
    let config = Volume {
        name: CONFIG.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::config(&fleet.name),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let credentials = Volume {
        name: CREDENTIALS.to_owned(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(names::credentials(&fleet.name)),
            default_mode: Some(CREDENTIALS_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    let data = match &storage.place {
        Place::EmptyDir(limit) => Some(Volume {
            name: DATA.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(limit.to_string())),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        }),
        // The StatefulSet's claim is added by its controller.
        Place::Volume { .. } => None,
    };
    [config, credentials].into_iter().chain(data).collect()
}

/// Over nodes and over zones, as evenly as there is room: a fleet on one node is better than one that waits.
fn spread(fleet: &Fleet, within: Option<&str>) -> Vec<TopologySpreadConstraint> {
    ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        .into_iter()
        .map(|topology_key| TopologySpreadConstraint {
            max_skew: 1,
            topology_key: topology_key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(labels::selector(&fleet.name)),
            match_label_keys: within.map(|label| vec![label.to_owned()]),
            ..TopologySpreadConstraint::default()
        })
        .collect()
}
