//! What the expressions of a container and its destinations may read, and whether they compile to what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use tagfleet_expressions::{Environment, Expression, Type};

use super::Report;
use crate::{FieldPath, conditions::reasons, lookup_table::Table, tagging_container::Variable};

/// What an expression is for, which decides the type that it must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A condition: true or false.
    Condition,
    /// A text, such as the name of a topic.
    Text,
    /// A number.
    Number,
    /// Any value.
    Value,
}

impl Purpose {
    fn accepts(self, kind: Type) -> bool {
        match self {
            _ if kind == Type::Dyn => true,
            Self::Condition => kind == Type::Bool,
            Self::Text => kind == Type::String,
            Self::Number => matches!(kind, Type::Int | Type::Uint | Type::Double),
            Self::Value => true,
        }
    }

    const fn wanted(self) -> &'static str {
        match self {
            Self::Condition => "true or false",
            Self::Text => "text",
            Self::Number => "a number",
            Self::Value => "a value",
        }
    }
}

/// What the expressions of a container, and of the destinations that refer to it, may read.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The variables in an order in which each stands after those that it reads.
    variables: Vec<(String, Expression)>,
    /// Variables that are there but refused: what reads them is not blamed for it.
    refused: BTreeSet<String>,
    /// The tables by name; none for one whose text is not known.
    tables: BTreeMap<String, Option<Table>>,
}

impl Scope {
    /// The variables that compiled, each after those that it reads.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Expression)> {
        self.variables
            .iter()
            .map(|(name, expression)| (name.as_str(), expression))
    }

    /// The lookup tables that parsed.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &Table)> {
        self.tables
            .iter()
            .filter_map(|(name, table)| Some((name.as_str(), table.as_ref()?)))
    }

    /// What an expression of a destination may read: `event`, `consent` and `vars`.
    #[must_use]
    pub fn event_environment(&self) -> Environment {
        self.extend(Environment::event())
    }

    /// What a variable, and a transformation for all destinations, may read: `request`, too.
    #[must_use]
    pub fn request_environment(&self) -> Environment {
        self.extend(Environment::event().with_request())
    }

    fn extend(&self, environment: Environment) -> Environment {
        let environment = self
            .tables
            .iter()
            .fold(environment, |environment, (name, table)| match table {
                Some(table) => environment.with_table_columns(name, &table.columns),
                None => environment.with_table(name),
            });
        let known = self
            .variables
            .iter()
            .map(|(name, expression)| (name, expression.result_type()));
        let refused = self.refused.iter().map(|name| (name, Type::Dyn));
        known.chain(refused).fold(environment, |environment, (name, kind)| {
            environment.with_variable(name, kind)
        })
    }

    /// Compiles a container's variables in the order of what they read. Whatever is refused is reported.
    pub(super) fn new(tables: BTreeMap<String, Option<Table>>, variables: &[Variable], report: &mut Report) -> Self {
        let mut scope = Self {
            tables,
            ..Self::default()
        };
        // First with every variable readable as anything, to learn which reads which.
        scope.refused = variables.iter().map(|variable| variable.name.clone()).collect();
        let any = scope.request_environment();
        scope.refused.clear();
        let mut waiting = Vec::new();
        for (index, variable) in variables.iter().enumerate() {
            let path = FieldPath::spec().field("variables").index(index).field("expression");
            match Expression::compile(&variable.expression, &any) {
                Ok(expression) => {
                    let reads: BTreeSet<String> = expression.variables_read().map(str::to_owned).collect();
                    waiting.push((path, variable, reads));
                }
                Err(error) => {
                    scope.refused.insert(variable.name.clone());
                    report.error(path, reasons::EXPRESSION_INVALID, error.to_string());
                }
            }
        }
        scope.compile_in_order(waiting, report);
        scope
    }

    /// Takes, again and again, the variables whose own variables are all compiled.
    fn compile_in_order(&mut self, mut waiting: Vec<(FieldPath, &Variable, BTreeSet<String>)>, report: &mut Report) {
        while !waiting.is_empty() {
            let (ready, rest): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .partition(|(_, _, reads)| reads.iter().all(|name| self.knows(name)));
            if ready.is_empty() {
                for (path, variable, reads) in rest {
                    self.refused.insert(variable.name.clone());
                    let reads: Vec<String> = reads.iter().map(|name| format!("vars.{name}")).collect();
                    let message = format!("is computed from itself: it reads {}", reads.join(", "));
                    report.error(path, reasons::VARIABLE_CYCLE, message);
                }
                return;
            }
            let environment = self.request_environment();
            for (path, variable, _) in ready {
                match Expression::compile(&variable.expression, &environment) {
                    Ok(expression) => self.variables.push((variable.name.clone(), expression)),
                    Err(error) => {
                        self.refused.insert(variable.name.clone());
                        report.error(path, reasons::EXPRESSION_INVALID, error.to_string());
                    }
                }
            }
            waiting = rest;
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.refused.contains(name) || self.variables.iter().any(|(known, _)| known == name)
    }

    /// A scope in which whatever this source reads is there: for a destination whose container is elsewhere.
    pub(super) fn permissive(source: &str) -> Self {
        let names = |start: &str| -> Vec<String> {
            let tails = source.split(start).skip(1);
            tails
                .map(|tail| {
                    let tail = tail.trim_start().trim_start_matches(['\'', '"']);
                    tail.chars()
                        .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
                        .collect()
                })
                .collect()
        };
        Self {
            variables: Vec::new(),
            refused: names("vars.").into_iter().collect(),
            tables: names("lookup(").into_iter().map(|name| (name, None)).collect(),
        }
    }
}

/// Reports what is wrong with an expression where it stands.
pub(super) fn check(source: &str, purpose: Purpose, environment: &Environment, path: FieldPath, report: &mut Report) {
    match Expression::compile(source, environment) {
        Err(error) => report.error(path, reasons::EXPRESSION_INVALID, error.to_string()),
        Ok(expression) if !purpose.accepts(expression.result_type()) => {
            let message = format!("must be {}, and is {}", purpose.wanted(), expression.result_type());
            report.error(path, reasons::EXPRESSION_TYPE, message);
        }
        Ok(_) => {}
    }
}
