//! Events as the library of JSON Schema reads them: where they stand, without a copy as JSON.

use std::{borrow::Cow, iter, slice};

use jsonschema::{
    JsonType,
    json::{self, Json, Node, NodeIdentity},
};
use serde_json::Number;
use tagfleet_expressions::{Fields, Map, Value};

/// The values of an event, as JSON.
pub(super) struct Events;

/// A value of an event. A number that JSON cannot write is null, as it is wherever an event is written.
#[derive(Clone, Copy)]
pub(super) enum Instance<'e> {
    /// The event itself.
    Event(&'e Map<'e>),
    /// A value in it.
    Value(&'e Value<'e>),
    /// The name of a field.
    Name(&'e str),
}

impl Json for Events {
    type Node<'e> = Instance<'e>;
    type PreparedKey = Box<str>;
    type StringBuffer = ();

    const ACYCLIC: bool = true;
    /// A lookup reads the names one after the other, as one pass over all of them does.
    const KEYS_PER_LOOKUP: usize = 32;

    fn prepare_key(key: &str) -> Box<str> {
        key.into()
    }

    fn with_string_node<T>((): &mut (), name: &str, act: impl FnOnce(Instance<'_>) -> T) -> T {
        act(Instance::Name(name))
    }
}

impl<'e> Node<'e, Events> for Instance<'e> {
    type Object = &'e Map<'e>;
    type Array = &'e [Value<'e>];
    type Number = Number;

    fn as_object(&self) -> Option<&'e Map<'e>> {
        match *self {
            Self::Event(fields) | Self::Value(Value::Map(fields)) => Some(fields),
            _ => None,
        }
    }

    fn as_array(&self) -> Option<&'e [Value<'e>]> {
        match *self {
            Self::Value(Value::List(elements)) => Some(elements),
            _ => None,
        }
    }

    fn as_string(&self) -> Option<Cow<'e, str>> {
        match *self {
            Self::Value(Value::String(text)) => Some(Cow::Borrowed(text)),
            Self::Name(name) => Some(Cow::Borrowed(name)),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<Number> {
        match *self {
            Self::Value(Value::Int(number)) => Some((*number).into()),
            Self::Value(Value::Uint(number)) => Some((*number).into()),
            Self::Value(Value::Double(number)) => Number::from_f64(*number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        match *self {
            Self::Value(Value::Bool(truth)) => Some(*truth),
            _ => None,
        }
    }

    fn is_null(&self) -> bool {
        self.json_type() == JsonType::Null
    }

    fn is_number(&self) -> bool {
        self.json_type() == JsonType::Number
    }

    fn json_type(&self) -> JsonType {
        match *self {
            Self::Event(_) | Self::Value(Value::Map(_)) => JsonType::Object,
            Self::Name(_) | Self::Value(Value::String(_)) => JsonType::String,
            Self::Value(Value::List(_)) => JsonType::Array,
            Self::Value(Value::Bool(_)) => JsonType::Boolean,
            Self::Value(Value::Int(_) | Value::Uint(_)) => JsonType::Number,
            Self::Value(Value::Double(number)) if number.is_finite() => JsonType::Number,
            Self::Value(Value::Double(_) | Value::Null) => JsonType::Null,
        }
    }

    fn equals_value(&self, expected: &serde_json::Value) -> bool {
        match (self.as_string(), expected) {
            (Some(text), serde_json::Value::String(expected)) => text == *expected,
            (Some(_), _) => false,
            (None, expected) => json::cmp::equal(&self.to_value(), expected),
        }
    }

    fn to_value(&self) -> Cow<'e, serde_json::Value> {
        Cow::Owned(match *self {
            Self::Event(fields) => as_json(fields),
            Self::Value(value) => as_json(value),
            Self::Name(name) => name.into(),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        match *self {
            Self::Event(fields) => Some(NodeIdentity::new(std::ptr::from_ref(fields).addr())),
            Self::Value(value) => Some(NodeIdentity::new(std::ptr::from_ref(value).addr())),
            Self::Name(_) => None,
        }
    }
}

/// A value as JSON, which always can be written: names are text.
fn as_json(value: impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

impl<'e> json::Object<'e, Events> for &'e Map<'e> {
    type Node = Instance<'e>;
    type MemberName = &'e str;
    type MembersIter = iter::Map<Fields<'e, 'e>, fn((&'e str, &'e Value<'e>)) -> (&'e str, Instance<'e>)>;

    fn len(&self) -> usize {
        Map::len(self)
    }

    fn get(&self, key: &Box<str>) -> Option<Instance<'e>> {
        Map::get(self, key).map(Instance::Value)
    }

    fn members(&self) -> Self::MembersIter {
        self.iter().map(|(name, value)| (name, Instance::Value(value)))
    }
}

impl<'e> json::Array<'e, Events> for &'e [Value<'e>] {
    type Node = Instance<'e>;
    type ElementsIter = iter::Map<slice::Iter<'e, Value<'e>>, fn(&'e Value<'e>) -> Instance<'e>>;

    fn len(&self) -> usize {
        <[Value<'e>]>::len(self)
    }

    fn elements(&self) -> Self::ElementsIter {
        self.iter().map(Instance::Value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use jsonschema::json::conformance;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The library's own checks of what it relies on.
    #[test]
    fn an_event_is_json_to_the_library() {
        let Value::Map(event) = Value::from(conformance::document()) else {
            panic!("an object")
        };
        conformance::assert_conformance::<Events>(&Instance::Event(&event));
        let whole = Value::Map(event);
        conformance::assert_conformance::<Events>(&Instance::Value(&whole));
    }

    #[test]
    fn what_json_cannot_write_is_null() {
        for number in [f64::NAN, f64::INFINITY] {
            let value = Value::Double(number);
            let instance = Instance::Value(&value);
            assert!(instance.is_null() && !instance.is_number() && instance.as_number().is_none());
            assert!(instance.equals_value(&serde_json::Value::Null));
        }
    }

    fn any_value() -> impl Strategy<Value = Value<'static>> {
        let number = prop_oneof![
            Just(0.0),
            Just(-0.0),
            Just(1e300),
            Just(72.05),
            Just(f64::NAN),
            Just(9_007_199_254_740_993.0)
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-3_i64..4).prop_map(Value::Int),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::Uint),
            number.prop_map(Value::Double),
            any::<f64>().prop_map(Value::Double),
            "[ab1\u{e9}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                fields(inner).prop_map(Value::Map),
            ]
        })
    }

    fn fields(value: impl Strategy<Value = Value<'static>>) -> impl Strategy<Value = Map<'static>> {
        prop::collection::vec(("[abc]", value), 0..5).prop_map(|fields| {
            fields
                .into_iter()
                .map(|(name, value)| (Cow::Owned(name), value))
                .collect()
        })
    }

    /// One keyword of JSON Schema, as `{keyword: ...}`, with schemas below it.
    fn any_schema() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(json!({"type": "number"})),
            Just(json!({"type": "integer"})),
            Just(json!({"type": ["string", "null", "boolean"]})),
            Just(json!({"type": "object"})),
            Just(json!({"type": "array", "uniqueItems": true, "minItems": 1, "maxItems": 2})),
            any_value().prop_map(|value| json!({ "const": value })),
            prop::collection::vec(any_value(), 1..4).prop_map(|values| json!({ "enum": values })),
            Just(json!({"minimum": 0, "exclusiveMaximum": 2.5, "multipleOf": 0.5})),
            Just(json!({"minLength": 1, "maxLength": 2, "pattern": "^[a\u{e9}]"})),
            Just(json!({"minProperties": 1, "maxProperties": 2, "propertyNames": {"pattern": "^[ab]$"}})),
            Just(json!({"required": ["a", "b"], "dependentRequired": {"a": ["c"]}})),
            Just(json!({"additionalProperties": false, "properties": {"a": true}})),
            Just(json!({"unevaluatedProperties": {"type": "string"}, "allOf": [{"properties": {"b": true}}]})),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            let two = (inner.clone(), inner.clone());
            prop_oneof![
                two.prop_map(|(a, b)| json!({"required": ["a"], "properties": {"a": a, "b": b}})),
                inner.clone().prop_map(|of| json!({ "items": of })),
                inner.clone().prop_map(|of| json!({"contains": of, "minContains": 1})),
                inner.clone().prop_map(|of| json!({ "not": of })),
                inner.clone().prop_map(|of| json!({"patternProperties": {"^[ab]": of}})),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "anyOf": [a, b] })),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({ "oneOf": [a, b] })),
                (inner.clone(), inner.clone(), inner).prop_map(|(a, b, c)| json!({"if": a, "then": b, "else": c})),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

        /// What the library says of an event is what it says of the event written as JSON.
        #[test]
        fn the_verdict_is_that_on_the_event_as_json(schema in any_schema(), event in fields(any_value())) {
            let written = as_json(&event);
            let as_json = jsonschema::validator_for(&schema).unwrap();
            let in_place = jsonschema::options_for::<Events>().build(&schema).unwrap();
            let event = Instance::Event(&event);
            prop_assert_eq!(in_place.is_valid(event), as_json.is_valid(&written));
            let told = |errors: Vec<String>| {
                let mut errors = errors;
                errors.sort();
                errors
            };
            prop_assert_eq!(
                told(in_place.iter_errors(event).map(|error| super::super::breach(&error)).collect()),
                told(as_json.iter_errors(&written).map(|error| super::super::breach(&error)).collect())
            );
        }
    }
}
