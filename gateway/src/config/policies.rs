//! From a container's spec to the settings of the pipeline's steps.

use std::collections::HashMap;

use tagfleet_crds::{
    TaggingContainerSpec,
    tagging_container::{ConsentRegion, ConsentSignals, ConsentState, IpAddress},
};

use crate::{
    pipeline::{
        consent::{ConsentPolicy, CountryDefaults, HoldPolicy},
        policies::Policies,
        privacy::IpAddressPolicy,
    },
    record::{Consent, ConsentSignal},
};

/// Compiles what validation has let pass.
#[must_use]
pub fn compile(spec: &TaggingContainerSpec) -> Policies {
    let privacy = spec.effective_privacy();
    Policies {
        ip_address: match privacy.ip_address {
            IpAddress::Keep => IpAddressPolicy::Keep,
            IpAddress::Truncate => IpAddressPolicy::Truncate,
            IpAddress::Remove => IpAddressPolicy::Remove,
        },
        consent: consent(spec),
        ..Policies::default()
    }
}

/// `consent`, and the cookie that opts out.
#[must_use]
pub fn consent(spec: &TaggingContainerSpec) -> ConsentPolicy {
    let stated = spec.consent.clone().unwrap_or_default();
    ConsentPolicy {
        default: signals(stated.default.unwrap_or_default()),
        regions: regions(&stated.regions),
        hold: stated.hold.map(|hold| HoldPolicy {
            max_age: hold.max_age.into(),
            max_events: usize::try_from(hold.max_events).unwrap_or(usize::MAX),
        }),
        opt_out_cookie: spec
            .identity
            .as_ref()
            .and_then(|identity| identity.opt_out_cookie.as_deref())
            .map(Box::from),
    }
}

/// The regions by country. Of one that is listed twice, which validation refuses, the last counts.
fn regions(stated: &[ConsentRegion]) -> HashMap<Box<str>, CountryDefaults> {
    let mut countries: HashMap<Box<str>, CountryDefaults> = HashMap::new();
    for region in stated {
        let defaults = signals(region.default);
        for code in &region.region {
            let (country, part) = match code.split_once('-') {
                Some((country, part)) => (country, Some(part)),
                None => (code.as_str(), None),
            };
            let country = countries.entry(country.into()).or_default();
            match part {
                Some(part) => drop(country.parts.insert(part.into(), defaults)),
                None => country.whole = Some(defaults),
            }
        }
    }
    countries
}

fn signals(stated: ConsentSignals) -> Consent {
    let state = |state: Option<ConsentState>| match state {
        Some(ConsentState::Granted) => ConsentSignal::Granted,
        Some(ConsentState::Denied) => ConsentSignal::Denied,
        None => ConsentSignal::Unset,
    };
    Consent {
        ad_storage: state(stated.ad_storage),
        analytics_storage: state(stated.analytics_storage),
        ad_user_data: state(stated.ad_user_data),
        ad_personalization: state(stated.ad_personalization),
    }
}
