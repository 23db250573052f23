//! Letting go of the oldest events while the buffer is full (`buffer.whenFull: ExpireLaggard`).

use super::Lane;
use crate::{
    delivery::{dead_letters::Reason, parcel::Doomed},
    log::{Position, Stored},
};

/// Events that are let go of at once: bounds the memory.
const AT_ONCE: usize = 512;
/// Bytes of payload likewise.
const BYTES_AT_ONCE: usize = 4 << 20;

impl Lane {
    /// Lets go of this destination's events before `before`, paused or gone from the configuration too: they stand in
    /// the way of everybody else's. Events under way are waited for, which takes no longer than their timeout.
    pub(super) async fn expire(&mut self, before: Position) {
        let waiting = self.queue.extract(|parcel| {
            let expires = |event: &Stored| event.position < before;
            parcel.events.iter().all(expires)
        });
        for parcel in waiting {
            let failure = parcel.failure.as_ref();
            self.doomed.extend(
                parcel
                    .events
                    .into_iter()
                    .map(|event| doomed(event, parcel.attempts, failure)),
            );
        }
        let mut read = std::mem::take(&mut self.batch);
        loop {
            let (expired, kept): (Vec<_>, Vec<_>) = read.into_iter().partition(|event| event.position < before);
            self.doomed
                .extend(expired.into_iter().map(|event| doomed(event, 0, None)));
            self.batch.extend(kept);
            self.bury_and_settle().await;
            if self.next.is_some_and(|next| next >= before) {
                return;
            }
            let kept = std::mem::take(&mut self.batch);
            let came = self.read(AT_ONCE, BYTES_AT_ONCE);
            read = std::mem::replace(&mut self.batch, kept);
            if came == 0 {
                return;
            }
        }
    }

    async fn bury_and_settle(&mut self) {
        if !self.doomed.is_empty() {
            self.bury().await;
        }
        self.settle();
    }
}

fn doomed(event: Stored, attempts: u32, failure: Option<&(String, String)>) -> Doomed {
    let message = match failure {
        Some((message, _)) => format!("let go of because the buffer was full; the last failure: {message}"),
        None => "let go of because the buffer was full and this destination lagged most".to_owned(),
    };
    Doomed {
        event,
        reason: Reason::BufferFull,
        message,
        code: failure.map(|(_, code)| code.clone()).unwrap_or_default(),
        attempts,
    }
}
