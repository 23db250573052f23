//! What several modules' tests need: a plan in few words.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tagfleet_expressions::{Map, Value};

use crate::{
    destinations::{Destination, Encoding, Limits, Outcome, Response},
    event::Event,
    ingest::{Client, cors::Cors},
    log::DestinationId,
    pipeline::privacy::IpAddressPolicy,
    plan::{DeliverySettings, Plan, PlannedDestination, Trigger},
    record::{Consent, Record},
};

/// A plan of the container `shop` with these clients and destinations, everything else at its default.
pub(crate) fn plan(version: &str, clients: Vec<Client>, destinations: Vec<PlannedDestination>) -> Plan {
    Plan {
        version: version.into(),
        objects: Vec::new(),
        container: "shop".into(),
        clients: clients.into_iter().map(Arc::new).collect(),
        trusted_proxies: Vec::new(),
        cors: Cors::new(["metrics.shop.example"], []),
        request_bytes: 128 * 1024,
        ip_address: IpAddressPolicy::Keep,
        variables: Vec::new(),
        lookup_tables: Arc::default(),
        destinations: destinations.into_iter().map(Arc::new).collect(),
    }
}

/// A destination that wants these event names (none: all).
pub(crate) fn destination(name: &str, id: DestinationId, events: &[&str]) -> PlannedDestination {
    PlannedDestination {
        name: name.into(),
        id,
        trigger: Trigger {
            events: events.iter().map(|event| Box::from(*event)).collect::<BTreeSet<_>>(),
            when: None,
        },
        requires: Vec::new(),
        delivery: DeliverySettings {
            max_events: 10,
            max_delay: Duration::ZERO,
            timeout: Duration::from_secs(1),
            max_concurrency: 1,
            initial_backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(1),
            max_age: Duration::from_secs(60),
        },
        vendor: Arc::new(Nobody),
        tokens: None,
        paused: false,
        awaits_credentials: false,
        fingerprint: name.into(),
    }
}

/// A record of an event with these fields, accepted at their `timestamp_ms`, without any word on consent.
///
/// # Panics
/// When it is no object.
pub(crate) fn record(event: serde_json::Value) -> Record<'static> {
    let Value::Map(fields) = Value::from(event) else {
        unreachable!("an event is an object")
    };
    let event = Event::from(fields);
    Record {
        accepted_ms: event.timestamp_ms().unwrap_or_default(),
        consent: Consent::default(),
        vars: Map::new(),
        event,
    }
}

/// A vendor that is never sent to.
struct Nobody;

impl Destination for Nobody {
    fn limits(&self) -> Limits {
        Limits {
            max_events: 10,
            max_bytes: 1024,
        }
    }

    fn encode(&self, _: &[Record<'_>], _: i64) -> Encoding {
        Encoding::default()
    }

    fn classify(&self, _: &Response) -> Outcome {
        Outcome::Delivered
    }
}
