//! When to try again: the arithmetic of backoff and of `Retry-After`. Pure.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// The longest `Retry-After` that is believed. A vendor's word counts more than `maxBackoff`, which is only our guess,
/// but a nonsensical one must not stop a destination for longer than this.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// How long to wait between attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// `retry.initialBackoff`.
    pub initial: Duration,
    /// `retry.maxBackoff`.
    pub max: Duration,
}

impl Backoff {
    /// The wait after so many failures: exponential with full jitter, between nothing and
    /// `initial * 2^(failures - 1)`, never above `max`.
    ///
    /// `jitter` is a random number in `0.0..1.0`. Full jitter spreads those who failed together best, see "Exponential
    /// Backoff and Jitter" in the AWS architecture blog.
    #[must_use]
    pub fn wait(self, failures: u32, jitter: f64) -> Duration {
        self.ceiling(failures).mul_f64(jitter.clamp(0.0, 1.0))
    }

    /// The wait before a probe of a vendor that is known to be down: as [`Self::wait`], but at least half of the
    /// ceiling.
    #[must_use]
    pub fn probe_wait(self, failures: u32, jitter: f64) -> Duration {
        self.ceiling(failures).mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    fn ceiling(self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.initial.saturating_mul(1 << doublings).min(self.max)
    }
}

/// The wait that a response asks for: `Retry-After` in seconds or as an HTTP-date (RFC 9110 section 10.2.3), at most
/// [`MAX_RETRY_AFTER`]. `now_ms` is the time in unix milliseconds. `None` when there is none that can be read.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => MAX_RETRY_AFTER,
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            let ahead_ms = at.as_millisecond().saturating_sub(now_ms);
            Duration::from_millis(u64::try_from(ahead_ms).unwrap_or_default())
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Whether a request with this answer may succeed later: 408, 425, 429 and 5xx (vendors/README.md, rule 6, and
/// others.md section 13). Any other 4xx repeats forever, a redirect is never followed.
#[must_use]
pub fn is_retriable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_wait() {
        let backoff = Backoff {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(300),
        };
        let ceilings: Vec<u64> = (1..=10).map(|failures| backoff.wait(failures, 1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_above_its_ceiling(failures in 0_u32.., initial in 0_u64..100_000, max in 0_u64..10_000_000,
                                             jitter in 0.0..1.0_f64) {
            let backoff = Backoff { initial: Duration::from_millis(initial), max: Duration::from_millis(max) };
            let (wait, probe) = (backoff.wait(failures, jitter), backoff.probe_wait(failures, jitter));
            prop_assert!(wait <= backoff.max);
            prop_assert!(probe <= backoff.max && probe >= backoff.ceiling(failures) / 2);
        }
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    #[test]
    fn retry_after_as_seconds_and_as_a_date() {
        let now_ms = 784_111_777_000; // 1994-11-06T08:49:37Z
        let rows = [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("99999", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(3600)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(
                retry_after(&headers(text), now_ms),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        }
        assert_eq!(retry_after(&HeaderMap::new(), now_ms), None);
    }

    #[test]
    fn which_answers_are_worth_another_try() {
        let retried: Vec<u16> = (100..600)
            .filter(|code| is_retriable(StatusCode::from_u16(*code).unwrap()))
            .collect();
        let expected: Vec<u16> = [408, 425, 429].into_iter().chain(500..600).collect();
        assert_eq!(retried, expected);
    }
}
