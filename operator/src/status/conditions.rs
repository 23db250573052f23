//! Conditions: what is to be said, and how it joins what was said before.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use tagfleet_crds::conditions::reasons;

use crate::verdict::Verdict;

/// The most of a message, in characters. An object holds up to 50 times three of them.
const MESSAGE: usize = 2_000;

/// A condition before it has its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    /// Its type.
    pub(super) kind: &'static str,
    /// `True`, `False` or `Unknown`.
    pub(super) status: &'static str,
    /// Why, in one word.
    pub(super) reason: String,
    /// Why, in words.
    pub(super) message: String,
}

impl Draft {
    fn new(kind: &'static str, status: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            status,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// It is so.
    pub(super) fn yes(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, "True", reason, message)
    }

    /// It is not so.
    pub(super) fn no(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, "False", reason, message)
    }

    /// Nobody knows.
    pub(super) fn unknown(kind: &'static str, reason: &str, message: impl Into<String>) -> Self {
        Self::new(kind, "Unknown", reason, message)
    }

    /// As a verdict says.
    pub(super) fn of(kind: &'static str, verdict: &Verdict) -> Self {
        let status = if verdict.holds { "True" } else { "False" };
        Self::new(kind, status, verdict.reason, verdict.message.as_str())
    }

    /// Adds a sentence to what was said.
    pub(super) fn add(&mut self, sentence: &str) {
        if !self.message.ends_with('.') {
            self.message.push('.');
        }
        self.message.push(' ');
        self.message.push_str(sentence);
    }

    /// As it was said before.
    pub(super) fn again(kind: &'static str, before: &Condition) -> Self {
        let status = match before.status.as_str() {
            "True" => "True",
            "False" => "False",
            _ => "Unknown",
        };
        Self::new(kind, status, &before.reason, before.message.as_str())
    }
}

/// The condition of a type.
pub(super) fn find<'c>(conditions: &'c [Condition], kind: &str) -> Option<&'c Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Gives the drafts their times: the time of before where the status is the one of before, else `now` in whole seconds,
/// as the API server keeps it.
pub(super) fn settle(drafts: Vec<Draft>, previous: &[Condition], generation: i64, now: Timestamp) -> Vec<Condition> {
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let settled = drafts.into_iter().map(|draft| {
        let same = find(previous, draft.kind).filter(|before| before.status == draft.status);
        Condition {
            type_: draft.kind.to_owned(),
            status: draft.status.to_owned(),
            reason: draft.reason,
            message: bounded(draft.message),
            observed_generation: Some(generation),
            last_transition_time: same.map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    });
    settled.collect()
}

fn bounded(message: String) -> String {
    match message.char_indices().nth(MESSAGE) {
        None => message,
        Some(_) => message.chars().take(MESSAGE - 1).chain(['…']).collect(),
    }
}

/// How bad a condition is among those of its type in several containers: not so before unknown before so; among those
/// that are not so, what somebody chose (`Paused`) and what passes by itself after what needs somebody.
pub(super) fn severity(condition: &Condition) -> (u8, u8) {
    let status = match condition.status.as_str() {
        "True" => 0,
        "False" => 2,
        _ => 1,
    };
    let reason = match condition.reason.as_str() {
        reasons::PAUSED => 0,
        reasons::PROPAGATING | reasons::CONFIGURING => 1,
        reasons::VENDOR_FAILING => 2,
        _ => 3,
    };
    (status, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_time_of_a_condition_changes_only_with_its_status() {
        let first = settle(vec![Draft::no("Ready", "PodsNotReady", "0 of 2")], &[], 1, at(100));
        let second = settle(vec![Draft::no("Ready", "PodsNotReady", "1 of 2")], &first, 2, at(200));
        let third = settle(vec![Draft::yes("Ready", "Serving", "2 of 2")], &second, 2, at(300));
        assert_eq!(first[0].last_transition_time, Time(at(100)));
        assert_eq!(second[0].last_transition_time, Time(at(100)));
        assert_eq!(
            (second[0].message.as_str(), second[0].observed_generation),
            ("1 of 2", Some(2))
        );
        assert_eq!(third[0].last_transition_time, Time(at(300)));
    }

    #[test]
    fn times_are_whole_seconds_as_the_api_server_returns_them() {
        let now = Timestamp::from_millisecond(1_500).unwrap();
        let settled = settle(vec![Draft::yes("Ready", "Serving", "")], &[], 1, now);
        assert_eq!(settled[0].last_transition_time, Time(at(1)));
    }

    #[test]
    fn messages_are_bounded() {
        let settled = settle(vec![Draft::no("Ready", "X", "é".repeat(40_000))], &[], 1, at(1));
        assert_eq!(settled[0].message.chars().count(), MESSAGE);
    }
}
