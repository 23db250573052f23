//! The gate of one destination: whether it may be sent to now. Circuit breaker, `Retry-After` and rejected credentials
//! are three reasons for one thing: wait, then let a single probe through. Pure but for the given times.

use std::time::Duration;

use tokio::time::Instant;

use super::retry::Backoff;

/// Failed requests in a row, of different batches, after which the gate shuts.
pub const FAILURES_TO_OPEN: u32 = 5;
/// Failed requests in a row, of any batch, after which it is told that the vendor fails.
pub const FAILURES_TO_TELL: u32 = 2;
/// The longest wait between two probes of a vendor that is down: one request costs nothing, and a vendor that came back
/// should not wait for long.
pub const MAX_PROBE_WAIT: Duration = Duration::from_secs(30);
/// The waits between two tries with credentials that were rejected; a changed configuration is tried at once.
pub const REJECTED_BACKOFF: Backoff = Backoff {
    initial: Duration::from_secs(60),
    max: Duration::from_secs(600),
};

/// Why a destination is not sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shut {
    /// The vendor said when to come back.
    RetryAfter,
    /// It failed several times in a row.
    Failing,
    /// It rejected the credentials.
    Rejected,
    /// It asked for no more.
    Gone,
}

/// What may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// As much as `maxConcurrency` allows.
    All,
    /// One request, to see whether the vendor is back.
    Probe,
    /// Nothing before this time; a probe on its way is waited for.
    Nothing(Option<Instant>),
}

/// What a finished request tells about the vendor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It answered, whatever it thinks of the events.
    Answered,
    /// It failed: no answer, a timeout, a 5xx. `fresh` when the batch had not failed before: a single batch that always
    /// fails says nothing about the others.
    Failed {
        /// First failure of its batch.
        fresh: bool,
    },
    /// It asked to be left alone for so long.
    Later(Duration),
    /// It rejected the credentials.
    Rejected,
    /// It asked for no more.
    Gone,
}

/// The state.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    failures: u32,
    /// Failed requests since the last that was answered, whichever batch they were of.
    unanswered: u32,
    shut: Option<ShutUntil>,
}

#[derive(Clone, Copy, Debug)]
struct ShutUntil {
    why: Shut,
    until: Instant,
    probes: u32,
    probing: bool,
}

impl Gate {
    /// What may be sent at `now`.
    #[must_use]
    pub fn pass(&self, now: Instant) -> Pass {
        match self.shut {
            None => Pass::All,
            Some(shut) if shut.probing => Pass::Nothing(None),
            Some(shut) if now < shut.until => Pass::Nothing(Some(shut.until)),
            Some(_) => Pass::Probe,
        }
    }

    /// Why it is shut, if it is.
    #[must_use]
    pub fn shut(&self) -> Option<Shut> {
        self.shut.map(|shut| shut.why)
    }

    /// Whether it is open and yet requests go on to fail: too few batches to shut it, but no vendor that takes events.
    #[must_use]
    pub const fn fails_on(&self) -> bool {
        self.shut.is_none() && self.unanswered >= FAILURES_TO_TELL
    }

    /// A probe was sent.
    pub fn probe_sent(&mut self) {
        if let Some(shut) = &mut self.shut {
            shut.probing = true;
        }
    }

    /// Until when it is shut; `None` while a probe is on its way, too.
    #[must_use]
    pub fn shut_until(&self) -> Option<Instant> {
        self.shut.filter(|shut| !shut.probing).map(|shut| shut.until)
    }

    /// A configuration was applied that leaves this destination as it was: who was rejected may try once more, as the
    /// other side may have been put right along with it.
    pub fn retry_rejected(&mut self, now: Instant) {
        if let Some(shut) = &mut self.shut
            && matches!(shut.why, Shut::Rejected | Shut::Gone)
        {
            shut.until = now;
        }
    }

    /// Opens: the configuration changed, so that what was known of the vendor no longer counts.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Notes how a request ended. `probe`: it was the probe; `backoff` is the destination's own,
    /// `jitter` a random number in `0.0..1.0`. Returns whether the gate opened by it.
    pub fn note(&mut self, signal: Signal, probe: bool, now: Instant, backoff: Backoff, jitter: f64) -> bool {
        let was_shut = self.shut.is_some();
        match signal {
            Signal::Failed { .. } => self.unanswered = self.unanswered.saturating_add(1),
            Signal::Answered => self.unanswered = 0,
            Signal::Later(_) | Signal::Rejected | Signal::Gone => {}
        }
        match signal {
            // Requests that were under way when the gate shut do not open it: only a probe's answer is news.
            Signal::Answered if probe || !was_shut => self.reset(),
            Signal::Answered => {}
            Signal::Failed { .. } if probe => self.shut_for(Shut::Failing, now, backoff, jitter),
            Signal::Failed { .. } if was_shut => {}
            Signal::Failed { fresh } => {
                self.failures += u32::from(fresh);
                if self.failures >= FAILURES_TO_OPEN {
                    self.shut_for(Shut::Failing, now, backoff, jitter);
                }
            }
            Signal::Later(wait) => self.later(now + wait, probe),
            Signal::Rejected => self.unwelcome(Shut::Rejected, probe, now, backoff, jitter),
            Signal::Gone => self.unwelcome(Shut::Gone, probe, now, backoff, jitter),
        }
        was_shut && self.shut.is_none()
    }

    fn unwelcome(&mut self, why: Shut, probe: bool, now: Instant, backoff: Backoff, jitter: f64) {
        if probe || self.shut() != Some(why) {
            self.shut_for(why, now, backoff, jitter);
        }
    }

    fn shut_for(&mut self, why: Shut, now: Instant, backoff: Backoff, jitter: f64) {
        let probes = match self.shut {
            Some(shut) if shut.why == why => shut.probes + 1,
            _ => 1,
        };
        let waits = match why {
            Shut::Rejected | Shut::Gone => REJECTED_BACKOFF,
            Shut::Failing | Shut::RetryAfter => Backoff {
                initial: backoff.initial,
                max: backoff.max.min(MAX_PROBE_WAIT),
            },
        };
        let wait = waits.probe_wait(probes, jitter);
        self.shut = Some(ShutUntil {
            why,
            until: now + wait,
            probes,
            probing: false,
        });
    }

    fn later(&mut self, until: Instant, probe: bool) {
        match &mut self.shut {
            Some(shut) => {
                shut.until = shut.until.max(until);
                shut.probing = shut.probing && !probe;
            }
            None => {
                self.shut = Some(ShutUntil {
                    why: Shut::RetryAfter,
                    until,
                    probes: 0,
                    probing: false,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BACKOFF: Backoff = Backoff {
        initial: SECOND,
        max: Duration::from_secs(300),
    };
    const FRESH: Signal = Signal::Failed { fresh: true };

    fn failed_five_times(now: Instant) -> Gate {
        let mut gate = Gate::default();
        for _ in 0..FAILURES_TO_OPEN {
            assert_eq!(gate.pass(now), Pass::All);
            gate.note(FRESH, false, now, BACKOFF, 1.0);
        }
        gate
    }

    #[test]
    fn five_failures_in_a_row_shut_it_and_a_probe_opens_it() {
        let now = Instant::now();
        let mut gate = failed_five_times(now);
        assert_eq!(gate.pass(now), Pass::Nothing(Some(now + SECOND)));
        assert_eq!(gate.pass(now + SECOND), Pass::Probe);
        gate.probe_sent();
        assert_eq!(gate.pass(now + SECOND), Pass::Nothing(None), "one probe at a time");
        assert!(gate.note(Signal::Answered, true, now + SECOND, BACKOFF, 1.0));
        assert_eq!(gate.pass(now + SECOND), Pass::All);
    }

    #[test]
    fn one_batch_that_fails_again_and_again_leaves_the_gate_open_and_is_told() {
        let now = Instant::now();
        let mut gate = Gate::default();
        gate.note(FRESH, false, now, BACKOFF, 1.0);
        assert!(!gate.fails_on(), "a single failure is no news");
        gate.note(Signal::Failed { fresh: false }, false, now, BACKOFF, 1.0);
        assert!(gate.fails_on());
        assert_eq!(gate.pass(now), Pass::All);
        gate.note(Signal::Answered, false, now, BACKOFF, 1.0);
        assert!(!gate.fails_on());
    }

    #[test]
    fn a_failed_probe_waits_twice_as_long_but_never_above_the_limit() {
        let now = Instant::now();
        let mut gate = failed_five_times(now);
        for seconds in [2, 4, 8, 16, 30, 30] {
            gate.probe_sent();
            gate.note(FRESH, true, now, BACKOFF, 1.0);
            assert_eq!(gate.pass(now), Pass::Nothing(Some(now + seconds * SECOND)));
        }
    }

    #[test]
    fn one_batch_that_always_fails_does_not_shut_it() {
        let now = Instant::now();
        let mut gate = Gate::default();
        gate.note(FRESH, false, now, BACKOFF, 1.0);
        for _ in 0..100 {
            gate.note(Signal::Failed { fresh: false }, false, now, BACKOFF, 1.0);
        }
        assert_eq!(gate.pass(now), Pass::All);
    }

    #[test]
    fn an_answer_resets_the_count() {
        let now = Instant::now();
        let mut gate = Gate::default();
        for _ in 0..3 {
            for _ in 0..FAILURES_TO_OPEN - 1 {
                gate.note(FRESH, false, now, BACKOFF, 1.0);
            }
            gate.note(Signal::Answered, false, now, BACKOFF, 1.0);
        }
        assert_eq!(gate.pass(now), Pass::All);
    }

    #[test]
    fn an_answer_to_a_request_sent_before_it_shut_does_not_open_it() {
        let now = Instant::now();
        let mut gate = failed_five_times(now);
        gate.note(Signal::Answered, false, now, BACKOFF, 1.0);
        assert_eq!(gate.shut(), Some(Shut::Failing));
    }

    #[test]
    fn retry_after_holds_the_whole_destination() {
        let now = Instant::now();
        let mut gate = Gate::default();
        gate.note(Signal::Later(7 * SECOND), false, now, BACKOFF, 1.0);
        gate.note(Signal::Later(3 * SECOND), false, now, BACKOFF, 1.0);
        assert_eq!(
            gate.pass(now),
            Pass::Nothing(Some(now + 7 * SECOND)),
            "the longest counts"
        );
        assert_eq!(gate.pass(now + 7 * SECOND), Pass::Probe);
        gate.probe_sent();
        gate.note(Signal::Later(2 * SECOND), true, now + 7 * SECOND, BACKOFF, 1.0);
        assert_eq!(gate.pass(now + 7 * SECOND), Pass::Nothing(Some(now + 9 * SECOND)));
    }

    #[test]
    fn rejected_credentials_are_tried_again_slowly_and_at_once_after_a_change() {
        let now = Instant::now();
        let mut gate = Gate::default();
        gate.note(Signal::Rejected, false, now, BACKOFF, 1.0);
        gate.note(Signal::Rejected, false, now, BACKOFF, 1.0);
        assert_eq!(gate.pass(now), Pass::Nothing(Some(now + 60 * SECOND)));
        for minutes in [2, 4, 8, 10, 10] {
            gate.probe_sent();
            gate.note(Signal::Rejected, true, now, BACKOFF, 1.0);
            assert_eq!(gate.pass(now), Pass::Nothing(Some(now + minutes * 60 * SECOND)));
        }
        gate.reset();
        assert_eq!(gate.pass(now), Pass::All);
    }
}
