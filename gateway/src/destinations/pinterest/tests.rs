//! Given these events and answers, these requests and outcomes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{fields::path, *};
use crate::testing::{Visitor, answer, hostile_record, mapping, purchase, record};

const NOW_MS: i64 = 1_767_225_600_000;

fn pinterest(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> PinterestConversions {
    PinterestConversions {
        url: format!("{HOST}/v5/ad_accounts/549755885175/events").parse().unwrap(),
        authorization: HeaderValue::from_static("Bearer fake-token"),
        mapping: mapping(event_names, parameters),
    }
}

fn page_view() -> Record<'static> {
    record(json!({
        "event_name": "page_view", "event_id": "evt-1", "timestamp_ms": NOW_MS, "ip_override": "203.0.113.7",
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"
    }))
}

fn event(vendor: &PinterestConversions, record: Record<'_>) -> Json {
    let encoding = vendor.encode(&[record], NOW_MS);
    assert_eq!(encoding.refused, []);
    let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
    body["data"][0].clone()
}

/// The minimal example of the sheet, section 5.
#[test]
fn a_page_view_says_what_pinterest_needs() {
    let expected = json!({
        "event_name": "page_visit", "action_source": "web", "event_time": 1_767_225_600, "event_id": "evt-1",
        "partner_name": "ss-tagfleet",
        "user_data": {"client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)"}
    });
    assert_eq!(event(&pinterest(&[], &[]), page_view()), expected);
}

/// The full example of the sheet, section 5.
#[test]
fn a_purchase_in_full() {
    let encoding = pinterest(&[], &[]).encode(&[purchase()], NOW_MS);
    let request = &encoding.requests[0].request;
    assert_eq!(
        request.url.as_str(),
        "https://api.pinterest.com/v5/ad_accounts/549755885175/events"
    );
    assert_eq!(request.headers[AUTHORIZATION], "Bearer fake-token");
    let expected = json!({"data": [{
        "event_name": "checkout", "action_source": "web", "event_time": 1_767_225_600, "event_id": "evt-1001",
        "event_source_url": "https://shop.example/thanks", "partner_name": "ss-tagfleet", "language": "en",
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
            "client_ip_address": "203.0.113.7", "client_user_agent": "Mozilla/5.0 (X11; Linux x86_64)",
            "click_id": "dj0yFakeEpikValue"
        },
        "custom_data": {
            "currency": "EUR", "value": "72.05", "order_id": "T-1001", "num_items": 2, "content_ids": ["SKU-1"],
            "contents": [{
                "id": "SKU-1", "item_name": "Shirt", "item_category": "Apparel", "item_brand": "Acme",
                "item_price": "33.03", "quantity": 2
            }]
        }
    }]});
    assert_eq!(serde_json::from_slice::<Json>(&request.body).unwrap(), expected);
}

#[test]
fn an_event_that_pinterest_does_not_know_is_custom() {
    let named = |vendor: &PinterestConversions, name: &str| {
        let mut record = page_view();
        record.event.set(field::EVENT_NAME, name.to_owned());
        event(vendor, record)["event_name"].clone()
    };
    let (standard, own) = (pinterest(&[], &[]), pinterest(&[("newsletter", "signup")], &[]));
    assert_eq!(named(&standard, "begin_checkout"), "initiate_checkout");
    assert_eq!(named(&standard, "watch_video"), "watch_video", "one of its own names");
    assert_eq!(named(&standard, "newsletter"), "custom");
    assert_eq!(named(&own, "newsletter"), "signup");
}

#[test]
fn parameters_have_the_kind_that_pinterest_wants() {
    let vendor = pinterest(
        &[],
        &[
            ("value", "event.value * 2.0"),
            ("custom_data.num_items", "7.0"),
            ("custom_data.opt_out_type", "'LDP'"),
            ("opt_out", "true"),
            ("action_source", "'offline'"),
            ("user_data.em", "['Jane.Doe@gmail.com']"),
            ("user_data.ge", "'Female'"),
        ],
    );
    let event = event(&vendor, purchase());
    assert_eq!(
        (&event["opt_out"], &event["action_source"]),
        (&json!(true), &json!("offline"))
    );
    assert_eq!(event["custom_data"]["value"], "144.1");
    assert_eq!(event["custom_data"]["num_items"], 7);
    assert_eq!(event["custom_data"]["opt_out_type"], "LDP");
    let hash = "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982";
    assert_eq!(event["user_data"]["em"], json!([hash]));
    let female = "252f10c83610ebca1a059c0bae8255eba2f95be4d1d7bcfa89d7248a82d9f111";
    assert_eq!(event["user_data"]["ge"], json!([female]));
}

#[test]
fn only_fields_that_pinterest_knows_may_be_set() {
    for name in [
        "value",
        "custom_data.np",
        "user_data.hashed_maids",
        "opt_out",
        "device_info.os",
    ] {
        assert!(path(name).is_some(), "{name}");
    }
    for name in [
        "margin",
        "custom_data.margin",
        "user_data.email",
        "user_data",
        "custom_data",
        "",
    ] {
        assert_eq!(path(name), None, "{name}");
    }
}

#[test]
fn a_postal_code_with_letters_is_left_out() {
    let code = |code: &str| {
        let mut record = page_view();
        let data = json!({"address": [{"postal_code": code, "country": "GB"}]});
        record.event.set(field::USER_DATA, Value::from(data));
        event(&pinterest(&[], &[]), record)["user_data"].get("zp").cloned()
    };
    assert_eq!(code("SW1A 1AA"), None);
    let hash = "55eb98af205c9d17e3569de62916a94b7944672c772f526e6e4c957c0b8d5eeb";
    assert_eq!(code("80331"), Some(json!([hash])));
    assert_eq!(code(hash), Some(json!([hash])));
}

#[test]
fn an_event_that_cannot_be_matched_is_refused() {
    let mut record = page_view();
    record.event.remove(field::USER_AGENT);
    let encoding = pinterest(&[], &[]).encode(&[record], NOW_MS);
    assert!(
        encoding.refused[0].1.contains("e-mail address"),
        "{:?}",
        encoding.refused
    );
}

#[test]
fn who_wants_no_personal_advertising_is_marked() {
    let mut record = purchase();
    record.consent.ad_personalization = ConsentSignal::Denied;
    assert_eq!(
        event(&pinterest(&[], &[]), record)["custom_data"]["opt_out_type"],
        "LDP"
    );
}

#[test]
fn a_thousand_events_share_a_request() {
    let records: Vec<_> = std::iter::repeat_with(page_view).take(1_001).collect();
    let encoding = pinterest(&[], &[]).encode(&records, NOW_MS);
    let sent: Vec<_> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
    assert_eq!(sent, [1_000, 1]);
}

/// The answer of the sheet, section 6.
#[test]
fn only_the_failed_events_are_refused() {
    let body = r#"{"num_events_received":3,"num_events_processed":2,"events":[
        {"status":"processed","error_message":"","warning_message":""},
        {"status":"failed","error_message":"user_data is missing","warning_message":""},
        {"status":"processed","error_message":"","warning_message":"event_time is old"}]}"#;
    let outcomes = vec![
        Outcome::Delivered,
        Outcome::Refused {
            reason: "user_data is missing".to_owned(),
        },
        Outcome::DeliveredWith {
            warning: "event_time is old".to_owned(),
        },
    ];
    assert_eq!(
        pinterest(&[], &[]).classify(&answer(200, body)),
        Outcome::PerEvent(outcomes)
    );
}

#[test]
fn of_an_answer_that_was_cut_the_whole_entries_count() {
    let body = r#"{"num_events_received":2,"events":[{"status":"processed"},{"status":"proc"#;
    let outcome = pinterest(&[], &[]).classify(&answer(200, body));
    assert_eq!(outcome, Outcome::PerEvent(vec![Outcome::Delivered]));
    assert!(matches!(
        pinterest(&[], &[]).classify(&answer(200, "<html>")),
        Outcome::Retry { .. }
    ));
}

#[test]
fn a_422_refuses_the_events_that_it_names() {
    let body = r#"{"code":1,"message":"bad","details":{"events":[{"status":"processed"},{"status":"failed","error_message":"no"}]}}"#;
    let bad = BTreeMap::from([(1, "no".to_owned())]);
    assert_eq!(
        pinterest(&[], &[]).classify(&answer(422, body)),
        Outcome::RefusedEvents { bad }
    );
    let unnamed = pinterest(&[], &[]).classify(&answer(422, r#"{"code":1,"message":"bad","details":{}}"#));
    assert!(matches!(unnamed, Outcome::RefusedBatch { .. }));
}

#[test]
fn statuses_by_their_meaning() {
    let classify = |status: u16| pinterest(&[], &[]).classify(&answer(status, r#"{"code":2,"message":"no"}"#));
    assert!(matches!(classify(400), Outcome::Refused { .. }));
    for status in [401, 403] {
        assert!(
            matches!(classify(status), Outcome::CredentialsRejected { .. }),
            "{status}"
        );
    }
    for status in [429, 500, 503] {
        assert!(matches!(classify(status), Outcome::Retry { .. }), "{status}");
    }
}

proptest! {
    /// Whoever the visitor is: neither their addresses nor their name leave as they were typed.
    #[test]
    fn nothing_of_a_visitor_is_sent_unhashed(visitor in Visitor::any()) {
        for encoded in &pinterest(&[], &[]).encode(&[visitor.purchase()], NOW_MS).requests {
            visitor.assert_absent_from(&encoded.request.body);
        }
    }

    #[test]
    fn whatever_comes_every_event_is_sent_or_refused(records in prop::collection::vec(hostile_record(), 1..5)) {
        let encoding = pinterest(&[], &[]).encode(&records, NOW_MS);
        let sent: usize = encoding.requests.iter().map(|encoded| encoded.events.len()).sum();
        prop_assert_eq!(sent + encoding.refused.len(), records.len());
    }

    #[test]
    fn any_answer_is_survived(status in 200_u16..600, body in "\\PC{0,80}") {
        pinterest(&[], &[]).classify(&answer(status, &body));
    }
}
