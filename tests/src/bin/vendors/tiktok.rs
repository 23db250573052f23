//! TikTok's Events API 2.0 (vendors/tiktok.md).

use serde_json::{Value, json};
use tagfleet_tests::vendors::{CREDENTIALS, Trouble};

use crate::double::{Call, Double, Verdict, is_hashed};

/// Section 1: the trailing slash matters.
const PATH: &str = "/open_api/v1.3/event/track/";
/// Section 1: `data` holds 1 to 1,000.
const MAX_EVENTS: usize = 1000;
/// Section 1: the sources of a request.
const SOURCES: [&str; 4] = ["web", "app", "offline", "crm"];
/// Section 1: the fields of a request.
const REQUEST: [&str; 5] = [
    "event_source",
    "event_source_id",
    "data",
    "test_event_code",
    "partner_name",
];
/// Section 2: the fields of an event.
const EVENT: [&str; 11] = [
    "event",
    "event_time",
    "event_id",
    "user",
    "page",
    "properties",
    "app",
    "ad",
    "lead",
    "device",
    "limited_data_use",
];
/// Section 3: keys of `user` that are hashed.
const HASHED: [&str; 6] = ["email", "phone", "external_id", "first_name", "last_name", "zip_code"];
/// Section 3: places in plain text.
const PLACES: [&str; 3] = ["city", "state", "country"];
/// Section 3: the other keys of `user`.
const PLAIN: [&str; 9] = [
    "ttclid",
    "ttp",
    "ip",
    "user_agent",
    "locale",
    "idfa",
    "idfv",
    "gaid",
    "att_status",
];

pub(crate) struct Tiktok;

impl Double for Tiktok {
    fn name(&self) -> &'static str {
        "tiktokEvents"
    }

    fn owns(&self, path: &str) -> bool {
        path == PATH
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        // Section 1: the header of the token.
        if call.header("access-token") != Some(CREDENTIALS) {
            return self.in_trouble(Trouble::Revoked, call);
        }
        let Some(body) = call.json() else {
            return said(40002, "The request body is no JSON");
        };
        if let Err(fault) = check_request(&body) {
            return said(40002, &fault);
        }
        let events = body["data"].as_array().cloned().unwrap_or_default();
        if events.is_empty() || events.len() > MAX_EVENTS {
            return said(40002, "data: from 1 to 1000 events are taken");
        }
        let now = i64::try_from(call.now_ms / 1000).unwrap_or(i64::MAX);
        let is_web = body["event_source"] == "web";
        for (index, event) in events.iter().enumerate() {
            // Section 7: one bad parameter refuses the whole request.
            if let Err(fault) = check_event(event, is_web, now) {
                return said(40002, &format!("Invalid value for data.{index}.{fault}"));
            }
        }
        let answer = json!({"code": 0, "message": "OK", "request_id": "2026010100000001", "data": {}});
        Verdict::took(events, answer)
    }

    /// Section 7, the table of codes.
    fn in_trouble(&self, trouble: Trouble, _: &Call<'_>) -> Verdict {
        match trouble {
            Trouble::Throttled => said(40100, "Too many requests"),
            Trouble::Failing => said(50000, "System error"),
            Trouble::Revoked => said(40001, "Access token is incorrect or has been revoked"),
            Trouble::Refusing => said(40002, "Invalid value for data.0.event"),
        }
    }
}

/// Section 7: HTTP 200 whatever the code.
fn said(code: u32, message: &str) -> Verdict {
    let answer = json!({"code": code, "message": message, "request_id": "2026010100000002", "data": {}});
    Verdict::refused(200, answer)
}

type Checked = Result<(), String>;

fn check_names(object: &Value, known: &[&str]) -> Checked {
    let Some(fields) = object.as_object() else {
        return Err("is no object".to_owned());
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!("{unknown} is unknown")),
        None => Ok(()),
    }
}

fn check_request(body: &Value) -> Checked {
    check_names(body, &REQUEST)?;
    if !SOURCES.contains(&body["event_source"].as_str().unwrap_or_default()) {
        return Err("event_source is none of TikTok's".to_owned());
    }
    if body["event_source_id"].as_str().is_none_or(str::is_empty) {
        return Err("event_source_id is missing".to_owned());
    }
    Ok(())
}

/// Section 2.
fn check_event(event: &Value, is_web: bool, now: i64) -> Checked {
    check_names(event, &EVENT)?;
    if event["event"].as_str().is_none_or(str::is_empty) {
        return Err("event: is missing".to_owned());
    }
    let Some(time) = event["event_time"].as_i64() else {
        return Err("event_time: is no number of seconds".to_owned());
    };
    if time > now + 60 {
        return Err("event_time: lies ahead; is it in milliseconds?".to_owned());
    }
    if event
        .get("limited_data_use")
        .is_some_and(|limited| !limited.is_boolean())
    {
        return Err("limited_data_use: is no bool".to_owned());
    }
    if is_web && event["page"]["url"].as_str().is_none_or(str::is_empty) {
        return Err("page.url: is missing".to_owned());
    }
    if event.get("user").is_some() {
        check_user(&event["user"])?;
    }
    check_properties(&event["properties"])
}

/// Section 3.
fn check_user(user: &Value) -> Checked {
    for (name, value) in user.as_object().into_iter().flatten() {
        let name = name.as_str();
        if HASHED.contains(&name) {
            if !is_hashed(value) {
                return Err(format!("user.{name}: is not hashed"));
            }
        } else if PLACES.contains(&name) {
            let text = value.as_str().unwrap_or_default();
            if text.is_empty()
                || !text
                    .chars()
                    .all(|letter| letter.is_alphanumeric() && !letter.is_uppercase())
            {
                return Err(format!("user.{name}: has more than letters and digits in lower case"));
            }
        } else if !PLAIN.contains(&name) {
            return Err(format!("user.{name}: is unknown"));
        } else if !value.is_string() {
            return Err(format!("user.{name}: is no text"));
        }
    }
    Ok(())
}

/// Section 2.1.
fn check_properties(properties: &Value) -> Checked {
    let value = properties.get("value");
    if value.is_some_and(|value| !value.is_number()) {
        return Err("properties.value: is no number".to_owned());
    }
    if value.is_some() && properties["currency"].as_str().is_none() {
        return Err("properties.currency: is needed with a value".to_owned());
    }
    let contents = properties["contents"].as_array().into_iter().flatten();
    for content in contents {
        if content.get("price").is_some_and(|price| !price.is_number()) {
            return Err("properties.contents.price: is no number".to_owned());
        }
    }
    Ok(())
}
