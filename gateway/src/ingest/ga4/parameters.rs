//! The parameters of `/g/collect` that have a place of their own in the event (vendors/ga4-collect.md sections 2 and 4),
//! as one table. Whatever is not in it is kept all the same: see [`super::hit`].

/// What a parameter's text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text as it is.
    Text,
    /// A number; text if it is none.
    Number,
    /// A boolean of `1`, `0`, `true`, `false`; text if it is none of them.
    Flag,
    /// Part of `client_hints`.
    Hint,
}

/// Declares the table: the enum, the look-up by wire name, and each entry's field and kind.
macro_rules! parameters {
    ($($variant:ident = $wire:literal => $field:literal, $kind:ident;)*) => {
        /// A parameter with a place of its own, in the order in which they stand in the event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Parameter {
            $(#[doc = concat!("`", $wire, "`")] $variant,)*
        }

        impl Parameter {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The parameter of this name on the wire.
            pub(super) fn named(wire: &str) -> Option<Self> {
                // Compared as integers: the compiler makes one switch of these lines, and none of a chain of text compares.
                let packed = pack(wire);
                $(if packed == const { pack($wire) } {
                    return Some(Self::$variant);
                })*
                None
            }

            /// Its name on the wire.
            pub(crate) const fn wire(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                }
            }

            /// The event's field, or the member of `client_hints`.
            pub(crate) const fn field(self) -> &'static str {
                match self {
                    $(Self::$variant => $field,)*
                }
            }

            /// Whether a custom parameter may take its field: [`Custom::Replaces`].
            pub(super) const fn is_replaceable(self) -> bool {
                matches!(
                    self,
                    Self::UserId
                        | Self::Currency
                        | Self::PageLocation
                        | Self::PageReferrer
                        | Self::PageTitle
                        | Self::PageHostname
                        | Self::PageEncoding
                )
            }

            /// What its text becomes.
            pub(crate) const fn kind(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$kind,)*
                }
            }
        }
    };
}

/// A name of up to seven bytes and its length in one integer; 0 for a longer one, as none in the table is.
const fn pack(name: &str) -> u64 {
    let mut rest = name.as_bytes();
    if rest.len() > 7 {
        return 0;
    }
    let mut packed = rest.len() as u64;
    while let [byte, after @ ..] = rest {
        packed = packed << 8 | *byte as u64;
        rest = after;
    }
    packed
}

parameters! {
    EventName = "en" => "event_name", Text;
    ClientId = "cid" => "client_id", Text;
    UserId = "uid" => "user_id", Text;
    SessionId = "sid" => "ga_session_id", Text;
    SessionNumber = "sct" => "ga_session_number", Number;
    EngagementTime = "_et" => "engagement_time_msec", Number;
    PageLocation = "dl" => "page_location", Text;
    PageReferrer = "dr" => "page_referrer", Text;
    PageTitle = "dt" => "page_title", Text;
    PageHostname = "dh" => "page_hostname", Text;
    PageEncoding = "de" => "page_encoding", Text;
    Language = "ul" => "language", Text;
    ScreenResolution = "sr" => "screen_resolution", Text;
    ViewportSize = "vp" => "viewport_size", Text;
    Currency = "cu" => "currency", Text;
    ProtocolVersion = "v" => "x-ga-protocol_version", Text;
    MeasurementId = "tid" => "x-ga-measurement_id", Text;
    GtmVersion = "gtm" => "x-ga-gtm_version", Text;
    PageId = "_p" => "x-ga-page_id", Number;
    RequestCount = "_s" => "x-ga-request_count", Number;
    SessionEngaged = "seg" => "x-ga-mp2-seg", Text;
    ConsentStorages = "gcs" => "x-ga-gcs", Text;
    ConsentSignals = "gcd" => "x-ga-gcd", Text;
    ConsentUpdated = "gcu" => "x-ga-gcu", Text;
    DigitalMarketsAct = "dma" => "x-ga-dma", Flag;
    CoreServices = "dma_cps" => "x-ga-dma_cps", Text;
    NonPersonalizedAds = "npa" => "x-ga-npa", Text;
    UserProvidedData = "em" => "x-ga-em", Text;
    EnhancedClientId = "ecid" => "x-ga-ecid", Text;
    DeveloperId = "did" => "x-ga-did", Text;
    GlobalDeveloperId = "gdid" => "x-ga-gdid", Text;
    EventDeveloperId = "edid" => "x-ga-edid", Text;
    TimeSinceNavigation = "tfd" => "x-ga-tfd", Number;
    LandingPageSeen = "lps" => "x-ga-lps", Flag;
    AttributionReporting = "are" => "x-ga-are", Text;
    PrivacySandboxLabel = "pscdl" => "x-ga-pscdl", Text;
    UserRegion = "ur" => "x-ga-ur", Text;
    Architecture = "uaa" => "architecture", Hint;
    Bitness = "uab" => "bitness", Hint;
    FullVersionList = "uafvl" => "full_version_list", Hint;
    Mobile = "uamb" => "mobile", Hint;
    Model = "uam" => "model", Hint;
    Platform = "uap" => "platform", Hint;
    PlatformVersion = "uapv" => "platform_version", Hint;
    Wow64 = "uaw" => "wow64", Hint;
}

/// The event's field for a plain parameter that has no place of its own: `x-ga-mp2-<name>`. Those that browsers send
/// every day are spelled out, so that they cost no allocation.
pub(super) fn plain_field(wire: &str) -> std::borrow::Cow<'static, str> {
    macro_rules! known {
        ($($name:literal)*) => {
            match wire {
                $($name => concat!("x-ga-mp2-", $name).into(),)*
                _ => format!("x-ga-mp2-{wire}").into(),
            }
        };
    }
    known!(
        "frm" "richsstsse" "tag_exp" "ir" "tt" "gcut" "gtm_up" "ec_mode" "pae" "p" "us_privacy" "gdpr" "gdpr_consent" "gpp"
        "gpp_sid" "cs" "cm" "cn" "cc" "ck" "ct" "ci" "ccf" "cmt" "z"
    )
}

/// What happens to a custom parameter (`ep.`, `epn.`) of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Custom {
    /// It becomes a field of its own name.
    Free,
    /// It becomes that field, and replaces what the client itself would put there (contract: event_id, value, currency,
    /// transaction_id, items, page_*, user_id).
    Replaces,
    /// The field is the client's: the parameter is kept as `x_<name>`.
    Reserved,
}

/// Which rule a custom parameter's name falls under. The same whether or not this hit sets the field, so that the outcome
/// does not depend on what else the sender sent.
pub(super) fn custom(name: &str) -> Custom {
    match name {
        "event_id" | "value" | "currency" | "transaction_id" | "items" | "user_id" | "page_location"
        | "page_referrer" | "page_title" | "page_hostname" | "page_path" | "page_encoding" => Custom::Replaces,
        "event_name"
        | "client_id"
        | "ga_session_id"
        | "ga_session_number"
        | "engagement_time_msec"
        | "language"
        | "screen_resolution"
        | "viewport_size"
        | "user_agent"
        | "client_hints"
        | "ip_override"
        | "timestamp_ms"
        | "user_data"
        | "user_properties"
        | "click_ids"
        | "cookies"
        | "event_location" => Custom::Reserved,
        _ if name.starts_with("x-ga-") || name.starts_with("x-sst-") => Custom::Reserved,
        _ => Custom::Free,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_parameter_is_found_by_its_wire_name_only() {
        for parameter in Parameter::ALL {
            assert_eq!(Parameter::named(parameter.wire()), Some(*parameter));
        }
        for other in ["", "e", "enn", "EN", "en\0", "\0en", "dma_cpsx", "ep.en"] {
            assert_eq!(Parameter::named(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_custom_parameter_takes_only_what_it_may_replace() {
        for parameter in Parameter::ALL.iter().filter(|parameter| parameter.kind() != Kind::Hint) {
            let expected = if parameter.is_replaceable() {
                Custom::Replaces
            } else {
                Custom::Reserved
            };
            assert_eq!(custom(parameter.field()), expected, "{parameter:?}");
        }
    }

    /// A parameter added to the table must be added to the vectors too.
    #[test]
    fn every_parameter_has_its_vector() {
        let vectors = include_str!("../../../../tests/vectors/ga4/parameters.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        let given = |case: &serde_json::Value| case.get("parameters").unwrap().as_str().unwrap().to_owned();
        let all: Vec<String> = vectors
            .get("cases")
            .unwrap()
            .as_array()
            .unwrap()
            .iter()
            .map(given)
            .collect();
        let base = vectors.get("base").unwrap().get("url").unwrap().as_str().unwrap();
        for parameter in Parameter::ALL {
            let written = format!("{}=", parameter.wire());
            let found = all.iter().any(|query| query.starts_with(&written)) || base.contains(&written);
            assert!(found, "{}", parameter.wire());
        }
    }
}
