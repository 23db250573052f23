//! ServiceMonitor `<name>-gateway` (Prometheus Operator): scrapes the admin listener.

use serde_json::json;

use super::{child, labels, metadata, names, ports};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// None with `monitoring.serviceMonitor: false`, or where the cluster has no Prometheus Operator. Both Services have the
/// labels that are selected by; only one has a port of this name.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let monitoring = fleet.container.spec.monitoring.clone().unwrap_or_default();
    if !monitoring.service_monitor || !fleet.settings.kinds.service_monitor {
        return Vec::new();
    }
    let mut metadata = metadata::of(fleet, names::gateway(&fleet.name));
    metadata.labels = Some(labels::beside(&monitoring.labels, &fleet.name));
    let fields = json!({"spec": {
        "selector": labels::selector(&fleet.name),
        "endpoints": [{"port": ports::ADMIN_NAME, "path": "/metrics"}],
    }});
    vec![child(ChildKind::ServiceMonitor, metadata, fields)]
}
