//! Builds the children of a fleet: pure, one file for each kind.
//!
//! What comes out holds only the fields that the operator means to own, since server-side apply owns whatever is written,
//! be it null or empty. Equal fleets give equal children, to the byte: nothing here reads a clock, the version of the
//! operator, or a map without order. So an operator at rest has nothing to write, and an upgrade of the operator alone
//! rolls no pod (tests/golden.rs).

pub mod config;
pub mod credentials;
pub mod names;

mod addresses;
mod autoscaler;
mod container;
mod disruption_budget;
mod http_route;
mod ingress;
mod labels;
mod metadata;
mod network_policy;
mod pods;
mod ports;
mod prometheus_rule;
mod role;
mod service;
mod service_account;
mod service_monitor;
mod storage;
mod workload;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// What makes the children of a kind; none where the fleet wants none.
type Factory = fn(&Fleet) -> Vec<Child>;

/// Every factory, in the order of applying: what pods need comes before the pods, what leads to them comes after.
const FACTORIES: [Factory; 13] = [
    service_account::build,
    role::build,
    credentials::build,
    config::build,
    service::build,
    network_policy::build,
    workload::build,
    disruption_budget::build,
    autoscaler::build,
    ingress::build,
    http_route::build,
    service_monitor::build,
    prometheus_rule::build,
];

/// All children of a fleet, in the order of applying.
#[must_use]
pub fn children(fleet: &Fleet) -> Vec<Child> {
    FACTORIES.iter().flat_map(|factory| factory(fleet)).collect()
}

/// A child of this metadata with these fields beside it: `{"spec": ...}`, for most kinds.
fn child(kind: ChildKind, metadata: ObjectMeta, fields: Value) -> Child {
    let gvk = kind.gvk();
    let mut object = json!({"apiVersion": gvk.api_version(), "kind": gvk.kind, "metadata": metadata});
    if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
        object.extend(fields);
    }
    Child {
        kind,
        name: metadata.name.unwrap_or_default(),
        object,
    }
}

/// A map as a field: absent when empty, so that nobody owns an empty map.
fn non_empty<K, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}
