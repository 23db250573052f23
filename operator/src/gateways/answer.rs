//! Reads a gateway's `/status`. What the operator does not know it skips; what is there is bounded.

use std::collections::BTreeMap;

use serde::Deserialize;
use tagfleet_crds::conditions::reasons;

use super::report::{DeliveryState, Refusal};

/// The most of a text that is kept, in characters.
const TEXT: usize = 1_000;
/// The most refusals that are kept of a gateway.
const REFUSALS: usize = 20;

/// What a gateway answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The container that it serves.
    pub container: String,
    /// The generations in force, by object.
    pub generations: BTreeMap<String, i64>,
    /// What it refuses, in order.
    pub refusals: Vec<Refusal>,
    /// Why it answered hits with 503 within the last minute, where its buffer did not take them.
    pub refuses_hits: Option<String>,
    /// The destinations, by name.
    pub destinations: BTreeMap<String, DestinationAnswer>,
    /// What it counted since its start.
    pub totals: Totals,
    /// Seconds since its start.
    pub uptime_seconds: u64,
}

/// A destination in one gateway.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DestinationAnswer {
    /// What delivery does.
    pub state: DeliveryState,
    /// Age in seconds of the oldest event not yet delivered: finite, and not negative.
    pub lag_seconds: f64,
    /// The last failure: when, in unix milliseconds, and what.
    pub last_error: Option<(i64, String)>,
}

/// Counts since a gateway's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Requests.
    pub requests: u64,
    /// Requests that were answered 5xx.
    pub errors: u64,
    /// Events accepted.
    pub events: u64,
}

impl Answer {
    /// Reads the body of `/status`.
    ///
    /// # Errors
    /// It is not JSON, or a field has another type than a gateway writes.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice::<Body>(body).map(Self::from)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    container: String,
    #[serde(default)]
    configuration: Configuration,
    #[serde(default)]
    uptime_seconds: u64,
    #[serde(default)]
    destinations: Vec<DestinationBody>,
    #[serde(default)]
    refusals: Vec<RefusalBody>,
    #[serde(default)]
    buffer: Buffer,
    #[serde(default)]
    totals: Totals,
}

#[derive(Default, Deserialize)]
struct Buffer {
    refusal: Option<BufferRefusal>,
}

#[derive(Deserialize)]
struct BufferRefusal {
    message: String,
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default)]
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    object: String,
    generation: Option<i64>,
}

#[derive(Deserialize)]
struct RefusalBody {
    object: String,
    generation: Option<i64>,
    reason: Option<String>,
    #[serde(default)]
    field: String,
    message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationBody {
    name: String,
    state: String,
    reason: Option<String>,
    #[serde(default)]
    lag_seconds: f64,
    last_error: Option<LastError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LastError {
    at_ms: i64,
    message: String,
}

impl From<Body> for Answer {
    fn from(body: Body) -> Self {
        let objects = body.configuration.objects.into_iter();
        let refusals = body.refusals.into_iter().filter(|refusal| !refusal.passes());
        let mut refusals: Vec<_> = refusals.map(Refusal::from).collect();
        refusals.sort();
        refusals.truncate(REFUSALS);
        Self {
            container: body.container,
            generations: objects
                .filter_map(|object| Some((object.object, object.generation?)))
                .collect(),
            refusals,
            refuses_hits: body.buffer.refusal.map(|refusal| bounded(&refusal.message)),
            destinations: body
                .destinations
                .into_iter()
                .map(|destination| (destination.name.clone(), destination.into()))
                .collect(),
            totals: body.totals,
            uptime_seconds: body.uptime_seconds,
        }
    }
}

impl RefusalBody {
    /// Whether nothing is wrong with the object: what it refers to is on its way into the pod. Then the gateway is only
    /// behind.
    fn passes(&self) -> bool {
        self.reason.as_deref() == Some(reasons::PROPAGATING)
    }
}

impl From<RefusalBody> for Refusal {
    fn from(refusal: RefusalBody) -> Self {
        Self {
            object: bounded(&refusal.object),
            generation: refusal.generation,
            field: bounded(&refusal.field),
            message: bounded(&refusal.message),
        }
    }
}

impl From<DestinationBody> for DestinationAnswer {
    fn from(destination: DestinationBody) -> Self {
        Self {
            state: state(&destination.state, destination.reason.as_deref()),
            lag_seconds: destination.lag_seconds.max(0.0),
            last_error: destination
                .last_error
                .map(|error| (error.at_ms, bounded(&error.message))),
        }
    }
}

fn state(state: &str, reason: Option<&str>) -> DeliveryState {
    match (state, reason) {
        ("Delivering", _) => DeliveryState::Delivering,
        ("Paused", _) => DeliveryState::Paused,
        ("Retrying", _) => DeliveryState::Retrying,
        ("Stopped", _) => DeliveryState::Stopped,
        ("WaitingForCredentials", Some("Propagating")) => DeliveryState::Propagating,
        ("WaitingForCredentials", _) => DeliveryState::CredentialsRejected,
        _ => DeliveryState::Unknown,
    }
}

/// The beginning of a text, on one line.
fn bounded(text: &str) -> String {
    let line = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(TEXT).map(line).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use serde_json::json;

    use super::*;

    fn read(body: &serde_json::Value) -> Answer {
        Answer::read(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_gateways_status_is_read_and_unknown_fields_are_skipped() {
        let answer = read(&json!({
            "container": "shop",
            "configuration": {"version": "abc", "objects": [
                {"object": "TaggingContainer/shop", "generation": 3, "since": "later"},
                {"object": "Destination/meta", "generation": 7},
            ]},
            "uptimeSeconds": 61,
            "ready": true,
            "destinations": [
                {"name": "meta", "state": "Retrying", "nextAttemptMs": 4000, "lagSeconds": 1.5,
                 "lastError": {"atMs": 2000, "message": "503:\noverloaded"}},
                {"name": "ads", "state": "WaitingForCredentials", "reason": "Propagating"},
            ],
            "refusals": [
                {"object": "Destination/meta", "generation": 8, "field": "spec.trigger.when", "message": "not CEL"},
                {"object": "TaggingContainer/shop", "generation": 4, "field": "spec.lookupTables",
                 "reason": "Propagating", "message": "has not arrived yet"},
            ],
            "buffer": {"bytes": 9, "events": 1, "maxBytes": 9, "refusal": {"atMs": 4_000, "message": "it is full"}},
            "totals": {"requests": 10, "errors": 1, "events": 9},
        }));
        assert_eq!(answer.container, "shop");
        assert_eq!(answer.generations["TaggingContainer/shop"], 3);
        assert_eq!(answer.uptime_seconds, 61);
        let meta = &answer.destinations["meta"];
        assert_eq!(meta.state, DeliveryState::Retrying);
        assert_eq!(meta.last_error, Some((2000, "503: overloaded".into())));
        assert_eq!(answer.destinations["ads"].state, DeliveryState::Propagating);
        assert_eq!(answer.refusals.len(), 1);
        assert_eq!(answer.refusals[0].generation, Some(8));
        assert_eq!(answer.refuses_hits.as_deref(), Some("it is full"));
        assert_eq!(
            answer.totals,
            Totals {
                requests: 10,
                errors: 1,
                events: 9
            }
        );
    }

    #[test]
    fn states_that_only_a_newer_gateway_knows_are_unknown() {
        assert_eq!(state("Levitating", None), DeliveryState::Unknown);
        assert_eq!(state("WaitingForCredentials", None), DeliveryState::CredentialsRejected);
    }

    #[test]
    fn what_a_gateway_says_is_bounded() {
        let refusals: Vec<_> = (0..100)
            .map(|number| json!({"object": "Destination/x", "message": format!("{number:05}{}", "é".repeat(9_000))}))
            .collect();
        let answer = read(&json!({"container": "shop", "refusals": refusals}));
        assert_eq!(answer.refusals.len(), 20);
        assert_eq!(answer.refusals[0].message.chars().count(), 1_000);
    }

    #[test]
    fn what_is_not_a_gateways_answer_is_an_error() {
        for body in ["", "<html>", "[]", "{}", r#"{"container": 7}"#] {
            assert!(Answer::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
