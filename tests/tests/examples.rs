//! The folders of examples/, applied to a real API server as they are: the operator accepts every object in them, and makes
//! the fleet.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret},
    networking::v1::Ingress,
};
use serde_json::Value;
use tagfleet_tests::{
    cluster::{Cluster, Namespace},
    operator::Setup,
    process, wait,
};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_whole_example_is_accepted_as_it_stands() {
    let space = Cluster::get().namespace("example");
    let _operator = Setup::of_namespace(&space).start();
    apply(&space, "kubernetes");

    let accepted = wait_until_all_are(&space, "Accepted");
    let expected = ["analytics", "low-stock", "meta", "orders", "promotions", "shop"];
    assert_eq!(accepted, expected);
    assert_eq!(wait_until_all_are(&space, "CredentialsResolved"), expected[..5]);
    let ingress = space.read::<Ingress>("shop-gateway").spec.unwrap();
    assert_eq!(ingress.ingress_class_name.as_deref(), Some("nginx"));
    assert_eq!(ingress.rules.unwrap()[0].host.as_deref(), Some("metrics.shop.example"));
    assert_eq!(ingress.tls.unwrap()[0].secret_name.as_deref(), Some("metrics-shop-tls"));
    let credentials = space.read::<Secret>("shop-credentials").data.unwrap();
    let names = ["ga4", "hmac", "meta", "mp-secret"].map(|key| format!("shop-secrets..{key}"));
    assert!(credentials.keys().eq(&names), "{:?}", credentials.keys());
}

#[test]
fn the_quickstart_is_accepted_in_a_cluster_too() {
    let space = Cluster::get().namespace("quickstart");
    let _operator = Setup::of_namespace(&space).start();
    apply(&space, "quickstart");

    let accepted = wait_until_all_are(&space, "Accepted");
    assert_eq!(accepted, ["analytics", "low-stock", "orders", "promotions", "shop"]);
    assert!(space.find::<Deployment>("shop-gateway").is_some());
    let config = space.read::<ConfigMap>("shop-config").data.unwrap();
    assert!(config["config-map-stock.yaml"].contains("BOWL-10,5"), "{config:?}");
}

fn apply(space: &Namespace<'_>, example: &str) {
    let folder = process::repository().join("examples").join(example);
    let words = ["--namespace", space.name(), "apply", "-f", folder.to_str().unwrap()];
    let answer = space.cluster().kubectl(words);
    assert!(answer.success && answer.stderr.is_empty(), "{}", answer.stderr);
}

/// Waits until every object of both kinds that has this condition has it true; says of one that is not what it says. Gives
/// the names.
fn wait_until_all_are(space: &Namespace<'_>, condition: &str) -> Vec<String> {
    let mut last = Vec::new();
    let all = wait::within(PATIENCE, || {
        let items = |kind: &str| space.get(kind)["items"].as_array().cloned().unwrap_or_default();
        last = [items("taggingcontainer"), items("destination")].concat();
        let items = &last;
        let is_told = items.iter().all(|item| item["status"]["conditions"].is_array());
        let conditions = items.iter().filter_map(|item| Some((item, find(item, condition)?)));
        let conditions: Vec<_> = conditions.collect();
        let holds = is_told && conditions.iter().all(|(_, it)| it["status"] == "True");
        let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
        holds.then(|| conditions.iter().map(|(item, _)| name(item)).collect::<Vec<_>>())
    });
    let mut names = all.unwrap_or_else(|| panic!("{condition} is not True everywhere: {last:#?}"));
    names.sort();
    names
}

fn find<'o>(object: &'o Value, condition: &str) -> Option<&'o Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == condition)
}
