//! The expression language of Tagfleet: CEL over an event. docs/expressions.md is its user's page.

mod value;

pub use value::{Map, Value};

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {}
