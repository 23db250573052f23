//! PrometheusRule `<name>-gateway` (Prometheus Operator): alerts on what `monitoring.objectives` promises.

use serde_json::{Value, json};
use tagfleet_crds::tagging_container::Objectives;

use super::{child, labels, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// None with `monitoring.rules: false`, or where the cluster has no Prometheus Operator.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let monitoring = fleet.container.spec.monitoring.clone().unwrap_or_default();
    if !monitoring.rules || !fleet.settings.kinds.prometheus_rule {
        return Vec::new();
    }
    let mut metadata = metadata::of(fleet, names::gateway(&fleet.name));
    metadata.labels = Some(labels::beside(&monitoring.labels, &fleet.name));
    let alerts = Alerts {
        container: &fleet.name,
        namespace: &fleet.namespace,
        objectives: monitoring.objectives.unwrap_or_default(),
    };
    let group = json!({"name": "tagfleet-gateway", "rules": alerts.all()});
    let fields = json!({"spec": {"groups": [group]}});
    vec![child(ChildKind::PrometheusRule, metadata, fields)]
}

/// How soon someone has to look.
#[derive(Clone, Copy)]
enum Severity {
    /// Events are lost or refused now.
    Critical,
    /// They will be, if nobody looks today.
    Warning,
}

/// The alerts of one container.
struct Alerts<'f> {
    container: &'f str,
    namespace: &'f str,
    objectives: Objectives,
}

impl Alerts<'_> {
    fn all(&self) -> Vec<Value> {
        vec![
            self.slow(),
            self.errors(),
            self.lag(),
            self.imbalance(),
            self.refused(),
            self.filling(),
        ]
    }

    /// Buckets need not have the objective as a bound: the quantile is interpolated.
    fn slow(&self) -> Value {
        let (target, latency) = (self.objectives.latency_target, seconds(self.objectives.latency));
        let buckets = self.series("tagfleet_request_duration_seconds_bucket", "");
        self.alert(
            "TagfleetRequestsSlow",
            &format!("histogram_quantile({target} / 100, sum by (le) (rate({buckets}[5m]))) > {latency}"),
            "10m",
            Severity::Warning,
            "Hits are answered slowly.",
            &format!("{target} % of the hits take {{{{ $value | humanizeDuration }}}}; the objective is {latency} s."),
        )
    }

    /// Only the gateway's own errors: what a sender gets wrong wakes nobody.
    fn errors(&self) -> Value {
        let rate = self.objectives.error_rate;
        let failed = self.series("tagfleet_requests_total", r#", code=~"5..""#);
        let answered = self.series("tagfleet_requests_total", "");
        self.alert(
            "TagfleetRequestsFail",
            &format!("100 * sum(rate({failed}[5m])) / sum(rate({answered}[5m])) > {rate}"),
            "5m",
            Severity::Critical,
            "Hits are answered with errors.",
            &format!("{{{{ $value | humanize }}}} % of the hits are answered 5xx; the objective is {rate} %."),
        )
    }

    fn lag(&self) -> Value {
        let most = seconds(self.objectives.delivery_lag);
        let lag = self.series("tagfleet_delivery_lag_seconds", "");
        self.alert(
            "TagfleetDeliveryLags",
            &format!("max by (destination) ({lag}) > {most}"),
            "2m",
            Severity::Warning,
            "Events wait for {{ $labels.destination }}.",
            &format!(
                "The oldest event for {{{{ $labels.destination }}}} has waited for {{{{ $value | humanizeDuration }}}}; \
                 the objective is {most} s."
            ),
        )
    }

    fn imbalance(&self) -> Value {
        let imbalance = self.series("tagfleet_ledger_imbalance_events", "");
        self.alert(
            "TagfleetLedgerDoesNotClose",
            &format!("max by (destination) (abs({imbalance})) > 0"),
            "10m",
            Severity::Critical,
            "Events of {{ $labels.destination }} are unaccounted for.",
            "{{ $value }} events were accepted for {{ $labels.destination }}, and are neither delivered nor counted as \
             anything else.",
        )
    }

    /// Each refusal counts once; the alert stands for an hour after the last. A series that begins with the first refusal
    /// has no increase, so one that is younger than the hour counts as it is.
    fn refused(&self) -> Value {
        let errors = self.series("tagfleet_config_errors_total", "");
        self.alert(
            "TagfleetConfigurationRefused",
            &format!("sum by (object) (increase({errors}[1h]) > 0 or ({errors} > 0 unless {errors} offset 1h))"),
            "0m",
            Severity::Warning,
            "{{ $labels.object }} is refused.",
            "Gateways go on with the last good form of {{ $labels.object }}; its conditions say what is wrong.",
        )
    }

    fn filling(&self) -> Value {
        let left = self.series("tagfleet_buffer_seconds_to_full", "");
        self.alert(
            "TagfleetBufferFills",
            &format!("min({left}) < 3600"),
            "5m",
            Severity::Warning,
            "The buffer of a pod fills up.",
            "It is full in {{ $value | humanizeDuration }}. Look which destination lags.",
        )
    }

    /// A series of this container. The namespace is the label that Prometheus gives its targets: containers of two
    /// namespaces may have one name.
    fn series(&self, name: &str, matchers: &str) -> String {
        let Self {
            container, namespace, ..
        } = self;
        format!(r#"{name}{{namespace="{namespace}", tagging_container="{container}"{matchers}}}"#)
    }

    fn alert(&self, name: &str, expr: &str, wait: &str, severity: Severity, summary: &str, description: &str) -> Value {
        let severity = match severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        json!({
            "alert": name,
            "expr": expr,
            "for": wait,
            "labels": {"severity": severity, "namespace": self.namespace, "tagging_container": self.container},
            "annotations": {"summary": summary, "description": description},
        })
    }
}

fn seconds(duration: tagfleet_crds::Duration) -> f64 {
    duration.get().as_secs_f64()
}
