//! The template of a fleet's pods.
//!
//! It depends on the container's specification, its name, the image and the operator's `--allowed-private-destinations`
//! alone: configuration and credentials reach a running gateway through its mounts, and an upgrade of the operator alone
//! rolls no pod. Who changes what this file makes rolls every fleet of every user, and says so in the changelog.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, HTTPGetAction,
        Lifecycle, LifecycleHandler, LocalObjectReference, PodSecurityContext, PodSpec, PodTemplateSpec, Probe,
        ResourceRequirements, SeccompProfile, SecretVolumeSource, SecurityContext, SleepAction,
        TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use tagfleet_crds::{
    Size,
    tagging_container::{PodOverrides, Resources},
};

use super::{
    labels, names, non_empty, ports,
    storage::{Place, Storage},
};
use crate::fleet::Fleet;

/// The container's name in a pod.
const CONTAINER: &str = "gateway";
/// The user and group that a gateway runs as: `nonroot` of the usual base images.
const USER: i64 = 65_532;
/// The volume with the data folder; of a StatefulSet, the name of the claim.
pub(super) const DATA: &str = "data";
/// The folder of log and dead letters.
const DATA_DIR: &str = "/var/lib/tagfleet";
/// The volume of the ConfigMap `<name>-config`, and its folder.
const CONFIG: (&str, &str) = ("config", "/etc/tagfleet/config");
/// The volume of the Secret `<name>-credentials`, and its folder.
const CREDENTIALS: (&str, &str) = ("credentials", "/etc/tagfleet/credentials");
/// Files of the credentials are read by the gateway's group only.
const CREDENTIALS_MODE: i32 = 0o440;
/// How long a pod that is to end goes on as before, until proxies and load balancers have taken it out: seconds.
const DRAIN_SECONDS: i64 = 5;
/// How long a gateway takes at most to end what is under way once it is told to stop: seconds.
const STOP_SECONDS: i64 = 20;
/// What is left until the kubelet kills it: seconds.
const SPARE_SECONDS: i64 = 15;
/// Prefix of the variables that are the gateway's own flags.
const RESERVED_ENV: &str = "TAGFLEET_";

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
        // A variable for each Service of the namespace would be read as flags: TAGFLEET_PORT, of a Service `tagfleet`.
        enable_service_links: Some(false),
        security_context: Some(pod_security()),
        containers: vec![gateway(fleet, storage, &overrides.env)],
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

fn gateway(fleet: &Fleet, storage: &Storage, env: &[tagfleet_crds::tagging_container::EnvVar]) -> Container {
    let env: Vec<_> = env
        .iter()
        .filter(|variable| !variable.name.starts_with(RESERVED_ENV))
        .map(|variable| EnvVar {
            name: variable.name.clone(),
            value: Some(variable.value.clone()),
            value_from: None,
        })
        .collect();
    Container {
        name: CONTAINER.to_owned(),
        image: Some(fleet.image.clone()),
        args: Some(arguments(fleet)),
        env: (!env.is_empty()).then_some(env),
        ports: Some(vec![
            port(ports::HTTP_NAME, ports::HTTP),
            port(ports::ADMIN_NAME, ports::ADMIN),
        ]),
        resources: Some(resources(fleet.container.spec.resources.as_ref(), storage)),
        // A listener that is slow to come up, for a long log to be read, is not taken for a dead one.
        startup_probe: Some(probe("/livez", 1, 120)),
        liveness_probe: Some(probe("/livez", 10, 3)),
        readiness_probe: Some(probe("/readyz", 2, 2)),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: DRAIN_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            read_only_root_filesystem: Some(true),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                ..Capabilities::default()
            }),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount(CONFIG.0, CONFIG.1, true),
            mount(CREDENTIALS.0, CREDENTIALS.1, true),
            mount(DATA, DATA_DIR, false),
        ]),
        ..Container::default()
    }
}

/// What the gateway is started with. No secret is among it: arguments are shown by every list of processes.
fn arguments(fleet: &Fleet) -> Vec<String> {
    let allowed: Vec<String> = fleet
        .settings
        .allowed_private_destinations
        .iter()
        .map(ToString::to_string)
        .collect();
    let (listen, admin) = (format!("0.0.0.0:{}", ports::HTTP), format!("0.0.0.0:{}", ports::ADMIN));
    let allowed = allowed.join(",");
    let mut arguments = vec![
        "serve",
        "--kubernetes",
        "--container",
        &fleet.name,
        "--listen",
        &listen,
        "--admin",
        &admin,
        "--manifests",
        CONFIG.1,
        "--secrets-dir",
        CREDENTIALS.1,
        "--data-dir",
        DATA_DIR,
    ];
    if !allowed.is_empty() {
        arguments.extend(["--allowed-private-destinations", &allowed]);
    }
    arguments.into_iter().map(str::to_owned).collect()
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// The requests that are wanted, and the usual ones where nothing is said. Where there is a limit and no request,
/// Kubernetes takes the limit for the request, which an unasked request must not exceed.
fn resources(wanted: Option<&Resources>, storage: &Storage) -> ResourceRequirements {
    let Resources { requests, limits } = wanted.cloned().unwrap_or_default();
    let memory = Size::from_bytes((128_u64 << 20).saturating_add(storage.memory));
    let usual = [
        ("cpu", "100m".to_owned()),
        ("memory", memory.to_string()),
        (
            "ephemeral-storage",
            Size::from_bytes(storage.ephemeral_bytes()).to_string(),
        ),
    ];
    let mut all: BTreeMap<String, Quantity> = usual
        .into_iter()
        .filter(|(name, _)| !limits.contains_key(*name))
        .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
        .collect();
    all.extend(requests);
    ResourceRequirements {
        requests: non_empty(all),
        limits: non_empty(limits),
        claims: None,
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ports::ADMIN_NAME.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// Whole folders, never `subPath`: the kubelet does not update a file that is mounted by itself.
fn mount(name: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn volumes(fleet: &Fleet, storage: &Storage) -> Vec<Volume> {
    let config = Volume {
        name: CONFIG.0.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: names::config(&fleet.name),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let credentials = Volume {
        name: CREDENTIALS.0.to_owned(),
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
