//! `consent.hold`: events of visitors who have not decided on consent yet wait in memory for those destinations that need
//! the decision. Nothing of it is written anywhere; what waits when the process dies is lost.
//!
//! ```text
//! intake ─► note ─► Store: waiting ── decided, too old, too many ──► ready ─► release (one task) ─► log
//! ```
//!
//! An event goes to the log at once with its verdicts for all other destinations, and once more, with the verdicts for
//! those that it was held for, when it is released. So each destination counts it exactly once.

mod release;
mod store;

use std::{
    error::Error,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use prometheus::IntGauge;
use tokio::sync::Notify;

pub use self::release::Releasing;
use self::store::{Arrival, Store};
use crate::{
    erase::{Erasures, Forget},
    event::field,
    log::codec,
    pipeline::{Judged, consent::admission::admit},
    plan::Plan,
};

/// The events that wait in this gateway. Its lock is taken only for containers that hold events.
pub struct Hold {
    store: Mutex<Store>,
    /// Events that are released and not in the log yet.
    ready: AtomicUsize,
    /// There is something to release.
    news: Notify,
    /// `tagfleet_held_events`.
    gauge: IntGauge,
}

impl Hold {
    /// Nothing waits yet. The gauge shows how many do.
    #[must_use]
    pub fn new(gauge: IntGauge) -> Self {
        Self {
            store: Mutex::default(),
            ready: AtomicUsize::new(0),
            news: Notify::new(),
            gauge,
        }
    }

    /// Before an event goes to the log: while so much is released that the log does not keep up, nothing more is held, and
    /// the event goes on with the consent that it has.
    pub fn make_room(&self, plan: &Plan, judged: &mut Judged<'_>) {
        let Some(policy) = plan.policies.consent.hold else {
            return;
        };
        if judged.held.is_empty() || self.ready.load(Ordering::Relaxed) < policy.max_events {
            return;
        }
        let held = std::mem::take(&mut judged.held);
        let given = plan.destinations.iter().filter(|known| held.contains(&known.id));
        judged
            .verdicts
            .extend(given.map(|known| (known.id, admit(known, &judged.record.consent).verdict())));
    }

    /// After the event went to the log: what its visitor has decided by now releases what waits of theirs, and the event
    /// itself begins to wait where it has to.
    pub fn note(&self, plan: &Plan, judged: &Judged<'_>, now: Instant) {
        let Some(policy) = plan.policies.consent.hold else {
            return;
        };
        let Some(client_id) = judged.record.event.text(field::CLIENT_ID) else {
            return;
        };
        let arrival = (!judged.held.is_empty()).then(|| {
            let mut payload = Vec::new();
            codec::encode(&judged.record, &mut payload);
            Arrival {
                consent: judged.record.consent,
                destinations: judged.held.clone(),
                payload: payload.into(),
                since: now,
            }
        });
        let mut store = self.lock();
        store.decide(plan, client_id, &judged.record.consent);
        if let Some(arrival) = arrival {
            store.hold(plan, client_id, arrival, policy);
        }
        self.show(&store);
    }

    /// Publishes what has changed, and wakes the task that releases.
    fn show(&self, store: &Store) {
        self.gauge.set(i64::try_from(store.waiting()).unwrap_or(i64::MAX));
        self.ready.store(store.ready(), Ordering::Relaxed);
        if store.ready() > 0 {
            self.news.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forget for Hold {
    fn name(&self) -> &'static str {
        "held for consent"
    }

    fn forget(&self, erasures: &Erasures) -> Result<u64, Box<dyn Error + Send + Sync>> {
        let mut store = self.lock();
        let gone = store.forget(|payload| erasures.covers_encoded(payload));
        self.show(&store);
        Ok(gone)
    }
}

#[cfg(test)]
mod tests;
