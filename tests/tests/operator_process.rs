//! The operator as a process: it starts with the rights of operator/rbac and no others, one of several leads, and it hands
//! over when it ends.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::Duration;

use tagfleet_tests::{
    cluster::Cluster,
    operator::{Operator, Setup},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn it_starts_with_the_rights_of_one_namespace() {
    let space = Cluster::get().namespace("one-namespace");
    let operator = Setup::of_namespace(&space).start();
    wait_until_it_leads(&operator);
    assert_no_right_is_missing(&operator);
}

#[test]
fn it_starts_with_the_rights_of_all_namespaces() {
    let Some(cluster) = Cluster::own("it_starts_with_the_rights_of_all_namespaces") else {
        return;
    };
    let space = cluster.namespace("all-namespaces");
    let operator = Setup::of_all_namespaces(&space).start();
    wait_until_it_leads(&operator);
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
