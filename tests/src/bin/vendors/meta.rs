//! Meta's Conversions API (vendors/meta-capi.md).

use hyper::Method;
use serde_json::{Value, json};
use tagfleet_tests::vendors::Trouble;

use crate::double::{Call, Double, Verdict, is_hashed};

/// Section 1: `data[]` holds 1 to 1,000.
const MAX_EVENTS: usize = 1000;
/// Section 2: an event is at most 7 days old.
const MAX_AGE_SECONDS: i64 = 7 * 24 * 3600;
/// Section 1: the longest `partner_agent`.
const MAX_PARTNER_AGENT: usize = 23;
/// Section 2: the values of `action_source`.
const ACTION_SOURCES: [&str; 9] = [
    "website",
    "app",
    "email",
    "phone_call",
    "chat",
    "physical_store",
    "system_generated",
    "business_messaging",
    "other",
];
/// Section 3: keys of `user_data` that are hashed.
const HASHED: [&str; 10] = ["em", "ph", "fn", "ln", "ge", "db", "ct", "st", "zp", "country"];
/// Section 3: keys of `user_data` that are not.
const PLAIN: [&str; 15] = [
    "external_id",
    "client_ip_address",
    "client_user_agent",
    "fbc",
    "fbp",
    "lead_id",
    "fb_login_id",
    "subscription_id",
    "anon_id",
    "madid",
    "page_id",
    "page_scoped_user_id",
    "ctwa_clid",
    "ig_account_id",
    "ig_sid",
];
/// Section 2: the fields of an event.
const FIELDS: [&str; 16] = [
    "event_name",
    "event_time",
    "action_source",
    "event_source_url",
    "event_id",
    "user_data",
    "custom_data",
    "opt_out",
    "referrer_url",
    "data_processing_options",
    "data_processing_options_country",
    "data_processing_options_state",
    "app_data",
    "original_event_data",
    "attribution_data",
    "messaging_channel",
];

pub(crate) struct Meta;

/// Why an event is refused: subcode and title (section 8).
struct Fault(u32, String);

fn fault<T>(title: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(2_804_019, title.into()))
}

impl Double for Meta {
    fn name(&self) -> &'static str {
        "metaConversions"
    }

    /// Section 1: `/{version}/{dataset_or_pixel_id}/events`, the version as in `v25.0`.
    fn owns(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), ["", version, id, "events"]
            if version.starts_with('v') && version.contains('.') && id.bytes().all(|byte| byte.is_ascii_digit()))
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        if call.method != Method::POST {
            return error(400, 100, Some(33), "Unsupported get request");
        }
        // Section 1: the token in the query or as a bearer.
        let in_query = call.parameter("access_token") == Some(tagfleet_tests::vendors::CREDENTIALS);
        if !in_query && !call.is_authorized() {
            return self.in_trouble(Trouble::Revoked, call);
        }
        let Some(body) = call.json() else {
            return error(400, 100, None, "(#100) The parameter data is required");
        };
        let Some(events) = body["data"].as_array().filter(|events| !events.is_empty()) else {
            return error(400, 100, None, "(#100) The parameter data is required");
        };
        if events.len() > MAX_EVENTS {
            return error(400, 100, None, "(#100) Param data must have at most 1000 elements");
        }
        if body["partner_agent"]
            .as_str()
            .is_some_and(|agent| agent.len() > MAX_PARTNER_AGENT)
        {
            return error(400, 100, None, "(#100) Param partner_agent is too long");
        }
        // Section 1: one invalid event rejects the whole request.
        let now = i64::try_from(call.now_ms / 1000).unwrap_or(i64::MAX);
        if let Some(Fault(subcode, title)) = events.iter().find_map(|event| check(event, now).err()) {
            return error(400, 100, Some(subcode), &title);
        }
        // Section 8.
        let answer = json!({"events_received": events.len(), "messages": [], "fbtrace_id": "AfakeTraceId"});
        Verdict::took(events.clone(), answer)
    }

    /// Section 8, the table of codes.
    fn in_trouble(&self, trouble: Trouble, _: &Call<'_>) -> Verdict {
        match trouble {
            Trouble::Throttled => error(400, 80_003, None, "There have been too many calls to this account"),
            Trouble::Failing => error(500, 2, None, "Service temporarily unavailable"),
            Trouble::Revoked => error(
                400,
                190,
                Some(463),
                "Error validating access token: the session has expired",
            ),
            Trouble::Refusing => error(400, 100, Some(2_804_019), "The event is not valid"),
        }
    }
}

fn check(event: &Value, now: i64) -> Result<(), Fault> {
    let Some(fields) = event.as_object() else {
        return fault("an event is an object");
    };
    if let Some(unknown) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return fault(format!("{unknown} is no field of an event"));
    }
    if event["event_name"].as_str().is_none_or(str::is_empty) {
        return fault("event_name is missing");
    }
    let Some(time) = event["event_time"].as_i64() else {
        return fault("event_time is no number of seconds");
    };
    if time < now - MAX_AGE_SECONDS {
        return Err(Fault(2_804_003, "Event Timestamp Too Old".to_owned()));
    }
    if time > now + 60 {
        return fault("event_time lies ahead: is it in milliseconds?");
    }
    let source = event["action_source"].as_str().unwrap_or_default();
    if !ACTION_SOURCES.contains(&source) {
        return fault("action_source is none of Meta's");
    }
    if event["user_data"].as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(Fault(2_804_050, "not enough customer information".to_owned()));
    }
    // Section 2: required for a website.
    if source == "website"
        && (event["event_source_url"].as_str().is_none() || event["user_data"]["client_user_agent"].as_str().is_none())
    {
        return fault("a website's event needs event_source_url and client_user_agent");
    }
    check_user(&event["user_data"])?;
    check_custom(event)
}

fn check_user(user: &Value) -> Result<(), Fault> {
    for (name, value) in user.as_object().into_iter().flatten() {
        if HASHED.contains(&name.as_str()) {
            if !is_hashed(value) {
                return fault(format!("user_data.{name} is not hashed"));
            }
        } else if !PLAIN.contains(&name.as_str()) {
            return fault(format!("{name} is no key of user_data"));
        }
    }
    // Section 3.1: four parts, or five.
    for name in ["fbc", "fbp"] {
        if let Some(value) = user[name].as_str()
            && (!value.starts_with("fb.") || !(4..=5).contains(&value.splitn(5, '.').count()))
        {
            return fault(format!("user_data.{name} has no such form"));
        }
    }
    Ok(())
}

/// Section 4.
fn check_custom(event: &Value) -> Result<(), Fault> {
    let custom = &event["custom_data"];
    let currency = custom["currency"].as_str();
    if currency.is_some_and(|code| code.len() != 3 || !code.bytes().all(|byte| byte.is_ascii_uppercase())) {
        return fault("custom_data.currency is no ISO 4217 code");
    }
    let value = custom["value"].as_f64();
    if value.is_some_and(|value| value < 0.0) {
        return fault("custom_data.value is negative");
    }
    if event["event_name"] == "Purchase" && (currency.is_none() || value.is_none()) {
        return fault("a Purchase needs custom_data.currency and custom_data.value");
    }
    if let Some(contents) = custom["contents"].as_array()
        && !contents.iter().all(|content| content["id"].is_string())
    {
        return fault("each of custom_data.contents has an id");
    }
    Ok(())
}

/// Section 8.
fn error(status: u16, code: u32, subcode: Option<u32>, title: &str) -> Verdict {
    let mut error = json!({
        "message": "Invalid parameter", "type": "OAuthException", "code": code, "is_transient": code == 2,
        "error_user_title": title, "error_user_msg": title, "fbtrace_id": "AfakeTraceId"
    });
    if let Some(subcode) = subcode {
        error["error_subcode"] = json!(subcode);
    }
    Verdict::refused(status, json!({ "error": error }))
}
