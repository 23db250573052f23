//! Transformations: allow, exclude, augment, hash and redact; for all destinations before the log, or in the view of some.
//!
//! What protects (allow, exclude, hash, redact) is left out only when its `when` says false: one that fails, or gives anything
//! else, counts as true, so that no mistake uncovers anything. `augment` is made only when its `when` says true.

mod hash;
mod parameters;
mod redact;
mod touched;
mod view;

use std::{cell::RefCell, sync::Arc};

use tagfleet_expressions::{Expression, Map, Steps, Value};

pub use self::{
    parameters::Parameters,
    redact::{REDACTED, Redaction},
    touched::Touched,
    view::{View, reaching},
};
use super::{FailedExpression, Watch, variables::Hit};
use crate::{
    event::{Event, field},
    ingest::user_data,
    plan::Plan,
    record::Consent,
};

/// The fields that every event needs, whatever is allowed.
const NEEDED: [&str; 3] = [field::EVENT_NAME, field::EVENT_ID, field::TIMESTAMP_MS];

/// One transformation, compiled.
#[derive(Clone, Debug)]
pub struct Transformation {
    /// Its name.
    pub name: Arc<str>,
    /// As failed expressions are counted: `transformations.<name>`.
    pub label: Arc<str>,
    /// Its condition.
    pub when: Option<Expression>,
    /// What it does.
    pub change: Change,
    /// By what a record remembers that it was made: its name, and a hash of its definition, so that one that was changed since
    /// is another.
    pub mark: Arc<str>,
}

/// What a transformation does.
#[derive(Clone, Debug)]
pub enum Change {
    /// Keeps only these.
    Allow(Parameters),
    /// Removes these.
    Exclude(Parameters),
    /// Sets parameters, in order, to the results of expressions.
    Augment(Vec<(String, Expression)>),
    /// Hashes these.
    Hash(Parameters),
    /// Redacts texts.
    Redact(Box<Redaction>),
}

/// What a transformation's expressions give for an event.
struct Decision {
    applies: bool,
    /// What is set, of an `augment`.
    values: Vec<(String, Value<'static>)>,
}

impl Transformation {
    /// All its expressions.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let augment = match &self.change {
            Change::Augment(augment) => augment.as_slice(),
            _ => &[],
        };
        self.when.iter().chain(augment.iter().map(|(_, expression)| expression))
    }

    /// Runs its expressions: `when` for the condition, and `set` for what is set; none is what failed.
    fn decide<'v>(
        &'v self,
        mut when: impl FnMut(&'v Expression) -> Option<Value<'v>>,
        mut set: impl FnMut(&'v Expression) -> Option<Value<'v>>,
    ) -> Decision {
        let condition = self.when.as_ref().map(&mut when);
        let Change::Augment(augment) = &self.change else {
            // What is not known to be false must be covered.
            let applies = condition != Some(Some(Value::Bool(false)));
            return Decision {
                applies,
                values: Vec::new(),
            };
        };
        let applies = condition.is_none_or(|condition| condition == Some(Value::Bool(true)));
        let augment = augment.iter().filter(|_| applies);
        let values = augment.filter_map(|(name, expression)| Some((name.clone(), set(expression)?.into_owned())));
        Decision {
            applies,
            values: values.collect(),
        }
    }

    /// Makes the change.
    fn make(&self, values: Vec<(String, Value<'static>)>, event: &mut Event<'_>) {
        match &self.change {
            Change::Allow(parameters) => parameters.keep_in(event.fields_mut(), &NEEDED),
            Change::Exclude(parameters) => parameters.remove_from(event.fields_mut()),
            Change::Hash(parameters) => hash::hash(parameters, event.fields_mut()),
            Change::Redact(redaction) => redaction.apply(event.fields_mut()),
            Change::Augment(_) => {
                for (name, value) in values {
                    augment(event, &name, value);
                }
            }
        }
    }
}

/// Sets a parameter. Null sets nothing, nor does a value that a field every event needs cannot have.
fn augment(event: &mut Event<'_>, name: &str, value: Value<'static>) {
    let fits = match name {
        field::EVENT_NAME | field::EVENT_ID => value.as_str().is_some_and(|text| !text.is_empty()),
        field::TIMESTAMP_MS => value.as_i64().is_some(),
        _ => value != Value::Null,
    };
    if !fits {
        return;
    }
    parameters::set(event.fields_mut(), name, value);
    if let Some(Value::Map(data)) = event.fields_mut().get_mut(field::USER_DATA) {
        user_data::make_arrays(data);
    }
}

/// Makes the container's transformations, in their order; each sees what those before it left. What failed goes to `errors`.
pub fn apply<'r>(
    plan: &Plan,
    event: &mut Event<'r>,
    consent: Consent,
    request: Option<&Map<'_>>,
    steps: &mut Steps,
    errors: &mut Vec<FailedExpression>,
    watch: &mut impl Watch,
) {
    for transformation in &plan.policies.transformations {
        let decision = if transformation.expressions().next().is_none() {
            transformation.decide(|_| None, |_| None)
        } else {
            decide(plan, transformation, event, consent, request, steps, errors)
        };
        if decision.applies {
            transformation.make(decision.values, event);
            watch.step(&transformation.label, event);
        }
    }
}

fn decide(
    plan: &Plan,
    transformation: &Transformation,
    event: &Event<'_>,
    consent: Consent,
    request: Option<&Map<'_>>,
    steps: &mut Steps,
    errors: &mut Vec<FailedExpression>,
) -> Decision {
    let hit = RefCell::new(Hit::new(plan, event, consent, request, steps));
    let run = |expression| {
        hit.borrow_mut()
            .evaluate(expression, &plan.container, &transformation.label)
    };
    let decision = transformation.decide(run, run);
    note(errors, hit.into_inner().into_errors());
    decision
}

/// Adds what failed: each expression once for an event, however often it was run.
pub fn note(errors: &mut Vec<FailedExpression>, failed: Vec<FailedExpression>) {
    for failure in failed {
        let is_known = errors
            .iter()
            .any(|known| known.object == failure.object && known.expression == failure.expression);
        if !is_known {
            errors.push(failure);
        }
    }
}

#[cfg(test)]
mod tests;
