//! What is fuzzed: one function for each parser, from any bytes, with what must hold of every outcome. The fuzzer calls
//! them with what it invents; `gateway/tests/fuzz_corpus.rs` with the corpus, on the stable compiler.

// `pub` is for the fuzzer's crate; in the test that replays the corpus nobody is outside.
#![allow(unreachable_pub, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, net::IpAddr};

use http::{HeaderMap, HeaderValue, Method, header};
use tagfleet_gateway::{
    ingest::{
        Client, ClientKind, Ga4, HitRequest, Json, MeasurementProtocol, Pixel, Refusal, cookies, query as pairs_of,
    },
    log::codec,
    name_patterns::NamePatterns,
};

/// A parser under test: it must survive any bytes.
pub type Target = fn(&[u8]);

/// All targets by name; each has a folder of this name under `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("query", query),
    ("batch", batch),
    ("measurement_protocol", measurement_protocol),
    ("json", json),
    ("cookies", cookies),
    ("log_records", log_records),
];

/// When every hit arrives, unix milliseconds.
const RECEIVED_MS: i64 = 1_768_476_420_055;

/// A query: its pairs, and the events that GA4 and the pixel make of it.
pub fn query(data: &[u8]) {
    let query = String::from_utf8_lossy(data);
    for (name, value) in pairs_of::pairs(&query) {
        assert!(name.len() <= 3 * query.len() && value.len() <= 3 * query.len());
    }
    let headers = HeaderMap::new();
    claim(ga4(), &Method::GET, "/g/collect", &query, &headers, &[]);
    claim(pixel(), &Method::GET, "/pixel.gif", &query, &headers, &[]);
}

/// A batch: the first line is the URL's query, the rest is the body.
pub fn batch(data: &[u8]) {
    let line_end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (query, body) = data.split_at(line_end);
    let query = String::from_utf8_lossy(query);
    claim(
        ga4(),
        &Method::POST,
        "/g/collect",
        &query,
        &HeaderMap::new(),
        body.strip_prefix(b"\n").unwrap_or(body),
    );
}

/// A Measurement Protocol body, as a hit and as a question what is wrong with it.
pub fn measurement_protocol(data: &[u8]) {
    let client = || ClientKind::MeasurementProtocol(MeasurementProtocol::default());
    let headers = HeaderMap::new();
    claim(
        client(),
        &Method::POST,
        "/mp/collect",
        "measurement_id=G-TEST1",
        &headers,
        data,
    );
    claim(
        client(),
        &Method::POST,
        "/debug/mp/collect",
        "measurement_id=G-TEST1",
        &headers,
        data,
    );
}

/// A body of JSON events: one, an array, or one a line.
pub fn json(data: &[u8]) {
    let client = Json {
        path: "/v1/events".to_owned(),
        auth: None,
    };
    claim(
        ClientKind::Json(client),
        &Method::POST,
        "/v1/events",
        "",
        &HeaderMap::new(),
        data,
    );
}

/// A Cookie header, read by itself and by a hit that has nothing else.
pub fn cookies(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::COOKIE, value);
    for (_, value) in cookies::tracking(&headers, &NamePatterns::none()).iter() {
        let value = value.as_str().expect("cookies are text");
        if let Some(id) = cookies::ga_client_id(value) {
            assert!(id.contains('.') && value.ends_with(id));
        }
        if let Some(session) = cookies::ga_session(value) {
            assert!(session.id.bytes().all(|byte| byte.is_ascii_digit()));
        }
    }
    claim(
        ga4(),
        &Method::GET,
        "/g/collect",
        "v=2&tid=G-TEST1&en=page_view",
        &headers,
        &[],
    );
}

/// A record of the log: what can be read is written and read back as the same.
pub fn log_records(data: &[u8]) {
    let Ok(record) = codec::decode(data) else {
        return;
    };
    let (mut once, mut again) = (Vec::new(), Vec::new());
    codec::encode(&record, &mut once);
    let read_back = codec::decode(&once).expect("what was written can be read");
    codec::encode(&read_back, &mut again);
    assert_eq!(once, again);
}

fn ga4() -> ClientKind {
    ClientKind::Ga4(Ga4::default())
}

fn pixel() -> ClientKind {
    ClientKind::Pixel(Pixel {
        path: "/pixel.gif".to_owned(),
    })
}

/// Claims a hit and checks what must hold of any outcome.
fn claim(kind: ClientKind, method: &Method, path: &str, query: &str, headers: &HeaderMap, body: &[u8]) {
    let client = Client {
        name: "fuzz".to_owned(),
        kind,
    };
    let request = HitRequest {
        method,
        path,
        query,
        headers,
        body,
        visitor: IpAddr::from([203, 0, 113, 7]),
        by_trusted_proxy: false,
        received_ms: RECEIVED_MS,
        read_cookies: &NamePatterns::none(),
    };
    let claim = match client.claim(&request) {
        Ok(claim) => claim,
        Err(refusal) => {
            assert!(!refusal.to_string().contains('\n'), "a refusal is one line: {refusal}");
            assert!(!matches!(refusal, Refusal::MethodNotAllowed(_)));
            return;
        }
    };
    assert!(
        claim.answer.is_some() || !claim.events.is_empty(),
        "nothing was claimed, and nobody told why"
    );
    assert!(claim.events.len() <= 1_250);
    for claimed in &claim.events {
        let event = &claimed.event;
        assert!(!event.name().is_empty());
        assert!(event.text("event_id").is_some_and(|id| !id.is_empty()));
        assert!(event.timestamp_ms().is_some_and(|time| time <= RECEIVED_MS));
        assert!(event.get("ip_override").and_then(|address| address.as_str()) == Some("203.0.113.7"));
        let names: BTreeSet<&str> = event.fields().iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), event.fields().len(), "a name is there twice");
        for object in ["user_data", "user_properties", "client_hints", "click_ids", "cookies"] {
            assert!(
                event.get(object).is_none_or(|value| value.as_map().is_some()),
                "{object}"
            );
        }
        assert!(event.get("items").is_none_or(|items| items.as_list().is_some()));
    }
}
