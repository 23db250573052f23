//! The operator and an API server that goes away: each in a cluster of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    thread,
    time::{Duration, Instant},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, networking::v1::Ingress};
use tagfleet_tests::{
    cluster::Cluster,
    operator::{Operator, Setup},
    wait,
};

/// More than the lease's duration, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);
/// Longer than a leader goes on without renewing its lease, and than the lease lasts.
const OUTAGE: Duration = Duration::from_secs(30);

fn container(name: &str, hostname: &str) -> String {
    format!(
        "
apiVersion: tagfleet.dev/v1alpha1
kind: TaggingContainer
metadata: {{name: {name}}}
spec:
  hostnames: [{hostname}]
  ingress: {{className: nginx}}
  clients: [{{name: web, ga4: {{}}}}]
"
    )
}

#[test]
fn the_leader_ends_in_time_and_the_candidate_waits() {
    let Some(cluster) = Cluster::own("the_leader_ends_in_time_and_the_candidate_waits") else {
        return;
    };
    let space = cluster.namespace("outage");
    let mut leader = Setup::of_namespace(&space).start();
    wait_until_leading(&leader);
    let mut candidate = leader.setup().replica().start();

    cluster.stop_api_server();
    wait_until_given_up(&mut leader);
    assert_eq!(candidate.ended(), None, "{}", candidate.log());
    assert_eq!(candidate.get("/livez").status, 200);

    cluster.start_api_server();
    wait_until_leading(&candidate);
}

#[test]
fn what_changed_while_no_operator_led_is_caught_up_with() {
    let Some(cluster) = Cluster::own("what_changed_while_no_operator_led_is_caught_up_with") else {
        return;
    };
    let space = cluster.namespace("catch-up");
    let mut operator = Setup::of_namespace(&space).start();
    space.apply(&container("shop", "metrics.shop.example"));
    space.wait_for("shop-gateway", "is made", PATIENCE, |_: &Ingress| true);

    let began = Instant::now();
    cluster.stop_api_server();
    wait_until_given_up(&mut operator);
    thread::sleep(OUTAGE.saturating_sub(began.elapsed()));
    cluster.start_api_server();
    space.apply(&container("shop", "data.shop.example"));
    space.apply(&container("new", "metrics.new.example"));
    space.kubectl("delete service shop-gateway").ok();

    operator.restart();
    space.wait_for("shop-gateway", "has the new hostname", PATIENCE, |ingress: &Ingress| {
        let rules = ingress.spec.as_ref().and_then(|spec| spec.rules.as_ref());
        rules.is_some_and(|rules| rules[0].host.as_deref() == Some("data.shop.example"))
    });
    space.wait_for("shop-gateway", "is back", PATIENCE, |_: &Service| true);
    space.wait_for("new-gateway", "is made", PATIENCE, |_: &Deployment| true);
}

fn wait_until_leading(operator: &Operator) {
    wait::until_true("the operator leads", PATIENCE, || {
        operator.metrics().count("tagfleet_operator_leader", &[]) > 0.0
    });
}

/// The process ends by itself, and says why.
fn wait_until_given_up(leader: &mut Operator) {
    let status = wait::until("the leader ends", PATIENCE, || leader.ended());
    assert_eq!(status.code(), Some(1), "{}", leader.log());
    assert!(
        leader.log().contains("could not be renewed for 10s"),
        "{}",
        leader.log()
    );
}
