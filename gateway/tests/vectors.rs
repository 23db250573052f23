//! Replays tests/vectors: given a hit, these events come out. tests/vectors/README.md says how a file is written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{fs, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Map, Value, json};
use tagfleet_gateway::{
    ingest::{Claim, Client, ClientKind, Ga4, HitRequest, Json, JsonAuth, MeasurementProtocol, Pixel, Refusal},
    name_patterns::NamePatterns,
    secret::{Secret, Secrets},
};

/// When every hit arrives: 2026-01-15T11:27:00.055Z.
const RECEIVED_MS: i64 = 1_768_476_420_055;

/// How an id begins that was made at that time (RFC 9562: 48 bits of milliseconds, then version 7).
const EVENT_ID_PREFIX: &str = "019bc168-a7d7-7";

/// Who sends every hit that names no other visitor.
const VISITOR: &str = "203.0.113.7";

/// Replays all files of a folder; `at_least` as many cases must be there, so that a moved folder is noticed.
fn replay(folder: &str, at_least: usize) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(folder);
    let mut cases = 0;
    let mut failures = Vec::new();
    for entry in fs::read_dir(&folder).expect("the folder of vectors") {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let file: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for case in file["cases"].as_array().expect("cases") {
            cases += 1;
            let (expected, actual) = (expected(&file, case), actual(&file, case));
            if expected != actual {
                let file = path.file_name().unwrap().display();
                failures.push(format!(
                    "{file}: {}\nexpected {expected}\n     got {actual}",
                    case["name"]
                ));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {cases} differ\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(cases >= at_least, "only {cases} cases were found");
}

/// The outcome that a case asks for, with what it leaves out filled in.
fn expected(file: &Value, case: &Value) -> Value {
    if let Some(refused) = case.get("refused") {
        return json!({ "refused": refused });
    }
    let events: Vec<Value> = match (case.get("adds"), case.get("events")) {
        (Some(adds), None) => {
            let mut event = file["base"]["event"].as_object().unwrap().clone();
            event.extend(adds.as_object().unwrap().clone());
            vec![json!({ "event": event, "consent": case.get("consent").unwrap_or(&json!({})) })]
        }
        (None, Some(events)) => {
            let events = events.as_array().unwrap().iter();
            events
                .map(|event| json!({ "event": event["event"], "consent": event.get("consent").unwrap_or(&json!({})) }))
                .collect()
        }
        _ => panic!("{}: a case has adds, events or refused", case["name"]),
    };
    let count = |name: &str| case.get(name).cloned().unwrap_or(json!(0));
    let mut outcome = json!({
        "events": events, "invalid": count("invalid"), "renamed": count("renamed"), "untrusted": count("untrusted"),
    });
    if let Some(answer) = case.get("answer") {
        outcome["answer"] = answer.clone();
    }
    outcome
}

fn actual(file: &Value, case: &Value) -> Value {
    let client = client(case.get("client").unwrap_or(&file["client"]));
    let base = &file["base"];
    let url = match case.get("parameters") {
        Some(parameters) => format!("{}&{}", text(&base["url"]), text(parameters)),
        None => text(case.get("url").unwrap_or(&base["url"])),
    };
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let body = body(case);
    let default_method = if body.is_empty() { "GET" } else { "POST" };
    let headers = headers(case.get("headers").or(base.get("headers")));
    let request = HitRequest {
        method: &Method::from_bytes(case["method"].as_str().unwrap_or(default_method).as_bytes()).unwrap(),
        path,
        query,
        headers: &headers,
        body: &body,
        visitor: case["visitor"].as_str().unwrap_or(VISITOR).parse().unwrap(),
        by_trusted_proxy: false,
        received_ms: RECEIVED_MS,
        read_cookies: &NamePatterns::none(),
    };
    assert!(client.owns(path), "{}: the client does not own {path}", case["name"]);
    match client.claim(&request) {
        Ok(claim) => outcome(claim),
        Err(refusal) => refused(&refusal),
    }
}

/// Text, or the parts of a long one: each a text, or a text and how often it stands there.
fn text(given: &Value) -> String {
    match given {
        Value::Array(parts) => parts.iter().map(part).collect(),
        given => given.as_str().unwrap().to_owned(),
    }
}

fn part(given: &Value) -> String {
    match given {
        Value::Array(repeated) => {
            let times = usize::try_from(repeated[1].as_u64().unwrap()).unwrap();
            repeated[0].as_str().unwrap().repeat(times)
        }
        given => given.as_str().unwrap().to_owned(),
    }
}

/// The body: `body` as text or as JSON, `lines` joined, `body_parts` as [`text`], or `body_hex` as bytes.
fn body(case: &Value) -> Vec<u8> {
    if let Some(parts) = case.get("body_parts") {
        return text(parts).into_bytes();
    }
    if let Some(lines) = case["lines"].as_array() {
        let lines: Vec<_> = lines.iter().map(|line| line.as_str().unwrap()).collect();
        return lines.join("\n").into_bytes();
    }
    match (&case["body"], case["body_hex"].as_str()) {
        (Value::Null, Some(digits)) => hex::decode(digits).unwrap(),
        (Value::Null, None) => Vec::new(),
        (Value::String(body), _) => body.clone().into_bytes(),
        (body, _) => body.to_string().into_bytes(),
    }
}

fn headers(given: Option<&Value>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given.and_then(Value::as_object).into_iter().flatten() {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(
            name,
            HeaderValue::from_bytes(value.as_str().unwrap().as_bytes()).unwrap(),
        );
    }
    headers
}

/// The client, written as in a TaggingContainer, but with the secret itself in place of the reference.
fn client(given: &Value) -> Client {
    let secrets = |name: &str, of: &Value| of[name].as_str().map(|value| Secrets::new(Secret::new(value)));
    let (kind, settings) = given.as_object().unwrap().iter().next().unwrap();
    let path = || settings["path"].as_str().unwrap().to_owned();
    let measurement_ids = || {
        let ids = settings["measurementIds"].as_array().into_iter().flatten();
        ids.map(|id| id.as_str().unwrap().to_owned()).collect()
    };
    let kind = match kind.as_str() {
        "ga4" => ClientKind::Ga4(Ga4 {
            measurement_ids: measurement_ids(),
        }),
        "measurementProtocol" => ClientKind::MeasurementProtocol(MeasurementProtocol {
            api_secret: secrets("apiSecret", settings),
            measurement_ids: measurement_ids(),
        }),
        "json" => ClientKind::Json(Json {
            path: path(),
            auth: secrets("apiKey", settings)
                .map(JsonAuth::ApiKey)
                .or_else(|| secrets("hmac", settings).map(JsonAuth::Hmac)),
        }),
        "pixel" => ClientKind::Pixel(Pixel { path: path() }),
        other => panic!("no client {other}"),
    };
    Client {
        name: "client".to_owned(),
        kind,
    }
}

fn outcome(claim: Claim<'_>) -> Value {
    let events: Vec<Value> = claim
        .events
        .iter()
        .map(|claimed| {
            let mut event = serde_json::to_value(&claimed.event).unwrap();
            if event["event_id"]
                .as_str()
                .is_some_and(|id| id.starts_with(EVENT_ID_PREFIX))
            {
                event["event_id"] = json!("<new>");
            }
            let consent = &claimed.said.signals.consent;
            let signals: Map<String, Value> = [
                ("ad_storage", consent.ad_storage),
                ("analytics_storage", consent.analytics_storage),
                ("ad_user_data", consent.ad_user_data),
                ("ad_personalization", consent.ad_personalization),
            ]
            .into_iter()
            .filter(|(_, signal)| signal.as_str() != "unset")
            .map(|(name, signal)| (name.to_owned(), json!(signal.as_str())))
            .collect();
            json!({ "event": event, "consent": signals })
        })
        .collect();
    let mut outcome = json!({
        "events": events, "invalid": claim.invalid, "renamed": claim.renamed, "untrusted": claim.untrusted,
    });
    if let Some(answer) = claim.answer {
        assert_eq!((answer.status.as_u16(), answer.content_type), (200, "application/json"));
        outcome["answer"] = serde_json::from_slice(&answer.body).expect("an answer in JSON");
    }
    outcome
}

fn refused(refusal: &Refusal) -> Value {
    let (status, invalid) = match refusal {
        Refusal::BadRequest(_) => (400, 0),
        Refusal::NoEvent { invalid, .. } => (400, *invalid),
        Refusal::Forbidden(_) => (403, 0),
        Refusal::MethodNotAllowed(_) => (405, 0),
        Refusal::TooLarge(_) => (413, 0),
    };
    let mut refused = json!({ "status": status, "line": refusal.to_string() });
    if invalid > 0 {
        refused["invalid"] = json!(invalid);
    }
    json!({ "refused": refused })
}

#[test]
fn ga4() {
    replay("ga4", 150);
}

#[test]
fn cookies() {
    replay("cookies", 10);
}

#[test]
fn measurement_protocol() {
    replay("measurement-protocol", 50);
}

#[test]
fn json() {
    replay("json", 25);
}

#[test]
fn pixel() {
    replay("pixel", 8);
}
