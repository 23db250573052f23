//! The pods' controller: Deployment `<name>-gateway`, or with `buffer.disk.volume` a StatefulSet of that name.
//!
//! Neither carries `replicas`: an autoscaler owns them, the operator's own or someone else's.

use k8s_openapi::{
    api::{
        apps::v1::{
            DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment,
            StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements},
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use serde_json::json;
use tagfleet_crds::Size;

use super::{
    child, labels, metadata, names, pods,
    storage::{Place, Storage},
};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// How long a pod must have been ready before the next one is replaced: seconds.
const MIN_READY_SECONDS: i32 = 5;
/// How many former templates are kept for `kubectl rollout undo`.
const HISTORY: i32 = 3;

/// Which controller runs the pods of a fleet, and its name.
pub(super) fn target(fleet: &Fleet) -> (ChildKind, String) {
    match Storage::of(&fleet.container.spec.effective_buffer()).place {
        Place::EmptyDir(_) => (ChildKind::Deployment, names::gateway(&fleet.name)),
        Place::Volume { .. } => (ChildKind::StatefulSet, names::stateful_set(&fleet.name)),
    }
}

/// The one or the other.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let storage = Storage::of(&fleet.container.spec.effective_buffer());
    let (kind, name) = target(fleet);
    let spec = match &storage.place {
        Place::EmptyDir(_) => json!(deployment(fleet, &storage)),
        Place::Volume { size, class } => json!(stateful_set(fleet, &storage, *size, class.as_deref())),
    };
    vec![child(kind, metadata::of(fleet, name), json!({"spec": spec}))]
}

/// A new pod serves before an old one ends.
fn deployment(fleet: &Fleet, storage: &Storage) -> DeploymentSpec {
    DeploymentSpec {
        selector: labels::selector(&fleet.name),
        template: pods::template(fleet, storage, Some("pod-template-hash")),
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::String("25%".to_owned())),
                max_unavailable: Some(IntOrString::Int(0)),
            }),
        }),
        min_ready_seconds: Some(MIN_READY_SECONDS),
        revision_history_limit: Some(HISTORY),
        ..DeploymentSpec::default()
    }
}

/// Pods come and go without waiting for each other, and are replaced one at a time. A volume outlives its pod, so that the
/// backlog of a pod that was scaled in is sent by the next of that number, and outlives the StatefulSet, so that what was
/// acknowledged is not lost to a mistaken delete.
fn stateful_set(fleet: &Fleet, storage: &Storage, size: Size, class: Option<&str>) -> StatefulSetSpec {
    let retain = || Some("Retain".to_owned());
    StatefulSetSpec {
        selector: labels::selector(&fleet.name),
        service_name: Some(names::peers(&fleet.name)),
        template: pods::template(fleet, storage, None),
        pod_management_policy: Some("Parallel".to_owned()),
        update_strategy: Some(StatefulSetUpdateStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: None,
        }),
        min_ready_seconds: Some(MIN_READY_SECONDS),
        revision_history_limit: Some(HISTORY),
        persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
            when_deleted: retain(),
            when_scaled: retain(),
        }),
        volume_claim_templates: Some(vec![claim(fleet, size, class)]),
        ..StatefulSetSpec::default()
    }
}

/// Claims carry the labels of the fleet, so that those that are left can be found.
fn claim(fleet: &Fleet, size: Size, class: Option<&str>) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pods::DATA.to_owned()),
            labels: Some(labels::own(&fleet.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.to_string()))].into()),
                limits: None,
            }),
            storage_class_name: class.map(str::to_owned),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
