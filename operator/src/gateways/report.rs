//! What the operator knows of a fleet from its gateways.

use std::collections::BTreeMap;

use super::figures::Age;

/// What the gateways of a fleet say, as status shows it. Equal reports give equal status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetReport {
    /// The gateways that answer, by pod.
    pub gateways: BTreeMap<String, GatewayReport>,
    /// Ready pods that did not answer three times in a row, and why.
    pub unreachable: BTreeMap<String, String>,
    /// The destinations that the gateways run, by name.
    pub destinations: BTreeMap<String, DestinationReport>,
    /// Events accepted in a second by all gateways, two digits.
    pub events_per_second: Option<String>,
    /// Share of requests that were answered with an error of the gateway, two digits and `%`.
    pub errors: Option<String>,
}

impl FleetReport {
    /// The gateways that have an object (`Destination/meta`) in force in this generation or a newer one.
    #[must_use]
    pub fn updated(&self, object: &str, generation: i64) -> usize {
        let gateways = self.gateways.values();
        gateways.filter(|gateway| gateway.has(object, generation)).count()
    }
}

/// What one gateway has in force, and what it refuses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayReport {
    /// The generation in force of each object, by kind and name: `Destination/meta`.
    pub generations: BTreeMap<String, i64>,
    /// What it refuses, in order.
    pub refusals: Vec<Refusal>,
    /// Why it answers hits with 503, where its buffer does not take them.
    pub refuses_hits: Option<String>,
}

impl GatewayReport {
    /// Whether it has an object in force in this generation. A gateway that is ahead of the operator has it, too.
    #[must_use]
    pub fn has(&self, object: &str, generation: i64) -> bool {
        self.generations.get(object).is_some_and(|found| *found >= generation)
    }

    /// Whether it has all these objects in force.
    #[must_use]
    pub fn has_all(&self, wanted: &BTreeMap<String, i64>) -> bool {
        wanted.iter().all(|(object, generation)| self.has(object, *generation))
    }
}

/// A mistake that keeps an object, in a gateway, at its last good form, or out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Kind and name: `Destination/meta`.
    pub object: String,
    /// The generation that is refused, where the gateway says it.
    pub generation: Option<i64>,
    /// The field's path: `spec.trigger.when`.
    pub field: String,
    /// What is wrong, and how to put it right.
    pub message: String,
}

/// How a destination fares in the gateways of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationReport {
    /// The worst state of all gateways.
    pub state: DeliveryState,
    /// Age of the oldest event not yet delivered, in the gateway that lags most.
    pub lag: Age,
    /// The newest of the gateways' last failures.
    pub last_error: Option<String>,
}

/// What delivery does for a destination, from best to worst.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeliveryState {
    /// It sends, or has nothing to send.
    #[default]
    Delivering,
    /// `paused` is set.
    Paused,
    /// A state that this operator does not know: the gateway is newer.
    Unknown,
    /// The credentials have not arrived in the pod yet.
    Propagating,
    /// The vendor fails; the next try comes by itself.
    Retrying,
    /// The receiver asks for no more events.
    Stopped,
    /// The vendor refuses the credentials.
    CredentialsRejected,
}
