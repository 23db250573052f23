//! Given these events and answers, these requests and outcomes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;

use super::{
    answers::bad_elements,
    user_ids::{CLICK_ID, EMAIL},
    *,
};
use crate::testing::{Visitor, answer, hostile_record, mapping, purchase, record};

const NOW_MS: i64 = 1_767_225_600_000;
const HASH: &str = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";

fn linkedin(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> LinkedinConversions {
    let conversions = [("purchase", "1000001"), ("generate_lead", "1000002")];
    LinkedinConversions {
        url: format!("{HOST}{PATH}").parse().unwrap(),
        authorization: HeaderValue::from_static("Bearer fake-token"),
        version: HeaderValue::from_static("202604"),
        conversions: conversions
            .map(|(ours, rule)| (ours.to_owned(), rule.to_owned()))
            .into(),
        mapping: mapping(event_names, parameters),
    }
}

fn lead(fields: &Json) -> Record<'static> {
    let mut record = record(json!({"event_name": "generate_lead", "event_id": "evt-1002", "timestamp_ms": NOW_MS}));
    for (name, value) in fields.as_object().unwrap() {
        record.event.set(name.clone(), Value::from(value.clone()));
    }
    record
}

fn event(vendor: &LinkedinConversions, record: Record<'_>) -> Json {
    let encoding = vendor.encode(&[record], NOW_MS);
    assert_eq!(encoding.refused, []);
    let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
    body["elements"][0].clone()
}

fn refusal_of(record: Record<'_>) -> String {
    let encoding = linkedin(&[], &[]).encode(&[record], NOW_MS);
    encoding.refused[0].1.clone().into_owned()
}

/// The full example of the sheet, section 4, with the visitor's address asked for.
#[test]
fn a_purchase_and_a_lead_in_full() {
    let vendor = linkedin(&[], &[("user.userIds.PLAINTEXT_IP_ADDRESS", "event.ip_override")]);
    let mut purchase = purchase();
    purchase.event.set("job_title", "CTO");
    purchase.event.set("company_name", "Acme");
    let named = json!({"user_data": {"address": [{"first_name": "Jane", "last_name": "Doe"}]}});
    let encoding = vendor.encode(&[purchase, lead(&named)], NOW_MS);
    let request = &encoding.requests[0].request;
    assert_eq!(request.url.as_str(), "https://api.linkedin.com/rest/conversionEvents");
    let headers = [
        ("authorization", "Bearer fake-token"),
        ("linkedin-version", "202604"),
        ("x-restli-protocol-version", "2.0.0"),
        ("x-restli-method", "BATCH_CREATE"),
        ("content-type", "application/json"),
    ];
    for (name, value) in headers {
        assert_eq!(request.headers[name], value);
    }
    let expected = json!({"elements": [
        {
            "conversion": "urn:lla:llaPartnerConversion:1000001",
            "conversionHappenedAt": NOW_MS,
            "conversionValue": {"currencyCode": "EUR", "amount": "72.05"},
            "eventId": "evt-1001",
            "user": {
                "userIds": [
                    {"idType": "SHA256_EMAIL", "idValue": HASH},
                    {
                        "idType": "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID",
                        "idValue": "11111111-2222-3333-4444-555555555555"
                    },
                    {"idType": "PLAINTEXT_IP_ADDRESS", "idValue": "203.0.113.7"}
                ],
                "userInfo": {
                    "firstName": "Jane", "lastName": "Doe", "title": "CTO", "companyName": "Acme", "countryCode": "US"
                },
                "externalIds": ["user-42"]
            }
        },
        {
            "conversion": "urn:lla:llaPartnerConversion:1000002",
            "conversionHappenedAt": NOW_MS,
            "eventId": "evt-1002",
            "user": {"userIds": [], "userInfo": {"firstName": "Jane", "lastName": "Doe"}}
        }
    ]});
    assert_eq!(serde_json::from_slice::<Json>(&request.body).unwrap(), expected);
}

#[test]
fn only_events_with_a_conversion_rule_are_taken() {
    assert!(linkedin(&[], &[]).wants("purchase"));
    assert!(!linkedin(&[], &[]).wants("page_view"));
    assert!(linkedin(&[("order_completed", "purchase")], &[]).wants("order_completed"));
    assert!(linkedin(&[], &[("conversion", "'7'")]).wants("page_view"));
}

#[test]
fn the_click_id_comes_from_the_page_or_else_from_the_cookie() {
    let of = |fields: Json| event(&linkedin(&[], &[]), lead(&fields))["user"]["userIds"][0]["idValue"].clone();
    let (page, cookie) = (json!({"li_fat_id": "page"}), json!({"li_fat_id": "cookie"}));
    assert_eq!(of(json!({"cookies": cookie})), "cookie");
    assert_eq!(of(json!({"cookies": cookie, "click_ids": page})), "page");
}

#[test]
fn parameters_reach_every_field() {
    let vendor = linkedin(
        &[],
        &[
            ("conversion", "'1000003'"),
            ("conversionValue.amount", "event.value * 2.0"),
            ("user.userIds.SHA256_EMAIL", "'Jane.Doe@gmail.com'"),
            ("user.userIds.ACXIOM_ID", "'acxiom-1'"),
            ("user.userIds.PLAINTEXT_IP_ADDRESS", "'2001:db8::1'"),
            ("user.externalIds", "['a', 'b']"),
            ("user.lead", "'urn:li:leadGenFormResponse:1'"),
        ],
    );
    let event = event(&vendor, purchase());
    assert_eq!(event["conversion"], "urn:lla:llaPartnerConversion:1000003");
    assert_eq!(event["conversionValue"]["amount"], "144.1");
    let ids: Vec<_> = event["user"]["userIds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| &id["idType"])
        .collect();
    assert_eq!(
        ids,
        [EMAIL, CLICK_ID, "ACXIOM_ID"],
        "an IPv6 address is none that LinkedIn takes"
    );
    let hash = "831f6494ad6be4fcb3a724c3d5fef22d3ceffa3c62ef3a7984e45a0ea177f982";
    assert_eq!(event["user"]["userIds"][0]["idValue"], hash);
    assert_eq!(event["user"]["externalIds"], json!(["a"]));
    assert_eq!(event["user"]["lead"], "urn:li:leadGenFormResponse:1");
}

#[test]
fn only_fields_of_linkedin_may_be_set() {
    for name in ["conversion", "user.userInfo.title", "user.userIds.GOOGLE_AID"] {
        assert!(is_field(name), "{name}");
    }
    for name in ["value", "user", "user.userIds", "user.userIds.PHONE", ""] {
        assert!(!is_field(name), "{name}");
    }
}

#[test]
fn halves_of_pairs_are_left_out() {
    let user_data = json!({"address": [{"first_name": "Jane"}]});
    let event = event(
        &linkedin(&[], &[]),
        lead(&json!({"user_id": "user-42", "value": 3, "user_data": user_data})),
    );
    assert_eq!(event.get("conversionValue"), None, "no currency");
    assert_eq!(
        event["user"],
        json!({"userIds": [], "externalIds": ["user-42"]}),
        "no last name"
    );
}

#[test]
fn what_linkedin_never_takes_is_refused_before_it_is_sent() {
    assert!(refusal_of(lead(&json!({"user_data": {"phone_number": ["+14155552671"]}}))).contains("e-mail address"));
    let mut old = purchase();
    old.event.set(field::TIMESTAMP_MS, NOW_MS - MAX_AGE_MS - 1);
    assert!(refusal_of(old).contains("90 days"));
    assert!(refusal_of(record(json!({"event_name": "page_view", "user_id": "user-42"}))).contains("conversions"));
}

#[test]
fn a_clock_that_is_ahead_does_not_lose_the_event() {
    let mut ahead = purchase();
    ahead.event.set(field::TIMESTAMP_MS, NOW_MS + 60_000);
    assert_eq!(event(&linkedin(&[], &[]), ahead)["conversionHappenedAt"], NOW_MS);
}

#[test]
fn five_thousand_events_share_a_request() {
    let records: Vec<_> = std::iter::repeat_with(|| lead(&json!({"user_id": "user-42"})))
        .take(5_001)
        .collect();
    let encoding = linkedin(&[], &[]).encode(&records, NOW_MS);
    let sent: Vec<_> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
    assert_eq!(sent, [5_000, 1]);
}

/// Sheet, section 5.
#[test]
fn a_422_refuses_the_events_that_it_names() {
    let message = "Index: 1, ERROR :: /conversionHappenedAt :: too old\nERROR :: /user/userIds :: is required\n\
                   Index: 3, ERROR :: /eventId :: too long\n";
    let body = json!({"status": 422, "serviceErrorCode": 100, "code": "INVALID", "message": message}).to_string();
    let bad = BTreeMap::from([
        (
            1,
            "/conversionHappenedAt :: too old; /user/userIds :: is required".to_owned(),
        ),
        (3, "/eventId :: too long".to_owned()),
    ]);
    assert_eq!(
        linkedin(&[], &[]).classify(&answer(422, &body)),
        Outcome::RefusedEvents { bad }
    );
    let unnamed = linkedin(&[], &[]).classify(&answer(422, r#"{"status":422,"message":"something"}"#));
    let reason = "422: something".to_owned();
    assert_eq!(unnamed, Outcome::RefusedBatch { reason });
}

#[test]
fn each_element_of_a_taken_batch_counts() {
    let classify = |body: &str| linkedin(&[], &[]).classify(&answer(200, body));
    let taken = classify(r#"{"elements":[{"status":201},{"status":201}]}"#);
    assert_eq!(taken, Outcome::PerEvent(vec![Outcome::Delivered, Outcome::Delivered]));
    let Outcome::PerEvent(mixed) = classify(r#"{"elements":[{"status":422,"message":"no"},{"status":503}]}"#) else {
        panic!("an outcome for each");
    };
    let reason = "422: no".to_owned();
    assert_eq!(mixed[0], Outcome::Refused { reason });
    assert!(matches!(mixed[1], Outcome::Retry { .. }));
    assert!(matches!(classify("<html>"), Outcome::Retry { .. }));
}

#[test]
fn statuses_by_their_meaning() {
    let classify = |status: u16| linkedin(&[], &[]).classify(&answer(status, r#"{"status":0,"message":"no"}"#));
    assert_eq!(classify(201), Outcome::Delivered);
    assert!(matches!(classify(401), Outcome::CredentialsRejected { .. }));
    for status in [400, 403, 404] {
        assert!(matches!(classify(status), Outcome::RefusedBatch { .. }), "{status}");
    }
    for status in [408, 423, 429, 500] {
        assert!(
            matches!(classify(status), Outcome::Retry { after: None, .. }),
            "{status}"
        );
    }
    let Outcome::Retry { after, reason } = classify(426) else {
        panic!("it is tried again")
    };
    assert_eq!(after, Some(ENDED_VERSION_WAIT));
    assert!(reason.contains("202604: set apiVersion"), "{reason}");
}

proptest! {
    /// Whoever the visitor is: their addresses leave as hashes. Names LinkedIn wants as they are (sheet, section 2).
    #[test]
    fn no_address_is_sent_unhashed(visitor in Visitor::any()) {
        for encoded in &linkedin(&[], &[]).encode(&[visitor.purchase()], NOW_MS).requests {
            visitor.assert_no_address_in(&encoded.request.body);
        }
    }

    #[test]
    fn whatever_comes_every_event_is_sent_or_refused(records in prop::collection::vec(hostile_record(), 1..5)) {
        let encoding = linkedin(&[], &[("conversion", "'1'")]).encode(&records, NOW_MS);
        let sent: usize = encoding.requests.iter().map(|encoded| encoded.events.len()).sum();
        prop_assert_eq!(sent + encoding.refused.len(), records.len());
    }

    #[test]
    fn any_answer_is_survived(status in 200_u16..600, body in "(Index: [0-9]{0,30}, ERROR ::)?\\PC{0,80}") {
        linkedin(&[], &[]).classify(&answer(status, &body));
        bad_elements(&body);
    }
}
