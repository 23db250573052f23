//! Waiting for something to become true, with a bound.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks every 20 ms until there is an answer; panics with `what` when there is none in time.
pub fn until<T>(what: &str, patience: Duration, ask: impl FnMut() -> Option<T>) -> T {
    within(patience, ask).unwrap_or_else(|| panic!("waited {patience:?} in vain: {what}"))
}

/// Asks every 20 ms until there is an answer, or the time is over.
pub fn within<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = ask();
        if answer.is_some() || Instant::now() >= deadline {
            return answer;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// As [`until`], for a plain condition.
pub fn until_true(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    until(what, patience, || condition().then_some(()));
}
