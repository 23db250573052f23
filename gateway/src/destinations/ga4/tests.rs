//! Given these events, these requests go to Google.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value as Json, json};
use tagfleet_expressions::Value;
use url::{Url, form_urlencoded};

use super::{collect::Collect, measurement_protocol::MeasurementProtocol};
use crate::{
    destinations::{Destination, Encoding, Request, mapping::Mapping},
    event::Event,
    ingest::{HitRequest, ga4::Ga4},
    record::{Consent, ConsentSignal, Record},
};

const NOW_MS: i64 = 1_767_225_600_000;

fn protocol() -> MeasurementProtocol {
    let url = "https://www.google-analytics.com/mp/collect?measurement_id=G-TEST1&api_secret=s3cret";
    MeasurementProtocol {
        url: Url::parse(url).unwrap(),
        debug: false,
        mapping: Mapping::default(),
    }
}

fn collect() -> Collect {
    let url = Url::parse("https://www.google-analytics.com/g/collect").unwrap();
    Collect {
        url,
        measurement_id: "G-TEST1".to_owned(),
        debug: false,
        mapping: Mapping::default(),
    }
}

fn record(event: Json) -> Record<'static> {
    let Value::Map(fields) = Value::from(event) else {
        panic!("an event is an object")
    };
    Record {
        accepted_ms: NOW_MS,
        event: Event::from(fields),
        ..Record::default()
    }
}

fn bodies(encoding: &Encoding) -> Vec<Json> {
    encoding
        .requests
        .iter()
        .map(|encoded| serde_json::from_slice(&encoded.request.body).unwrap())
        .collect()
}

/// The parameters of a request's query and body.
fn parameters(request: &Request) -> BTreeMap<String, String> {
    let query = request.url.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes()).chain(form_urlencoded::parse(&request.body));
    pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

#[test]
fn a_purchase_goes_by_the_measurement_protocol() {
    let mut purchase = record(json!({
        "event_name": "purchase", "event_id": "evt-1", "client_id": "1506821430.1730448757", "user_id": "user-42",
        "ga_session_id": "1739008119", "timestamp_ms": NOW_MS, "currency": "EUR", "value": 72.05, "transaction_id": "T-1001",
        "page_location": "https://shop.example/thanks", "page_hostname": "shop.example", "language": "de-de",
        "screen_resolution": "1920x1080", "ip_override": "203.0.113.0", "user_agent": "Mozilla/5.0",
        "items": [{"item_id": "SKU-1", "price": 33.03, "quantity": 2}], "x-ga-gcs": "G111", "cookies": {"_ga": "x"},
        "user_properties": {"tier": "gold"}, "user_data": {"email_address": [" Test@Example.com "]}
    }));
    purchase.consent = Consent {
        ad_user_data: ConsentSignal::Granted,
        ad_personalization: ConsentSignal::Denied,
        ..Consent::default()
    };
    let encoding = protocol().encode(&[purchase], NOW_MS);
    assert_eq!(
        bodies(&encoding),
        [json!({
            "client_id": "1506821430.1730448757", "user_id": "user-42",
            "user_properties": {"tier": {"value": "gold"}},
            "consent": {"ad_user_data": "GRANTED", "ad_personalization": "DENIED"},
            "user_data": {
                "sha256_email_address": ["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"]
            },
            "ip_override": "203.0.113.0", "user_agent": "Mozilla/5.0",
            "device": {"language": "de-de", "screen_resolution": "1920x1080"},
            "events": [{"name": "purchase", "params": {
                "session_id": "1739008119", "engagement_time_msec": 1, "page_location": "https://shop.example/thanks",
                "transaction_id": "T-1001", "currency": "EUR", "value": 72.05, "event_id": "evt-1",
                "items": [{"item_id": "SKU-1", "price": 33.03, "quantity": 2}]
            }}]
        })]
    );
}

#[test]
fn events_of_one_visitor_share_a_request_of_25_at_the_most() {
    let view = |client: &str| record(json!({"event_name": "page_view", "client_id": client}));
    let records: Vec<_> = (0..30)
        .map(|n| view(if n % 10 == 9 { "other" } else { "one" }))
        .collect();
    let encoding = protocol().encode(&records, NOW_MS);
    let sizes: Vec<usize> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
    assert_eq!(sizes, [25, 3, 2]);
}

#[test]
fn what_ga4_would_drop_in_silence_is_refused_with_a_reason() {
    let hour = 3_600_000;
    let records = [
        record(json!({"event_name": "page_view"})),
        record(json!({"event_name": "session_start", "client_id": "1.2"})),
        record(json!({"event_name": "page_view", "client_id": "1.2", "timestamp_ms": NOW_MS - 73 * hour})),
        record(json!({"event_name": "page_view", "client_id": "1.2", "timestamp_ms": NOW_MS - 71 * hour})),
    ];
    let encoding = protocol().encode(&records, NOW_MS);
    let refused: Vec<_> = encoding
        .refused
        .iter()
        .map(|(index, reason)| (*index, reason.as_ref()))
        .collect();
    assert_eq!(
        refused,
        [
            (0, "has no client_id, which GA4 requires"),
            (
                1,
                "GA4 keeps the event name session_start for itself; give it another one in eventNames"
            ),
            (2, "is older than the 72 hours that GA4 takes"),
        ]
    );
    assert_eq!(
        bodies(&encoding)[0]["events"][0]["timestamp_micros"],
        json!((NOW_MS - 71 * hour) * 1_000)
    );
}

#[test]
fn a_visitor_who_refused_analytics_gets_nothing_by_the_measurement_protocol() {
    let denied = Consent {
        analytics_storage: ConsentSignal::Denied,
        ..Consent::default()
    };
    assert!(!protocol().consents(&denied));
    assert!(protocol().consents(&Consent::default()));
}

const QUERY: &str = "v=2&tid=G-ABC123DEF4&gtm=45je61d1v9100000001za200&_p=1768476420055&gcs=G111&gcd=13t3t3t3t5l1&npa=0&\
    dma=1&dma_cps=syphamo&cid=1506821430.1730448757&ecid=800748917&ul=de-de&sr=2560x1440&_fplc=0&ur=DE-BE&uaa=arm&uab=64&\
    uafvl=Chromium%3B142.0.1.2%7CGoogle%2520Chrome%3B142.0.1.2&uamb=0&uap=macOS&uapv=15.7.1&uaw=0&frm=0&pscdl=noapi&\
    sst.tft=1768476420000&sst.navt=n&sst.ude=1&_s=2&sid=1768475378&sct=5&seg=1&\
    dl=https%3A%2F%2Fshop.example%2Fcheckout%3Fgclid%3DTEST-gclid-1&dr=https%3A%2F%2Fwww.google.com%2F&dt=Checkout&tfd=5754&\
    en=purchase&_c=1&_ee=1&cu=EUR&epn.value=44.93&epn.shipping=4.95&ep.transaction_id=T-1001&ep.event_id=evt-1001&\
    up.plan=gold&upn.orders=3&em=tv.1~em.lz3-Rj7IV4X1-Vr1ujkG7tstkxwk5pgkqJ6mXbpOgTs~co0.DE&\
    pr1=idSKU-1~nmBlue~~Shirt~pr19.99~qt2~k0color~v0blue&_et=2840";

/// The hit above as a browser sends it, through the client and out again.
fn forwarded(consent: Consent) -> Request {
    forwarded_query(QUERY, consent)
}

fn forwarded_query(query: &str, consent: Consent) -> Request {
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", HeaderValue::from_static("Mozilla/5.0 (X11)"));
    let request = HitRequest {
        query,
        received_ms: NOW_MS,
        ..crate::testing::request(&headers)
    };
    let claim = Ga4::default().claim(&request).unwrap();
    let event = claim.events.into_iter().next().unwrap().event;
    let record = Record {
        accepted_ms: NOW_MS,
        consent,
        event,
        ..Record::default()
    };
    collect().encode(&[record], NOW_MS).requests.remove(0).request
}

#[test]
fn a_forwarded_hit_has_the_parameters_of_the_visitors_own() {
    let request = forwarded(Consent::default());
    let mut expected: BTreeMap<String, String> = form_urlencoded::parse(QUERY.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    expected.insert("tid".to_owned(), "G-TEST1".to_owned());
    expected.insert("_uip".to_owned(), "203.0.113.7".to_owned());
    assert_eq!(parameters(&request), expected);
    assert_eq!(request.headers["user-agent"], "Mozilla/5.0 (X11)");
}

#[test]
fn what_the_client_filled_in_is_not_forwarded() {
    let query = "v=2&tid=G-TEST1&_p=1&_s=1&cid=1.2&ul=de&en=page_view&dl=https%3A%2F%2Fshop.example%2Fa";
    let sent = parameters(&forwarded_query(query, Consent::default()));
    let names: Vec<&str> = sent.keys().map(String::as_str).collect();
    assert_eq!(names, ["_p", "_s", "_uip", "cid", "dl", "en", "tid", "ul", "v"]);
    // A host that is not the page's own stays.
    let other = parameters(&forwarded_query(
        &format!("{query}&dh=other.example"),
        Consent::default(),
    ));
    assert_eq!(other["dh"], "other.example");
}

#[test]
fn the_browsers_own_client_id_stays_here_where_the_servers_is_sent() {
    let event = json!({"event_name": "search", "client_id": "server=.1", "x-ga-js_client_id": "1.2"});
    let request = collect().encode(&[record(event)], NOW_MS).requests.remove(0).request;
    let sent = parameters(&request);
    assert_eq!(sent["cid"], "server=.1");
    assert!(!sent.values().any(|value| value == "1.2"), "{sent:?}");
}

#[test]
fn a_forwarded_hit_of_a_visitor_who_refused_has_no_identifiers() {
    let denied = Consent {
        analytics_storage: ConsentSignal::Denied,
        ..Consent::default()
    };
    let sent = parameters(&forwarded(denied));
    for identifier in ["cid", "sid", "sct", "em", "ecid", "_uip", "_fplc"] {
        assert!(!sent.contains_key(identifier), "{identifier}");
    }
    assert_eq!((sent["en"].as_str(), sent["gcs"].as_str()), ("purchase", "G110"));
}

#[test]
fn a_long_hit_moves_its_own_parameters_into_the_body() {
    let long = record(json!({"event_name": "search", "client_id": "1.2", "term": "x".repeat(3_000), "language": "de"}));
    let request = collect().encode(&[long], NOW_MS).requests.remove(0).request;
    assert_eq!(request.method, Method::POST);
    assert!(request.url.query().unwrap().contains("ul=de") && !request.url.query().unwrap().contains("en="));
    assert!(request.body.starts_with(b"en=search&ep.term=xxx"));
}

#[test]
fn an_event_that_was_no_hit_becomes_one() {
    let order = record(json!({"event_name": "LowStock", "client_id": "1.2", "sku": "BOWL-10", "stock": 3}));
    let sent = parameters(&collect().encode(&[order], NOW_MS).requests[0].request);
    let expected = [
        ("_p", "1767225600000"),
        ("_s", "1"),
        ("cid", "1.2"),
        ("en", "LowStock"),
        ("ep.sku", "BOWL-10"),
        ("epn.stock", "3"),
        ("tid", "G-TEST1"),
        ("v", "2"),
    ];
    assert_eq!(
        sent,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    );
}

#[test]
fn what_the_pipeline_found_out_does_not_go_to_google() {
    let found = json!({
        "event_name": "page_view", "client_id": "1.2", "x_bot": {"score": 90, "reason": "crawler"},
        "geo": {"country": "DE"}, "device": {"category": "desktop"},
    });
    let sent = collect().encode(&[record(found.clone())], NOW_MS);
    let url = sent.requests[0].request.url.as_str();
    assert!(
        !url.contains("x_bot") && !url.contains("geo") && !url.contains("device"),
        "{url}"
    );
    let body = &bodies(&protocol().encode(&[record(found)], NOW_MS))[0];
    assert_eq!(body["events"][0]["params"], json!({"engagement_time_msec": 1}));
    // Parameters of the tag's own that are called so.
    let own = json!({"event_name": "page_view", "client_id": "1.2", "geo": "north", "device": "till"});
    let sent = collect().encode(&[record(own)], NOW_MS);
    let url = sent.requests[0].request.url.as_str();
    assert!(url.contains("ep.geo=north") && url.contains("ep.device=till"), "{url}");
}
