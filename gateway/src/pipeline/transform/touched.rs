//! Which fields of the event transformations protect, and which expressions could tell of them all the same.

use std::collections::BTreeSet;

use tagfleet_expressions::{Expression, Type};

use super::{Change, Transformation, redact};
use crate::event::field;

/// The fields that some transformations protect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Removed or hashed, in whole or in part.
    hidden: BTreeSet<String>,
    /// All fields but these are removed.
    allowed: Option<BTreeSet<String>>,
    /// Texts in these are redacted.
    redacted: BTreeSet<String>,
    /// Texts in all fields but the spared are redacted.
    redacted_everywhere: bool,
}

impl Touched {
    /// What these transformations protect, whatever their conditions say.
    pub fn by<'t>(transformations: impl IntoIterator<Item = &'t Transformation>) -> Self {
        let mut touched = Self::default();
        let names = |parameters: &super::Parameters| parameters.fields().map(str::to_owned).collect::<Vec<_>>();
        for transformation in transformations {
            match &transformation.change {
                Change::Augment(_) => {}
                Change::Exclude(parameters) | Change::Hash(parameters) => touched.hidden.extend(names(parameters)),
                Change::Allow(parameters) => {
                    // Of a field that is listed by some of its parameters, the others go.
                    let whole = names(parameters).into_iter().filter(|name| parameters.has_whole(name));
                    let needed = super::NEEDED.map(str::to_owned);
                    let allowed: BTreeSet<String> = whole.chain(needed).collect();
                    touched.allowed = Some(match touched.allowed.take() {
                        Some(before) => before.intersection(&allowed).cloned().collect(),
                        None => allowed,
                    });
                }
                Change::Redact(redaction) => match redaction.parameters() {
                    Some(parameters) => touched.redacted.extend(names(parameters)),
                    None => touched.redacted_everywhere = true,
                },
            }
        }
        touched
    }

    /// Whether nothing is protected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the result of an expression could hold something of a protected field, by what it reads of event and request
    /// itself. One that can only be true or false tells nothing of a redacted text.
    #[must_use]
    pub fn reaches(&self, expression: &Expression) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_flag = expression.result_type() == Type::Bool;
        let by_event = match expression.event_fields_read() {
            None => true,
            Some(mut fields) => fields.any(|name| self.covers(name, is_flag)),
        };
        by_event || self.reaches_by_request(expression)
    }

    /// As [`Self::reaches`], by what it reads of the request alone: what a hit sent is there as it was sent.
    #[must_use]
    pub fn reaches_by_request(&self, expression: &Expression) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_flag = expression.result_type() == Type::Bool;
        match expression.request_fields_read() {
            None => true,
            Some(mut fields) => fields.any(|name| self.covers_of_request(name, is_flag)),
        }
    }

    fn covers(&self, name: &str, is_flag: bool) -> bool {
        let removed =
            self.hidden.contains(name) || self.allowed.as_ref().is_some_and(|allowed| !allowed.contains(name));
        let everywhere = self.redacted_everywhere && !redact::is_spared(name);
        removed || !is_flag && (everywhere || self.redacted.contains(name))
    }

    /// What the request holds of the event's fields. The query may hold all of them.
    fn covers_of_request(&self, name: &str, is_flag: bool) -> bool {
        let fields: &[&str] = match name {
            "query" => return !is_flag || !self.hidden.is_empty() || self.allowed.is_some(),
            "cookies" => &[field::COOKIES],
            "ip" => &[field::IP_OVERRIDE],
            "headers" => &[
                field::USER_AGENT,
                field::CLIENT_HINTS,
                field::LANGUAGE,
                field::PAGE_LOCATION,
                field::PAGE_REFERRER,
            ],
            _ => &[],
        };
        fields.iter().any(|field| self.covers(field, is_flag))
    }
}
