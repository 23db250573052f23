//! The pipeline: from a client's events to records with a verdict for each destination. One file for each step, each a
//! pure function of event and plan, called here in the order in which [`judge`] lists them.

pub mod bots;
pub mod consent;
pub mod device;
pub mod geo;
pub mod identity;
pub mod lookup;
pub mod policies;
pub mod privacy;
pub mod request;
pub mod transform;
pub mod triggers;
pub mod validation;
pub mod variables;
pub mod visit;

use std::sync::Arc;

use tagfleet_expressions::{Map, Steps};

use crate::{
    event::Event,
    ingest::ClaimedEvent,
    log::{DestinationId, Verdict},
    pipeline::{bots::BotPolicy, triggers::Decision, variables::Hit, visit::Visit},
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

/// Looks on while an event is judged: what `simulate` tells comes from here.
pub trait Watch {
    /// A step was taken and left the event like this.
    fn step(&mut self, _step: &str, _event: &Event<'_>) {}

    /// The decision for the next destination of the plan.
    fn decided(&mut self, _decision: Decision) {}
}

/// Nobody looks on.
struct Unwatched;

impl Watch for Unwatched {}

/// Judges one event: every step in order, all of them pure.
///
/// `steps` is what is left of the hit's budget for expressions.
#[must_use]
pub fn judge<'r>(plan: &Plan, claimed: ClaimedEvent<'r>, visit: &Visit<'r>, steps: &mut Steps) -> Fate<'r> {
    judge_watched(plan, claimed, visit, steps, &mut Unwatched)
}

/// The same with somebody who looks on.
pub fn judge_watched<'r>(
    plan: &Plan,
    claimed: ClaimedEvent<'r>,
    visit: &Visit<'r>,
    steps: &mut Steps,
    watch: &mut impl Watch,
) -> Fate<'r> {
    let ClaimedEvent { mut event, consent } = claimed;
    let policies = &*plan.policies;

    // Who sent it, and what they agreed to.
    if visit.bot.is_some() && policies.bots == BotPolicy::Drop {
        return Fate::Dropped(Dropped::Bot);
    }

    // What is known of them, and what of it may be kept. Whoever reads the event below sees what this left.
    if policies.device {
        device::enrich(&mut event);
        watch.step("enrich.device", &event);
    }
    privacy::guard_ip_address(&mut event, policies.ip_address);
    watch.step("privacy.ipAddress", &event);

    // Whether it is what the tracking plan says, and what all destinations see of it.

    // Which destinations get it.
    let accepted_ms = visit.request.received_ms;
    let request = plan
        .variables
        .iter()
        .any(|variable| variable.expression.reads_request())
        .then(|| request::request_map(&visit.request, &event, policies.ip_address));
    let mut hit = Hit::new(plan, &event, consent, request.as_ref(), steps);
    let verdicts: Vec<_> = plan
        .destinations
        .iter()
        .map(|destination| {
            let decision = triggers::decide(destination, &mut hit);
            let verdict = decision.verdict();
            watch.decided(decision);
            (destination.id, verdict)
        })
        .collect();
    let meant = verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Meant);
    let vars = if meant { hit.stored_variables() } else { Map::new() };
    let expression_errors = hit.into_errors();
    Fate::Judged(Box::new(Judged {
        record: Record {
            accepted_ms,
            consent,
            vars,
            event,
            ..Record::default()
        },
        verdicts,
        expression_errors,
    }))
}
