//! The tracking plan: JSON Schemas that events are checked against.

/// A rule of the tracking plan.
#[derive(Debug)]
pub struct Rule {}
