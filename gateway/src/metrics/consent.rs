//! `tagfleet_consent_decisions_total`: who decided on consent, and how.

use std::sync::OnceLock;

use prometheus::{IntCounter, IntCounterVec};
use tagfleet_process::metrics::Registrar;

use crate::{
    pipeline::consent::{Resolved, Source},
    record::{ConsentSignal, SIGNALS},
};

const STATES: [ConsentSignal; 3] = [ConsentSignal::Granted, ConsentSignal::Denied, ConsentSignal::Unset];

/// The counters by source, signal and state. A handle is made when it is needed first: most combinations never come.
pub(super) struct Decisions {
    family: IntCounterVec,
    handles: Vec<OnceLock<IntCounter>>,
}

impl Decisions {
    pub(super) fn new(registrar: &Registrar<'_>) -> prometheus::Result<Self> {
        let family = registrar.counters(
            "tagfleet_consent_decisions_total",
            "Consent of accepted events, by what decided on each signal, and the state that it has.",
            &["source", "signal", "state"],
        )?;
        let combinations = Source::ALL.len() * SIGNALS.len() * STATES.len();
        Ok(Self {
            family,
            handles: (0..combinations).map(|_| OnceLock::new()).collect(),
        })
    }

    /// Counts the four signals of one event.
    pub(super) fn count(&self, resolved: &Resolved) {
        let decided = SIGNALS.iter().zip(resolved.sources).zip(resolved.consent.states());
        for (place, ((signal, source), state)) in decided.enumerate() {
            let index = (source as usize * SIGNALS.len() + place) * STATES.len() + state as usize;
            if let Some(handle) = self.handles.get(index) {
                handle
                    .get_or_init(|| {
                        let labels = [source.as_str(), signal.as_str(), state.as_str()];
                        self.family.with_label_values(&labels)
                    })
                    .inc();
            }
        }
    }
}
