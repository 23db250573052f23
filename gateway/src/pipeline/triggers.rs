//! Triggers: for which destinations an event is meant.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use tagfleet_expressions::Value;

use crate::{
    log::Verdict,
    pipeline::{
        consent::admission::{Admission, admit, is_undecided},
        variables::Hit,
    },
    plan::PlannedDestination,
};

static WHEN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("trigger.when"));

/// Why an event is meant for a destination, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is meant for it.
    Meant,
    /// It is meant for it without identifiers, as consent is missing.
    MeantAnonymized,
    /// It waits for the visitor's decision on consent.
    Held,
    /// Its name is not among the trigger's.
    OtherEvent,
    /// The vendor has no use for events of this name.
    NoUse,
    /// Its visitor is not in the sample.
    NotSampled,
    /// The trigger's condition is not true.
    WhenNotTrue,
    /// The vendor can use nothing in it.
    Nothing,
    /// Consent is missing.
    ConsentDenied,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meant => "the trigger fires",
            Self::MeantAnonymized => {
                "the trigger fires, but the visitor has not granted what consent.requires asks for: without identifiers"
            }
            Self::Held => "it waits until the visitor decides on consent, or consent.hold ends",
            Self::OtherEvent => "trigger.events does not list it",
            Self::NoUse => "the vendor has no use for events of this name",
            Self::NotSampled => "samplePercent leaves this visitor out",
            Self::WhenNotTrue => "trigger.when is not true",
            Self::Nothing => "there is nothing in it that the vendor can use",
            Self::ConsentDenied => "the visitor has not granted what consent.requires, or the vendor itself, asks for",
        })
    }
}

impl Decision {
    /// What the log notes of it; nothing while the event is held.
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        Some(match self {
            Self::Meant | Self::MeantAnonymized => Verdict::Meant,
            Self::OtherEvent | Self::NoUse | Self::NotSampled | Self::WhenNotTrue | Self::Nothing => Verdict::Filtered,
            Self::ConsentDenied => Verdict::ConsentDenied,
            Self::Held => return None,
        })
    }

    /// Whether the event is meant for the destination.
    #[must_use]
    pub const fn is_meant(&self) -> bool {
        matches!(self, Self::Meant | Self::MeantAnonymized)
    }
}

/// Decides for one destination. The event's name is looked up before the condition is run; consent is asked last, so that
/// `consent_denied` counts only what would have been sent. `may_wait`: the event can be held.
pub fn decide<'v>(destination: &'v PlannedDestination, hit: &mut Hit<'v, '_>, may_wait: bool) -> Decision {
    let trigger = &destination.trigger;
    let name = hit.event().name();
    if !trigger.events.is_empty() && !trigger.events.contains(name) {
        return Decision::OtherEvent;
    }
    if !destination.vendor.wants(name) {
        return Decision::NoUse;
    }
    if destination.sample.is_some_and(|sample| !sample.takes(hit.event())) {
        return Decision::NotSampled;
    }
    let holds = |when| hit.evaluate(when, &destination.name, &WHEN) == Some(Value::Bool(true));
    if !trigger.when.as_ref().is_none_or(holds) {
        return Decision::WhenNotTrue;
    }
    if !destination.vendor.takes(hit.event(), hit.consent()) {
        return Decision::Nothing;
    }
    if may_wait && is_undecided(destination, hit.consent()) {
        return Decision::Held;
    }
    match admit(destination, hit.consent()) {
        Admission::Whole => Decision::Meant,
        Admission::Anonymized => Decision::MeantAnonymized,
        Admission::Withheld => Decision::ConsentDenied,
    }
}
