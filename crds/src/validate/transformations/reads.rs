//! Who reads what transformations leave of an event.

use std::collections::BTreeSet;

use tagfleet_expressions::Expression;

use super::rule::{Rule, field_of};
use crate::{
    Destination, FieldPath,
    validate::{Scope, destination},
};

/// An expression of a destination.
pub(super) struct Reader {
    /// Where it stands.
    pub(super) path: FieldPath,
    pub(super) expression: Expression,
}

impl Reader {
    /// Whether it runs when an event is accepted, and not when it is sent.
    pub(super) fn is_trigger(&self) -> bool {
        self.path.to_string() == "spec.trigger.when"
    }
}

/// The expressions of a destination that compile.
pub(super) fn of_destination(destination: &Destination, scope: &Scope) -> Vec<Reader> {
    let spec = &destination.spec;
    let Some(vendor) = spec.vendor() else { return Vec::new() };
    let environment = scope.event_environment();
    let sources = destination::expressions_of(spec, vendor).into_iter();
    sources
        .filter_map(|(path, source, _)| {
            let expression = Expression::compile(source, &environment).ok()?;
            Some(Reader { path, expression })
        })
        .collect()
}

/// The variables that these expressions read, by themselves or by way of others.
pub(super) fn variables<'e>(expressions: impl IntoIterator<Item = &'e Expression>, scope: &Scope) -> BTreeSet<String> {
    let mut read: BTreeSet<String> = BTreeSet::new();
    for expression in expressions {
        read.extend(expression.variables_read().map(str::to_owned));
    }
    // Each variable stands after those that it reads.
    let all: Vec<_> = scope.variables().collect();
    for (name, expression) in all.into_iter().rev() {
        if read.contains(name) {
            read.extend(expression.variables_read().map(str::to_owned));
        }
    }
    read
}

/// A parameter that an expression certainly reads and that this rule removes.
pub(super) fn removed<'r>(expression: &Expression, rule: &Rule<'r>) -> Option<(FieldPath, String)> {
    let fields: Vec<&str> = expression.event_fields_read()?.collect();
    if let crate::tagging_container::TransformationKind::Allow(_) = rule.kind {
        let gone = fields.into_iter().find(|field| rule.removes(field))?;
        return Some((rule.path().field("allow"), gone.to_owned()));
    }
    let mut parameters = rule.parameters().into_iter();
    let (path, name) = parameters.find(|(_, name)| {
        rule.removes(name)
            && fields.contains(&field_of(name))
            && name.split('.').skip(1).all(|part| mentions(expression.source(), part))
    })?;
    Some((path, name.to_owned()))
}

/// Whether a name stands in a source as a word.
fn mentions(source: &str, name: &str) -> bool {
    let is_of_name = |character: char| character.is_alphanumeric() || character == '_';
    source
        .split(|character| !is_of_name(character))
        .any(|word| word == name)
}

/// What the request holds of the event's fields as they were sent; `None`: it may hold any.
fn of_request(name: &str) -> Option<&'static [&'static str]> {
    match name {
        "query" => None,
        "cookies" => Some(&["cookies"]),
        "ip" => Some(&["ip_override"]),
        "headers" => Some(&[
            "user_agent",
            "client_hints",
            "language",
            "page_location",
            "page_referrer",
        ]),
        _ => Some(&[]),
    }
}

/// Whether an expression reads of the request what this rule protects.
pub(super) fn request_shows(expression: &Expression, rule: &Rule<'_>) -> bool {
    if !expression.reads_request() {
        return false;
    }
    let Some(mut names) = expression.request_fields_read() else {
        return true;
    };
    names.any(|name| of_request(name).is_none_or(|fields| fields.iter().any(|field| rule.protects(field))))
}
