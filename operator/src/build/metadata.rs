//! The metadata of children.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use tagfleet_crds::API_VERSION;

use super::labels;
use crate::fleet::Fleet;

/// The metadata of a child: its labels, and the container as its only owner, so that the children of a deleted container
/// go with it without a finalizer.
pub(super) fn of(fleet: &Fleet, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(fleet.namespace.clone()),
        labels: Some(labels::own(&fleet.name)),
        owner_references: Some(vec![OwnerReference {
            api_version: API_VERSION.to_owned(),
            kind: "TaggingContainer".to_owned(),
            name: fleet.name.clone(),
            uid: fleet.container.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}
