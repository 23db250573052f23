//! HorizontalPodAutoscaler `<name>-gateway`; none with `replicas.autoscaler: External`.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget, ResourceMetricSource,
};
use serde_json::json;
use tagfleet_crds::tagging_container::{Autoscaler, Replicas};

use super::{child, metadata, names, workload};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// Scales by CPU: parsing and encoding are what a gateway does.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let replicas = fleet.container.spec.effective_replicas();
    match replicas.autoscaler {
        Autoscaler::External => Vec::new(),
        Autoscaler::Hpa => {
            let metadata = metadata::of(fleet, names::gateway(&fleet.name));
            let fields = json!({"spec": spec(fleet, &replicas)});
            vec![child(ChildKind::HorizontalPodAutoscaler, metadata, fields)]
        }
    }
}

fn spec(fleet: &Fleet, replicas: &Replicas) -> HorizontalPodAutoscalerSpec {
    let (kind, name) = workload::target(fleet);
    let cpu = MetricSpec {
        type_: "Resource".to_owned(),
        resource: Some(ResourceMetricSource {
            name: "cpu".to_owned(),
            target: MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(number(replicas.target_cpu_utilization)),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference {
            api_version: Some(kind.gvk().api_version()),
            kind: kind.gvk().kind,
            name,
        },
        min_replicas: Some(number(replicas.min)),
        max_replicas: number(replicas.max),
        metrics: Some(vec![cpu]),
        behavior: Some(behavior()),
    }
}

/// Up at once, to twice the pods or four more in 15 s, whichever is more: a campaign does not announce itself. Down by a
/// tenth a minute, or one pod, and only to what the last ten minutes did not need: each pod that ends has a backlog to
/// deliver first.
fn behavior() -> HorizontalPodAutoscalerBehavior {
    let rules = |window, policies| HPAScalingRules {
        stabilization_window_seconds: Some(window),
        select_policy: Some("Max".to_owned()),
        policies: Some(policies),
        ..HPAScalingRules::default()
    };
    HorizontalPodAutoscalerBehavior {
        scale_up: Some(rules(0, vec![policy("Percent", 100, 15), policy("Pods", 4, 15)])),
        scale_down: Some(rules(600, vec![policy("Percent", 10, 60), policy("Pods", 1, 60)])),
    }
}

fn policy(kind: &str, value: i32, period_seconds: i32) -> HPAScalingPolicy {
    HPAScalingPolicy {
        type_: kind.to_owned(),
        value,
        period_seconds,
    }
}

/// The schema bounds both counts and percents far below this.
fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
