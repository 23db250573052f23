//! Builds the children of a fleet: pure, one file for each kind.

use crate::{child::Child, fleet::Fleet};

/// All children of a fleet, in the order of applying.
#[must_use]
pub fn children(_fleet: &Fleet) -> Vec<Child> {
    Vec::new()
}
