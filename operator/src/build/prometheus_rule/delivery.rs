//! What becomes of events after they were accepted: destinations, buffer, ledger, and the configuration in force.

use tagfleet_crds::{
    conditions::reasons::{CREDENTIALS_REJECTED, PAUSED},
    tagging_container::Objectives,
};

use super::{Alert, Container, Severity, seconds};

/// The share of events that a vendor may refuse before somebody should look.
const REFUSED: f64 = 0.05;
/// The share of requests to a vendor that may fail.
const FAILING: f64 = 0.5;
/// How much earlier than at a full buffer it is told.
const SECONDS_TO_FULL: u32 = 3_600;

pub(super) fn alerts(container: &Container<'_>, promised: &Objectives) -> Vec<Alert> {
    vec![
        lags(container, promised),
        vendor_fails(container),
        vendor_refuses(container),
        credentials_rejected(container),
        expire(container),
        fills(container),
        does_not_close(container),
        refused(container),
    ]
}

/// A destination that was paused is meant to lag.
fn lags(container: &Container<'_>, promised: &Objectives) -> Alert {
    let most = seconds(promised.delivery_lag);
    let lag = container.series("tagfleet_delivery_lag_seconds", "");
    let paused = state(container, PAUSED);
    Alert {
        name: "TagfleetDeliveryLags",
        expr: format!("max by (destination) ({lag}) > {most} unless on (destination) {paused}"),
        wait: "5m",
        severity: Severity::Warning,
        labels: &[],
        summary: "Events wait for {{ $labels.destination }}.".to_owned(),
        description: format!(
            "The oldest event for {{{{ $labels.destination }}}} has waited for {{{{ $value | humanizeDuration }}}}; the \
             objective is {most} s."
        ),
    }
}

fn vendor_fails(container: &Container<'_>) -> Alert {
    let failed = container.series("tagfleet_delivery_retries_total", "");
    let all = container.series("tagfleet_delivery_duration_seconds_count", "");
    Alert {
        name: "TagfleetVendorFails",
        expr: format!("sum by (destination) (rate({failed}[5m])) / sum by (destination) (rate({all}[5m])) > {FAILING}"),
        wait: "5m",
        severity: Severity::Warning,
        labels: &[],
        summary: "Requests to {{ $labels.destination }} fail.".to_owned(),
        description:
            "In the last 5m, {{ $value | humanizePercentage }} of the requests to {{ $labels.destination }} had to be \
                      repeated. Its events wait in the buffer."
                .to_owned(),
    }
}

fn vendor_refuses(container: &Container<'_>) -> Alert {
    let ended = |outcomes: &str| {
        let series = container.series("tagfleet_deliveries_total", &format!(r#", outcome=~"{outcomes}""#));
        format!("sum by (destination) (increase({series}[15m]))")
    };
    let (dead, all) = (ended("dead_lettered"), ended("delivered|dead_lettered|expired"));
    Alert {
        name: "TagfleetVendorRefuses",
        expr: format!("{dead} / {all} > {REFUSED}"),
        wait: "5m",
        severity: Severity::Warning,
        labels: &[],
        summary: "Events for {{ $labels.destination }} become dead letters.".to_owned(),
        description: "In the last 15m, {{ $value | humanizePercentage }} of the events for {{ $labels.destination }} became dead \
                      letters: its vendor refuses them, or they grew too old."
            .to_owned(),
    }
}

fn credentials_rejected(container: &Container<'_>) -> Alert {
    Alert {
        name: "TagfleetCredentialsRejected",
        expr: state(container, CREDENTIALS_REJECTED),
        wait: "2m",
        severity: Severity::Warning,
        labels: &[],
        summary: "The vendor of {{ $labels.destination }} rejects the credentials.".to_owned(),
        description:
            "Nothing is delivered to {{ $labels.destination }} until valid credentials are in its Secret. Its events \
                      wait in the buffer."
                .to_owned(),
    }
}

/// Destinations that are in this state in one pod or more.
fn state(container: &Container<'_>, state: &str) -> String {
    let states = container.series("tagfleet_destination_state", &format!(r#", state="{state}""#));
    format!("max by (destination) ({states}) == 1")
}

fn expire(container: &Container<'_>) -> Alert {
    let expired = container.series("tagfleet_deliveries_total", r#", outcome="expired""#);
    Alert {
        name: "TagfleetEventsExpire",
        expr: format!("sum by (destination) (increase({expired}[15m])) > 0"),
        wait: "0s",
        severity: Severity::Critical,
        labels: &[],
        summary: "Events for {{ $labels.destination }} are lost.".to_owned(),
        description: "In the last 15m, {{ $value | humanize }} events for {{ $labels.destination }} were dropped: neither buffer \
                      nor dead letters had room for them."
            .to_owned(),
    }
}

fn fills(container: &Container<'_>) -> Alert {
    let left = container.series("tagfleet_buffer_seconds_to_full", "");
    Alert {
        name: "TagfleetBufferFills",
        expr: format!("min({left}) < {SECONDS_TO_FULL}"),
        wait: "5m",
        severity: Severity::Warning,
        labels: &[],
        summary: "The buffer of a pod fills up.".to_owned(),
        description: "It is full in {{ $value | humanizeDuration }}.".to_owned(),
    }
}

fn does_not_close(container: &Container<'_>) -> Alert {
    let imbalance = container.series("tagfleet_ledger_imbalance_events", "");
    Alert {
        name: "TagfleetLedgerDoesNotClose",
        expr: format!("max by (destination) (abs({imbalance})) > 0"),
        wait: "10m",
        severity: Severity::Critical,
        labels: &[],
        summary: "Events for {{ $labels.destination }} are unaccounted for.".to_owned(),
        description: "In a pod, the events accepted for {{ $labels.destination }} and those with a known end or in flight differ \
                      by {{ $value }}: some were lost, or counted twice."
            .to_owned(),
    }
}

/// Longer than the kubelet needs to bring what an object refers to.
fn refused(container: &Container<'_>) -> Alert {
    let refused = container.series("tagfleet_config_refused", "");
    Alert {
        name: "TagfleetConfigurationRefused",
        expr: format!("max by (object) ({refused}) == 1"),
        wait: "5m",
        severity: Severity::Warning,
        labels: &[],
        summary: "{{ $labels.object }} is refused.".to_owned(),
        description:
            "Gateways refuse the newest form of {{ $labels.object }} and go on with its last good one, or without it; \
                      its conditions say what is wrong."
                .to_owned(),
    }
}
