//! The plan: an applied configuration, compiled. Immutable; replaced as a whole by one atomic store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use tagfleet_crds::tagging_container::ConsentSignal;
use tagfleet_expressions::Expression;

use crate::{
    deduplication::KeyMaker,
    destinations::Destination,
    log::DestinationId,
    pipeline::{lookup::LookupTables, policies::Policies, sampling::Sample, transform::View},
};

/// Everything that ingest, pipeline and delivery read of the configuration.
pub struct Plan {
    /// The hash of the applied configuration (`tagfleet_config_info`).
    pub version: String,
    /// The container and its destinations.
    pub objects: Vec<ObjectInForce>,
    /// The container's name (label `tagging_container`).
    pub container: Arc<str>,
    /// The clients, in the order in which they may claim a request.
    pub clients: Vec<Arc<crate::ingest::Client>>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may read answers from another origin.
    pub cors: crate::ingest::cors::Cors,
    /// `limits.requestBytes`.
    pub request_bytes: usize,
    /// What is done with each event before it meets destinations.
    pub policies: Arc<Policies>,
    /// What makes the keys by which repeats are known; none while deduplication is off.
    pub duplicate_keys: Option<KeyMaker>,
    /// The variables, each before those that read it.
    pub variables: Vec<Variable>,
    /// The lookup tables by name.
    pub lookup_tables: Arc<LookupTables>,
    /// The destinations.
    pub destinations: Vec<Arc<PlannedDestination>>,
    /// The views of destinations that transformations name and that are not there, whose backlog may be.
    pub absent_views: BTreeMap<String, View>,
}

/// A named expression of the container.
pub struct Variable {
    /// As in `vars.<name>`.
    pub name: Arc<str>,
    /// What it computes.
    pub expression: Expression,
    /// Whether a destination's own expressions read it, so that the log must keep its value.
    pub stored: bool,
    /// Whether it reads of the request what the container's transformations protect: the log keeps null for it.
    pub withheld: bool,
}

/// A destination, ready to judge and to send.
pub struct PlannedDestination {
    /// Its name (label `destination`).
    pub name: Arc<str>,
    /// Its number in the log.
    pub id: DestinationId,
    /// When it fires.
    pub trigger: Trigger,
    /// The consent that an event needs to be sent: each of these granted.
    pub requires: Vec<ConsentSignal>,
    /// `consent.onDenied: Anonymize`: an event without that consent is sent without identifiers.
    pub anonymize: bool,
    /// `samplePercent`; none: everybody.
    pub sample: Option<Sample>,
    /// What it sees of an event.
    pub view: View,
    /// How it is sent to.
    pub delivery: DeliverySettings,
    /// The vendor.
    pub vendor: Arc<dyn Destination>,
    /// Where access tokens come from, if the vendor needs one.
    pub tokens: Option<Arc<dyn crate::delivery::tokens::TokenSource>>,
    /// `paused`: nothing is sent, the backlog waits at its cursor.
    pub paused: bool,
    /// A credential is not there yet: nothing is sent, the backlog waits at its cursor.
    pub awaits_credentials: bool,
    /// Changes when anything above changed: delivery then takes up the new form.
    pub fingerprint: String,
}

impl PlannedDestination {
    /// Whether anything is sent to it.
    #[must_use]
    pub fn sends(&self) -> bool {
        !self.paused && !self.awaits_credentials
    }
}

/// An object in the form that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInForce {
    /// Kind and name, `Destination/meta`.
    pub object: String,
    /// Its generation, where its manifest tells one.
    pub generation: Option<i64>,
}

/// When a destination fires. GTM's trigger.
#[derive(Default)]
pub struct Trigger {
    /// The event names it wants; empty: any.
    pub events: BTreeSet<Box<str>>,
    /// The condition beside.
    pub when: Option<Expression>,
}

/// `delivery` of a destination, with the defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliverySettings {
    /// Events in one batch.
    pub max_events: usize,
    /// How long the first event of a batch may wait for others.
    pub max_delay: Duration,
    /// How long one request may take.
    pub timeout: Duration,
    /// Requests under way at once.
    pub max_concurrency: usize,
    /// The wait after the first failure.
    pub initial_backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
    /// An event older than this becomes a dead letter.
    pub max_age: Duration,
}
