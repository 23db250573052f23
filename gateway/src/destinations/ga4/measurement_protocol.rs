//! GA4 by the Measurement Protocol (vendors/ga4-mp.md). GA4 answers 2xx whatever it is sent, so what it would drop is
//! refused or mended here.

use std::{borrow::Cow, collections::HashMap};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header::CONTENT_TYPE};
use serde_json::{Map as Json, Value as JsonValue, json};
use tagfleet_expressions::Value;
use url::Url;

use super::limits;
use crate::{
    destinations::{
        Authentication, Destination, Encoded, Encoding, Limits, Outcome, Protocol, Request, Response, answer,
        identity::{Address, EmailRule, NameRule, PhoneRule, UserData},
        mapping::{Budget, Failures, Mapping, cut, text},
    },
    event::{Event, field},
    ingest::mp_names,
    record::{Consent, ConsentSignal, Record},
};

/// Live traffic needs no time of its own: an event this young is sent without one.
const LIVE_MS: i64 = 10_000;

/// Fields of the event that have a place of their own in the request, or none at Google.
const PLACED: [&str; 21] = [
    field::EVENT_NAME,
    field::CLIENT_ID,
    field::USER_ID,
    field::TIMESTAMP_MS,
    field::GA_SESSION_ID,
    field::GA_SESSION_NUMBER,
    field::PAGE_HOSTNAME,
    field::PAGE_PATH,
    field::LANGUAGE,
    field::SCREEN_RESOLUTION,
    field::USER_AGENT,
    field::CLIENT_HINTS,
    field::IP_OVERRIDE,
    field::ITEMS,
    field::USER_DATA,
    field::USER_PROPERTIES,
    field::CLICK_IDS,
    field::COOKIES,
    "engagement_time_msec",
    "page_encoding",
    "viewport_size",
];

/// Parameters that must not fall to the limit of 25 because of others.
const FIRST: [&str; 10] = [
    field::PAGE_LOCATION,
    field::PAGE_REFERRER,
    field::PAGE_TITLE,
    field::TRANSACTION_ID,
    field::CURRENCY,
    field::VALUE,
    "tax",
    "shipping",
    "coupon",
    field::EVENT_ID,
];

/// GA4 with an API secret.
pub(super) struct MeasurementProtocol {
    /// Ends in `/mp/collect`, with `measurement_id` and the secret in its query.
    pub(super) url: Url,
    /// Shows the events in DebugView.
    pub(super) debug: bool,
    /// `eventNames` and `parameters`.
    pub(super) mapping: Mapping,
}

impl MeasurementProtocol {
    /// One event of `events[]`.
    fn event(&self, record: &Record<'_>, failures: &mut Failures, now_ms: i64) -> Result<JsonValue, Cow<'static, str>> {
        let event = &record.event;
        let name = limits::name(self.mapping.event_name(event));
        if mp_names::is_reserved_event(&name) {
            return Err(
                format!("GA4 keeps the event name {name} for itself; give it another one in eventNames").into(),
            );
        }
        let time = event.timestamp_ms().unwrap_or(record.accepted_ms).min(now_ms);
        if now_ms - time > limits::MAX_AGE_MS {
            return Err("is older than the 72 hours that GA4 takes".into());
        }
        let mut parameters = Parameters::default();
        for (name, value) in self.mapping.values(record, &mut Budget::default(), failures) {
            parameters.set(name, &value);
        }
        if let Some(session) = event.get(field::GA_SESSION_ID) {
            parameters.set("session_id", session);
        }
        // Without an engagement time the visitor does not count as active.
        parameters.set(
            "engagement_time_msec",
            event.get("engagement_time_msec").unwrap_or(&Value::Int(1)),
        );
        if self.debug {
            parameters.set("debug_mode", &Value::Int(1));
        }
        for name in FIRST {
            if let Some(value) = event.get(name) {
                parameters.set(name, value);
            }
        }
        for (name, value) in event.fields().iter().filter(|(name, _)| is_parameter(name)) {
            parameters.set(name, value);
        }
        let mut parameters = parameters.0;
        if let Some(items) = event
            .get(field::ITEMS)
            .and_then(Value::as_list)
            .filter(|items| !items.is_empty())
        {
            let items: Vec<&Value<'_>> = items.iter().take(limits::MAX_ITEMS).collect();
            parameters.insert(field::ITEMS.to_owned(), json!(items));
        }
        let mut encoded = json!({"name": name, "params": parameters});
        if now_ms - time > LIVE_MS
            && let Some(object) = encoded.as_object_mut()
        {
            object.insert("timestamp_micros".to_owned(), json!(time.saturating_mul(1_000)));
        }
        Ok(encoded)
    }
}

/// Whether a field of the event goes into `params` as it is.
fn is_parameter(name: &str) -> bool {
    !PLACED.contains(&name) && !name.starts_with("x-ga-") && !name.starts_with("x-sst-")
}

/// `params`, within GA4's limits: the first ones set stay.
#[derive(Default)]
struct Parameters(Json<String, JsonValue>);

impl Parameters {
    fn set(&mut self, name: &str, value: &Value<'_>) {
        let name = limits::name(name);
        if self.0.len() >= limits::MAX_PARAMETERS
            || mp_names::is_reserved_parameter(&name)
            || self.0.contains_key(&*name)
        {
            return;
        }
        let value = match value {
            Value::String(text) if text.is_empty() => return,
            Value::String(text) => json!(limits::value(&name, text)),
            Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) => json!(value),
            // GA4 takes scalars only.
            Value::Null | Value::List(_) | Value::Map(_) => return,
        };
        self.0.insert(name.into_owned(), value);
    }
}

/// What all events of a request share; events that differ in it go into requests of their own.
fn shared(record: &Record<'_>) -> Json<String, JsonValue> {
    let (event, consent) = (&record.event, &record.consent);
    let mut shared = Json::new();
    let mut put = |name: &str, value: Option<JsonValue>| {
        if let Some(value) = value {
            shared.insert(name.to_owned(), value);
        }
    };
    let text = |name: &str| event.text(name).filter(|text| !text.is_empty()).map(|text| json!(text));
    put("client_id", text(field::CLIENT_ID));
    put(
        "user_id",
        event
            .text(field::USER_ID)
            .filter(|id| !id.is_empty())
            .map(|id| json!(cut(id, 256))),
    );
    put("user_properties", user_properties(event));
    put("consent", consent_object(consent));
    if consent.ad_user_data != ConsentSignal::Denied {
        put("user_data", user_data(event));
    }
    put("ip_override", text(field::IP_OVERRIDE));
    put("user_agent", text(field::USER_AGENT));
    put("device", device(event));
    shared
}

fn device(event: &Event<'_>) -> Option<JsonValue> {
    let hint = |name: &str| event.get(field::CLIENT_HINTS)?.as_map()?.get(name)?.as_str();
    let mut device = Json::new();
    for (name, value) in [
        ("language", event.text(field::LANGUAGE)),
        ("screen_resolution", event.text(field::SCREEN_RESOLUTION)),
        ("model", hint("model")),
        ("operating_system", hint("platform")),
        ("operating_system_version", hint("platform_version")),
    ] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            device.insert(name.to_owned(), json!(value));
        }
    }
    (!device.is_empty()).then_some(JsonValue::Object(device))
}

fn user_properties(event: &Event<'_>) -> Option<JsonValue> {
    let properties = event.get(field::USER_PROPERTIES)?.as_map()?;
    let properties: Json<String, JsonValue> = properties
        .iter()
        .filter_map(|(name, value)| {
            let name = limits::user_property_name(name);
            let value = match value {
                Value::String(text) => json!(cut(text, limits::USER_PROPERTY_VALUE)),
                other => json!(text(other).is_some().then_some(other)?),
            };
            (!mp_names::is_reserved_user_property(&name)).then(|| (name.into_owned(), json!({"value": value})))
        })
        .take(limits::MAX_USER_PROPERTIES)
        .collect();
    (!properties.is_empty()).then_some(JsonValue::Object(properties))
}

fn consent_object(consent: &Consent) -> Option<JsonValue> {
    let word = |signal| match signal {
        ConsentSignal::Granted => Some("GRANTED"),
        ConsentSignal::Denied => Some("DENIED"),
        ConsentSignal::Unset => None,
    };
    let signals = [
        ("ad_user_data", consent.ad_user_data),
        ("ad_personalization", consent.ad_personalization),
    ];
    let object: Json<String, JsonValue> = signals
        .into_iter()
        .filter_map(|(name, signal)| Some((name.to_owned(), json!(word(signal)?))))
        .collect();
    (!object.is_empty()).then_some(JsonValue::Object(object))
}

/// `user_data`, hashed as Google wants it; raw values never leave, but places, which Google takes plain.
fn user_data(event: &Event<'_>) -> Option<JsonValue> {
    let data = UserData::of(event);
    let mut out = Json::new();
    for (name, hashes) in [
        ("sha256_email_address", data.emails(EmailRule::Google)),
        ("sha256_phone_number", data.phones(PhoneRule::E164)),
    ] {
        if !hashes.is_empty() {
            out.insert(name.to_owned(), json!(hashes));
        }
    }
    let addresses: Vec<JsonValue> = data.addresses().filter_map(|given| address(&given)).collect();
    if !addresses.is_empty() {
        out.insert("address".to_owned(), json!(addresses));
    }
    (!out.is_empty()).then_some(JsonValue::Object(out))
}

fn address(address: &Address<'_>) -> Option<JsonValue> {
    let mut out = Json::new();
    for (name, hash) in [
        ("sha256_first_name", address.first_name(NameRule::Trimmed)),
        ("sha256_last_name", address.last_name(NameRule::Trimmed)),
        ("sha256_street", address.street()),
    ] {
        if let Some(hash) = hash {
            out.insert(name.to_owned(), json!(hash));
        }
    }
    for name in ["city", "region", "postal_code", "country"] {
        if let Some(text) = address.plain(name) {
            out.insert(name.to_owned(), json!(text));
        }
    }
    (!out.is_empty()).then_some(JsonValue::Object(out))
}

/// Events of one request in the making.
struct Group {
    shared: Json<String, JsonValue>,
    encoded: Vec<JsonValue>,
    events: Vec<usize>,
    bytes: usize,
}

impl Destination for MeasurementProtocol {
    fn limits(&self) -> Limits {
        // Batches may hold many visitors; encode makes requests of at most 25 events of one visitor.
        Limits {
            max_events: 1_000,
            max_bytes: 10_000_000,
        }
    }

    /// The Measurement Protocol has no hit without identifiers: nothing is sent for a visitor who refused.
    fn consents(&self, consent: &Consent) -> bool {
        consent.analytics_storage != ConsentSignal::Denied
    }

    fn encode(&self, records: &[Record<'_>], now_ms: i64) -> Encoding {
        let (mut encoding, mut failures) = (Encoding::default(), Failures::default());
        let mut groups: Vec<Group> = Vec::new();
        let mut open: HashMap<String, usize> = HashMap::new();
        for (index, record) in records.iter().enumerate() {
            if record.event.text(field::CLIENT_ID).is_none_or(str::is_empty) {
                encoding
                    .refused
                    .push((index, "has no client_id, which GA4 requires".into()));
                continue;
            }
            let encoded = match self.event(record, &mut failures, now_ms) {
                Ok(encoded) => encoded,
                Err(reason) => {
                    encoding.refused.push((index, reason));
                    continue;
                }
            };
            let shared = shared(record);
            let key = JsonValue::Object(shared.clone()).to_string();
            let bytes = encoded.to_string().len() + 1;
            if key.len() + bytes + 16 > limits::MAX_BODY_BYTES {
                encoding
                    .refused
                    .push((index, "is larger than the 130 kB that GA4 takes".into()));
                continue;
            }
            let place = match open.get(&key).copied() {
                Some(place) if groups.get(place).is_some_and(|group| group.has_room(bytes)) => place,
                _ => {
                    let overhead = key.len() + 16;
                    groups.push(Group {
                        shared,
                        encoded: Vec::new(),
                        events: Vec::new(),
                        bytes: overhead,
                    });
                    open.insert(key, groups.len() - 1);
                    groups.len() - 1
                }
            };
            if let Some(group) = groups.get_mut(place) {
                group.encoded.push(encoded);
                group.events.push(index);
                group.bytes += bytes;
            }
        }
        encoding.requests = groups.into_iter().map(|group| self.request(group)).collect();
        encoding.expression_errors = failures.into_counts();
        encoding
    }

    fn classify(&self, response: &Response) -> Outcome {
        answer::by_status(response)
    }
}

impl Group {
    fn has_room(&self, bytes: usize) -> bool {
        self.encoded.len() < limits::MAX_EVENTS && self.bytes + bytes <= limits::MAX_BODY_BYTES
    }
}

impl MeasurementProtocol {
    fn request(&self, group: Group) -> Encoded {
        let mut body = group.shared;
        body.insert("events".to_owned(), JsonValue::Array(group.encoded));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Encoded {
            request: Request {
                method: Method::POST,
                url: self.url.clone(),
                headers,
                body: Bytes::from(JsonValue::Object(body).to_string()),
                authentication: Authentication::None,
                protocol: Protocol::Http,
            },
            events: group.events,
            ordering_key: None,
        }
    }
}
