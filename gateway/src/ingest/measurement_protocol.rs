//! The Measurement Protocol client: `/mp/collect` as servers and apps send it, and `/debug/mp/collect`, which only says
//! what is wrong (vendors/ga4-mp.md).
//!
//! Google answers 2xx to anything and drops silently what it does not like. Here a request is refused, or an event dropped
//! and counted, only where Google would take none of it; what merely exceeds a limit of GA4's own reports is kept, because
//! other destinations have other limits. With `validation_behavior: ENFORCE_RECOMMENDATIONS` every remark counts.

use std::borrow::Cow;

use tagfleet_expressions::{Map, Value};

use super::{
    Claim, ClaimedEvent, HitRequest, Refusal,
    complete::{Connection, Sender},
    consent_signals,
    fields::Fields,
    json_value,
    mp_validation::{self, Remark, Scope},
    normalize::{self, normalize, whole_number},
    query,
};
use crate::{
    event::{Event, field},
    pipeline::consent::{Said, Source},
    record::{Consent, ConsentSignal},
    secret::Secrets,
};

/// Google takes bodies of less than 130 kB.
pub(super) const MAX_BODY_BYTES: usize = 130_000;

/// What a Measurement Protocol client accepts.
#[derive(Clone, Debug, Default)]
pub struct MeasurementProtocol {
    /// The `api_secret` that senders must present; none: anyone may send, and cannot say whose address a visitor has.
    pub api_secret: Option<Secrets>,
    /// The measurement ids; empty: any, and none.
    pub measurement_ids: Vec<String>,
}

impl MeasurementProtocol {
    /// The protocol's paths.
    pub const PATHS: [&'static str; 2] = ["/mp/collect", "/debug/mp/collect"];

    /// Whether the path is one of the protocol.
    #[must_use]
    pub fn owns(path: &str) -> bool {
        Self::PATHS.contains(&path)
    }

    /// Turns a request into events; on `/debug/mp/collect` into an answer that lists what is wrong, and no event.
    ///
    /// # Errors
    /// 405 for other methods than POST; 403 for a wrong or missing `api_secret`, or a measurement id that this container does
    /// not serve; 413 for a body of 130 kB or more; 400 when the request as a whole breaks the protocol, or no event is
    /// left.
    pub fn claim<'r>(&self, request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        if *request.method != http::Method::POST {
            return Err(Refusal::MethodNotAllowed(
                "send Measurement Protocol requests by POST".into(),
            ));
        }
        if let Some(secrets) = &self.api_secret {
            let given = query::pairs(request.query).find(|(name, _)| name == "api_secret");
            if !given.is_some_and(|(_, given)| secrets.matches(given.as_bytes())) {
                return Err(Refusal::Forbidden("api_secret is missing or wrong".into()));
            }
        }
        if !self.measurement_ids.is_empty() {
            let given = query::pairs(request.query).find(|(name, _)| name == "measurement_id");
            if !given.is_some_and(|(_, given)| self.measurement_ids.iter().any(|accepted| *accepted == given)) {
                return Err(Refusal::Forbidden(
                    "measurement_id is not one of this container's measurement ids".into(),
                ));
            }
        }
        if request.body.len() >= MAX_BODY_BYTES {
            return Err(Refusal::TooLarge(
                "the Measurement Protocol takes less than 130 kB in one request".into(),
            ));
        }
        let body = match std::str::from_utf8(request.body) {
            Ok(text) => json_value::read(text).map_err(|fault| fault.to_string()),
            Err(error) => Err(format!("the body is not UTF-8: {error}")),
        };
        if request.path == "/debug/mp/collect" {
            let remarks = match &body {
                Ok(body) => mp_validation::validate(body, request.received_ms),
                Err(fault) => vec![Remark::unreadable(fault)],
            };
            return Ok(Claim {
                answer: Some(mp_validation::answer(&remarks)),
                ..Claim::default()
            });
        }
        self.claim_body(body.map_err(|fault| Refusal::BadRequest(fault.into()))?, request)
    }

    fn claim_body<'r>(&self, body: Value<'r>, request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        if let Some(remark) = mp_validation::refused_as_a_whole(&body) {
            return Err(Refusal::BadRequest(remark.to_string().into()));
        }
        let strict = mp_validation::is_strict(&body);
        let remarks = if strict {
            mp_validation::validate(&body, request.received_ms)
        } else {
            Vec::new()
        };
        if let Some(remark) = remarks.iter().find(|remark| remark.scope == Scope::Request) {
            return Err(Refusal::BadRequest(remark.to_string().into()));
        }
        let Value::Map(mut body) = body else {
            return Ok(Claim::default());
        };
        let Some(Value::List(events)) = body.remove("events") else {
            return Ok(Claim::default());
        };
        let common = Common::of(body, request, self.sender());
        let sender = Sender::of(request);
        let mut claim = Claim::default();
        let mut first_remark = None;
        for (number, event) in events.into_iter().enumerate() {
            let remark = remarks
                .iter()
                .find(|remark| remark.scope == Scope::Event(number))
                .cloned()
                .or_else(|| {
                    mp_validation::refused_event(&event, number, common.timestamp.as_ref(), request.received_ms)
                });
            match remark {
                Some(remark) => {
                    claim.invalid += 1;
                    first_remark.get_or_insert(remark);
                }
                None => common.claim_event(event, &sender, &mut claim),
            }
        }
        claim.cookies = sender.cookies;
        match first_remark {
            Some(remark) if claim.events.is_empty() => Err(Refusal::NoEvent {
                reason: remark.to_string().into(),
                invalid: claim.invalid,
            }),
            _ => Ok(claim),
        }
    }

    const fn sender(&self) -> normalize::Sender {
        if self.api_secret.is_some() {
            normalize::Sender::Authenticated
        } else {
            normalize::Sender::Anyone
        }
    }
}

/// What a request says for all of its events.
struct Common<'r> {
    /// The fields, for every event that does not set them itself.
    fields: Vec<(Cow<'r, str>, Value<'r>)>,
    timestamp: Option<Value<'r>>,
    said: Said,
    trust: normalize::Sender,
}

impl<'r> Common<'r> {
    fn of(body: Map<'r>, request: &HitRequest<'r>, trust: normalize::Sender) -> Self {
        let mut fields = Fields::with_capacity(body.len() + 8);
        let mut timestamp = None;
        let mut said = Said::default();
        for (name, value) in query::pairs(request.query) {
            match name.as_ref() {
                "api_secret" => {}
                "measurement_id" => fields.insert("x-ga-measurement_id", value),
                "firebase_app_id" => fields.insert("x-ga-firebase_app_id", value),
                // The protocol has no other parameter; kept as the GA4 client keeps what it does not know.
                _ if fields.len() < json_value::MAX_FIELDS => fields.insert(format!("x-ga-mp2-{name}"), value),
                _ => {}
            }
        }
        for (name, value) in body {
            match (name.as_ref(), value) {
                ("timestamp_micros", value) => timestamp = Some(value),
                ("consent", value) => {
                    let mut given = Fields::default();
                    given.insert("consent", value);
                    said = consent_signals::take_from(&mut given);
                    for (name, rest) in given {
                        fields.insert(name, rest);
                    }
                }
                ("user_properties", Value::Map(properties)) => add_user_properties(&mut fields, properties),
                ("non_personalized_ads", Value::Bool(off)) => {
                    fields.insert("x-ga-npa", if off { "1" } else { "0" });
                }
                ("validation_behavior", value) => fields.insert("x-ga-validation_behavior", value),
                ("device", Value::Map(device)) => {
                    for name in [field::LANGUAGE, field::SCREEN_RESOLUTION] {
                        if let Some(value) = device.get(name) {
                            fields.insert(name, value.clone());
                        }
                    }
                    fields.insert("device", device);
                }
                ("session_id", value) => fields.insert(field::GA_SESSION_ID, value),
                (_, value) => fields.insert(name, value),
            }
        }
        // The older switch, for a request without the newer one.
        if fields.text("x-ga-npa") == Some("1") {
            said.signals.complete(
                Source::Npa,
                Consent {
                    ad_personalization: ConsentSignal::Denied,
                    ..Consent::default()
                },
            );
        }
        Self {
            fields: fields.into_map().into_iter().collect(),
            timestamp,
            said,
            trust,
        }
    }

    /// Whether a parameter of this name would hide what the request says of the visitor, or what this client sets.
    fn reserves(&self, name: &str) -> bool {
        match name {
            field::EVENT_NAME | field::CLIENT_ID | field::TIMESTAMP_MS | "app_instance_id" => true,
            field::USER_DATA
            | field::USER_PROPERTIES
            | field::USER_AGENT
            | field::IP_OVERRIDE
            | "user_location"
            | "device" => self.fields.iter().any(|(set, _)| set == name),
            _ => name.starts_with("x-ga-") || name.starts_with("x-sst-"),
        }
    }

    /// Adds one event; its members were checked.
    fn claim_event(&self, event: Value<'r>, sender: &Sender<'r>, claim: &mut Claim<'r>) {
        let Value::Map(mut event) = event else { return };
        let name = event.remove("name").unwrap_or(Value::Null);
        let timestamp = event.remove("timestamp_micros");
        let params = match event.remove("params") {
            Some(Value::Map(params)) => params,
            _ => Map::new(),
        };
        let mut fields = Fields::with_capacity(params.len() + self.fields.len() + 6);
        fields.insert(field::EVENT_NAME, name);
        for (name, value) in params {
            match name.as_ref() {
                "session_id" => fields.insert(field::GA_SESSION_ID, value),
                "session_number" => fields.insert(field::GA_SESSION_NUMBER, value),
                reserved if self.reserves(reserved) => {
                    claim.renamed += 1;
                    fields.insert(format!("x_{reserved}"), value);
                }
                _ => fields.insert(name, value),
            }
        }
        for (name, value) in event {
            if !fields.contains(&name) {
                fields.insert(name, value);
            }
        }
        for (name, value) in &self.fields {
            if !fields.contains(name) {
                fields.insert(name.clone(), value.clone());
            }
        }
        let counts = normalize(&mut fields, self.trust, sender.read_cookies);
        if let Some(micros) = timestamp.as_ref().or(self.timestamp.as_ref()).and_then(whole_number) {
            fields.insert(field::TIMESTAMP_MS, micros.div_euclid(1_000).min(sender.received_ms));
        }
        let connection = match self.trust {
            normalize::Sender::Authenticated => Connection::Server,
            normalize::Sender::Anyone => Connection::Visitor,
        };
        let has_own_id = sender.complete(&mut fields, connection);
        claim.connection = connection;
        claim.renamed += counts.renamed;
        claim.untrusted += counts.untrusted;
        claim.events.push(ClaimedEvent {
            event: Event::from(fields.into_map()),
            said: self.said,
            has_own_id,
        });
    }
}

/// `{name: {value, …}}` as plain values by name; what else a property says of itself is kept beside them.
fn add_user_properties<'r>(fields: &mut Fields<'r>, properties: Map<'r>) {
    let mut values = Fields::with_capacity(properties.len());
    let mut details = Fields::default();
    for (name, property) in properties {
        match property {
            Value::Map(mut property) if property.contains("value") => {
                let value = property.remove("value").unwrap_or(Value::Null);
                if !property.is_empty() {
                    details.insert(name.clone(), property);
                }
                values.insert(name, value);
            }
            other => values.insert(name, other),
        }
    }
    fields.insert(field::USER_PROPERTIES, values.into_map());
    if !details.is_empty() {
        fields.insert("x-ga-user_property_details", details.into_map());
    }
}
