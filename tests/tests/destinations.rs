//! All destinations at once on one container, each vendor's double answering as its documentation says: while one vendor is
//! down, throttled, slow or refusing, the others do not notice, and every event ends once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tagfleet_crds::destination::VENDORS;
use tagfleet_tests::{
    gateway::{Gateway, Setup},
    http,
    manifests::Manifests,
    pubsub::PubSub,
    sink::{Behaviour, Close, Sink},
    vendors::{CREDENTIALS, Mood, Trouble, Vendors},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Hits in a second while vendors are in trouble.
const HITS_A_SECOND: u64 = 20;
/// How long each trouble lasts.
const TROUBLE: Duration = Duration::from_millis(1200);
/// What the others' lag stays below.
const MAX_LAG: f64 = 1.0;

/// A purchase with something for every vendor: who and what.
const PURCHASE: &str = "cu=EUR&epn.value=72.05&ep.transaction_id=T-1001&uid=user-42&gcs=G111&gcd=13r3r3r3r5l1\
    &pr1=idSKU-1~nmBlue%20bowl~pr33.03~qt2\
    &ep.user_data.email_address=test%40example.com&ep.user_data.phone_number=%2B14155552671\
    &ep.user_data.address.first_name=Jane&ep.user_data.address.last_name=Doe&ep.user_data.address.country=US";

/// The vendors that are told by a double, each with its block. The double's address and the credentials are filled in.
fn blocks() -> Vec<(&'static str, Value)> {
    let secret = json!({"secretKeyRef": {"name": "vendors", "key": "credentials"}});
    vec![
        (
            "metaConversions",
            json!({"pixelId": "1234567890", "accessToken": secret}),
        ),
        ("tiktokEvents", json!({"pixelCode": "C123ABC", "accessToken": secret})),
        (
            "linkedinConversions",
            json!({"conversions": {"purchase": "1000001"}, "accessToken": secret}),
        ),
        (
            "pinterestConversions",
            json!({"adAccountId": "123456789012", "accessToken": secret}),
        ),
        (
            "googleAds",
            json!({
                "customerId": "123-456-7890", "conversionActions": {"purchase": "987654321"},
                "oauth": {"clientId": secret, "clientSecret": secret, "refreshToken": secret}
            }),
        ),
        (
            "bigQuery",
            json!({"project": "demo", "dataset": "shop", "table": "events", "createTable": true}),
        ),
        (
            "snapchatConversions",
            json!({"pixelId": "11111111-2222-4333-8444-555555555555", "accessToken": secret}),
        ),
    ]
}

/// A vendor as this test sees it.
trait Vendor {
    /// The Destination's name, as in its manifest.
    fn name(&self) -> String;
    /// The vendor's block.
    fn block(&self) -> (String, Value);
    /// Brings it into trouble.
    fn trouble(&self, trouble: Kind);
    /// Ends that.
    fn recover(&self);
}

/// What becomes of a vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Down,
    Throttled,
    Slow,
    Refusing,
}

const KINDS: [Kind; 4] = [Kind::Down, Kind::Throttled, Kind::Slow, Kind::Refusing];

/// What any receiver over HTTP does in each kind of trouble; `refusing` is left to the vendor's own words.
fn behaviour(kind: Kind) -> Behaviour {
    let mut behaviour = Behaviour::default();
    match kind {
        Kind::Down => behaviour.close = Some(Close::MidBody),
        Kind::Throttled => (behaviour.status, behaviour.retry_after) = (Some(429), Some(1)),
        Kind::Slow => behaviour.delay_ms = 700,
        Kind::Refusing => behaviour.status = Some(400),
    }
    behaviour
}

/// A vendor with a double.
struct Doubled {
    block: &'static str,
    settings: Value,
    vendors: Arc<Vendors>,
}

impl Vendor for Doubled {
    fn name(&self) -> String {
        self.block.to_lowercase()
    }

    fn block(&self) -> (String, Value) {
        let mut settings = self.settings.clone();
        settings["endpoint"] = json!(self.vendors.url());
        (self.block.to_owned(), settings)
    }

    fn trouble(&self, kind: Kind) {
        let mood = match kind {
            Kind::Down | Kind::Slow => Mood::from(behaviour(kind)),
            Kind::Throttled => Mood {
                trouble: Some(Trouble::Throttled),
                behaviour: Behaviour {
                    retry_after: Some(1),
                    ..Behaviour::default()
                },
            },
            Kind::Refusing => Mood::from(Trouble::Refusing),
        };
        self.vendors.behave(self.block, mood);
    }

    fn recover(&self) {
        self.vendors.behave(self.block, Mood::default());
    }
}

/// A vendor that takes whatever it gets: Google Analytics, a webhook.
struct Plain {
    name: &'static str,
    block: &'static str,
    settings: Value,
    sink: Sink,
}

impl Vendor for Plain {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn block(&self) -> (String, Value) {
        let mut settings = self.settings.clone();
        settings["endpoint"] = json!(self.sink.url());
        (self.block.to_owned(), settings)
    }

    fn trouble(&self, kind: Kind) {
        self.sink.behave(&behaviour(kind));
    }

    fn recover(&self) {
        self.sink.behave(&Behaviour::default());
    }
}

/// Google's own Pub/Sub server.
struct Topic(PubSub);

impl Vendor for Topic {
    fn name(&self) -> String {
        "topic".to_owned()
    }

    fn block(&self) -> (String, Value) {
        let endpoint = format!("http://{}", self.0.emulator_host());
        (
            "pubSub".to_owned(),
            json!({"project": "demo", "topic": "events", "endpoint": endpoint}),
        )
    }

    fn trouble(&self, kind: Kind) {
        // gRPC codes: UNAVAILABLE, RESOURCE_EXHAUSTED, INVALID_ARGUMENT.
        match kind {
            Kind::Down => self.0.fail(14, u32::MAX >> 1),
            Kind::Throttled => self.0.fail(8, u32::MAX >> 1),
            Kind::Slow => self.0.delay(Duration::from_millis(700)),
            Kind::Refusing => self.0.fail(3, u32::MAX >> 1),
        }
    }

    fn recover(&self) {
        self.0.fail(0, 0);
        self.0.delay(Duration::ZERO);
    }
}

/// All vendors, as far as they have a double.
fn all(vendors: &Arc<Vendors>) -> Vec<Box<dyn Vendor>> {
    let mut all: Vec<Box<dyn Vendor>> = vec![
        Box::new(Plain {
            name: "analytics",
            block: "ga4",
            settings: json!({"measurementId": "G-TEST1"}),
            sink: Sink::analytics(),
        }),
        Box::new(Plain {
            name: "orders",
            block: "webhook",
            settings: json!({"url": "https://orders.shop.example/hook"}),
            sink: Sink::start(),
        }),
        Box::new(Topic(PubSub::start(&["demo/events"]))),
    ];
    let doubles = vendors.names();
    let doubled = blocks()
        .into_iter()
        .filter(|(block, _)| doubles.iter().any(|name| name == block));
    for (block, settings) in doubled {
        all.push(Box::new(Doubled {
            block,
            settings,
            vendors: Arc::clone(vendors),
        }));
    }
    all
}

#[test]
fn no_vendor_is_forgotten() {
    let there: Vec<String> = all(&Arc::new(Vendors::start()))
        .iter()
        .map(|vendor| vendor.block().0)
        .collect();
    for name in VENDORS {
        assert!(
            there.iter().any(|block| block == name),
            "{name} has no part in these tests"
        );
    }
}

fn manifest(vendor: &dyn Vendor) -> String {
    let (block, settings) = vendor.block();
    let manifest = json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": vendor.name()},
        "spec": {
            "containerRefs": [{"name": "shop"}],
            "delivery": {
                "batch": {"maxEvents": 50, "maxDelay": "50ms"}, "timeout": "5s", "maxConcurrency": 4,
                "retry": {"initialBackoff": "100ms", "maxBackoff": "500ms"}
            },
            block: settings,
        }
    });
    manifest.to_string()
}

fn secret(credentials: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendors"}, "stringData": {"credentials": credentials}
    })
    .to_string()
}

fn gateway(vendors: &[Box<dyn Vendor>], credentials: &str) -> (Manifests, Gateway) {
    let mut manifests = Manifests::new()
        .container("  privacy: {ipAddress: Keep}")
        .file("secret.yaml", &secret(credentials));
    for vendor in vendors {
        manifests = manifests.file(&format!("{}.yaml", vendor.name()), &manifest(&**vendor));
    }
    let gateway = Setup::new(manifests.path()).start();
    (manifests, gateway)
}

/// Lags of all destinations, by name.
fn lags(admin: std::net::SocketAddr) -> BTreeMap<String, f64> {
    let status = http::get(admin, "/status").expect("the gateway answers").json();
    let destinations = status["destinations"].as_array().cloned().unwrap_or_default();
    destinations
        .iter()
        .map(|it| {
            (
                it["name"].as_str().unwrap().to_owned(),
                it["lagSeconds"].as_f64().unwrap(),
            )
        })
        .collect()
}

/// Sends purchases at a steady rate until it is told to stop; returns how many.
fn shoppers(gateway: &Gateway, stop: &Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    let (address, stop) = (gateway.address(), Arc::clone(stop));
    let sent = AtomicU64::new(0);
    thread::spawn(move || {
        let begun = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let number = sent.fetch_add(1, Ordering::Relaxed);
            let status = tagfleet_tests::hit::send(address, "purchase", &format!("order-{number}"), PURCHASE);
            assert_eq!(status, 204);
            let next = Duration::from_millis(1000 * (number + 1) / HITS_A_SECOND);
            thread::sleep(next.saturating_sub(begun.elapsed()));
        }
        sent.load(Ordering::Relaxed)
    })
}

/// What a trouble did to its own vendor, and to the others.
struct Seen {
    vendor: String,
    kind: Kind,
    own: f64,
    others: f64,
}

/// Watches for as long as the trouble lasts, and returns the greatest lags.
fn watch(gateway: &Gateway, vendor: &str) -> (f64, f64) {
    let (mut own, mut others) = (0.0_f64, 0.0_f64);
    let end = Instant::now() + TROUBLE;
    while Instant::now() < end {
        for (name, lag) in lags(gateway.admin()) {
            if name == vendor {
                own = own.max(lag);
            } else {
                others = others.max(lag);
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
    (own, others)
}

#[test]
fn a_vendor_in_trouble_is_alone_with_it() {
    let doubles = Arc::new(Vendors::start());
    let vendors = all(&doubles);
    let (_manifests, gateway) = gateway(&vendors, CREDENTIALS);
    let stop = Arc::new(AtomicBool::new(false));
    let shoppers = shoppers(&gateway, &stop);
    let begun = Instant::now();

    let mut seen = Vec::new();
    for vendor in &vendors {
        let name = vendor.name();
        for kind in KINDS {
            vendor.trouble(kind);
            let (own, others) = watch(&gateway, &name);
            vendor.recover();
            seen.push(Seen {
                vendor: name.clone(),
                kind,
                own,
                others,
            });
            // The next one's watch is for its own trouble: this one has to be through with its backlog.
            wait::until_true(&format!("{name} caught up"), PATIENCE, || {
                lags(gateway.admin())[&name] < MAX_LAG / 4.0
            });
        }
    }
    stop.store(true, Ordering::Relaxed);
    let sent = shoppers.join().unwrap();
    wait::until_true("every event ended", PATIENCE, || {
        lags(gateway.admin()).values().all(|lag| *lag == 0.0)
    });

    println!("{}", table(&gateway, &vendors, &seen));
    println!("{sent} hits in {:.0} s", begun.elapsed().as_secs_f64());
    for seen in &seen {
        assert!(
            seen.others < MAX_LAG,
            "while {} was {:?} another lagged {} s",
            seen.vendor,
            seen.kind,
            seen.others
        );
    }
    for vendor in &vendors {
        let name = vendor.name();
        assert_eq!(gateway.imbalance(&name), 0.0, "{name}");
        let (delivered, dead) = (
            gateway.deliveries(&name, "delivered"),
            gateway.deliveries(&name, "dead_lettered"),
        );
        assert_eq!(delivered + dead, sent as f64, "{name}");
        assert!(
            delivered > dead && dead > 0.0,
            "{name}: {delivered} delivered, {dead} dead letters"
        );
    }
}

/// The result as docs/destinations/README.md has it.
fn table(gateway: &Gateway, vendors: &[Box<dyn Vendor>], seen: &[Seen]) -> String {
    let mut lines = vec![
        "| destination | down | throttled | slow | refusing | delivered | dead letters | ledger |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for vendor in vendors {
        let name = vendor.name();
        let cells: Vec<String> = KINDS
            .iter()
            .map(|kind| {
                let found = seen.iter().find(|it| it.vendor == name && it.kind == *kind);
                found.map_or_else(String::new, |it| format!("{:.2} / {:.2}", it.own, it.others))
            })
            .collect();
        lines.push(format!(
            "| {} | {} | {:.0} | {:.0} | {:.0} |",
            vendor.block().0,
            cells.join(" | "),
            gateway.deliveries(&name, "delivered"),
            gateway.deliveries(&name, "dead_lettered"),
            gateway.imbalance(&name)
        ));
    }
    lines.join("\n")
}

/// The state of a destination on `/status`.
fn state(gateway: &Gateway, name: &str) -> Value {
    let status = gateway.status();
    let destinations = status["destinations"].as_array().unwrap();
    destinations
        .iter()
        .find(|it| it["name"] == name)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn rejected_credentials_pause_a_destination_until_the_secret_changes() {
    let doubles = Arc::new(Vendors::start());
    let vendors: Vec<Box<dyn Vendor>> = all(&doubles)
        .into_iter()
        .filter(|vendor| vendor.block().1.to_string().contains("secretKeyRef"))
        .collect();
    let (manifests, gateway) = gateway(&vendors, "revoked-credentials");
    for number in 0..5 {
        assert_eq!(gateway.hit("purchase", &format!("order-{number}"), PURCHASE), 204);
    }
    for vendor in &vendors {
        let name = vendor.name();
        wait::until_true(&format!("{name} is paused"), PATIENCE, || {
            let state = state(&gateway, &name);
            state["state"] == "WaitingForCredentials" && state["reason"] == "CredentialsRejected"
        });
        let state = state(&gateway, &name);
        assert!(state["toDo"].as_str().unwrap().contains("Secret"), "{state}");
        let retries = gateway
            .metrics()
            .count("tagfleet_delivery_retries_total", &[("destination", &name)]);
        assert!(retries >= 1.0, "{name}: the metric shows it");
        assert!(!state.to_string().contains("revoked-credentials"), "{state}");
    }
    let log = gateway.log();
    assert!(log.contains("CredentialsRejected"), "{log}");
    assert!(!log.contains("revoked-credentials"), "{log}");

    manifests.write("secret.yaml", &secret(CREDENTIALS));
    for vendor in &vendors {
        let name = vendor.name();
        wait::until_true(&format!("{name} goes on"), PATIENCE, || {
            gateway.deliveries(&name, "delivered") == 5.0
        });
        assert_eq!(state(&gateway, &name)["state"], "Delivering", "{name}");
        assert_eq!(gateway.imbalance(&name), 0.0, "{name}");
    }
}
