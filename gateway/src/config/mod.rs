//! The configuration: from manifests to a plan.

pub mod files;
pub mod finding;
pub mod manifests;
pub mod not_in_force;
pub mod objects;
mod scalars;
pub mod schema;
pub mod secrets;
mod suggest;
pub mod tree;
pub mod watch;
