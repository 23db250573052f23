//! The configuration: from manifests to a plan.

pub mod finding;
pub mod manifests;
mod scalars;
pub mod schema;
mod suggest;
pub mod tree;
