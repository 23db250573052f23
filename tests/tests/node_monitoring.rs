//! What an operator on call sees: the Prometheus Operator takes up our ServiceMonitors and PrometheusRules, vendors go away, refuse
//! and reject, the right alerts fire, the runbooks' commands are typed, the alerts clear; every panel of the dashboards has
//! data. It takes half an hour, so that only `make e2e` runs it (`TAGFLEET_LONG=1`), after `scripts/cluster monitoring`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    collections::BTreeSet,
    env,
    net::SocketAddr,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use kube::ResourceExt as _;
use serde_json::{Value, json};
use tagfleet_tests::{
    cluster::{
        fleet::{Fleet, PATIENCE, assert_nothing_refused, webhook},
        node::{ADDRESS, Node, address},
    },
    figures::{note, seconds},
    http,
    page::{self, Shell},
    process,
    sink::{Behaviour, Sink},
    skip,
    vendors::{CREDENTIALS, Vendors},
};

/// How long everything is well at first.
const WELL: Duration = Duration::from_secs(120);
/// A lag of a minute, the five minutes for which it has to last, and what scraping and rules take.
const FIRES: Duration = Duration::from_secs(10 * 60);
/// The longest window of these alerts is a quarter of an hour.
const CLEARS: Duration = Duration::from_secs(25 * 60);
/// The load comes in pieces of so many seconds.
const PIECE: u32 = 30;

/// An alert and the destination that it is about, or nothing.
type Alert = (String, String);

/// The Prometheus that the Prometheus Operator made of tests/cluster/monitoring/prometheus.yaml.
struct Prometheus(SocketAddr);

impl Prometheus {
    fn of(node: &Node) -> Self {
        let pods = node.cluster().existing_namespace("monitoring").wait_for_pods(
            "app.kubernetes.io/name=prometheus",
            1,
            PATIENCE,
        );
        Self(address(&pods[0], 9090))
    }

    /// The series of an instant query: labels and value.
    fn ask(&self, query: &str) -> Vec<(Value, f64)> {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = http::get(self.0, &format!("/api/v1/query?query={encoded}")).expect("Prometheus answers");
        let answer = answer.json();
        let series = answer["data"]["result"]
            .as_array()
            .unwrap_or_else(|| panic!("{query}: {answer}"));
        let value = |one: &Value| one["value"][1].as_str().and_then(|text| text.parse().ok());
        series
            .iter()
            .map(|one| (one["metric"].clone(), value(one).expect("a number")))
            .collect()
    }

    /// The alerts of ours that fire.
    fn firing(&self) -> BTreeSet<Alert> {
        let text = |labels: &Value, name: &str| labels[name].as_str().unwrap_or_default().to_owned();
        let firing = self.ask("ALERTS{alertname=~\"Tagfleet.*\", alertstate=\"firing\"}");
        let alert = |(labels, _): &(Value, f64)| (text(labels, "alertname"), text(labels, "destination"));
        firing.iter().map(alert).collect()
    }
}

/// The fleet under load, watched by Prometheus.
struct Watched<'a> {
    fleet: Fleet<'a>,
    prometheus: Prometheus,
    shell: Shell,
}

impl Watched<'_> {
    /// Sends views and purchases until `done` says so of the alerts that fire, which must be among `allowed` all the time.
    /// Returns how long that took.
    fn until(
        &self,
        what: &str,
        patience: Duration,
        allowed: &BTreeSet<Alert>,
        mut done: impl FnMut(&BTreeSet<Alert>) -> bool,
    ) -> Duration {
        let start = Instant::now();
        let mut before = BTreeSet::new();
        loop {
            let loads = [
                self.fleet.load_of("page_view", 40, PIECE),
                self.fleet.load_of("purchase", 8, PIECE),
            ];
            let piece = Instant::now();
            let mut is_done = false;
            while piece.elapsed() < Duration::from_secs(PIECE.into()) {
                let firing = self.prometheus.firing();
                if firing != before {
                    println!("{what}: after {} these fire: {firing:?}", seconds(start.elapsed()));
                }
                let unexpected: Vec<_> = firing.difference(allowed).collect();
                assert!(unexpected.is_empty(), "{what}: these should not fire: {unexpected:?}");
                is_done |= done(&firing);
                before = firing;
                thread::sleep(Duration::from_secs(3));
            }
            for load in loads {
                assert_nothing_refused(&self.fleet.finish(load));
            }
            if is_done {
                return start.elapsed();
            }
            assert!(
                start.elapsed() < patience,
                "{what}: not within {patience:?}; these fire: {before:?}"
            );
        }
    }

    /// Types lines of a runbook's page, with its variables, and returns what they print.
    fn shell(&self, destination: &str, lines: &str) -> String {
        let variables = [
            ("NS", self.fleet.space.name()),
            ("TC", "shop"),
            ("DEST", destination),
            ("TOKEN", CREDENTIALS),
        ];
        self.shell.run(lines, &variables)
    }
}

fn alerts(list: &[(&str, &str)]) -> BTreeSet<Alert> {
    list.iter()
        .map(|(name, destination)| ((*name).to_owned(), (*destination).to_owned()))
        .collect()
}

/// What a page has in its `n`th block of commands (counted from 0), but for the lines that set a runbook's variables.
fn commands(page: &str, n: usize) -> String {
    let blocks = page::blocks(page);
    let (_, block) = blocks
        .iter()
        .filter(|(kind, _)| kind.is_empty())
        .nth(n)
        .expect("a block of commands");
    let is_typed = |line: &&str| !line.trim_start().starts_with("NS=");
    block.lines().filter(is_typed).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_right_alerts_fire_while_vendors_fail_and_clear_by_the_runbooks() {
    let test = "the_right_alerts_fire_while_vendors_fail_and_clear_by_the_runbooks";
    if env::var_os("TAGFLEET_LONG").is_none() {
        skip::skip(test, "takes half an hour: make e2e");
        return;
    }
    let Some(node) = Node::get(test) else {
        return;
    };
    let shell = Shell::of(node.cluster());
    println!("{}", shell.run(&commands("docs/monitoring.md", 0), &[]));
    let (orders, mut partner, stock, vendors) = (
        Sink::at(ADDRESS),
        Sink::at(ADDRESS),
        Sink::at(ADDRESS),
        Vendors::at(ADDRESS),
    );
    let container = json!({
        "replicas": {"min": 2, "max": 2},
        "monitoring": {"objectives": {"deliveryLag": "1m"}},
        "networkPolicy": {"monitoring": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]},
    });
    let fleet = Fleet::with(node, "monitoring", &container, &webhook(&orders));
    let space = &fleet.space;
    space.apply_json(&json!({
        "apiVersion": "v1", "kind": "Secret", "stringData": {"meta": CREDENTIALS},
        "metadata": {"name": "shop-secrets", "labels": {"tagfleet.dev/credentials": "true"}},
    }));
    fleet.destination("partner", &webhook(&partner));
    let mut large = webhook(&stock);
    large["trigger"] = json!({"events": ["purchase"], "when": "event.value > 40.0"});
    large["delivery"]["batch"] = json!({"maxEvents": 1, "maxDelay": "100ms"});
    fleet.destination("stock", &large);
    fleet.destination(
        "meta",
        &json!({
            "trigger": {"events": ["purchase"]},
            "consent": {"requires": []},
            "metaConversions": {
                "pixelId": "1234567890", "endpoint": vendors.url(),
                "accessToken": {"secretKeyRef": {"name": "shop-secrets", "key": "meta"}},
            },
        }),
    );
    for destination in ["orders", "partner", "stock", "meta"] {
        space.wait_for_condition(
            &format!("destination/{destination}"),
            "Accepted",
            ("True", "Accepted"),
            PATIENCE,
        );
    }
    let prometheus = Prometheus::of(node);
    let watched = Watched {
        fleet,
        prometheus,
        shell,
    };
    let space = &watched.fleet.space;

    // While all is well, nothing fires.
    let start = Instant::now();
    let none = BTreeSet::new();
    watched.until("all is well", WELL * 2, &none, |_| start.elapsed() > WELL);
    let up = format!("sum by (job) (up{{namespace=~\"{}|tagfleet\"}})", space.name());
    let scraped = watched.prometheus.ask(&up);
    let jobs: Vec<_> = scraped
        .iter()
        .map(|(labels, up)| (labels["job"].as_str().unwrap_or_default(), *up))
        .collect();
    assert_eq!(
        jobs.iter().find(|(job, _)| *job == "shop-gateway"),
        Some(&("shop-gateway", 2.0)),
        "{jobs:?}"
    );
    assert!(
        jobs.iter()
            .any(|(job, up)| job.starts_with("tagfleet-operator") && *up > 0.0),
        "{jobs:?}"
    );

    // The partner is gone, the stock refuses all it gets, and somebody broke Meta's token.
    partner.kill();
    let refuses = Behaviour {
        status: Some(400),
        ..Behaviour::default()
    };
    stock.behave(&refuses);
    watched.shell(
        "meta",
        &commands("docs/runbooks/TagfleetCredentialsRejected.md", 1).replace("$TOKEN", "a-bad-token"),
    );
    let expected = alerts(&[
        ("TagfleetVendorFails", "partner"),
        ("TagfleetDeliveryLags", "partner"),
        ("TagfleetVendorRefuses", "stock"),
        ("TagfleetCredentialsRejected", "meta"),
    ]);
    // What waits for a token lags, too; and whether its few requests count as failing is a matter of when they are made.
    let mut allowed = expected.clone();
    allowed.extend(alerts(&[
        ("TagfleetDeliveryLags", "meta"),
        ("TagfleetVendorFails", "meta"),
    ]));
    let fired = watched.until("vendors fail", FIRES, &allowed, |firing| expected.is_subset(firing));
    for (destination, reason) in [("partner", "VendorFailing"), ("meta", "CredentialsRejected")] {
        let message = space.wait_for_condition(
            &format!("destination/{destination}"),
            "Delivering",
            ("False", reason),
            PATIENCE,
        );
        println!("{destination}: {message}");
    }

    // What the pages say is typed.
    println!(
        "{}",
        watched.shell("partner", &commands("docs/runbooks/TagfleetVendorFails.md", 0))
    );
    let why = watched.shell("stock", &commands("docs/runbooks/TagfleetVendorRefuses.md", 0));
    assert!(why.contains("refused\t400"), "{why}");
    partner.restart();
    stock.behave(&Behaviour::default());
    watched.shell("meta", &commands("docs/runbooks/TagfleetCredentialsRejected.md", 1));
    let kept = watched
        .prometheus
        .ask("sum(tagfleet_dead_letters{destination=\"stock\"})")[0]
        .1;
    assert!(kept > 0.0);
    for pod in watched.fleet.pods(2) {
        let replay = commands("docs/runbooks/TagfleetVendorRefuses.md", 1).replace("$POD", &pod.name_any());
        println!("{}", watched.shell("stock", &replay));
    }
    let cleared = watched.until("vendors are back", CLEARS, &allowed, BTreeSet::is_empty);
    for destination in ["orders", "partner", "stock", "meta"] {
        space.wait_for_condition(
            &format!("destination/{destination}"),
            "Delivering",
            ("True", "Delivering"),
            PATIENCE,
        );
    }

    // No event was lost, and none is unaccounted for.
    let arrived = watched.fleet.assert_nothing_lost(&partner);
    let imbalance = watched.prometheus.ask("max(abs(tagfleet_ledger_imbalance_events))");
    assert_eq!(imbalance[0].1, 0.0);
    let dead = watched.prometheus.ask("sum(tagfleet_dead_letters)");
    assert_eq!(dead[0].1, 0.0, "they were sent again");

    // Every panel has data, whichever destination is chosen.
    for destination in ["partner", "orders", "stock", "meta"] {
        panels(&watched, destination, start.elapsed());
    }
    note(
        "With the Prometheus Operator: one vendor is switched off, one refuses events, one rejects the token",
        &format!(
            "four alerts fire, for those three and nothing else, the last after {}; they clear, the last {} after the runbooks were \
             followed; {arrived} hits, none lost; every panel of the dashboards has data",
            seconds(fired),
            seconds(cleared)
        ),
    );
}

/// Asks for every panel of the dashboards since the test's start.
fn panels(watched: &Watched<'_>, destination: &str, time: Duration) {
    let minutes = time.as_secs().div_ceil(60).to_string();
    let namespace = format!("namespace={}", watched.fleet.space.name());
    let output = Command::new(process::repository().join("scripts/dashboards"))
        .args([
            "query",
            "--minutes",
            &minutes,
            "--set",
            &namespace,
            "--set",
            &format!("destination={destination}"),
        ])
        .args([
            "--draw",
            &format!("{}/dashboards/{destination}", env!("CARGO_TARGET_TMPDIR")),
        ])
        .arg(format!("http://{}", watched.prometheus.0))
        .output()
        .expect("scripts/dashboards");
    let printed = String::from_utf8_lossy(&output.stdout);
    println!("{destination}: {printed}");
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
