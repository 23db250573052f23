//! Google Ads (vendors/google-ads.md): the token endpoint, the Data Manager API and the Google Ads API.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use serde_json::{Map, Value, json};
use tagfleet_tests::vendors::{CREDENTIALS, Trouble};

use crate::double::{Call, Double, Verdict, is_hashed};

/// The access token that the refresh token is exchanged for.
const ACCESS_TOKEN: &str = "ya29.good-credentials";
/// Section 3 and section 4: what a request holds.
const MAX_EVENTS: usize = 2000;
/// Section 3.
const MAX_DESTINATIONS: usize = 10;
/// Section 3: the values of `accountType`.
const ACCOUNT_TYPES: [&str; 5] = [
    "GOOGLE_ADS",
    "DISPLAY_VIDEO_ADVERTISER",
    "DISPLAY_VIDEO_PARTNER",
    "GOOGLE_ANALYTICS_PROPERTY",
    "DATA_PARTNER",
];
/// Section 3: the fields of a request.
const REQUEST_FIELDS: [&str; 6] = [
    "destinations",
    "events",
    "consent",
    "encoding",
    "validateOnly",
    "encryptionInfo",
];
/// Section 3: the fields of an event, but those of GA properties.
const EVENT_FIELDS: [&str; 15] = [
    "destinationReferences",
    "transactionId",
    "eventTimestamp",
    "lastUpdatedTimestamp",
    "userData",
    "consent",
    "adIdentifiers",
    "currency",
    "conversionValue",
    "eventSource",
    "eventDeviceInfo",
    "cartData",
    "customVariables",
    "experimentalFields",
    "userProperties",
];
/// Section 4: the fields of a conversion; `customerType` is in Google's own client library since v23.
const CONVERSION_FIELDS: [&str; 17] = [
    "conversionAction",
    "conversionDateTime",
    "gclid",
    "gbraid",
    "wbraid",
    "userIdentifiers",
    "conversionValue",
    "currencyCode",
    "orderId",
    "conversionEnvironment",
    "consent",
    "cartData",
    "customVariables",
    "externalAttributionData",
    "userIpAddress",
    "sessionAttributesEncoded",
    "customerType",
];

#[derive(Default)]
pub(crate) struct GoogleAds {
    /// Conversion actions and order ids that were counted.
    counted: Mutex<HashSet<(String, String)>>,
}

/// What a path is.
enum Api {
    Tokens,
    DataManager,
    GoogleAds,
}

fn api(path: &str) -> Option<Api> {
    let is_version = |text: &str| {
        text.strip_prefix('v')
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        // Section 7.
        ["", "token"] => Some(Api::Tokens),
        // Section 3.
        ["", version, "events:ingest"] if is_version(version) => Some(Api::DataManager),
        // Section 4: the customer without dashes.
        ["", version, "customers", call] if is_version(version) => {
            let customer = call.strip_suffix(":uploadClickConversions")?;
            let whole = customer.len() == 10 && customer.bytes().all(|byte| byte.is_ascii_digit());
            whole.then_some(Api::GoogleAds)
        }
        _ => None,
    }
}

impl Double for GoogleAds {
    fn name(&self) -> &'static str {
        "googleAds"
    }

    fn owns(&self, path: &str) -> bool {
        api(path).is_some()
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        match api(call.path) {
            Some(Api::Tokens) => exchange(call),
            _ if call.bearer() != Some(ACCESS_TOKEN) => unauthenticated(),
            Some(Api::DataManager) => ingest(call),
            Some(Api::GoogleAds) => self.upload(call),
            None => error(404, "NOT_FOUND", "no such path", &json!([])),
        }
    }

    /// Section 3 and section 4, the lines on retries; section 7 for the refresh token.
    fn in_trouble(&self, trouble: Trouble, call: &Call<'_>) -> Verdict {
        let tokens = matches!(api(call.path), Some(Api::Tokens));
        match trouble {
            Trouble::Revoked if tokens => {
                let body = json!({"error": "invalid_grant", "error_description": "Token has been expired or revoked."});
                Verdict::refused(400, body)
            }
            Trouble::Revoked => unauthenticated(),
            // The access token is not what is wrong.
            _ if tokens => exchange(call),
            Trouble::Throttled => error(429, "RESOURCE_EXHAUSTED", "Too many requests.", &json!([])),
            Trouble::Failing => error(503, "UNAVAILABLE", "The service is currently unavailable.", &json!([])),
            Trouble::Refusing => match api(call.path) {
                Some(Api::GoogleAds) => {
                    let count = conversions(call).map_or(0, |conversions| conversions.len());
                    partial(
                        count,
                        |_| Some(("INVALID_CONVERSION_ACTION_TYPE", "conversion_action")),
                        Vec::new(),
                    )
                }
                _ => {
                    let violation = json!({
                        "field": "destinations[0].product_destination_id",
                        "description": "Conversion action ID is not valid.", "reason": "INVALID_CONVERSION_ACTION_ID"
                    });
                    let details = json!([
                        {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "INVALID_ARGUMENT"},
                        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
                    ]);
                    error(
                        400,
                        "INVALID_ARGUMENT",
                        "There was a problem with the request.",
                        &details,
                    )
                }
            },
        }
    }
}

/// Section 7.
fn exchange(call: &Call<'_>) -> Verdict {
    let text = String::from_utf8_lossy(call.body);
    let pairs: Vec<(&str, &str)> = text.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let field = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let oauth = |error: &str| Verdict::refused(400, json!({ "error": error }));
    let form = call.header("content-type") == Some("application/x-www-form-urlencoded");
    if call.method.as_str() != "POST" || !form || field("grant_type") != Some("refresh_token") {
        return oauth("unsupported_grant_type");
    }
    if field("client_id") != Some(CREDENTIALS) || field("client_secret") != Some(CREDENTIALS) {
        return Verdict::refused(401, json!({"error": "invalid_client"}));
    }
    if field("refresh_token") != Some(CREDENTIALS) {
        return oauth("invalid_grant");
    }
    let body = json!({"access_token": ACCESS_TOKEN, "expires_in": 3599, "token_type": "Bearer"});
    Verdict::partly(200, body, Vec::new())
}

fn unauthenticated() -> Verdict {
    error(
        401,
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials.",
        &json!([]),
    )
}

/// Section 3: the standard form of Google's errors.
fn error(code: u16, status: &str, message: &str, details: &Value) -> Verdict {
    let error = json!({"code": code, "status": status, "message": message, "details": details});
    Verdict::refused(code, json!({ "error": error }))
}

/// What is wrong with a field: its path below the event, and the reason.
type Fault = (&'static str, &'static str);

/// Section 3: one invalid field fails the request.
fn ingest(call: &Call<'_>) -> Verdict {
    let invalid = |message: &str| error(400, "INVALID_ARGUMENT", message, &json!([]));
    let Some(Value::Object(body)) = call.json() else {
        return invalid("the body is no JSON object");
    };
    if let Some(unknown) = body.keys().find(|name| !REQUEST_FIELDS.contains(&name.as_str())) {
        return invalid(&format!("Unknown name \"{unknown}\": Cannot find field."));
    }
    if let Err(message) = check_destinations(&body) {
        return invalid(message);
    }
    let events = body
        .get("events")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if events.is_empty() || events.len() > MAX_EVENTS {
        return invalid("TOO_MANY_EVENTS or none");
    }
    let encoded = matches!(body.get("encoding").and_then(Value::as_str), Some("HEX" | "BASE64"));
    if !encoded && events.iter().any(|event| !event["userData"].is_null()) {
        return invalid("encoding is required with user data");
    }
    let violations: Vec<Value> = events
        .iter()
        .enumerate()
        .filter_map(|(index, event)| {
            let (field, reason) = check_event(event).err()?;
            Some(json!({"field": format!("events[{index}].{field}"), "description": reason, "reason": reason}))
        })
        .collect();
    if let Some(first) = violations.first() {
        let details = json!([
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": first["reason"]},
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}
        ]);
        return error(
            400,
            "INVALID_ARGUMENT",
            "There was a problem with the request.",
            &details,
        );
    }
    let taken = if body.get("validateOnly") == Some(&Value::Bool(true)) {
        Vec::new()
    } else {
        events
    };
    Verdict::took(taken, json!({"requestId": "fakeRequestId"}))
}

/// Section 3, the rows `destinations[]` and `accountType`.
fn check_destinations(body: &Map<String, Value>) -> Result<(), &'static str> {
    let destinations = body.get("destinations").and_then(Value::as_array);
    let Some(destinations) = destinations.filter(|all| (1..=MAX_DESTINATIONS).contains(&all.len())) else {
        return Err("destinations[] holds 1 to 10");
    };
    let references: HashSet<&str> = destinations.iter().filter_map(|it| it["reference"].as_str()).collect();
    if references.len() < destinations.len() {
        return Err("DUPLICATE_DESTINATION_REFERENCE");
    }
    let is_account = |account: &Value| {
        let kind = account["accountType"].as_str().unwrap_or_default();
        ACCOUNT_TYPES.contains(&kind) && account["accountId"].as_str().is_some_and(is_digits)
    };
    for destination in destinations {
        let login = &destination["loginAccount"];
        if !is_account(&destination["operatingAccount"]) || !(login.is_null() || is_account(login)) {
            return Err("an account has an accountType and an accountId of digits");
        }
        if !destination["productDestinationId"].as_str().is_some_and(is_digits) {
            return Err("INVALID_CONVERSION_ACTION_ID");
        }
    }
    Ok(())
}

/// Section 3, the rows of an event.
fn check_event(event: &Value) -> Result<(), Fault> {
    let fields = event.as_object().ok_or(("", "INVALID_ARGUMENT"))?;
    if fields.keys().any(|name| !EVENT_FIELDS.contains(&name.as_str())) {
        return Err(("", "an unknown field"));
    }
    // RFC 3339 with its zone.
    let time = event["eventTimestamp"]
        .as_str()
        .ok_or(("event_timestamp", "REQUIRED_FIELD_MISSING"))?;
    if !time.ends_with('Z') || time.as_bytes().get(10) != Some(&b'T') {
        return Err(("event_timestamp", "INVALID_FORMAT"));
    }
    if !["WEB", "APP", "IN_STORE", "PHONE", "OTHER"].contains(&event["eventSource"].as_str().unwrap_or_default()) {
        return Err(("event_source", "REQUIRED_FIELD_MISSING"));
    }
    if event["transactionId"].as_str().is_some_and(|id| id.len() > 512) {
        return Err(("transaction_id", "FIELD_VALUE_TOO_LONG"));
    }
    check_money(event, "currency").map_err(|reason| ("currency", reason))?;
    let ids = event["adIdentifiers"].as_object();
    let clicks = ["gclid", "gbraid", "wbraid"]
        .iter()
        .filter(|name| !event["adIdentifiers"][**name].is_null());
    if clicks.count() > 1 {
        return Err(("ad_identifiers", "one click id at the most"));
    }
    if event["adIdentifiers"]["sessionAttributes"]
        .as_str()
        .is_some_and(|token| token.len() > 4000)
    {
        return Err(("ad_identifiers.session_attributes", "FIELD_VALUE_TOO_LONG"));
    }
    let users = event["userData"]["userIdentifiers"].as_array();
    // "One id of some kind", or user data.
    if ids.is_none_or(|ids| ids.keys().all(|name| name == "landingPageDeviceInfo")) && users.is_none() {
        return Err(("ad_identifiers", "NO_IDENTIFIERS_PROVIDED"));
    }
    check_users(event)?;
    check_consent(event, &["CONSENT_GRANTED", "CONSENT_DENIED"]).map_err(|reason| ("consent", reason))?;
    check_items(event, "merchantProductId", Some(200)).map_err(|reason| ("cart_data.items", reason))
}

/// Section 2, and the row `userData.userIdentifiers[]` of section 3.
fn check_users(event: &Value) -> Result<(), Fault> {
    if event["userData"].is_null() {
        return Ok(());
    }
    let users = event["userData"]["userIdentifiers"]
        .as_array()
        .filter(|users| (1..=10).contains(&users.len()));
    for user in users.ok_or(("user_data", "TOO_MANY_USER_IDENTIFIERS or none"))? {
        let user = user
            .as_object()
            .filter(|user| user.len() == 1)
            .ok_or(("user_data", "exactly one of three"))?;
        match user.iter().next().map(|(name, value)| (name.as_str(), value)) {
            Some(("emailAddress" | "phoneNumber", hash)) if is_hashed(hash) => {}
            Some(("address", address)) => {
                let whole = ["regionCode", "postalCode"]
                    .iter()
                    .all(|name| address[*name].is_string());
                let region = address["regionCode"].as_str().unwrap_or_default();
                let plain = region.len() == 2 && region.bytes().all(|byte| byte.is_ascii_uppercase());
                if !whole || !plain || !is_hashed(&address["givenName"]) || !is_hashed(&address["familyName"]) {
                    return Err(("user_data.address", "REQUIRED_FIELD_MISSING"));
                }
            }
            Some(("emailAddress" | "phoneNumber", _)) => return Err(("user_data", "INVALID_HEX_ENCODING")),
            _ => return Err(("user_data", "none of three")),
        }
    }
    Ok(())
}

/// An ISO 4217 code, and numbers.
fn check_money(event: &Value, currency: &str) -> Result<(), &'static str> {
    let code = &event[currency];
    let is_code = |code: &str| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    if !code.is_null() && !code.as_str().is_some_and(is_code) {
        return Err("INVALID_CURRENCY_CODE");
    }
    let value = &event["conversionValue"];
    if !value.is_null() && !value.is_number() {
        return Err("INVALID_NUMBER_FORMAT");
    }
    Ok(())
}

fn check_consent(event: &Value, words: &[&str]) -> Result<(), &'static str> {
    let consent = event["consent"].as_object().into_iter().flatten();
    for (name, word) in consent {
        if !["adUserData", "adPersonalization"].contains(&name.as_str())
            || !words.contains(&word.as_str().unwrap_or_default())
        {
            return Err("INVALID_ENUM_VALUE");
        }
    }
    Ok(())
}

fn check_items(event: &Value, id: &str, at_most: Option<usize>) -> Result<(), &'static str> {
    if event["cartData"].is_null() {
        return Ok(());
    }
    let items = event["cartData"]["items"].as_array().filter(|items| !items.is_empty());
    let items = items.ok_or("cart data without items")?;
    if at_most.is_some_and(|most| items.len() > most) {
        return Err("TOO_MANY_ELEMENTS");
    }
    for item in items {
        let numbers = item["quantity"].is_u64() && (item["unitPrice"].is_null() || item["unitPrice"].is_number());
        if !item[id].is_string() || !numbers {
            return Err("INVALID_NUMBER_FORMAT");
        }
    }
    Ok(())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn conversions(call: &Call<'_>) -> Option<Vec<Value>> {
    call.json()?["conversions"].as_array().cloned()
}

impl GoogleAds {
    /// Section 4: what is wrong with one conversion takes no other along.
    fn upload(&self, call: &Call<'_>) -> Verdict {
        if call.header("developer-token") != Some(CREDENTIALS) {
            let failure = failure(None, "authorizationError", "DEVELOPER_TOKEN_NOT_APPROVED", "");
            let message = "The caller does not have permission";
            return error(403, "PERMISSION_DENIED", message, &json!([failure]));
        }
        let login = call.header("login-customer-id");
        let body = call.json().unwrap_or_default();
        if login.is_some_and(|login| !is_digits(login)) || body["partialFailure"] != json!(true) {
            let failure = failure(None, "requestError", "INVALID_INPUT", "");
            return error(
                400,
                "INVALID_ARGUMENT",
                "Request contains an invalid argument.",
                &json!([failure]),
            );
        }
        let conversions = conversions(call).unwrap_or_default();
        if conversions.is_empty() || conversions.len() > MAX_EVENTS {
            let failure = failure(None, "conversionUploadError", "TOO_MANY_CONVERSIONS_IN_REQUEST", "");
            return error(
                400,
                "INVALID_ARGUMENT",
                "Request contains an invalid argument.",
                &json!([failure]),
            );
        }
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let faults: Vec<Option<Fault>> = conversions
            .iter()
            .map(|conversion| {
                let fault = check_conversion(conversion).err();
                fault.or_else(|| {
                    let text = |name: &str| conversion[name].as_str().unwrap_or_default().to_owned();
                    let key = (text("conversionAction"), text("orderId"));
                    let repeat = !key.1.is_empty() && !counted.insert(key);
                    repeat.then_some(("order_id", "ORDER_ID_ALREADY_IN_USE"))
                })
            })
            .collect();
        let taken = conversions.into_iter().zip(&faults);
        let taken = taken
            .filter(|(_, fault)| fault.is_none())
            .map(|(conversion, _)| conversion);
        let taken = taken.collect();
        partial(
            faults.len(),
            |place| faults.get(place).copied().flatten().map(|(field, code)| (code, field)),
            taken,
        )
    }
}

/// Section 4, the rows of a conversion.
fn check_conversion(conversion: &Value) -> Result<(), Fault> {
    let fields = conversion.as_object().ok_or(("", "INVALID_INPUT"))?;
    if fields.keys().any(|name| !CONVERSION_FIELDS.contains(&name.as_str())) {
        return Err(("", "UNKNOWN_FIELD"));
    }
    let action: Vec<&str> = conversion["conversionAction"]
        .as_str()
        .unwrap_or_default()
        .split('/')
        .collect();
    if !matches!(action.as_slice(), ["customers", customer, "conversionActions", id] if is_digits(customer) && is_digits(id))
    {
        return Err(("conversion_action", "NO_CONVERSION_ACTION_FOUND"));
    }
    // `2026-01-01 00:00:00+00:00`
    let time = conversion["conversionDateTime"].as_str().unwrap_or_default();
    if time.len() != 25 || time.as_bytes().get(10) != Some(&b' ') || !time.ends_with("+00:00") {
        return Err(("conversion_date_time", "INVALID_STRING_DATE_TIME"));
    }
    let clicks: Vec<&str> = ["gclid", "gbraid", "wbraid"]
        .into_iter()
        .filter(|name| !conversion[*name].is_null())
        .collect();
    let users = conversion["userIdentifiers"].as_array();
    if clicks.len() > 1 {
        return Err(("gbraid", "GBRAID_WBRAID_BOTH_SET"));
    }
    if clicks.is_empty() && users.is_none() {
        return Err(("gclid", "UNPARSEABLE_GCLID"));
    }
    if users.is_some() && clicks.iter().any(|name| *name != "gclid") {
        return Err(("user_identifiers", "UNSUPPORTED_USER_IDENTIFIER"));
    }
    for user in users.into_iter().flatten() {
        let hashes = [&user["hashedEmail"], &user["hashedPhoneNumber"]];
        if hashes.iter().filter(|hash| is_hashed(hash)).count() != 1 || users.is_some_and(|users| users.len() > 5) {
            return Err(("user_identifiers", "INVALID_USER_IDENTIFIER"));
        }
    }
    if conversion["orderId"].as_str().is_some_and(|id| id.contains('@')) {
        return Err(("order_id", "ORDER_ID_CONTAINS_PII"));
    }
    // What tests send to see a click that is younger than six hours.
    if conversion["gclid"] == "too-recent" {
        return Err(("gclid", "TOO_RECENT_EVENT"));
    }
    check_money(conversion, "currencyCode").map_err(|reason| ("currency_code", reason))?;
    check_consent(conversion, &["GRANTED", "DENIED"]).map_err(|reason| ("consent", reason))?;
    check_items(conversion, "productId", None).map_err(|reason| ("cart_data", reason))
}

/// Section 4: 200, with an empty result and an error for each that failed.
fn partial(count: usize, fault: impl Fn(usize) -> Option<(&'static str, &'static str)>, taken: Vec<Value>) -> Verdict {
    let failed = (0..count).filter_map(|place| Some((place, fault(place)?)));
    let errors: Vec<Value> = failed
        .map(|(place, (code, field))| failure(Some(place), "conversionUploadError", code, field)["errors"][0].clone())
        .collect();
    let result = |place| match fault(place) {
        Some(_) => json!({}),
        None => json!({"gclid": "TeSter-123", "conversionAction": "customers/1/conversionActions/2"}),
    };
    let mut body = json!({"results": (0..count).map(result).collect::<Vec<_>>()});
    if !errors.is_empty() {
        let kind = "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure";
        body["partialFailureError"] =
            json!({"code": 3, "message": "Multiple errors", "details": [{"@type": kind, "errors": errors}]});
    }
    Verdict::took(taken, body)
}

fn failure(place: Option<usize>, kind: &str, code: &str, field: &str) -> Value {
    let mut path = Vec::new();
    if let Some(place) = place {
        path.push(json!({"fieldName": "conversions", "index": place}));
        path.push(json!({"fieldName": field}));
    }
    json!({
        "@type": "type.googleapis.com/google.ads.googleads.v26.errors.GoogleAdsFailure",
        "errors": [{"errorCode": {kind: code}, "message": code, "location": {"fieldPathElements": path}}]
    })
}
