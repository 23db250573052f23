//! What is promised of hits while parts of a node are away: gateways, the kubelet, the API server. scripts/test node runs it,
//! as root.
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

use tagfleet_tests::{
    cluster::{
        fleet::{Fleet, PATIENCE, assert_nothing_refused, lives, restarts},
        node::{ADDRESS, Node},
    },
    figures::{note, seconds},
    http,
    sink::{Behaviour, Sink},
    wait,
};

/// Hits a second.
const RATE: u32 = 200;

#[test]
fn a_killed_container_loses_no_acknowledged_event() {
    let Some(node) = Node::get("a_killed_container_loses_no_acknowledged_event") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "killed", &sink);
    // The receiver is away, so that what is acknowledged is on the disk only.
    let away = Behaviour {
        status: Some(503),
        ..Behaviour::default()
    };
    sink.behave(&away);
    let load = fleet.load(RATE, 6);
    wait::until_true("the receiver refuses", PATIENCE, || sink.stats().refused > 0);

    for pod in &fleet.pods(2) {
        node.kill_gateway(pod);
    }
    let killed = Instant::now();
    wait::until_true("the kubelet restarted every container", PATIENCE, || {
        fleet.pods(2).iter().all(|pod| restarts(pod) == 1)
    });
    let back = killed.elapsed();
    let sent = fleet.finish(load);
    sink.behave(&Behaviour::default());

    let arrived = fleet.assert_nothing_lost(&sink);
    note(
        "Every gateway of a fleet is killed at once, while the receiver is away too",
        &format!(
            "ready again after {}; {arrived} of {} hits were acknowledged meanwhile, none of those lost",
            seconds(back),
            sent.sent
        ),
    );
}

/// A kubelet that starts takes every pod of its node for not ready until it has probed it. There is one node here, so that for
/// this moment nginx has no pod to send hits to; a fleet on several nodes would not notice.
#[test]
fn a_restarted_kubelet_restarts_no_gateway() {
    let Some(node) = Node::get("a_restarted_kubelet_restarts_no_gateway") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "kubelet", &sink);
    let pods = fleet.pods(2);
    let load = fleet.load(RATE, 20);

    node.order("stop kubelet");
    thread::sleep(Duration::from_secs(5));
    node.order("start kubelet");
    let sent = fleet.finish(load);

    let without_pods = sent.errors.get("503").copied().unwrap_or(0);
    assert_eq!(sent.acknowledged + without_pods, sent.sent, "{:?}", sent.errors);
    assert!(without_pods < u64::from(RATE) * 3, "a probe comes every two seconds");
    let arrived = fleet.assert_nothing_lost(&sink);
    assert_eq!(lives(&fleet.pods(2)), lives(&pods), "no container was restarted");
    note(
        "The only node's kubelet is away for five seconds, under load",
        &format!(
            "no container restarted; {arrived} hits, none lost, and {without_pods} that nginx had no pod for while the kubelet had \
             not probed any yet"
        ),
    );
}

/// For a minute; meanwhile a gateway's container dies, which starts again from what is mounted.
#[test]
fn fleets_go_on_and_start_without_the_api_server() {
    let Some(node) = Node::get("fleets_go_on_and_start_without_the_api_server") else {
        return;
    };
    let sink = Sink::at(ADDRESS);
    let fleet = Fleet::apply(node, "api-server", &sink);
    let pods = fleet.pods(2);
    let load = fleet.load(RATE, 70);

    node.order("stop apiserver");
    let away = Instant::now();
    thread::sleep(Duration::from_secs(10));
    let killed = Instant::now();
    node.kill_gateway(&pods[0]);
    let address = tagfleet_tests::cluster::node::address(&pods[0], 8080);
    wait::until_true("the killed gateway serves again", PATIENCE, || {
        http::is_ok(address, "/healthz")
    });
    let back = killed.elapsed();
    thread::sleep(Duration::from_secs(60).saturating_sub(away.elapsed()));
    node.order("start apiserver");
    let sent = fleet.finish(load);

    assert_nothing_refused(&sent);
    let arrived = fleet.assert_nothing_lost(&sink);
    fleet
        .space
        .wait_for_condition("taggingcontainer/shop", "Ready", ("True", "Serving"), PATIENCE);
    note(
        "The API server is away for a minute, under load, and a gateway's container is killed meanwhile",
        &format!(
            "the container serves again after {}; {arrived} hits, none refused, none lost",
            seconds(back)
        ),
    );
}
