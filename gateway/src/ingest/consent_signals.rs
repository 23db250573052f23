//! Google's consent strings on a hit: `gcd`, `gcs`, `npa`, `dma_cps` (vendors/others.md section 15).

use tagfleet_expressions::Value;

use super::fields::Fields;
use crate::{
    pipeline::consent::{Resolved, Said, Source, tcf::Tcf},
    record::{Consent, ConsentSignal},
};

/// Takes the four signals out of an event's own `consent` object, and a TC string as its member `tcf`; members that are
/// none of them stay there. `granted` and `denied` count in any case of letters, `true` and `false` mean them; anything
/// else says nothing.
pub(super) fn take_from(fields: &mut Fields<'_>) -> Said {
    if !matches!(fields.get("consent"), Some(Value::Map(_))) {
        return Said::default();
    }
    let Some(Value::Map(mut given)) = fields.remove("consent") else {
        return Said::default();
    };
    let mut signal = |name: &str| given.remove(name).as_ref().map(signal_of).unwrap_or_default();
    let consent = Consent {
        ad_storage: signal("ad_storage"),
        analytics_storage: signal("analytics_storage"),
        ad_user_data: signal("ad_user_data"),
        ad_personalization: signal("ad_personalization"),
    };
    let tcf = match given.get("tcf") {
        Some(Value::String(_)) => given.remove("tcf"),
        _ => None,
    };
    if !given.is_empty() {
        fields.insert("consent", given);
    }
    Said {
        signals: Resolved::said_by(Source::Event, consent),
        tcf: tcf.as_ref().and_then(Value::as_str).and_then(Tcf::decode),
    }
}

fn signal_of(value: &Value<'_>) -> ConsentSignal {
    match value {
        Value::String(text) if text.eq_ignore_ascii_case("granted") => ConsentSignal::Granted,
        Value::String(text) if text.eq_ignore_ascii_case("denied") => ConsentSignal::Denied,
        Value::Bool(true) => ConsentSignal::Granted,
        Value::Bool(false) => ConsentSignal::Denied,
        _ => ConsentSignal::Unset,
    }
}

/// The consent parameters of one hit, undecoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConsentParameters<'h> {
    /// All four signals with their history.
    pub(crate) gcd: Option<&'h str>,
    /// The two storages.
    pub(crate) gcs: Option<&'h str>,
    /// Non-personalised advertisements.
    pub(crate) npa: Option<&'h str>,
    /// Core platform services that may use the data.
    pub(crate) dma_cps: Option<&'h str>,
}

impl ConsentParameters<'_> {
    /// What the hit says, `gcd` before `gcs`. A letter of `gcd` that nobody knows says nothing, and the older parameters
    /// answer for it. `npa=1` forbids personalised advertising whatever the others say; `npa=0` is sent by default
    /// and therefore no consent, unless it answers for an unknown letter.
    pub(crate) fn decode(self) -> Said {
        let gcd = self.gcd.and_then(Gcd::parse).unwrap_or_default();
        let mut signals = Resolved::said_by(Source::Gcd, gcd.consent());
        if let Some((ad_storage, analytics_storage)) = self.gcs.and_then(parse_gcs) {
            let storages = Consent {
                ad_storage,
                analytics_storage,
                ..Consent::default()
            };
            signals.complete(Source::Gcs, storages);
        }
        if gcd.ad_user_data == Letter::Unknown {
            let ad_user_data = self.advertising_service();
            signals.complete(
                Source::DmaCps,
                Consent {
                    ad_user_data,
                    ..Consent::default()
                },
            );
        }
        if gcd.ad_personalization == Letter::Unknown && self.npa == Some("0") {
            let ad_personalization = ConsentSignal::Granted;
            signals.complete(
                Source::Npa,
                Consent {
                    ad_personalization,
                    ..Consent::default()
                },
            );
        }
        if self.npa == Some("1") {
            signals.deny(Source::Npa, [false, false, false, true]);
        }
        Said { signals, tcf: None }
    }

    /// Whether Google Ads (`a`) is among the services of `dma_cps`.
    fn advertising_service(self) -> ConsentSignal {
        match self.dma_cps {
            Some("-") => ConsentSignal::Denied,
            Some(services) if services.contains('a') => ConsentSignal::Granted,
            Some(_) => ConsentSignal::Denied,
            None => ConsentSignal::Unset,
        }
    }
}

/// One signal of `gcd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Letter {
    /// There is no `gcd`.
    #[default]
    Absent,
    /// A letter outside the published table.
    Unknown,
    /// What the letter stands for.
    Known(ConsentSignal),
}

impl Letter {
    const fn signal(self) -> ConsentSignal {
        match self {
            Self::Known(signal) => signal,
            Self::Absent | Self::Unknown => ConsentSignal::Unset,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Gcd {
    ad_storage: Letter,
    analytics_storage: Letter,
    ad_user_data: Letter,
    ad_personalization: Letter,
}

impl Gcd {
    /// `1` digit letter digit letter digit letter digit letter tail, as `13t3t3t3t5l1`.
    fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [
                b'1',
                _,
                ad_storage,
                _,
                analytics_storage,
                _,
                ad_user_data,
                _,
                ad_personalization,
                ..,
            ] => Some(Self {
                ad_storage: letter(*ad_storage),
                analytics_storage: letter(*analytics_storage),
                ad_user_data: letter(*ad_user_data),
                ad_personalization: letter(*ad_personalization),
            }),
            _ => None,
        }
    }

    const fn consent(self) -> Consent {
        Consent {
            ad_storage: self.ad_storage.signal(),
            analytics_storage: self.analytics_storage.signal(),
            ad_user_data: self.ad_user_data.signal(),
            ad_personalization: self.ad_personalization.signal(),
        }
    }
}

/// Default and update of one signal; the update counts where there is one.
const fn letter(letter: u8) -> Letter {
    match letter {
        b'l' => Letter::Known(ConsentSignal::Unset),
        b'm' | b'p' | b'q' | b'u' => Letter::Known(ConsentSignal::Denied),
        b'n' | b'r' | b't' | b'v' => Letter::Known(ConsentSignal::Granted),
        _ => Letter::Unknown,
    }
}

/// `G1<ad_storage><analytics_storage>`; any other form says nothing.
fn parse_gcs(text: &str) -> Option<(ConsentSignal, ConsentSignal)> {
    const fn signal(byte: u8) -> Option<ConsentSignal> {
        match byte {
            b'1' => Some(ConsentSignal::Granted),
            b'0' => Some(ConsentSignal::Denied),
            b'-' => Some(ConsentSignal::Unset),
            _ => None,
        }
    }
    match text.as_bytes() {
        [b'G', b'1', ad_storage, analytics_storage] => Some((signal(*ad_storage)?, signal(*analytics_storage)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: ConsentSignal = ConsentSignal::Granted;
    const D: ConsentSignal = ConsentSignal::Denied;
    const U: ConsentSignal = ConsentSignal::Unset;

    fn decoded(gcd: Option<&str>, gcs: Option<&str>, npa: Option<&str>, dma_cps: Option<&str>) -> [ConsentSignal; 4] {
        let said = ConsentParameters { gcd, gcs, npa, dma_cps }.decode();
        said.signals.consent.states()
    }

    #[test]
    fn every_signal_knows_who_said_it() {
        let sources = |parameters: ConsentParameters<'_>| parameters.decode().signals.sources.map(Source::as_str);
        let all = ConsentParameters {
            gcd: Some("13t3l3Z3Z5l1"),
            gcs: Some("G111"),
            npa: Some("0"),
            dma_cps: Some("a"),
        };
        assert_eq!(sources(all), ["gcd", "gcs", "dma_cps", "npa"]);
        let forbidden = ConsentParameters {
            gcd: Some("13t3t3t3t5l1"),
            npa: Some("1"),
            ..ConsentParameters::default()
        };
        assert_eq!(sources(forbidden), ["gcd", "gcd", "gcd", "npa"]);
        assert_eq!(sources(ConsentParameters::default()), ["nobody"; 4]);
    }

    #[test]
    fn gcs_says_the_two_storages() {
        for (gcs, ad, analytics) in [
            ("G111", G, G),
            ("G101", D, G),
            ("G110", G, D),
            ("G100", D, D),
            ("G1--", U, U),
            ("G1-1", U, G),
            ("G2xx", U, U),
            ("G11", U, U),
            ("", U, U),
        ] {
            assert_eq!(decoded(None, Some(gcs), None, None), [ad, analytics, U, U], "{gcs}");
        }
    }

    #[test]
    fn every_letter_of_gcd() {
        for (letter, signal) in [
            ('l', U),
            ('m', D),
            ('n', G),
            ('p', D),
            ('q', D),
            ('r', G),
            ('t', G),
            ('u', D),
            ('v', G),
        ] {
            let gcd = format!("13{letter}3{letter}3{letter}3{letter}5l1");
            assert_eq!(decoded(Some(&gcd), None, None, None), [signal; 4], "{letter}");
        }
    }

    #[test]
    fn the_worked_examples_of_the_sheet() {
        assert_eq!(decoded(Some("13r3q3l3p5l1"), None, None, None), [G, D, U, D]);
        assert_eq!(decoded(Some("13l3l3l3l1l1"), None, None, None), [U; 4]);
    }

    #[test]
    fn gcd_comes_before_gcs() {
        assert_eq!(decoded(Some("13p3t3l3l1l1"), Some("G110"), None, None), [D, G, U, U]);
    }

    #[test]
    fn an_unknown_letter_is_answered_by_the_older_parameters() {
        assert_eq!(
            decoded(Some("13Z3Z3Z3Z5l1"), Some("G111"), Some("0"), Some("syphamo")),
            [G; 4]
        );
        assert_eq!(
            decoded(Some("13Z3Z3Z3Z5l1"), Some("G100"), Some("1"), Some("-")),
            [D; 4]
        );
        assert_eq!(decoded(Some("13Z3Z3Z3Z5l1"), None, None, None), [U; 4]);
    }

    #[test]
    fn npa_only_restricts() {
        assert_eq!(decoded(None, None, Some("1"), None), [U, U, U, D]);
        assert_eq!(decoded(None, None, Some("0"), Some("syphamo")), [U; 4]);
        assert_eq!(decoded(Some("13t3t3t3t5l1"), None, Some("1"), None), [G, G, G, D]);
    }

    #[test]
    fn any_other_form_says_nothing() {
        for gcd in ["", "1", "13t3t3t3", "23t3t3t3t5l1", "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}"] {
            assert_eq!(decoded(Some(gcd), None, None, None), [U; 4], "{gcd}");
        }
    }
}
