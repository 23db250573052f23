//! What was decided for each destination, counted.

use super::{DestinationId, Verdict};

/// The verdicts on one destination. `accepted == filtered + consent_denied + meant`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) accepted: u64,
    pub(super) filtered: u64,
    pub(super) consent_denied: u64,
    pub(super) meant: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.filtered += other.filtered;
        self.consent_denied += other.consent_denied;
        self.meant += other.meant;
    }
}

/// A tally for each destination, by its number; numbers are small, for they are given out one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tallies(Vec<Tally>);

impl Tallies {
    pub(super) fn count(&mut self, destination: DestinationId, verdict: Verdict) {
        let tally = self.slot(destination);
        tally.accepted += 1;
        match verdict {
            Verdict::Meant => tally.meant += 1,
            Verdict::Filtered => tally.filtered += 1,
            Verdict::ConsentDenied => tally.consent_denied += 1,
        }
    }

    pub(super) fn get(&self, destination: DestinationId) -> Tally {
        self.0.get(usize::from(destination.0)).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, destination: DestinationId, tally: Tally) {
        *self.slot(destination) = tally;
    }

    pub(super) fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), Tally::default());
        }
        for (own, others) in self.0.iter_mut().zip(&other.0) {
            own.add(others);
        }
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The tallies that are not zero.
    pub(super) fn iter(&self) -> impl Iterator<Item = (DestinationId, Tally)> {
        (0..=u16::MAX)
            .zip(&self.0)
            .filter(|(_, tally)| **tally != Tally::default())
            .map(|(number, tally)| (DestinationId(number), *tally))
    }

    fn slot(&mut self, destination: DestinationId) -> &mut Tally {
        let index = usize::from(destination.0);
        if index >= self.0.len() {
            self.0.resize(index + 1, Tally::default());
        }
        #[allow(clippy::indexing_slicing, reason = "the line above makes the index exist")]
        &mut self.0[index]
    }
}
