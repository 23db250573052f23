//! The expression language of Tagfleet: CEL over an event. docs/expressions.md is its user's page.
//!
//! ```text
//! source ─► limits ─► parse ─► compile, calls, infer ─► tree ─► evaluate, comprehension ─► Value
//!           length,   crate    names and types          │       operators, functions
//!           depth     `cel`    against an Environment   Expression, read through an Activation
//! ```
//!
//! The parser is that of the crate `cel`; the evaluator is ours, over a tree compiled from that crate's. Why not its own:
//! - Steps are bounded exactly: every node, every element and every 64 bytes of text are taken from one budget per hit.
//!   An interpreter that is called as a whole can only be timed, not bounded.
//! - `has(event.a.b)` is false when `event.a` is not there. In the crate's it is an error, and conditions on optional data
//!   would have to repeat every level.
//! - It reads the event where it lies. The crate's values are other types, so every hit would be converted for every
//!   destination; a trigger is evaluated for each destination of each hit, and must cost nanoseconds.
//! - It cannot panic, and its recursion is bounded by the depth that [`Expression::compile`] allows.
//!
//! Where both mean the same, the crate's interpreter is the oracle of our tests (tests/oracle.rs).

mod activation;
mod calls;
mod compile;
mod comprehension;
mod environment;
mod error;
mod evaluate;
mod expression;
mod functions;
mod infer;
mod limits;
mod operand;
mod operators;
mod parse;
mod schema_functions;
mod suggest;
mod tree;
mod url;
mod value;

pub use activation::{Activation, SchemaActivation};
pub use environment::{Environment, Root, Type};
pub use error::{CompileError, EvaluateError};
pub use expression::Expression;
pub use limits::{MAX_SOURCE_BYTES, STEPS_PER_HIT, Steps};
pub use value::{Fields, Map, Value};
