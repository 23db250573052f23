//! Consent: one state for each event, resolved from everything that says something about it, signal by signal:
//!
//! ```text
//! the event's own `consent` > gcd > gcs > TC string > the region's default > the container's default
//! ```
//!
//! Then `Sec-GPC: 1` denies the three signals of advertising, and the opt-out cookie all four. Whatever decides is kept
//! beside the state as its [`Source`].

pub mod admission;
pub mod request;
pub mod tcf;

use std::{collections::HashMap, time::Duration};

use self::tcf::Tcf;
use super::{geo::Place, visit::Visit};
use crate::record::{Consent, ConsentSignal};

/// Who decided on a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The event's own `consent` object.
    Event,
    /// `gcd`.
    Gcd,
    /// `gcs`.
    Gcs,
    /// `npa`: non-personalised advertisements.
    Npa,
    /// `dma_cps`: the core platform services that may use the data.
    DmaCps,
    /// A TC string.
    Tcf,
    /// `consent.regions`.
    Region,
    /// `consent.default`.
    Default,
    /// `Sec-GPC: 1`.
    Gpc,
    /// `identity.optOutCookie`.
    OptOut,
    /// Nobody: the signal is unset.
    #[default]
    Nobody,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Event,
        Self::Gcd,
        Self::Gcs,
        Self::Npa,
        Self::DmaCps,
        Self::Tcf,
        Self::Region,
        Self::Default,
        Self::Gpc,
        Self::OptOut,
        Self::Nobody,
    ];

    /// As metrics and `simulate` name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Gcd => "gcd",
            Self::Gcs => "gcs",
            Self::Npa => "npa",
            Self::DmaCps => "dma_cps",
            Self::Tcf => "tcf",
            Self::Region => "region",
            Self::Default => "default",
            Self::Gpc => "gpc",
            Self::OptOut => "opt_out",
            Self::Nobody => "nobody",
        }
    }
}

/// The state of the four signals, and who decided on each, in the order of [`crate::record::SIGNALS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The states.
    pub consent: Consent,
    /// Who decided on each; [`Source::Nobody`] where it is unset.
    pub sources: [Source; 4],
}

impl Resolved {
    /// What `source` says; it is asked for nothing that it leaves unset.
    #[must_use]
    pub fn said_by(source: Source, consent: Consent) -> Self {
        let mut said = Self::default();
        said.complete(source, consent);
        said
    }

    /// Lets `source` decide on what nobody has decided on yet.
    pub fn complete(&mut self, source: Source, consent: Consent) {
        self.change(source, |before, index| {
            let said = consent.states().get(index).copied().unwrap_or_default();
            (before == ConsentSignal::Unset && said != ConsentSignal::Unset).then_some(said)
        });
    }

    /// Denies signals, whoever granted them. Who has denied one already stays its source.
    pub fn deny(&mut self, source: Source, denies: [bool; 4]) {
        self.change(source, |before, index| {
            let denied = denies.get(index).copied().unwrap_or_default() && before != ConsentSignal::Denied;
            denied.then_some(ConsentSignal::Denied)
        });
    }

    /// Whether there is nothing left to decide.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.consent.states().contains(&ConsentSignal::Unset)
    }

    fn change(&mut self, source: Source, decide: impl Fn(ConsentSignal, usize) -> Option<ConsentSignal>) {
        let mut states = self.consent.states();
        for (index, (state, by)) in states.iter_mut().zip(&mut self.sources).enumerate() {
            if let Some(decided) = decide(*state, index) {
                (*state, *by) = (decided, source);
            }
        }
        self.consent = Consent::of(states);
    }
}

/// What a hit says of one of its events, beside its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// What the event's own `consent` and Google's parameters say.
    pub signals: Resolved,
    /// The TC string in the event's own `consent`.
    pub tcf: Option<Tcf>,
}

/// `consent` of a container, and what opts out.
#[derive(Clone, Debug, Default)]
pub struct ConsentPolicy {
    /// `consent.default`.
    pub default: Consent,
    /// `consent.regions`, by country.
    pub regions: HashMap<Box<str>, CountryDefaults>,
    /// `consent.hold`.
    pub hold: Option<HoldPolicy>,
    /// `identity.optOutCookie`.
    pub opt_out_cookie: Option<Box<str>>,
}

/// The defaults of one country.
#[derive(Clone, Debug, Default)]
pub struct CountryDefaults {
    /// Those of the country itself.
    pub whole: Option<Consent>,
    /// Those of its regions, by the second part of ISO 3166-2.
    pub parts: HashMap<Box<str>, Consent>,
}

/// `consent.hold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoldPolicy {
    /// How long an event waits at the most.
    pub max_age: Duration,
    /// How many events wait at the most.
    pub max_events: usize,
}

impl ConsentPolicy {
    /// The defaults of the most specific region that the place is in.
    fn of_place(&self, place: &Place) -> Option<Consent> {
        let country = self.regions.get(place.country.as_deref()?)?;
        let part = place.region.as_deref().and_then(|region| country.parts.get(region));
        part.copied().or(country.whole)
    }
}

/// The one state of consent of an event, with the source of each signal. The request is read no further than it takes.
#[must_use]
pub fn resolve(policy: &ConsentPolicy, said: &Said, visit: &Visit<'_>) -> Resolved {
    let mut resolved = said.signals;
    if !resolved.is_complete()
        && let Some(tcf) = said.tcf.or_else(|| visit.consent.tcf(&visit.request))
    {
        resolved.complete(Source::Tcf, tcf.consent());
    }
    if let Some(default) = visit.place.as_ref().and_then(|place| policy.of_place(place)) {
        resolved.complete(Source::Region, default);
    }
    resolved.complete(Source::Default, policy.default);
    if visit.consent.global_privacy_control {
        resolved.deny(Source::Gpc, [true, false, true, true]);
    }
    if visit.consent.opted_out {
        resolved.deny(Source::OptOut, [true; 4]);
    }
    resolved
}

#[cfg(test)]
mod tests;
