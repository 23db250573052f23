//! JSON Schemas of a tracking plan (`validation[].schema`): compiled the same way by operator, gateway and `check`.

mod extent;
mod instance;

use jsonschema::{PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use serde_json::{Map, Value};

use self::instance::{Events, Instance};

/// Bytes of a schema as JSON. Whole shops' plans have a tenth of that.
pub const MAX_BYTES: usize = 64 * 1024;
/// What is told of one event by one schema.
pub const MAX_BREACHES: usize = 5;
/// Bytes of one compiled pattern.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// Characters of a place in the event: the names in it are the sender's.
const MAX_PLACE: usize = 120;

/// A compiled schema.
#[derive(Debug)]
pub struct EventSchema {
    validator: Validator<Events>,
}

impl EventSchema {
    /// Compiles a schema: of the draft that its `$schema` names, else of 2020-12. Patterns run in linear time (no
    /// look-around, no back references). `$ref` leads to places in the schema itself, never to the network or a file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn compile(schema: &Map<String, Value>) -> Result<Self, String> {
        let schema = Value::Object(schema.clone());
        let bytes = schema.to_string().len();
        if bytes > MAX_BYTES {
            return Err(format!(
                "the schema has {bytes} bytes, more than {MAX_BYTES}: split it into several rules"
            ));
        }
        extent::check(&schema)?;
        let validator = jsonschema::options_for::<Events>()
            .with_pattern_options(PatternOptions::regex().size_limit(MAX_PATTERN_BYTES))
            .offline()
            .build(&schema)
            .map_err(|error| in_words(&error))?;
        Ok(Self { validator })
    }

    /// Whether an event is as the schema says.
    #[must_use]
    pub fn allows(&self, event: &tagfleet_expressions::Map<'_>) -> bool {
        self.validator.is_valid(Instance::Event(event))
    }

    /// What an event breaks, up to [`MAX_BREACHES`]: `/items/0/price: type`, `/: required (currency)`. Names places in the
    /// event and keywords of the schema, never a value of the event: that may be personal.
    #[must_use]
    pub fn breaches(&self, event: &tagfleet_expressions::Map<'_>) -> Vec<String> {
        self.validator
            .iter_errors(Instance::Event(event))
            .take(MAX_BREACHES)
            .map(|error| breach(&error))
            .collect()
    }
}

fn breach(error: &ValidationError<'_>) -> String {
    let place: String = error.instance_path().as_str().chars().take(MAX_PLACE).collect();
    let place = if place.is_empty() { "/" } else { &place };
    let keyword = error.kind().keyword();
    match error.kind() {
        // The name stands in the schema.
        ValidationErrorKind::Required {
            property: Value::String(name),
        } => format!("{place}: {keyword} ({name})"),
        // The schema `false`, which is no keyword.
        ValidationErrorKind::FalseSchema => format!("{place}: not allowed"),
        _ => format!("{place}: {keyword}"),
    }
}

/// What is wrong with a schema.
fn in_words(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() {
        String::new()
    } else {
        format!("{place}: ")
    };
    match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => format!(
            "{place}{} is no pattern that runs in linear time: look-around and back references do not, and a pattern has \
             its limits",
            error.instance()
        ),
        _ => format!("{place}{error}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn compile(schema: Value) -> Result<EventSchema, String> {
        let Value::Object(schema) = schema else {
            panic!("a schema is an object")
        };
        EventSchema::compile(&schema)
    }

    fn event(fields: Value) -> tagfleet_expressions::Map<'static> {
        let tagfleet_expressions::Value::Map(fields) = fields.into() else {
            panic!("an event is an object")
        };
        fields
    }

    #[test]
    fn an_event_is_told_where_it_breaks_what_without_its_values() {
        let schema = compile(json!({
            "required": ["currency"],
            "properties": {
                "value": {"type": "number", "minimum": 0},
                "user_data": {"additionalProperties": false},
                "items": {"items": {"required": ["item_id"], "properties": {"price": {"type": "number"}}}}
            }
        }))
        .unwrap();
        assert!(schema.allows(&event(json!({"currency": "EUR", "value": 1, "items": []}))));
        let event = event(json!({
            "value": "jane@shop.example", "user_data": {"jane": 1},
            "items": [{"item_id": "a", "price": 1}, {"price": "jane"}]
        }));
        assert!(!schema.allows(&event));
        let mut breaches = schema.breaches(&event);
        breaches.sort();
        assert_eq!(
            breaches,
            [
                "/: required (currency)",
                "/items/1/price: type",
                "/items/1: required (item_id)",
                "/user_data: not allowed",
                "/value: type",
            ]
        );
    }

    #[test]
    fn a_few_breaches_are_told_and_no_endless_name() {
        let schema = compile(json!({"additionalProperties": {"type": "number"}})).unwrap();
        let fields: Map<String, Value> = (0..1_000)
            .map(|n| (format!("{n}{}", "x".repeat(5_000)), json!("a")))
            .collect();
        let breaches = schema.breaches(&event(fields.into()));
        assert_eq!(breaches.len(), MAX_BREACHES);
        assert!(breaches.iter().all(|breach| breach.len() < 140), "{breaches:?}");
    }

    #[test]
    fn the_draft_is_2020_12_unless_the_schema_says_otherwise() {
        let tuple = |schema: Option<&str>| {
            let mut plan = json!({"properties": {"items": {"items": [{"type": "number"}]}}});
            if let Some(schema) = schema {
                plan.as_object_mut().unwrap().insert("$schema".into(), schema.into());
            }
            compile(plan)
        };
        assert!(tuple(Some("http://json-schema.org/draft-07/schema#")).is_ok());
        assert!(tuple(None).is_err(), "`items` is one schema since 2020-12");
        assert!(tuple(Some("https://schemas.shop.example/own")).is_err());
    }

    #[test]
    fn what_does_not_compile_is_told() {
        let error = |schema: Value| compile(schema).unwrap_err();
        assert!(error(json!({"properties": {"value": {"type": "nmber"}}})).starts_with("/properties/value/type: "));
        for remote in [
            "https://schemas.shop.example/event.json",
            "file:///etc/passwd",
            "other.json",
            "#price",
        ] {
            let error = error(json!({"properties": {"value": {"$ref": remote}}}));
            assert!(error.starts_with(&format!("`$ref: {remote}`")), "{error}");
        }
        assert!(error(json!({"$ref": "#/$defs/missing"})).contains("names nothing"));
        assert!(error(json!({"allOf": [{"$dynamicRef": "#a"}]})).contains("use `$ref`"));
        assert!(error(json!({"allOf": [{"$id": "https://shop.example/a"}]})).contains("at the top"));
        let slow = error(json!({"properties": {"page_path": {"pattern": "^(?=a)(a+)+\\1$"}}}));
        assert!(slow.contains("linear time"), "{slow}");
        assert!(error(json!({"pattern": "(a{1000}){1000}"})).contains("linear time"));
        let large = json!({"enum": ["x".repeat(MAX_BYTES)]});
        assert!(error(large).contains("more than 65536"));
    }

    #[test]
    fn references_within_the_schema_are_followed() {
        let schema = compile(json!({
            "$defs": {"money": {"type": "number", "minimum": 0}},
            "properties": {"value": {"$ref": "#/$defs/money"}}
        }))
        .unwrap();
        assert!(schema.allows(&event(json!({"value": 1}))));
        assert!(!schema.allows(&event(json!({"value": -1}))));
    }

    /// A schema that would run for ever, and one whose work doubles with each of its levels.
    #[test]
    fn no_schema_takes_for_ever() {
        for circle in [
            json!({"$ref": "#"}),
            json!({"properties": {"a": {"$ref": "#"}}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
        ] {
            assert!(compile(circle).unwrap_err().contains("leads back to itself"));
        }
        let doubling = |levels: u32| {
            let (mut schema, mut definitions) = (json!({"maxProperties": 0}), Map::new());
            for level in 0..levels {
                definitions.insert(format!("d{level}"), schema);
                let next = format!("#/$defs/d{level}");
                schema = json!({"allOf": [{"$ref": next}, {"$ref": next}]});
            }
            schema
                .as_object_mut()
                .unwrap()
                .insert("$defs".into(), definitions.into());
            compile(schema)
        };
        assert!(doubling(40).unwrap_err().contains("more than 20000 parts"));
        assert!(doubling(200).unwrap_err().contains("more than 128 deep"));
        let begun = Instant::now();
        let few = doubling(8).unwrap();
        assert!(few.allows(&event(json!({}))));
        assert_eq!(few.breaches(&event(json!({"a": 1}))).len(), MAX_BREACHES);
        assert!(begun.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_pattern_is_linear_in_what_it_is_given() {
        let schema = compile(json!({"properties": {"page_path": {"pattern": "^(a+)+$"}}})).unwrap();
        let begun = Instant::now();
        assert!(!schema.allows(&event(json!({"page_path": format!("{}!", "a".repeat(100_000))}))));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
