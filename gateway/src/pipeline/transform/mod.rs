//! Transformations: allow, exclude, augment, hash and redact; for all destinations before the log, or in the view of some.

/// One transformation, compiled.
#[derive(Debug)]
pub struct Transformation {}

/// The transformations of one destination: what it sees of an event.
#[derive(Clone, Debug, Default)]
pub struct View {}
