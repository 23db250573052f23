//! What the log keeps of an accepted event: everything that a destination may need later, and nothing of the request.

use std::borrow::Cow;

use tagfleet_expressions::Map;

use crate::{event::Event, traces::context::Traced};

/// One signal of Google's consent mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ConsentSignal {
    /// The visitor agreed.
    Granted,
    /// The visitor refused.
    Denied,
    /// Nobody said.
    #[default]
    Unset,
}

impl ConsentSignal {
    /// As expressions and events spell it: `granted`, `denied`, `unset`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Denied => "denied",
            Self::Unset => "unset",
        }
    }
}

/// The four signals of consent mode v2, resolved for one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Cookies and ids for advertising.
    pub ad_storage: ConsentSignal,
    /// Cookies and ids for analytics.
    pub analytics_storage: ConsentSignal,
    /// User data sent to advertisers.
    pub ad_user_data: ConsentSignal,
    /// Personalised advertising.
    pub ad_personalization: ConsentSignal,
}

/// An accepted event with what was decided when its hit was accepted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record<'a> {
    /// When the hit was accepted, unix milliseconds.
    pub accepted_ms: i64,
    /// The consent in force for it.
    pub consent: Consent,
    /// The values of the container's variables that a destination's own expressions read.
    pub vars: Map<'a>,
    /// The event, as privacy rules left it.
    pub event: Event<'a>,
    /// The transformations of a destination's view that were made already, as the view names them: of a dead letter, which
    /// holds the view.
    pub applied: Vec<Cow<'a, str>>,
    /// Why it is no destination's to be sent (`validation[].onInvalid: DeadLetter`): what it breaks of the tracking plan. It
    /// becomes a dead letter of each that it was meant for; who replays that has decided to send it.
    pub rejected: Option<Cow<'a, str>>,
    /// The span of its hit, where that is traced.
    pub trace: Option<Box<Traced>>,
}
