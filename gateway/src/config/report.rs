//! Tells of refused objects: in the log, in `/status`, in `tagfleet_config_errors_total` and `tagfleet_config_refused`.

use std::collections::BTreeMap;

use tagfleet_crds::conditions::reasons;

use super::{applied::Findings, finding::Finding};
use crate::{
    metrics::Metrics,
    status::{Board, Refusal},
};

/// Remembers what was told, so that a mistake is logged and counted when it comes and not again with every other change.
#[derive(Debug, Default)]
pub struct Reporter {
    told: BTreeMap<String, Vec<String>>,
}

impl Reporter {
    /// Tells what an update brought to light. Gives the objects whose refusal is new, and so was counted.
    pub fn report(&mut self, findings: &Findings, metrics: &Metrics, board: &Board) -> Vec<String> {
        let mut counted = Vec::new();
        let mut mistakes: BTreeMap<String, Vec<&Finding>> = BTreeMap::new();
        for object in &findings.refused {
            mistakes.entry(object.clone()).or_default();
        }
        for finding in findings.all.iter().filter(|finding| is_told(finding)) {
            mistakes.entry(name(finding)).or_default().push(finding);
        }
        let now: BTreeMap<String, Vec<String>> = mistakes
            .iter()
            .map(|(object, findings)| (object.clone(), findings.iter().map(ToString::to_string).collect()))
            .collect();
        for (object, lines) in &now {
            if self.told.get(object) == Some(lines) {
                continue;
            }
            if findings.refused.contains(object) {
                metrics.config_error(object);
                counted.push(object.clone());
            }
            for finding in mistakes.get(object).into_iter().flatten() {
                let what = if finding.is_error() {
                    "refused, the last good form stays"
                } else {
                    "in force, and waits"
                };
                tracing::warn!(
                    object,
                    place = finding.place(),
                    field = finding.field,
                    "{what}: {}",
                    finding.message
                );
            }
        }
        for object in self.told.keys().filter(|object| !now.contains_key(*object)) {
            tracing::info!(object, "no longer refused, and waits for nothing");
        }
        let errors = findings.all.iter().filter(|finding| finding.is_error());
        board.set_refusals(errors.map(|finding| refusal(finding, findings)).collect());
        metrics.set_config_refused(&findings.refused);
        metrics.retain_config_errors(|object| findings.known.contains(object) || findings.refused.contains(object));
        self.told = now;
        counted
    }
}

/// What a finding is about: the object, or the file when that cannot be read.
fn name(finding: &Finding) -> String {
    finding
        .object
        .as_ref()
        .map_or_else(|| finding.file.to_string(), ToString::to_string)
}

/// Whether it is told in the log: what refuses an object, or makes it wait.
fn is_told(finding: &Finding) -> bool {
    finding.is_error() || finding.reason == Some(reasons::PROPAGATING)
}

fn refusal(finding: &Finding, findings: &Findings) -> Refusal {
    let object = name(finding);
    Refusal {
        generation: findings.generations.get(&object).copied(),
        reason: finding.reason.filter(|reason| *reason == reasons::PROPAGATING),
        object,
        field: finding.field.clone(),
        message: finding.message.clone(),
        location: finding.place(),
    }
}
