//! `/status`: what the gateway runs with and how it fares, for the operator and for people.
//!
//! Configuration and delivery note what only they know on the [`Board`], off the hot path; the rest is read from plan
//! and log when somebody asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Instant,
};

use serde::Serialize;
use tagfleet_crds::conditions::reasons;

use crate::{
    log::{AppendError, Ledger, Usage},
    metrics::{Sources, lag},
};

/// How long `/status` tells of a hit that the buffer did not take. A buffer at its limit takes some hits and refuses others, and
/// shall not seem well in between.
const REFUSING_MS: i64 = 60_000;

/// The answer of `/status`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The container's name.
    pub container: String,
    /// The configuration in force.
    pub configuration: Configuration,
    /// Seconds since the gateway started.
    pub uptime_seconds: u64,
    /// As `/readyz` says.
    pub ready: bool,
    /// The clients, in the order in which they may claim a request.
    pub clients: Vec<ClientStatus>,
    /// The destinations.
    pub destinations: Vec<DestinationStatus>,
    /// How full the buffer is, and whether it refuses hits.
    pub buffer: BufferStatus,
    /// The database of places (`enrich.geo.file`, `.url`), where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub geo: Option<GeoStatus>,
    /// What was counted since the start.
    pub totals: Totals,
    /// What of the configuration was refused, and why.
    pub refusals: Vec<Refusal>,
}

/// The configuration in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// Its hash, as in `tagfleet_config_info`.
    pub version: String,
    /// The container and its destinations in the form that is in force.
    pub objects: Vec<ObjectStatus>,
}

/// An object in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Kind and name, `Destination/meta`.
    pub object: String,
    /// The generation in force, where the API server or the manifest tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// What was counted since the gateway started. A client that is taken away takes its counts along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Requests answered on the public listener.
    pub requests: u64,
    /// Those of them answered with a 5xx.
    pub errors: u64,
    /// Events accepted.
    pub events: u64,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientStatus {
    /// Its name.
    pub name: String,
}

/// How full the buffer is, and whether it refuses hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BufferStatus {
    /// Bytes held.
    pub bytes: u64,
    /// Events held.
    pub events: u64,
    /// Bytes it may hold.
    pub max_bytes: u64,
    /// Why hits were answered with 503 within the last minute; absent where it took them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<BufferRefusal>,
}

/// Why the buffer did not take a hit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BufferRefusal {
    /// When it did not take one last, unix milliseconds.
    pub at_ms: i64,
    /// Why, and what can be done. It is the same for as long as the cause is.
    pub message: String,
}

/// The database of places.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GeoStatus {
    /// The file, or scheme and host of the address: the rest of it may be a secret.
    pub source: String,
    /// What the database in force calls itself, `GeoLite2-City`; absent while there is none, and nobody is located.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// When its maker built it, unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub built_ms: Option<i64>,
    /// Why the newest file is not in force, until one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DestinationStatus {
    /// Its name.
    pub name: String,
    /// What delivery does at the moment.
    #[serde(flatten)]
    pub delivery: Delivery,
    /// What a person has to do so that it delivers, where it takes one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_do: Option<&'static str>,
    /// Age of the oldest event not yet delivered.
    pub lag_seconds: f64,
    /// Its ledger.
    pub ledger: LedgerStatus,
    /// Dead letters kept.
    pub dead_letters: u64,
    /// The last failure, kept after it was overcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// When a request last succeeded, unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success_ms: Option<i64>,
}

/// The ledger of a destination: `accepted` is the sum of all others but `imbalance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerStatus {
    /// Events that the container accepted while the destination was in force.
    pub accepted: u64,
    /// Not wanted by its trigger.
    pub filtered: u64,
    /// Without the consent that it requires.
    pub consent_denied: u64,
    /// Taken by the vendor.
    pub delivered: u64,
    /// Moved to the dead letters.
    pub dead_lettered: u64,
    /// Dropped for want of room.
    pub expired: u64,
    /// Erased on request.
    pub erased: u64,
    /// In the log, with no end yet.
    pub in_flight: u64,
    /// 0, or something was lost or counted twice.
    pub imbalance: i64,
}

impl From<Ledger> for LedgerStatus {
    fn from(ledger: Ledger) -> Self {
        Self {
            accepted: ledger.accepted,
            filtered: ledger.filtered,
            consent_denied: ledger.consent_denied,
            delivered: ledger.delivered,
            dead_lettered: ledger.dead_lettered,
            expired: ledger.expired,
            erased: ledger.erased,
            in_flight: ledger.in_flight,
            imbalance: ledger.imbalance(),
        }
    }
}

/// What delivery does for a destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all_fields = "camelCase")]
pub enum Delivery {
    /// It sends, or has nothing to send.
    #[default]
    Delivering,
    /// The vendor fails; the next try comes by itself.
    Retrying {
        /// When, unix milliseconds.
        next_attempt_ms: i64,
    },
    /// It waits for credentials.
    WaitingForCredentials {
        /// Why.
        reason: CredentialsReason,
    },
    /// The receiver asks for no more events: it waits for another configuration.
    Stopped,
    /// `paused` is set.
    Paused,
}

impl Delivery {
    /// Every [`Delivery::reason`] that there is.
    pub const REASONS: [&str; 6] = [
        reasons::DELIVERING,
        reasons::VENDOR_FAILING,
        reasons::PROPAGATING,
        reasons::CREDENTIALS_REJECTED,
        reasons::STOPPED,
        reasons::PAUSED,
    ];

    /// The reason that the Destination's condition `Delivering` has for it.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Delivering => reasons::DELIVERING,
            Self::Retrying { .. } => reasons::VENDOR_FAILING,
            Self::WaitingForCredentials {
                reason: CredentialsReason::Propagating,
            } => reasons::PROPAGATING,
            Self::WaitingForCredentials {
                reason: CredentialsReason::CredentialsRejected,
            } => reasons::CREDENTIALS_REJECTED,
            Self::Stopped => reasons::STOPPED,
            Self::Paused => reasons::PAUSED,
        }
    }

    /// What a person has to do so that it goes on; none where it goes on by itself, or was stopped on purpose.
    #[must_use]
    pub const fn to_do(&self) -> Option<&'static str> {
        match self {
            Self::WaitingForCredentials {
                reason: CredentialsReason::CredentialsRejected,
            } => Some(
                "put valid credentials into the Secret that the Destination refers to: they are in force without a \
                 restart, and the events wait",
            ),
            Self::Stopped => Some("change or delete the Destination: its receiver asks for no more events"),
            Self::Delivering
            | Self::Retrying { .. }
            | Self::Paused
            | Self::WaitingForCredentials {
                reason: CredentialsReason::Propagating,
            } => None,
        }
    }
}

/// Why a destination waits for credentials. The words are reasons of the condition `CredentialsResolved`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CredentialsReason {
    /// They are not mounted in this pod yet.
    Propagating,
    /// The vendor refuses them.
    CredentialsRejected,
}

/// The last failure of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// When, unix milliseconds.
    pub at_ms: i64,
    /// The vendor's or the system's own words, without secrets.
    pub message: String,
}

/// A mistake in the configuration that keeps an object at its last good form, or out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Kind and name, `Destination/meta`.
    pub object: String,
    /// The generation that is refused, where the API server or the manifest tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// `Propagating` when nothing is wrong with the object, and what it refers to is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The field's path, `spec.trigger.when`.
    pub field: String,
    /// What is wrong, and how to put it right.
    pub message: String,
    /// File and line, where the configuration is files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

/// Where configuration and delivery note what `/status` shows.
#[derive(Debug)]
pub struct Board {
    started: Instant,
    refusals: RwLock<Vec<Refusal>>,
    destinations: RwLock<BTreeMap<String, Arc<DestinationBoard>>>,
    geo: RwLock<Option<GeoStatus>>,
    hit_not_taken: Mutex<Option<(i64, AppendError)>>,
}

impl Default for Board {
    fn default() -> Self {
        Self::new()
    }
}

impl Board {
    /// An empty board; the uptime counts from here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            refusals: RwLock::default(),
            destinations: RwLock::default(),
            geo: RwLock::default(),
            hit_not_taken: Mutex::default(),
        }
    }

    /// A hit was answered with 503, as the buffer did not take it.
    pub fn hit_not_taken(&self, at_ms: i64, error: &AppendError) {
        *self.last_not_taken() = Some((at_ms, error.clone()));
    }

    fn last_not_taken(&self) -> MutexGuard<'_, Option<(i64, AppendError)>> {
        self.hit_not_taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn buffer_refusal(&self, now_ms: i64) -> Option<BufferRefusal> {
        let (at_ms, error) = self.last_not_taken().clone()?;
        if now_ms.saturating_sub(at_ms) >= REFUSING_MS {
            return None;
        }
        let message = match error {
            AppendError::Full { max_bytes, .. } => format!(
                "the buffer is full ({max_bytes} bytes). Its destinations must catch up, or spec.buffer needs a larger \
                 maxBytes"
            ),
            AppendError::Device(error) => format!("the buffer cannot be written: {error}"),
            AppendError::Busy => {
                "more hits come than the buffer can write. More gateways (spec.replicas.max) or a faster volume are \
                 needed"
                    .to_owned()
            }
            // Its pod is on its way out, and others serve.
            AppendError::Closed => return None,
        };
        Some(BufferRefusal { at_ms, message })
    }

    /// What there is to tell of the database of places; none without one.
    pub fn set_geo(&self, status: Option<GeoStatus>) {
        *self.geo.write().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// What was told of the database of places last.
    #[must_use]
    pub fn geo(&self) -> Option<GeoStatus> {
        self.geo.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the refusals by those of the configuration that was read last.
    pub fn set_refusals(&self, mut refusals: Vec<Refusal>) {
        refusals.sort();
        *self.refusals.write().unwrap_or_else(PoisonError::into_inner) = refusals;
    }

    /// The refusals in order.
    #[must_use]
    pub fn refusals(&self) -> Vec<Refusal> {
        self.refusals.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The notes on one destination, begun now if there are none.
    #[must_use]
    pub fn destination(&self, name: &str) -> Arc<DestinationBoard> {
        let mut destinations = self.destinations.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(destinations.entry(name.to_owned()).or_default())
    }

    /// Drops the notes on destinations that are no longer configured.
    pub fn retain_destinations(&self, keep: impl Fn(&str) -> bool) {
        let mut destinations = self.destinations.write().unwrap_or_else(PoisonError::into_inner);
        destinations.retain(|name, _| keep(name));
    }

    /// What delivery does for each destination, by name.
    #[must_use]
    pub fn deliveries(&self) -> BTreeMap<String, Delivery> {
        let destinations = self.destinations.read().unwrap_or_else(PoisonError::into_inner);
        let states = destinations
            .iter()
            .map(|(name, notes)| (name.clone(), notes.read().delivery));
        states.collect()
    }

    /// What there is to tell of a gateway that has nothing to serve yet: why.
    #[must_use]
    pub fn waiting(&self, container: &str) -> Status {
        Status {
            container: container.to_owned(),
            configuration: Configuration::default(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ready: false,
            clients: Vec::new(),
            destinations: Vec::new(),
            buffer: BufferStatus::default(),
            geo: None,
            totals: Totals::default(),
            refusals: self.refusals(),
        }
    }

    /// Everything together.
    #[must_use]
    pub fn status(&self, sources: &Sources<'_>, totals: Totals, ready: bool) -> Status {
        let notes = self.destinations.read().unwrap_or_else(PoisonError::into_inner);
        // A name that comes back keeps its ledger; one that is gone is not shown, its backlog waits in the log.
        let names: BTreeSet<&str> = sources.plan.destinations.iter().map(|planned| &*planned.name).collect();
        let destinations = names.into_iter().map(|name| {
            let ledger = sources.ledgers.get(name).copied().unwrap_or_default();
            let notes = notes.get(name).map(|notes| notes.read()).unwrap_or_default();
            DestinationStatus {
                name: name.to_owned(),
                to_do: notes.delivery.to_do(),
                delivery: notes.delivery,
                lag_seconds: lag(&ledger, sources.now_ms).as_secs_f64(),
                ledger: ledger.into(),
                dead_letters: sources.dead_letters.get(name).copied().unwrap_or_default(),
                last_error: notes.last_error,
                last_success_ms: notes.last_success_ms,
            }
        });
        let clients = sources.plan.clients.iter().map(|client| ClientStatus {
            name: client.name.clone(),
        });
        let objects = sources.plan.objects.iter().map(|in_force| ObjectStatus {
            object: in_force.object.clone(),
            generation: in_force.generation,
        });
        let Usage {
            bytes,
            events,
            max_bytes,
        } = sources.usage;
        Status {
            container: sources.plan.container.to_string(),
            configuration: Configuration {
                version: sources.plan.version.clone(),
                objects: objects.collect(),
            },
            uptime_seconds: self.started.elapsed().as_secs(),
            ready,
            clients: clients.collect(),
            destinations: destinations.collect(),
            buffer: BufferStatus {
                bytes,
                events,
                max_bytes,
                refusal: self.buffer_refusal(sources.now_ms),
            },
            geo: self.geo(),
            totals,
            refusals: self.refusals(),
        }
    }
}

/// The notes on one destination.
#[derive(Debug, Default)]
pub struct DestinationBoard {
    notes: Mutex<Notes>,
}

#[derive(Clone, Debug, Default)]
struct Notes {
    delivery: Delivery,
    last_error: Option<LastError>,
    last_success_ms: Option<i64>,
}

impl DestinationBoard {
    fn read(&self) -> Notes {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn write(&self, change: impl FnOnce(&mut Notes)) {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A request failed; `message` must not hold a secret.
    pub fn report_error(&self, at_ms: i64, message: impl Into<String>) {
        let message = message.into();
        self.write(|notes| notes.last_error = Some(LastError { at_ms, message }));
    }

    /// A request succeeded.
    pub fn report_success(&self, at_ms: i64) {
        self.write(|notes| {
            notes.last_success_ms = Some(at_ms);
            notes.delivery = Delivery::Delivering;
        });
    }

    /// What delivery does from now on.
    pub fn set(&self, delivery: Delivery) {
        self.write(|notes| notes.delivery = delivery);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;
    use crate::{log::DestinationId, plan::ObjectInForce, testing};

    #[test]
    fn status_is_plan_log_and_board_in_one_document() {
        let mut plan = testing::plan(
            "v1",
            vec![],
            vec![
                testing::destination("stock", DestinationId(1), &[]),
                testing::destination("orders", DestinationId(0), &[]),
            ],
        );
        let in_force = |object: &str, generation| ObjectInForce {
            object: object.into(),
            generation,
        };
        plan.objects = vec![
            in_force("TaggingContainer/shop", Some(2)),
            in_force("Destination/orders", None),
        ];
        let board = Board::new();
        board.destination("orders").report_success(1_000);
        board
            .destination("orders")
            .report_error(2_000, "503 from orders.shop.example: overloaded");
        board
            .destination("orders")
            .set(Delivery::Retrying { next_attempt_ms: 4_000 });
        board.set_refusals(vec![Refusal {
            object: "Destination/meta".into(),
            generation: Some(3),
            reason: None,
            field: "spec.trigger.when".into(),
            message: "`event.value >` ends too early".into(),
            location: Some("shop.yaml:31".into()),
        }]);
        let sources = Sources {
            ledgers: BTreeMap::from([(
                "orders".to_owned(),
                Ledger {
                    accepted: 3,
                    delivered: 1,
                    in_flight: 2,
                    oldest_in_flight_ms: Some(1_500),
                    ..Ledger::default()
                },
            )]),
            usage: Usage {
                bytes: 700,
                events: 2,
                max_bytes: 1_000,
            },
            ..testing::sources(&plan, 3_000)
        };
        let totals = Totals {
            requests: 5,
            errors: 1,
            events: 4,
        };
        let status = serde_json::to_value(board.status(&sources, totals, true)).unwrap();
        assert_eq!(
            status,
            json!({
                "container": "shop",
                "configuration": {"version": "v1", "objects": [
                    {"object": "TaggingContainer/shop", "generation": 2}, {"object": "Destination/orders"}
                ]},
                "uptimeSeconds": 0,
                "ready": true,
                "clients": [],
                "destinations": [
                    {
                        "name": "orders", "state": "Retrying", "nextAttemptMs": 4_000, "lagSeconds": 1.5,
                        "ledger": {
                            "accepted": 3, "filtered": 0, "consentDenied": 0, "delivered": 1, "deadLettered": 0,
                            "expired": 0, "erased": 0, "inFlight": 2, "imbalance": 0
                        },
                        "deadLetters": 0,
                        "lastError": {"atMs": 2_000, "message": "503 from orders.shop.example: overloaded"},
                        "lastSuccessMs": 1_000
                    },
                    {
                        "name": "stock", "state": "Delivering", "lagSeconds": 0.0,
                        "ledger": {
                            "accepted": 0, "filtered": 0, "consentDenied": 0, "delivered": 0, "deadLettered": 0,
                            "expired": 0, "erased": 0, "inFlight": 0, "imbalance": 0
                        },
                        "deadLetters": 0
                    }
                ],
                "buffer": {"bytes": 700, "events": 2, "maxBytes": 1_000},
                "totals": {"requests": 5, "errors": 1, "events": 4},
                "refusals": [{
                    "object": "Destination/meta", "generation": 3, "field": "spec.trigger.when",
                    "message": "`event.value >` ends too early", "location": "shop.yaml:31"
                }]
            })
        );
    }

    #[test]
    fn a_success_ends_retrying_and_keeps_the_last_error_to_read() {
        let board = Board::new();
        let orders = board.destination("orders");
        orders.report_error(1, "timed out");
        orders.set(Delivery::WaitingForCredentials {
            reason: CredentialsReason::CredentialsRejected,
        });
        assert_eq!(
            serde_json::to_value(orders.read().delivery).unwrap(),
            json!({"state": "WaitingForCredentials", "reason": "CredentialsRejected"})
        );
        assert!(
            orders
                .read()
                .delivery
                .to_do()
                .is_some_and(|text| text.contains("Secret"))
        );
        orders.report_success(2);
        let notes = board.destination("orders").read();
        assert_eq!(notes.delivery, Delivery::Delivering);
        assert_eq!(notes.last_error.unwrap().message, "timed out");
    }

    #[test]
    fn a_hit_that_the_buffer_did_not_take_is_told_for_a_minute() {
        let plan = testing::plan("v1", vec![], vec![]);
        let board = Board::new();
        let full = |bytes| AppendError::Full {
            bytes,
            max_bytes: 1_000,
        };
        board.hit_not_taken(10_000, &full(990));
        board.hit_not_taken(20_000, &full(999));
        let at = |now_ms| {
            let status = board.status(&testing::sources(&plan, now_ms), Totals::default(), true);
            let status = serde_json::to_value(status).unwrap();
            status.pointer("/buffer/refusal").cloned()
        };
        let expected = json!({
            "atMs": 20_000,
            "message": "the buffer is full (1000 bytes). Its destinations must catch up, or spec.buffer needs a larger maxBytes",
        });
        assert_eq!(at(20_000), Some(expected.clone()));
        assert_eq!(at(79_999), Some(expected));
        assert_eq!(at(80_000), None);
        board.hit_not_taken(90_000, &AppendError::Closed);
        assert_eq!(at(90_000), None);
    }
}
