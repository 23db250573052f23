//! Replays tests/vectors/consent: given a hit and a container, this consent is in force, decided on by these.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value as Json, json};
use tagfleet_crds::TaggingContainerSpec;

use super::*;
use crate::{
    config::policies,
    ingest::{Client, ClientKind, Ga4, HitRequest, Json as JsonClient, MeasurementProtocol, Pixel},
    pipeline::policies::Policies,
    record::SIGNALS,
    secret::{Secret, Secrets},
    testing,
};

fn client(given: &Json) -> Client {
    let kind = match given.as_object().and_then(|given| given.iter().next()) {
        None => ClientKind::Ga4(Ga4::default()),
        Some((kind, settings)) => {
            let text = |name: &str| settings[name].as_str().unwrap().to_owned();
            match kind.as_str() {
                "json" => ClientKind::Json(JsonClient {
                    path: text("path"),
                    auth: None,
                }),
                "pixel" => ClientKind::Pixel(Pixel { path: text("path") }),
                "measurementProtocol" => ClientKind::MeasurementProtocol(MeasurementProtocol {
                    api_secret: Some(Secrets::new(Secret::new(text("apiSecret")))),
                    measurement_ids: Vec::new(),
                }),
                other => panic!("no client {other}"),
            }
        }
    };
    Client {
        name: "client".to_owned(),
        kind,
    }
}

fn headers(given: &Json) -> HeaderMap {
    let given = given.as_object().into_iter().flatten();
    given
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value.as_str().unwrap()).unwrap())
        })
        .collect()
}

fn policy(case: &Json) -> ConsentPolicy {
    let mut spec = json!({});
    if let Some(consent) = case.get("consent") {
        spec["consent"] = consent.clone();
    }
    if let Some(cookie) = case.get("optOutCookie") {
        spec["identity"] = json!({ "optOutCookie": cookie });
    }
    let spec: TaggingContainerSpec = serde_json::from_value(spec).unwrap();
    policies::consent(&spec)
}

/// The one event of a case, and the state that it has.
fn resolved(case: &Json) -> (Json, Json) {
    let headers = headers(&case["headers"]);
    let url = case["url"].as_str().unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let body = case.get("body").map(Json::to_string).unwrap_or_default();
    let request = HitRequest {
        method: if body.is_empty() { &Method::GET } else { &Method::POST },
        path,
        query,
        body: body.as_bytes(),
        received_ms: 1_768_476_420_055,
        ..testing::request(&headers)
    };
    let mut plan = testing::plan("v1", Vec::new(), Vec::new());
    plan.policies = Arc::new(Policies {
        consent: policy(case),
        ..Policies::default()
    });
    let claim = client(&case["client"]).claim(&request).unwrap();
    let mut visit = Visit::of(&plan, request, claim.connection, claim.cookies);
    visit.place = case.get("place").map(|place| Place {
        country: place["country"].as_str().map(str::to_owned),
        region: place["region"].as_str().map(str::to_owned),
        ..Place::default()
    });
    let resolved = resolve(&plan.policies.consent, &claim.events[0].said, &visit);
    let decided = SIGNALS.iter().zip(resolved.consent.states()).zip(resolved.sources);
    let decided = decided
        .filter(|((_, state), source)| (*state, *source) != (ConsentSignal::Unset, Source::Nobody))
        .map(|((signal, state), source)| {
            let words = format!("{} by {}", state.as_str(), source.as_str());
            (signal.as_str().to_owned(), words.into())
        });
    let event = serde_json::to_value(&claim.events[0].event).unwrap();
    (event, Json::Object(decided.collect()))
}

#[test]
fn the_vectors() {
    let vectors = include_str!("../../../../tests/vectors/consent/resolve.json");
    let vectors: Json = serde_json::from_str(vectors).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 25, "only {} cases were found", cases.len());
    for case in cases {
        let (event, decided) = resolved(case);
        assert_eq!(decided, case["resolved"], "{}", case["name"]);
        assert!(
            !event.to_string().contains("euconsent") && !event.to_string().contains("optout"),
            "{}: {event}",
            case["name"]
        );
    }
}

#[test]
fn the_consent_cookie_is_read_once_for_all_events_of_a_hit_and_stored_in_none() {
    let string = "CQdWToAQdWToAAKABAENAwFgAP_gAAAAAAYgF5wAoAAgAGAvMAAAAAA";
    let case = json!({
        "url": "/v1/events", "client": {"json": {"path": "/v1/events"}},
        "headers": {"Cookie": format!("euconsent-v2={string}; _ga=GA1.1.1.2")},
        "body": [{"event_name": "a", "consent": {"tcf": string}}, {"event_name": "b"}],
    });
    let (event, decided) = resolved(&case);
    assert_eq!(decided["ad_storage"], "granted by tcf");
    assert!(!event.to_string().contains(string), "{event}");
    assert_eq!(event["cookies"], json!({"_ga": "GA1.1.1.2"}));
}
