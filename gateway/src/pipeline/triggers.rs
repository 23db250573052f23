//! Triggers: for which destinations an event is meant.

use std::sync::{Arc, LazyLock};

use tagfleet_crds::tagging_container::ConsentSignal as Signal;
use tagfleet_expressions::Value;

use crate::{
    log::Verdict,
    pipeline::variables::Hit,
    plan::PlannedDestination,
    record::{Consent, ConsentSignal},
};

static WHEN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("trigger.when"));

/// The verdict for one destination. The event's name is looked up before the condition is run; consent is asked last,
/// so that `consent_denied` counts only what would have been sent.
pub fn verdict<'v>(destination: &'v PlannedDestination, hit: &mut Hit<'v, '_>) -> Verdict {
    if !fires(destination, hit) || !destination.vendor.takes(hit.event(), hit.consent()) {
        Verdict::Filtered
    } else if !consents(destination, hit.consent()) {
        Verdict::ConsentDenied
    } else {
        Verdict::Meant
    }
}

/// Whether the visitor agreed to all that the destination needs; what nobody said is no agreement.
fn consents(destination: &PlannedDestination, consent: &Consent) -> bool {
    let granted = |signal: &Signal| consent.state(*signal) == ConsentSignal::Granted;
    destination.requires.iter().all(granted) && destination.vendor.consents(consent)
}

fn fires<'v>(destination: &'v PlannedDestination, hit: &mut Hit<'v, '_>) -> bool {
    let trigger = &destination.trigger;
    if !trigger.events.is_empty() && !trigger.events.contains(hit.event().name()) {
        return false;
    }
    if !destination.vendor.wants(hit.event().name()) {
        return false;
    }
    trigger
        .when
        .as_ref()
        .is_none_or(|when| hit.evaluate(when, &destination.name, &WHEN) == Some(Value::Bool(true)))
}
