//! A tree against a schema: every mistake at once, each with its place.

use std::{collections::HashMap, fmt::Write as _};

use serde_json::Value as Json;
use tagfleet_expressions::{SchemaActivation, Steps, Value as CelValue};

use super::{
    super::{
        finding::{Position, Severity},
        suggest::did_you_mean,
        tree::{Field, Node, Path, Value},
    },
    Bounds, Format, Kind, Rule, Schema,
};

/// The mistakes that are named of one object; beyond them the reader is told that there are more.
const MAX_MISTAKES: usize = 100;
/// The steps that one rule may take.
const RULE_STEPS: u32 = 100_000;

/// One mistake in an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub at: Position,
    /// The field.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// Whether it refuses the object.
    pub severity: Severity,
}

/// What was found while walking.
#[derive(Default)]
struct Report {
    mistakes: Vec<Mistake>,
    errors: usize,
}

impl Report {
    fn error(&mut self, at: Position, path: &Path<'_>, message: impl Into<String>) {
        self.errors += 1;
        let message = match self.errors {
            ..=MAX_MISTAKES => message.into(),
            count if count == MAX_MISTAKES + 1 => "more mistakes follow; mend those named first".to_owned(),
            _ => return,
        };
        self.push(at, path, message, Severity::Error);
    }

    fn push(&mut self, at: Position, path: &Path<'_>, message: String, severity: Severity) {
        self.mistakes.push(Mistake {
            at,
            field: path.to_string(),
            message,
            severity,
        });
    }
}

impl Schema {
    /// Checks an object and returns it as JSON with defaults filled in, and all its mistakes.
    #[must_use]
    pub fn check(&self, tree: &Node) -> (Json, Vec<Mistake>) {
        let mut json = tree.to_json();
        self.fill_in_defaults(&mut json);
        let mut report = Report::default();
        self.walk(tree, &json, &Path::Root, &mut report);
        (json, report.mistakes)
    }

    /// `json` is the node with defaults filled in.
    fn walk(&self, node: &Node, json: &Json, path: &Path<'_>, report: &mut Report) {
        let errors_before = report.errors;
        if node.is_null() && self.nullable {
            return;
        }
        if !self.has_kind(node) {
            report.error(node.at, path, self.wrong_kind(node));
            return;
        }
        match &node.value {
            Value::Map(fields) => self.walk_fields(node, fields, json, path, report),
            Value::List(elements) => self.walk_elements(node, elements, json, path, report),
            _ => self.check_scalar(node, json, path, report),
        }
        self.check_junctors(node, json, path, report);
        self.check_rules(node, json, path, report, report.errors > errors_before);
    }

    fn has_kind(&self, node: &Node) -> bool {
        match (self.kind, &node.value) {
            (_, Value::Null) => false,
            (Kind::Any, _)
            | (Kind::Object, Value::Map(_))
            | (Kind::Array, Value::List(_))
            | (Kind::TextOrObject, Value::Text(_) | Value::Map(_))
            | (Kind::String | Kind::IntOrString, Value::Text(_))
            | (Kind::Integer | Kind::Number | Kind::IntOrString, Value::Int(..))
            | (Kind::Number, Value::Double(..))
            | (Kind::Boolean, Value::Bool(..)) => true,
            (Kind::Integer | Kind::IntOrString, Value::Double(number, _)) => number.fract() == 0.0,
            _ => false,
        }
    }

    /// What was wanted and what is there, with the remedy that most often is the right one.
    fn wrong_kind(&self, node: &Node) -> String {
        let wanted = match self.kind {
            Kind::Any => "a value",
            Kind::Object => "an object",
            Kind::Array => "a list",
            Kind::String => "text",
            Kind::Integer => "a whole number",
            Kind::Number => "a number",
            Kind::Boolean => "true or false",
            Kind::IntOrString => "a whole number or text",
            Kind::TextOrObject => "text or an object",
        };
        let wanted = self.meaning.unwrap_or(wanted);
        let found = match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(_, spelled) => format!("the boolean {spelled}"),
            Value::Int(_, spelled) | Value::Double(_, spelled) => format!("the number {spelled}"),
            Value::Text(text) => format!("the text \"{}\"", shorten(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "an object".to_owned(),
        };
        let mut message = format!("must be {wanted}, not {found}");
        match (self.kind, &node.value) {
            (
                Kind::String | Kind::IntOrString | Kind::TextOrObject,
                Value::Bool(_, spelled) | Value::Int(_, spelled) | Value::Double(_, spelled),
            ) if self.meaning.is_none() => {
                let _infallible = write!(message, ": write \"{spelled}\"");
            }
            (Kind::Array, Value::Text(_) | Value::Int(..) | Value::Map(_)) => message.push_str(": write [ ] around it"),
            _ => {}
        }
        message
    }

    fn walk_fields(&self, node: &Node, fields: &[Field], json: &Json, path: &Path<'_>, report: &mut Report) {
        for field in fields {
            let here = Path::Field(path, &field.name);
            let Some(schema) = self.properties.get(&field.name).or(self.values.as_deref()) else {
                if self.kind == Kind::TextOrObject || !self.open && self.kind != Kind::Any {
                    let known = self.properties.keys().map(String::as_str);
                    report.error(field.at, &here, unknown_field(&field.name, known));
                }
                continue;
            };
            if field.node.is_null() && !schema.nullable {
                let message = "has no value and is ignored".to_owned();
                report.push(field.at, &here, message, Severity::Warning);
                continue;
            }
            if let Some(json) = json.get(&field.name) {
                schema.walk(&field.node, json, &here, report);
            }
        }
        for name in &self.required {
            if json.get(name).is_none() {
                report.error(node.at, &Path::Field(path, name), "is required");
            }
        }
        let count = fields.iter().filter(|field| !field.node.is_null()).count();
        let Bounds {
            min_fields, max_fields, ..
        } = self.bounds;
        check_count(count, min_fields, max_fields, "fields", |message| {
            report.error(node.at, path, message);
        });
    }

    fn walk_elements(&self, node: &Node, elements: &[Node], json: &Json, path: &Path<'_>, report: &mut Report) {
        let Bounds {
            min_items, max_items, ..
        } = self.bounds;
        check_count(elements.len(), min_items, max_items, "elements", |message| {
            report.error(node.at, path, message);
        });
        let mut seen: HashMap<String, u32> = HashMap::new();
        for (index, element) in elements.iter().enumerate() {
            let here = Path::Index(path, index);
            let Some(json) = json.get(index) else { continue };
            if let Some(schema) = &self.items {
                schema.walk(element, json, &here, report);
            }
            if let Some((identity, named)) = self.identity(json)
                && let Some(line) = seen.insert(identity, element.at.line)
            {
                report.error(element.at, &here, format!("{named} is already there in line {line}"));
            }
        }
    }

    /// What tells a list's element from the others, and how it is shown.
    fn identity(&self, element: &Json) -> Option<(String, String)> {
        let keys = self.list_keys.as_ref()?;
        if keys.is_empty() {
            return Some((element.to_string(), element.to_string()));
        }
        let values: Vec<&Json> = keys.iter().filter_map(|key| element.get(key)).collect();
        let named: Vec<String> = keys
            .iter()
            .zip(&values)
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        (values.len() == keys.len()).then(|| (format!("{values:?}"), named.join(", ")))
    }

    fn check_scalar(&self, node: &Node, json: &Json, path: &Path<'_>, report: &mut Report) {
        if !self.allowed.is_empty() && !self.allowed.contains(json) {
            report.error(node.at, path, not_allowed(json, &self.allowed));
        }
        match &node.value {
            Value::Text(text) => self.check_text(text, node.at, path, report),
            Value::Int(number, _) => self.check_number(*number as f64, node.at, path, report),
            Value::Double(number, _) => self.check_number(*number, node.at, path, report),
            _ => {}
        }
    }

    fn check_text(&self, text: &str, at: Position, path: &Path<'_>, report: &mut Report) {
        let Bounds {
            min_length, max_length, ..
        } = self.bounds;
        check_count(text.chars().count(), min_length, max_length, "characters", |message| {
            report.error(at, path, message);
        });
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text)
        {
            let shown = shorten(text);
            report.error(
                at,
                path,
                match self.meaning {
                    Some(meaning) => format!("\"{shown}\" is not {meaning}"),
                    None => format!("\"{shown}\" does not match {pattern}"),
                },
            );
        }
        if self.format == Some(Format::DateTime) && text.parse::<jiff::Timestamp>().is_err() {
            report.error(at, path, format!("\"{}\" is no RFC 3339 time", shorten(text)));
        }
    }

    fn check_number(&self, number: f64, at: Position, path: &Path<'_>, report: &mut Report) {
        let bounds = &self.bounds;
        if let Some(minimum) = bounds.minimum
            && (number < minimum || bounds.exclusive_minimum && number <= minimum)
        {
            let relation = if bounds.exclusive_minimum {
                "more than"
            } else {
                "at least"
            };
            report.error(at, path, format!("must be {relation} {minimum}"));
        }
        if let Some(maximum) = bounds.maximum
            && (number > maximum || bounds.exclusive_maximum && number >= maximum)
        {
            let relation = if bounds.exclusive_maximum {
                "less than"
            } else {
                "at most"
            };
            report.error(at, path, format!("must be {relation} {maximum}"));
        }
        if self.format == Some(Format::Int32) && (number < f64::from(i32::MIN) || number > f64::from(i32::MAX)) {
            report.error(at, path, "does not fit 32 bits");
        }
    }

    fn check_junctors(&self, node: &Node, json: &Json, path: &Path<'_>, report: &mut Report) {
        let holds = |schema: &Schema| {
            let mut report = Report::default();
            schema.walk(node, json, path, &mut report);
            report.errors == 0
        };
        for schema in &self.all_of {
            schema.walk(node, json, path, report);
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(holds) {
            report.error(node.at, path, junction("one", &self.any_of));
        }
        if !self.one_of.is_empty() && self.one_of.iter().filter(|schema| holds(schema)).count() != 1 {
            report.error(node.at, path, junction("exactly one", &self.one_of));
        }
        if self.not.as_ref().is_some_and(|schema| holds(schema)) {
            report.error(node.at, path, "is what it must not be");
        }
    }

    /// A rule that cannot be evaluated is named only where nothing else is wrong, since that then is the reason.
    fn check_rules(&self, node: &Node, json: &Json, path: &Path<'_>, report: &mut Report, flawed: bool) {
        if self.rules.is_empty() {
            return;
        }
        let this = CelValue::from(json.clone());
        let activation = SchemaActivation(&this);
        for rule in &self.rules {
            let message = match rule.expression.evaluate(&activation, &mut Steps::new(RULE_STEPS)) {
                Ok(CelValue::Bool(true)) => continue,
                Ok(_) => rule.explain(&activation),
                Err(_) if flawed => continue,
                Err(error) => format!("{} (not decided: {error})", rule.message),
            };
            match &rule.field {
                Some(field) => report.error(node.locate(field), &Path::Field(path, field), message),
                None => report.error(node.at, path, message),
            }
        }
    }
}

impl Rule {
    fn explain(&self, activation: &SchemaActivation<'_>) -> String {
        let mut steps = Steps::new(RULE_STEPS);
        let dynamic = self
            .message_expression
            .as_ref()
            .and_then(|expression| expression.evaluate(activation, &mut steps).ok());
        let text = dynamic.as_ref().and_then(CelValue::as_str);
        text.filter(|text| !text.trim().is_empty())
            .unwrap_or(&self.message)
            .to_owned()
    }
}

/// What to say of a field that no schema names.
fn unknown_field<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    if let Some(suggestion) = did_you_mean(name, known.clone()) {
        return format!("unknown field; did you mean `{suggestion}`?");
    }
    let known: Vec<&str> = known.collect();
    match known.len() {
        1..=12 => format!("unknown field; known here: {}", known.join(", ")),
        _ => "unknown field".to_owned(),
    }
}

fn not_allowed(json: &Json, allowed: &[Json]) -> String {
    let shown = |json: &Json| json.as_str().map_or_else(|| json.to_string(), str::to_owned);
    let all: Vec<String> = allowed.iter().map(shown).collect();
    format!("`{}` is none of {}", shorten(&shown(json)), all.join(", "))
}

/// What `anyOf` or `oneOf` asks for, where its members only name required fields.
fn junction(how_many: &str, members: &[Schema]) -> String {
    let names: Vec<String> = members.iter().map(|member| member.required.join(" with ")).collect();
    if names.iter().any(String::is_empty) {
        return format!("fits not {how_many} of the forms that it may have");
    }
    format!("must have {how_many} of {}", names.join(", "))
}

fn check_count(count: usize, least: Option<usize>, most: Option<usize>, what: &str, mut report: impl FnMut(String)) {
    if let Some(least) = least
        && count < least
    {
        report(if count == 0 {
            "must not be empty".to_owned()
        } else {
            format!("must have at least {least} {what}, has {count}")
        });
    }
    if let Some(most) = most
        && count > most
    {
        report(format!("must have at most {most} {what}, has {count}"));
    }
}

/// The start of a text, for a message.
fn shorten(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;
    use crate::config::manifests::parse;

    /// The mistakes of a manifest as lines.
    fn mistakes(schema: &Json, manifest: &str) -> Vec<String> {
        let parsed = parse(manifest);
        assert_eq!(parsed.error, None);
        let (_, mistakes) = Schema::compile(schema).unwrap().check(&parsed.documents[0]);
        let line = |mistake: &Mistake| {
            let Mistake { at, field, message, .. } = mistake;
            format!("{}:{}: {field}: {message}", at.line, at.column)
        };
        mistakes.iter().map(line).collect()
    }

    fn object(properties: &Json) -> Json {
        json!({"type": "object", "properties": properties})
    }

    #[test]
    fn all_mistakes_are_named_at_once() {
        let schema = object(&json!({"spec": {
            "type": "object",
            "required": ["topic"],
            "properties": {
                "topic": {"type": "string"},
                "events": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                "paused": {"type": "boolean"},
                "format": {"type": "string", "enum": ["Events", "CloudEvents"]},
                "maxEvents": {"type": "integer", "minimum": 1, "maximum": 10},
            },
        }}));
        let manifest = "spec:\n  event: x\n  events: [a, 2, c]\n  paused: \"yes\"\n  format: events\n  maxEvents: 0\n";
        assert_eq!(
            mistakes(&schema, manifest),
            [
                "2:3: spec.event: unknown field; did you mean `events`?",
                "3:3: spec.events: must have at most 2 elements, has 3",
                "3:15: spec.events[1]: must be text, not the number 2: write \"2\"",
                "4:11: spec.paused: must be true or false, not the text \"yes\"",
                "5:11: spec.format: `events` is none of Events, CloudEvents",
                "6:14: spec.maxEvents: must be at least 1",
                "1:1: spec.topic: is required",
            ]
        );
    }

    #[test]
    fn numbers_that_stand_for_text_are_told_to_be_quoted() {
        let schema = object(&json!({"pixelId": {"type": "string"}, "port": {"x-kubernetes-int-or-string": true}}));
        assert_eq!(
            mistakes(&schema, "pixelId: 1234567890\nport: true\n"),
            [
                "1:10: pixelId: must be text, not the number 1234567890: write \"1234567890\"",
                "2:7: port: must be a whole number or text, not the boolean true: write \"true\"",
            ]
        );
        assert!(mistakes(&schema, "pixelId: '1'\nport: 80\n").is_empty());
    }

    #[test]
    fn maps_and_open_objects_take_names_that_no_property_has() {
        let schema = object(&json!({
            "eventNames": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1},
            "schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }));
        assert_eq!(
            mistakes(&schema, "eventNames: {a.b: 1, c: x}\nschema: {anything: [1]}\n"),
            [
                "1:19: eventNames[\"a.b\"]: must be text, not the number 1: write \"1\"",
                "1:1: eventNames: must have at most 1 fields, has 2",
            ]
        );
    }

    #[test]
    fn list_elements_with_the_same_key_are_refused() {
        let schema = object(&json!({"clients": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
        }}));
        assert_eq!(
            mistakes(&schema, "clients:\n- name: web\n- name: app\n- name: web\n"),
            ["4:3: clients[2]: name \"web\" is already there in line 2"]
        );
    }

    #[test]
    fn alternatives_name_their_choices() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
            "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        });
        assert_eq!(
            mistakes(&schema, "a: one\nb: two\n"),
            ["1:1: : must have exactly one of a, b"]
        );
        assert!(mistakes(&schema, "a: x\n").is_empty());
    }

    #[test]
    fn a_field_without_a_value_is_as_if_it_were_not_there_and_said_so() {
        let schema = object(&json!({"topic": {"type": "string"}, "note": {"type": "string", "nullable": true}}));
        let parsed = parse("topic:\nnote:\n");
        let (json, mistakes) = Schema::compile(&schema).unwrap().check(&parsed.documents[0]);
        assert_eq!(json, json!({}));
        assert_eq!(mistakes.len(), 1);
        assert_eq!(mistakes[0].severity, Severity::Warning);
    }

    #[test]
    fn patterns_and_lengths_show_what_was_written() {
        let schema = object(&json!({"timeout": {"type": "string", "pattern": "^[0-9]+s$", "maxLength": 4}}));
        assert_eq!(
            mistakes(&schema, "timeout: 5 sec\n"),
            [
                "1:10: timeout: must have at most 4 characters, has 5",
                "1:10: timeout: \"5 sec\" does not match ^[0-9]+s$"
            ]
        );
    }

    #[test]
    fn a_flood_of_mistakes_is_cut() {
        let schema = object(&json!({}));
        let manifest: String = (0..500).map(|n| format!("field{n}: 1\n")).collect();
        assert_eq!(mistakes(&schema, &manifest).len(), MAX_MISTAKES + 1);
    }
}
