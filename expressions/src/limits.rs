//! The bounds of an expression: its size before it runs, its steps while it runs.

use crate::EvaluateError;

/// The longest source of an expression, in bytes.
pub const MAX_SOURCE_BYTES: usize = 4096;

/// The steps that all expressions of one hit may take together.
pub const STEPS_PER_HIT: u32 = 10_000;

/// A budget of steps, shared by all expressions of a hit.
#[derive(Clone, Debug)]
pub struct Steps {
    left: u32,
}

impl Steps {
    /// A budget of `steps`.
    #[must_use]
    pub const fn new(steps: u32) -> Self {
        Self { left: steps }
    }

    /// The steps that are left.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// Takes `steps` from the budget.
    ///
    /// # Errors
    /// [`EvaluateError::StepsExhausted`] when there are not as many; the budget is empty from then on.
    pub fn take(&mut self, steps: u32) -> Result<(), EvaluateError> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvaluateError::StepsExhausted)
            }
        }
    }
}

impl Default for Steps {
    /// The budget of one hit.
    fn default() -> Self {
        Self::new(STEPS_PER_HIT)
    }
}
