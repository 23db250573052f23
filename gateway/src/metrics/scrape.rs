//! What is read from the log when somebody asks: the ledger, the lag, and how full the buffer is.

use std::{
    collections::BTreeMap,
    sync::PoisonError,
    time::{Duration, Instant},
};

use prometheus::TextEncoder;

use super::{Derived, Metrics};
use crate::{
    log::{Ledger, Usage},
    plan::Plan,
    status::Delivery,
};

/// What a scrape looks at.
pub struct Sources<'s> {
    /// The plan in force: destinations that are not in it have no series.
    pub plan: &'s Plan,
    /// Every destination's standing, by name.
    pub ledgers: BTreeMap<String, Ledger>,
    /// How full the buffer is.
    pub usage: Usage,
    /// Dead letters kept, by destination.
    pub dead_letters: BTreeMap<String, u64>,
    /// What delivery does for each destination, by name.
    pub deliveries: BTreeMap<String, Delivery>,
    /// Now, unix milliseconds.
    pub now_ms: i64,
    /// Now, for rates.
    pub now: Instant,
}

impl Metrics {
    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub fn scrape(&self, sources: &Sources<'_>) -> prometheus::Result<String> {
        // The lock is held to the end, so that two scrapes at a time do not show each other's half of the work.
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        derived.set(sources);
        let text = TextEncoder::new().encode_to_string(&self.registry.gather())?;
        // The encoder writes infinity as Rust does; the format says `+Inf`. Only a value can stand at a line's end.
        Ok(text.replace(" inf\n", " +Inf\n"))
    }
}

impl Derived {
    fn set(&mut self, sources: &Sources<'_>) {
        self.deliveries.reset();
        self.lag.reset();
        self.dead_letters.reset();
        self.states.reset();
        self.imbalance.reset();
        for destination in &sources.plan.destinations {
            let name = &*destination.name;
            let ledger = sources.ledgers.get(name).copied().unwrap_or_default();
            for (outcome, events) in outcomes(&ledger) {
                self.deliveries.with_label_values(&[name, outcome]).inc_by(events);
            }
            self.lag
                .with_label_values(&[name])
                .set(lag(&ledger, sources.now_ms).as_secs_f64());
            let dead_letters = sources.dead_letters.get(name).copied().unwrap_or_default();
            self.dead_letters.with_label_values(&[name]).set(signed(dead_letters));
            let delivery = sources.deliveries.get(name).cloned().unwrap_or_default();
            for state in Delivery::REASONS {
                let is_it = state == delivery.reason();
                self.states.with_label_values(&[name, state]).set(is_it.into());
            }
            self.imbalance.with_label_values(&[name]).set(ledger.imbalance());
        }
        self.buffer_bytes.set(signed(sources.usage.bytes));
        self.buffer_events.set(signed(sources.usage.events));
        self.fill_rate.observe(sources.now, sources.usage.bytes);
        self.seconds_to_full.set(self.fill_rate.seconds_to_full(&sources.usage));
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The outcomes of `tagfleet_deliveries_total`, as the contract names them.
fn outcomes(ledger: &Ledger) -> [(&'static str, u64); 6] {
    [
        ("delivered", ledger.delivered),
        ("dead_lettered", ledger.dead_lettered),
        ("consent_denied", ledger.consent_denied),
        ("filtered", ledger.filtered),
        ("expired", ledger.expired),
        ("erased", ledger.erased),
    ]
}

/// The age of the oldest event in flight; zero without one, or when the clock was set back behind it.
pub(crate) fn lag(ledger: &Ledger, now_ms: i64) -> Duration {
    let age_ms = ledger
        .oldest_in_flight_ms
        .map_or(0, |accepted_ms| now_ms.saturating_sub(accepted_ms));
    Duration::from_millis(u64::try_from(age_ms).unwrap_or_default())
}

/// How fast the buffer fills, smoothed over about a minute: whole segments that go away at once do not count as relief.
#[derive(Debug, Default)]
pub(super) struct FillRate {
    last: Option<(Instant, u64)>,
    bytes_per_second: f64,
}

impl FillRate {
    const SMOOTHED_OVER: Duration = Duration::from_secs(60);
    /// Two scrapes closer than this say nothing about the rate.
    const SHORTEST: Duration = Duration::from_secs(1);

    fn observe(&mut self, now: Instant, bytes: u64) {
        let Some((then, before)) = self.last else {
            self.last = Some((now, bytes));
            return;
        };
        let elapsed = now.saturating_duration_since(then);
        if elapsed < Self::SHORTEST {
            return;
        }
        let rate = (bytes as f64 - before as f64) / elapsed.as_secs_f64();
        let weight = 1.0 - (-elapsed.as_secs_f64() / Self::SMOOTHED_OVER.as_secs_f64()).exp();
        self.bytes_per_second += weight * (rate - self.bytes_per_second);
        self.last = Some((now, bytes));
    }

    fn seconds_to_full(&self, usage: &Usage) -> f64 {
        let room = usage.max_bytes.saturating_sub(usage.bytes) as f64;
        if room == 0.0 && usage.max_bytes > 0 {
            0.0
        } else if self.bytes_per_second > 0.0 {
            room / self.bytes_per_second
        } else {
            f64::INFINITY
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::float_cmp)]

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn usage(bytes: u64) -> Usage {
        Usage {
            bytes,
            events: 0,
            max_bytes: 100 * MIB,
        }
    }

    #[test]
    fn a_buffer_that_fills_steadily_is_full_when_the_room_is_used_up() {
        let (mut rate, start) = (FillRate::default(), Instant::now());
        for second in 0..=600 {
            rate.observe(start + Duration::from_secs(second), second * MIB / 10);
        }
        let seconds = rate.seconds_to_full(&usage(60 * MIB));
        assert!((395.0..405.0).contains(&seconds), "40 MiB at 0.1 MiB/s, not {seconds}");
    }

    #[test]
    fn a_buffer_that_does_not_fill_is_never_full() {
        let (mut rate, start) = (FillRate::default(), Instant::now());
        assert_eq!(rate.seconds_to_full(&usage(0)), f64::INFINITY);
        rate.observe(start, 10 * MIB);
        rate.observe(start + Duration::from_secs(15), MIB);
        assert_eq!(rate.seconds_to_full(&usage(MIB)), f64::INFINITY);
    }

    #[test]
    fn a_full_buffer_is_full_now() {
        assert_eq!(FillRate::default().seconds_to_full(&usage(100 * MIB)), 0.0);
    }

    #[test]
    fn scrapes_at_the_same_moment_leave_the_rate_alone() {
        let (mut rate, start) = (FillRate::default(), Instant::now());
        rate.observe(start, 0);
        rate.observe(start, 50 * MIB);
        assert_eq!(rate.bytes_per_second, 0.0);
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_event_and_never_negative() {
        let in_flight = |oldest| Ledger {
            oldest_in_flight_ms: oldest,
            ..Ledger::default()
        };
        assert_eq!(lag(&in_flight(None), 5_000), Duration::ZERO);
        assert_eq!(lag(&in_flight(Some(2_500)), 5_000), Duration::from_millis(2_500));
        assert_eq!(
            lag(&in_flight(Some(9_000)), 5_000),
            Duration::ZERO,
            "the clock was set back"
        );
    }
}
