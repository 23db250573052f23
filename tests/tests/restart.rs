//! Stopping and starting: the ledger closes, SIGTERM delivers what it can.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::Duration;

use tagfleet_tests::{
    gateway::{Gateway, Setup},
    load::Load,
    manifests::Manifests,
    sink::{Behaviour, Sink},
    wait,
};

/// A pod's usual grace period.
const GRACE: Duration = Duration::from_secs(30);

fn in_flight(gateway: &Gateway) -> f64 {
    gateway.metrics().count("tagfleet_buffer_events", &[])
}

#[test]
fn the_ledger_closes_across_a_kill_with_a_backlog() {
    let mut sink = Sink::start();
    let manifests = Manifests::new()
        .container("")
        .webhook(
            "orders",
            &sink.url(),
            "  delivery: {retry: {initialBackoff: 100ms, maxBackoff: 500ms}}",
        )
        .webhook("purchases", &sink.url(), "  trigger: {events: [purchase]}");
    let mut gateway = Setup::new(manifests.path()).start();
    assert_eq!(gateway.hit("page_view", "delivered-before", ""), 204);
    sink.wait_for_ids(1, Duration::from_secs(10));

    sink.kill();
    for number in 0..300 {
        assert_eq!(gateway.hit("page_view", &format!("backlog-{number}"), ""), 204);
    }
    assert_eq!(gateway.imbalance("orders"), 0.0);
    assert_eq!(gateway.imbalance("purchases"), 0.0);
    assert!(in_flight(&gateway) >= 300.0, "{}", in_flight(&gateway));

    gateway.kill();
    gateway.restart();
    assert_eq!(
        gateway.imbalance("orders"),
        0.0,
        "after the kill, before anything was delivered"
    );
    assert_eq!(gateway.imbalance("purchases"), 0.0);

    sink.restart();
    sink.wait_for_ids(301, Duration::from_secs(20));
    wait::until_true("nothing lags", Duration::from_secs(10), || {
        gateway
            .metrics()
            .count("tagfleet_delivery_lag_seconds", &[("destination", "orders")])
            == 0.0
    });
    assert_eq!(gateway.imbalance("orders"), 0.0);
    assert_eq!(gateway.imbalance("purchases"), 0.0);
}

#[test]
fn sigterm_sends_the_batch_that_still_waits_for_company() {
    let sink = Sink::start();
    let manifests = Manifests::new().container("").webhook(
        "orders",
        &sink.url(),
        "  delivery: {batch: {maxEvents: 100, maxDelay: 1m}}",
    );
    let mut gateway = Setup::new(manifests.path()).start();
    for number in 0..30 {
        assert_eq!(gateway.hit("page_view", &format!("waiting-{number}"), ""), 204);
    }
    assert_eq!(sink.ids().len(), 0, "the batch waits for a minute or a hundred");
    let (took, status) = gateway.terminate(GRACE);
    assert!(status.success(), "{status}\n{}", gateway.log());
    println!("drained in {took:?}");
    assert_eq!(sink.ids().len(), 30);
}

#[test]
fn sigterm_ends_in_time_although_a_vendor_is_dead_and_nothing_is_lost() {
    let sink = Sink::start();
    let manifests = Manifests::new().container("").webhook("orders", &sink.url(), "");
    let mut gateway = Setup::new(manifests.path()).start();
    sink.freeze();
    for number in 0..30 {
        assert_eq!(gateway.hit("page_view", &format!("kept-{number}"), ""), 204);
    }
    let (took, _) = gateway.terminate(GRACE);
    println!("ended in {took:?}");
    sink.thaw();
    gateway.restart();
    sink.wait_for_ids(30, Duration::from_secs(60));
    wait::until_true("the books are closed", Duration::from_secs(10), || {
        gateway.imbalance("orders") == 0.0
    });
}

#[test]
fn sigterm_under_load_answers_what_it_took_and_loses_none_of_it() {
    let sink = Sink::start();
    sink.behave(&Behaviour {
        delay_ms: 50,
        ..Behaviour::default()
    });
    let manifests = Manifests::new().container("").webhook("orders", &sink.url(), "");
    let mut gateway = Setup::new(manifests.path()).start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("acknowledged");
    let arguments = [
        "--rate",
        "2000",
        "--duration",
        "3",
        "--acknowledged",
        file.to_str().unwrap(),
    ];
    let load = Load::start(gateway.address(), dir.path(), &arguments);
    wait::until_true("events arrive", Duration::from_secs(10), || sink.stats().events > 500);
    let (took, status) = gateway.terminate(GRACE);
    assert!(status.success(), "{status}\n{}", gateway.log());
    gateway.restart();
    let report = load.finish(Duration::from_secs(60));
    println!("ended in {took:?}; {report:?}");

    let acknowledged = std::fs::read_to_string(&file).unwrap();
    wait::until_true("every acknowledged event", Duration::from_secs(60), || {
        let arrived = sink.ids();
        acknowledged.lines().all(|id| arrived.contains_key(id))
    });
    assert_eq!(gateway.imbalance("orders"), 0.0);
}
