//! Which hits are traced: a share of all, and those whose sender asks for it, as far as the allowance goes.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

/// Hits that are traced each second because their sender asks for it: whoever sends more does not flood the collector.
pub const ASKED_PER_SECOND: u64 = 100;

/// A share of all hits (`samplePercent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// From percent. Not zero means not never.
    #[must_use]
    pub fn of_percent(percent: f64) -> Self {
        let all = f64::from(u32::MAX) + 1.0;
        Self((percent.clamp(0.0, 100.0) / 100.0 * all).ceil() as u64)
    }

    /// Whether a hit belongs to it: costs one random number.
    #[must_use]
    pub fn draw(self) -> bool {
        self.takes(rand::random())
    }

    fn takes(self, number: u32) -> bool {
        u64::from(number) < self.0
    }
}

/// So many a second, and as many at once after a quiet second. One number for all threads (the generic cell rate
/// algorithm, ITU-T I.371), touched only by hits that ask.
#[derive(Debug)]
pub struct Allowance {
    begun: Instant,
    /// When the next one is due, microseconds after `begun`.
    due_us: AtomicU64,
}

const SECOND_US: u64 = 1_000_000;

impl Default for Allowance {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            due_us: AtomicU64::new(0),
        }
    }
}

impl Allowance {
    /// Whether another one is allowed now; it is used up then.
    #[must_use]
    pub fn take(&self) -> bool {
        let elapsed = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX / 2);
        // The second before the start counts as a quiet one.
        self.take_at(elapsed + SECOND_US)
    }

    fn take_at(&self, now_us: u64) -> bool {
        let taken = self.due_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            let due = due.max(now_us.saturating_sub(SECOND_US)) + SECOND_US / ASKED_PER_SECOND;
            (due <= now_us).then_some(due)
        });
        taken.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_so_many_of_all_numbers() {
        for (percent, of_256) in [(0.0, 0), (1.0, 3), (25.0, 64), (50.0, 128), (100.0, 256)] {
            let share = Share::of_percent(percent);
            let taken = (0..256).filter(|step| share.takes(step << 24)).count();
            assert_eq!(taken, of_256, "{percent} %");
        }
    }

    #[test]
    fn all_is_all_none_is_none_and_a_little_is_not_none() {
        assert!(Share::of_percent(100.0).takes(u32::MAX));
        assert!(!Share::of_percent(0.0).takes(0));
        assert!(Share::of_percent(1e-9).takes(0));
        assert_eq!(Share::of_percent(f64::NAN), Share::of_percent(0.0));
    }

    #[test]
    fn drawing_comes_near_the_share() {
        let taken = (0..100_000).filter(|_| Share::of_percent(10.0).draw()).count();
        assert!((9_000..11_000).contains(&taken), "{taken}");
    }

    #[test]
    fn an_allowance_is_a_burst_and_then_so_many_a_second() {
        let allowance = Allowance::default();
        let taken = |from_us: u64, for_us: u64| {
            let times = (from_us..from_us + for_us).step_by(100);
            times.filter(|now| allowance.take_at(*now)).count()
        };
        assert_eq!(taken(SECOND_US, 100), 1);
        let burst = (0..1_000).filter(|_| allowance.take_at(SECOND_US)).count();
        assert_eq!(burst, 99);
        assert_eq!(
            taken(SECOND_US, 3 * SECOND_US),
            299,
            "the first comes due after a hundredth of a second"
        );
        // A quiet hour saves up no more than a second's worth.
        let later = 3_600 * SECOND_US;
        let burst = (0..1_000).filter(|_| allowance.take_at(later)).count();
        assert_eq!(burst, 100);
    }
}
