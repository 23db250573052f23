//! Makes metrics and registers them in one step.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

/// The upper bounds, in seconds, of the histogram `tagfleet_request_duration_seconds`: they resolve 1 ms to 1 s, and 0.1 is
/// the default objective `monitoring.objectives.latency`. Gateways measure by them, and the alerts that the operator makes
/// count by them.
pub const REQUEST_SECONDS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0,
];

/// Registers what it makes. Every method fails when a name or label is none, or is there already.
#[derive(Clone, Copy, Debug)]
pub struct Registrar<'r>(pub &'r Registry);

impl Registrar<'_> {
    /// Any metric.
    ///
    /// # Errors
    /// When its name is registered already.
    pub fn add<C: Collector + Clone + 'static>(&self, collector: C) -> prometheus::Result<C> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    /// Counters with these labels.
    ///
    /// # Errors
    /// As [`Registrar::add`], and when a name or label is none.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    /// Gauges with these labels.
    ///
    /// # Errors
    /// As [`Registrar::counters`].
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    /// Histograms of seconds with these upper bounds and labels.
    ///
    /// # Errors
    /// As [`Registrar::counters`].
    pub fn seconds(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(opts, labels)?)
    }
}
