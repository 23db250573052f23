//! The JSON client: one event, an array of events, or one event a line (NDJSON), already in the event's own vocabulary.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header};
use sha2::Sha256;
use tagfleet_expressions::Value;

use super::{
    Claim, ClaimedEvent, HitRequest, Refusal,
    complete::{Connection, Sender},
    consent_signals,
    fields::Fields,
    json_value::{self, Fault},
    normalize::{self, normalize, normalize_time},
};
use crate::{
    event::{Event, field},
    secret::Secrets,
};

/// The most events of one request.
pub(super) const MAX_EVENTS: usize = 1_000;

/// How far the clock of a signing sender may be off (the same as for receivers of our webhooks).
const MAX_SKEW_SECONDS: i64 = 300;

/// What a JSON client accepts.
#[derive(Clone, Debug)]
pub struct Json {
    /// The path, as `/v1/events`.
    pub path: String,
    /// How a sender proves itself; none: anyone may send, and is believed less.
    pub auth: Option<JsonAuth>,
}

/// How a sender proves itself.
#[derive(Clone, Debug)]
pub enum JsonAuth {
    /// `X-API-Key: <key>` or `Authorization: Bearer <key>`.
    ApiKey(Secrets),
    /// `X-Tagfleet-Signature: t=<unix seconds>,sha256=<hex HMAC-SHA256 of "<t>.<body>">`, as our own webhooks sign.
    Hmac(Secrets),
}

impl Json {
    /// Turns a body into events.
    ///
    /// # Errors
    /// 405 for other methods than POST; 403 without the key or a good signature; 400 when no event is left, with what is
    /// wrong with the first.
    pub fn claim<'r>(&self, request: &HitRequest<'r>) -> Result<Claim<'r>, Refusal> {
        if *request.method != http::Method::POST {
            return Err(Refusal::MethodNotAllowed("send events by POST".into()));
        }
        let trust = self.authenticate(request)?;
        let text = std::str::from_utf8(request.body)
            .map_err(|error| Refusal::BadRequest(format!("the body is not UTF-8: {error}").into()))?;
        let sender = Sender::of(request);
        let mut claim = Claim::default();
        let mut first_fault = None;
        for given in read_events(text)? {
            match given
                .map_err(Invalid::Fault)
                .and_then(|given| claim_event(given, trust, &sender, &mut claim))
            {
                Ok(event) => claim.events.push(event),
                Err(invalid) => {
                    claim.invalid += 1;
                    first_fault.get_or_insert(invalid);
                }
            }
        }
        claim.cookies = sender.cookies;
        match first_fault {
            _ if !claim.events.is_empty() => Ok(claim),
            Some(fault) => Err(Refusal::NoEvent {
                reason: fault.to_string().into(),
                invalid: claim.invalid,
            }),
            None => Err(Refusal::BadRequest("there is no event in the body".into())),
        }
    }

    fn authenticate(&self, request: &HitRequest<'_>) -> Result<normalize::Sender, Refusal> {
        let proved = match &self.auth {
            None => return Ok(normalize::Sender::Anyone),
            Some(JsonAuth::ApiKey(keys)) => api_key(request.headers).is_some_and(|key| keys.matches(key)),
            Some(JsonAuth::Hmac(secrets)) => is_signed(request, secrets),
        };
        if proved {
            Ok(normalize::Sender::Authenticated)
        } else {
            Err(self.unauthenticated())
        }
    }

    fn unauthenticated(&self) -> Refusal {
        Refusal::Forbidden(
            match self.auth {
                Some(JsonAuth::Hmac(_)) => "X-Tagfleet-Signature is missing, wrong or more than 300 s old",
                _ => "the API key (X-API-Key, or Authorization: Bearer) is missing or wrong",
            }
            .into(),
        )
    }
}

/// Why one event of a body is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Invalid {
    #[error("{0}")]
    Fault(Fault),
    #[error("an event must be a JSON object")]
    NoObject,
    #[error("event_name is missing")]
    EventName,
}

/// The events of a body. One that is no JSON is an event's fault in NDJSON, and the whole body's otherwise.
fn read_events(text: &str) -> Result<Vec<Result<Value<'_>, Fault>>, Refusal> {
    let text = text.trim_start_matches('\u{feff}').trim_ascii();
    let bad_request = |fault: Fault| Refusal::BadRequest(fault.to_string().into());
    if text.starts_with('[') {
        return json_value::read_elements(text, MAX_EVENTS).map_err(bad_request);
    }
    let whole = json_value::read(text);
    match whole {
        Err(Fault::Syntax(_)) if text.contains('\n') => {
            let lines = text.split('\n').map(str::trim_ascii).filter(|line| !line.is_empty());
            let events: Vec<_> = lines.take(MAX_EVENTS + 1).map(json_value::read).collect();
            if events.len() > MAX_EVENTS {
                Err(bad_request(Fault::Events(MAX_EVENTS)))
            } else {
                Ok(events)
            }
        }
        whole => Ok(vec![whole]),
    }
}

fn claim_event<'r>(
    given: Value<'r>,
    trust: normalize::Sender,
    sender: &Sender<'r>,
    claim: &mut Claim<'r>,
) -> Result<ClaimedEvent<'r>, Invalid> {
    let Value::Map(given) = given else {
        return Err(Invalid::NoObject);
    };
    let mut fields = Fields::with_capacity(given.len() + 12);
    for (name, value) in given {
        fields.insert(name, value);
    }
    if fields.text(field::EVENT_NAME).is_none() {
        return Err(Invalid::EventName);
    }
    let said = consent_signals::take_from(&mut fields);
    let mut counts = normalize(&mut fields, trust, sender.read_cookies);
    normalize_time(&mut fields, trust, sender.received_ms, &mut counts);
    let has_own_id = sender.complete(&mut fields, Connection::Visitor);
    claim.renamed += counts.renamed;
    claim.untrusted += counts.untrusted;
    Ok(ClaimedEvent {
        event: Event::from(fields.into_map()),
        said,
        has_own_id,
    })
}

fn api_key(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(key) = headers.get("x-api-key") {
        return Some(key.as_bytes());
    }
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| key.trim_ascii())
}

fn is_signed(request: &HitRequest<'_>, secrets: &Secrets) -> bool {
    let Some(header) = request
        .headers
        .get("x-tagfleet-signature")
        .and_then(|header| header.to_str().ok())
    else {
        return false;
    };
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let Some((_, signed_at)) = parts().find(|(name, _)| *name == "t") else {
        return false;
    };
    let in_time = signed_at
        .parse::<i64>()
        .is_ok_and(|seconds| (request.received_ms / 1_000).abs_diff(seconds) <= MAX_SKEW_SECONDS.unsigned_abs());
    in_time
        && parts()
            .filter(|(name, _)| *name == "sha256")
            .take(4)
            .filter_map(|(_, signature)| hex::decode(signature).ok())
            .any(|signature| {
                secrets
                    .iter()
                    .any(|secret| verify(secret.expose().as_bytes(), signed_at, request.body, &signature))
            })
}

fn verify(secret: &[u8], signed_at: &str, body: &[u8], signature: &[u8]) -> bool {
    // An empty secret would make a signature that anyone can make.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return false;
    };
    mac.update(signed_at.as_bytes());
    mac.update(b".");
    mac.update(body);
    !secret.is_empty() && mac.verify_slice(signature).is_ok()
}
