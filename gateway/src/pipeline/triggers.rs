//! Triggers: for which destinations an event is meant.

use std::sync::{Arc, LazyLock};

use tagfleet_expressions::Value;

use crate::{
    log::Verdict,
    pipeline::{
        consent::admission::{admit, is_undecided},
        variables::Hit,
    },
    plan::PlannedDestination,
};

static WHEN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("trigger.when"));

/// What a destination has to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is decided.
    Given(Verdict),
    /// It waits for the visitor's decision on consent.
    Waits,
}

/// The ruling for one destination. The event's name is looked up before the condition is run; consent is asked last,
/// so that `consent_denied` counts only what would have been sent. `may_wait`: the event can be held.
pub fn rule<'v>(destination: &'v PlannedDestination, hit: &mut Hit<'v, '_>, may_wait: bool) -> Ruling {
    if !fires(destination, hit) || !destination.vendor.takes(hit.event(), hit.consent()) {
        Ruling::Given(Verdict::Filtered)
    } else if may_wait && is_undecided(destination, hit.consent()) {
        Ruling::Waits
    } else {
        Ruling::Given(admit(destination, hit.consent()).verdict())
    }
}

fn fires<'v>(destination: &'v PlannedDestination, hit: &mut Hit<'v, '_>) -> bool {
    let trigger = &destination.trigger;
    if !trigger.events.is_empty() && !trigger.events.contains(hit.event().name()) {
        return false;
    }
    if !destination.vendor.wants(hit.event().name()) {
        return false;
    }
    if destination.sample.is_some_and(|sample| !sample.takes(hit.event())) {
        return false;
    }
    trigger
        .when
        .as_ref()
        .is_none_or(|when| hit.evaluate(when, &destination.name, &WHEN) == Some(Value::Bool(true)))
}
