//! The operator's metrics, in one registry. Labels are kinds, verbs and the version, never the name of an object: how
//! many series there are does not grow with the cluster.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder};
use tagfleet_process::metrics::Registrar;

use crate::readiness::Readiness;

/// Seconds: a pass that writes nothing takes milliseconds, one that makes a fleet tenths of a second, one that meets an
/// API server in trouble its timeout of many seconds.
const RECONCILE_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// The kinds that are reconciled; a series of each is there from the start, so that rates have a zero.
const RECONCILED: [&str; 2] = ["TaggingContainer", "Destination"];

type Hook = Box<dyn Fn(&Metrics) + Send + Sync>;

/// All metrics of the operator.
pub struct Metrics {
    registry: Registry,
    reconciliations: IntCounterVec,
    reconcile_duration: HistogramVec,
    reconcile_errors: IntCounterVec,
    api_requests: IntCounterVec,
    gateway_polls: IntCounterVec,
    events_dropped: IntCounter,
    leader: IntGauge,
    crd_missing: IntGaugeVec,
    watch_ready: IntGaugeVec,
    objects: IntGaugeVec,
    hooks: Mutex<Vec<Hook>>,
}

impl Metrics {
    /// The metrics of this process.
    ///
    /// # Errors
    /// Never in practice: names and labels are fixed, and the tests make them.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let registrar = Registrar(&registry);
        let info = registrar.gauges(
            "tagfleet_operator_info",
            "The operator's version; always 1.",
            &["version"],
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            reconciliations: registrar.counters(
                "tagfleet_operator_reconciliations_total",
                "Passes over an object, failed ones included.",
                &["kind"],
            )?,
            reconcile_duration: registrar.seconds(
                "tagfleet_operator_reconcile_duration_seconds",
                "Time that one pass over one object takes, its requests to the API server included.",
                RECONCILE_SECONDS,
                &["kind"],
            )?,
            reconcile_errors: registrar.counters(
                "tagfleet_operator_reconcile_errors_total",
                "Passes over an object that failed and are made again.",
                &["kind"],
            )?,
            api_requests: registrar.counters(
                "tagfleet_operator_api_requests_total",
                "Writes that were sent to the API server, refused ones included, the renewals of the lease aside. At rest \
                 there are none.",
                &["verb", "kind"],
            )?,
            gateway_polls: registrar.counters(
                "tagfleet_operator_gateway_polls_total",
                "Times that a gateway was asked for its status, by whether it answered.",
                &["outcome"],
            )?,
            events_dropped: registrar.add(IntCounter::new(
                "tagfleet_operator_events_dropped_total",
                "Events (of the kind that kubectl describe shows) that were not published: too many at once, or the API server \
                 did not take them.",
            )?)?,
            leader: registrar.add(IntGauge::new(
                "tagfleet_operator_leader",
                "1 if this process leads and may write, 0 if it stands by.",
            )?)?,
            crd_missing: registrar.gauges(
                "tagfleet_operator_crd_missing",
                "1 if the CustomResourceDefinition of a kind of Tagfleet is not installed.",
                &["kind"],
            )?,
            watch_ready: registrar.gauges(
                "tagfleet_operator_watch_ready",
                "1 once the watch of a kind has listed all its objects.",
                &["kind"],
            )?,
            objects: registrar.gauges(
                "tagfleet_operator_objects",
                "Objects of a kind that the operator keeps in memory.",
                &["kind"],
            )?,
            registry,
            hooks: Mutex::default(),
        };
        for kind in RECONCILED {
            metrics.reconciliations.with_label_values(&[kind]);
            metrics.reconcile_duration.with_label_values(&[kind]);
            metrics.reconcile_errors.with_label_values(&[kind]);
            metrics.crd_missing.with_label_values(&[kind]);
        }
        for outcome in ["answered", "failed"] {
            metrics.gateway_polls.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    /// One pass over an object of `kind` has ended after `took`.
    pub fn reconciled(&self, kind: &'static str, took: Duration, failed: bool) {
        self.reconciliations.with_label_values(&[kind]).inc();
        self.reconcile_duration
            .with_label_values(&[kind])
            .observe(took.as_secs_f64());
        if failed {
            self.reconcile_errors.with_label_values(&[kind]).inc();
        }
    }

    /// A write is sent: `create`, `patch` or `delete` of an object of `kind` (`Deployment`, `Event`; for a status the kind
    /// that it is of).
    pub fn wrote(&self, verb: &'static str, kind: &str) {
        self.api_requests.with_label_values(&[verb, kind]).inc();
    }

    /// A gateway was asked for its status.
    pub fn gateway_polled(&self, answered: bool) {
        let outcome = if answered { "answered" } else { "failed" };
        self.gateway_polls.with_label_values(&[outcome]).inc();
    }

    /// An Event was not published.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Whether this process leads.
    pub fn set_leader(&self, is_leader: bool) {
        self.leader.set(is_leader.into());
    }

    /// Whether the CRD of a kind of Tagfleet is missing.
    pub fn set_crd_missing(&self, kind: &str, is_missing: bool) {
        self.crd_missing.with_label_values(&[kind]).set(is_missing.into());
    }

    /// Adds what is to be done before each scrape, to set a gauge from what another part knows.
    pub fn on_scrape(&self, hook: impl Fn(&Self) + Send + Sync + 'static) {
        self.hooks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(hook));
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When a metric cannot be written as text, which the tests rule out for all of ours.
    pub fn scrape(&self, readiness: &Readiness) -> prometheus::Result<String> {
        // Held to the end, so that two scrapes at a time do not show each other's half of the work.
        let hooks = self.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        hooks.iter().for_each(|hook| hook(self));
        // A kind that was uninstalled is watched no more.
        self.watch_ready.reset();
        self.objects.reset();
        for (kind, watch) in readiness.watches() {
            let objects = i64::try_from(watch.objects).unwrap_or(i64::MAX);
            self.watch_ready
                .with_label_values(&[&kind])
                .set(watch.has_listed.into());
            self.objects.with_label_values(&[&kind]).set(objects);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use std::sync::Arc;

    use super::*;

    #[test]
    fn rates_have_a_zero_to_start_from() {
        let text = Metrics::new().unwrap().scrape(&Readiness::new()).unwrap();
        for line in [
            "tagfleet_operator_reconciliations_total{kind=\"TaggingContainer\"} 0",
            "tagfleet_operator_reconcile_errors_total{kind=\"Destination\"} 0",
            "tagfleet_operator_reconcile_duration_seconds_count{kind=\"Destination\"} 0",
            "tagfleet_operator_crd_missing{kind=\"TaggingContainer\"} 0",
            "tagfleet_operator_gateway_polls_total{outcome=\"failed\"} 0",
            "tagfleet_operator_leader 0",
            concat!("tagfleet_operator_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is missing in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }

    #[test]
    fn what_happened_is_counted_under_its_kind() {
        let metrics = Metrics::new().unwrap();
        metrics.reconciled("TaggingContainer", Duration::from_millis(3), false);
        metrics.reconciled("TaggingContainer", Duration::from_secs(3), true);
        metrics.wrote("patch", "Deployment");
        metrics.gateway_polled(true);
        metrics.set_crd_missing("Destination", true);
        let text = metrics.scrape(&Readiness::new()).unwrap();
        for line in [
            "tagfleet_operator_reconciliations_total{kind=\"TaggingContainer\"} 2",
            "tagfleet_operator_reconcile_errors_total{kind=\"TaggingContainer\"} 1",
            "tagfleet_operator_reconcile_duration_seconds_bucket{kind=\"TaggingContainer\",le=\"0.005\"} 1",
            "tagfleet_operator_api_requests_total{kind=\"Deployment\",verb=\"patch\"} 1",
            "tagfleet_operator_gateway_polls_total{outcome=\"answered\"} 1",
            "tagfleet_operator_crd_missing{kind=\"Destination\"} 1",
        ] {
            assert!(text.contains(&format!("\n{line}\n")), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_scrape_shows_the_watches_and_what_others_add() {
        let (metrics, readiness) = (Metrics::new().unwrap(), Arc::new(Readiness::new()));
        metrics.on_scrape(|metrics| metrics.set_leader(true));
        let services = readiness.watch("Service");
        services.set_objects(2);
        services.listed();
        let text = metrics.scrape(&readiness).unwrap();
        assert!(
            text.contains("\ntagfleet_operator_watch_ready{kind=\"Service\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("\ntagfleet_operator_objects{kind=\"Service\"} 2\n"),
            "{text}"
        );
        assert!(text.contains("\ntagfleet_operator_leader 1\n"), "{text}");
        readiness.forget("Service");
        let text = metrics.scrape(&readiness).unwrap();
        assert!(!text.contains("Service"), "{text}");
    }
}
