//! What Google's validation server says of a Measurement Protocol request (vendors/ga4-mp.md sections 2 and 5).

use std::{borrow::Cow, fmt};

use http::StatusCode;
use serde_json::json;
use tagfleet_expressions::{Map, Value};

use super::{Answer, mp_names, normalize::whole_number};

/// How old an event may be: 72 hours (vendors/ga4-mp.md section 2). That holds for its session too: no request tells when
/// a session ended, and the latest moment that is known of it is the event itself.
pub(super) const MAX_AGE_MS: i64 = 72 * 3_600_000;

/// Events of one request, and parameters of one event, and user properties of one request.
const MAX_ENTITIES: usize = 25;
/// Items of one event.
const MAX_ITEMS: usize = 200;
/// Characters of a parameter's value.
const MAX_VALUE: usize = 100;
/// Characters of a user property's value.
const MAX_PROPERTY_VALUE: usize = 36;
/// Characters of a user id.
const MAX_USER_ID: usize = 256;
/// Remarks in one answer: a bound, since a body may be wrong in ten thousand places.
const MAX_REMARKS: usize = 100;

/// Google's codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    ValueInvalid,
    ValueRequired,
    NameInvalid,
    NameReserved,
    ValueOutOfBounds,
    ExceededMaxEntities,
}

impl Code {
    const fn as_str(self) -> &'static str {
        match self {
            Self::ValueInvalid => "VALUE_INVALID",
            Self::ValueRequired => "VALUE_REQUIRED",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameReserved => "NAME_RESERVED",
            Self::ValueOutOfBounds => "VALUE_OUT_OF_BOUNDS",
            Self::ExceededMaxEntities => "EXCEEDED_MAX_ENTITIES",
        }
    }
}

/// What a remark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// The request as a whole.
    Request,
    /// One of its events.
    Event(usize),
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) scope: Scope,
    pub(super) path: String,
    pub(super) code: Code,
    pub(super) description: Cow<'static, str>,
}

impl Remark {
    fn of_request(path: &str, code: Code, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            scope: Scope::Request,
            path: path.to_owned(),
            code,
            description: description.into(),
        }
    }

    /// The body cannot be read at all.
    pub(super) fn unreadable(fault: &str) -> Self {
        Self::of_request("", Code::ValueInvalid, format!("Unable to read the request: {fault}."))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            formatter.write_str(&self.description)
        } else {
            write!(formatter, "{}: {}", self.path, self.description)
        }
    }
}

/// The answer of `/debug/mp/collect`: 200 whatever is wrong.
pub(super) fn answer(remarks: &[Remark]) -> Answer {
    let messages: Vec<_> = remarks
        .iter()
        .map(|remark| {
            json!({
                "fieldPath": remark.path,
                "description": remark.description,
                "validationCode": remark.code.as_str(),
            })
        })
        .collect();
    Answer {
        status: StatusCode::OK,
        content_type: "application/json",
        body: json!({ "validationMessages": messages })
            .to_string()
            .into_bytes()
            .into(),
    }
}

/// Whether the sender asks that every remark count.
pub(super) fn is_strict(body: &Value<'_>) -> bool {
    let behavior = body.as_map().and_then(|body| body.get("validation_behavior"));
    behavior.and_then(Value::as_str) == Some("ENFORCE_RECOMMENDATIONS")
}

/// Why Google would take nothing of a request, if so.
pub(super) fn refused_as_a_whole(body: &Value<'_>) -> Option<Remark> {
    let Some(body) = body.as_map() else {
        return Some(Remark::of_request(
            "",
            Code::ValueInvalid,
            "the body must be a JSON object",
        ));
    };
    identified(body).or_else(|| counted(body))
}

/// Why Google would not take an event, if so.
pub(super) fn refused_event(
    event: &Value<'_>,
    number: usize,
    request_timestamp: Option<&Value<'_>>,
    now_ms: i64,
) -> Option<Remark> {
    let remark = |member: &str, (code, description): mp_names::Fault| Remark {
        scope: Scope::Event(number),
        path: format!("events[{number}]{member}"),
        code,
        description: description.into(),
    };
    let Some(event) = event.as_map() else {
        return Some(remark("", (Code::ValueInvalid, "an event must be an object")));
    };
    if let Some(fault) = mp_names::event_fault(event.get("name")) {
        return Some(remark(".name", fault));
    }
    let timestamp = event
        .get("timestamp_micros")
        .or(request_timestamp)
        .and_then(whole_number);
    timestamp
        .filter(|micros| now_ms.saturating_sub(micros.div_euclid(1_000)) > MAX_AGE_MS)
        .map(|_| remark(".timestamp_micros", TOO_OLD))
}

const TOO_OLD: mp_names::Fault = (Code::ValueOutOfBounds, "the event is more than 72 hours old");

/// All that is wrong with a request, in the order in which it stands there.
pub(super) fn validate(body: &Value<'_>, now_ms: i64) -> Vec<Remark> {
    let Some(body) = body.as_map() else {
        return refused_as_a_whole(body).into_iter().collect();
    };
    let mut remarks = Remarks {
        now_ms,
        scope: Scope::Request,
        all: Vec::new(),
    };
    remarks.all.extend(identified(body));
    remarks.request(body);
    remarks.all.extend(counted(body));
    if let Some(Value::List(events)) = body.get("events") {
        for (number, event) in events.iter().take(MAX_ENTITIES).enumerate() {
            remarks.scope = Scope::Event(number);
            remarks.all.extend(refused_event(event, number, None, now_ms));
            if let Some(event) = event.as_map() {
                remarks.event(event, &format!("events[{number}]"));
            }
        }
    }
    remarks.all.truncate(MAX_REMARKS);
    remarks.all
}

/// Whose events these are must be said: web streams by `client_id`, apps by `app_instance_id`.
fn identified(body: &Map<'_>) -> Option<Remark> {
    let id = |name| body.get(name).filter(|id| !matches!(id, Value::Null));
    match id("client_id").or_else(|| id("app_instance_id")) {
        None => Some(Remark::of_request(
            "client_id",
            Code::ValueRequired,
            "client_id (or app_instance_id) is required",
        )),
        Some(Value::String(id)) if id.is_empty() => Some(Remark::of_request(
            "client_id",
            Code::ValueRequired,
            "client_id must not be empty",
        )),
        Some(_) => None,
    }
}

fn counted(body: &Map<'_>) -> Option<Remark> {
    let (code, description) = match body.get("events") {
        None | Some(Value::Null) => (Code::ValueRequired, "events are required"),
        Some(Value::List(events)) if events.is_empty() => (Code::ValueRequired, "events are required"),
        Some(Value::List(events)) if events.len() > MAX_ENTITIES => {
            (Code::ExceededMaxEntities, "a request may hold at most 25 events")
        }
        Some(Value::List(_)) => return None,
        Some(_) => (Code::ValueInvalid, "events must be an array"),
    };
    Some(Remark::of_request("events", code, description))
}

/// Whether the request's own time is that of any event: an event's own comes before it.
fn counts_for_an_event(body: &Map<'_>) -> bool {
    let events = body.get("events").and_then(Value::as_list).unwrap_or_default();
    let has_own = |event: &Value<'_>| event.as_map().is_some_and(|event| event.contains("timestamp_micros"));
    events.is_empty() || !events.iter().all(has_own)
}

/// Whether a text has more characters than it may.
fn is_longer(value: &Value<'_>, most: usize) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.len() > most && text.chars().count() > most)
}

/// The remarks on one request, gathered.
struct Remarks {
    now_ms: i64,
    scope: Scope,
    all: Vec<Remark>,
}

impl Remarks {
    fn add(&mut self, path: impl Into<String>, code: Code, description: &'static str) {
        if self.all.len() < MAX_REMARKS {
            self.all.push(Remark {
                scope: self.scope,
                path: path.into(),
                code,
                description: description.into(),
            });
        }
    }

    fn request(&mut self, body: &Map<'_>) {
        for name in ["client_id", "app_instance_id", "user_id", "ip_override", "user_agent"] {
            if body
                .get(name)
                .is_some_and(|value| !matches!(value, Value::String(_) | Value::Null))
            {
                self.add(name, Code::ValueInvalid, "must be text");
            }
        }
        if body.get("user_id").is_some_and(|id| is_longer(id, MAX_USER_ID)) {
            self.add("user_id", Code::ValueOutOfBounds, "at most 256 characters");
        }
        self.timestamp(body, "timestamp_micros", counts_for_an_event(body));
        if let Some(Value::Map(properties)) = body.get("user_properties") {
            self.user_properties(properties);
        }
        if let Some(Value::Map(consent)) = body.get("consent") {
            for (name, value) in consent.iter() {
                if !matches!(value.as_str(), Some("GRANTED" | "DENIED")) {
                    self.add(
                        format!("consent.{name}"),
                        Code::ValueInvalid,
                        "must be GRANTED or DENIED",
                    );
                }
            }
        }
        if body
            .get("non_personalized_ads")
            .is_some_and(|value| value.as_bool().is_none())
        {
            self.add("non_personalized_ads", Code::ValueInvalid, "must be true or false");
        }
        for name in ["user_properties", "user_data", "user_location", "device", "consent"] {
            if body
                .get(name)
                .is_some_and(|value| !matches!(value, Value::Map(_) | Value::Null))
            {
                self.add(name, Code::ValueInvalid, "must be an object");
            }
        }
        let behavior = body.get("validation_behavior");
        if behavior.is_some_and(|value| !matches!(value.as_str(), Some("RELAXED" | "ENFORCE_RECOMMENDATIONS"))) {
            self.add(
                "validation_behavior",
                Code::ValueInvalid,
                "must be RELAXED or ENFORCE_RECOMMENDATIONS",
            );
        }
    }

    /// The time of the request or of an event, and its age if that is asked for.
    fn timestamp(&mut self, object: &Map<'_>, path: &str, with_age: bool) {
        let Some(given) = object.get("timestamp_micros") else {
            return;
        };
        match whole_number(given).map(|micros| micros.div_euclid(1_000)) {
            None => self.add(path, Code::ValueInvalid, "must be a number of microseconds"),
            Some(time) if time > self.now_ms => self.add(path, Code::ValueOutOfBounds, "the time is in the future"),
            Some(time) if with_age && self.now_ms.saturating_sub(time) > MAX_AGE_MS => {
                self.add(path, TOO_OLD.0, TOO_OLD.1);
            }
            Some(_) => {}
        }
    }

    fn user_properties(&mut self, properties: &Map<'_>) {
        if properties.len() > MAX_ENTITIES {
            self.add(
                "user_properties",
                Code::ExceededMaxEntities,
                "a request may hold at most 25 user properties",
            );
        }
        for (name, property) in properties.iter() {
            let path = format!("user_properties.{name}");
            if let Some((code, description)) = mp_names::user_property_fault(name) {
                self.add(path.clone(), code, description);
            }
            match property.as_map().and_then(|property| property.get("value")) {
                None => self.add(path, Code::ValueRequired, "must be an object with a value"),
                Some(value) if is_longer(value, MAX_PROPERTY_VALUE) => {
                    self.add(path, Code::ValueOutOfBounds, "at most 36 characters");
                }
                Some(_) => {}
            }
        }
    }

    fn event(&mut self, event: &Map<'_>, path: &str) {
        if event
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(mp_names::is_tolerated_event)
        {
            self.add(
                format!("{path}.name"),
                Code::NameReserved,
                "the event's name is reserved",
            );
        }
        // An event that is too old was remarked on already.
        self.timestamp(event, &format!("{path}.timestamp_micros"), false);
        let params = match event.get("params") {
            None | Some(Value::Null) => return,
            Some(Value::Map(params)) => params,
            Some(_) => return self.add(format!("{path}.params"), Code::ValueInvalid, "must be an object"),
        };
        if params.len() > MAX_ENTITIES {
            self.add(
                format!("{path}.params"),
                Code::ExceededMaxEntities,
                "an event may hold at most 25 parameters",
            );
        }
        for (name, value) in params.iter() {
            self.parameter(name, value, &format!("{path}.params.{name}"));
        }
        if params.contains("value") && !params.contains("currency") {
            self.add(
                format!("{path}.params.currency"),
                Code::ValueRequired,
                "a value needs a currency",
            );
        }
    }

    fn parameter(&mut self, name: &str, value: &Value<'_>, path: &str) {
        if let Some((code, description)) = mp_names::parameter_fault(name) {
            self.add(path, code, description);
        }
        match value {
            Value::List(items) if name == "items" => self.items(items, path),
            _ if name == "items" => self.add(path, Code::ValueInvalid, "must be an array"),
            Value::List(_) | Value::Map(_) => self.add(path, Code::ValueInvalid, "must be text or a number"),
            value if is_longer(value, longest(name)) => self.add(path, Code::ValueOutOfBounds, "the text is too long"),
            _ => {}
        }
    }

    fn items(&mut self, items: &[Value<'_>], path: &str) {
        if items.len() > MAX_ITEMS {
            self.add(path, Code::ExceededMaxEntities, "an event may hold at most 200 items");
        }
        for (number, item) in items.iter().enumerate() {
            if self.all.len() >= MAX_REMARKS {
                return;
            }
            match item.as_map() {
                None => self.add(format!("{path}[{number}]"), Code::ValueInvalid, "must be an object"),
                Some(item) if !item.contains("item_id") && !item.contains("item_name") => {
                    self.add(
                        format!("{path}[{number}]"),
                        Code::ValueRequired,
                        "an item needs item_id or item_name",
                    );
                }
                Some(_) => {}
            }
        }
    }
}

/// How many characters a parameter's text may have; URLs and titles are allowed more.
fn longest(parameter: &str) -> usize {
    match parameter {
        "page_location" => 1_000,
        "page_referrer" => 420,
        "page_title" => 300,
        _ => MAX_VALUE,
    }
}
