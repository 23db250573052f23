//! Waiting for something to become true, with a bound.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Asks every 20 ms until there is an answer; panics with `what` when there is none in time.
pub fn until<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// As [`until`], for a plain condition.
pub fn until_true(what: &str, patience: Duration, mut condition: impl FnMut() -> bool) {
    until(what, patience, || condition().then_some(()));
}
