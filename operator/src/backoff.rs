//! Pauses between tries, for each object by itself: an object that fails again and again is tried less and less often, and
//! those that fail together do not come back together.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::RngExt as _;
use tagfleet_crds::validate::NamespacedName;

/// The first pause at most.
const FIRST: Duration = Duration::from_secs(1);
/// Every pause at most.
const LONGEST: Duration = Duration::from_secs(300);

/// The failures in a row of each object.
#[derive(Debug, Default)]
pub struct Backoffs {
    failures: Mutex<BTreeMap<NamespacedName, u32>>,
}

impl Backoffs {
    /// Another failure: how long to wait before the next try. Doubles with each, and any share of it may come (full
    /// jitter), though never less than a tenth.
    pub fn failed(&self, name: &NamespacedName) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(name.clone()).or_insert(0);
        *count = count.saturating_add(1);
        longest_pause(*count).mul_f64(rand::rng().random_range(0.1..=1.0))
    }

    /// It went well, or the object is gone.
    pub fn forget(&self, name: &NamespacedName) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

/// The longest pause after so many failures in a row.
fn longest_pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST.checked_mul(doubled).map_or(LONGEST, |pause| pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes_and_begin_anew_after_a_success() {
        let pauses = [1, 2, 3, 8, 9, 10, 40].map(|failures| longest_pause(failures).as_secs());
        assert_eq!(pauses, [1, 2, 4, 128, 256, 300, 300]);
        let (backoffs, name) = (Backoffs::default(), NamespacedName::new("shops", "shop"));
        for _ in 0..20 {
            assert!(backoffs.failed(&name) <= LONGEST);
        }
        backoffs.forget(&name);
        assert!(backoffs.failed(&name) <= FIRST);
    }
}
