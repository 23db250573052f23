//! What can be wrong with an expression: before it runs, and while it runs.

use std::sync::Arc;

use crate::{Type, Value};

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {column})")]
pub struct CompileError {
    /// What is wrong, and how to mend it.
    pub message: String,
    /// Where, in bytes from the start of the source.
    pub offset: usize,
    /// Where, in characters from the start of the source, the first being 1 (a line break counts as one).
    pub column: usize,
}

impl CompileError {
    pub(crate) fn at(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let offset = source.floor_char_boundary(offset.min(source.len()));
        Self {
            message: message.into(),
            offset,
            column: source
                .char_indices()
                .take_while(|(position, _)| *position < offset)
                .count()
                + 1,
        }
    }
}

/// Why an expression gave no result for an event. Never holds a value of the event: those are the visitor's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A field, key or variable that is not there. `has()` and `orElse()` turn it into an answer.
    #[error("no such field: `{0}`")]
    NoSuchField(Arc<str>),
    /// A computed key that is not there. `has()` and `orElse()` turn it into an answer.
    #[error("no such key")]
    NoSuchKey,
    /// A position outside the list. `orElse()` turns it into an answer.
    #[error("no such element: [{0}]")]
    NoSuchElement(i64),
    /// A lookup table without a row for the key. `has()` and `orElse()` turn it into an answer.
    #[error("lookup table `{0}` has no row for this key")]
    NoSuchRow(Arc<str>),
    /// An operator or function that does not take such values.
    #[error("`{operation}` does not take {found}{}", .and.map(|kind| format!(" and {kind}")).unwrap_or_default())]
    TypeMismatch {
        /// The operator or function.
        operation: &'static str,
        /// What it was given.
        found: Type,
        /// What it was given on its right side.
        and: Option<Type>,
    },
    /// A whole number past 64 bits.
    #[error("`{0}` gives a number that does not fit 64 bits")]
    Overflow(&'static str),
    /// A division of whole numbers by 0.
    #[error("division by zero")]
    DivisionByZero,
    /// A text or number that a conversion cannot read.
    #[error("{0}() cannot convert this value")]
    BadConversion(&'static str),
    /// A map with the same key twice.
    #[error("a map has the same key twice")]
    DuplicateKey,
    /// The hit's budget of steps is used up.
    #[error("the budget of steps of this hit is used up")]
    StepsExhausted,
}

impl EvaluateError {
    /// Whether something was not there, which `has()` and `orElse()` turn into an answer.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::NoSuchField(_) | Self::NoSuchKey | Self::NoSuchElement(_) | Self::NoSuchRow(_)
        )
    }

    pub(crate) fn mismatch(operation: &'static str, found: &Value<'_>) -> Self {
        Self::TypeMismatch {
            operation,
            found: Type::of(found),
            and: None,
        }
    }
}
