//! The gateway's container in a pod. What [`super::pods`] says of its template holds for this too.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, HTTPGetAction, Lifecycle, LifecycleHandler, Probe,
        ResourceRequirements, SecurityContext, SleepAction, VolumeMount,
    },
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use tagfleet_crds::{
    Size,
    tagging_container::{self as crd, Resources},
};

use super::{
    non_empty,
    pods::{CONFIG, CREDENTIALS, DATA, DRAIN_SECONDS},
    ports,
    storage::Storage,
};
use crate::fleet::Fleet;

/// The container's name in a pod.
const NAME: &str = "gateway";
/// The folder that the volume [`CONFIG`] is mounted at.
const CONFIG_DIR: &str = "/etc/tagfleet/config";
/// The folder that the volume [`CREDENTIALS`] is mounted at.
const CREDENTIALS_DIR: &str = "/etc/tagfleet/credentials";
/// The folder of log and dead letters, that the volume [`DATA`] is mounted at.
const DATA_DIR: &str = "/var/lib/tagfleet";
/// Prefix of the variables that are the gateway's own flags.
const RESERVED_ENV: &str = "TAGFLEET_";

/// The container, with these variables beside the gateway's own.
pub(super) fn gateway(fleet: &Fleet, storage: &Storage, env: &[crd::EnvVar]) -> Container {
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
        name: NAME.to_owned(),
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
            mount(CONFIG, CONFIG_DIR, true),
            mount(CREDENTIALS, CREDENTIALS_DIR, true),
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
        CONFIG_DIR,
        "--secrets-dir",
        CREDENTIALS_DIR,
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
