//! The configuration is edited while hits come in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    collections::HashSet,
    fs, thread,
    time::{Duration, Instant},
};

use tagfleet_tests::{
    gateway::{Gateway, Setup},
    load::Load,
    manifests::{self, Manifests},
    sink::Sink,
    wait,
};

const DELIVERY: &str = "  delivery: {batch: {maxEvents: 50, maxDelay: 50ms}}";

fn orders(sink: &Sink) -> String {
    manifests::webhook("orders", &format!("{}/hook", sink.url()), DELIVERY)
}

/// Applies a change and says how long the gateway took to put it in force.
fn apply(gateway: &Gateway, change: impl FnOnce()) -> Duration {
    let before = gateway.configuration();
    let start = Instant::now();
    change();
    wait::until_true("the changed configuration is in force", Duration::from_secs(10), || {
        gateway.configuration() != before
    });
    start.elapsed()
}

#[test]
fn an_edited_destination_is_in_force_within_a_second_and_no_hit_is_dropped() {
    let (old, new) = (Sink::start(), Sink::start());
    let manifests = Manifests::new().container("").file("orders.yaml", &orders(&old));
    let gateway = Setup::new(manifests.path()).start();
    let dir = tempfile::tempdir().unwrap();
    let acknowledged = dir.path().join("acknowledged");
    let arguments = [
        "--rate",
        "1000",
        "--duration",
        "6",
        "--acknowledged",
        acknowledged.to_str().unwrap(),
    ];
    let load = Load::start(gateway.address(), dir.path(), &arguments);

    wait::until_true("events at the first receiver", Duration::from_secs(10), || {
        old.stats().events > 500
    });
    let took = apply(&gateway, || manifests.write("orders.yaml", &orders(&new)));
    println!("in force after {took:?}");
    assert!(took <= Duration::from_secs(1), "{took:?}");
    wait::until_true("events at the second receiver", Duration::from_secs(10), || {
        new.stats().events > 500
    });
    let left_behind = old.stats().events;

    // A broken edit is named, counted, and changes nothing.
    let broken = orders(&new).replace("maxEvents: 50", "maxEvents: many");
    let line = broken.lines().position(|line| line.contains("many")).unwrap() + 1;
    manifests.write("orders.yaml", &broken);
    wait::until_true("the mistake is counted", Duration::from_secs(5), || {
        gateway.metrics().count("tagfleet_config_errors_total", &[]) >= 1.0
    });
    let place = format!("orders.yaml:{line}");
    assert!(gateway.log().contains(&place), "{place} is not in\n{}", gateway.log());
    let before = new.stats().events;
    wait::until_true("events go on", Duration::from_secs(10), || {
        new.stats().events > before + 200
    });

    // Mended, it is taken up again.
    manifests.write("orders.yaml", &orders(&old));
    wait::until_true("events at the first receiver again", Duration::from_secs(10), || {
        old.stats().events > left_behind + 200
    });

    let report = load.finish(Duration::from_secs(60));
    assert_eq!(
        (report.acknowledged, report.errors.len()),
        (report.sent, 0),
        "{report:?}"
    );
    let sent: HashSet<String> = fs::read_to_string(&acknowledged)
        .unwrap()
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    wait::until_true("every event at one of the receivers", Duration::from_secs(20), || {
        let (at_old, at_new) = (old.ids(), new.ids());
        sent.iter().all(|id| at_old.contains_key(id) || at_new.contains_key(id))
    });
    assert_eq!(gateway.imbalance("orders"), 0.0);
}

#[test]
fn a_destination_that_is_added_gets_only_what_comes_after() {
    let (first, second) = (Sink::start(), Sink::start());
    let manifests = Manifests::new().container("").webhook("first", &first.url(), DELIVERY);
    let gateway = Setup::new(manifests.path()).start();
    assert_eq!(gateway.hit("page_view", "before", ""), 204);
    first.wait_for_ids(1, Duration::from_secs(10));

    apply(&gateway, || {
        manifests.write("second.yaml", &manifests::webhook("second", &second.url(), DELIVERY));
    });
    assert_eq!(gateway.hit("page_view", "after", ""), 204);
    second.wait_for_ids(1, Duration::from_secs(10));
    first.wait_for_ids(2, Duration::from_secs(10));
    assert_eq!(second.ids().into_keys().collect::<Vec<_>>(), ["after"]);
    for destination in ["first", "second"] {
        assert_eq!(gateway.imbalance(destination), 0.0, "{destination}");
    }
}

#[test]
fn the_backlog_of_a_deleted_destination_is_taken_up_by_one_of_the_same_name() {
    let mut sink = Sink::start();
    let text = manifests::webhook(
        "orders",
        &sink.url(),
        "  delivery: {batch: {maxDelay: 50ms}, retry: {initialBackoff: 100ms, maxBackoff: 500ms}}",
    );
    let manifests = Manifests::new().container("").file("orders.yaml", &text);
    let gateway = Setup::new(manifests.path()).start();
    sink.kill();
    for number in 0..20 {
        assert_eq!(gateway.hit("page_view", &format!("kept-{number}"), ""), 204);
    }
    apply(&gateway, || manifests.remove("orders.yaml"));
    thread::sleep(Duration::from_millis(500));
    sink.restart();
    apply(&gateway, || manifests.write("orders.yaml", &text));
    sink.wait_for_ids(20, Duration::from_secs(20));
    assert_eq!(gateway.imbalance("orders"), 0.0);
}
