//! What of an event an expression reads, itself and by way of variables.

use std::collections::BTreeSet;

use tagfleet_expressions::Expression;

use super::{contents::Contents, part::Part};
use crate::{TaggingContainerSpec, validate::Scope};

/// What `request` may tell of a visitor, in the names that the event has for it.
const REQUEST: [&str; 5] = ["ip_override", "user_agent", "client_hints", "cookies", "page_location"];

/// Reads expressions of one container.
pub(super) struct Reads<'s> {
    scope: &'s Scope,
    /// What variables read: they are computed when a hit is accepted, and may be before any transformation.
    untouched: Contents,
}

impl<'s> Reads<'s> {
    pub(super) fn new(spec: &TaggingContainerSpec, scope: &'s Scope) -> Self {
        Self {
            scope,
            untouched: Contents::untouched(spec),
        }
    }

    /// What an expression reads of an event with these contents. One that does not compile is refused elsewhere.
    pub(super) fn of_source(&self, source: &str, contents: &Contents) -> Vec<Part> {
        Expression::compile(source, &self.scope.request_environment())
            .map(|expression| self.of(&expression, contents))
            .unwrap_or_default()
    }

    fn of(&self, expression: &Expression, contents: &Contents) -> Vec<Part> {
        let mut read = self.directly(expression, contents);
        let mut waiting: Vec<&str> = expression.variables_read().collect();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            let variable = self.scope.variables().find(|(known, _)| *known == name);
            if let Some((name, variable)) = variable
                && seen.insert(name)
            {
                read.extend(self.directly(variable, &self.untouched));
                waiting.extend(variable.variables_read());
            }
        }
        read.sort();
        read.dedup();
        read
    }

    /// What it reads without what its variables do.
    fn directly(&self, expression: &Expression, contents: &Contents) -> Vec<Part> {
        let mut read = match expression.event_fields_read() {
            None => contents.in_part(&Part::of("")),
            Some(fields) => fields.flat_map(|field| contents.in_part(&Part::of(field))).collect(),
        };
        if expression.reads_request() {
            read.extend(REQUEST.iter().flat_map(|name| self.untouched.in_part(&Part::of(name))));
        }
        read
    }
}
