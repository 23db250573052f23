//! The autoscaler with real figures of real pods: metrics-server, the HorizontalPodAutoscaler that the operator made, and load.
//! scripts/test node runs it, as root. Only with `TAGFLEET_LONG=1` (make e2e) it waits until the fleet is small again, which
//! takes the ten minutes for which the autoscaler remembers the load.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    env,
    time::{Duration, Instant},
};

use serde_json::json;
use tagfleet_tests::{
    cluster::{
        fleet::{Fleet, PATIENCE, assert_nothing_refused, webhook},
        node::{ADDRESS, Node},
    },
    figures::{note, seconds},
    sink::Sink,
    wait,
};

/// From load to more pods: two rounds of metrics-server (12 s), one of the autoscaler (5 s), and the start of a pod.
const UP: Duration = Duration::from_secs(120);
/// Ten minutes' memory, a pod a minute, and a minute's patience.
const DOWN: Duration = Duration::from_secs(15 * 60);

#[test]
fn a_fleet_grows_under_load_and_shrinks_after_it() {
    let Some(node) = Node::get("a_fleet_grows_under_load_and_shrinks_after_it") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    // A tenth of a core is much for few hits: a hundredth is used up by some hundred.
    let container = json!({
        "replicas": {"min": 2, "max": 3, "targetCPUUtilization": 50},
        "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
    });
    let fleet = Fleet::with(node, "autoscaling", &container, &webhook(&sink));
    drop(fleet.pods(2));
    wait::until_true("the autoscaler has figures of the pods", PATIENCE, || {
        let autoscaler = fleet.space.get("horizontalpodautoscaler/shop-gateway");
        autoscaler["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"].is_number()
    });

    let load = fleet.load(300, 50);
    let start = Instant::now();
    let desired = || {
        let status = fleet.space.get("taggingcontainer/shop");
        status["status"]["pods"]["summary"].as_str().map(str::to_owned)
    };
    wait::until_true("a third pod serves", UP, || desired().as_deref() == Some("3/3"));
    let grown = start.elapsed();
    let sent = fleet.finish(load);

    assert_nothing_refused(&sent);
    fleet
        .space
        .wait_for_condition("taggingcontainer/shop", "Ready", ("True", "Serving"), PATIENCE);
    let mut figure = format!("a third pod serves after {}", seconds(grown));
    if env::var_os("TAGFLEET_LONG").is_some() {
        let start = Instant::now();
        wait::until_true("the fleet is small again", DOWN, || desired().as_deref() == Some("2/2"));
        figure += &format!(", and is gone {} after the load ended", seconds(start.elapsed()));
    }
    // What the pod that left had is delivered, too.
    let arrived = fleet.assert_nothing_lost(&sink);
    note(
        "A fleet of two gets more load than it is to have",
        &format!("{figure}; {arrived} hits, none refused, none lost"),
    );
}
