//! Erasure: a visitor's events are not sent any more, and leave the dead letters (GDPR article 17).
//!
//! The log is written once and never rewritten: an erased event is passed over when its turn comes, and its bytes go with
//! its segment, once every destination is past it.

mod list;
pub mod routes;

use std::{collections::BTreeMap, error::Error, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::list::{EraseError, Erasures, Visitor};
use crate::log::Log;

/// A place beside the log where events are kept.
pub trait Forget: Send + Sync {
    /// What the events there are called: `dead letters`.
    fn name(&self) -> &'static str;

    /// Removes the events that the list covers, and returns how many there were.
    ///
    /// # Errors
    /// When they cannot be removed.
    fn forget(&self, erasures: &Erasures) -> Result<u64, Box<dyn Error + Send + Sync>>;
}

/// What became of a request to erase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Events that were removed, by where they were.
    pub removed: BTreeMap<String, u64>,
    /// Events of all visitors that wait, by destination: those of this visitor among them are not sent.
    pub waiting: BTreeMap<String, u64>,
    /// The destinations that have received events, and so may have received this visitor's.
    pub received: Vec<String>,
}

/// Erases a visitor's events that were accepted up to `now_ms`, in the log and in these places.
///
/// # Errors
/// When the request cannot be noted, or a place does not do it. It may be repeated.
pub fn erase(
    visitor: &Visitor,
    erasures: &Erasures,
    log: &dyn Log,
    places: &[Arc<dyn Forget>],
    now_ms: i64,
) -> Result<Erased, EraseError> {
    // First the list: what comes to a place after it was searched is held against that.
    erasures.add(visitor, now_ms)?;
    let mut erased = Erased::default();
    for place in places {
        let removed = place.forget(erasures).map_err(|source| EraseError::Place {
            name: place.name(),
            source,
        })?;
        erased.removed.insert(place.name().to_owned(), removed);
    }
    for (destination, _, ledger) in log.ledgers() {
        if ledger.in_flight > 0 {
            erased.waiting.insert(destination.clone(), ledger.in_flight);
        }
        if ledger.delivered > 0 {
            erased.received.push(destination);
        }
    }
    Ok(erased)
}

#[cfg(test)]
mod tests;
