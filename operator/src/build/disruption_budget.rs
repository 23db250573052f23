//! PodDisruptionBudget `<name>-gateway`: how many pods a drain of nodes may take at a time.

use k8s_openapi::{api::policy::v1::PodDisruptionBudgetSpec, apimachinery::pkg::util::intstr::IntOrString};
use serde_json::json;

use super::{child, labels, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// A quarter, rounded up, so that a drain always goes on; never `minAvailable`, which at the wrong count stops every drain.
/// None for a fleet of one pod, which no budget can keep up. A pod that is not ready holds no drain up either.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    if fleet.container.spec.effective_replicas().max <= 1 {
        return Vec::new();
    }
    let spec = PodDisruptionBudgetSpec {
        selector: Some(labels::selector(&fleet.name)),
        max_unavailable: Some(IntOrString::String("25%".to_owned())),
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        ..PodDisruptionBudgetSpec::default()
    };
    let metadata = metadata::of(fleet, names::gateway(&fleet.name));
    vec![child(ChildKind::PodDisruptionBudget, metadata, json!({"spec": spec}))]
}
