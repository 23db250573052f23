//! Replays tests/vectors/destinations: from a raw hit, through its client and the pipeline, to the exact requests that a
//! vendor gets. tests/vectors/destinations/README.md says how a file is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::USER_AGENT};
use prost::Message as _;
use serde_json::{Map, Value, json};
use tagfleet_crds::destination::VENDORS;
use tagfleet_expressions::{STEPS_PER_HIT, Steps};
use tagfleet_gateway::{
    config::{files::Sources, live::Config},
    destinations::{self, Authentication, Encoding, Protocol, Request, pub_sub::PublishRequest},
    ingest::HitRequest,
    log::{DestinationId, Verdict},
    pipeline::{self, Fate, visit::Visit},
    plan::Plan,
};

/// When every hit arrives and is sent on: 2026-01-15T11:27:00.055Z.
const NOW_MS: i64 = 1_768_476_420_055;

/// Who sends every hit that names no other visitor.
const VISITOR: &str = "203.0.113.7";

/// What every vendor's file shows at least.
const SHOWN: [&str; 3] = ["purchase", "generate_lead", "page_view"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/destinations")
}

fn files() -> BTreeMap<String, Value> {
    let entries = fs::read_dir(folder()).expect("the folder of vectors");
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), file)
        })
        .collect()
}

#[test]
fn every_hit_becomes_the_request_that_its_vector_shows() {
    let mut cases = 0;
    let mut failures = Vec::new();
    for (name, file) in files() {
        for case in file["cases"].as_array().expect("cases") {
            cases += 1;
            let expected = expected(case);
            let actual = actual(&name, &file, case);
            if expected != actual {
                failures.push(format!(
                    "{name}: {}\n{}",
                    case["name"],
                    differences(&expected, &actual).join("\n")
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {cases} differ\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// Every vendor has a file, which shows the hits that every shop sends.
#[test]
fn every_vendor_has_its_vectors() {
    let files = files();
    for vendor in VENDORS {
        let found = files.iter().find(|(_, file)| file["destination"].get(vendor).is_some());
        let (name, file) = found.unwrap_or_else(|| panic!("{vendor} has no file"));
        let text = format!("{}{}", file["hit"], file["cases"]);
        for event in SHOWN {
            assert!(text.contains(event), "{name}: no case shows {event}");
        }
    }
}

/// What a case asks for: `requests` and `refused`, or the `verdict` of an event that is not sent.
fn expected(case: &Value) -> Value {
    if let Some(verdict) = case.get("verdict") {
        return json!({ "verdict": verdict });
    }
    let mut expected = json!({ "requests": case.get("requests").unwrap_or(&json!([])) });
    if let Some(refused) = case.get("refused") {
        expected["refused"] = refused.clone();
    }
    expected
}

fn actual(name: &str, file: &Value, case: &Value) -> Value {
    let plan = plan(name, file, case);
    let client = plan.clients.first().expect("a client");
    let destination = plan.destinations.first().expect("a destination");
    let hit = merged(&file["hit"], case.get("hit"));
    let query = encoded(&hit["query"]);
    let body = match hit["lines"].as_array() {
        Some(lines) => lines.iter().map(encoded).collect::<Vec<_>>().join("\r\n"),
        None => match &hit["body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            body => body.to_string(),
        },
    };
    let headers = headers(&hit["headers"]);
    let request = HitRequest {
        method: if body.is_empty() { &Method::GET } else { &Method::POST },
        path: hit["path"].as_str().unwrap_or("/g/collect"),
        query: &query,
        headers: &headers,
        body: body.as_bytes(),
        visitor: hit["visitor"].as_str().unwrap_or(VISITOR).parse().unwrap(),
        by_trusted_proxy: false,
        received_ms: NOW_MS,
        read_cookies: &plan.policies.identity.read_cookies,
    };
    let claim = client
        .claim(&request)
        .unwrap_or_else(|refusal| panic!("{name}: {}: the client refuses the hit: {refusal}", case["name"]));
    let visit = Visit::of(&plan, request, claim.connection, claim.cookies);
    let mut steps = Steps::new(STEPS_PER_HIT);
    let mut records = Vec::new();
    let mut verdict = Verdict::Filtered;
    for claimed in claim.events {
        let Fate::Judged(judged) = pipeline::judge(&plan, claimed, &visit, &mut steps) else {
            panic!("{name}: {}: the event is dropped", case["name"])
        };
        verdict = judged.verdicts[0].1;
        if verdict == Verdict::Meant {
            records.push(judged.record);
        }
    }
    if records.is_empty() {
        return json!({ "verdict": format!("{verdict:?}") });
    }
    shown(&destination.vendor.encode(&records, NOW_MS))
}

/// The configuration of a case: the file's destination with what the case changes, and its secrets.
fn plan(name: &str, file: &Value, case: &Value) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let mut destination = json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "Destination", "metadata": {"name": "vendor"},
        "spec": {"containerRefs": [{"name": "shop"}]}
    });
    let blocks = merged(&file["destination"], case.get("destination"));
    destination["spec"]
        .as_object_mut()
        .unwrap()
        .extend(blocks.as_object().unwrap().clone());
    let secrets: Map<String, Value> = file["secrets"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), json!(STANDARD.encode(value.as_str().unwrap()))))
        .collect();
    let container = json!({
        "apiVersion": "tagfleet.dev/v1alpha1", "kind": "TaggingContainer", "metadata": {"name": "shop"},
        "spec": merged(
            &json!({"hostnames": ["metrics.shop.example"], "clients": [{"name": "web", "ga4": {}}], "privacy": {"ipAddress": "Keep"}}),
            file.get("container"),
        )
    });
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vendor"}, "data": secrets});
    for (file, manifest) in [("shop", &container), ("vendor", &destination), ("secret", &secret)] {
        fs::write(folder.path().join(format!("{file}.yaml")), manifest.to_string()).unwrap();
    }
    let sources = Sources {
        paths: vec![folder.path().to_owned()],
        secrets_dir: None,
    };
    let config = Config::load(&sources, None).unwrap_or_else(|findings| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        panic!("{name}: {}: {}", case["name"], lines.join("\n"));
    });
    config.plan(&mut |_| Ok(DestinationId(1))).unwrap()
}

/// Objects merged, the second over the first; `null` takes away.
fn merged(base: &Value, over: Option<&Value>) -> Value {
    match (base, over) {
        (base, None) => base.clone(),
        (Value::Object(base), Some(Value::Object(over))) => {
            let mut merged = base.clone();
            for (name, value) in over {
                if value.is_null() {
                    merged.remove(name);
                } else {
                    let both = merged_field(base.get(name), value);
                    merged.insert(name.clone(), both);
                }
            }
            Value::Object(merged)
        }
        (_, Some(over)) => over.clone(),
    }
}

fn merged_field(base: Option<&Value>, over: &Value) -> Value {
    base.map_or_else(|| over.clone(), |base| merged(base, Some(over)))
}

/// Parameters, written as an object, as a query.
fn encoded(parameters: &Value) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => query.append_pair(name, text),
            other => query.append_pair(name, &other.to_string()),
        };
    }
    query.finish()
}

fn headers(given: &Value) -> HeaderMap {
    let given = given.as_object().into_iter().flatten();
    let headers = given.map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
    });
    headers.collect()
}

fn shown(encoding: &Encoding) -> Value {
    let requests: Vec<Value> = encoding
        .requests
        .iter()
        .map(|encoded| request(&encoded.request))
        .collect();
    let mut shown = json!({ "requests": requests });
    if !encoding.refused.is_empty() {
        let reasons: Vec<&str> = encoding.refused.iter().map(|(_, reason)| reason.as_ref()).collect();
        shown["refused"] = json!(reasons);
    }
    if !encoding.expression_errors.is_empty() {
        shown["expression_errors"] = json!(encoding.expression_errors);
    }
    shown
}

/// A request as the files write it: URL and query apart, JSON as JSON, other text as text, bytes in hex. The gateway's own
/// User-Agent, which changes with each version, is left out.
fn request(request: &Request) -> Value {
    let mut url = request.url.clone();
    let query: Map<String, Value> = url
        .query_pairs()
        .map(|(name, value)| (name.into_owned(), json!(value)))
        .collect();
    url.set_query(None);
    let mut shown = json!({ "method": request.method.as_str(), "url": url.as_str() });
    if !query.is_empty() {
        shown["query"] = Value::Object(query);
    }
    let headers: Map<String, Value> = request
        .headers
        .iter()
        .filter(|(name, value)| *name != USER_AGENT || **value != destinations::USER_AGENT)
        .map(|(name, value)| (name.as_str().to_owned(), json!(value.to_str().unwrap())))
        .collect();
    if !headers.is_empty() {
        shown["headers"] = Value::Object(headers);
    }
    if request.authentication != Authentication::None {
        shown["authentication"] = json!(format!("{:?}", request.authentication));
    }
    if !request.body.is_empty() {
        shown["body"] = match std::str::from_utf8(&request.body) {
            _ if request.protocol == Protocol::Grpc => published(&request.body),
            Ok(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            Err(_) => json!(hex::encode(&request.body)),
        };
    }
    shown
}

/// The messages of a Publish call, behind the five bytes of gRPC's frame. No other method is called by gRPC.
fn published(body: &[u8]) -> Value {
    let call = PublishRequest::decode(&body[5..]).expect("a Publish call");
    let messages = call.messages.iter().map(|message| {
        let data: Value = serde_json::from_slice(&message.data).unwrap();
        json!({ "data": data, "attributes": message.attributes, "ordering_key": message.ordering_key })
    });
    json!({ "topic": call.topic, "messages": messages.collect::<Vec<_>>() })
}

/// Where two values differ, a line each, so that a long body need not be read twice.
fn differences(expected: &Value, actual: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", expected, actual, &mut lines);
    lines
}

fn compare(path: &str, expected: &Value, actual: &Value, lines: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let (one, other) = (one.get(name), other.get(name));
                let path = format!("{path}.{name}");
                match (one, other) {
                    (Some(one), Some(other)) => compare(&path, one, other, lines),
                    (one, other) => lines.push(line(&path, one, other)),
                }
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}[{index}]"), one, other, lines);
            }
        }
        (one, other) if one == other => {}
        (one, other) => lines.push(line(path, Some(one), Some(other))),
    }
}

fn line(path: &str, expected: Option<&Value>, actual: Option<&Value>) -> String {
    let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    format!(
        "  {path}\n    expected {}\n         got {}",
        text(expected),
        text(actual)
    )
}
