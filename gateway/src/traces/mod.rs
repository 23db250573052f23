//! Traces: spans of hits and of deliveries, brought to an OpenTelemetry collector (`spec.telemetry.otlp`).
//!
//! A hit that is traced gets a span, and the span's context goes with each of its events through the log, so that the
//! requests that deliver them point back to it, hours later and after a restart too. Everything else costs a hit that is
//! not traced nothing but the look whether it is.

pub mod collector;
pub mod context;
mod exporter;
pub mod otlp;
mod resource;
pub mod sampling;
pub mod spans;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use http::{Method, StatusCode, request::Parts};
use prometheus::IntCounter;
use tokio::sync::mpsc;

use self::{
    collector::Collector,
    context::Traced,
    otlp::Span,
    sampling::{Allowance, Share},
    spans::{Carrier, DeliverySpan, HitSpan},
};
pub use self::{
    exporter::{Exporter, Open},
    resource::resource,
};
use crate::{delivery::attempt::Attempt, destinations::Request, ingest::Client};

/// Spans that wait for the exporter.
const QUEUE: usize = 4096;

/// `telemetry.otlp` of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where spans go.
    pub collector: Collector,
    /// The share of hits that are traced unasked.
    pub share: Share,
}

/// Records spans. All clones share one queue.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    settings: ArcSwapOption<Settings>,
    allowance: Allowance,
    queue: mpsc::Sender<Span>,
    dropped: IntCounter,
}

impl Tracer {
    /// A tracer that is off until [`Tracer::apply`], and the queue that an [`Exporter`] empties. `dropped` counts the spans
    /// that nobody gets (`tagfleet_trace_spans_dropped_total`).
    #[must_use]
    pub fn new(dropped: IntCounter) -> (Self, mpsc::Receiver<Span>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let shared = Shared {
            settings: ArcSwapOption::empty(),
            allowance: Allowance::default(),
            queue,
            dropped,
        };
        (Self(Arc::new(shared)), receiver)
    }

    /// Brings settings into force; none: nothing is traced.
    pub fn apply(&self, settings: Option<&Arc<Settings>>) {
        self.0.settings.store(settings.cloned());
    }

    /// Begins the span of a hit, if it is traced. `settings` are those of the plan that the hit is judged by.
    #[must_use]
    pub fn hit(&self, settings: &Settings, hit: &Parts) -> Option<HitSpan> {
        if !matches!(hit.method, Method::GET | Method::HEAD | Method::POST) {
            return None;
        }
        let parent = context::parent(&hit.headers);
        let asked = parent.is_some_and(|parent| parent.sampled) && self.0.allowance.take();
        if !asked && !settings.share.draw() {
            return None;
        }
        let state = parent.map(|_| context::state(&hit.headers)).unwrap_or_default();
        Some(HitSpan::begin(parent, state))
    }

    /// Ends the span of a hit that was answered.
    pub fn hit_answered(&self, span: HitSpan, client: &Client, hit: &Parts, status: StatusCode, took: Duration) {
        self.record(span.end(client, &hit.method, hit.uri.path(), status, took));
    }

    /// Begins the span of a request that carries events of `traced` hits; none where there are none.
    #[must_use]
    pub fn delivery(&self, traced: &[Traced], carrier: Carrier<'_>, request: &Request) -> Option<DeliverySpan> {
        if traced.is_empty() || self.0.settings.load().is_none() {
            return None;
        }
        DeliverySpan::begin(traced, carrier, request)
    }

    /// Ends the span of a request.
    pub fn delivered(&self, span: DeliverySpan, attempt: &Attempt) {
        self.record(span.end(attempt));
    }

    fn record(&self, span: Span) {
        if self.0.queue.try_send(span).is_err() {
            self.dropped(1);
        }
    }

    fn settings(&self) -> Option<Arc<Settings>> {
        self.0.settings.load_full()
    }

    fn dropped(&self, spans: usize) {
        self.0.dropped.inc_by(u64::try_from(spans).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
