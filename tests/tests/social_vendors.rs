//! TikTok, Pinterest and LinkedIn, against doubles that answer and refuse as their documentation says.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

use std::time::Duration;

use serde_json::Value;
use tagfleet_tests::{
    gateway::{Gateway, Setup},
    manifests::Manifests,
    sink::Behaviour,
    vendors::{CREDENTIALS, Mood, Trouble, Vendors},
    wait,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// A visitor who agreed to everything, with an address, a click id of each vendor and an order.
const ORDER: &str = "gcd=13t3t3t3t5l1&cu=EUR&epn.value=72.05&ep.transaction_id=T-1001&pr1=idSKU-1~nmShirt~pr33.03~qt2\
                     &uid=user-42&ep.user_data.email_address=jane%40example.com&ep.ttclid=E.C.P.fake";

/// The three Destinations, by the names of their vendors' blocks. Of an event whose id begins with `bad`, each sends
/// something that its vendor refuses.
const DESTINATIONS: [(&str, &str, &str); 3] = [
    (
        "tiktok",
        "tiktokEvents",
        "pixelCode: CFAKE, parameters: {value: \"event.event_id.startsWith('bad') ? dyn('much') : dyn(event.value)\"}",
    ),
    (
        "pinterest",
        "pinterestConversions",
        "adAccountId: \"549755885175\", parameters: {action_source: \"event.event_id.startsWith('bad') ? 'shop' : 'web'\"}",
    ),
    (
        "linkedin",
        "linkedinConversions",
        "conversions: {purchase: \"1000001\"}, parameters: {conversion: \"event.event_id.startsWith('bad') ? 'urn:x' : '1000001'\"}",
    ),
];

fn secret(token: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: keys}}\nstringData: {{token: {token}}}\n")
}

fn manifests(vendors: &Vendors, token: &str) -> Manifests {
    let start = Manifests::new().container("").file("keys.yaml", &secret(token));
    DESTINATIONS.iter().fold(start, |manifests, (name, block, fields)| {
        let url = vendors.url();
        let text = format!(
            "apiVersion: tagfleet.dev/v1alpha1\nkind: Destination\nmetadata: {{name: {name}}}\nspec:\n  containerRefs: [{{name: \
             shop}}]\n  delivery: {{batch: {{maxDelay: 500ms}}, retry: {{initialBackoff: 100ms, maxBackoff: 500ms}}}}\n  {block}: \
             {{endpoint: \"{url}\", accessToken: {{secretKeyRef: {{name: keys, key: token}}}}, {fields}}}\n"
        );
        manifests.file(&format!("{name}.yaml"), &text)
    })
}

fn send(gateway: &Gateway, ids: &[&str]) {
    for id in ids {
        assert_eq!(gateway.hit("purchase", id, ORDER), 204, "{id}");
    }
}

/// The ids of the events that a vendor took, sorted.
fn taken(vendors: &Vendors, block: &str) -> Vec<String> {
    let events = vendors.events(block);
    let id = |event: &Value| {
        event["event_id"]
            .as_str()
            .or(event["eventId"].as_str())
            .unwrap()
            .to_owned()
    };
    let mut ids: Vec<String> = events.iter().map(id).collect();
    ids.sort();
    ids
}

fn wait_until_taken(vendors: &Vendors, ids: &[&str]) {
    for (name, block, _) in DESTINATIONS {
        wait::until_true(&format!("{name} took {ids:?}"), PATIENCE, || {
            taken(vendors, block) == ids
        });
    }
}

fn wait_until_settled(gateway: &Gateway, delivered: f64, dead: f64) {
    for (name, _, _) in DESTINATIONS {
        wait::until_true(&format!("{name} is settled"), PATIENCE, || {
            (
                gateway.deliveries(name, "delivered"),
                gateway.deliveries(name, "dead_lettered"),
            ) == (delivered, dead)
        });
        assert_eq!(gateway.imbalance(name), 0.0, "{name}");
    }
}

#[test]
fn of_a_batch_only_the_event_that_the_vendor_refuses_becomes_a_dead_letter() {
    let vendors = Vendors::start();
    let manifests = manifests(&vendors, CREDENTIALS);
    let gateway = Setup::new(manifests.path()).start();
    send(&gateway, &["good-1", "bad-2", "good-3", "good-4"]);
    wait_until_taken(&vendors, &["good-1", "good-3", "good-4"]);
    wait_until_settled(&gateway, 3.0, 1.0);
}

#[test]
fn a_vendor_that_is_throttled_or_fails_gets_every_event_once_it_is_well() {
    let vendors = Vendors::start();
    let manifests = manifests(&vendors, CREDENTIALS);
    let gateway = Setup::new(manifests.path()).start();
    let twice = |trouble| Mood {
        trouble: Some(trouble),
        behaviour: Behaviour {
            times: Some(2),
            ..Behaviour::default()
        },
    };
    let mut sent: Vec<&str> = Vec::new();
    for (id, trouble) in [("e1", Trouble::Throttled), ("e2", Trouble::Failing)] {
        for (_, block, _) in DESTINATIONS {
            vendors.behave(block, twice(trouble));
        }
        send(&gateway, &[id]);
        sent.push(id);
        wait_until_taken(&vendors, &sent);
    }
    wait_until_settled(&gateway, 2.0, 0.0);
}

#[test]
fn a_new_token_in_the_secret_ends_the_wait_for_credentials() {
    let vendors = Vendors::start();
    let manifests = manifests(&vendors, "an-old-token");
    let gateway = Setup::new(manifests.path()).start();
    send(&gateway, &["e1"]);
    for (name, _, _) in DESTINATIONS {
        wait::until_true(&format!("{name} waits for credentials"), PATIENCE, || {
            let status = gateway.status();
            let destinations = status["destinations"].as_array().unwrap();
            let own = destinations.iter().find(|own| own["name"] == name).unwrap();
            own["reason"] == "CredentialsRejected" && own["lastError"]["message"].to_string().contains("Secret")
        });
    }
    assert!(!gateway.log().contains("an-old-token"), "a token in the log");
    manifests.write("keys.yaml", &secret(CREDENTIALS));
    wait_until_taken(&vendors, &["e1"]);
    wait_until_settled(&gateway, 1.0, 0.0);
}

#[test]
fn what_a_vendor_refuses_for_good_becomes_dead_letters() {
    let vendors = Vendors::start();
    let manifests = manifests(&vendors, CREDENTIALS);
    let gateway = Setup::new(manifests.path()).start();
    for (_, block, _) in DESTINATIONS {
        vendors.behave(block, Trouble::Refusing);
    }
    send(&gateway, &["e1", "e2", "e3"]);
    wait_until_settled(&gateway, 0.0, 3.0);
}
