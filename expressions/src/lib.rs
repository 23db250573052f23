//! The expression language of Tagfleet: CEL over an event. docs/expressions.md is its user's page.

mod environment;
mod error;
mod evaluate;
mod expression;
mod limits;
mod value;

pub use environment::{Environment, Root, Type};
pub use error::{CompileError, EvaluateError};
pub use evaluate::{Activation, SchemaActivation};
pub use expression::Expression;
pub use limits::{MAX_SOURCE_BYTES, STEPS_PER_HIT, Steps};
pub use value::{Map, Value};
