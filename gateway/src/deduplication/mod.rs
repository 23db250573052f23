//! Deduplication: an event whose `event_name`, `event_id` and `client_id` were all seen before is dropped.
//!
//! What counts as seen, in the order of importance:
//! - An event that was not acknowledged never does. It is pending until the log has it; a repeat that comes meanwhile waits
//!   for the log's answer and shares it.
//! - One that was acknowledged does, until the window or `max_entries` ends, whichever is first: over a restart too, and
//!   over a killed process. After a crash of the machine the last second may be missing.
//!
//! Only events with an id of their sender take part ([`crate::ingest::ClaimedEvent::has_own_id`]): the ids that the gateway
//! gives are new each time.

pub mod index;
pub mod journal;
pub mod key;
mod outcome;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use self::{index::Index, journal::Journal};
pub use self::{
    index::{Limits, Standing},
    key::{Key, KeyMaker},
    outcome::Outcome,
};

/// How often the journal is synced.
const TENDED_EVERY: Duration = Duration::from_secs(1);

/// The events that a gateway has seen.
pub struct Deduplication {
    index: Index,
    journal: Option<Journal>,
    key_maker: KeyMaker,
    /// `deduplication`; none while it is off.
    limits: Mutex<Option<Limits>>,
    /// Whether the last write failed, which is told once.
    failing: AtomicBool,
}

impl Deduplication {
    /// What was seen by a gateway that keeps events in memory: nothing yet.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::new(Index::new(NOTHING), None, KeyMaker::random())
    }

    /// What was seen according to the journal in this folder (`<data-dir>/deduplication`), while deduplication is on. A
    /// journal that cannot be used is told in the log, and the index begins empty: hits are worth more than the certainty
    /// that none comes twice.
    #[must_use]
    pub fn open(folder: &Path, limits: Option<Limits>, now_ms: i64) -> Self {
        let index = Index::new(limits.unwrap_or(NOTHING));
        match Journal::open(folder, |key, time_s| index.confirm(key, time_s)) {
            Ok(journal) => {
                let key_maker = journal.key_maker();
                let this = Self::new(index, Some(journal), key_maker);
                this.set_limits(limits, now_ms);
                this.index.clear_passed(seconds(now_ms));
                this
            }
            Err(error) => {
                tracing::warn!(
                    path = %folder.display(), %error,
                    "deduplication cannot use its folder: what it sees is forgotten with this process"
                );
                Self::in_memory()
            }
        }
    }

    fn new(index: Index, journal: Option<Journal>, key_maker: KeyMaker) -> Self {
        Self {
            index,
            journal,
            key_maker,
            limits: Mutex::default(),
            failing: AtomicBool::new(false),
        }
    }

    /// Brings limits into force, or turns deduplication off: then all that was seen is forgotten, on disk too. Gives what
    /// makes keys, while it is on.
    pub fn set_limits(&self, limits: Option<Limits>, now_ms: i64) -> Option<KeyMaker> {
        let mut current = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        *current = limits;
        self.index.set_limits(limits.unwrap_or(NOTHING));
        match (&self.journal, limits) {
            (Some(journal), Some(_)) => self.tell_failure(journal.begin(seconds(now_ms))),
            (Some(journal), None) => journal.clear(),
            (None, _) => {}
        }
        if limits.is_none() {
            self.index.clear();
        }
        limits.map(|_| self.key_maker)
    }

    /// What a hit that came at this time reserves, nothing yet.
    #[must_use]
    pub fn reservation(self: &Arc<Self>, now_ms: i64) -> Reservation {
        Reservation {
            deduplication: Arc::clone(self),
            time_s: seconds(now_ms),
            keys: Vec::new(),
            outcome: Arc::default(),
        }
    }

    /// Makes what was confirmed safe from a crash of the machine, and lets go of what is past its time. Blocks; to be called
    /// every second.
    pub fn tend(&self, now_ms: i64) {
        // Held to the end: a journal that is turned off meanwhile must not be begun again.
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(limits) = *limits else { return };
        if let Some(journal) = &self.journal {
            let tended = journal.tend(limits, seconds(now_ms));
            if tended.is_ok() {
                self.failing.store(false, Ordering::Relaxed);
            }
            self.tell_failure(tended);
        }
        self.index.clear_passed(seconds(now_ms));
    }

    fn tell_failure(&self, result: io::Result<()>) {
        if let Err(error) = result
            && !self.failing.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %error,
                "deduplication cannot write its journal: what it sees meanwhile is forgotten with this process"
            );
        }
    }
}

/// Nothing is remembered.
const NOTHING: Limits = Limits {
    window_s: 0,
    max_entries: 0,
};

/// Unix seconds; until the year 2106.
fn seconds(ms: i64) -> u32 {
    u32::try_from(ms / 1_000).unwrap_or_default()
}

/// The new events of one hit. Dropped without [`Self::confirm`], they were never seen.
pub struct Reservation {
    deduplication: Arc<Deduplication>,
    time_s: u32,
    keys: Vec<Key>,
    outcome: Arc<Outcome>,
}

impl Reservation {
    /// Asks for one of the hit's events, and reserves it if it is new. A repeat within the hit is pending like any other: its
    /// outcome is the hit's own.
    pub fn ask(&mut self, key: Key) -> Standing {
        let standing = self.deduplication.index.reserve(key, self.time_s, &self.outcome);
        if matches!(standing, Standing::New) {
            self.keys.push(key);
        }
        standing
    }

    /// Whether nothing is reserved.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The log has the hit's events: they are seen from now on. Returns when a killed process would not forget it.
    pub async fn confirm(mut self) {
        if let Some(journal) = &self.deduplication.journal {
            let written = journal.append(&self.keys, self.time_s).await;
            self.deduplication.tell_failure(written);
        }
        for key in std::mem::take(&mut self.keys) {
            self.deduplication.index.confirm(key, self.time_s);
        }
        // Nobody can ask for it any more. Who has asked already has it.
        if Arc::get_mut(&mut self.outcome).is_none() {
            self.outcome.settle(true);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        for key in self.keys.drain(..) {
            self.deduplication.index.release(key);
        }
        self.outcome.settle(false);
    }
}

/// Tends a [`Deduplication`] on a thread of its own.
pub struct Tending {
    stop: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Tending {
    /// Begins to.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(deduplication: Arc<Deduplication>, now_ms: fn() -> i64) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let tend = move || {
            while stopped.recv_timeout(TENDED_EVERY) == Err(RecvTimeoutError::Timeout) {
                deduplication.tend(now_ms());
            }
            deduplication.tend(now_ms());
        };
        let thread = thread::Builder::new().name("deduplication".into()).spawn(tend)?;
        Ok(Self { stop, thread })
    }

    /// Ends it, once more having made everything safe.
    pub fn stop(self) {
        drop(self.stop);
        if self.thread.join().is_err() {
            tracing::error!("the thread that tends deduplication had panicked");
        }
    }
}
