//! Transformations as a configuration has them: the vectors of tests/vectors/transformations, and that nothing shows what they
//! hide, whatever is sent and however they are ordered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tagfleet_expressions::{STEPS_PER_HIT, Steps};
use tagfleet_gateway::{
    config::{files::Sources, live::Config},
    ingest::HitRequest,
    log::{DestinationId, Verdict, codec},
    name_patterns::NamePatterns,
    pipeline::{self, Fate, Judged, visit::Visit},
    plan::Plan,
    record::Record,
};

/// When every hit arrives and is sent on: 2026-01-15T11:27:00.055Z.
const NOW_MS: i64 = 1_768_476_420_055;

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "tagfleet.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The plan of a container with a JSON client, these transformations and variables, and these destinations.
fn plan(transformations: &Value, variables: &Value, destinations: &[(&str, Value)]) -> Plan {
    let mut transformations = transformations.clone();
    for (index, transformation) in transformations.as_array_mut().unwrap().iter_mut().enumerate() {
        transformation["name"] = json!(format!("t{index}"));
    }
    let variables = variables.as_object().into_iter().flatten();
    let variables: Vec<Value> = variables
        .map(|(name, expression)| json!({"name": name, "expression": expression}))
        .collect();
    let shop = json!({
        "hostnames": ["metrics.shop.example"], "clients": [{"name": "app", "json": {"path": "/v1/events"}}],
        "privacy": {"ipAddress": "Keep"}, "transformations": transformations, "variables": variables
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": STANDARD.encode("fake-secret-value")}
    });
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, manifest: &Value| {
        fs::write(folder.path().join(format!("{name}.yaml")), manifest.to_string()).unwrap();
    };
    write("container", &object("TaggingContainer", "shop", shop));
    write("secret", &secret);
    for (name, block) in destinations {
        let mut spec = block.clone();
        spec["containerRefs"] = json!([{"name": "shop"}]);
        spec["consent"] = json!({"requires": []});
        write(name, &object("Destination", name, spec));
    }
    let sources = Sources {
        paths: vec![folder.path().to_owned()],
        secrets_dir: None,
    };
    let config = Config::load(&sources, None).unwrap_or_else(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"));
    });
    let mut numbers = 1..;
    config
        .plan(&mut |_| Ok(DestinationId(numbers.next().unwrap())))
        .unwrap()
}

/// Hands `then` what becomes of a hit of the JSON client.
fn judged<T>(plan: &Plan, event: &Value, then: impl FnOnce(Judged<'_>) -> T) -> T {
    let body = event.to_string();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("user-agent", HeaderValue::from_static("Mozilla/5.0"));
    let request = HitRequest {
        method: &Method::POST,
        path: "/v1/events",
        query: "",
        headers: &headers,
        body: body.as_bytes(),
        visitor: "203.0.113.7".parse().unwrap(),
        by_trusted_proxy: false,
        read_cookies: &NamePatterns::none(),
        received_ms: NOW_MS,
    };
    let mut claim = plan.clients[0].claim(&request).unwrap();
    let visit = Visit::of(plan, request, claim.connection, std::mem::take(&mut claim.cookies));
    let mut steps = Steps::new(STEPS_PER_HIT);
    match pipeline::judge(plan, claim.events.remove(0), &visit, &mut steps) {
        Fate::Judged(judged) => then(*judged),
        Fate::Dropped(reason) => panic!("{reason:?}"),
    }
}

/// The fields of every vector's event.
fn needed() -> Map<String, Value> {
    let needed = json!({"event_name": "purchase", "event_id": "e-1", "client_id": "1.2", "timestamp_ms": NOW_MS});
    needed.as_object().unwrap().clone()
}

fn own_fields(record: &Record<'_>) -> Value {
    let mut event = serde_json::to_value(&record.event).unwrap();
    let fields = event.as_object_mut().unwrap();
    // What the client knows of the visitor by the connection.
    for name in needed().keys().map(String::as_str).chain(["ip_override", "user_agent"]) {
        fields.remove(name);
    }
    event
}

#[test]
fn every_vector_gives_the_event_that_it_shows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/transformations");
    let mut cases = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let file: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for case in file["cases"].as_array().unwrap() {
            cases += 1;
            let orders = (
                "orders",
                json!({"webhook": {"url": "https://orders.shop.example/hook"}}),
            );
            let plan = plan(&case["transformations"], &case["variables"], &[orders]);
            let mut event = case["event"].clone();
            event.as_object_mut().unwrap().extend(needed());
            judged(&plan, &event, |judged| {
                assert_eq!(own_fields(&judged.record), case["gives"], "{}", case["name"]);
                let mut seen = judged.record;
                plan.destinations[0].view.apply(&mut seen, &mut BTreeMap::new());
                assert_eq!(
                    &own_fields(&seen),
                    case.get("view").unwrap_or(&case["gives"]),
                    "{}",
                    case["name"]
                );
            });
        }
    }
    assert!(cases >= 8, "only {cases} cases were found");
}

/// Parameters with what is sent in them: nothing else of an event has any of it.
const SENT: [(&str, &str); 9] = [
    ("page_title", "Zqpagetitlexq"),
    ("search_term", "Zqsearchtermxq"),
    ("user_id", "Zquseridxq"),
    ("user_data.email_address", "zqemailxq@shop.example"),
    ("user_data.phone_number", "+4917155501234"),
    ("user_data.address.first_name", "Zqfirstnamexq"),
    ("user_data.address.city", "Zqcityxq"),
    ("items.item_id", "Zqitemidxq"),
    ("cart.notes.text", "Zqnotexq"),
];

fn sent() -> Value {
    let mut event = json!({
        "value": 72.05, "currency": "EUR", "transaction_id": "T-1001",
        "page_location": "https://shop.example/thanks", "page_title": SENT[0].1, "search_term": SENT[1].1, "user_id": SENT[2].1,
        "user_data": {"email_address": [SENT[3].1], "phone_number": SENT[4].1, "address": [{"first_name": SENT[5].1, "city": SENT[6].1}]},
        "items": [{"item_id": SENT[7].1, "price": 33.03, "quantity": 2}, {"item_id": SENT[7].1}],
        "cart": {"notes": [{"text": SENT[8].1}], "size": 2},
        "click_ids": {"ttclid": "E.C.P.fakeclickid"}
    });
    event.as_object_mut().unwrap().extend(needed());
    event
}

/// Variables that read what is sent, by themselves, by way of each other, and as a whole.
fn variables() -> Value {
    json!({
        "title": "event.page_title", "again": "vars.title + '!'", "whole": "event", "city": "event.user_data.address[0].city",
        "mail": "event.user_data.email_address[0].split('@')[0]", "number": "event.items.map(i, i.item_id)",
    })
}

/// Destinations that send what they can, variables and parameters included.
fn destinations() -> Vec<(&'static str, Value)> {
    let key = json!({"secretKeyRef": {"name": "s", "key": "k"}});
    let parameters = json!({
        "a": "vars.again", "b": "vars.whole", "c": "vars.city", "d": "vars.mail", "e": "event.page_title", "f": "vars.number"
    });
    vec![
        (
            "hook",
            json!({"webhook": {"url": "https://orders.shop.example/hook", "parameters": parameters}}),
        ),
        (
            "queue",
            json!({"pubSub": {
                "project": "demo-project", "topic": "hits", "parameters": parameters,
                "attributes": {"title": "vars.title", "city": "vars.city"}, "endpoint": "https://pubsub.example"
            }}),
        ),
        (
            "meta",
            json!({"metaConversions": {"pixelId": "1234567890", "accessToken": key, "parameters": {"custom_data.a": "vars.again"}}}),
        ),
        (
            "tiktok",
            json!({"tiktokEvents": {"pixelCode": "CODE", "accessToken": key, "parameters": {"properties.a": "vars.again"}}}),
        ),
        (
            "pinterest",
            json!({"pinterestConversions": {"adAccountId": "123", "accessToken": key}}),
        ),
        (
            "analytics",
            json!({"ga4": {"measurementId": "G-TEST1", "apiSecret": key, "parameters": {"a": "vars.again"}}}),
        ),
        (
            "table",
            json!({"bigQuery": {"project": "demo-project", "dataset": "d", "table": "t", "endpoint": "https://bigquery.example"}}),
        ),
    ]
}

const NAMES: [&str; 7] = ["hook", "queue", "meta", "tiktok", "pinterest", "analytics", "table"];

/// A protection: what of [`SENT`] it hides, and whether it is made at all.
#[derive(Clone, Debug)]
struct Protection {
    manifest: Value,
    hides: BTreeSet<&'static str>,
    destinations: Option<Vec<&'static str>>,
}

fn protection() -> impl Strategy<Value = Protection> {
    let names = prop::sample::subsequence((0..SENT.len()).collect::<Vec<_>>(), 1..4);
    let kind = prop::sample::select(vec!["exclude", "hash", "allow"]);
    // Each with whether a protection is made under it.
    let when = prop::sample::select(vec![
        (None, true),
        (Some("event.event_name == 'purchase'"), true),
        (Some("event.absent.member > 1"), true),
        (Some("event.value"), true),
        (Some("vars.whole.page_title == ''"), true),
        (Some("1 > 2"), false),
    ]);
    let destinations = prop::option::of(prop::sample::subsequence(NAMES.to_vec(), 1..NAMES.len()));
    let whole = any::<bool>();
    (names, kind, when, destinations, whole).prop_map(|(indexes, kind, (when, made), destinations, whole)| {
        // A parameter by itself, or all of the field that it is in.
        let listed = |path: &'static str| if whole { path.split('.').next().unwrap() } else { path };
        let named: Vec<&str> = indexes.iter().map(|index| listed(SENT[*index].0)).collect();
        let covers = |path: &str| {
            named
                .iter()
                .any(|name| path == *name || path.starts_with(&format!("{name}.")))
        };
        let hidden = SENT.iter().filter(|(path, _)| covers(path) != (kind == "allow"));
        let mut manifest = json!({ kind: named.iter().collect::<BTreeSet<_>>() });
        if let Some(when) = when {
            manifest["when"] = json!(when);
        }
        if let Some(destinations) = &destinations {
            manifest["destinations"] = json!(destinations);
        }
        // What this one says depends on what was made before.
        let is_certain = made && when != Some("vars.whole.page_title == ''");
        Protection {
            hides: hidden.map(|(_, value)| *value).filter(|_| is_certain).collect(),
            manifest,
            destinations,
        }
    })
}

/// What is added afterwards from what is left, and could carry what was hidden. What is copied for all is no part of what is
/// then hidden from some: only where all is hidden for all is there a copy for all.
fn additions(for_all: bool) -> Vec<Value> {
    let augment = json!({
        "copy.title": "vars.again", "copy.city": "vars.city", "copy.mail": "vars.mail", "copy.items": "vars.number",
        "copy.term": "event.search_term"
    });
    let mut additions = vec![json!({"augment": augment, "destinations": NAMES})];
    if for_all {
        additions.push(json!({ "augment": augment }));
    }
    additions
}

fn assert_hidden(bytes: &[u8], hidden: &BTreeSet<&str>, place: &str) {
    let text = String::from_utf8_lossy(bytes);
    // A local part is as telling as the whole address.
    for value in hidden.iter().map(|value| value.split('@').next().unwrap()) {
        assert!(!text.contains(value), "{value} is in {place}: {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// No raw value of an excluded or hashed parameter is in the log, in any request, or in a dead letter.
    #[test]
    fn what_is_hidden_is_in_no_byte_of_log_request_or_dead_letter(protections in prop::collection::vec(protection(), 1..5)) {
        let for_all = protections.iter().all(|protection| protection.destinations.is_none());
        let manifests = protections.iter().map(|protection| protection.manifest.clone());
        let manifests: Vec<Value> = manifests.chain(additions(for_all)).collect();
        let plan = plan(&json!(manifests), &variables(), &destinations());
        let hidden = |name: Option<&str>| -> BTreeSet<&str> {
            let concern = protections.iter().filter(|protection| match (&protection.destinations, name) {
                (None, _) => true,
                (Some(named), Some(name)) => named.contains(&name),
                (Some(_), None) => false,
            });
            concern.flat_map(|protection| protection.hides.iter().copied()).collect()
        };
        judged(&plan, &sent(), |judged| {
            let mut payload = Vec::new();
            codec::encode(&judged.record, &mut payload);
            assert_hidden(&payload, &hidden(None), "the log");
            for (destination, (_, verdict)) in plan.destinations.iter().zip(&judged.verdicts) {
                if *verdict != Verdict::Meant {
                    continue;
                }
                let hidden = hidden(Some(&destination.name));
                let letter = destination.view.of_payload(&payload).unwrap();
                assert_hidden(&letter, &hidden, &format!("the dead letter of {}", destination.name));
                // As it is sent first, and as it is sent when it is replayed.
                for stored in [&payload, &letter] {
                    let mut record = codec::decode(stored).unwrap();
                    destination.view.apply(&mut record, &mut BTreeMap::new());
                    for encoded in destination.vendor.encode(&[record], NOW_MS).requests {
                        let request = encoded.request;
                        let place = format!("the request to {}", destination.name);
                        assert_hidden(request.url.as_str().as_bytes(), &hidden, &place);
                        assert_hidden(format!("{:?}", request.headers).as_bytes(), &hidden, &place);
                        assert_hidden(&request.body, &hidden, &place);
                    }
                }
            }
        });
    }
}

/// The property above would hold for requests without anything in them, too.
#[test]
fn without_protection_everything_is_sent() {
    let plan = plan(&json!([]), &variables(), &destinations());
    judged(&plan, &sent(), |judged| {
        let hook = plan
            .destinations
            .iter()
            .find(|destination| &*destination.name == "hook")
            .unwrap();
        let request = &hook.vendor.encode(&[judged.record], NOW_MS).requests[0].request;
        let body = String::from_utf8_lossy(&request.body).into_owned();
        for (name, value) in SENT {
            assert!(body.contains(value), "{name} is not in {body}");
        }
        assert_eq!(
            judged
                .verdicts
                .iter()
                .filter(|(_, verdict)| *verdict == Verdict::Meant)
                .count(),
            NAMES.len()
        );
    });
}
