//! `linkedinConversions`: LinkedIn's Conversions API (vendors/linkedin.md).
//!
//! Every kind of event has a conversion rule of its own at LinkedIn, by whose id it is sent; events without one are not
//! sent. A request is taken whole or not at all, and the answer says which events are to blame.

mod answers;
mod user_ids;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use serde_json::{Value as Json, json};
use tagfleet_crds::destination as crd;
use tagfleet_expressions::Value;
use url::Url;

use self::user_ids::{ID_TYPES, user_ids};
use super::{
    Built, Destination, Encoding, Limits, Outcome, Request, Resolve, Response, answer,
    batches::{self, Frame},
    commerce::{self, json_number},
    identity::UserData,
    json::{filled, get, texts, whole, written},
    mapping::{Budget, Failures, Json as Object, Mapping, put, text},
    secret_header, with_endpoint,
};
use crate::{event::field, record::Record};

/// LinkedIn's own address (sheet, section 1).
const HOST: &str = "https://api.linkedin.com";
/// The resource's path (sheet, section 1).
const PATH: &str = "/rest/conversionEvents";
/// The version of the API when the manifest names none; each lives about a year (sheet, section 1).
const API_VERSION: &str = "202604";
/// The header of that version.
const VERSION_HEADER: HeaderName = HeaderName::from_static("linkedin-version");
const PROTOCOL_VERSION_HEADER: HeaderName = HeaderName::from_static("x-restli-protocol-version");
/// Says that a body holds a list (sheet, section 1).
const METHOD_HEADER: HeaderName = HeaderName::from_static("x-restli-method");

/// Up to 5,000 events (sheet, section 1). LinkedIn names no size; few requests need as much.
const LIMITS: Limits = Limits {
    max_events: 5_000,
    max_bytes: 4_000_000,
};
/// What stands around the events.
const FRAME: Frame = Frame::new(r#"{"elements":"#, "}");
/// What LinkedIn takes no older events than (sheet, section 2).
const MAX_AGE_MS: i64 = 90 * 24 * 3_600_000;
/// The wait before another try with a version that LinkedIn has ended: only a change of the manifest helps, which is
/// tried at once (sheet, section 5).
const ENDED_VERSION_WAIT: Duration = Duration::from_secs(3_600);

/// What begins a conversion rule's id (sheet, section 2).
const RULE_URN: &str = "urn:lla:llaPartnerConversion:";
/// The other fields that `parameters` may set (sheet, section 2).
const FIELDS: [&str; 12] = [
    CONVERSION,
    "conversionHappenedAt",
    "conversionValue.currencyCode",
    "conversionValue.amount",
    "eventId",
    "user.userInfo.firstName",
    "user.userInfo.lastName",
    "user.userInfo.title",
    "user.userInfo.companyName",
    "user.userInfo.countryCode",
    "user.externalIds",
    "user.lead",
];
const CONVERSION: &str = "conversion";
/// What stands before the kind of an id in `parameters`.
const USER_IDS: &str = "user.userIds.";

/// The vendor.
struct LinkedinConversions {
    url: Url,
    authorization: HeaderValue,
    version: HeaderValue,
    /// Our event names and the ids of their conversion rules.
    conversions: BTreeMap<String, String>,
    mapping: Mapping,
}

/// Builds the vendor of a manifest.
pub(super) fn build(block: &crd::LinkedinConversions, resolve: &mut dyn Resolve) -> Option<Built> {
    let url = with_endpoint(&format!("{HOST}{PATH}"), "endpoint", block.endpoint.as_deref(), resolve);
    let authorization = secret_header("accessToken", "Bearer ", &block.access_token, resolve);
    let mapping = resolve.mapping(&block.event_names, &block.parameters);
    for name in block.parameters.keys().filter(|name| !is_field(name)) {
        let message = format!(
            "is no field of LinkedIn's: write {}, or {USER_IDS} with a kind of id ({})",
            FIELDS.join(", "),
            ID_TYPES.join(", "),
        );
        resolve.mistake(&format!("parameters.{name}"), message);
    }
    let version = block.api_version.as_deref().unwrap_or(API_VERSION);
    let version = HeaderValue::from_str(version)
        .map_err(|_| resolve.mistake("apiVersion", "must be year and month, such as 202604".to_owned()));
    Some(Built::without_tokens(LinkedinConversions {
        url: url?,
        authorization: authorization?,
        version: version.ok()?,
        conversions: block.conversions.clone(),
        mapping: mapping?,
    }))
}

fn is_field(name: &str) -> bool {
    FIELDS.contains(&name) || name.strip_prefix(USER_IDS).is_some_and(|kind| ID_TYPES.contains(&kind))
}

impl LinkedinConversions {
    /// The id of the conversion rule for events of this name: of the one that `eventNames` gives it, if it does.
    fn rule(&self, event_name: &str) -> Option<&str> {
        let name = self
            .mapping
            .event_names
            .get(event_name)
            .map_or(event_name, String::as_str);
        self.conversions.get(name).map(String::as_str)
    }

    /// An event of `elements[]` (sheet, sections 2 and 3).
    fn event(&self, record: &Record<'_>, failures: &mut Failures, now_ms: i64) -> Result<String, Cow<'static, str>> {
        let event = &record.event;
        let mut ids = user_ids(event);
        let mut encoded = self.standard(record, now_ms);
        for (name, value) in self.mapping.values(record, &mut Budget::default(), failures) {
            match name.strip_prefix(USER_IDS) {
                Some(kind) => ids.replace(kind, &value),
                None => {
                    if let Some(value) = field_value(name, &value) {
                        put(&mut encoded, name, value);
                    }
                }
            }
        }
        if !encoded.contains_key(CONVERSION) {
            return Err("has no conversion rule any more; name one for it in conversions".into());
        }
        let happened = get(&encoded, "conversionHappenedAt").and_then(Json::as_i64);
        if happened.is_none_or(|happened| now_ms.saturating_sub(happened) > MAX_AGE_MS) {
            return Err("is older than the 90 days that LinkedIn takes".into());
        }
        complete_pairs(&mut encoded);
        let has = |path| get(&encoded, path).is_some();
        if ids.is_empty() && !has("user.userInfo.firstName") && !has("user.externalIds") {
            return Err(
                "says nothing of the visitor that LinkedIn takes: it wants an e-mail address, a li_fat_id, a user_id, \
                        first and last name, or another id in user.userIds"
                    .into(),
            );
        }
        // The key must be there even without an id (sheet, section 2).
        put(&mut encoded, "user.userIds", ids.into_json());
        Ok(Json::Object(encoded).to_string())
    }

    fn standard(&self, record: &Record<'_>, now_ms: i64) -> Object {
        let event = &record.event;
        let time = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        let address = UserData::of(event).addresses().next();
        let plain = |name: &str| Some(json!(address?.plain(name)?));
        let country = address.and_then(|address| address.country_code());
        let fields = [
            (
                CONVERSION,
                self.rule(event.name()).map(|rule| json!(format!("{RULE_URN}{rule}"))),
            ),
            ("conversionHappenedAt", Some(json!(time))),
            ("eventId", written(event, field::EVENT_ID)),
            (
                "conversionValue.currencyCode",
                commerce::currency(event).map(Json::from),
            ),
            ("conversionValue.amount", commerce::value(event).map(decimal)),
            ("user.userInfo.firstName", plain("first_name")),
            ("user.userInfo.lastName", plain("last_name")),
            ("user.userInfo.title", written(event, "job_title")),
            ("user.userInfo.companyName", written(event, "company_name")),
            (
                "user.userInfo.countryCode",
                country.map(|code| json!(code.to_uppercase())),
            ),
            ("user.externalIds", written(event, field::USER_ID).map(|id| json!([id]))),
        ];
        let mut encoded = Object::new();
        for (path, value) in fields {
            if let Some(value) = value {
                put(&mut encoded, path, value);
            }
        }
        encoded
    }

    fn request(&self, body: Bytes) -> Request {
        let mut request = Request::post_json(&self.url, body);
        let headers = &mut request.headers;
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(VERSION_HEADER, self.version.clone());
        headers.insert(PROTOCOL_VERSION_HEADER, HeaderValue::from_static("2.0.0"));
        headers.insert(METHOD_HEADER, HeaderValue::from_static("BATCH_CREATE"));
        request
    }
}

/// The value of a field that `parameters` sets, in the kind that LinkedIn wants it.
fn field_value(name: &str, value: &Value<'_>) -> Option<Json> {
    match name {
        "conversionHappenedAt" => whole(value),
        "conversionValue.amount" => commerce::number(value).map(decimal),
        CONVERSION => {
            let rule = text(value)?;
            let is_id = !rule.is_empty() && rule.bytes().all(|byte| byte.is_ascii_digit());
            Some(if is_id {
                json!(format!("{RULE_URN}{rule}"))
            } else {
                json!(rule)
            })
        }
        // One at the most (sheet, section 2).
        "user.externalIds" => Some(json!([texts(value).first()?])),
        _ => filled(value),
    }
}

/// Takes out halves that LinkedIn refuses alone: first without last name, amount without currency (sheet, section 2).
fn complete_pairs(event: &mut Object) {
    let is_whole = |object: &Json, pair: [&str; 2]| pair.iter().all(|name| object.get(*name).is_some());
    if event
        .get("conversionValue")
        .is_some_and(|value| !is_whole(value, ["currencyCode", "amount"]))
    {
        event.remove("conversionValue");
    }
    let info = event.get_mut("user").and_then(|user| user.get_mut("userInfo"));
    if let Some(info) = info
        && !is_whole(info, ["firstName", "lastName"])
        && let Some(info) = info.as_object_mut()
    {
        info.remove("firstName");
        info.remove("lastName");
    }
    let user = event.get_mut("user").and_then(Json::as_object_mut);
    if let Some(user) = user
        && user
            .get("userInfo")
            .and_then(Json::as_object)
            .is_some_and(Object::is_empty)
    {
        user.remove("userInfo");
    }
}

/// An amount as LinkedIn takes it: text (sheet, section 2).
fn decimal(amount: f64) -> Json {
    Json::String(json_number(amount).to_string())
}

impl Destination for LinkedinConversions {
    fn limits(&self) -> Limits {
        LIMITS
    }

    fn wants(&self, event_name: &str) -> bool {
        let has_computed_rule = || self.mapping.parameters.iter().any(|(name, _)| name == CONVERSION);
        self.rule(event_name).is_some() || has_computed_rule()
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let event = |record: &Record<'_>, failures: &mut Failures| self.event(record, failures, now_ms);
        batches::encode(records, LIMITS, &FRAME, event, |body| self.request(body))
    }

    /// Sheet, section 5.
    fn classify(&self, response: &Response) -> Outcome {
        let reason = answers::reason(response);
        match response.status.as_u16() {
            200 => answers::elements(response),
            201 => Outcome::Delivered,
            401 => Outcome::CredentialsRejected {
                reason: format!(
                    "{reason}; the access token has ended or was revoked: make a new one with the scope rw_conversions and put \
                     it into the Secret"
                ),
            },
            422 => {
                let bad = answers::bad_elements(&answers::message(response));
                if bad.is_empty() {
                    Outcome::RefusedBatch { reason }
                } else {
                    Outcome::RefusedEvents { bad }
                }
            }
            // A conversion rule that cannot be used fails the events of other rules too.
            400 | 403 | 404 => Outcome::RefusedBatch { reason },
            423 => Outcome::Retry { after: None, reason },
            426 => Outcome::Retry {
                after: Some(ENDED_VERSION_WAIT),
                reason: format!(
                    "{reason}; LinkedIn has ended the version {}: set apiVersion to a newer one",
                    self.version.to_str().unwrap_or_default()
                ),
            },
            _ => answer::by_status(response),
        }
    }
}

#[cfg(test)]
mod tests;
