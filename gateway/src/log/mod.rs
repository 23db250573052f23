//! The log between ingest and delivery: one write per event, one cursor per destination.
//!
//! An appender takes the events of a hit with the verdict on each destination; the answer to the visitor waits for the
//! commit. A reader gives one destination the events that are meant for it, in order, and remembers how far it got.
//! Everything that the ledger needs is in the log and in the cursors, so that it closes across restarts too.

pub mod codec;
pub mod disk;
pub mod memory;

mod cursor;
mod hit;
mod tally;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::record::Record;

/// A destination's number in this log; a name keeps its number for as long as the log remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationId(pub u16);

/// An event's place in the log: 0 is the first event ever stored. Positions are dense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position(pub u64);

/// What was decided for one destination when an event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It shall be delivered there.
    Meant,
    /// The trigger (or sampling) does not want it.
    Filtered,
    /// The consent it requires is not granted.
    ConsentDenied,
}

/// One accepted event on its way into the log. With no verdict `Meant` it is counted and not stored.
#[derive(Debug)]
pub struct Accepted<'e, 'a> {
    /// The event and what was decided beside it.
    pub record: &'e Record<'a>,
    /// The verdict for every destination of the plan that judged it.
    pub verdicts: &'e [(DestinationId, Verdict)],
}

/// Resolves when the hit's events are as safe as this log makes them.
pub type Commit = Pin<Box<dyn Future<Output = Result<(), AppendError>> + Send>>;

/// Why a hit was not taken. Each is answered with 503 and Retry-After.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// `buffer.whenFull: Refuse` and the buffer is full.
    #[error(
        "the buffer is full ({bytes} of {max_bytes} bytes); destinations must catch up, or buffer.*.maxBytes be raised"
    )]
    Full {
        /// What the log holds.
        bytes: u64,
        /// What it may hold.
        max_bytes: u64,
    },
    /// The device refused the write; the log tries again by itself with the next hit.
    #[error("the log cannot be written: {0}")]
    Device(String),
    /// More hits wait for the log than it may keep in memory.
    #[error("too many hits wait for the log")]
    Busy,
    /// The gateway is stopping.
    #[error("the log is closed")]
    Closed,
}

/// The writing end that one worker thread owns; nothing is shared with other workers but the committer.
pub trait Appender: Send {
    /// Stages the events of one hit, all or none, and returns their common commit.
    ///
    /// # Errors
    /// At once when the log is full, closed or too far behind; from the commit when the device refuses.
    fn append(&mut self, events: &[Accepted<'_, '_>]) -> Result<Commit, AppendError>;
}

/// A stored event as a reader gives it: still encoded, decode with [`crate::log::codec::decode`].
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place.
    pub position: Position,
    /// The encoded [`Record`].
    pub payload: Bytes,
}

/// What a reader found.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    /// The events meant for the reader's destination.
    pub events: Vec<Stored>,
    /// The first position not looked at yet.
    pub next: Position,
}

/// How an event of a destination ended. The names are those of `tagfleet_deliveries_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The destination took it.
    Delivered,
    /// It is in the dead letters.
    DeadLettered,
    /// It was dropped for want of room.
    Expired,
    /// It was erased: on request, or because the visitor has not agreed to what its destination requires by now.
    Erased,
}

/// The reading end of one destination. It has one owner; settling may come out of order.
pub trait Reader: Send {
    /// Reads on from where the last read ended: up to `max_events` events meant for this destination and about
    /// `max_bytes` of payload; an empty chunk means that the head is reached. After a restart it begins at the first
    /// event not settled, and leaves out those behind it that were.
    ///
    /// # Errors
    /// When the device cannot be read.
    fn read(&mut self, max_events: usize, max_bytes: usize) -> Result<Chunk, LogError>;

    /// Notes how events ended, each exactly once, and saves the cursor (it survives a crash of the process).
    ///
    /// # Errors
    /// When the cursor cannot be saved; the endings are kept in memory and saved with the next call.
    fn settle(&mut self, endings: &[(Position, Ending)]) -> Result<(), LogError>;
}

/// Where one destination stands. `accepted == filtered + consent_denied + delivered + dead_lettered + expired + erased
/// + in_flight` unless something was lost; `in_flight` is counted in the log, never derived from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Events that the container accepted while this destination was in force.
    pub accepted: u64,
    /// By verdict.
    pub filtered: u64,
    /// By verdict.
    pub consent_denied: u64,
    /// By ending.
    pub delivered: u64,
    /// By ending.
    pub dead_lettered: u64,
    /// By ending.
    pub expired: u64,
    /// By ending.
    pub erased: u64,
    /// Events meant for it that are stored behind its cursor and not settled.
    pub in_flight: u64,
    /// When the oldest of those was accepted, unix milliseconds.
    pub oldest_in_flight_ms: Option<i64>,
}

impl Ledger {
    /// `tagfleet_ledger_imbalance_events`: 0 while nothing is lost or counted twice.
    #[must_use]
    pub fn imbalance(&self) -> i64 {
        let ended =
            self.filtered + self.consent_denied + self.delivered + self.dead_lettered + self.expired + self.erased;
        i64::try_from(self.accepted).unwrap_or(i64::MAX) - i64::try_from(ended + self.in_flight).unwrap_or(i64::MAX)
    }
}

/// `buffer.whenFull`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Hits are taken on; [`Log::expire_before`] says what the destinations that lag must let go of.
    #[default]
    ExpireLaggard,
    /// Hits are refused until destinations catch up.
    Refuse,
}

impl WhenFull {
    /// The bytes at which hits are refused. `ExpireLaggard` leaves delivery time to let go of what expires, but not
    /// without end: a volume that overflows, or a process that is killed for its memory, would lose everything.
    pub(crate) fn refuses_from(self, max_bytes: u64) -> u64 {
        const LEAST_OVERSHOOT: u64 = 32 << 20;
        match self {
            Self::ExpireLaggard => max_bytes.saturating_add((max_bytes / 4).max(LEAST_OVERSHOOT)),
            Self::Refuse => max_bytes,
        }
    }
}

/// How full the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes held.
    pub bytes: u64,
    /// Events held.
    pub events: u64,
    /// Bytes it may hold.
    pub max_bytes: u64,
}

/// Why the log cannot do what was asked, in words for the operator at 3 a.m.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file could not be used.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stored file is not what this version wrote.
    #[error("{path}: {reason}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process writes there.
    #[error(
        "{path}: another gateway uses this folder (or a command that works on it while the gateway is stopped); \
         give each its own --data-dir"
    )]
    InUse {
        /// The folder.
        path: String,
    },
    /// There are as many destinations as numbers.
    #[error("this log has no number left for destination {0}")]
    TooManyDestinations(String),
}

/// A log. All methods may be called from any thread.
pub trait Log: Send + Sync {
    /// The number of the destination of this name, given out now if it has none yet.
    ///
    /// # Errors
    /// When the number cannot be saved.
    fn register(&self, name: &str) -> Result<DestinationId, LogError>;

    /// The writing end for one worker thread.
    fn appender(&self) -> Box<dyn Appender>;

    /// The reading end of a destination; at most one lives at a time.
    ///
    /// # Errors
    /// When its cursor or the log cannot be read.
    fn reader(&self, destination: DestinationId) -> Result<Box<dyn Reader>, LogError>;

    /// Changes whenever events were committed: the position behind the last event.
    fn head(&self) -> watch::Receiver<Position>;

    /// Every registered destination's name, number and standing.
    fn ledgers(&self) -> Vec<(String, DestinationId, Ledger)>;

    /// How full it is.
    fn usage(&self) -> Usage;

    /// While the log holds more than it may and `whenFull` is `ExpireLaggard`: the position up to which destinations
    /// that lag must let go of their events, so that the oldest segment can be deleted. This goes for every registered
    /// destination with a backlog, those that are paused or gone from the configuration too: nobody else's events can
    /// be deleted while theirs are in the way.
    fn expire_before(&self) -> Option<Position>;

    /// Forgets a destination and its backlog (24 h after it was deleted from the configuration).
    ///
    /// # Errors
    /// When that cannot be saved.
    fn forget(&self, destination: DestinationId) -> Result<(), LogError>;

    /// Commits what is staged, syncs the cursors, and refuses further hits.
    fn close(&self);
}

/// A log shared by ingest and delivery.
pub type SharedLog = Arc<dyn Log>;

/// Locks a mutex whose data is valid whenever it is unlocked, so that a panic elsewhere is no reason to stop.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
