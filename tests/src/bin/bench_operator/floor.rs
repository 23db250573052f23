//! The floor: what the operator has written, written once more by a bare client that knows it all beforehand.

use kube::api::DynamicObject;
use serde_json::{Value, json};
use tagfleet_operator::child::ChildKind;
use tagfleet_tests::cluster::Cluster;

use crate::objects::{self, Object};

/// What is the API server's or a controller's, and not the writer's.
const SERVED: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "managedFields",
    "ownerReferences",
    "selfLink",
];

/// The children of all fleets, and the statuses of both kinds, as objects of namespaces that begin with `floor` instead of
/// `bench`.
pub(crate) fn copies(cluster: &Cluster) -> Vec<Object> {
    let children = ChildKind::ALL.into_iter().flat_map(|kind| {
        let resource = kind.api_resource();
        let labels = "app.kubernetes.io/managed-by=tagfleet-operator,app.kubernetes.io/part-of=tagfleet";
        let made = objects::list(cluster, &resource, labels).into_iter();
        made.map(move |object| copy(&resource, &object)).collect::<Vec<_>>()
    });
    let statuses = [objects::containers(), objects::destinations()]
        .into_iter()
        .flat_map(|resource| {
            let told = objects::list(cluster, &resource, "").into_iter();
            told.map(move |object| status(&resource, &object)).collect::<Vec<_>>()
        });
    children.chain(statuses).collect()
}

fn copy(resource: &kube::core::ApiResource, object: &DynamicObject) -> Object {
    let mut body = serde_json::to_value(object).expect("an object is JSON");
    body.as_object_mut().unwrap().remove("status");
    let metadata = body["metadata"].as_object_mut().unwrap();
    metadata.retain(|field, _| !SERVED.contains(&field.as_str()));
    if let Some(spec) = body.get_mut("spec").and_then(Value::as_object_mut)
        && resource.kind == "Service"
        && spec.get("clusterIP") != Some(&json!("None"))
    {
        spec.retain(|field, _| !matches!(field.as_str(), "clusterIP" | "clusterIPs"));
    }
    moved(resource, object, &body)
}

fn status(resource: &kube::core::ApiResource, object: &DynamicObject) -> Object {
    let body = json!({"status": object.data.get("status").cloned().unwrap_or_default()});
    Object {
        is_status: true,
        ..moved(resource, object, &body)
    }
}

fn moved(resource: &kube::core::ApiResource, object: &DynamicObject, body: &Value) -> Object {
    let name = object.metadata.name.clone().unwrap_or_default();
    let space = object.metadata.namespace.clone().unwrap_or_default();
    let space = space.replace("bench", "floor");
    // Subjects of RoleBindings name the namespace, too.
    let body = serde_json::from_str(&body.to_string().replace("\"bench-", "\"floor-")).expect("it stays JSON");
    Object::new(resource, Some(&space), &name, body)
}
