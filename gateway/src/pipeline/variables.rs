//! Variables: named expressions of the container, computed for a hit when something reads them, once.

use std::{borrow::Cow, sync::Arc};

use tagfleet_expressions::{EvaluateError, Expression, Map, Steps, Value};

use crate::{
    activation::{HitActivation, Variables},
    event::Event,
    pipeline::FailedExpression,
    plan::{Plan, Variable},
    record::Consent,
};

/// An event under judgement: what expressions read, what is left of their steps, and what went wrong.
pub struct Hit<'v, 's> {
    plan: &'v Plan,
    event: &'v Event<'v>,
    consent: Consent,
    request: Option<&'v Map<'v>>,
    values: Values<'v>,
    steps: &'s mut Steps,
    errors: Vec<FailedExpression>,
}

/// The values computed so far, by the variables' index.
struct Values<'v> {
    variables: &'v [Variable],
    values: Vec<Option<Value<'v>>>,
}

impl<'v> Variables<'v> for Values<'v> {
    fn variable(&self, name: &str) -> Option<&Value<'v>> {
        self.values.get(index_of(self.variables, name)?)?.as_ref()
    }
}

impl<'v, 's> Hit<'v, 's> {
    /// An event before anything was computed for it.
    pub fn new(
        plan: &'v Plan,
        event: &'v Event<'v>,
        consent: Consent,
        request: Option<&'v Map<'v>>,
        steps: &'s mut Steps,
    ) -> Self {
        let values = Values {
            variables: &plan.variables,
            values: vec![None; plan.variables.len()],
        };
        Self {
            plan,
            event,
            consent,
            request,
            values,
            steps,
            errors: Vec::new(),
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &'v Event<'v> {
        self.event
    }

    /// The consent in force for it.
    #[must_use]
    pub fn consent(&self) -> &Consent {
        &self.consent
    }

    /// Runs an expression with the variables that it reads. A failure is noted under `object` and `name`.
    pub fn evaluate(&mut self, expression: &'v Expression, object: &Arc<str>, name: &Arc<str>) -> Option<Value<'v>> {
        self.compute(expression);
        self.run(expression)
            .map_err(|error| {
                self.errors.push(FailedExpression {
                    object: Arc::clone(object),
                    expression: Arc::clone(name),
                    reason: error.to_string(),
                });
            })
            .ok()
    }

    /// The values that destinations' own expressions will read at sending, for the log.
    pub fn stored_variables(&mut self) -> Map<'static> {
        let plan = self.plan;
        for variable in plan
            .variables
            .iter()
            .filter(|variable| variable.stored && !variable.withheld)
        {
            self.compute_variable(variable);
        }
        let stored = plan
            .variables
            .iter()
            .zip(&self.values.values)
            .filter(|(variable, _)| variable.stored);
        let kept = |variable: &Variable, value: &Option<Value<'v>>| {
            if variable.withheld {
                return Some(Value::Null);
            }
            value.clone().map(Value::into_owned)
        };
        stored
            .filter_map(|(variable, value)| Some((Cow::Owned(variable.name.to_string()), kept(variable, value)?)))
            .collect()
    }

    /// What went wrong.
    #[must_use]
    pub fn into_errors(self) -> Vec<FailedExpression> {
        self.errors
    }

    /// Computes the variables that an expression reads. Validation has refused cycles, so this ends.
    fn compute(&mut self, expression: &'v Expression) {
        let plan = self.plan;
        for name in expression.variables_read() {
            if let Some(variable) = index_of(&plan.variables, name).and_then(|index| plan.variables.get(index)) {
                self.compute_variable(variable);
            }
        }
    }

    fn compute_variable(&mut self, variable: &'v Variable) {
        let Some(index) = index_of(&self.plan.variables, &variable.name) else {
            return;
        };
        if self.values.values.get(index).is_some_and(Option::is_some) {
            return;
        }
        let object = Arc::clone(&self.plan.container);
        let value = self
            .evaluate(&variable.expression, &object, &variable.name)
            .unwrap_or(Value::Null);
        if let Some(slot) = self.values.values.get_mut(index) {
            *slot = Some(value);
        }
    }

    fn run(&mut self, expression: &'v Expression) -> Result<Value<'v>, EvaluateError> {
        let activation = HitActivation {
            event: self.event,
            consent: self.consent,
            variables: &self.values,
            tables: &self.plan.lookup_tables,
            request: self.request,
        };
        expression.evaluate(&activation, self.steps)
    }
}

fn index_of(variables: &[Variable], name: &str) -> Option<usize> {
    variables.iter().position(|variable| &*variable.name == name)
}
