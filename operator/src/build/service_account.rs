//! ServiceAccount `<name>-gateway`: the gateways' identity, for the API server and for a cloud's workload identity.

use serde_json::json;

use super::{child, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// Its token is mounted by the gateways' pods and by no other that happens to name it.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let metadata = metadata::of(fleet, names::gateway(&fleet.name));
    let fields = json!({"automountServiceAccountToken": false});
    vec![child(ChildKind::ServiceAccount, metadata, fields)]
}
