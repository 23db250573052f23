//! LinkedIn's Conversions API (vendors/linkedin.md).

use serde_json::{Value, json};
use tagfleet_tests::vendors::Trouble;

use crate::double::{Call, Double, Verdict, is_hashed};

/// Section 1: up to 5,000 events.
const MAX_EVENTS: usize = 5000;
/// Section 2: within the last 90 days.
const MAX_AGE_MS: i64 = 90 * 24 * 3_600_000;
/// Section 2: what a conversion rule's id begins with.
const RULE: &str = "urn:lla:llaPartnerConversion:";
/// Section 2: the kinds of ids.
const ID_TYPES: [&str; 6] = [
    "SHA256_EMAIL",
    "LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID",
    "ACXIOM_ID",
    "ORACLE_MOAT_ID",
    "PLAINTEXT_IP_ADDRESS",
    "GOOGLE_AID",
];
/// Section 2: the fields of an event, of `user` and of `userInfo`.
const EVENT: [&str; 5] = [
    "conversion",
    "conversionHappenedAt",
    "conversionValue",
    "eventId",
    "user",
];
const USER: [&str; 4] = ["userIds", "userInfo", "externalIds", "lead"];
const USER_INFO: [&str; 5] = ["firstName", "lastName", "title", "companyName", "countryCode"];
/// Section 1: versions that have ended at the time of the sheet's writing.
const ENDED: &str = "202510";

pub(crate) struct Linkedin;

impl Double for Linkedin {
    fn name(&self) -> &'static str {
        "linkedinConversions"
    }

    fn owns(&self, path: &str) -> bool {
        path == "/rest/conversionEvents"
    }

    fn answer(&self, call: &Call<'_>) -> Verdict {
        if !call.is_authorized() {
            return self.in_trouble(Trouble::Revoked, call);
        }
        // Section 1: an ended version is answered with 426.
        let version = call.header("linkedin-version").unwrap_or_default();
        if version.len() != 6 || version <= ENDED {
            return error(
                426,
                "NONEXISTENT_VERSION",
                &format!("Requested version {version} is not active"),
            );
        }
        if call.header("x-restli-protocol-version") != Some("2.0.0")
            || call.header("x-restli-method") != Some("BATCH_CREATE")
        {
            return error(400, "ILLEGAL_ARGUMENT", "The headers of Rest.li are missing");
        }
        let elements = call.json().and_then(|body| body["elements"].as_array().cloned());
        let Some(events) = elements.filter(|events| !events.is_empty() && events.len() <= MAX_EVENTS) else {
            return error(400, "ILLEGAL_ARGUMENT", "elements: from 1 to 5000 are taken");
        };
        // Section 5: nothing of a batch with bad rows is stored; its message is lines of text.
        let now = i64::try_from(call.now_ms).unwrap_or(i64::MAX);
        let mut message = String::new();
        for (index, event) in events.iter().enumerate() {
            for (place, fault) in check(event, now).into_iter().enumerate() {
                let begin = if place == 0 {
                    format!("Index: {index}, ")
                } else {
                    String::new()
                };
                message.push_str(&format!("{begin}ERROR :: {fault}\n"));
            }
        }
        if !message.is_empty() {
            return error(422, "UNPROCESSABLE_ENTITY", &message);
        }
        // Section 5: a status for each, in order.
        let statuses: Vec<Value> = events.iter().map(|_| json!({"status": 201})).collect();
        Verdict::took(events, json!({"elements": statuses}))
    }

    /// Section 5.
    fn in_trouble(&self, trouble: Trouble, _: &Call<'_>) -> Verdict {
        match trouble {
            Trouble::Throttled => error(429, "TOO_MANY_REQUESTS", "Resource level throttle limit reached"),
            Trouble::Failing => error(500, "INTERNAL_SERVER_ERROR", "Internal Server Error"),
            Trouble::Revoked => error(
                401,
                "REVOKED_ACCESS_TOKEN",
                "The token used in the request has been revoked by the user",
            ),
            Trouble::Refusing => error(
                400,
                "ILLEGAL_ARGUMENT",
                "The conversion's method must be CONVERSIONS_API, indices [0] (0-indexed)",
            ),
        }
    }
}

fn error(status: u16, code: &str, message: &str) -> Verdict {
    let body = json!({"status": status, "serviceErrorCode": 100, "code": code, "message": message});
    Verdict::refused(status, body)
}

/// All that is wrong with an event, as path and reason.
fn check(event: &Value, now: i64) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |is_right: bool, fault: &str| {
        if !is_right {
            faults.push(fault.to_owned());
        }
    };
    expect(has_only(event, &EVENT), "/ :: unrecognized field");
    let rule = event["conversion"].as_str().and_then(|urn| urn.strip_prefix(RULE));
    let is_rule = rule.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()));
    expect(is_rule, "/conversion :: is no urn of a conversion rule");
    let happened = event["conversionHappenedAt"].as_i64().unwrap_or_default();
    let is_in_time = happened >= now - MAX_AGE_MS && happened <= now + 60_000;
    expect(is_in_time, "/conversionHappenedAt :: is not within the last 90 days");
    if let Some(value) = event.get("conversionValue") {
        let is_right = value["amount"].is_string() && value["currencyCode"].is_string();
        expect(is_right, "/conversionValue :: needs currencyCode and amount, both text");
    }
    let user = &event["user"];
    expect(has_only(user, &USER), "/user :: unrecognized field");
    expect(
        user["userIds"].is_array(),
        "/user/userIds :: field is required but not found",
    );
    let ids = user["userIds"].as_array().cloned().unwrap_or_default();
    expect(ids.iter().all(is_id), "/user/userIds :: is no id that is taken");
    let info = &user["userInfo"];
    if !info.is_null() {
        expect(has_only(info, &USER_INFO), "/user/userInfo :: unrecognized field");
        let is_pair = info.get("firstName").is_some() == info.get("lastName").is_some();
        expect(is_pair, "/user/userInfo :: firstName and lastName, both or neither");
        let country = info["countryCode"].as_str();
        let is_code = country.is_none_or(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()));
        expect(is_code, "/user/userInfo/countryCode :: is no ISO code");
    }
    let external = user["externalIds"].as_array();
    expect(
        external.is_none_or(|ids| ids.len() == 1),
        "/user/externalIds :: one value at the most",
    );
    let is_known = !ids.is_empty() || info.get("firstName").is_some() || external.is_some();
    expect(is_known, "/user :: at least one id is needed");
    faults
}

fn has_only(object: &Value, known: &[&str]) -> bool {
    object
        .as_object()
        .is_some_and(|fields| fields.keys().all(|name| known.contains(&name.as_str())))
}

/// Section 2, the table of kinds.
fn is_id(id: &Value) -> bool {
    let value = &id["idValue"];
    let kind = id["idType"].as_str().unwrap_or_default();
    match kind {
        "SHA256_EMAIL" => is_hashed(value),
        "PLAINTEXT_IP_ADDRESS" => value
            .as_str()
            .is_some_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok()),
        _ => ID_TYPES.contains(&kind) && value.as_str().is_some_and(|text| !text.is_empty()),
    }
}
