//! What a destination gets, in words that both layouts use.

use tagfleet_crds::{
    DestinationSpec, Duration,
    data_flow::{Pair, Row, Treatment, rows},
    destination::{OnDenied, Purpose, Vendor},
};

use crate::config::data_flow::Described;

/// One destination of a container.
pub(super) struct Recipient<'d> {
    pub(super) name: &'d str,
    pub(super) spec: &'d DestinationSpec,
    pub(super) vendor: Vendor<'d>,
    pub(super) rows: Vec<Row>,
}

/// The destinations of a container whose vendor is known, by name.
pub(super) fn recipients(described: &Described) -> impl Iterator<Item = Recipient<'_>> {
    described.destinations.iter().filter_map(|(name, spec)| {
        let vendor = spec.vendor()?;
        Some(Recipient {
            name,
            spec,
            vendor,
            rows: rows(Pair {
                container: &described.spec,
                scope: &described.scope,
                name,
                destination: spec,
                vendor,
            }),
        })
    })
}

impl Recipient<'_> {
    pub(super) const fn purpose(&self) -> &'static str {
        match self.vendor.purpose() {
            Purpose::Advertising => "advertising",
            Purpose::Analytics => "analytics",
            Purpose::OwnSystems => "own systems",
        }
    }

    /// The names of the events that it may get.
    pub(super) fn events(&self) -> String {
        let named = self.spec.trigger.iter().flat_map(|trigger| &trigger.events);
        let named: Vec<&str> = named.map(String::as_str).collect();
        let mapped = match self.vendor {
            Vendor::LinkedinConversions(linkedin) => Some(&linkedin.conversions),
            Vendor::GoogleAds(ads) => Some(&ads.conversion_actions),
            _ => None,
        };
        match (named.is_empty(), mapped) {
            (false, _) => named.join(", "),
            (true, Some(mapped)) => mapped.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
            (true, None) => "every event".to_owned(),
        }
    }

    /// The condition of its trigger; empty when there is none.
    pub(super) fn condition(&self) -> &str {
        let when = self.spec.trigger.as_ref().and_then(|trigger| trigger.when.as_deref());
        when.unwrap_or_default()
    }

    /// The signals that must be granted.
    pub(super) fn required(&self) -> Vec<&'static str> {
        self.spec
            .effective_consent()
            .iter()
            .map(|signal| signal.as_str())
            .collect()
    }

    /// What becomes of an event without that consent, or which a visitor has refused to the vendor's own signal.
    pub(super) fn on_denied(&self) -> &'static str {
        let on_denied = self
            .spec
            .consent
            .as_ref()
            .map(|consent| consent.on_denied)
            .unwrap_or_default();
        match (on_denied, self.vendor) {
            _ if self.required().is_empty() => match self.vendor {
                Vendor::Ga4(ga4) if ga4.api_secret.is_some() => "not sent when analytics_storage is denied",
                Vendor::Ga4(_) => "sent without identifiers when analytics_storage is denied",
                _ => "",
            },
            (OnDenied::Anonymize, _) => "else sent without identifiers, where the recipient allows that",
            (OnDenied::Drop, _) => "else not sent",
        }
    }

    /// How old an event may become before it is given up.
    pub(super) fn max_age(&self) -> Duration {
        let millis = self.spec.effective_delivery().max_age.as_millis();
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// What becomes of a parameter, in a word or two.
pub(super) const fn form(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::AsItIs => "as it is",
        Treatment::InPart => "in part",
        Treatment::Truncated => "truncated",
        Treatment::Hashed => "hashed",
        Treatment::Computed => "computed",
        Treatment::Removed => "removed",
    }
}

/// The parameter as it is shown.
pub(super) fn parameter(row: &Row) -> &str {
    match row.parameter.as_str() {
        "" => "every other parameter",
        name => name,
    }
}
