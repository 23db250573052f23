//! Pinterest's API for Conversions, v5 (vendors/pinterest.md).

use serde_json::{Value, json};
use tagfleet_tests::vendors::Trouble;

use crate::double::{Call, Double, Verdict, is_hashed};

/// Section 1: 1 to 1,000 events.
const MAX_EVENTS: usize = 1000;
/// Section 2: the fields of an event; no other is taken (section 1).
const EVENT: [&str; 21] = [
    "event_name",
    "action_source",
    "event_time",
    "event_id",
    "event_source_url",
    "opt_out",
    "partner_name",
    "user_data",
    "custom_data",
    "language",
    "app_id",
    "app_name",
    "app_version",
    "device_brand",
    "device_carrier",
    "device_model",
    "device_type",
    "os_version",
    "wifi",
    "app_info",
    "device_info",
];
/// Section 2: the values of `action_source`.
const ACTION_SOURCES: [&str; 4] = ["app_android", "app_ios", "web", "offline"];
/// Section 3: the names of events.
const EVENT_NAMES: [&str; 15] = [
    "add_payment_info",
    "add_to_cart",
    "add_to_wishlist",
    "app_install",
    "checkout",
    "custom",
    "initiate_checkout",
    "lead",
    "page_visit",
    "search",
    "signup",
    "subscribe",
    "view_category",
    "view_content",
    "watch_video",
];
/// Section 2.1: keys of `user_data` that are arrays of hashes.
const HASHED: [&str; 12] = [
    "em",
    "ph",
    "ge",
    "db",
    "fn",
    "ln",
    "ct",
    "st",
    "zp",
    "country",
    "external_id",
    "hashed_maids",
];
/// Section 2.1: keys of `user_data` in plain text.
const PLAIN: [&str; 4] = ["client_ip_address", "client_user_agent", "click_id", "partner_id"];
/// Section 2.2: keys of `custom_data` that are text, amounts too.
const CUSTOM_TEXT: [&str; 10] = [
    "currency",
    "value",
    "order_id",
    "search_string",
    "content_name",
    "content_category",
    "content_brand",
    "opt_out_type",
    "predicted_ltv",
    "np",
];
/// Section 2.2: the keys of each of `contents`.
const CONTENT: [&str; 6] = [
    "id",
    "item_name",
    "item_category",
    "item_brand",
    "item_price",
    "quantity",
];

pub(crate) struct Pinterest;

impl Double for Pinterest {
    fn name(&self) -> &'static str {
        "pinterestConversions"
    }

    /// Section 1: `/v5/ad_accounts/{ad_account_id}/events`, the id up to 18 digits.
    fn owns(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), ["", "v5", "ad_accounts", id, "events"]
            if (1..=18).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        if !call.is_authorized() {
            return self.in_trouble(Trouble::Revoked, call);
        }
        let Some(body) = call.json() else {
            return error(400, 4196, "The body is no JSON");
        };
        // Section 1: no unknown keys in the body.
        let is_known = body
            .as_object()
            .is_some_and(|body| body.keys().all(|name| name == "data"));
        let events = body["data"].as_array().cloned().unwrap_or_default();
        if !is_known || events.is_empty() || events.len() > MAX_EVENTS {
            return error(400, 4196, "The body is an object with data, of 1 to 1000 events");
        }
        let now = i64::try_from(call.now_ms / 1000).unwrap_or(i64::MAX);
        let checked: Vec<Result<(), String>> = events.iter().map(|event| check(event, now)).collect();
        // Section 6: one entry for each event, in order.
        let entries: Vec<Value> = checked
            .iter()
            .map(|checked| match checked {
                Ok(()) => json!({"status": "processed", "error_message": "", "warning_message": ""}),
                Err(fault) => json!({"status": "failed", "error_message": fault, "warning_message": ""}),
            })
            .collect();
        let taken: Vec<Value> = events
            .into_iter()
            .zip(&checked)
            .filter(|(_, checked)| checked.is_ok())
            .map(|(event, _)| event)
            .collect();
        let answer = json!({
            "num_events_received": entries.len(), "num_events_processed": taken.len(), "events": entries
        });
        // Section 1: test=true is validated and answered, not recorded.
        let is_test = call.parameter("test") == Some("true");
        Verdict::took(if is_test { Vec::new() } else { taken }, answer)
    }

    /// Section 6.
    fn in_trouble(&self, trouble: Trouble, _: &Call<'_>) -> Verdict {
        match trouble {
            Trouble::Throttled => error(429, 8, "This request exceeded a rate limit"),
            Trouble::Failing => error(503, 4197, "The endpoint is being ramped down"),
            Trouble::Revoked => error(401, 2, "Authentication failed"),
            Trouble::Refusing => error(400, 4196, "Invalid request"),
        }
    }
}

fn error(status: u16, code: u32, message: &str) -> Verdict {
    Verdict::refused(status, json!({"code": code, "message": message}))
}

type Checked = Result<(), String>;

fn check_names(what: &str, object: &Value, is_known: impl Fn(&str) -> bool) -> Checked {
    let Some(fields) = object.as_object() else {
        return Err(format!("{what} is missing"));
    };
    match fields.keys().find(|name| !is_known(name)) {
        Some(unknown) => Err(format!("{what} has an unknown key {unknown}")),
        None => Ok(()),
    }
}

/// Section 2.
fn check(event: &Value, now: i64) -> Checked {
    check_names("the event", event, |name| EVENT.contains(&name))?;
    if !EVENT_NAMES.contains(&event["event_name"].as_str().unwrap_or_default()) {
        return Err("event_name is not accepted".to_owned());
    }
    if !ACTION_SOURCES.contains(&event["action_source"].as_str().unwrap_or_default()) {
        return Err("action_source is not accepted".to_owned());
    }
    let Some(time) = event["event_time"].as_i64() else {
        return Err("event_time is no number of seconds".to_owned());
    };
    if time > now + 60 {
        return Err("event_time lies ahead: is it in milliseconds?".to_owned());
    }
    if event["event_id"].as_str().is_none_or(str::is_empty) {
        return Err("event_id is missing".to_owned());
    }
    if event["language"].as_str().is_some_and(|language| language.len() != 2) {
        return Err("language is no ISO 639-1 code".to_owned());
    }
    check_user(&event["user_data"])?;
    check_custom(&event["custom_data"])
}

/// Section 2.1.
fn check_user(user: &Value) -> Checked {
    check_names("user_data", user, |name| {
        HASHED.contains(&name) || PLAIN.contains(&name)
    })?;
    for (name, value) in user.as_object().into_iter().flatten() {
        let is_hash = HASHED.contains(&name.as_str());
        if is_hash && !(value.is_array() && is_hashed(value)) {
            return Err(format!("user_data.{name} is no array of hashes"));
        }
        if !is_hash && !value.is_string() {
            return Err(format!("user_data.{name} is no text"));
        }
    }
    let has = |name: &str| user.get(name).is_some();
    if !(has("em") || has("hashed_maids") || (has("client_ip_address") && has("client_user_agent"))) {
        return Err("user_data needs em, hashed_maids, or client_ip_address and client_user_agent".to_owned());
    }
    Ok(())
}

/// Section 2.2.
fn check_custom(custom: &Value) -> Checked {
    for (name, value) in custom.as_object().into_iter().flatten() {
        let is_right = match name.as_str() {
            name if CUSTOM_TEXT.contains(&name) => value.is_string(),
            "content_ids" => value.as_array().is_some_and(|ids| ids.iter().all(Value::is_string)),
            "num_items" => value.is_i64(),
            "contents" => {
                let contents = value.as_array().into_iter().flatten();
                for content in contents {
                    check_names("contents", content, |name| CONTENT.contains(&name))?;
                    let price = content.get("item_price");
                    let quantity = content.get("quantity");
                    if price.is_some_and(|price| !price.is_string()) || quantity.is_some_and(|count| !count.is_i64()) {
                        return Err("contents has a price that is no text or a quantity that is no integer".to_owned());
                    }
                }
                value.is_array()
            }
            _ => return Err(format!("custom_data has an unknown key {name}")),
        };
        if !is_right {
            return Err(format!("custom_data.{name} is of the wrong type"));
        }
    }
    Ok(())
}
