//! What a destination may get of an event: asked when the event is judged, when it was held, and again when it is sent, by
//! the settings in force then.

use crate::{
    log::Verdict,
    plan::PlannedDestination,
    record::{Consent, ConsentSignal},
};

/// What a destination may get of an event with a certain consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// All of it.
    Whole,
    /// What is left without identifiers (`consent.onDenied: Anonymize`).
    Anonymized,
    /// Nothing.
    Withheld,
}

impl Admission {
    /// What the log keeps of it.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Whole | Self::Anonymized => Verdict::Meant,
            Self::Withheld => Verdict::ConsentDenied,
        }
    }
}

/// What the destination may get. Only `granted` satisfies what it requires; what nobody said is no consent.
#[must_use]
pub fn admit(destination: &PlannedDestination, consent: &Consent) -> Admission {
    let mut required = destination.requires.iter().map(|signal| consent.state(*signal));
    if !destination.vendor.consents(consent) {
        Admission::Withheld
    } else if required.all(|state| state == ConsentSignal::Granted) {
        Admission::Whole
    } else if destination.anonymize {
        Admission::Anonymized
    } else {
        Admission::Withheld
    }
}

/// Whether the visitor's decision is still to come: of what the destination requires nothing is denied and something is
/// unset.
#[must_use]
pub fn is_undecided(destination: &PlannedDestination, consent: &Consent) -> bool {
    let mut required = destination.requires.iter().map(|signal| consent.state(*signal));
    destination.vendor.consents(consent)
        && !required.clone().any(|state| state == ConsentSignal::Denied)
        && required.any(|state| state == ConsentSignal::Unset)
}
