//! From a CRD's JSON to a [`Schema`].

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value as Json;
use tagfleet_expressions::{Environment, Expression};

use super::{Bounds, Format, Kind, Rule, Schema, SchemaError};

impl Schema {
    /// Compiles the `openAPIV3Schema` of a CRD's version.
    ///
    /// # Errors
    /// [`SchemaError`] for a pattern or rule that does not compile, and for a keyword that would go unchecked.
    pub fn compile(schema: &Json) -> Result<Self, SchemaError> {
        compile(schema, "")
    }
}

fn compile(schema: &Json, path: &str) -> Result<Schema, SchemaError> {
    refuse_unknown_keywords(schema, path)?;
    let at = |name: &str| format!("{path}.{name}");
    let many = |keyword: &str| -> Result<Vec<Schema>, SchemaError> {
        let members = schema.get(keyword).and_then(Json::as_array);
        members
            .into_iter()
            .flatten()
            .map(|member| compile(member, &at(keyword)))
            .collect()
    };
    let one = |keyword: &str| -> Result<Option<Box<Schema>>, SchemaError> {
        let member = schema.get(keyword).filter(|member| member.is_object());
        member
            .map(|member| compile(member, &at(keyword)).map(Box::new))
            .transpose()
    };
    let mut properties = BTreeMap::new();
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        properties.insert(name.clone(), compile(property, &at(name))?);
    }
    let truth = |keyword: &str| schema.get(keyword).and_then(Json::as_bool).unwrap_or(false);
    Ok(Schema {
        kind: kind(schema),
        nullable: truth("nullable"),
        properties,
        values: one("additionalProperties")?,
        open: truth("x-kubernetes-preserve-unknown-fields") || truth("additionalProperties"),
        required: texts(schema, "required"),
        items: one("items")?,
        allowed: schema.get("enum").and_then(Json::as_array).cloned().unwrap_or_default(),
        pattern: pattern(schema, path)?,
        meaning: schema.get("pattern").and_then(Json::as_str).and_then(meaning),
        format: match schema.get("format").and_then(Json::as_str) {
            Some("int32") => Some(Format::Int32),
            Some("date-time") => Some(Format::DateTime),
            _ => None,
        },
        bounds: bounds(schema),
        list_keys: match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
            Some("map") => Some(texts(schema, "x-kubernetes-list-map-keys")),
            Some("set") => Some(Vec::new()),
            _ => None,
        },
        default: schema.get("default").cloned(),
        rules: rules(schema, path)?,
        all_of: many("allOf")?,
        any_of: many("anyOf")?,
        one_of: many("oneOf")?,
        not: one("not")?,
    })
}

/// Every keyword that a structural schema may have and that is checked here, or that checks nothing.
const KEYWORDS: [&str; 36] = [
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "default",
    "description",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "externalDocs",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "not",
    "nullable",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

fn refuse_unknown_keywords(schema: &Json, path: &str) -> Result<(), SchemaError> {
    let keywords = schema.as_object().into_iter().flat_map(|object| object.keys());
    for keyword in keywords {
        if KEYWORDS.binary_search(&keyword.as_str()).is_err() {
            return Err(SchemaError::Unsupported {
                path: path.to_owned(),
                keyword: keyword.clone(),
            });
        }
    }
    Ok(())
}

fn kind(schema: &Json) -> Kind {
    if schema.get("x-kubernetes-int-or-string").and_then(Json::as_bool) == Some(true) {
        return Kind::IntOrString;
    }
    match schema.get("type").and_then(Json::as_str) {
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        Some("string") => Kind::String,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number,
        Some("boolean") => Kind::Boolean,
        _ if schema.get("maxLength").is_some() && schema.get("properties").is_some() => Kind::TextOrObject,
        _ => Kind::Any,
    }
}

fn texts(schema: &Json, keyword: &str) -> Vec<String> {
    let members = schema.get(keyword).and_then(Json::as_array);
    members
        .into_iter()
        .flatten()
        .filter_map(|member| member.as_str().map(str::to_owned))
        .collect()
}

fn pattern(schema: &Json, path: &str) -> Result<Option<Regex>, SchemaError> {
    let Some(pattern) = schema.get("pattern").and_then(Json::as_str) else {
        return Ok(None);
    };
    Regex::new(pattern).map(Some).map_err(|source| SchemaError::Pattern {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

/// The patterns of the two kinds that say less than their meaning.
fn meaning(pattern: &str) -> Option<&'static str> {
    match pattern {
        "^([0-9]{1,5}(h|m|s|ms)){1,4}$" => Some("a duration such as 500ms, 10s, 5m or 1h30m"),
        "^[0-9]{1,18}([.][0-9]{1,9})?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$" => Some("a size such as 128Ki, 512Mi or 2Gi"),
        _ => None,
    }
}

fn bounds(schema: &Json) -> Bounds {
    let number = |keyword: &str| schema.get(keyword).and_then(Json::as_f64);
    let truth = |keyword: &str| schema.get(keyword).and_then(Json::as_bool).unwrap_or(false);
    let count = |keyword: &str| {
        let count = schema.get(keyword).and_then(Json::as_u64)?;
        usize::try_from(count).ok()
    };
    Bounds {
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: truth("exclusiveMinimum"),
        exclusive_maximum: truth("exclusiveMaximum"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_fields: count("minProperties"),
        max_fields: count("maxProperties"),
    }
}

/// The rules that judge an object by itself; one on `oldSelf` judges a change, of which a file has none.
fn rules(schema: &Json, path: &str) -> Result<Vec<Rule>, SchemaError> {
    let environment = Environment::schema_rule();
    let compile = |source: &str| {
        Expression::compile(source, &environment).map_err(|error| SchemaError::Rule {
            path: path.to_owned(),
            rule: source.to_owned(),
            source: error,
        })
    };
    let mut rules = Vec::new();
    let written = schema.get("x-kubernetes-validations").and_then(Json::as_array);
    for rule in written.into_iter().flatten() {
        let text = |name: &str| rule.get(name).and_then(Json::as_str);
        let Some(source) = text("rule").filter(|source| !source.contains("oldSelf")) else {
            continue;
        };
        rules.push(Rule {
            expression: compile(source)?,
            message: text("message").map_or_else(|| format!("failed the rule {source}"), str::to_owned),
            message_expression: text("messageExpression").map(compile).transpose()?,
            field: text("fieldPath").map(|field| field.trim_start_matches('.').to_owned()),
        });
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_keywords_are_sorted_for_the_search() {
        assert!(KEYWORDS.is_sorted());
    }

    #[test]
    fn a_keyword_that_would_go_unchecked_is_refused() {
        let error =
            Schema::compile(&json!({"type": "object", "properties": {"a": {"uniqueItems": true}}})).unwrap_err();
        assert_eq!(error.to_string(), ".a: `uniqueItems` is not supported");
    }

    #[test]
    fn a_rule_or_pattern_that_does_not_compile_is_named() {
        let rule = json!({"x-kubernetes-validations": [{"rule": "self.a ==", "message": "x"}]});
        assert!(
            Schema::compile(&rule)
                .unwrap_err()
                .to_string()
                .contains("rule `self.a ==`")
        );
        let pattern = json!({"properties": {"a": {"pattern": "("}}});
        assert!(
            Schema::compile(&pattern)
                .unwrap_err()
                .to_string()
                .starts_with(".a: pattern")
        );
    }
}
