//! The outcome of a hit whose events are on their way into the log, for others that wait for it.

use std::{
    pin::pin,
    sync::atomic::{AtomicU8, Ordering},
};

use tokio::sync::Notify;

const OPEN: u8 = 0;
const KEPT: u8 = 1;
const LOST: u8 = 2;

/// Open until the log has answered; then settled once.
#[derive(Debug, Default)]
pub struct Outcome {
    state: AtomicU8,
    settled: Notify,
}

impl Outcome {
    /// Waits until it is settled: whether the log has the hit's events.
    pub async fn is_kept(&self) -> bool {
        loop {
            let mut settled = pin!(self.settled.notified());
            // From here on no settling is missed.
            settled.as_mut().enable();
            match self.state.load(Ordering::Acquire) {
                OPEN => settled.await,
                state => return state == KEPT,
            }
        }
    }

    pub(super) fn settle(&self, kept: bool) {
        self.state.store(if kept { KEPT } else { LOST }, Ordering::Release);
        self.settled.notify_waiters();
    }
}
