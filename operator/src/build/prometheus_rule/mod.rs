//! PrometheusRule `<name>-gateway` (Prometheus Operator): what is recorded of a container, and the alerts on what
//! `monitoring.objectives` promises and on what must never be.
//!
//! tests/alerts has a test of each alert, run by Prometheus' own promtool; docs/runbooks a page.

mod delivery;
mod objectives;

use serde_json::{Map, Value, json};

use super::{child, labels, metadata, names};
use crate::{
    child::{Child, ChildKind},
    fleet::Fleet,
};

/// Where the runbook pages are, named after their alerts.
const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/runbooks/");

/// How often the rules are evaluated. Shares over long windows are sums of recorded samples, which must be evenly spaced.
const INTERVAL: &str = "30s";

/// None with `monitoring.rules: false`, or where the cluster has no Prometheus Operator.
pub(super) fn build(fleet: &Fleet) -> Vec<Child> {
    let monitoring = fleet.container.spec.monitoring.clone().unwrap_or_default();
    if !monitoring.rules || !fleet.settings.kinds.prometheus_rule {
        return Vec::new();
    }
    let mut metadata = metadata::of(fleet, names::gateway(&fleet.name));
    metadata.labels = Some(labels::beside(&monitoring.labels, &fleet.name));
    let container = Container {
        name: &fleet.name,
        namespace: &fleet.namespace,
    };
    let promised = monitoring.objectives.unwrap_or_default();
    let alerts = [
        objectives::alerts(&container, &promised),
        delivery::alerts(&container, &promised),
    ];
    // One group: the rules of a group are evaluated in order, so that alerts see what was recorded just before.
    let mut rules = objectives::recordings(&container, &promised);
    rules.extend(alerts.into_iter().flatten().map(|alert| alert.rule(&container)));
    let group = json!({"name": "tagfleet-gateway", "interval": INTERVAL, "rules": rules});
    let fields = json!({"spec": {"groups": [group]}});
    vec![child(ChildKind::PrometheusRule, metadata, fields)]
}

/// The container whose series are looked at.
struct Container<'f> {
    name: &'f str,
    namespace: &'f str,
}

impl Container<'_> {
    /// A series of this container and no other. The namespace is the label that Prometheus gives its targets: containers of
    /// two namespaces may have one name.
    fn series(&self, name: &str, matchers: &str) -> String {
        let Self { name: own, namespace } = self;
        format!(r#"{name}{{namespace="{namespace}", tagging_container="{own}"{matchers}}}"#)
    }

    /// What is recorded and alerted on carries these labels, whatever an expression leaves.
    fn labels(&self) -> Map<String, Value> {
        let labels = [("namespace", self.namespace), ("tagging_container", self.name)];
        labels
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into_iter()
            .collect()
    }

    /// A recording rule.
    fn recording(&self, name: &str, expr: &str) -> Value {
        json!({"record": name, "expr": expr, "labels": self.labels()})
    }
}

/// How soon someone has to look.
#[derive(Clone, Copy)]
enum Severity {
    /// Now: events are lost or refused, or objectives broken within hours.
    Critical,
    /// Today: otherwise they will be.
    Warning,
}

/// An alert.
struct Alert {
    /// Its name, and that of its runbook page.
    name: &'static str,
    /// The PromQL that gives a series for each thing that is wrong.
    expr: String,
    /// How long it has to be so.
    wait: &'static str,
    severity: Severity,
    /// Labels that tell apart alerts of one name.
    labels: &'static [(&'static str, &'static str)],
    /// What is wrong, in one sentence.
    summary: String,
    /// The values, what was promised, and what it means.
    description: String,
}

impl Alert {
    fn rule(self, container: &Container<'_>) -> Value {
        let severity = match self.severity {
            Severity::Critical => "critical",
            Severity::Warning => "warning",
        };
        let mut labels = container.labels();
        labels.insert("severity".to_owned(), severity.into());
        labels.extend(
            self.labels
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).into())),
        );
        json!({
            "alert": self.name,
            "expr": self.expr,
            "for": self.wait,
            "labels": labels,
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": format!("{RUNBOOKS}{}.md", self.name),
            },
        })
    }
}

fn seconds(duration: tagfleet_crds::Duration) -> f64 {
    duration.get().as_secs_f64()
}
