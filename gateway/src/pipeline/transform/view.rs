//! What one destination sees of an event.

use std::{borrow::Cow, cell::RefCell, collections::BTreeMap, fmt, sync::Arc};

use sha2::{Digest, Sha256};
use tagfleet_expressions::{EvaluateError, Expression, STEPS_PER_HIT, Steps, Value};

use super::{Touched, Transformation};
use crate::{
    activation::{HitActivation, Variables},
    log::codec::{self, DecodeError},
    pipeline::lookup::LookupTables,
    plan::Variable,
    record::Record,
};

/// The transformations of one destination, with what they read. Cheap to clone.
#[derive(Clone, Default)]
pub struct View(Option<Arc<Compiled>>);

struct Compiled {
    transformations: Vec<Transformation>,
    /// The variables whose values could hold what is not to be seen.
    hidden: Vec<Arc<str>>,
    tables: Arc<LookupTables>,
    fingerprint: String,
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.iter().flat_map(|view| &view.transformations);
        f.debug_list()
            .entries(names.map(|transformation| &transformation.name))
            .finish()
    }
}

impl View {
    /// The view that these transformations make, one after the other. `variables` are all of the container, each before those
    /// that read it, and `inputs` tells what else the transformations depend on, such as the tables' content.
    #[must_use]
    pub fn new(
        transformations: Vec<Transformation>,
        variables: &[Variable],
        tables: Arc<LookupTables>,
        inputs: &[u8],
    ) -> Self {
        if transformations.is_empty() {
            return Self::default();
        }
        let hidden = hidden(&Touched::by(&transformations), variables);
        let mut hash = Sha256::new();
        for text in transformations
            .iter()
            .map(|transformation| &transformation.mark)
            .chain(&hidden)
        {
            hash.update(text.as_bytes());
            hash.update([0]);
        }
        hash.update(inputs);
        Self(Some(Arc::new(Compiled {
            transformations,
            hidden,
            tables,
            fingerprint: hex::encode(hash.finalize()),
        })))
    }

    /// Whether the destination sees events as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Changes when the view does; empty for the empty view.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.0.as_ref().map_or("", |view| &view.fingerprint)
    }

    /// Makes a record what the destination sees. What was made of it already, of a dead letter that is replayed, is not made
    /// again. Expressions that failed are counted in `errors`, as `transformations.<name>`.
    pub fn apply(&self, record: &mut Record<'_>, errors: &mut BTreeMap<String, u64>) {
        self.make(record, errors, &mut |_| {});
    }

    /// Tells `made` what is made.
    fn make<'v>(
        &'v self,
        record: &mut Record<'_>,
        errors: &mut BTreeMap<String, u64>,
        made: &mut dyn FnMut(&'v Transformation),
    ) {
        let Some(view) = &self.0 else { return };
        let mut steps = Steps::new(STEPS_PER_HIT);
        // A condition may read what is hidden, since it shows nothing of it; what is set may not.
        let mut seen = record.vars.clone();
        for name in &view.hidden {
            if let Some(value) = seen.get_mut(name) {
                *value = Value::Null;
            }
        }
        for transformation in &view.transformations {
            if record.applied.iter().any(|mark| **mark == *transformation.mark) {
                continue;
            }
            let mut failures = 0;
            let decision = {
                let budget = RefCell::new((&mut steps, &mut failures));
                let run = |expression, variables| {
                    let (steps, failures) = &mut *budget.borrow_mut();
                    let result = evaluate(expression, record, variables, &view.tables, steps);
                    result.map_err(|_| **failures += 1).ok()
                };
                transformation.decide(|when| run(when, &record.vars), |set| run(set, &seen))
            };
            if failures > 0 {
                *errors.entry(transformation.label.to_string()).or_default() += failures;
            }
            if decision.applies {
                transformation.make(decision.values, &mut record.event);
                made(transformation);
            }
        }
        record.vars = seen;
    }

    /// The bytes of a record as the destination sees it: what a dead letter keeps.
    ///
    /// # Errors
    /// When `payload` is no record that this version reads. It may hold anything, and must not be kept.
    pub fn of_payload(&self, payload: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let mut record = codec::decode(payload)?;
        let mut made = Vec::new();
        // The expressions that fail here are counted when the event is packed.
        self.make(&mut record, &mut BTreeMap::new(), &mut |transformation| {
            made.push(Cow::Borrowed(&*transformation.mark));
        });
        record.applied.extend(made);
        let mut seen = Vec::with_capacity(payload.len());
        codec::encode(&record, &mut seen);
        Ok(seen)
    }
}

fn evaluate<'v>(
    expression: &'v Expression,
    record: &'v Record<'v>,
    variables: &dyn Variables<'v>,
    tables: &'v LookupTables,
    steps: &mut Steps,
) -> Result<Value<'v>, EvaluateError> {
    let activation = HitActivation {
        variables,
        ..HitActivation::of_record(record, tables)
    };
    expression.evaluate(&activation, steps)
}

/// The variables that read, by themselves or by way of others, what is touched.
fn hidden(touched: &Touched, variables: &[Variable]) -> Vec<Arc<str>> {
    reaching(variables, |expression| touched.reaches(expression))
}

/// The variables that reach something by themselves, as `reaches` tells, or by way of others that stand before them.
pub fn reaching(variables: &[Variable], reaches: impl Fn(&Expression) -> bool) -> Vec<Arc<str>> {
    let mut hidden: Vec<Arc<str>> = Vec::new();
    for variable in variables {
        let reads_hidden = || {
            let mut names = variable.expression.variables_read();
            names.any(|name| hidden.iter().any(|known| **known == *name))
        };
        if reaches(&variable.expression) || reads_hidden() {
            hidden.push(Arc::clone(&variable.name));
        }
    }
    hidden
}
