//! The operator as a process: it starts with the rights of charts/tagfleet and no others, one of several leads, and it hands
//! over when it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{thread, time::Duration};

use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{Cluster, Namespace},
    operator::{Operator, Setup},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn the_rights_of_one_namespace_are_enough_for_it() {
    let space = Cluster::get().namespace("one-namespace");
    let operator = Setup::of_namespace(&space).start();
    wait_until_it_leads(&operator);

    container(&space, "shop", "metrics.shop.example");
    wait_for_children(&space, "shop");
    space.kubectl("delete tc shop").ok();
    space.wait_until("deployment/shop-gateway", "it is gone", PATIENCE, Value::is_null);
    assert_no_right_is_missing(&operator);
}

#[test]
fn one_for_all_namespaces_makes_fleets_in_each_and_knows_who_owns_a_hostname() {
    let Some(cluster) = Cluster::own("one_for_all_namespaces_makes_fleets_in_each") else {
        return;
    };
    let home = cluster.namespace("tagfleet");
    let operator = Setup::of_all_namespaces(&home).start();
    wait_until_it_leads(&operator);

    let (one, other) = (cluster.namespace("shop"), cluster.namespace("blog"));
    container(&one, "shop", "metrics.shop.example");
    container(&other, "blog", "metrics.blog.example");
    wait_for_children(&one, "shop");
    wait_for_children(&other, "blog");

    thread::sleep(Duration::from_secs(1)); // the age of an object is in whole seconds
    container(&other, "thief", "metrics.shop.example");
    let refused = ("False", "HostnameConflict");
    let message = other.wait_for_condition("taggingcontainer/thief", "Accepted", refused, PATIENCE);
    assert!(
        message.contains(&format!("TaggingContainer shop in namespace {}", one.name())),
        "{message}"
    );
    assert!(other.get("ingress/thief-gateway").is_null());
    assert_no_right_is_missing(&operator);
}

#[test]
fn a_second_one_takes_over_at_once_when_the_first_is_told_to_end() {
    let space = Cluster::get().namespace("hand-over");
    let mut first = Setup::of_namespace(&space).start();
    wait_until_it_leads(&first);
    let second = first.setup().replica().start();
    assert!(!leads(&second), "{}", second.log());

    let (_, status) = first.terminate(PATIENCE);
    assert!(status.success(), "{status}: {}", first.log());
    // Sooner than the lease runs out by itself, which is 15 s.
    wait::until_true("the second leads", Duration::from_secs(10), || leads(&second));
}

#[test]
fn a_second_one_takes_over_when_the_first_is_killed() {
    let space = Cluster::get().namespace("take-over");
    let mut first = Setup::of_namespace(&space).start();
    wait_until_it_leads(&first);
    let second = first.setup().replica().start();

    first.kill();
    wait_until_it_leads(&second);
}

#[test]
fn it_outlives_an_api_server_that_comes_back() {
    let Some(cluster) = Cluster::own("it_outlives_an_api_server_that_comes_back") else {
        return;
    };
    let space = cluster.namespace("outage");
    let mut operator = Setup::of_namespace(&space).start();
    wait_until_it_leads(&operator);

    cluster.stop_api_server();
    let answers = operator.get("/livez").status;
    cluster.start_api_server();

    assert_eq!(answers, 200, "an outage is no reason to be restarted");
    wait_until_it_leads(&operator);
    assert_eq!(operator.ended(), None, "{}", operator.log());
}

fn container(space: &Namespace<'_>, name: &str, hostname: &str) {
    space.apply_json(
        &json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer",
        "metadata": {"name": name},
        "spec": {"hostnames": [hostname], "ingress": {}, "clients": [{"name": "web", "ga4": {}}]}}),
    );
}

/// The kinds are written in two ranks; when these are there, all are.
fn wait_for_children(space: &Namespace<'_>, name: &str) {
    for kind in [
        "role",
        "deployment",
        "horizontalpodautoscaler",
        "ingress",
        "servicemonitor",
        "prometheusrule",
    ] {
        space.wait_until(&format!("{kind}/{name}-gateway"), "it is made", PATIENCE, |it| {
            !it.is_null()
        });
    }
    let container = format!("taggingcontainer/{name}");
    space.wait_for_condition(&container, "Accepted", ("True", "Accepted"), PATIENCE);
}

fn leads(operator: &Operator) -> bool {
    operator.metrics().count("tagfleet_operator_leader", &[]) == 1.0
}

fn wait_until_it_leads(operator: &Operator) {
    let led = wait::within(PATIENCE, || leads(operator).then_some(()));
    assert!(led.is_some(), "it does not lead:\n{}", operator.log());
}

/// The API server answers 403 to what the rights do not cover, and the operator logs that.
fn assert_no_right_is_missing(operator: &Operator) {
    let log = operator.log();
    assert!(!log.contains("forbidden") && !log.contains("403"), "{log}");
}
