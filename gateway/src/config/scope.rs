//! What the expressions of a container may read: its variables, each compiled, and its lookup tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tagfleet_crds::tagging_container::Variable;
use tagfleet_expressions::{CompileError, Environment, Expression, Type};

use super::tables::Table;

/// A compiled variable.
#[derive(Clone, Debug)]
pub struct NamedExpression {
    /// As in `vars.<name>`.
    pub name: Arc<str>,
    /// What it computes.
    pub expression: Expression,
}

/// A mistake in the variable of this index.
#[derive(Debug)]
pub struct VariableMistake {
    /// Its index in the spec.
    pub index: usize,
    /// What is wrong.
    pub message: String,
}

/// What expressions may read.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// The variables, each before those that read it.
    pub variables: Vec<NamedExpression>,
    /// The tables by name; one whose content is not known has none.
    pub tables: BTreeMap<String, Option<Arc<Table>>>,
    /// Names of variables that are there and did not compile: what reads them is not blamed for it.
    flawed: BTreeSet<String>,
}

impl Scope {
    /// Compiles the variables. Those that are refused are told, and the others are there all the same.
    #[must_use]
    pub fn new(tables: BTreeMap<String, Option<Arc<Table>>>, variables: &[Variable]) -> (Self, Vec<VariableMistake>) {
        let mut scope = Self {
            tables,
            ..Self::default()
        };
        let mut mistakes = Vec::new();
        // Which variables each reads is known only once it is compiled; so first with all of them readable as anything.
        let all = variables.iter().fold(
            scope.tables_environment(Environment::event().with_request()),
            |all, v| all.with_variable(v.name.clone(), Type::Dyn),
        );
        let mut waiting: Vec<(usize, &Variable, BTreeSet<String>)> = Vec::new();
        for (index, variable) in variables.iter().enumerate() {
            match Expression::compile(&variable.expression, &all) {
                Ok(expression) => {
                    let reads = expression.variables_read().map(str::to_owned).collect();
                    waiting.push((index, variable, reads));
                }
                Err(error) => scope.refuse(index, &variable.name, error.to_string(), &mut mistakes),
            }
        }
        while !waiting.is_empty() {
            let is_ready = |reads: &BTreeSet<String>| reads.iter().all(|name| scope.knows(name));
            let (ready, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(_, _, reads)| is_ready(reads));
            if ready.is_empty() {
                for (index, variable, reads) in rest {
                    let reads: Vec<String> = reads.iter().map(|name| format!("vars.{name}")).collect();
                    let message = format!("is computed from itself: it reads {}", reads.join(", "));
                    scope.refuse(index, &variable.name, message, &mut mistakes);
                }
                break;
            }
            let environment = scope.environment(Environment::event().with_request());
            for (index, variable, _) in ready {
                match Expression::compile(&variable.expression, &environment) {
                    Ok(expression) => scope.variables.push(NamedExpression {
                        name: variable.name.as_str().into(),
                        expression,
                    }),
                    Err(error) => scope.refuse(index, &variable.name, error.to_string(), &mut mistakes),
                }
            }
            waiting = rest;
        }
        mistakes.sort_by_key(|mistake| mistake.index);
        (scope, mistakes)
    }

    fn refuse(&mut self, index: usize, name: &str, message: String, mistakes: &mut Vec<VariableMistake>) {
        self.flawed.insert(name.to_owned());
        mistakes.push(VariableMistake { index, message });
    }

    fn knows(&self, name: &str) -> bool {
        self.flawed.contains(name) || self.variables.iter().any(|variable| &*variable.name == name)
    }

    /// Compiles an expression of a destination.
    ///
    /// # Errors
    /// As [`Expression::compile`].
    pub fn compile(&self, source: &str) -> Result<Expression, CompileError> {
        Expression::compile(source, &self.event_environment())
    }

    /// What the expressions of a destination may read.
    #[must_use]
    pub fn event_environment(&self) -> Environment {
        self.environment(Environment::event())
    }

    fn environment(&self, base: Environment) -> Environment {
        let known = self
            .variables
            .iter()
            .fold(self.tables_environment(base), |environment, variable| {
                environment.with_variable(&*variable.name, variable.expression.result_type())
            });
        let flawed = self.flawed.iter();
        flawed.fold(known, |environment, name| environment.with_variable(name, Type::Dyn))
    }

    fn tables_environment(&self, base: Environment) -> Environment {
        self.tables.iter().fold(base, |environment, (name, table)| match table {
            Some(table) => environment.with_table_columns(name, table.columns.iter().map(|column| &**column)),
            None => environment.with_table(name),
        })
    }

    /// The variables that these expressions read, and those that these read, each before those that read it.
    #[must_use]
    pub fn variables_of<'e>(&self, expressions: impl IntoIterator<Item = &'e Expression>) -> Vec<NamedExpression> {
        let mut wanted: BTreeSet<String> = BTreeSet::new();
        for expression in expressions {
            wanted.extend(expression.variables_read().map(str::to_owned));
        }
        for variable in self.variables.iter().rev() {
            if wanted.contains(&*variable.name) {
                wanted.extend(variable.expression.variables_read().map(str::to_owned));
            }
        }
        let found = self
            .variables
            .iter()
            .filter(|variable| wanted.contains(&*variable.name));
        found.cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn scope(variables: &[(&str, &str)]) -> (Scope, Vec<String>) {
        let variables: Vec<Variable> = variables
            .iter()
            .map(|(name, expression)| Variable {
                name: (*name).to_owned(),
                expression: (*expression).to_owned(),
            })
            .collect();
        let (scope, mistakes) = Scope::new(BTreeMap::new(), &variables);
        (
            scope,
            mistakes.iter().map(|m| format!("{}: {}", m.index, m.message)).collect(),
        )
    }

    #[test]
    fn variables_are_ordered_by_what_they_read() {
        let (scope, mistakes) = scope(&[
            ("c", "vars.b && vars.a"),
            ("b", "vars.a"),
            ("a", "event.value > 1.0"),
            ("other", "request.host"),
        ]);
        assert_eq!(mistakes, [""; 0]);
        let order: Vec<&str> = scope.variables.iter().map(|variable| &*variable.name).collect();
        let place = |name| order.iter().position(|known| *known == name).unwrap();
        assert!(place("a") < place("b") && place("b") < place("c"), "{order:?}");
        let read = scope.compile("vars.b").unwrap();
        let of_b: Vec<_> = scope.variables_of([&read]).iter().map(|v| v.name.to_string()).collect();
        assert_eq!(of_b, ["a", "b"]);
    }

    #[test]
    fn a_circle_is_named_and_what_reads_a_flawed_variable_is_not() {
        let (scope, mistakes) = scope(&[("a", "vars.b"), ("b", "vars.a"), ("c", "event."), ("d", "vars.c")]);
        assert_eq!(mistakes.len(), 3, "{mistakes:?}");
        assert_eq!(mistakes[0], "0: is computed from itself: it reads vars.b");
        assert_eq!(mistakes[1], "1: is computed from itself: it reads vars.a");
        assert!(mistakes[2].starts_with("2: "));
        assert!(scope.compile("vars.c").is_ok());
        assert!(scope.compile("vars.nowhere").is_err());
    }

    #[test]
    fn types_are_known_beyond_a_variable() {
        let (scope, _) = scope(&[("name", "event.event_name + 'x'"), ("wrong", "vars.name && true")]);
        assert_eq!(scope.variables.len(), 1);
    }
}
