#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use tagfleet_expressions::{Environment, Expression};

use super::*;
use crate::{destinations::mapping::Field, record::ConsentSignal, testing};
use http::HeaderMap;
use http::Method;
use http::header::CONTENT_TYPE;

const TABLES: &str = "https://bigquery.googleapis.com/bigquery/v2/projects/demo/datasets/shop/tables";

/// 2026-01-01T00:00:00Z.
const HAPPENED_MS: i64 = 1_767_225_600_000;

fn big_query() -> BigQuery {
    BigQuery {
        rows: format!("{TABLES}/events/insertAll").parse().unwrap(),
        table: None,
        mapping: Mapping::default(),
    }
}

fn that_makes_its_table() -> BigQuery {
    BigQuery {
        table: Some(NewTable {
            url: TABLES.parse().unwrap(),
            body: schema::table("demo", "shop", "events").to_string(),
        }),
        ..big_query()
    }
}

fn with_parameters(parameters: &[(&str, &str)]) -> BigQuery {
    let parameters = parameters.iter().map(|(name, source)| {
        let field = Field {
            path: format!("parameters.{name}"),
            expression: Expression::compile(source, &Environment::event()).unwrap(),
        };
        ((*name).to_owned(), field)
    });
    BigQuery {
        mapping: Mapping {
            parameters: parameters.collect(),
            event_names: BTreeMap::from([("purchase".to_owned(), "order".to_owned())]),
            ..Mapping::default()
        },
        ..big_query()
    }
}

/// A record of an event with these fields.
fn record(fields: Json) -> Record<'static> {
    Record {
        accepted_ms: HAPPENED_MS + 1_500,
        ..testing::record(fields)
    }
}

fn named(id: &str) -> Record<'static> {
    record(json!({"event_name": "page_view", "event_id": id, "timestamp_ms": HAPPENED_MS}))
}

/// The purchase of the sheet's full request.
fn purchase() -> Json {
    json!({
        "event_name": "purchase", "event_id": "evt-1001", "timestamp_ms": HAPPENED_MS, "user_id": "user-42",
        "client_id": "1506821430.1730448757", "page_location": "https://shop.example/thanks",
        "ga_session_id": "1739008119", "value": 72.05, "currency": "EUR", "transaction_id": "T-1001",
        "user_properties": {"tier": "gold"},
        "items": [{"item_id": "SKU-1", "item_name": "Shirt", "price": 33.03, "quantity": 2}],
        "x-ga-measurement_id": "G-TEST000001",
    })
}

fn row_of(vendor: &BigQuery, record: Record<'static>) -> Json {
    let encoding = vendor.encode(&[record], 0);
    assert!(encoding.refused.is_empty(), "{:?}", encoding.refused);
    let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
    body["rows"][0]["json"].clone()
}

#[test]
fn the_request_of_the_sheet() {
    let mut record = record(purchase());
    record.consent.analytics_storage = ConsentSignal::Granted;
    record.consent.ad_storage = ConsentSignal::Denied;
    let encoding = big_query().encode(&[record], 0);
    let request = &encoding.requests[0].request;
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.url.as_str(), format!("{TABLES}/events/insertAll"));
    assert_eq!(request.headers[CONTENT_TYPE], "application/json");
    assert_eq!(request.authentication, Authentication::GoogleToken);
    let body: Json = serde_json::from_slice(&request.body).unwrap();
    let expected = json!({
        "skipInvalidRows": true, "ignoreUnknownValues": true,
        "rows": [{
            "insertId": "evt-1001",
            "json": {
                "event_date": "2026-01-01", "event_timestamp": 1_767_225_600_000_000_i64, "event_name": "purchase",
                "event_server_timestamp_offset": 1_500_000,
                "user_id": "user-42", "user_pseudo_id": "1506821430.1730448757",
                "privacy_info": {"analytics_storage": "Yes", "ads_storage": "No", "uses_transient_token": "No"},
                "event_params": [
                    {"key": "currency", "value": {"string_value": "EUR"}},
                    {"key": "ga_session_id", "value": {"int_value": 1_739_008_119}},
                    {"key": "page_location", "value": {"string_value": "https://shop.example/thanks"}},
                    {"key": "transaction_id", "value": {"string_value": "T-1001"}},
                    {"key": "value", "value": {"double_value": 72.05}},
                ],
                "user_properties": [
                    {"key": "tier", "value": {"string_value": "gold", "set_timestamp_micros": 1_767_225_600_000_000_i64}},
                ],
                "ecommerce": {
                    "total_item_quantity": 2, "unique_items": 1, "purchase_revenue": 72.05, "transaction_id": "T-1001",
                },
                "items": [{"item_id": "SKU-1", "item_name": "Shirt", "price": 33.03, "quantity": 2, "item_revenue": 66.06}],
                "platform": "WEB", "stream_id": "G-TEST000001",
                "event_id": "evt-1001", "received_at": "2026-01-01T00:00:01.5Z",
                "consent": json!({
                    "ad_storage": "denied", "analytics_storage": "granted", "ad_user_data": "unset",
                    "ad_personalization": "unset",
                }).to_string(),
            },
        }],
    });
    assert_eq!(body, expected);
}

#[test]
fn a_parameter_stands_under_the_name_of_its_type() {
    let row = row_of(
        &big_query(),
        record(json!({
            "event_name": "e", "stock": 3, "weight": 0.5, "gift": true, "sku": "BOWL-10", "nothing": null,
            "sizes": ["S", "M"], "ga_session_number": "7", "engagement_time_msec": "many", "big": u64::MAX,
        })),
    );
    let expected = json!([
        {"key": "stock", "value": {"int_value": 3}},
        {"key": "weight", "value": {"double_value": 0.5}},
        {"key": "gift", "value": {"string_value": "true"}},
        {"key": "sku", "value": {"string_value": "BOWL-10"}},
        {"key": "sizes", "value": {"string_value": "[\"S\",\"M\"]"}},
        {"key": "ga_session_number", "value": {"int_value": 7}},
        {"key": "engagement_time_msec", "value": {"string_value": "many"}},
        {"key": "big", "value": {"double_value": 18_446_744_073_709_551_615_u64 as f64}},
    ]);
    assert_eq!(sorted(&row["event_params"]), sorted(&expected));
}

fn sorted(entries: &Json) -> Vec<String> {
    let mut entries: Vec<String> = entries.as_array().unwrap().iter().map(Json::to_string).collect();
    entries.sort();
    entries
}

#[test]
fn what_fits_into_no_column_of_an_item_is_among_its_parameters() {
    let item = json!({
        "item_id": 17, "quantity": "2", "price": "9.90", "index": 1, "discount": 0.5, "color": "blue", "item_name": null,
    });
    let row = row_of(
        &big_query(),
        record(json!({"event_name": "refund", "items": [item, "no item"]})),
    );
    let expected = json!([{
        "item_id": "17", "quantity": 2, "price": 9.9, "item_list_index": "1", "item_refund": 19.8,
        "item_params": [
            {"key": "discount", "value": {"double_value": 0.5}},
            {"key": "color", "value": {"string_value": "blue"}},
        ],
    }]);
    let sort = |mut items: Json| {
        let parameters = sorted(&items[0]["item_params"]);
        items[0]["item_params"] = parameters.into();
        items
    };
    assert_eq!(sort(row["items"].clone()), sort(expected));
    let bad = json!({"event_name": "purchase", "items": [{"quantity": "a few", "price": {"amount": 1}}]});
    let row = row_of(&big_query(), record(bad));
    assert!(row["items"][0].get("quantity").is_none() && row["items"][0].get("price").is_none());
}

#[test]
fn the_source_of_a_visit_comes_from_the_pages_url_and_the_click_ids() {
    let row = row_of(
        &big_query(),
        record(json!({
            "event_name": "page_view",
            "page_location": "https://shop.example/?utm_source=news&utm_medium=e%2Bmail&utm_campaign=may&utm_id=7\
                &srsltid=s1&utm_term=&other=1#top",
            "click_ids": {"gclid": "g1", "fbclid": "f1"},
            "x-ga-mp2-cs": "letter",
        })),
    );
    let expected = json!({
        "manual_source": "letter", "manual_medium": "e+mail", "manual_campaign_name": "may", "manual_campaign_id": "7",
        "srsltid": "s1", "gclid": "g1",
    });
    assert_eq!(row["collected_traffic_source"], expected);
}

#[test]
fn the_place_and_the_device_that_the_pipeline_found_have_their_columns() {
    let row = row_of(
        &big_query(),
        record(json!({
            "event_name": "page_view", "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            "geo": {"continent": "EU", "country": "DE", "region": "BE", "city": "Berlin"},
            "device": {"category": "desktop", "browser": "Pets", "browser_version": "7"},
            "x_bot": {"score": 90, "reason": "crawler"},
        })),
    );
    assert_eq!(
        row["geo"],
        json!({"continent": "EU", "country": "DE", "region": "BE", "city": "Berlin"})
    );
    assert_eq!(
        row["device"]["web_info"],
        json!({"browser": "Pets", "browser_version": "7"})
    );
    let keys: Vec<&str> = row["event_params"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["x_bot"]);
}

#[test]
fn the_device_is_what_hints_say_and_else_what_the_user_agent_shows() {
    let hints = json!({
        "event_name": "page_view", "language": "de-de", "page_hostname": "shop.example", "user_agent": "Mozilla/5.0",
        "client_hints": {
            "platform": "macOS", "platform_version": "15.7.1", "mobile": false, "model": "",
            "full_version_list": [
                {"brand": "Not A Brand", "version": "9"}, {"brand": "Chromium", "version": "142.0.1.2"},
                {"brand": "Google Chrome", "version": "142.0.1.3"},
            ],
        },
    });
    let expected = json!({
        "category": "desktop", "operating_system": "macOS", "operating_system_version": "15.7.1", "language": "de-de",
        "web_info": {"browser": "Chrome", "browser_version": "142.0.1.3", "hostname": "shop.example"},
    });
    assert_eq!(row_of(&big_query(), record(hints))["device"], expected);
    for (agent, expected) in [
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.1 Mobile/15E148 Safari/604.1",
            json!({"category": "mobile", "operating_system": "iOS", "operating_system_version": "18.1",
                "mobile_brand_name": "Apple", "mobile_model_name": "iPhone",
                "web_info": {"browser": "Safari", "browser_version": "18.1"}}),
        ),
        (
            "Mozilla/5.0 (Linux; Android 15; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
            json!({"category": "tablet", "operating_system": "Android", "operating_system_version": "15",
                "mobile_model_name": "SM-X700",
                "web_info": {"browser": "Chrome", "browser_version": "142.0.0.0"}}),
        ),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 \
             Safari/537.36 Edg/142.0.1.0",
            json!({"category": "desktop", "operating_system": "Windows", "operating_system_version": "10",
                "web_info": {"browser": "Edge", "browser_version": "142.0.1.0"}}),
        ),
    ] {
        let row = row_of(&big_query(), record(json!({"event_name": "e", "user_agent": agent})));
        assert_eq!(row["device"], expected, "{agent}");
    }
}

#[test]
fn parameters_set_columns_their_members_and_the_entries_of_a_key() {
    let vendor = with_parameters(&[
        ("platform", "'APP'"),
        ("geo.country", "'Germany'"),
        ("raw", "event.items"),
        ("margin", "event.value * 0.5"),
        ("event_params.currency", "'USD'"),
        ("user_properties.orders", "3"),
        ("user_id", "event.missing"),
    ]);
    let encoding = vendor.encode(&[record(purchase())], 0);
    assert_eq!(
        encoding.expression_errors,
        BTreeMap::from([("parameters.user_id".to_owned(), 1)])
    );
    let row = row_of(&vendor, record(purchase()));
    assert_eq!(row["event_name"], "order");
    assert_eq!(
        (&row["platform"], &row["geo"], &row["margin"], &row["user_id"]),
        (
            &json!("APP"),
            &json!({"country": "Germany"}),
            &json!(36.025),
            &json!("user-42")
        )
    );
    let raw: Json = serde_json::from_str(row["raw"].as_str().expect("JSON as text")).unwrap();
    assert_eq!(raw[0]["item_id"], "SKU-1");
    let currencies = row["event_params"].as_array().unwrap().iter();
    let currencies: Vec<&Json> = currencies.filter(|entry| entry["key"] == "currency").collect();
    assert_eq!(
        currencies,
        [&json!({"key": "currency", "value": {"string_value": "USD"}})]
    );
    assert_eq!(row["user_properties"][1]["value"]["int_value"], 3);
}

#[test]
fn what_a_visitor_said_of_themselves_is_not_stored() {
    let row = row_of(
        &big_query(),
        record(json!({
            "event_name": "purchase", "user_data": {"email_address": ["jane.doe@example.com"]},
            "ip_override": "203.0.113.7", "cookies": {"_fbp": "fb.1.2.3"}, "user_agent": "secret agent",
        })),
    );
    let row = row.to_string();
    for kept_out in ["jane.doe", "203.0.113.7", "fb.1.2.3", "secret agent"] {
        assert!(!row.contains(kept_out), "{row}");
    }
}

#[test]
fn an_event_without_a_possible_time_is_refused() {
    let encoding = big_query().encode(&[record(json!({"event_name": "e", "timestamp_ms": i64::MAX}))], 0);
    assert_eq!(
        encoding.refused,
        [(0, "timestamp_ms 9223372036854775807 is no time".into())]
    );
    assert!(encoding.requests.is_empty());
}

#[test]
fn a_long_id_is_hashed() {
    let ids = |id: &str| {
        let encoding = big_query().encode(&[named(id)], 0);
        let body: Json = serde_json::from_slice(&encoding.requests[0].request.body).unwrap();
        body["rows"][0]["insertId"].as_str().unwrap().to_owned()
    };
    assert_eq!(ids(&"ä".repeat(128)), "ä".repeat(128));
    assert_eq!(ids(&"x".repeat(129)), hex::encode(Sha256::digest("x".repeat(129))));
}

#[test]
fn requests_stay_within_the_limits() {
    let many: Vec<_> = (0..1001).map(|number| named(&number.to_string())).collect();
    let encoding = big_query().encode(&many, 0);
    let sizes: Vec<usize> = encoding.requests.iter().map(|encoded| encoded.events.len()).collect();
    assert_eq!(sizes, [500, 500, 1]);

    let large = |bytes: usize| record(json!({"event_name": "e", "blob": "x".repeat(bytes)}));
    let encoding = big_query().encode(&[large(6_000_000), large(6_000_000), large(9_900_000)], 0);
    assert_eq!(encoding.requests.len(), 2);
    assert!(
        encoding
            .requests
            .iter()
            .all(|encoded| encoded.request.body.len() < 10_000_000)
    );
    assert_eq!(encoding.refused.len(), 1);
    assert_eq!(encoding.refused[0].0, 2);
}

#[test]
fn a_token_never_travels_in_cleartext() {
    let double = BigQuery {
        rows: "http://localhost:9050/bigquery/v2/x".parse().unwrap(),
        ..big_query()
    };
    let encoding = double.encode(&[named("1")], 0);
    assert_eq!(encoding.requests[0].request.authentication, Authentication::None);
}

fn response(status: u16, body: impl Into<Bytes>) -> Response {
    Response {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.into(),
        trailers: HeaderMap::new(),
    }
}

fn answered(status: u16, body: &Json) -> Outcome {
    big_query().classify(&response(status, body.to_string()))
}

/// An error in the form of Google's JSON interfaces.
fn failed(status: u16, reason: &str, message: &str) -> Json {
    json!({"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}})
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused {
        reason: reason.to_owned(),
    }
}

fn again(reason: &str) -> Outcome {
    Outcome::Retry {
        after: None,
        reason: reason.to_owned(),
    }
}

#[test]
fn rows_that_the_answer_does_not_name_are_stored() {
    assert_eq!(
        answered(200, &json!({"kind": "bigquery#tableDataInsertAllResponse"})),
        Outcome::Delivered
    );
    let answer = json!({"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": [
        {"index": 0, "errors": [{"reason": "invalid", "location": "event_ts", "debugInfo": "", "message": "Could not parse value"}]},
        {"index": 1, "errors": [{"reason": "stopped", "location": "", "debugInfo": "", "message": ""}]},
        {"index": 3, "errors": [{"reason": "backendError", "message": "later"}, {"reason": "invalid", "message": "no"}]},
        {"index": 4, "errors": [{"reason": "quotaExceeded"}]},
        {"index": 5, "errors": []},
    ]});
    let named = BTreeMap::from([
        (0, refused("invalid: event_ts: Could not parse value")),
        (1, again("stopped")),
        (3, refused("invalid: no")),
        (4, again("quotaExceeded")),
        (5, again("BigQuery gives no reason")),
    ]);
    let others = Box::new(Outcome::Delivered);
    assert_eq!(answered(200, &answer), Outcome::Named { named, others });
}

#[test]
fn of_an_answer_that_is_cut_what_it_names_counts_and_the_rest_is_sent_again() {
    let whole = json!({"kind": "x", "insertErrors": [
        {"index": 2, "errors": [{"reason": "invalid", "message": "a {bad} row"}]},
        {"index": 7, "errors": [{"reason": "invalid", "message": "another"}]},
    ]})
    .to_string();
    for cut in 1..whole.len() {
        let outcome = big_query().classify(&response(200, whole.as_bytes()[..cut].to_vec()));
        let named = match &outcome {
            Outcome::Retry { .. } => vec![],
            Outcome::Named { named, others } => {
                assert!(matches!(**others, Outcome::Retry { .. }), "{cut}");
                named.keys().copied().collect()
            }
            other => panic!("{cut}: {other:?}"),
        };
        assert!([&[][..], &[2], &[2, 7]].contains(&named.as_slice()), "{cut}: {named:?}");
    }
}

#[test]
fn answers_to_the_request_as_a_whole() {
    for (status, reason) in [
        (403, "rateLimitExceeded"),
        (403, "quotaExceeded"),
        (404, "notFound"),
        (409, "duplicate"),
        (429, "rateLimitExceeded"),
        (500, "internalError"),
        (503, "backendError"),
    ] {
        let outcome = answered(status, &failed(status, reason, "no"));
        assert!(
            matches!(outcome, Outcome::Retry { .. }),
            "{status} {reason}: {outcome:?}"
        );
    }
    for (status, reason) in [(401, "authError"), (403, "accessDenied")] {
        let outcome = answered(status, &failed(status, reason, "no"));
        assert!(
            matches!(outcome, Outcome::CredentialsRejected { .. }),
            "{status}: {outcome:?}"
        );
    }
    for status in [400, 413] {
        let outcome = answered(
            status,
            &failed(status, "invalid", "Request contains an invalid argument."),
        );
        let reason = format!("{status} invalid: Request contains an invalid argument.");
        assert_eq!(outcome, Outcome::RefusedBatch { reason });
    }
    let not_json = big_query().classify(&response(200, "<html>"));
    assert!(matches!(not_json, Outcome::Retry { .. }), "{not_json:?}");
}

#[test]
fn a_missing_table_is_made_where_that_is_allowed() {
    let missing = response(
        404,
        failed(404, "notFound", "Not found: Table demo:shop.events").to_string(),
    );
    assert!(big_query().prepare(&missing).is_none());
    assert_eq!(
        big_query().classify(&missing),
        again("404 notFound: Not found: Table demo:shop.events; make the table, or set createTable: true")
    );

    let vendor = that_makes_its_table();
    let request = vendor.prepare(&missing).unwrap();
    assert_eq!((request.method, request.url.as_str()), (Method::POST, TABLES));
    let table: Json = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        table["tableReference"],
        json!({"projectId": "demo", "datasetId": "shop", "tableId": "events"})
    );
    assert_eq!(table["timePartitioning"], json!({"type": "DAY", "field": "event_date"}));
    assert_eq!(table["clustering"], json!({"fields": ["event_name"]}));
    assert!(vendor.prepare(&response(200, "{}")).is_none());
    assert_eq!(
        vendor.classify(&response(200, r#"{"kind": "bigquery#table"}"#)),
        Outcome::Delivered
    );
}

/// Whether BigQuery takes a value for a column (vendors/bigquery.md section 1, `.json`).
fn fits(fields: &Json, value: &Json, path: &str) -> Result<(), String> {
    for (name, value) in value.as_object().ok_or(format!("{path} is no record"))? {
        let path = format!("{path}.{name}");
        let column = fields.as_array().unwrap().iter().find(|column| column["name"] == *name);
        let column = column.ok_or(format!("{path} is no column"))?;
        let values = match (column["mode"].as_str().unwrap(), value) {
            ("REPEATED", Json::Array(values)) => values.as_slice(),
            ("REPEATED", _) => return Err(format!("{path} is no list")),
            (_, value) => std::slice::from_ref(value),
        };
        for value in values {
            let good = match column["type"].as_str().unwrap() {
                "RECORD" => {
                    fits(&column["fields"], value, &path)?;
                    true
                }
                "INTEGER" => value.is_i64(),
                "FLOAT" => value.is_number(),
                "BOOLEAN" => value.is_boolean(),
                "JSON" => value
                    .as_str()
                    .is_some_and(|text| serde_json::from_str::<Json>(text).is_ok()),
                _ => value.is_string(),
            };
            if !good {
                return Err(format!("{path}: {value}"));
            }
        }
    }
    Ok(())
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "\\PC{0,8}".prop_map(Json::from),
        "[0-9.]{1,5}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let member = prop_oneof![
            "[a-z_.]{1,6}".boxed(),
            prop::sample::select(vec![
                "price",
                "quantity",
                "index",
                "item_id",
                "platform",
                "mobile",
                "full_version_list",
                "brand",
                "city",
                "gclid",
            ])
            .prop_map(str::to_owned)
            .boxed()
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(member, inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

fn any_event() -> impl Strategy<Value = Json> {
    let field = prop::sample::select(vec![
        "event_id",
        "client_id",
        "user_id",
        "value",
        "items",
        "user_properties",
        "client_hints",
        "click_ids",
        "device",
        "user_location",
        "page_location",
        "page_hostname",
        "language",
        "user_agent",
        "shipping",
        "tax",
        "transaction_id",
        "ga_session_id",
        "x-ga-page_id",
        "x-ga-measurement_id",
        "x-ga-mp2-seg",
        "x-ga-mp2-cs",
        "custom",
    ]);
    let fields = prop::collection::btree_map(field, any_json(), 0..12);
    (prop::sample::select(vec!["purchase", "refund", "e"]), fields).prop_map(|(name, fields)| {
        let mut event = json!(fields);
        event["event_name"] = name.into();
        event
    })
}

proptest! {
    /// Whatever an event holds, its row fits into the table that is made, so that BigQuery refuses none.
    #[test]
    fn every_row_fits_into_the_table(event in any_event()) {
        let table = schema::table("demo", "shop", "events");
        let row = row_of(&big_query(), record(event));
        prop_assert_eq!(fits(&table["schema"]["fields"], &row, "row"), Ok(()));
    }

    #[test]
    fn no_answer_makes_it_panic(status in 200_u16..600, body in prop::collection::vec(any::<u8>(), 0..200)) {
        big_query().classify(&response(status, body));
    }
}
