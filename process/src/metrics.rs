//! Makes metrics and registers them in one step.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector};

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
