//! The metrics of contract and dashboards, in one registry.
//!
//! Labels come from the configuration only, so that the number of series is bounded by what was applied. What a hit
//! touches is resolved once per plan ([`ClientMetrics`]); what the log knows better than any counter of this process is
//! read from it at scrape time (`scrape.rs`).

mod consent;
mod scrape;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    sync::Mutex,
    time::Duration,
};

use http::StatusCode;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector as _, MetricVec, MetricVecBuilder},
};
use tagfleet_process::metrics::{REQUEST_SECONDS, Registrar};

pub use scrape::Sources;
pub(crate) use scrape::lag;

use crate::{
    pipeline::{consent::Resolved, validation},
    plan::Plan,
    status::Totals,
};

/// Seconds that resolve what vendors take, up to the usual timeouts.
const DELIVERY_SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The codes that a hit can be answered with; a series of each is there from the start, so that rates have a zero.
const CODES: [StatusCode; 10] = [
    StatusCode::NO_CONTENT,
    StatusCode::OK,
    StatusCode::BAD_REQUEST,
    StatusCode::FORBIDDEN,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::PAYLOAD_TOO_LARGE,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::INTERNAL_SERVER_ERROR,
    StatusCode::SERVICE_UNAVAILABLE,
];

/// All metrics of a gateway; every one carries the label `tagging_container`.
pub struct Metrics {
    registry: Registry,
    /// `tagfleet_requests_total` by client and code.
    requests: IntCounterVec,
    /// `tagfleet_request_duration_seconds` by client.
    request_duration: HistogramVec,
    /// `tagfleet_events_total` by client and outcome.
    events: IntCounterVec,
    /// `tagfleet_delivery_retries_total` by destination and code.
    retries: IntCounterVec,
    /// `tagfleet_delivery_duration_seconds` by destination and code.
    delivery_duration: HistogramVec,
    /// `tagfleet_config_info` by version.
    config_info: IntGaugeVec,
    /// `tagfleet_config_errors_total` by object.
    config_errors: IntCounterVec,
    /// `tagfleet_config_refused` by object.
    config_refused: IntGaugeVec,
    /// `tagfleet_expression_errors_total` by object and expression.
    expression_errors: IntCounterVec,
    /// `tagfleet_invalid_events_total` by rule.
    invalid_events: IntCounterVec,
    /// `tagfleet_consent_decisions_total` by source, signal and state.
    consent_decisions: consent::Decisions,
    /// `tagfleet_held_events`.
    held_events: IntGauge,
    derived: Mutex<Derived>,
}

/// What is set from the log at scrape time.
struct Derived {
    /// `tagfleet_deliveries_total` by destination and outcome.
    deliveries: IntCounterVec,
    /// `tagfleet_delivery_lag_seconds` by destination.
    lag: GaugeVec,
    /// `tagfleet_dead_letters` by destination.
    dead_letters: IntGaugeVec,
    /// `tagfleet_destination_state` by destination and state.
    states: IntGaugeVec,
    /// `tagfleet_ledger_imbalance_events` by destination.
    imbalance: IntGaugeVec,
    /// `tagfleet_buffer_bytes`.
    buffer_bytes: IntGauge,
    /// `tagfleet_buffer_events`.
    buffer_events: IntGauge,
    /// `tagfleet_buffer_seconds_to_full`.
    seconds_to_full: Gauge,
    fill_rate: scrape::FillRate,
}

impl Metrics {
    /// The metrics of one gateway of this container.
    ///
    /// # Errors
    /// Never in practice: names and labels are fixed, and the tests make them.
    pub fn new(container: &str) -> prometheus::Result<Self> {
        let labels = HashMap::from([("tagging_container".to_owned(), container.to_owned())]);
        let registry = Registry::new_custom(None, Some(labels))?;
        let registrar = Registrar(&registry);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            requests: registrar.counters(
                "tagfleet_requests_total",
                "Requests answered on the public listener; without a client where no client owns the path.",
                &["client", "code"],
            )?,
            request_duration: registrar.seconds(
                "tagfleet_request_duration_seconds",
                "Time from a request's headers to its answer, the wait for the buffer included.",
                &REQUEST_SECONDS,
                &["client"],
            )?,
            events: registrar.counters(
                "tagfleet_events_total",
                "Events that clients made of requests, by what became of them before the buffer.",
                &["client", "outcome"],
            )?,
            retries: registrar.counters(
                "tagfleet_delivery_retries_total",
                "Requests to a vendor that have to be repeated, by the answer that made it so.",
                &["destination", "code"],
            )?,
            delivery_duration: registrar.seconds(
                "tagfleet_delivery_duration_seconds",
                "Time that one request to a vendor took, whatever its outcome.",
                DELIVERY_SECONDS,
                &["destination", "code"],
            )?,
            config_info: registrar.gauges(
                "tagfleet_config_info",
                "1 for the version (a hash) of the configuration in force.",
                &["version"],
            )?,
            config_errors: registrar.counters(
                "tagfleet_config_errors_total",
                "Times that an object of the configuration was refused and stayed at its last good form, or out.",
                &["object"],
            )?,
            config_refused: registrar.gauges(
                "tagfleet_config_refused",
                "1 while the newest form of an object is refused, so that its last good one is in force, or none.",
                &["object"],
            )?,
            expression_errors: registrar.counters(
                "tagfleet_expression_errors_total",
                "Failures of an expression at run time; it counted as false or null then.",
                &["object", "expression"],
            )?,
            invalid_events: registrar.counters(
                "tagfleet_invalid_events_total",
                "Events that broke a rule of the tracking plan, by the rule's place in the container: validation[0] is \
                 the first.",
                &["rule"],
            )?,
            consent_decisions: consent::Decisions::new(&registrar)?,
            held_events: registrar.add(IntGauge::new(
                "tagfleet_held_events",
                "Events that wait in memory for their visitor's decision on consent.",
            )?)?,
            derived: Mutex::new(Derived::new(&registrar)?),
            registry,
        })
    }

    /// Takes note of the plan now in force: its version is shown, and the series of clients and destinations that are
    /// no longer configured go.
    pub fn plan_applied(&self, plan: &Plan) {
        self.config_info.reset();
        self.config_info.with_label_values(&[plan.version.as_str()]).set(1);

        let clients: BTreeSet<&str> = plan.clients.iter().map(|client| client.name.as_str()).collect();
        let known_client = |client: &str| client.is_empty() || clients.contains(client);
        retain(&self.requests, "client", known_client);
        retain(&self.request_duration, "client", known_client);
        retain(&self.events, "client", known_client);

        let rules: BTreeSet<String> = (0..plan.policies.tracking_plan.len()).map(validation::label).collect();
        retain(&self.invalid_events, "rule", |rule| rules.contains(rule));
        for rule in &rules {
            // A series from the start, so that rates have a zero.
            self.invalid_events.with_label_values(&[rule.as_str()]);
        }

        let destinations: BTreeSet<&str> = plan.destinations.iter().map(|destination| &*destination.name).collect();
        let known_destination = |destination: &str| destinations.contains(destination);
        retain(&self.retries, "destination", known_destination);
        retain(&self.delivery_duration, "destination", known_destination);
        retain(&self.expression_errors, "object", |object| {
            *object == *plan.container || known_destination(object)
        });
    }

    /// The handles that hits of this client touch; `None` for requests that no client owns.
    #[must_use]
    pub fn client(&self, name: Option<&str>) -> ClientMetrics {
        let client = name.unwrap_or_default();
        let requests = CODES.map(|code| self.requests.with_label_values(&[client, code.as_str()]));
        let events = |outcome| self.events.with_label_values(&[client, outcome]);
        ClientMetrics {
            requests,
            other_requests: self.requests.clone(),
            client: client.to_owned(),
            duration: self.request_duration.with_label_values(&[client]),
            accepted: events("accepted"),
            duplicate: events("duplicate"),
            bot: events("bot"),
            invalid: events("invalid"),
            throttled: events("throttled"),
        }
    }

    /// The handles of a destination, for delivery.
    #[must_use]
    pub fn destination(&self, name: &str) -> DestinationMetrics {
        DestinationMetrics {
            destination: name.to_owned(),
            retries: self.retries.clone(),
            duration: self.delivery_duration.clone(),
        }
    }

    /// Requests, errors and events since the start, over all clients.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let server_error = |labels: &HashMap<&str, &str>| labels.get("code").is_some_and(|code| code.starts_with('5'));
        let accepted = |labels: &HashMap<&str, &str>| labels.get("outcome") == Some(&"accepted");
        Totals {
            requests: sum(&self.requests, |_| true),
            errors: sum(&self.requests, server_error),
            events: sum(&self.events, accepted),
        }
    }

    /// Counts the refusal of an object (`Destination/meta`).
    pub fn config_error(&self, object: &str) {
        self.config_errors.with_label_values(&[object]).inc();
    }

    /// Shows which objects are refused now, and no others.
    pub fn set_config_refused(&self, objects: &BTreeSet<String>) {
        retain(&self.config_refused, "object", |object| objects.contains(object));
        for object in objects {
            self.config_refused.with_label_values(&[object.as_str()]).set(1);
        }
    }

    /// Drops the refusals of objects that are no longer in the configuration.
    pub fn retain_config_errors(&self, keep: impl Fn(&str) -> bool) {
        retain(&self.config_errors, "object", keep);
    }

    /// Counts who decided on the consent of an accepted event, and how.
    pub fn consent_decided(&self, resolved: &Resolved) {
        self.consent_decisions.count(resolved);
    }

    /// The gauge of the events that wait for a decision on consent.
    #[must_use]
    pub fn held_events(&self) -> IntGauge {
        self.held_events.clone()
    }

    /// Counts failures of an expression: `object` is the container's or the destination's name, `expression` the
    /// variable's name or the field's path. Both come from the configuration, never from a hit.
    pub fn expression_errors(&self, object: &str, expression: &str, times: u64) {
        self.expression_errors
            .with_label_values(&[object, expression])
            .inc_by(times);
    }

    /// Counts an event that broke the rule of the tracking plan at this place.
    pub fn invalid_event(&self, rule: usize) {
        self.invalid_events.with_label_values(&[validation::label(rule)]).inc();
    }
}

impl Derived {
    fn new(registrar: &Registrar<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            deliveries: registrar.counters(
                "tagfleet_deliveries_total",
                "Events by what became of them for a destination, counted in the log across restarts.",
                &["destination", "outcome"],
            )?,
            lag: registrar.add(GaugeVec::new(
                Opts::new(
                    "tagfleet_delivery_lag_seconds",
                    "Age of the oldest event that is meant for a destination and not yet delivered; 0 without one.",
                ),
                &["destination"],
            )?)?,
            dead_letters: registrar.gauges(
                "tagfleet_dead_letters",
                "Dead letters kept for a destination.",
                &["destination"],
            )?,
            states: registrar.gauges(
                "tagfleet_destination_state",
                "1 for what delivery to a destination does now, 0 for all else it can do: the reasons of the condition Delivering.",
                &["destination", "state"],
            )?,
            imbalance: registrar.gauges(
                "tagfleet_ledger_imbalance_events",
                "Events accepted for a destination less those with a known end or in flight; anything but 0 is a fault.",
                &["destination"],
            )?,
            buffer_bytes: registrar.add(IntGauge::new("tagfleet_buffer_bytes", "Bytes that the buffer holds.")?)?,
            buffer_events: registrar.add(IntGauge::new(
                "tagfleet_buffer_events",
                "Events that the buffer holds.",
            )?)?,
            seconds_to_full: registrar.add(Gauge::new(
                "tagfleet_buffer_seconds_to_full",
                "Seconds until the buffer is full at the rate at which it fills lately; +Inf while it does not fill.",
            )?)?,
            fill_rate: scrape::FillRate::default(),
        })
    }
}

/// The sum of the series whose labels fit.
fn sum(series: &IntCounterVec, fits: impl Fn(&HashMap<&str, &str>) -> bool) -> u64 {
    let families = series.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    let fitting = metrics.filter(|metric| fits(&labels(metric)));
    // Counters of whole numbers are told as doubles, exact up to 2^53.
    fitting.map(|metric| metric.get_counter().get_value() as u64).sum()
}

fn labels(metric: &prometheus::proto::Metric) -> HashMap<&str, &str> {
    let pairs = metric.get_label().iter();
    pairs.map(|pair| (pair.name(), pair.value())).collect()
}

/// Removes the series whose label `label` has a value that `keep` does not want.
fn retain<T: MetricVecBuilder>(series: &MetricVec<T>, label: &str, keep: impl Fn(&str) -> bool) {
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels = labels(metric);
            if !labels.get(label).is_some_and(|value| keep(value)) && series.remove(&labels).is_err() {
                // Another thread applied a plan at the same time and was faster.
                tracing::debug!(label, "a series was gone already");
            }
        }
    }
}

/// What a hit counts, resolved once per plan: no lookup, no lock.
pub struct ClientMetrics {
    requests: [IntCounter; CODES.len()],
    other_requests: IntCounterVec,
    client: String,
    duration: Histogram,
    /// Events that are in the buffer, or were counted for nobody.
    pub accepted: IntCounter,
    /// Events dropped as repeats.
    pub duplicate: IntCounter,
    /// Events dropped as a bot's.
    pub bot: IntCounter,
    /// Events (lines of a batch, whole hits) that were not usable.
    pub invalid: IntCounter,
    /// Events refused by `limits`.
    pub throttled: IntCounter,
}

impl ClientMetrics {
    /// Counts an answer and how long it took.
    pub fn answered(&self, code: StatusCode, took: Duration) {
        match CODES.iter().zip(&self.requests).find(|(known, _)| **known == code) {
            Some((_, counter)) => counter.inc(),
            None => self
                .other_requests
                .with_label_values(&[self.client.as_str(), code.as_str()])
                .inc(),
        }
        self.duration.observe(took.as_secs_f64());
    }
}

/// How a request to a vendor ended (label `code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallCode {
    /// An HTTP answer.
    Http(StatusCode),
    /// A gRPC status, 0 to 16.
    Grpc(u8),
    /// No answer within `delivery.timeout`.
    Timeout,
    /// No connection, or it broke.
    Connection,
}

impl fmt::Display for CallCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(status) => f.write_str(status.as_str()),
            Self::Grpc(status) => write!(f, "grpc-{status}"),
            Self::Timeout => f.write_str("timeout"),
            Self::Connection => f.write_str("connection"),
        }
    }
}

/// What delivery counts for one destination.
#[derive(Clone)]
pub struct DestinationMetrics {
    destination: String,
    retries: IntCounterVec,
    duration: HistogramVec,
}

impl DestinationMetrics {
    /// Counts a request that has to be repeated because of this answer.
    pub fn retry(&self, code: CallCode) {
        self.retries
            .with_label_values(&[self.destination.as_str(), &code.to_string()])
            .inc();
    }

    /// Counts how long one request took.
    pub fn called(&self, code: CallCode, took: Duration) {
        self.duration
            .with_label_values(&[self.destination.as_str(), &code.to_string()])
            .observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests;
