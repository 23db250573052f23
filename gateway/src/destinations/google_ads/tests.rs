//! Given these events, these requests go to Google; given these answers, this becomes of the events.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tagfleet_crds::destination as crd;

use super::{
    conversion::Conversions,
    data_manager::{self, DataManager},
    google_ads_api::{self, GoogleAdsApi},
};
use crate::{
    destinations::{Authentication, Destination, Encoding, Outcome},
    record::{Consent, ConsentSignal, Record},
    testing::{Visitor, answer, hostile_record, mapping, purchase, record},
};

/// 2026-01-01T00:00:00Z, when all events here happen.
const NOW_MS: i64 = 1_767_225_600_000;
const EMAIL: &str = "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b";
const PHONE: &str = "cb6880e416769253645cb9c6b8989154bf66a56a77fc14c81fb1019663cbb928";

fn block() -> crd::GoogleAds {
    crd::GoogleAds {
        customer_id: "123-456-7890".to_owned(),
        login_customer_id: Some("111-222-3333".to_owned()),
        conversion_actions: BTreeMap::from([
            ("purchase".to_owned(), "987654321".to_owned()),
            ("generate_lead".to_owned(), "555".to_owned()),
        ]),
        ..crd::GoogleAds::default()
    }
}

fn data_manager_with(block: &crd::GoogleAds, parameters: &[(&str, &str)]) -> DataManager {
    let mapping = mapping(&[("order_done", "purchase")], parameters);
    let conversions = Conversions::new(block, mapping, data_manager::IDENTIFYING);
    DataManager::new(conversions, data_manager::url("v1").parse().unwrap())
}

fn data_manager() -> DataManager {
    data_manager_with(&block(), &[])
}

fn google_ads_api_with(parameters: &[(&str, &str)]) -> GoogleAdsApi {
    let mut token = HeaderValue::from_static("fake-developer-token");
    token.set_sensitive(true);
    let conversions = Conversions::new(&block(), mapping(&[], parameters), google_ads_api::IDENTIFYING);
    let url = google_ads_api::url("v26", "123-456-7890").parse().unwrap();
    GoogleAdsApi::new(conversions, url, token)
}

fn google_ads_api() -> GoogleAdsApi {
    google_ads_api_with(&[])
}

fn granted() -> Consent {
    let granted = ConsentSignal::Granted;
    Consent {
        ad_storage: granted,
        analytics_storage: granted,
        ad_user_data: granted,
        ad_personalization: granted,
    }
}

fn consenting(mut record: Record<'static>) -> Record<'static> {
    record.consent = granted();
    record
}

fn bodies(encoding: &Encoding) -> Vec<Json> {
    let bodies = encoding.requests.iter();
    bodies
        .map(|encoded| serde_json::from_slice(&encoded.request.body).unwrap())
        .collect()
}

/// The one event of `events[]` or `conversions[]`.
fn described(vendor: &dyn Destination, record: Record<'static>) -> Json {
    let encoding = vendor.encode(&[record], NOW_MS);
    assert!(encoding.refused.is_empty(), "{:?}", encoding.refused);
    let body = bodies(&encoding).remove(0);
    body.get("events").or_else(|| body.get("conversions")).unwrap()[0].clone()
}

fn refusal(vendor: &dyn Destination, record: Record<'static>) -> String {
    let encoding = vendor.encode(&[record], NOW_MS);
    assert!(encoding.requests.is_empty());
    encoding.refused[0].1.to_string()
}

/// The sheet's full example for the Data Manager API.
#[test]
fn a_purchase_by_the_data_manager_api() {
    let encoding = data_manager().encode(&[consenting(purchase())], NOW_MS);
    let request = &encoding.requests[0].request;
    assert_eq!(
        request.url.as_str(),
        "https://datamanager.googleapis.com/v1/events:ingest"
    );
    assert_eq!(request.authentication, Authentication::GoogleToken);
    let device = json!({"userAgent": "Mozilla/5.0 (X11; Linux x86_64)", "ipAddress": "203.0.113.7"});
    let expected = json!({
        "destinations": [{
            "reference": "987654321",
            "loginAccount": {"accountType": "GOOGLE_ADS", "accountId": "1112223333"},
            "operatingAccount": {"accountType": "GOOGLE_ADS", "accountId": "1234567890"},
            "productDestinationId": "987654321"
        }],
        "encoding": "HEX",
        "events": [{
            "eventTimestamp": "2026-01-01T00:00:00Z", "eventSource": "WEB", "transactionId": "T-1001",
            "currency": "EUR", "conversionValue": 72.05,
            "adIdentifiers": {"gclid": "fake-gclid", "landingPageDeviceInfo": device},
            "eventDeviceInfo": device,
            "userData": {"userIdentifiers": [
                {"emailAddress": EMAIL},
                {"phoneNumber": PHONE},
                {"address": {
                    "givenName": "81f8f6dde88365f3928796ec7aa53f72820b06db8664f5fe76a7eb13e24546a2",
                    "familyName": "799ef92a11af918e3fb741df42934f3b568ed2d93ac1df74f1b8d41a27932a6f",
                    "regionCode": "US", "postalCode": "94035-1234"
                }}
            ]},
            "consent": {"adUserData": "CONSENT_GRANTED", "adPersonalization": "CONSENT_GRANTED"},
            "cartData": {"items": [{"merchantProductId": "SKU-1", "quantity": 2, "unitPrice": 33.03}]}
        }]
    });
    assert_eq!(bodies(&encoding), [expected]);
}

/// The sheet's full example for the Google Ads API.
#[test]
fn a_purchase_by_the_google_ads_api() {
    let encoding = google_ads_api().encode(&[consenting(purchase())], NOW_MS);
    let request = &encoding.requests[0].request;
    let url = "https://googleads.googleapis.com/v26/customers/1234567890:uploadClickConversions";
    assert_eq!(request.url.as_str(), url);
    assert_eq!(request.authentication, Authentication::GoogleToken);
    assert_eq!(request.headers["developer-token"], "fake-developer-token");
    assert_eq!(request.headers["login-customer-id"], "1112223333");
    assert!(!format!("{request:?}").contains("fake-developer-token"));
    let expected = json!({
        "partialFailure": true,
        "conversions": [{
            "conversionAction": "customers/1234567890/conversionActions/987654321",
            "conversionDateTime": "2026-01-01 00:00:00+00:00",
            "gclid": "fake-gclid", "conversionValue": 72.05, "currencyCode": "EUR", "orderId": "T-1001",
            "conversionEnvironment": "WEB",
            "consent": {"adUserData": "GRANTED", "adPersonalization": "GRANTED"},
            "userIdentifiers": [
                {"hashedEmail": EMAIL, "userIdentifierSource": "FIRST_PARTY"},
                {"hashedPhoneNumber": PHONE, "userIdentifierSource": "FIRST_PARTY"}
            ],
            "cartData": {"items": [{"productId": "SKU-1", "quantity": 2, "unitPrice": 33.03}]}
        }]
    });
    assert_eq!(bodies(&encoding), [expected]);
}

#[test]
fn a_click_id_is_enough() {
    let event = json!({"event_name": "generate_lead", "timestamp_ms": NOW_MS, "click_ids": {"gclid": "TeSter-123"}});
    let expected = json!({
        "eventTimestamp": "2026-01-01T00:00:00Z", "eventSource": "WEB", "adIdentifiers": {"gclid": "TeSter-123"}
    });
    assert_eq!(described(&data_manager(), record(event.clone())), expected);
    let expected = json!({
        "conversionAction": "customers/1234567890/conversionActions/555",
        "conversionDateTime": "2026-01-01 00:00:00+00:00", "conversionEnvironment": "WEB", "gclid": "TeSter-123"
    });
    assert_eq!(described(&google_ads_api(), record(event)), expected);
}

#[test]
fn googles_rule_for_its_own_mail_addresses_is_kept() {
    let user_data = json!({"email_address": ["Jane.Doe+shop@gmail.com"]});
    let event = json!({"event_name": "purchase", "event_id": "e-1", "timestamp_ms": NOW_MS, "user_data": user_data});
    let hash = "d6117306485ed0e50afab3ac871e98f81699151f30281527d63ff5f233656c69";
    let by_data_manager = described(&data_manager(), record(event.clone()));
    assert_eq!(
        by_data_manager["userData"],
        json!({"userIdentifiers": [{"emailAddress": hash}]})
    );
    assert_eq!(
        by_data_manager["transactionId"], "e-1",
        "without a transaction id the event's own"
    );
    let by_ads = described(&google_ads_api(), record(event));
    assert_eq!(by_ads["userIdentifiers"][0]["hashedEmail"], hash);
}

#[test]
fn an_address_is_sent_whole_or_not_at_all() {
    let addresses = json!([
        {"first_name": "Jane", "last_name": "Doe", "country": "DE"},
        {"first_name": "Jane", "last_name": "Doe", "country": "Germany?", "postal_code": "80331"},
        {"first_name": "Jane", "last_name": "Doe", "country": "de", "postal_code": "jane@example.com"},
        {"first_name": "Jane", "last_name": "Doe", "country": "de", "postal_code": "80331"}
    ]);
    let event = json!({"event_name": "purchase", "timestamp_ms": NOW_MS, "user_data": {"address": addresses}});
    let described = described(&data_manager(), record(event.clone()));
    let identifiers = described["userData"]["userIdentifiers"].as_array().unwrap();
    assert_eq!(identifiers.len(), 1, "{identifiers:?}");
    assert_eq!(identifiers[0]["address"]["regionCode"], "DE");
    assert!(
        refusal(&google_ads_api(), record(event)).starts_with("has no click id"),
        "it takes no addresses"
    );
}

#[test]
fn so_many_identifiers_and_items_as_google_takes() {
    let many = |count: usize| (0..count).map(|n| format!("jane{n}@example.com")).collect::<Vec<_>>();
    let items: Vec<Json> = (0..300).map(|n| json!({"item_id": format!("SKU-{n}")})).collect();
    let event = json!({
        "event_name": "purchase", "timestamp_ms": NOW_MS, "items": items, "user_data": {"email_address": many(20)}
    });
    let event_of = described(&data_manager(), record(event.clone()));
    assert_eq!(event_of["userData"]["userIdentifiers"].as_array().unwrap().len(), 10);
    assert_eq!(event_of["cartData"]["items"].as_array().unwrap().len(), 200);
    let conversion = described(&google_ads_api(), record(event));
    assert_eq!(conversion["userIdentifiers"].as_array().unwrap().len(), 5);
    assert_eq!(conversion["cartData"]["items"].as_array().unwrap().len(), 300);
}

#[test]
fn who_refuses_ad_user_data_is_known_by_the_click_alone() {
    let mut denied = purchase();
    denied.consent.ad_user_data = ConsentSignal::Denied;
    let event = described(&data_manager(), denied.clone());
    assert_eq!(event["adIdentifiers"], json!({"gclid": "fake-gclid"}));
    assert_eq!(event["consent"], json!({"adUserData": "CONSENT_DENIED"}));
    assert!(event.get("userData").is_none() && event.get("eventDeviceInfo").is_none());
    let conversion = described(&google_ads_api(), denied.clone());
    assert_eq!(conversion["consent"], json!({"adUserData": "DENIED"}));
    assert!(conversion.get("userIdentifiers").is_none());
    denied.event.remove("click_ids");
    assert!(!data_manager().takes(&denied.event, &denied.consent));
    assert!(refusal(&data_manager(), denied).starts_with("has no click id"));
}

#[test]
fn events_that_are_no_conversions_are_none_of_its_business() {
    let takes = |event: Json| {
        let record = record(event);
        let vendors: [&dyn Destination; 2] = [&data_manager(), &google_ads_api()];
        let taken = |vendor: &dyn Destination| {
            vendor.wants(record.event.name()) && vendor.takes(&record.event, &record.consent)
        };
        assert_eq!(taken(vendors[0]), taken(vendors[1]));
        taken(vendors[0])
    };
    let click = json!({"gclid": "TeSter-123"});
    assert!(takes(json!({"event_name": "purchase", "click_ids": click})));
    assert!(takes(
        json!({"event_name": "purchase", "user_data": {"phone_number": ["+491511234567"]}})
    ));
    assert!(
        !takes(json!({"event_name": "page_view", "click_ids": click})),
        "has no conversion action"
    );
    assert!(!takes(json!({"event_name": "purchase"})), "nothing to match it by");
    assert!(!takes(
        json!({"event_name": "purchase", "click_ids": {"fbclid": "x"}, "user_data": {}})
    ));
}

#[test]
fn event_names_lead_to_the_conversion_action_of_another_name() {
    let event = json!({"event_name": "order_done", "timestamp_ms": NOW_MS, "click_ids": {"gclid": "x"}});
    let encoding = data_manager().encode(&[record(event)], NOW_MS);
    assert_eq!(
        bodies(&encoding)[0]["destinations"][0]["productDestinationId"],
        "987654321"
    );
}

#[test]
fn each_conversion_action_has_requests_of_its_own() {
    let named = |name: &str| record(json!({"event_name": name, "timestamp_ms": NOW_MS, "click_ids": {"gclid": "x"}}));
    let mut records: Vec<_> = (0..2001).map(|_| named("purchase")).collect();
    records.insert(1, named("generate_lead"));
    let encoding = data_manager().encode(&records, NOW_MS);
    let requests: Vec<(String, usize)> = encoding
        .requests
        .iter()
        .zip(bodies(&encoding))
        .map(|(encoded, body)| {
            assert_eq!(body["events"].as_array().unwrap().len(), encoded.events.len());
            let action = body["destinations"][0]["productDestinationId"].as_str().unwrap();
            (action.to_owned(), encoded.events.len())
        })
        .collect();
    let expected = [
        ("555".to_owned(), 1),
        ("987654321".to_owned(), 2000),
        ("987654321".to_owned(), 1),
    ];
    assert_eq!(requests, expected);
}

#[test]
fn old_events_and_ids_that_google_refuses_become_dead_letters_before_they_are_sent() {
    let with = |name: &str, value: Json| {
        let mut event = json!({"event_name": "purchase", "timestamp_ms": NOW_MS, "click_ids": {"gclid": "x"}});
        event[name] = value;
        refusal(&data_manager(), record(event))
    };
    let old = NOW_MS - 91 * 24 * 3_600_000;
    assert_eq!(
        with("timestamp_ms", json!(old)),
        "is older than the 90 days for which Google Ads keeps clicks"
    );
    assert!(with("transaction_id", json!("jane@example.com")).contains("e-mail address"));
    assert!(with("transaction_id", json!("x".repeat(513))).contains("512"));
    assert!(with("event_name", json!("page_view")).contains("no conversion action"));
}

#[test]
fn a_clock_that_is_fast_puts_no_conversion_into_the_future() {
    let event = json!({"event_name": "purchase", "timestamp_ms": NOW_MS + 60_000, "click_ids": {"gclid": "x"}});
    assert_eq!(
        described(&data_manager(), record(event))["eventTimestamp"],
        "2026-01-01T00:00:00Z"
    );
}

#[test]
fn the_landing_page_tells_of_the_advertisement_and_of_nothing_else() {
    let mut landing = purchase();
    let page =
        "https://user:secret@shop.example/bowls?gad_source=1&gad_campaignid=77&gclid=x&email=jane@example.com#top";
    landing.event.set("page_location", page);
    landing
        .event
        .set("page_referrer", "https://www.google.com/search?q=jane@example.com");
    landing.event.set("ga_session_id", "1767225000");
    let event = described(&data_manager(), landing);
    let token = event["adIdentifiers"]["sessionAttributes"].as_str().unwrap();
    let attributes: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).unwrap()).unwrap();
    let expected = json!({
        "gad_source": "1", "gad_campaignid": "77", "session_start_time_usec": "1767225000000000",
        "landing_page_url": "https://shop.example/bowls?gad_source=1&gad_campaignid=77&gclid=x",
        "landing_page_referrer": "https://www.google.com", "landing_page_user_agent": "Mozilla/5.0 (X11; Linux x86_64)"
    });
    assert_eq!(attributes, expected);
}

#[test]
fn parameters_win_and_reach_into_objects() {
    let vendor = data_manager_with(
        &block(),
        &[
            ("conversionValue", "event.value * 2.0"),
            ("eventSource", "'APP'"),
            ("cartData.merchantId", "'5555'"),
            ("cartData.merchantFeedLabel", "'DE'"),
            ("customVariables", "[{'variable': 'margin', 'value': '7'}]"),
            ("userProperties.customerValueBucket", "'HIGH'"),
        ],
    );
    let mut new_customer = purchase();
    new_customer.event.set("new_customer", "true");
    let event = described(&vendor, new_customer);
    assert_eq!(
        (&event["conversionValue"], &event["eventSource"]),
        (&json!(144.1), &json!("APP"))
    );
    assert_eq!(
        (
            &event["cartData"]["merchantId"],
            &event["cartData"]["merchantFeedLabel"]
        ),
        (&json!("5555"), &json!("DE"))
    );
    assert_eq!(event["customVariables"], json!([{"variable": "margin", "value": "7"}]));
    assert_eq!(
        event["userProperties"],
        json!({"customerValueBucket": "HIGH", "customerType": "NEW"})
    );
    let mut without_items = purchase();
    without_items.event.remove("items");
    assert!(
        described(&vendor, without_items).get("cartData").is_none(),
        "a merchant alone says nothing"
    );
}

#[test]
fn parameters_may_give_the_click_id_and_never_an_address_unhashed() {
    let event =
        json!({"event_name": "purchase", "timestamp_ms": NOW_MS, "their_click": "c-1", "mail": " Test@Example.com "});
    let vendor = data_manager_with(&block(), &[("adIdentifiers.gclid", "event.their_click")]);
    let given = record(event.clone());
    assert!(vendor.takes(&given.event, &given.consent));
    assert_eq!(described(&vendor, given)["adIdentifiers"], json!({"gclid": "c-1"}));

    let vendor = data_manager_with(
        &block(),
        &[("userData.userIdentifiers", "[{'emailAddress': event.mail}]")],
    );
    let identifiers = json!([{"emailAddress": EMAIL}]);
    assert_eq!(
        described(&vendor, record(event.clone()))["userData"]["userIdentifiers"],
        identifiers
    );
    let vendor = google_ads_api_with(&[(
        "userIdentifiers",
        "[{'hashedEmail': event.mail}, {'hashedEmail': 'no address'}]",
    )]);
    assert_eq!(
        described(&vendor, record(event))["userIdentifiers"],
        json!([{"hashedEmail": EMAIL}])
    );
}

#[test]
fn a_configuration_can_be_tried_out() {
    let trial = crd::GoogleAds {
        validate_only: true,
        ..block()
    };
    let encoding = data_manager_with(&trial, &[]).encode(&[purchase()], NOW_MS);
    assert_eq!(bodies(&encoding)[0]["validateOnly"], true);
}

#[test]
fn an_id_of_many_clicks_stands_alone_at_the_google_ads_api() {
    let mut braid = purchase();
    braid.event.set(
        "click_ids",
        tagfleet_expressions::Value::from(json!({"gbraid": "many"})),
    );
    let conversion = described(&google_ads_api(), braid);
    assert_eq!(conversion["gbraid"], "many");
    assert!(conversion.get("userIdentifiers").is_none() && conversion.get("gclid").is_none());
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused {
        reason: reason.to_owned(),
    }
}

/// The sheet's error for the Data Manager API.
#[test]
fn the_data_manager_api_names_the_events_that_are_wrong() {
    let outcome = data_manager().classify(&answer(
        400,
        r#"{"error": {"code": 400, "message": "There was a problem with the request.", "status": "INVALID_ARGUMENT", "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_HEX_ENCODING"},
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [
                {"field": "events[1].user_data.user_identifiers[0]", "description": "The HEX encoded value is malformed."},
                {"field": "events[4].event_timestamp", "description": "Not within the window."}
            ]}
        ]}}"#,
    ));
    let bad = BTreeMap::from([
        (
            1,
            "events[1].user_data.user_identifiers[0]: The HEX encoded value is malformed.".to_owned(),
        ),
        (4, "events[4].event_timestamp: Not within the window.".to_owned()),
    ]);
    assert_eq!(outcome, Outcome::RefusedEvents { bad });
}

#[test]
fn what_is_wrong_with_the_request_is_wrong_with_all_its_events() {
    let of_destination = data_manager().classify(&answer(
        400,
        r#"{"error": {"status": "INVALID_ARGUMENT", "message": "There was a problem with the request.", "details": [
            {"fieldViolations": [{"field": "destinations[0].product_destination_id", "description": "Conversion action ID is not valid.",
                "reason": "INVALID_CONVERSION_ACTION_ID"}]}
        ]}}"#,
    ));
    let reason = "INVALID_CONVERSION_ACTION_ID: There was a problem with the request. \
                  (destinations[0].product_destination_id: Conversion action ID is not valid.)";
    assert_eq!(of_destination, refused(reason));
    let body = r#"{"error": {"status": "INVALID_ARGUMENT", "message": "Something is wrong."}}"#;
    let reason = "INVALID_ARGUMENT: Something is wrong.".to_owned();
    assert_eq!(
        data_manager().classify(&answer(400, body)),
        Outcome::RefusedBatch { reason }
    );
}

#[test]
fn credentials_that_are_refused_say_what_to_do() {
    let advice = |vendor: &dyn Destination, status: u16, body: &str| match vendor.classify(&answer(status, body)) {
        Outcome::CredentialsRejected { reason } => reason,
        other => panic!("{other:?}"),
    };
    let by_data_manager = |status, body: &str| advice(&data_manager(), status, body);
    assert_eq!(
        by_data_manager(
            401,
            r#"{"error": {"status": "UNAUTHENTICATED", "message": "Invalid credentials."}}"#
        ),
        "UNAUTHENTICATED: Invalid credentials.; the access token is not taken; make a refresh token with the scope \
         https://www.googleapis.com/auth/datamanager and put it into the Secret"
    );
    let scope = r#"{"error": {"status": "PERMISSION_DENIED", "message": "Scopes.", "details": [{"reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT"}]}}"#;
    assert!(by_data_manager(403, scope).contains("scope https://www.googleapis.com/auth/datamanager"));
    let disabled = r#"{"error": {"message": "Off.", "details": [{"reason": "SERVICE_DISABLED"}]}}"#;
    assert!(by_data_manager(403, disabled).contains("enable the Data Manager API"));
    assert!(by_data_manager(403, "").contains("account 1234567890"));
    let not_approved = r#"{"error": {"message": "No.", "details": [{"errors": [
        {"errorCode": {"authorizationError": "DEVELOPER_TOKEN_NOT_APPROVED"}, "message": "Only for test accounts."}]}]}}"#;
    let told = advice(&google_ads_api(), 403, not_approved);
    assert!(
        told.starts_with("DEVELOPER_TOKEN_NOT_APPROVED: Only for test accounts.; the developer token"),
        "{told}"
    );
    assert!(advice(&google_ads_api(), 401, "").contains("https://www.googleapis.com/auth/adwords"));
    assert!(advice(&google_ads_api(), 403, "").contains("loginCustomerId"));
}

#[test]
fn what_passes_is_tried_again() {
    let vendors: [&dyn Destination; 2] = [&data_manager(), &google_ads_api()];
    for vendor in vendors {
        for status in [429, 500, 503, 504] {
            assert!(
                matches!(vendor.classify(&answer(status, "")), Outcome::Retry { after: None, .. }),
                "{status}"
            );
        }
        assert_eq!(vendor.classify(&answer(404, "")), refused("404 Not Found"));
        assert_eq!(vendor.classify(&answer(400, "<html>")), refused("400: <html>"));
    }
    assert_eq!(
        data_manager().classify(&answer(200, r#"{"requestId": "fakeRequestId"}"#)),
        Outcome::Delivered
    );
    let young =
        r#"{"error": {"message": "Too new.", "details": [{"reason": "CONVERSION_ACTION_TOO_RECENTLY_CREATED"}]}}"#;
    let later = Outcome::Retry {
        after: Some(Duration::from_secs(6 * 3600)),
        reason: "CONVERSION_ACTION_TOO_RECENTLY_CREATED: Too new.".to_owned(),
    };
    let of_all = Outcome::Named {
        named: BTreeMap::new(),
        others: Box::new(later),
    };
    assert_eq!(data_manager().classify(&answer(400, young)), of_all);
    let conflict = r#"{"error": {"message": "Again.", "details": [{"errors": [{"errorCode": {"databaseError": "CONCURRENT_MODIFICATION"}}]}]}}"#;
    assert!(matches!(
        google_ads_api().classify(&answer(400, conflict)),
        Outcome::Retry { .. }
    ));
}

fn errors(errors: &[(Option<usize>, &str)]) -> Json {
    let error = |(place, code): &(Option<usize>, &str)| {
        let mut path = json!([{"fieldName": "conversions"}, {"fieldName": "gclid"}]);
        if let Some(place) = place {
            path[0]["index"] = json!(place);
        }
        json!({
            "errorCode": {"conversionUploadError": code}, "message": format!("About {code}."),
            "location": {"fieldPathElements": path}
        })
    };
    json!(errors.iter().map(error).collect::<Vec<_>>())
}

fn partial(results: &Json, given: &[(Option<usize>, &str)]) -> Outcome {
    let details = json!([{"@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure", "errors": errors(given)}]);
    let failure = json!({"code": 3, "message": "Multiple errors…", "details": details});
    let body = json!({"results": results, "partialFailureError": failure});
    google_ads_api().classify(&answer(200, &body.to_string()))
}

#[test]
fn the_google_ads_api_tells_of_each_conversion() {
    let taken = json!({"gclid": "TeSter-123"});
    let outcome = partial(
        &json!([taken, {}, {}, {}, {}, taken]),
        &[
            (Some(1), "UNPARSEABLE_GCLID"),
            (Some(2), "TOO_RECENT_EVENT"),
            (Some(3), "ORDER_ID_ALREADY_IN_USE"),
            (Some(4), "CONCURRENT_MODIFICATION"),
        ],
    );
    let expected = [
        Outcome::Delivered,
        refused("UNPARSEABLE_GCLID: About UNPARSEABLE_GCLID."),
        Outcome::Retry {
            after: Some(Duration::from_secs(6 * 3600)),
            reason: "TOO_RECENT_EVENT: About TOO_RECENT_EVENT.".to_owned(),
        },
        Outcome::Delivered,
        Outcome::Retry {
            after: None,
            reason: "CONCURRENT_MODIFICATION: About CONCURRENT_MODIFICATION.".to_owned(),
        },
        Outcome::Delivered,
    ];
    assert_eq!(outcome, Outcome::PerEvent(expected.to_vec()));
    assert_eq!(
        google_ads_api().classify(&answer(200, r#"{"results": [{}]}"#)),
        Outcome::Delivered,
        "validateOnly"
    );
}

#[test]
fn codes_of_a_conversion_by_their_meaning() {
    let of = |code: &str| match partial(&json!([{}]), &[(Some(0), code)]) {
        Outcome::PerEvent(mut outcomes) => outcomes.remove(0),
        other => panic!("{other:?}"),
    };
    for delivered in ["ORDER_ID_ALREADY_IN_USE", "CLICK_NOT_FOUND"] {
        assert_eq!(of(delivered), Outcome::Delivered, "{delivered}");
    }
    for later in ["TOO_RECENT_EVENT", "TOO_RECENT_CONVERSION_ACTION", "TOO_RECENT_CALL"] {
        assert!(matches!(of(later), Outcome::Retry { after: Some(_), .. }), "{later}");
    }
    for refused in [
        "EXPIRED_EVENT",
        "CONVERSION_PRECEDES_EVENT",
        "EVENT_NOT_FOUND",
        "INVALID_CONVERSION_ACTION_TYPE",
        "UNAUTHORIZED_CUSTOMER",
        "ORDER_ID_CONTAINS_PII",
        "CLICK_CONVERSION_ALREADY_EXISTS",
        "DUPLICATE_ORDER_ID",
        "A_CODE_OF_TOMORROW",
    ] {
        assert!(matches!(of(refused), Outcome::Refused { .. }), "{refused}");
    }
}

#[test]
fn of_several_errors_of_a_conversion_the_gravest_counts() {
    let given = [
        (Some(0), "TOO_RECENT_EVENT"),
        (Some(0), "UNPARSEABLE_GCLID"),
        (Some(0), "CLICK_NOT_FOUND"),
    ];
    let expected = refused("UNPARSEABLE_GCLID: About UNPARSEABLE_GCLID.");
    assert_eq!(partial(&json!([{}]), &given), Outcome::PerEvent(vec![expected]));
}

#[test]
fn an_error_without_a_place_is_about_those_that_have_no_result() {
    let outcome = partial(&json!([{"gclid": "x"}, {}]), &[(None, "UNAUTHORIZED_CUSTOMER")]);
    let expected = [
        Outcome::Delivered,
        refused("UNAUTHORIZED_CUSTOMER: About UNAUTHORIZED_CUSTOMER."),
    ];
    assert_eq!(outcome, Outcome::PerEvent(expected.to_vec()));
}

#[test]
fn an_answer_that_cannot_be_read_proves_nothing() {
    for body in ["", "<html>", r#"{"results": [{"gcli"#] {
        assert!(
            matches!(google_ads_api().classify(&answer(200, body)), Outcome::Retry { .. }),
            "{body}"
        );
    }
    // However large the place that it names.
    let absurd = partial(&json!([{}]), &[(Some(usize::MAX), "EXPIRED_EVENT")]);
    assert!(matches!(absurd, Outcome::PerEvent(_)), "{absurd:?}");
}

proptest! {
    #[test]
    fn nothing_of_a_visitor_is_sent_unhashed(visitor in Visitor::any()) {
        let vendors: [&dyn Destination; 2] = [&data_manager(), &google_ads_api()];
        for vendor in vendors {
            for encoded in &vendor.encode(&[consenting(visitor.purchase())], NOW_MS).requests {
                visitor.assert_absent_from(&encoded.request.body);
            }
        }
    }

    #[test]
    fn whatever_comes_every_event_is_sent_or_refused(records in prop::collection::vec(hostile_record(), 1..5)) {
        let named = |mut record: Record<'static>| {
            record.event.set("event_name", "purchase");
            record
        };
        let records: Vec<_> = records.into_iter().map(named).collect();
        let vendors: [&dyn Destination; 2] = [&data_manager(), &google_ads_api()];
        for vendor in vendors {
            for record in &records {
                vendor.takes(&record.event, &record.consent);
            }
            let encoding = vendor.encode(&records, NOW_MS);
            let sent: usize = encoding.requests.iter().map(|encoded| encoded.events.len()).sum();
            prop_assert_eq!(sent + encoding.refused.len(), records.len());
        }
    }

    #[test]
    fn whatever_is_answered_has_an_outcome(status in prop_oneof![Just(200_u16), Just(400), Just(401), Just(403)], body in "\\PC{0,200}") {
        let vendors: [&dyn Destination; 2] = [&data_manager(), &google_ads_api()];
        for vendor in vendors {
            vendor.classify(&answer(status, &body));
        }
    }
}
