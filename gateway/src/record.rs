//! What the log keeps of an accepted event: everything that a destination may need later, and nothing of the request.

use std::borrow::Cow;

use tagfleet_crds::tagging_container::ConsentSignal as Signal;
use tagfleet_expressions::Map;

use crate::event::Event;

/// The four signals of consent mode v2, in the order in which lists of their states hold them.
pub const SIGNALS: [Signal; 4] = [
    Signal::AdStorage,
    Signal::AnalyticsStorage,
    Signal::AdUserData,
    Signal::AdPersonalization,
];

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

impl Consent {
    /// The consent of these states, in the order of [`SIGNALS`].
    #[must_use]
    pub const fn of(states: [ConsentSignal; 4]) -> Self {
        let [ad_storage, analytics_storage, ad_user_data, ad_personalization] = states;
        Self {
            ad_storage,
            analytics_storage,
            ad_user_data,
            ad_personalization,
        }
    }

    /// The states, in the order of [`SIGNALS`].
    #[must_use]
    pub const fn states(&self) -> [ConsentSignal; 4] {
        [
            self.ad_storage,
            self.analytics_storage,
            self.ad_user_data,
            self.ad_personalization,
        ]
    }

    /// The state of one signal.
    #[must_use]
    pub const fn state(&self, signal: Signal) -> ConsentSignal {
        match signal {
            Signal::AdStorage => self.ad_storage,
            Signal::AnalyticsStorage => self.analytics_storage,
            Signal::AdUserData => self.ad_user_data,
            Signal::AdPersonalization => self.ad_personalization,
        }
    }
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
}

impl Record<'_> {
    /// The same record with every text owned.
    #[must_use]
    pub fn into_owned(self) -> Record<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Record {
            accepted_ms: self.accepted_ms,
            consent: self.consent,
            vars: self.vars.into_owned(),
            event: self.event.into_owned(),
            applied: self.applied.into_iter().map(owned).collect(),
            rejected: self.rejected.map(owned),
        }
    }
}
