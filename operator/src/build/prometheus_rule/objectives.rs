//! Latency, errors and volume: what is recorded, and when the error budget is spent too fast.
//!
//! Each objective is watched over pairs of windows, at the burn rates of Google's Site Reliability Workbook (chapter 5,
//! "Alerting on SLOs", approach 6: multiwindow, multi-burn-rate alerts): the long window says that it matters, the short one
//! that it still goes on.

use serde_json::Value;
use tagfleet_crds::tagging_container::Objectives;
use tagfleet_process::metrics::REQUEST_SECONDS;

use super::{Alert, Container, Severity, seconds};

/// Hits a second, averaged over five minutes.
const HITS: &str = "tagfleet:requests:rate5m";
/// Those of them that were answered 5xx.
const FAILED: &str = "tagfleet:requests_failed:rate5m";
/// Those of them that were answered more slowly than the objective.
const SLOW: &str = "tagfleet:requests_slow:rate5m";
/// Events a second that were accepted.
const ACCEPTED: &str = "tagfleet:events_accepted:rate5m";

/// Events a second at least, a week ago, for half of them to mean anything: 360 in the hour.
const ENOUGH_TRAFFIC: f64 = 0.1;

/// How fast a month's error budget may be spent, and for how long.
struct BurnRate {
    /// Times the rate at which the budget would last for the month.
    factor: f64,
    long: &'static str,
    short: &'static str,
    wait: &'static str,
    severity: Severity,
    /// The windows as labels of the alert.
    labels: &'static [(&'static str, &'static str)],
}

const BURN_RATES: [BurnRate; 3] = [
    BurnRate {
        factor: 14.4,
        long: "1h",
        short: "5m",
        wait: "2m",
        severity: Severity::Critical,
        labels: &[("long_window", "1h"), ("short_window", "5m")],
    },
    BurnRate {
        factor: 6.0,
        long: "6h",
        short: "30m",
        wait: "5m",
        severity: Severity::Critical,
        labels: &[("long_window", "6h"), ("short_window", "30m")],
    },
    BurnRate {
        factor: 1.0,
        long: "3d",
        short: "6h",
        wait: "1h",
        severity: Severity::Warning,
        labels: &[("long_window", "3d"), ("short_window", "6h")],
    },
];

/// What the alerts look back on for days: a few series of the whole fleet, in place of many of each pod. Paths that no client
/// owns, such as probes and scanners, are no hits.
pub(super) fn recordings(container: &Container<'_>, promised: &Objectives) -> Vec<Value> {
    let rate = |name: &str, matchers: &str| format!("sum(rate({}[5m]))", container.series(name, matchers));
    let fast = format!(r#", client!="", le=~"{}""#, le(bound(promised)));
    let answered = rate("tagfleet_request_duration_seconds_count", r#", client!="""#);
    let in_time = rate("tagfleet_request_duration_seconds_bucket", &fast);
    let failed = rate("tagfleet_requests_total", r#", client!="", code=~"5..""#);
    vec![
        container.recording(HITS, &rate("tagfleet_requests_total", r#", client!="""#)),
        container.recording(FAILED, &failed),
        container.recording(SLOW, &format!("{answered} - {in_time}")),
        container.recording(ACCEPTED, &rate("tagfleet_events_total", r#", outcome="accepted""#)),
    ]
}

pub(super) fn alerts(container: &Container<'_>, promised: &Objectives) -> Vec<Alert> {
    let mut alerts: Vec<Alert> = BURN_RATES.iter().map(|rate| slow(container, promised, rate)).collect();
    alerts.extend(BURN_RATES.iter().map(|rate| failed(container, promised, rate)));
    alerts.push(halved(container));
    alerts
}

fn slow(container: &Container<'_>, promised: &Objectives, rate: &BurnRate) -> Alert {
    let (bound, target, long) = (bound(promised), promised.latency_target, rate.long);
    Alert {
        name: "TagfleetRequestsSlow",
        expr: burns(container, SLOW, 100.0 - target, rate),
        wait: rate.wait,
        severity: rate.severity,
        labels: rate.labels,
        summary: "Hits are answered slowly.".to_owned(),
        description: format!(
            "In the last {long}, {{{{ $value | humanizePercentage }}}} of the hits took more than {bound} s; the objective is \
             that {target} % are faster."
        ),
    }
}

/// Only the gateway's own errors: what a sender gets wrong wakes nobody.
fn failed(container: &Container<'_>, promised: &Objectives, rate: &BurnRate) -> Alert {
    let (allowed, long) = (promised.error_rate, rate.long);
    Alert {
        name: "TagfleetRequestsFail",
        expr: burns(container, FAILED, allowed, rate),
        wait: rate.wait,
        severity: rate.severity,
        labels: rate.labels,
        summary: "Hits are answered with errors.".to_owned(),
        description: format!(
            "In the last {long}, {{{{ $value | humanizePercentage }}}} of the hits were answered 5xx; the objective is \
             {allowed} % at most."
        ),
    }
}

/// The share of `bad` among all hits, where both windows are above what this rate allows; the value is that of the long one.
fn burns(container: &Container<'_>, bad: &str, budget_percent: f64, rate: &BurnRate) -> String {
    let share = |window: &str| {
        let sum = |name| format!("sum_over_time({}[{window}])", container.series(name, ""));
        format!("{} / {}", sum(bad), sum(HITS))
    };
    let limit = limit(budget_percent, rate.factor);
    format!("{} > {limit} and {} > {limit}", share(rate.long), share(rate.short))
}

/// The share, 0 to 1, above which the budget is spent `factor` times too fast. Several times a large budget is more than there
/// can be: it ends half-way between the budget and all, so that a fleet that only fails is always told of.
fn limit(budget_percent: f64, factor: f64) -> f64 {
    let budget = budget_percent / 100.0;
    let limit = (budget * factor).min(f64::midpoint(budget, 1.0));
    (limit * 1e7).round() / 1e7
}

/// The bucket by which an objective is measured: its own bound, or the next above it; past the last one the last one.
fn bound(promised: &Objectives) -> f64 {
    let latency = seconds(promised.latency);
    let above = REQUEST_SECONDS.into_iter().find(|bound| *bound >= latency);
    let last = REQUEST_SECONDS.last().copied();
    above.or(last).unwrap_or(latency)
}

/// The bound as a regular expression for the label `le`: Prometheus 3 keeps whole numbers as `1.0`, which the text says as `1`.
fn le(bound: f64) -> String {
    if bound.fract() == 0.0 {
        format!("{bound}|{bound}[.]0")
    } else {
        bound.to_string().replace('.', "[.]")
    }
}

/// Compared with the same hour a week ago, so that nights and weekends are no anomaly. With less than a week of data, or a fleet
/// that is gone altogether a week later, there is nothing to compare, or nothing is left: then the second reads as 0.
fn halved(container: &Container<'_>) -> Alert {
    let accepted = container.series(ACCEPTED, "");
    let now = format!("avg_over_time({accepted}[1h])");
    let then = format!("avg_over_time({accepted}[1h] offset 1w)");
    Alert {
        name: "TagfleetVolumeHalved",
        expr: format!("({now} or 0 * {then}) / {then} < 0.5 and {then} > {ENOUGH_TRAFFIC}"),
        wait: "15m",
        severity: Severity::Warning,
        labels: &[],
        summary: "Fewer than half of the usual events come in.".to_owned(),
        description: "In the last hour {{ $value | humanizePercentage }} of the events of the same hour a week ago were accepted."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]

    use super::*;

    fn measured_by(latency_ms: u64) -> f64 {
        bound(&Objectives {
            latency: tagfleet_crds::Duration::from_millis(latency_ms),
            ..Objectives::default()
        })
    }

    #[test]
    fn an_objective_is_measured_by_its_bucket_or_the_next_above() {
        assert_eq!(bound(&Objectives::default()), 0.1);
        assert_eq!(measured_by(50), 0.05);
        assert_eq!(measured_by(75), 0.1);
        assert_eq!(measured_by(1_000), 1.0);
        assert_eq!(measured_by(60_000), 10.0, "the last there is");
    }

    #[test]
    fn a_bucket_is_found_by_the_text_of_either_prometheus() {
        assert_eq!(le(0.1), "0[.]1");
        assert_eq!(le(1.0), "1|1[.]0");
        assert_eq!(le(10.0), "10|10[.]0");
    }

    #[test]
    fn a_budget_is_burnt_by_its_factor_and_never_by_more_than_all() {
        let limits = |budget| BURN_RATES.map(|rate| limit(budget, rate.factor));
        assert_eq!(limits(1.0), [0.144, 0.06, 0.01]);
        assert_eq!(limits(100.0 - 99.9), [0.0144, 0.006, 0.001]);
        assert_eq!(limits(10.0), [0.55, 0.55, 0.1]);
        assert_eq!(limits(99.0), [0.995, 0.995, 0.99]);
    }
}
