//! What every vendor block shares: `eventNames`, `parameters`, and expressions that are run when an event is sent.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value as JsonValue};
use tagfleet_expressions::{Expression, Steps, Value};

use crate::{
    activation::HitActivation,
    event::{Event, field},
    pipeline::lookup::LookupTables,
    record::Record,
};

/// A JSON object.
pub type Json = Map<String, JsonValue>;

/// An expression of a destination, with the path of its field for counts and messages.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its path below the vendor's block, as `parameters.value`.
    pub path: String,
    /// What it computes.
    pub expression: Expression,
}

/// `eventNames` and `parameters` of a vendor block, compiled, with the lookup tables in force.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// Our event names mapped to the vendor's.
    pub event_names: BTreeMap<String, String>,
    /// The vendor's fields, by name.
    pub parameters: Vec<(String, Field)>,
    /// What `lookup` reads.
    pub tables: Arc<LookupTables>,
}

/// Runs the expressions of one record: they share one budget of steps, and failures are counted.
#[derive(Debug, Default)]
pub struct Failures(BTreeMap<String, u64>);

impl Failures {
    /// The counts by field path.
    #[must_use]
    pub fn into_counts(self) -> BTreeMap<String, u64> {
        self.0
    }
}

/// What is left of a record's budget for expressions.
#[derive(Debug, Default)]
pub struct Budget(Steps);

impl Mapping {
    /// The event's name for this vendor.
    #[must_use]
    pub fn event_name<'v>(&'v self, event: &'v Event<'_>) -> &'v str {
        let name = event.name();
        self.event_names.get(name).map_or(name, String::as_str)
    }

    /// The value of an expression for a record; `null` when it fails, which is counted.
    pub fn evaluate<'v>(
        &'v self,
        field: &'v Field,
        record: &'v Record<'v>,
        budget: &mut Budget,
        failures: &mut Failures,
    ) -> Value<'v> {
        let activation = HitActivation::of_record(record, &self.tables);
        field
            .expression
            .evaluate(&activation, &mut budget.0)
            .unwrap_or_else(|_| {
                *failures.0.entry(field.path.clone()).or_default() += 1;
                Value::Null
            })
    }

    /// The vendor's fields that `parameters` sets. `null` sets nothing: the standard mapping stays.
    pub fn values<'v>(
        &'v self,
        record: &'v Record<'v>,
        budget: &mut Budget,
        failures: &mut Failures,
    ) -> Vec<(&'v str, Value<'v>)> {
        let values = self.parameters.iter().filter_map(|(name, field)| {
            let value = self.evaluate(field, record, budget, failures);
            (value != Value::Null).then_some((name.as_str(), value))
        });
        values.collect()
    }

    /// The event as a vendor gets it that speaks GTM's own field names: with the vendor's event name, and each of
    /// `parameters` in the place of the field of its name.
    pub fn apply<'v>(
        &'v self,
        record: &'v Record<'v>,
        budget: &mut Budget,
        failures: &mut Failures,
    ) -> Cow<'v, Event<'v>> {
        let name = self.event_names.get(record.event.name());
        if name.is_none() && self.parameters.is_empty() {
            return Cow::Borrowed(&record.event);
        }
        let mut event: Event<'v> = record.event.clone();
        if let Some(name) = name {
            event.set(field::EVENT_NAME, name.as_str());
        }
        for (name, value) in self.values(record, budget, failures) {
            event.set(name, value);
        }
        Cow::Owned(event)
    }
}

/// Puts a value at a dotted name (`custom_data.status`) of a JSON object, making the objects on the way; what stands
/// there gives way.
pub fn put(object: &mut Json, name: &str, value: JsonValue) {
    match name.split_once('.') {
        None => {
            object.insert(name.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| JsonValue::Object(Json::new()));
            if !inner.is_object() {
                *inner = JsonValue::Object(Json::new());
            }
            if let Some(inner) = inner.as_object_mut() {
                put(inner, rest, value);
            }
        }
    }
}

/// A value as text, where a vendor's field takes nothing else: text as it is, numbers and booleans as JSON writes them.
/// `None` for `null`, lists and maps.
#[must_use]
pub fn text<'v>(value: &'v Value<'_>) -> Option<Cow<'v, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Int(number) => Some(Cow::Owned(number.to_string())),
        Value::Uint(number) => Some(Cow::Owned(number.to_string())),
        Value::Double(number) if number.is_finite() => Some(Cow::Owned(decimal(*number))),
        Value::Double(_) | Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// A double as JSON writes it, but a whole one without `.0`.
fn decimal(number: f64) -> String {
    /// Whole doubles below are exact integers.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        format!("{number:.0}")
    } else {
        number.to_string()
    }
}

/// Text cut to so many characters.
#[must_use]
pub fn cut(text: &str, characters: usize) -> &str {
    match text.char_indices().nth(characters) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tagfleet_expressions::Environment;

    use super::*;

    fn mapping(event_names: &[(&str, &str)], parameters: &[(&str, &str)]) -> Mapping {
        Mapping {
            event_names: event_names
                .iter()
                .map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()))
                .collect(),
            parameters: parameters
                .iter()
                .map(|(name, source)| {
                    let field = Field {
                        path: format!("parameters.{name}"),
                        expression: Expression::compile(source, &Environment::event()).unwrap(),
                    };
                    ((*name).to_owned(), field)
                })
                .collect(),
            tables: Arc::default(),
        }
    }

    fn record() -> Record<'static> {
        let mut event = Event::new();
        event.set("event_name", "add_to_cart");
        event.set("currency", "EUR");
        event.set("value", 39.5);
        Record {
            accepted_ms: 0,
            event,
            ..Record::default()
        }
    }

    fn applied(mapping: &Mapping) -> (serde_json::Value, BTreeMap<String, u64>) {
        let (record, mut failures) = (record(), Failures::default());
        let event = mapping.apply(&record, &mut Budget::default(), &mut failures);
        (serde_json::to_value(&*event).unwrap(), failures.into_counts())
    }

    #[test]
    fn names_and_parameters_win_over_the_event() {
        let (event, failures) = applied(&mapping(
            &[("add_to_cart", "AddToCart")],
            &[("value", "event.value * 2.0"), ("consented", "consent.ad_storage")],
        ));
        let expected = serde_json::json!({
            "event_name": "AddToCart", "currency": "EUR", "value": 79.0, "consented": "unset"
        });
        assert_eq!((event, failures.len()), (expected, 0));
    }

    #[test]
    fn a_failed_expression_sets_nothing_and_is_counted() {
        let (event, failures) = applied(&mapping(&[], &[("value", "event.missing * 2.0")]));
        assert_eq!(event.get("value").unwrap(), 39.5);
        assert_eq!(failures, BTreeMap::from([("parameters.value".to_owned(), 1)]));
    }

    #[test]
    fn without_a_mapping_the_event_is_not_copied() {
        let (mapping, record) = (mapping(&[("other", "Other")], &[]), record());
        let event = mapping.apply(&record, &mut Budget::default(), &mut Failures::default());
        assert!(matches!(event, Cow::Borrowed(_)));
    }

    #[test]
    fn a_dotted_name_reaches_into_objects() {
        let mut object = Json::new();
        for (name, value) in [("a.b.c", 1), ("a.d", 2), ("e", 3), ("e.f", 4)] {
            put(&mut object, name, value.into());
        }
        let expected = serde_json::json!({"a": {"b": {"c": 1}, "d": 2}, "e": {"f": 4}});
        assert_eq!(JsonValue::Object(object), expected);
    }

    #[test]
    fn values_as_text() {
        let rows = [
            (Value::from("x"), Some("x")),
            (Value::from(true), Some("true")),
            (Value::from(-3), Some("-3")),
            (Value::from(2.0), Some("2")),
            (Value::from(19.99), Some("19.99")),
            (Value::from(f64::NAN), None),
            (Value::Null, None),
            (Value::List(vec![]), None),
        ];
        for (value, expected) in rows {
            assert_eq!(text(&value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
