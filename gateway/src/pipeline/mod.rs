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
mod remembered;
pub mod request;
pub mod sampling;
pub mod transform;
pub mod triggers;
pub mod validation;
pub mod variables;
pub mod visit;

use std::sync::Arc;

use tagfleet_crds::tagging_container::OnInvalid;
use tagfleet_expressions::{Expression, Map, Steps};

use crate::{
    deduplication::Key,
    event::{Event, field},
    ingest::ClaimedEvent,
    log::{DestinationId, Verdict},
    pipeline::{
        bots::{Bot, BotPolicy},
        consent::Resolved,
        identity::SetCookie,
        transform::Transformation,
        triggers::Decision,
        variables::Hit,
        visit::Visit,
    },
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
    /// The cookies that the answer sets once the event is stored.
    pub cookies: Vec<SetCookie>,
    /// Expressions that failed on it (`tagfleet_expression_errors_total`).
    pub expression_errors: Vec<FailedExpression>,
    /// By what a repeat of it is known; none while deduplication is off, and for an event without an id of its sender's.
    pub duplicate_key: Option<Key>,
    /// The rules of the tracking plan that it breaks, by their places; it goes on all the same.
    pub broken_rules: Vec<usize>,
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A bot's (`privacy.bots: Drop`).
    Bot,
    /// It breaks the tracking plan (`validation[].onInvalid: Drop`): the rules that it breaks, by their places.
    Invalid(Vec<usize>),
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
    let ClaimedEvent {
        mut event,
        said,
        has_own_id,
    } = claimed;
    let policies = &*plan.policies;

    // Who sent it, and what they agreed to.
    let bot = visit.bot.as_ref();
    if policies.bots == BotPolicy::Drop && bot.is_some_and(Bot::is_taken_for_bot) {
        return Fate::Dropped(Dropped::Bot);
    }
    bots::mark(&mut event, bot, policies.bots);
    watch.step("privacy.bots", &event);
    let resolved = consent::resolve(&policies.consent, &said, visit);
    let consent = resolved.consent;
    let cookies = identity::assign(&mut event, visit, &consent, &policies.identity);
    watch.step("identity", &event);

    // What is known of them, and what of it may be kept. Whoever reads the event below sees what this left.
    if policies.geo.is_some() {
        geo::enrich(&mut event, visit.place.as_ref(), visit.connection);
        watch.step("enrich.geo", &event);
    }
    if policies.device {
        device::enrich(&mut event);
        watch.step("enrich.device", &event);
    }
    privacy::guard_ip_address(&mut event, policies.ip_address);
    watch.step("privacy.ipAddress", &event);

    // By what a repeat is known: the event as its sender made it, for the visitor that it turned out to be.
    let key_maker = plan.duplicate_keys.as_ref().filter(|_| has_own_id);
    let duplicate_key = key_maker.map(|keys| keys.key(&event));

    // Whether it is what the tracking plan says, and what all destinations see of it.
    let (mut broken_rules, mut rejected) = (Vec::new(), None);
    if let Some(breach) = policies.tracking_plan.check(&event) {
        match breach.consequence {
            OnInvalid::Drop => return Fate::Dropped(Dropped::Invalid(breach.rules)),
            OnInvalid::DeadLetter => rejected = Some(breach.reason()),
            OnInvalid::Mark => breach.mark(&mut event),
        }
        watch.step("validation", &event);
        broken_rules = breach.rules;
    }
    let mut expression_errors = Vec::new();
    if !policies.transformations.is_empty() {
        let request = request_for(plan, visit, &event, Reader::Transformations);
        transform::apply(
            plan,
            &mut event,
            consent,
            request.as_ref(),
            steps,
            &mut expression_errors,
            watch,
        );
    }

    // Which destinations get it. The variables are computed anew, of what is left.
    let accepted_ms = visit.request.received_ms;
    let request = request_for(plan, visit, &event, Reader::Variables);
    // Only a visitor who is known again can decide later.
    let may_wait = policies.consent.hold.is_some() && event.text(field::CLIENT_ID).is_some_and(|id| !id.is_empty());
    let mut hit = Hit::new(plan, &event, consent, request.as_ref(), steps);
    let (mut verdicts, mut held) = (Vec::with_capacity(plan.destinations.len()), Vec::new());
    for destination in &plan.destinations {
        let decision = triggers::decide(destination, &mut hit, may_wait);
        match decision.verdict() {
            Some(verdict) => verdicts.push((destination.id, verdict)),
            None => held.push(destination.id),
        }
        watch.decided(decision);
    }
    let stays = !held.is_empty() || verdicts.iter().any(|(_, verdict)| *verdict == Verdict::Meant);
    let vars = if stays { hit.stored_variables() } else { Map::new() };
    transform::note(&mut expression_errors, hit.into_errors());
    Fate::Judged(Box::new(Judged {
        record: Record {
            accepted_ms,
            consent,
            vars,
            event,
            rejected,
            ..Record::default()
        },
        verdicts,
        held,
        consent: resolved,
        cookies,
        expression_errors,
        duplicate_key,
        broken_rules,
    }))
}

/// Who reads `request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// The container's transformations, and the variables that they read.
    Transformations,
    /// The variables alone.
    Variables,
}

/// The request as expressions read it, if any does; its cookies are those that the event has.
fn request_for<'r>(plan: &Plan, visit: &Visit<'r>, event: &Event<'r>, reader: Reader) -> Option<Map<'r>> {
    let by_variables = plan
        .variables
        .iter()
        .any(|variable| variable.expression.reads_request());
    let mut of_transformations = plan
        .policies
        .transformations
        .iter()
        .filter(|_| reader == Reader::Transformations)
        .flat_map(Transformation::expressions);
    let is_read = by_variables || of_transformations.any(Expression::reads_request);
    is_read.then(|| request::request_map(&visit.request, event, plan.policies.ip_address))
}

#[cfg(test)]
mod tests;
