//! A compiled expression: what it is made from, what it reads, and its result.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    Activation, CompileError, Environment, EvaluateError, Steps, Type, Value, compile, evaluate, limits, parse,
    tree::Node,
};

/// A compiled expression. Compile it once, when the configuration is applied; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Expression(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    source: Box<str>,
    tree: Node,
    result: Type,
    reads: Reads,
}

/// What an expression reads, beside its own text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reads {
    pub(crate) variables: BTreeSet<Arc<str>>,
    pub(crate) tables: BTreeSet<Arc<str>>,
    pub(crate) event_fields: BTreeSet<Arc<str>>,
    /// Whether it uses `event` other than by the fields named above.
    pub(crate) whole_event: bool,
    pub(crate) request_fields: BTreeSet<Arc<str>>,
    /// Whether it uses `request` other than by the fields named above.
    pub(crate) whole_request: bool,
}

impl Expression {
    /// Compiles `source` for the place that `environment` describes.
    ///
    /// # Errors
    /// [`CompileError`] for a source that is too long, too deep or not CEL, that reads a root, variable, table or function
    /// which does not exist there, or whose operands can never fit.
    pub fn compile(source: &str, environment: &Environment) -> Result<Self, CompileError> {
        limits::check_source(source)?;
        let syntax = parse::parse(source)?;
        let (tree, result, reads) = compile::compile(&syntax, environment)
            .map_err(|fault| CompileError::at(source, parse::offset_of(source, fault.node), fault.message))?;
        Ok(Self(Arc::new(Compiled {
            source: source.into(),
            tree,
            result,
            reads,
        })))
    }

    /// The text that it was compiled from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The type of the result, as far as it is known before it runs.
    #[must_use]
    pub fn result_type(&self) -> Type {
        self.0.result
    }

    /// Whether the result may be a bool: what a `when` must be.
    #[must_use]
    pub fn may_be_bool(&self) -> bool {
        matches!(self.0.result, Type::Bool | Type::Dyn)
    }

    /// The variables that it reads.
    pub fn variables_read(&self) -> impl Iterator<Item = &str> {
        self.0.reads.variables.iter().map(AsRef::as_ref)
    }

    /// The lookup tables that it reads.
    pub fn tables_read(&self) -> impl Iterator<Item = &str> {
        self.0.reads.tables.iter().map(AsRef::as_ref)
    }

    /// The fields of the event that it reads by name; `None` when it uses `event` as a whole, so that it may read any.
    pub fn event_fields_read(&self) -> Option<impl Iterator<Item = &str>> {
        let reads = &self.0.reads;
        (!reads.whole_event).then(|| reads.event_fields.iter().map(AsRef::as_ref))
    }

    /// Whether it reads `request`.
    #[must_use]
    pub fn reads_request(&self) -> bool {
        self.0.reads.whole_request || !self.0.reads.request_fields.is_empty()
    }

    /// The fields of the request that it reads by name; `None` when it uses `request` as a whole.
    pub fn request_fields_read(&self) -> Option<impl Iterator<Item = &str>> {
        let reads = &self.0.reads;
        (!reads.whole_request).then(|| reads.request_fields.iter().map(AsRef::as_ref))
    }

    /// Runs it. The result borrows from the event and from the expression where it can.
    ///
    /// # Errors
    /// [`EvaluateError`]; the event is never lost by it: a `when` counts as false, anything else as null.
    pub fn evaluate<'v>(
        &'v self,
        activation: &dyn Activation<'v>,
        steps: &mut Steps,
    ) -> Result<Value<'v>, EvaluateError> {
        evaluate::evaluate(&self.0.tree, activation, steps)
    }
}
