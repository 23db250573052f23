//! Role and RoleBinding `<name>-gateway`: a gateway reads the two kinds of its own namespace, and nothing else. What it
//! needs of Secrets and ConfigMaps is mounted.

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef, Subject};
use serde_json::json;

use super::{child, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// The role, then what ties it to the ServiceAccount.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let name = names::gateway(&fleet.name);
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let rule = PolicyRule {
        api_groups: Some(texts(&[tagfleet_crds::GROUP])),
        resources: Some(texts(&["destinations", "taggingcontainers"])),
        verbs: texts(&["get", "list", "watch"]),
        ..PolicyRule::default()
    };
    let role_ref = RoleRef {
        api_group: ChildKind::Role.gvk().group,
        kind: ChildKind::Role.gvk().kind,
        name: name.clone(),
    };
    let subject = Subject {
        kind: ChildKind::ServiceAccount.gvk().kind,
        name: name.clone(),
        namespace: Some(fleet.namespace.clone()),
        ..Subject::default()
    };
    vec![
        child(
            ChildKind::Role,
            metadata::of(fleet, name.clone()),
            json!({"rules": [rule]}),
        ),
        child(
            ChildKind::RoleBinding,
            metadata::of(fleet, name),
            json!({"roleRef": role_ref, "subjects": [subject]}),
        ),
    ]
}
