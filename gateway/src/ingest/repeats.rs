//! What becomes of a hit's events that were seen before.

use std::sync::Arc;

use prometheus::IntCounter;

use crate::{
    deduplication::{Deduplication, Outcome, Reservation, Standing},
    log::Commit,
    metrics::ClientMetrics,
    pipeline::Judged,
};

/// The repeats among a hit's events, and what it reserved for the others.
pub(super) struct Repeats {
    reservation: Option<Reservation>,
    /// One for each repeat of an event that the log has not answered for yet.
    pending: Vec<Arc<Outcome>>,
    duplicate: IntCounter,
}

impl Repeats {
    /// Takes the repeats out of `judged`. What is left is reserved: it counts as seen once [`Self::confirmed_by`] says that
    /// the log has it, and as never seen when this is dropped before.
    pub(super) fn take_from(
        judged: &mut Vec<Judged<'_>>,
        deduplication: &Arc<Deduplication>,
        metrics: &ClientMetrics,
        now_ms: i64,
    ) -> Self {
        let (mut reservation, mut pending) = (None, Vec::new());
        judged.retain(|judged| {
            let Some(key) = judged.duplicate_key else { return true };
            let reservation = reservation.get_or_insert_with(|| deduplication.reservation(now_ms));
            match reservation.ask(key) {
                Standing::New => return true,
                Standing::Seen => metrics.duplicate.inc(),
                Standing::Pending(outcome) => pending.push(outcome),
            }
            false
        });
        Self {
            reservation,
            pending,
            duplicate: metrics.duplicate.clone(),
        }
    }

    /// The commit of the events that are left, and with it the knowledge that they were seen.
    pub(super) fn confirmed_by(&mut self, commit: Commit) -> Commit {
        match self.reservation.take() {
            Some(reservation) if !reservation.is_empty() => Box::pin(async move {
                commit.await?;
                reservation.confirm().await;
                Ok(())
            }),
            _ => commit,
        }
    }

    /// Waits for the first copies of the repeats. Whether the log has all of them; if not, the sender must come again.
    pub(super) async fn are_kept(self) -> bool {
        for outcome in self.pending {
            if !outcome.is_kept().await {
                return false;
            }
            self.duplicate.inc();
        }
        true
    }
}
