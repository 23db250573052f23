//! What can be wrong with an expression: before it runs, and while it runs.

/// Why an expression is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (column {column})")]
pub struct CompileError {
    /// What is wrong, and how to mend it.
    pub message: String,
    /// Where, in bytes from the start of the source.
    pub offset: usize,
    /// Where, in characters from the start of the source, the first being 1 (line breaks count as one).
    pub column: usize,
}

/// Why an expression gave no result for an event.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvaluateError {
    /// A field, key, index, variable or row that is not there. `has()` and `orElse()` turn it into an answer.
    #[error("no such field: {0}")]
    NoSuchField(Box<str>),
    /// The hit's budget of steps is used up.
    #[error("the budget of steps of this hit is used up")]
    StepsExhausted,
}
