//! Snap's Conversions API v3 (vendors/others.md section 1).

use serde_json::{Value, json};
use tagfleet_tests::vendors::{CREDENTIALS, Trouble};

use crate::double::{Call, Double, Verdict, is_hashed};

/// `data[]` holds up to 2,000.
const MAX_EVENTS: usize = 2000;
/// Up to 37 days back are accepted.
const MAX_AGE_SECONDS: i64 = 37 * 24 * 3600;
/// The fields of an event.
const FIELDS: [&str; 10] = [
    "event_name",
    "event_time",
    "action_source",
    "event_source_url",
    "event_id",
    "integration",
    "user_data",
    "custom_data",
    "app_data",
    "data_processing_options",
];
const ACTION_SOURCES: [&str; 3] = ["WEB", "MOBILE_APP", "OFFLINE"];
/// Keys of `user_data` that are hashed.
const HASHED: [&str; 10] = ["em", "ph", "fn", "ln", "ge", "ct", "st", "zp", "country", "external_id"];
/// Keys of `user_data` that are not.
const PLAIN: [&str; 8] = [
    "sc_click_id",
    "sc_cookie1",
    "client_ip_address",
    "client_user_agent",
    "madid",
    "idfv",
    "subscription_id",
    "lead_id",
];
/// The names that GA4's are mapped to, and the spare ones.
const NAMES: [&str; 18] = [
    "PAGE_VIEW",
    "VIEW_CONTENT",
    "LIST_VIEW",
    "ADD_CART",
    "ADD_TO_WISHLIST",
    "START_CHECKOUT",
    "ADD_BILLING",
    "PURCHASE",
    "SIGN_UP",
    "SEARCH",
    "SUBSCRIBE",
    "START_TRIAL",
    "COMPLETE_TUTORIAL",
    "CUSTOM_EVENT_1",
    "CUSTOM_EVENT_2",
    "CUSTOM_EVENT_3",
    "CUSTOM_EVENT_4",
    "CUSTOM_EVENT_5",
];

pub(crate) struct Snapchat;

impl Double for Snapchat {
    fn name(&self) -> &'static str {
        "snapchatConversions"
    }

    /// `/v3/{pixel or app id}/events`, and `/validate` behind it for a dry run.
    fn owns(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(
            parts.as_slice(),
            ["", "v3", _, "events"] | ["", "v3", _, "events", "validate"]
        )
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        if call.parameter("access_token") != Some(CREDENTIALS) {
            return self.in_trouble(Trouble::Revoked, call);
        }
        let body = call.json().unwrap_or_default();
        let Some(events) = body["data"].as_array().filter(|events| !events.is_empty()) else {
            return invalid("data is missing", &[]);
        };
        if events.len() > MAX_EVENTS {
            return invalid("more than 2000 events", &[]);
        }
        let now = i64::try_from(call.now_ms / 1000).unwrap_or(i64::MAX);
        let records: Vec<Value> = events
            .iter()
            .filter_map(|event| check(event, now).err())
            .map(|reason| json!({ "reason": reason }))
            .collect();
        if !records.is_empty() {
            return invalid("Events have not been processed.", &records);
        }
        let taken = if call.path.ends_with("/validate") {
            Vec::new()
        } else {
            events.clone()
        };
        let answer = json!({"status": "VALID", "reason": "Events have been processed successfully."});
        Verdict::took(taken, answer)
    }

    fn in_trouble(&self, trouble: Trouble, _: &Call<'_>) -> Verdict {
        match trouble {
            Trouble::Throttled => Verdict::refused(429, json!({"status": "INVALID", "reason": "Too many requests"})),
            Trouble::Failing => Verdict::refused(503, json!({"status": "INVALID", "reason": "Try again later"})),
            Trouble::Revoked => Verdict::refused(401, json!({"status": "INVALID", "reason": "Invalid access token"})),
            Trouble::Refusing => invalid("Events have not been processed.", &[]),
        }
    }
}

fn check(event: &Value, now: i64) -> Result<(), String> {
    let fields = event.as_object().ok_or("an event is an object")?;
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Err(format!("{unknown} is no field of an event"));
    }
    let name = event["event_name"].as_str().unwrap_or_default();
    if !NAMES.contains(&name) {
        return Err(format!("{name} is no event"));
    }
    let time = event["event_time"]
        .as_i64()
        .ok_or("event_time is no number of seconds")?;
    if time < now - MAX_AGE_SECONDS || time > now + 60 {
        return Err("event_time is too old, or in milliseconds".to_owned());
    }
    let source = event["action_source"].as_str().unwrap_or_default();
    if !ACTION_SOURCES.contains(&source) {
        return Err("action_source is none of Snap's".to_owned());
    }
    let user = &event["user_data"];
    for (name, value) in user.as_object().ok_or("user_data is missing")? {
        if HASHED.contains(&name.as_str()) {
            if !is_hashed(value) {
                return Err(format!("user_data.{name} is not hashed"));
            }
        } else if !PLAIN.contains(&name.as_str()) {
            return Err(format!("{name} is no key of user_data"));
        }
    }
    let has = |name: &str| !user[name].is_null();
    if !(has("em") || has("ph") || has("madid") || (has("client_ip_address") && has("client_user_agent"))) {
        return Err("no match keys".to_owned());
    }
    Ok(())
}

fn invalid(reason: &str, records: &[Value]) -> Verdict {
    Verdict::refused(
        400,
        json!({"status": "INVALID", "reason": reason, "error_records": records}),
    )
}
