//! The operator and CRDs that are missing, older than it, or wider than it: each in a cluster of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::{apps::v1::Deployment, networking::v1::Ingress};
use serde_json::{Value, json};
use tagfleet_crds::TaggingContainer;
use tagfleet_tests::{cluster::Cluster, http, operator::Setup, process, wait};

const PATIENCE: Duration = Duration::from_secs(40);
const CONTAINERS: &str = "taggingcontainers.tagfleet.dev";

const SHOP: &str = "
apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {name: shop}
spec:
  hostnames: [metrics.shop.example]
  ingress: {className: nginx}
  clients: [{name: web, ga4: {}}]
";

#[test]
fn missing_crds_are_named_and_waited_for() {
    let Some(cluster) = Cluster::own("missing_crds_are_named_and_waited_for") else {
        return;
    };
    let space = cluster.namespace("missing");
    let ours = [CONTAINERS, "destinations.tagfleet.dev"];
    cluster.kubectl(["delete", "crd"].iter().chain(&ours)).ok();

    let mut operator = Setup::of_namespace(&space).spawn();
    let named =
        ours.map(|crd| format!("the CustomResourceDefinition {crd} is not installed: install charts/tagfleet-crds\n"));
    wait::until_true("both are named", PATIENCE, || {
        http::get(operator.admin(), "/readyz").is_ok_and(|answer| answer.text() == named.concat())
    });

    install_crds(&cluster);
    operator.wait_until_ready();
}

#[test]
fn older_crds_are_told_and_what_they_drop_is_not_pruned() {
    let Some(cluster) = Cluster::own("older_crds_are_told_and_what_they_drop_is_not_pruned") else {
        return;
    };
    let space = cluster.namespace("older");
    let mut operator = Setup::of_namespace(&space).start();
    space.apply(SHOP);
    let made = space.wait_for("shop-gateway", "is made", PATIENCE, |_: &Ingress| true);
    operator.terminate(PATIENCE);

    // The release before knew no Ingress.
    change_schema(&cluster, |schema| {
        let spec = &mut schema["properties"]["spec"];
        spec["properties"].as_object_mut().unwrap().remove("ingress");
        spec.as_object_mut().unwrap().remove("x-kubernetes-validations");
    });
    operator.restart();
    let told = space.wait_for("shop", "OutOfDate says so", PATIENCE, |shop| {
        out_of_date(shop)
            .is_some_and(|(status, reason, _)| status == "True" && reason == "CustomResourceDefinitionOlder")
    });
    let (_, _, message) = out_of_date(&told).unwrap();
    assert!(message.contains("TaggingContainer.spec.ingress"), "{message}");
    assert_eq!(space.read::<Ingress>("shop-gateway").metadata.uid, made.metadata.uid);

    install_crds(&cluster);
    space.apply(SHOP);
    space.wait_for("shop", "OutOfDate is no more", PATIENCE, |shop| {
        out_of_date(shop).is_some_and(|(status, ..)| status == "False")
    });
}

#[test]
fn an_object_that_cannot_be_read_stops_no_other() {
    let Some(cluster) = Cluster::own("an_object_that_cannot_be_read_stops_no_other") else {
        return;
    };
    let space = cluster.namespace("odd");
    change_schema(&cluster, |schema| {
        *schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    });
    let odd = SHOP
        .replace("name: shop", "name: odd")
        .replace("[metrics.shop.example]", "7");
    wait::until_true("the CRD takes everything", PATIENCE, || {
        space.kubectl_with("apply -f -", &odd).success
    });

    let operator = Setup::of_namespace(&space).start();
    space.apply(SHOP);
    space.wait_for("shop-gateway", "is made", PATIENCE, |_: &Deployment| true);
    assert_eq!(space.find::<Deployment>("odd-gateway"), None);
    assert!(operator.log().contains("odd"), "{}", operator.log());
}

/// Status, reason and message of a container's OutOfDate.
fn out_of_date(container: &TaggingContainer) -> Option<(&str, &str, &str)> {
    let conditions = &container.status.as_ref()?.conditions;
    let condition = conditions.iter().find(|condition| condition.type_ == "OutOfDate")?;
    Some((&condition.status, &condition.reason, &condition.message))
}

fn crds() -> PathBuf {
    process::repository().join("crds/yaml")
}

fn install_crds(cluster: &Cluster) {
    let crds = crds();
    let install = [
        "apply",
        "--server-side",
        "--force-conflicts",
        "-f",
        crds.to_str().unwrap(),
    ];
    cluster.kubectl(install).ok();
    cluster
        .kubectl(["wait", "--for=condition=Established", "crd", CONTAINERS])
        .ok();
}

/// Changes the schema of TaggingContainer.
fn change_schema(cluster: &Cluster, change: impl FnOnce(&mut Value)) {
    let text = cluster.kubectl(["get", "crd", CONTAINERS, "-o", "json"]).ok();
    let mut crd: Value = serde_json::from_str(&text).unwrap();
    change(&mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    cluster.kubectl_with(["replace", "-f", "-"], &crd.to_string()).ok();
}
