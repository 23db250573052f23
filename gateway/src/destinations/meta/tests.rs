#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value
)]

use std::collections::BTreeMap;

use bytes::Bytes;
use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tagfleet_crds::destination::MetaActionSource;
use tagfleet_expressions::{Environment, Expression};

use super::*;
use crate::{
    destinations::mapping::{Field, Mapping},
    record::{Consent, ConsentSignal},
    testing::record,
};
use http::HeaderMap;
use http::Method;

const NOW_MS: i64 = 1_767_225_600_000;
const DAY_MS: i64 = 24 * 3600 * 1000;
const TOKEN: &str = "EAAB-test-token";

fn meta() -> Meta {
    with(&[], &[])
}

fn with(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> Meta {
    let parameters = parameters.iter().map(|(name, source)| {
        let field = Field {
            path: format!("parameters.{name}"),
            expression: Expression::compile(source, &Environment::event()).unwrap(),
        };
        ((*name).to_owned(), field)
    });
    Meta {
        url: "https://graph.facebook.com/v25.0/1234567890/events".parse().unwrap(),
        token: Secret::new(TOKEN),
        authorization: format!("Bearer {TOKEN}").parse().unwrap(),
        test_event_code: None,
        options: event::Options {
            action_source: MetaActionSource::Website,
            mapping: Mapping {
                event_names: event_names
                    .iter()
                    .map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()))
                    .collect::<BTreeMap<_, _>>(),
                parameters: parameters.collect(),
                ..Mapping::default()
            },
        },
    }
}

/// A page view of a website, with these fields beside.
fn page_view(fields: Json) -> Record<'static> {
    let mut event = json!({
        "event_name": "page_view", "event_id": "evt-1", "timestamp_ms": NOW_MS, "page_location": "https://shop.example/",
        "ip_override": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"
    });
    event
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    record(event)
}

/// The one event that a record becomes.
fn sent_by(meta: &Meta, record: Record<'_>) -> Json {
    let encoding = meta.encode(&[record], NOW_MS);
    assert!(encoding.refused.is_empty(), "{:?}", encoding.refused);
    let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
    body["data"][0].clone()
}

fn sent(fields: Json) -> Json {
    sent_by(&meta(), page_view(fields))
}

fn refusal(meta: &Meta, fields: Json) -> String {
    let encoding = meta.encode(&[page_view(fields)], NOW_MS);
    assert!(encoding.requests.is_empty());
    encoding.refused[0].1.clone().into_owned()
}

/// The sheet's minimal example, section 7.
#[test]
fn a_page_view_is_as_small_as_metas_own_example() {
    let encoding = meta().encode(&[page_view(json!({}))], NOW_MS);
    let request = &encoding.requests[0].request;
    assert_eq!(request.method, Method::POST);
    assert_eq!(
        request.url.as_str(),
        "https://graph.facebook.com/v25.0/1234567890/events"
    );
    assert_eq!(request.headers[AUTHORIZATION], format!("Bearer {TOKEN}"));
    let body: Json = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({
            "data": [{
                "event_name": "PageView", "event_time": 1_767_225_600, "action_source": "website",
                "event_source_url": "https://shop.example/", "event_id": "evt-1",
                "user_data": {"client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)"}
            }],
            "partner_agent": PARTNER_AGENT
        })
    );
    assert!(PARTNER_AGENT.len() <= 23);
}

/// The sheet's full example, section 7.
#[test]
fn a_purchase_carries_all_that_is_known() {
    let event = sent_by(
        &meta(),
        record(json!({
            "event_name": "purchase", "timestamp_ms": NOW_MS, "event_id": "evt-1001",
            "page_location": "https://shop.example/thanks", "page_referrer": "https://shop.example/checkout",
            "opt_out": false, "data_processing_options": [],
            "user_id": "user-42", "ip_override": "2001:db8::7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "user_data": {
                "email_address": [" Test@Example.com "], "phone_number": ["+1 (415) 555-2671"],
                "address": [{"first_name": "Jane", "last_name": "Doe", "city": "Palo Alto", "region": "California",
                             "postal_code": "94035-1234", "country": "US"}]
            },
            "cookies": {"_fbc": "fb.1.1767225500000.IwAR2fakeClickIdABC", "_fbp": "fb.1.1767000000000.1098115397"},
            "currency": "EUR", "value": 72.05, "transaction_id": "T-1001",
            "items": [{"item_id": "SKU-1", "quantity": 2, "price": 33.03}]
        })),
    );
    assert_eq!(
        event,
        json!({
            "event_name": "Purchase", "event_time": 1_767_225_600, "event_id": "evt-1001", "action_source": "website",
            "event_source_url": "https://shop.example/thanks", "referrer_url": "https://shop.example/checkout",
            "opt_out": false, "data_processing_options": [],
            "user_data": {
                "em": ["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"],
                "ph": ["758fbf68945f21c416814c539ab578876c8d98fb69e6da692def92cd52417fe0"],
                "fn": ["81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2"],
                "ln": ["799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f"],
                "ct": ["b05208f9e641374c90926715e1fdfafac457af13593c2abb5f4a1f904081af95"],
                "st": ["6959097001d10501ac7d54c0bdb8db61420f658f2922cc26e46d536119a31126"],
                "zp": ["1794327a4d443904421f5ca1f3d72d0a62ba2f0770d80755ec2220fc0efb052e"],
                "country": ["79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"],
                "external_id": ["6d894aa3ee802549d7f340e7c1cf0d1c1cb14cd84f768d92ffaa6785337c4997"],
                "client_ip_address": "2001:db8::7",
                "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
                "fbc": "fb.1.1767225500000.IwAR2fakeClickIdABC",
                "fbp": "fb.1.1767000000000.1098115397"
            },
            "custom_data": {
                "currency": "EUR", "value": 72.05, "order_id": "T-1001", "content_type": "product", "num_items": 2,
                "content_ids": ["SKU-1"], "contents": [{"id": "SKU-1", "quantity": 2, "item_price": 33.03}]
            }
        })
    );
}

#[test]
fn names_are_metas_own_where_it_has_one() {
    let name = |name: &str| sent(json!({"event_name": name, "currency": "EUR", "value": 1}))["event_name"].clone();
    assert_eq!(name("begin_checkout"), "InitiateCheckout");
    assert_eq!(name("generate_lead"), "Lead");
    assert_eq!(name("LowStock"), "LowStock");
    let own = with(&[("begin_checkout", "Checkout2")], &[]);
    let event = sent_by(&own, page_view(json!({"event_name": "begin_checkout"})));
    assert_eq!(event["event_name"], "Checkout2");
}

#[test]
fn what_the_tag_sends_by_itself_is_wanted_only_when_it_is_named() {
    assert!(!meta().wants("scroll"));
    assert!(meta().wants("purchase") && meta().wants("LowStock"));
    assert!(with(&[("scroll", "Scrolled")], &[]).wants("scroll"));
}

#[test]
fn what_meta_would_refuse_is_refused_with_the_reason() {
    let meta = meta();
    for (fields, expected) in [
        (
            json!({"timestamp_ms": NOW_MS - 7 * DAY_MS - 1000}),
            "older than the 7 days",
        ),
        (json!({"page_location": null}), "no page_location"),
        (json!({"user_agent": ""}), "no user_agent"),
        (
            json!({"event_name": "purchase", "currency": "EUR"}),
            "without currency and value",
        ),
        (
            json!({"event_name": "purchase", "currency": "euro", "value": 3}),
            "without currency and value",
        ),
        (
            json!({"event_name": "purchase", "currency": "EUR", "value": -3}),
            "without currency and value",
        ),
    ] {
        let reason = refusal(&meta, fields);
        assert!(reason.contains(expected), "{reason}");
    }
    sent(json!({"timestamp_ms": NOW_MS - 7 * DAY_MS + 1000}));
    // Away from a website neither page nor user agent is asked for, but somebody must be there.
    let shop = with(&[], &[("action_source", "'physical_store'")]);
    let reason = refusal(&shop, json!({"user_agent": "", "ip_override": "10.0.0.1"}));
    assert!(reason.contains("nothing of the visitor"), "{reason}");
    sent_by(
        &shop,
        page_view(json!({"user_agent": "", "page_location": "", "timestamp_ms": NOW_MS - 30 * DAY_MS})),
    );
}

#[test]
fn the_click_id_of_the_page_wins_over_an_older_cookie() {
    let cookie = "fb.1.1700000000000.OldClick";
    let fbc = |fields: Json| sent(fields)["user_data"]["fbc"].clone();
    assert_eq!(fbc(json!({"cookies": {"_fbc": cookie}})), cookie);
    assert_eq!(
        fbc(json!({"cookies": {"_fbc": cookie}, "click_ids": {"fbclid": "OldClick"}})),
        cookie
    );
    let new = format!("fb.1.{NOW_MS}.NewClick");
    assert_eq!(
        fbc(json!({"cookies": {"_fbc": cookie}, "click_ids": {"fbclid": "NewClick"}})),
        new
    );
    assert_eq!(
        fbc(json!({"page_referrer": "https://app.example/?fbclid=NewClick"})),
        new
    );
    // Letter case is kept, and so is Meta's own mark of five parts.
    let marked = "fb.1.1700000000000.OldClick.AQ";
    assert_eq!(
        fbc(json!({"cookies": {"_fbc": marked}, "click_ids": {"fbclid": "OldClick"}})),
        marked
    );
    assert_eq!(
        fbc(json!({"fbc": "fb.1.1.Own", "click_ids": {"fbclid": "NewClick"}})),
        "fb.1.1.Own"
    );
    assert_eq!(fbc(json!({"cookies": {"_fbc": "nonsense"}})), Json::Null);
}

#[test]
fn identifiers_follow_consent() {
    let fields = json!({
        "user_id": "user-42", "user_data": {"email_address": ["test@example.com"]},
        "cookies": {"_fbp": "fb.1.1767000000000.1098115397"}
    });
    let sent = |consent: Consent| {
        let mut record = page_view(fields.clone());
        record.consent = consent;
        let event = sent_by(&meta(), record);
        event["user_data"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let all = ["client_ip_address", "client_user_agent", "em", "external_id", "fbp"];
    assert_eq!(sent(Consent::default()).len(), all.len());
    let no_data = Consent {
        ad_user_data: ConsentSignal::Denied,
        ..Consent::default()
    };
    assert_eq!(sent(no_data), ["client_ip_address", "client_user_agent", "fbp"]);
    let no_storage = Consent {
        ad_storage: ConsentSignal::Denied,
        ..Consent::default()
    };
    assert!(!sent(no_storage).contains(&"fbp".to_owned()));
}

#[test]
fn limited_data_use_asks_meta_to_find_the_place() {
    let event = sent(json!({"data_processing_options": ["LDU"]}));
    assert_eq!(
        (
            &event["data_processing_options"],
            &event["data_processing_options_country"],
            &event["data_processing_options_state"]
        ),
        (&json!(["LDU"]), &json!(0), &json!(0))
    );
    let california = sent(json!({
        "data_processing_options": "LDU", "data_processing_options_country": 1, "data_processing_options_state": "1000"
    }));
    assert_eq!(california["data_processing_options"], json!(["LDU"]));
    assert_eq!(california["data_processing_options_state"], 1000);
}

#[test]
fn parameters_reach_every_field_and_what_is_hashed_stays_hashed() {
    let meta = with(
        &[],
        &[
            ("custom_data.status", "'registered'"),
            ("predicted_ltv", "event.value * 2.0"),
            ("user_data.external_id", "event.client_id"),
            ("user_data.em", "[event.contact, 'nonsense']"),
            ("user_data.lead_id", "'1234'"),
            ("event_id", "event.transaction_id"),
            ("value", "null"),
        ],
    );
    let event = sent_by(
        &meta,
        page_view(json!({"client_id": "1.2", "contact": "Test@example.com", "value": 5.0, "transaction_id": "T-1"})),
    );
    assert_eq!(event["event_id"], "T-1");
    assert_eq!(
        event["custom_data"],
        json!({"order_id": "T-1", "value": 5, "predicted_ltv": 10.0, "status": "registered"})
    );
    let user = &event["user_data"];
    assert_eq!(
        user["em"],
        json!(["973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b"])
    );
    assert_eq!(user["external_id"], json!([crate::hashing::sha256_hex(b"1.2")]));
    assert_eq!(user["lead_id"], "1234");

    let whole = with(&[], &[("user_data", "{'em': 'test@example.com', 'lead_id': '7'}")]);
    let event = sent_by(&whole, page_view(json!({})));
    assert_eq!(event["user_data"]["em"], user["em"]);
}

#[test]
fn a_batch_of_more_than_a_thousand_takes_two_requests() {
    let records: Vec<Record<'_>> = (0..1001).map(|_| page_view(json!({}))).collect();
    let encoding = meta().encode(&records, NOW_MS);
    let sizes: Vec<usize> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
    assert_eq!(sizes, [1000, 1]);
    let large = page_view(json!({"page_location": format!("https://shop.example/{}", "x".repeat(LIMITS.max_bytes))}));
    let encoding = meta().encode(&[page_view(json!({})), large], NOW_MS);
    assert_eq!(
        (encoding.requests[0].events.as_slice(), encoding.refused[0].0),
        (&[0][..], 1)
    );
}

#[test]
fn test_events_are_marked() {
    let mut meta = meta();
    meta.test_event_code = Some("TEST12345".to_owned());
    let encoding = meta.encode(&[page_view(json!({}))], NOW_MS);
    let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
    assert_eq!(body["test_event_code"], "TEST12345");
}

/// HMAC-SHA256 of `token` with key `secret`, as `openssl dgst -sha256 -hmac secret` gives it.
#[test]
fn the_proof_of_the_apps_secret() {
    let proof = appsecret_proof(&Secret::new("secret\n"), &Secret::new("token")).unwrap();
    assert_eq!(
        proof,
        "e941110e3d2bfe82621f0e3e1434730d7305d106c5f68c87165d0b27a4611a4a"
    );
}

fn answered(status: u16, body: &Json) -> Outcome {
    meta().classify(&Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from(body.to_string()),
        trailers: HeaderMap::new(),
    })
}

fn failed(status: u16, code: u32, subcode: u32) -> Outcome {
    answered(
        status,
        &json!({"error": {"message": "m", "code": code, "error_subcode": subcode, "is_transient": false}}),
    )
}

/// Section 8, the table of codes.
#[test]
fn codes_by_their_meaning() {
    let success = json!({"events_received": 1, "messages": [], "fbtrace_id": "A"});
    assert_eq!(answered(200, &success), Outcome::Delivered);
    for code in [1, 2, 341, 368, 5000, 21_009, 4, 17, 80_003] {
        assert!(
            matches!(failed(400, code, 0), Outcome::Retry { after: None, .. }),
            "{code}"
        );
    }
    assert!(matches!(failed(500, 100, 0), Outcome::Retry { .. }));
    assert!(matches!(failed(429, 100, 0), Outcome::Retry { .. }));
    for (code, subcode) in [(190, 460), (190, 463), (3, 0), (10, 0), (200, 0), (294, 0), (100, 33)] {
        assert!(
            matches!(failed(400, code, subcode), Outcome::CredentialsRejected { .. }),
            "{code}/{subcode}"
        );
    }
    for subcode in [0, 2_804_001, 2_804_003, 2_804_019, 2_804_050] {
        assert!(
            matches!(failed(400, 100, subcode), Outcome::RefusedBatch { .. }),
            "{subcode}"
        );
    }
    assert!(matches!(failed(400, 105, 0), Outcome::Refused { .. }));
    let transient = json!({"error": {"code": 100, "is_transient": true}});
    assert!(matches!(answered(400, &transient), Outcome::Retry { .. }));
}

#[test]
fn the_reason_is_metas_own_and_never_shows_the_token() {
    let said = json!({"error": {
        "message": format!("Malformed access token {TOKEN}"), "code": 190, "error_subcode": 463,
        "error_user_title": "Session expired", "fbtrace_id": "Afake"
    }});
    let Outcome::CredentialsRejected { reason } = answered(400, &said) else {
        panic!("the token is refused");
    };
    assert_eq!(
        reason,
        "code 190/463: Session expired: Malformed access token (the token) (fbtrace_id Afake); make a new access token in \
         Events Manager (Settings, Conversions API)"
    );
}

#[test]
fn what_is_no_json_did_not_come_from_meta() {
    let html = |status: u16| {
        meta().classify(&Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"<html>"),
            trailers: HeaderMap::new(),
        })
    };
    assert!(matches!(html(200), Outcome::Retry { .. }));
    assert!(matches!(html(502), Outcome::Retry { .. }));
    assert!(matches!(html(403), Outcome::CredentialsRejected { .. }));
    assert!(matches!(html(413), Outcome::RefusedBatch { .. }));
    assert!(matches!(html(404), Outcome::Refused { .. }));
}

/// JSON of any shape, as hostile senders make it.
fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-z_]{1,10}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    /// Whatever the fields hold: no panic, and every event ends as a request or a reason.
    #[test]
    fn hostile_fields_do_no_harm(
        values in prop::collection::vec(any_json(), 14),
        name in prop_oneof![Just("purchase"), Just("page_view"), Just("")],
    ) {
        let fields = [
            "user_data", "items", "value", "currency", "cookies", "click_ids", "page_referrer", "timestamp_ms",
            "ip_override", "user_id", "fbc", "data_processing_options", "content_type", "event_id",
        ];
        let mut event: serde_json::Map<String, Json> = fields.iter().map(|name| (*name).to_owned()).zip(values).collect();
        event.insert("event_name".to_owned(), json!(name));
        let encoding = meta().encode(&[page_view(Json::Object(event))], NOW_MS);
        prop_assert_eq!(encoding.requests.len() + encoding.refused.len(), 1);
    }

    /// What a visitor typed never leaves as they typed it.
    #[test]
    fn nothing_raw_of_a_visitor_is_in_a_request(
        local in "[a-zA-Z]{6,12}", first in "[A-Z][a-z]{7,12}", last in "[A-Z][a-z]{7,12}", digits in "[1-9][0-9]{9,12}",
        city in "[A-Z][a-z]{7,12}",
    ) {
        let record = page_view(json!({
            "user_id": format!("id-{last}"),
            "user_data": {
                "email_address": [format!("{local}@example.com")], "phone_number": [format!("+{digits}")],
                "address": [{"first_name": first, "last_name": last, "city": city, "street": format!("{city} 1")}]
            }
        }));
        let encoding = meta().encode(&[record], NOW_MS);
        let body = String::from_utf8(encoding.requests[0].request.body.to_vec()).unwrap().to_lowercase();
        for raw in [&local, &first, &last, &digits, &city] {
            prop_assert!(!body.contains(&raw.to_lowercase()), "{raw}: {body}");
        }
    }
}
