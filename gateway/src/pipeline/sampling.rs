//! `samplePercent`: the share of visitors whose events a destination gets.

use sha2::{Digest, Sha256};

use crate::event::{Event, field};

/// A share of all visitors.
///
/// Who is in it depends on their `client_id` and the percentage alone: all events of a visitor go or none does, in every
/// pod and after every restart; a larger share holds everybody of a smaller one; and destinations with the same share get
/// the same visitors, so that their figures can be compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The part of all hashes that is in, out of 1.
    share: f64,
}

impl Sample {
    /// The share of this many percent; none when that is everybody.
    #[must_use]
    pub fn of_percent(percent: f64) -> Option<Self> {
        (percent < 100.0).then_some(Self { share: percent / 100.0 })
    }

    /// Whether the event's visitor is in it. An event without `client_id` stands for itself, by its `event_id`.
    #[must_use]
    pub fn takes(self, event: &Event<'_>) -> bool {
        let known = |name| event.text(name).filter(|id| !id.is_empty());
        let id = known(field::CLIENT_ID)
            .or_else(|| known(field::EVENT_ID))
            .unwrap_or_default();
        place(id) < self.share
    }
}

/// An id's place from 0 to below 1, evenly spread whatever ids look like.
fn place(id: &str) -> f64 {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(id.as_bytes()));
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn event(client_id: Option<&str>, event_id: &str) -> Event<'static> {
        let mut event = Event::new();
        event.set(field::EVENT_ID, event_id.to_owned());
        if let Some(id) = client_id {
            event.set(field::CLIENT_ID, id.to_owned());
        }
        event
    }

    fn takes(percent: f64, event: &Event<'_>) -> bool {
        Sample::of_percent(percent).is_none_or(|sample| sample.takes(event))
    }

    #[test]
    fn a_share_is_about_as_large_as_it_says_and_a_larger_one_only_adds_visitors() {
        let visitors: Vec<_> = (0..10_000)
            .map(|number| event(Some(&format!("{number}.1730448757")), "e"))
            .collect();
        let mut before = vec![false; visitors.len()];
        for percent in [0.0, 0.5, 10.0, 50.0, 99.9, 100.0] {
            let now: Vec<bool> = visitors.iter().map(|visitor| takes(percent, visitor)).collect();
            assert!(
                before.iter().zip(&now).all(|(before, now)| !before || *now),
                "{percent}"
            );
            let share = now.iter().filter(|taken| **taken).count();
            let wanted = percent * 100.0;
            assert!((share as f64 - wanted).abs() <= 150.0, "{percent} %: {share}");
            before = now;
        }
        assert!(!visitors.iter().any(|visitor| takes(0.0, visitor)));
        assert!(before.iter().all(|taken| *taken));
    }

    #[test]
    fn all_events_of_a_visitor_go_or_none_does() {
        for number in 0..100 {
            let id = format!("{number}.2");
            let first = takes(50.0, &event(Some(&id), "e-1"));
            assert_eq!(takes(50.0, &event(Some(&id), "e-2")), first);
        }
    }

    #[test]
    fn without_a_visitor_the_event_stands_for_itself() {
        let taken = (0..1_000).filter(|number| takes(50.0, &event(None, &format!("e-{number}"))));
        assert!((400..600).contains(&taken.count()));
        let unknown = (0..1_000).filter(|number| takes(50.0, &event(Some(""), &format!("e-{number}"))));
        assert!((400..600).contains(&unknown.count()));
    }
}
