//! The pipeline: from a client's events to records with a verdict for each destination. One file for each step, each a
//! pure function of event and plan, called here in the order in which [`judge`] lists them.

pub mod anonymize;
pub mod bots;
pub mod consent;
pub mod device;
pub mod geo;
pub mod identity;
pub mod lookup;
pub mod policies;
pub mod privacy;
pub mod request;
pub mod sampling;
pub mod transform;
pub mod triggers;
pub mod validation;
pub mod variables;
pub mod visit;

use std::sync::Arc;

use tagfleet_expressions::{Map, Steps};

use crate::{
    event::field,
    ingest::ClaimedEvent,
    log::{DestinationId, Verdict},
    pipeline::{bots::BotPolicy, consent::Resolved, triggers::Ruling, variables::Hit, visit::Visit},
    plan::Plan,
    record::Record,
};

/// An event with all that was decided for it.
#[derive(Debug)]
pub struct Judged<'r> {
    /// What the log keeps.
    pub record: Record<'r>,
    /// The verdict for every destination of the plan but those that are held.
    pub verdicts: Vec<(DestinationId, Verdict)>,
    /// The destinations for which the event waits for the visitor's decision on consent (`consent.hold`).
    pub held: Vec<DestinationId>,
    /// The consent in force for it, with who decided on it.
    pub consent: Resolved,
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

/// What became of an event.
#[derive(Debug)]
pub enum Fate<'r> {
    /// It is accepted.
    Judged(Box<Judged<'r>>),
    /// It goes no further, and is counted.
    Dropped(Dropped),
}

/// Why an event goes no further (`tagfleet_events_total{outcome}`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A bot's (`privacy.bots: Drop`).
    Bot,
    /// It breaks the tracking plan (`validation[].onInvalid: Drop`).
    Invalid,
}

/// Judges one event: every step in order, all of them pure.
///
/// `steps` is what is left of the hit's budget for expressions.
#[must_use]
pub fn judge<'r>(plan: &Plan, claimed: ClaimedEvent<'r>, visit: &Visit<'r>, steps: &mut Steps) -> Fate<'r> {
    let ClaimedEvent { mut event, said } = claimed;
    let policies = &*plan.policies;

    // Who sent it, and what they agreed to.
    if visit.bot.is_some() && policies.bots == BotPolicy::Drop {
        return Fate::Dropped(Dropped::Bot);
    }
    let resolved = consent::resolve(&policies.consent, &said, visit);
    let consent = resolved.consent;

    // What is known of them, and what of it may be kept. Whoever reads the event below sees what this left.
    if policies.device {
        device::enrich(&mut event);
    }
    privacy::guard_ip_address(&mut event, policies.ip_address);

    // Whether it is what the tracking plan says, and what all destinations see of it.

    // Which destinations get it.
    let accepted_ms = visit.request.received_ms;
    let request = plan
        .variables
        .iter()
        .any(|variable| variable.expression.reads_request())
        .then(|| request::request_map(&visit.request, &event, policies.ip_address));
    // Only a visitor who is known again can decide later.
    let may_wait = policies.consent.hold.is_some() && event.text(field::CLIENT_ID).is_some_and(|id| !id.is_empty());
    let mut hit = Hit::new(plan, &event, consent, request.as_ref(), steps);
    let (mut verdicts, mut held) = (Vec::with_capacity(plan.destinations.len()), Vec::new());
    for destination in &plan.destinations {
        match triggers::rule(destination, &mut hit, may_wait) {
            Ruling::Given(verdict) => verdicts.push((destination.id, verdict)),
            Ruling::Waits => held.push(destination.id),
        }
    }
    let stays = !held.is_empty() || verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Meant);
    let vars = if stays { hit.stored_variables() } else { Map::new() };
    let expression_errors = hit.into_errors();
    Fate::Judged(Box::new(Judged {
        record: Record {
            accepted_ms,
            consent,
            vars,
            event,
        },
        verdicts,
        held,
        consent: resolved,
        expression_errors,
    }))
}
