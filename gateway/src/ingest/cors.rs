//! Cross-origin answers: which origins may read them, with credentials.

/// `cors` of the container with the registrable domains of its hostnames.
#[derive(Clone, Debug, Default)]
pub struct Cors {}
