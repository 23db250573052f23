//! The task that lets go of what has waited too long, and brings what is released to the log.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::{Hold, store::Released};
use crate::{
    log::{Accepted, AppendError, Appender, SharedLog, codec},
    plan::Plan,
    record::Record,
};

/// How often it is looked for what has waited too long, and how soon a log that refused is asked again.
const SWEEP: Duration = Duration::from_secs(1);

/// Events that go into the log at once.
const AT_ONCE: usize = 64;

/// The task at work.
pub struct Releasing {
    task: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

impl Releasing {
    /// Starts it on the current runtime.
    #[must_use]
    pub fn start(hold: Arc<Hold>, log: &SharedLog, plan: Arc<ArcSwap<Plan>>) -> Self {
        let (stopping, stop) = watch::channel(false);
        let appender = log.appender();
        Self {
            task: tokio::spawn(run(hold, appender, plan, stop)),
            stopping,
        }
    }

    /// Lets everything that waits go on with the consent that it has. Called when no more hits come; what the log has not
    /// taken after `grace` is lost.
    pub async fn stop(self, grace: Duration) {
        self.stopping.send_replace(true);
        if timeout(grace, self.task).await.is_err() {
            tracing::warn!("the log did not take all events that were held for consent; they are lost");
        }
    }
}

async fn run(
    hold: Arc<Hold>,
    mut appender: Box<dyn Appender>,
    plan: Arc<ArcSwap<Plan>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let stopping = *stop.borrow_and_update();
        {
            let mut store = hold.lock();
            if stopping {
                store.give_up(&plan.load());
            } else {
                store.sweep(&plan.load(), Instant::now());
            }
            hold.show(&store);
        }
        let drained = drain(&hold, &mut *appender).await;
        if stopping && drained {
            return;
        }
        tokio::select! {
            () = hold.news.notified(), if drained => {}
            _ = stop.changed(), if !stopping => {}
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}

/// Brings to the log what is released. Whether it took everything.
pub(super) async fn drain(hold: &Hold, appender: &mut dyn Appender) -> bool {
    loop {
        let released = hold.lock().take_ready(AT_ONCE);
        if released.is_empty() {
            return true;
        }
        let result = append(appender, &released).await;
        let mut store = hold.lock();
        if let Err(error) = &result {
            tracing::warn!(%error, "events held for consent wait on, the log does not take them");
            store.put_back(released);
        }
        hold.show(&store);
        if result.is_err() {
            return false;
        }
    }
}

/// The events, for the destinations that they waited for and for no other.
async fn append(appender: &mut dyn Appender, released: &[Released]) -> Result<(), AppendError> {
    let commit = {
        let records: Vec<Record<'_>> = released.iter().map(record).collect();
        let events: Vec<Accepted<'_, '_>> = released
            .iter()
            .zip(&records)
            .map(|(released, record)| Accepted {
                record,
                verdicts: &released.verdicts,
            })
            .collect();
        appender.append(&events)?
    };
    commit.await
}

/// Its age counts from when its hit was accepted, for `retry.maxAge` and for requests to erase. What nobody gets is counted
/// and not stored, so that there it does not matter what the record holds.
fn record(released: &Released) -> Record<'_> {
    let stored = released
        .payload
        .as_deref()
        .and_then(|payload| codec::decode(payload).ok());
    let mut record = stored.unwrap_or_default();
    record.consent = released.consent;
    record
}
