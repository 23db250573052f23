//! `redact`: what can be told by its form to be personal, inside any text, replaced by `[redacted]`.
//!
//! Everything here looks at a text once from left to right, with a bounded look ahead: no input takes longer than its length
//! asks for. What cannot be in a text is not looked for in it: no address without an `@`, no number without digits.

mod email;
mod iban;
mod numbers;
mod query;
mod scan;

use std::{borrow::Cow, ops::Range};

use tagfleet_crds::tagging_container::{Redact, RedactPattern};
use tagfleet_expressions::{Map, Value};

use self::{
    numbers::Wanted,
    query::Names,
    scan::{Bytes, Together},
};
use super::parameters::{Parameters, for_each_leaf};
use crate::event::field;

/// What stands where something was.
pub const REDACTED: &str = "[redacted]";

/// Whether a field is not looked into unless it is named: identifiers by intent, which are excluded or hashed, and what
/// every event needs.
pub(super) fn is_spared(name: &str) -> bool {
    matches!(
        name,
        field::USER_DATA
            | field::CLIENT_ID
            | field::USER_ID
            | field::COOKIES
            | field::CLICK_IDS
            | field::EVENT_NAME
            | field::EVENT_ID
            | field::TIMESTAMP_MS
    )
}

/// Bytes of the shortest text that holds anything: `?a=b`.
const SHORTEST: usize = 4;

/// A compiled `redact`.
#[derive(Clone, Debug)]
pub struct Redaction {
    email: bool,
    iban: bool,
    numbers: Wanted,
    query: Names,
    /// Where it looks; everywhere but in what [`is_spared`] when none.
    parameters: Option<Parameters>,
}

impl Redaction {
    /// Compiles what a manifest says.
    #[must_use]
    pub fn new(redact: &Redact) -> Self {
        let has = |pattern| redact.patterns.contains(&pattern);
        let parameters = redact.parameters.as_ref();
        Self {
            email: has(RedactPattern::Email),
            iban: has(RedactPattern::Iban),
            numbers: Wanted {
                card: has(RedactPattern::Card),
                phone: has(RedactPattern::Phone),
            },
            query: Names::new(&redact.query_parameters),
            parameters: parameters.map(|names| Parameters::new(names.iter().map(String::as_str))),
        }
    }

    /// The fields that it looks into; none when it is all but what [`is_spared`].
    #[must_use]
    pub fn parameters(&self) -> Option<&Parameters> {
        self.parameters.as_ref()
    }

    /// Redacts the texts of an event.
    pub fn apply(&self, fields: &mut Map<'_>) {
        let redact = |value: &mut Value<'_>| {
            if let Value::String(text) = value
                && let Some(clean) = self.redacted(text)
            {
                *text = Cow::Owned(clean);
            }
        };
        match &self.parameters {
            Some(parameters) => parameters.for_each_leaf(fields, &mut |_, leaf| redact(leaf)),
            None => {
                for (name, value) in fields.iter_mut().filter(|(name, _)| !is_spared(name)) {
                    match value {
                        Value::List(_) | Value::Map(_) => for_each_leaf(name, value, &mut |_, leaf| redact(leaf)),
                        leaf => redact(leaf),
                    }
                }
            }
        }
    }

    /// The text without what is redacted; none when there is nothing of that in it.
    #[must_use]
    pub fn redacted(&self, text: &str) -> Option<String> {
        if text.len() < SHORTEST {
            return None;
        }
        let bytes = Bytes::of(text);
        let mut found = Vec::new();
        if !self.query.is_empty() && (bytes.equals || bytes.percent) {
            self.query.find(text, &mut found);
        }
        if self.email && (bytes.at || bytes.percent) {
            email::find(text, &mut found);
        }
        let numbers = (self.numbers.card || self.numbers.phone) && bytes.digits >= numbers::FEWEST_DIGITS;
        let iban = self.iban && bytes.digits >= iban::CHECK_DIGITS && text.len() >= iban::SHORTEST;
        if numbers || iban {
            let together = Together::of(text, bytes);
            if numbers && together.digits >= numbers::FEWEST_DIGITS {
                numbers::find(text, self.numbers, &mut found);
            }
            if iban && together.characters >= iban::SHORTEST {
                iban::find(text, &mut found);
            }
        }
        (!found.is_empty()).then(|| replaced(text, found))
    }
}

/// The text with every place replaced, overlapping ones as one.
fn replaced(text: &str, mut places: Vec<Range<usize>>) -> String {
    places.sort_by_key(|place| place.start);
    let mut clean = String::with_capacity(text.len());
    let mut done = 0;
    for place in places {
        if place.start >= done {
            clean.push_str(text.get(done..place.start).unwrap_or_default());
            clean.push_str(REDACTED);
        }
        done = done.max(place.end);
    }
    clean.push_str(text.get(done..).unwrap_or_default());
    clean
}

#[cfg(test)]
mod tests;
