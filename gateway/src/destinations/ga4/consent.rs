//! The consent that a forwarded hit tells: what was resolved, where that is not what the tag said. A visitor may have
//! denied by Global Privacy Control or an opt-out cookie what the tag took for granted.

use std::borrow::Cow;

use crate::{
    ingest::consent_signals::ConsentParameters,
    record::{Consent, ConsentSignal},
};

/// Rewrites `gcs`, `gcd` and `npa` (vendors/others.md section 15) where they say other than `resolved`, which adds them
/// where the hit has none. Signals that are unset stay as the tag told them.
pub(super) fn tell<'v>(parameters: &mut Vec<(Cow<'v, str>, Cow<'v, str>)>, resolved: &Consent) {
    let get = |name: &str| {
        let found = parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_ref())
    };
    let told = ConsentParameters {
        gcd: get("gcd"),
        gcs: get("gcs"),
        npa: get("npa"),
        dma_cps: get("dma_cps"),
    };
    let told = told.decode().signals.consent;
    let mut states = told.states();
    for (state, resolved) in states.iter_mut().zip(resolved.states()) {
        if resolved != ConsentSignal::Unset {
            *state = resolved;
        }
    }
    let consent = Consent::of(states);
    if consent == told {
        return;
    }
    let [ad, analytics] = [consent.ad_storage, consent.analytics_storage].map(|state| match state {
        ConsentSignal::Granted => '1',
        ConsentSignal::Denied => '0',
        ConsentSignal::Unset => '-',
    });
    let [a, b, c, d] = states.map(|state| match state {
        ConsentSignal::Granted => 't',
        ConsentSignal::Denied => 'p',
        ConsentSignal::Unset => 'l',
    });
    set(parameters, "gcs", format!("G1{ad}{analytics}"));
    set(parameters, "gcd", format!("13{a}3{b}3{c}3{d}5l1"));
    if consent.ad_personalization == ConsentSignal::Denied {
        set(parameters, "npa", "1".to_owned());
    }
}

fn set<'v>(parameters: &mut Vec<(Cow<'v, str>, Cow<'v, str>)>, name: &'static str, value: String) {
    match parameters.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value.into(),
        None => parameters.push((name.into(), value.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: ConsentSignal = ConsentSignal::Granted;
    const D: ConsentSignal = ConsentSignal::Denied;
    const U: ConsentSignal = ConsentSignal::Unset;

    fn told(given: &[(&'static str, &'static str)], resolved: [ConsentSignal; 4]) -> Vec<String> {
        let mut parameters: Vec<_> = given
            .iter()
            .map(|(name, value)| (Cow::from(*name), Cow::from(*value)))
            .collect();
        tell(&mut parameters, &Consent::of(resolved));
        parameters
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    #[test]
    fn what_the_tag_said_stays_as_it_said_it() {
        let hit = [("gcs", "G111"), ("gcd", "13r3v3t3n5l1"), ("npa", "0")];
        let same = ["gcs=G111", "gcd=13r3v3t3n5l1", "npa=0"];
        assert_eq!(told(&hit, [G, G, G, G]), same);
        assert_eq!(told(&hit, [U, U, U, U]), same);
        assert_eq!(told(&[], [U, U, U, U]), Vec::<String>::new());
    }

    #[test]
    fn a_denial_that_the_tag_knows_nothing_of_is_told() {
        let hit = [("gcs", "G111"), ("gcd", "13t3t3t3t5l1"), ("npa", "0")];
        assert_eq!(
            told(&hit, [D, G, D, D]),
            ["gcs=G101", "gcd=13p3t3p3p5l1", "npa=1"],
            "Global Privacy Control"
        );
    }

    #[test]
    fn an_event_of_another_client_tells_its_consent() {
        assert_eq!(told(&[], [U, G, D, U]), ["gcs=G1-1", "gcd=13l3t3p3l5l1"]);
    }
}
