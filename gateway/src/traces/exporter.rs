//! The exporter: takes spans from the queue and brings them to the collector, a batch at a time. Nothing waits for it:
//! what does not find room in the queue, or is not taken for a minute, is dropped and counted.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Tracer,
    collector::Verdict,
    otlp::{ExportRequest, Resource, ResourceSpans, Scope, ScopeSpans, Span},
};
use crate::{
    clock,
    delivery::{
        client::{ClientError, Transport, TransportError},
        retry::Backoff,
    },
};

/// Spans of one request.
const BATCH: usize = 512;
/// How long the first span of a batch may wait for others.
const MAX_DELAY: Duration = Duration::from_secs(5);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a batch is tried.
const GIVE_UP: Duration = Duration::from_secs(60);
const BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(1),
    max: Duration::from_secs(15),
};
/// Lines about a collector that takes nothing keep this distance.
const QUIET: Duration = Duration::from_secs(60);

/// Opens the way to the collector: called once, when there are spans for the first time.
pub type Open = Box<dyn FnOnce() -> Result<Arc<dyn Transport>, ClientError> + Send>;

/// The exporter at work.
pub struct Exporter {
    task: JoinHandle<()>,
    closing: watch::Sender<bool>,
}

impl Exporter {
    /// Starts it on `runtime`. `resource` says who recorded the spans of `queue`.
    #[must_use]
    pub fn start(
        tracer: Tracer,
        queue: mpsc::Receiver<Span>,
        resource: Resource,
        open: Open,
        runtime: &Handle,
    ) -> Self {
        let (closing, receiver) = watch::channel(false);
        let work = Work {
            tracer,
            queue,
            resource,
            closing: receiver,
            complained: None,
        };
        Self {
            task: runtime.spawn(work.run(open)),
            closing,
        }
    }

    /// Sends what is in the queue, each batch once, and ends; after `limit` the rest is dropped.
    pub async fn stop(mut self, limit: Duration) {
        self.closing.send_replace(true);
        if timeout(limit, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

struct Work {
    tracer: Tracer,
    queue: mpsc::Receiver<Span>,
    resource: Resource,
    closing: watch::Receiver<bool>,
    complained: Option<Instant>,
}

impl Work {
    async fn run(mut self, open: Open) {
        let mut open = Some(open);
        let mut transport = None;
        loop {
            let batch = self.batch().await;
            if batch.is_empty() {
                return;
            }
            if let Some(open) = open.take() {
                match open() {
                    Ok(opened) => transport = Some(opened),
                    Err(error) => self.complain(&error.to_string()),
                }
            }
            match &transport {
                Some(transport) => self.deliver(&**transport, batch).await,
                None => self.tracer.dropped(batch.len()),
            }
        }
    }

    /// The next batch: full, or as old as one may become. Empty when nothing comes any more.
    async fn batch(&mut self) -> Vec<Span> {
        let mut batch = Vec::new();
        self.receive(&mut batch).await;
        let until = Instant::now() + MAX_DELAY;
        while (1..BATCH).contains(&batch.len()) {
            match timeout_at(until, self.receive(&mut batch)).await {
                Ok(true) => {}
                Ok(false) | Err(_) => break,
            }
        }
        batch
    }

    /// Waits for spans to add to a batch that has room; false when nothing comes any more.
    async fn receive(&mut self, batch: &mut Vec<Span>) -> bool {
        let room = BATCH - batch.len();
        loop {
            tokio::select! {
                biased;
                received = self.queue.recv_many(batch, room) => return received > 0,
                Ok(_) = self.closing.wait_for(|closing| *closing), if !self.queue.is_closed() => self.queue.close(),
            }
        }
    }

    /// Brings a batch to the collector as it is configured at the time of each attempt.
    async fn deliver(&mut self, transport: &dyn Transport, spans: Vec<Span>) {
        let count = spans.len();
        let spans = self.message(spans);
        let give_up = Instant::now() + GIVE_UP;
        let mut failures = 0;
        loop {
            let Some(settings) = self.tracer.settings() else {
                return self.tracer.dropped(count);
            };
            let request = settings.collector.request(&spans);
            let target = request.target();
            let answer = timeout(TIMEOUT, transport.send(request)).await;
            let answer = answer.unwrap_or_else(|_| {
                Err(TransportError::Timeout {
                    target: target.clone(),
                    after: TIMEOUT,
                })
            });
            let (after, reason) = match settings.collector.read(answer, clock::now_ms()) {
                Verdict::Taken { rejected: 0 } => return,
                Verdict::Taken { rejected } => {
                    self.complain(&format!("{target} takes all but {rejected} of {count}"));
                    return self
                        .tracer
                        .dropped(usize::try_from(rejected).unwrap_or(count).min(count));
                }
                Verdict::Refused { reason } => (None, format!("{target} does not take them: {reason}")),
                Verdict::Later { after, reason } => {
                    failures += 1;
                    let wait = after.unwrap_or_else(|| BACKOFF.wait(failures, rand::random::<f64>()));
                    (Some(wait), format!("{target} does not take them now: {reason}"))
                }
            };
            self.complain(&reason);
            match after.map(|wait| Instant::now() + wait) {
                Some(again) if again < give_up && self.may_wait_until(again).await => {}
                _ => return self.tracer.dropped(count),
            }
        }
    }

    /// Whether the gateway goes on until then.
    async fn may_wait_until(&mut self, time: Instant) -> bool {
        timeout_at(time, self.closing.wait_for(|closing| *closing))
            .await
            .is_err()
    }

    fn message(&self, spans: Vec<Span>) -> ExportRequest {
        ExportRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(Scope {
                        name: env!("CARGO_PKG_NAME").to_owned(),
                        version: env!("CARGO_PKG_VERSION").to_owned(),
                    }),
                    spans,
                }],
            }],
        }
    }

    fn complain(&mut self, reason: &str) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now >= last + QUIET) {
            self.complained = Some(now);
            tracing::warn!("traces: {reason}");
        }
    }
}
