//! 100,000 hits at full speed, a receiver that is killed twice, a gateway that is killed once: nothing acknowledged is
//! lost, counted by id.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{fs, time::Duration};

use tagfleet_tests::{gateway::Setup, load::Load, manifests::Manifests, sink::Sink, wait};

const HITS: usize = 100_000;
/// `maxConcurrency` times `maxEvents` of the destination: what one crash may repeat.
const REPEATS_A_CRASH: usize = 4 * 100;

#[test]
fn every_acknowledged_event_arrives_through_kills() {
    let mut sink = Sink::start();
    let delivery = "  delivery: {batch: {maxEvents: 100, maxDelay: 100ms}, maxConcurrency: 4, timeout: 5s,\n                        retry: {initialBackoff: 50ms, maxBackoff: 200ms, maxAge: 1h}}";
    let manifests = Manifests::new().container("  buffer: {disk: {maxBytes: 1Gi}}").webhook(
        "warehouse",
        &format!("{}/hook", sink.url()),
        delivery,
    );
    let mut gateway = Setup::new(manifests.path()).start();

    // An open loop far above what this machine can take: full speed.
    let dir = tempfile::tempdir().unwrap();
    let acknowledged_file = dir.path().join("acknowledged");
    let hits = HITS.to_string();
    let arguments = [
        "--rate",
        "50000",
        "--hits",
        &hits,
        "--connections",
        "64",
        "--run",
        "chaos",
        "--acknowledged",
    ];
    let arguments: Vec<&str> = arguments
        .into_iter()
        .chain([acknowledged_file.to_str().unwrap()])
        .collect();
    let load = Load::start(gateway.address(), dir.path(), &arguments);

    // Each line is "chaos-" and ten digits.
    let acknowledged_so_far = || fs::metadata(&acknowledged_file).map_or(0, |file| file.len() / 17);
    let reach = |hits: u64| {
        wait::until_true("the load goes on", Duration::from_secs(120), || {
            acknowledged_so_far() >= hits
        });
    };
    reach(15_000);
    sink.kill();
    reach(25_000);
    sink.restart();
    reach(35_000);
    // Deliveries are under way again: the kill comes in the middle of them.
    wait::until_true("events at the restarted sink", Duration::from_secs(20), || {
        sink.stats().events > 1_000
    });
    gateway.kill();
    gateway.restart();
    reach(60_000);
    sink.kill();
    reach(75_000);
    sink.restart();
    let report = load.finish(Duration::from_secs(180));

    let acknowledged: Vec<String> = fs::read_to_string(&acknowledged_file)
        .unwrap()
        .lines()
        .map(ToOwned::to_owned)
        .collect();
    assert_eq!(acknowledged.len() as u64, report.acknowledged);
    assert!(
        acknowledged.len() > HITS - 1000,
        "only those under way at the kill may be unanswered: {report:?}"
    );

    let missing = || {
        let arrived = sink.ids();
        acknowledged.iter().filter(|id| !arrived.contains_key(*id)).count()
    };
    wait::until_true("the last acknowledged event", Duration::from_secs(120), || {
        missing() == 0
    });
    wait::until_true("the books are closed", Duration::from_secs(20), || {
        let labels = [("destination", "warehouse")];
        gateway.metrics().count("tagfleet_delivery_lag_seconds", &labels) == 0.0
    });
    let repeated: usize = sink.ids().values().map(|count| *count as usize - 1).sum();
    println!(
        "\nacknowledged {}, lost {}, repeated {repeated} (at {:.0} hits/s, {} hits unanswered at the kill)",
        acknowledged.len(),
        missing(),
        report.rate,
        report.sent - report.acknowledged,
    );
    assert_eq!(gateway.imbalance("warehouse"), 0.0);
    assert!(
        repeated <= 3 * REPEATS_A_CRASH,
        "three crashes may repeat {REPEATS_A_CRASH} each, not {repeated}"
    );
}
