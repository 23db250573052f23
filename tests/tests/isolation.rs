//! A destination that is dead, slow or rude harms itself only.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{thread, time::Duration};

use tagfleet_tests::{
    gateway::Setup,
    http,
    load::Load,
    manifests::Manifests,
    ports,
    sink::{Behaviour, Close, Sink},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(20);
const QUICK: &str = "  delivery: {batch: {maxEvents: 50, maxDelay: 50ms}, timeout: 1s, retry: {initialBackoff: 100ms, maxBackoff: 500ms}}";

#[test]
fn a_dead_vendor_slows_neither_ingest_nor_another_destination() {
    let (healthy, frozen) = (Sink::start(), Sink::start());
    frozen.freeze();
    let manifests = Manifests::new()
        .container("")
        .webhook("healthy", &healthy.url(), QUICK)
        .webhook("frozen", &frozen.url(), QUICK)
        .webhook("refusing", &format!("http://{}", ports::free()), QUICK);
    let gateway = Setup::new(manifests.path()).start();
    let dir = tempfile::tempdir().unwrap();
    let load = Load::start(gateway.address(), dir.path(), &["--rate", "1000", "--duration", "3"]);
    let report = load.finish(Duration::from_secs(60));
    println!("{report:?}");
    assert_eq!((report.acknowledged, report.errors.len()), (3000, 0), "{report:?}");

    // The healthy one is served while the others are dead, and the gateway stays ready.
    healthy.wait_for_ids(3000, Duration::from_secs(10));
    assert_eq!(http::get(gateway.admin(), "/readyz").unwrap().status, 200);
    let lag = |name| {
        gateway
            .metrics()
            .count("tagfleet_delivery_lag_seconds", &[("destination", name)])
    };
    assert!(lag("frozen") > 0.0 && lag("refusing") > 0.0);
    wait::until_true("the healthy one has no lag", PATIENCE, || lag("healthy") == 0.0);

    // Back to life, it gets everything.
    frozen.thaw();
    frozen.wait_for_ids(3000, PATIENCE);
    for destination in ["healthy", "frozen", "refusing"] {
        assert_eq!(gateway.imbalance(destination), 0.0, "{destination}");
    }
}

#[test]
fn a_vendor_that_says_when_to_come_back_is_left_alone_until_then() {
    let sink = Sink::start();
    sink.behave(&Behaviour {
        status: Some(429),
        retry_after: Some(3),
        times: Some(1),
        ..Behaviour::default()
    });
    let manifests = Manifests::new().container("").webhook("orders", &sink.url(), QUICK);
    let gateway = Setup::new(manifests.path()).start();
    assert_eq!(gateway.hit("purchase", "patient", ""), 204);
    wait::until_true("the first request", PATIENCE, || sink.stats().requests == 1);
    thread::sleep(Duration::from_secs(2));
    assert_eq!(sink.stats().requests, 1, "Retry-After is longer than the backoff");
    sink.wait_for_ids(1, PATIENCE);
}

#[test]
fn what_a_vendor_refuses_for_good_is_a_dead_letter() {
    let sink = Sink::start();
    sink.behave(&Behaviour {
        status: Some(400),
        ..Behaviour::default()
    });
    let manifests = Manifests::new().container("").webhook("orders", &sink.url(), QUICK);
    let gateway = Setup::new(manifests.path()).start();
    for number in 0..5 {
        assert_eq!(gateway.hit("purchase", &format!("refused-{number}"), ""), 204);
    }
    wait::until_true("five dead letters", PATIENCE, || {
        gateway
            .metrics()
            .count("tagfleet_dead_letters", &[("destination", "orders")])
            == 5.0
    });
    assert_eq!(gateway.deliveries("orders", "dead_lettered"), 5.0);
    assert_eq!(gateway.imbalance("orders"), 0.0);
}

#[test]
fn a_connection_cut_in_the_middle_is_tried_again_and_a_lost_answer_repeats_the_batch() {
    let sink = Sink::start();
    let manifests = Manifests::new().container("").webhook("orders", &sink.url(), QUICK);
    let gateway = Setup::new(manifests.path()).start();
    let once = |close| Behaviour {
        close: Some(close),
        times: Some(1),
        ..Behaviour::default()
    };
    sink.behave(&once(Close::MidBody));
    assert_eq!(gateway.hit("purchase", "cut", ""), 204);
    sink.wait_for_ids(1, PATIENCE);
    assert_eq!(sink.ids()["cut"], 1);

    sink.behave(&once(Close::BeforeAnswer));
    assert_eq!(gateway.hit("purchase", "unanswered", ""), 204);
    wait::until_true("the repeat", PATIENCE, || sink.ids().get("unanswered") == Some(&2));
    wait::until_true("two deliveries", PATIENCE, || {
        gateway.deliveries("orders", "delivered") == 2.0
    });
    assert_eq!(gateway.imbalance("orders"), 0.0);
}
