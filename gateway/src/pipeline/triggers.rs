//! Triggers: for which destinations an event is meant.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use tagfleet_crds::tagging_container::ConsentSignal as Signal;
use tagfleet_expressions::Value;

use crate::{
    log::Verdict,
    pipeline::variables::Hit,
    plan::PlannedDestination,
    record::{Consent, ConsentSignal},
};

static WHEN: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("trigger.when"));

/// Why an event is meant for a destination, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is meant for it.
    Meant,
    /// Its name is not among the trigger's.
    OtherEvent,
    /// The vendor has no use for events of this name.
    NoUse,
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
            Self::OtherEvent => "trigger.events does not list it",
            Self::NoUse => "the vendor has no use for events of this name",
            Self::WhenNotTrue => "trigger.when is not true",
            Self::Nothing => "there is nothing in it that the vendor can use",
            Self::ConsentDenied => "the visitor has not granted what consent.requires, or the vendor itself, asks for",
        })
    }
}

impl Decision {
    /// What the log notes of it.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Meant => Verdict::Meant,
            Self::OtherEvent | Self::NoUse | Self::WhenNotTrue | Self::Nothing => Verdict::Filtered,
            Self::ConsentDenied => Verdict::ConsentDenied,
        }
    }

    /// Whether the event is meant for the destination.
    #[must_use]
    pub const fn is_meant(&self) -> bool {
        matches!(self, Self::Meant)
    }
}

/// Decides for one destination. The event's name is looked up before the condition is run; consent is asked last, so that
/// `consent_denied` counts only what would have been sent.
pub fn decide<'v>(destination: &'v PlannedDestination, hit: &mut Hit<'v, '_>) -> Decision {
    let trigger = &destination.trigger;
    let name = hit.event().name();
    if !trigger.events.is_empty() && !trigger.events.contains(name) {
        return Decision::OtherEvent;
    }
    if !destination.vendor.wants(name) {
        return Decision::NoUse;
    }
    let holds = |when| hit.evaluate(when, &destination.name, &WHEN) == Some(Value::Bool(true));
    if !trigger.when.as_ref().is_none_or(holds) {
        return Decision::WhenNotTrue;
    }
    if !destination.vendor.takes(hit.event(), hit.consent()) {
        return Decision::Nothing;
    }
    if !consents(destination, hit.consent()) {
        return Decision::ConsentDenied;
    }
    Decision::Meant
}

/// Whether the visitor agreed to all that the destination needs; what nobody said is no agreement.
fn consents(destination: &PlannedDestination, consent: &Consent) -> bool {
    let granted = |signal: &Signal| {
        let given = match signal {
            Signal::AdStorage => consent.ad_storage,
            Signal::AnalyticsStorage => consent.analytics_storage,
            Signal::AdUserData => consent.ad_user_data,
            Signal::AdPersonalization => consent.ad_personalization,
        };
        given == ConsentSignal::Granted
    };
    destination.requires.iter().all(granted) && destination.vendor.consents(consent)
}
