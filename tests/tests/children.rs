//! The children of fleets, as the golden files of the operator have them (`operator/tests/golden`), before a real API server:
//! it takes every one without a word, and their pods by the restricted Pod Security Standard.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{fs, path::Path};

use serde_json::{Value, json};
use tagfleet_tests::cluster::{Cluster, Namespace};

/// Each case, with its children as the API server's own reader reads them.
fn cases(space: &Namespace<'_>) -> Vec<(String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/tests/golden");
    let mut cases: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let case = entry.unwrap().path();
            let yaml = fs::read_to_string(case.join("out.yaml")).unwrap();
            let yaml = yaml.replace("namespace: default\n", &format!("namespace: {}\n", space.name()));
            let read = space.kubectl_with("create --dry-run=client -o json -f -", &yaml).ok();
            let objects = serde_json::Deserializer::from_str(&read).into_iter::<Value>();
            let children = objects.map(Result::unwrap).flat_map(listed).collect();
            (case.file_name().unwrap().to_string_lossy().into_owned(), children)
        })
        .collect();
    cases.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(cases.len() >= 8);
    cases
}

/// kubectl writes several objects as a list, or one after the other.
fn listed(object: Value) -> Vec<Value> {
    match object["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![object],
    }
}

/// Asks for an object to be applied, without effect. Warnings come on standard error, and are the test's to refuse.
fn would_apply(space: &Namespace<'_>, case: &str, object: &Value) {
    let words = "apply --server-side --dry-run=server --field-manager tagfleet-operator -f -";
    let answer = space.kubectl_with(words, &object.to_string());
    let name = format!("{case}: {} {}", object["kind"], object["metadata"]["name"]);
    assert!(answer.success && answer.stderr.is_empty(), "{name}: {}", answer.stderr);
}

#[test]
fn the_api_server_takes_every_child_and_warns_of_none() {
    let space = Cluster::get().namespace("children");
    for (case, children) in cases(&space) {
        assert!(children.len() >= 8, "{case}");
        for child in &children {
            would_apply(&space, &case, child);
        }
    }
}

#[test]
fn pods_are_taken_by_the_restricted_standard() {
    let space = Cluster::get().namespace("restricted");
    let standard = "pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted";
    space
        .kubectl(&format!("label namespace {} {standard}", space.name()))
        .ok();
    // What pods refer to has to be there: admission looks it up. The class belongs to no namespace, and stays.
    let class = json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "edge"}, "value": 10,
    });
    space.apply_json(&class);
    for (case, children) in cases(&space) {
        let of_kind = |kind: &str| children.iter().find(|child| child["kind"] == kind);
        let account = of_kind("ServiceAccount").unwrap();
        space
            .kubectl_with("apply -f -", &without_owner(account).to_string())
            .ok();
        let workload = of_kind("Deployment").or_else(|| of_kind("StatefulSet")).unwrap();
        would_apply(&space, &case, &pod(&workload["spec"]["template"]));
    }
}

/// The garbage collector takes away what an owner has that is not there.
fn without_owner(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"].as_object_mut().unwrap().remove("ownerReferences");
    object
}

/// A pod of a template, as a controller makes it. A StatefulSet's controller adds the volume of the claim.
fn pod(template: &Value) -> Value {
    let mut spec = template["spec"].clone();
    let volumes = spec["volumes"].as_array_mut().unwrap();
    if !volumes.iter().any(|volume| volume["name"] == "data") {
        volumes.push(json!({"name": "data", "persistentVolumeClaim": {"claimName": "data"}}));
    }
    let labels = &template["metadata"]["labels"];
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gateway", "labels": labels}, "spec": spec})
}
