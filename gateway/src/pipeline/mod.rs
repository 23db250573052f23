//! The pipeline: from a client's events to records with a verdict for each destination. One file for each step, each a
//! pure function of event and plan, called here in the order in which [`judge`] lists them.

pub mod lookup;
pub mod privacy;
pub mod request;
pub mod triggers;
pub mod variables;

use std::sync::Arc;

use tagfleet_expressions::{Map, Steps};

use crate::{
    ingest::{ClaimedEvent, HitRequest},
    log::{DestinationId, Verdict},
    pipeline::variables::Hit,
    plan::Plan,
    record::Record,
};

/// An event with all that was decided for it.
#[derive(Debug)]
pub struct Judged<'r> {
    /// What the log keeps.
    pub record: Record<'r>,
    /// The verdict for every destination of the plan.
    pub verdicts: Vec<(DestinationId, Verdict)>,
    /// Expressions that failed on it (`tagfleet_expression_errors_total`).
    pub expression_errors: Vec<FailedExpression>,
}

/// An expression that failed on an event: it counted as false (a `when`) or null (a variable).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedExpression {
    /// The object it belongs to: the container's name, or the destination's.
    pub object: Arc<str>,
    /// The variable's name, or `trigger.when`.
    pub expression: Arc<str>,
    /// What went wrong.
    pub reason: String,
}

/// Judges one event: every step in order, all of them pure.
///
/// `steps` is what is left of the hit's budget for expressions.
#[must_use]
pub fn judge<'r>(plan: &Plan, claimed: ClaimedEvent<'r>, request: &HitRequest<'r>, steps: &mut Steps) -> Judged<'r> {
    let ClaimedEvent { mut event, consent } = claimed;

    // Identity, bots and the consent default take their place here; whoever reads the event below sees what they left.
    privacy::guard_ip_address(&mut event, plan.ip_address);

    // Container-wide transformations, validation and deduplication come between privacy and triggers.
    let accepted_ms = request.received_ms;
    let request = plan
        .variables
        .iter()
        .any(|variable| variable.expression.reads_request())
        .then(|| request::request_map(request, &event, plan.ip_address));
    let mut hit = Hit::new(plan, &event, consent, request.as_ref(), steps);
    let verdicts: Vec<_> = plan
        .destinations
        .iter()
        .map(|destination| (destination.id, triggers::verdict(destination, &mut hit)))
        .collect();
    let meant = verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Meant);
    let vars = if meant { hit.stored_variables() } else { Map::new() };
    let expression_errors = hit.into_errors();
    Judged {
        record: Record {
            accepted_ms,
            consent,
            vars,
            event,
        },
        verdicts,
        expression_errors,
    }
}
