//! Where one destination stands: what it was given, what of that has ended, and how. Pure bookkeeping, for every log.
//!
//! Two counts are kept apart on purpose, so that the ledger is a check and not a definition: how many events *ended* is
//! counted from what delivery says of each, how many are *in flight* from walking the log. They agree unless an event
//! was lost or counted twice.

use std::collections::VecDeque;

use super::{Ending, Ledger, Position, tally::Tally};

/// Where the hit of an event begins, so that a reader can go back to it. Only the disk log has use for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The segment's number.
    pub(super) segment: u64,
    /// The byte in it.
    pub(super) offset: u64,
}

/// How many events ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Endings {
    pub(super) delivered: u64,
    pub(super) dead_lettered: u64,
    pub(super) expired: u64,
    pub(super) erased: u64,
}

/// A run of events for this destination, all ended, behind one that has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) first: Position,
    pub(super) last: Position,
    /// Events of the run that are meant for this destination.
    pub(super) count: u64,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Saved {
    /// The first event not settled; all before it are.
    pub(super) prefix: Position,
    /// Events meant for this destination before `prefix`.
    pub(super) ordinal: u64,
    pub(super) endings: Endings,
    /// What is settled behind `prefix`, in order.
    pub(super) ahead: Vec<Settled>,
}

impl Saved {
    /// Whether the event ended although one before it has not.
    pub(super) fn settled_ahead(&self, position: Position) -> bool {
        let index = self.ahead.partition_point(|run| run.last < position);
        self.ahead.get(index).is_some_and(|run| run.first <= position)
    }
}

/// An event that was given out.
#[derive(Clone, Copy, Debug)]
struct Given {
    position: Position,
    accepted_ms: i64,
    /// Events meant for this destination before it.
    ordinal: u64,
    place: Place,
    settled: bool,
}

/// Where the reader stands: everything before it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walked {
    pub(super) position: Position,
    /// Events meant for this destination before `position`.
    pub(super) ordinal: u64,
    /// Where to go on; `None` where only the position is known, after a start.
    pub(super) place: Option<Place>,
}

/// One destination's cursor.
#[derive(Debug)]
pub(super) struct Cursor {
    /// From the first event not settled on.
    given: VecDeque<Given>,
    unsettled: u64,
    walked: Walked,
    /// Settled before a start and not walked over since.
    ahead: VecDeque<Settled>,
    endings: Endings,
    /// Which reader is the living one.
    reader: u64,
    /// When the first event behind `walked` was accepted, once somebody looked.
    pub(super) next_accepted_ms: Option<i64>,
}

impl Cursor {
    pub(super) fn new(saved: Saved) -> Self {
        Self {
            given: VecDeque::new(),
            unsettled: 0,
            walked: Walked {
                position: saved.prefix,
                ordinal: saved.ordinal,
                place: None,
            },
            ahead: saved.ahead.into(),
            endings: saved.endings,
            reader: 0,
            next_accepted_ms: None,
        }
    }

    /// Begins anew at the first event not settled, for a new reader; returns its number. What an earlier reader still
    /// says is not listened to: its events are given out again.
    pub(super) fn restart(&mut self) -> u64 {
        let saved = self.saved();
        let place = self.given.front().map_or(self.walked.place, |front| Some(front.place));
        self.walked = Walked {
            position: saved.prefix,
            ordinal: saved.ordinal,
            place,
        };
        self.ahead = saved.ahead.into();
        self.given.clear();
        self.unsettled = 0;
        self.next_accepted_ms = None;
        self.reader += 1;
        self.reader
    }

    pub(super) const fn walked(&self) -> Walked {
        self.walked
    }

    /// Whether the reader of this number is the living one.
    pub(super) const fn is_read_by(&self, reader: u64) -> bool {
        self.reader == reader
    }

    /// Walks over an event that is meant for this destination; says whether it is to be given out.
    pub(super) fn walk(&mut self, position: Position, accepted_ms: i64, place: Place) -> bool {
        let settled = self.was_settled(position);
        if !settled || !self.given.is_empty() {
            self.given.push_back(Given {
                position,
                accepted_ms,
                ordinal: self.walked.ordinal,
                place,
                settled,
            });
        }
        self.walked = Walked {
            position: Position(position.0 + 1),
            ordinal: self.walked.ordinal + 1,
            place: Some(place),
        };
        self.unsettled += u64::from(!settled);
        self.next_accepted_ms = None;
        !settled
    }

    /// Walks on to `position`: nothing before it is meant for this destination.
    pub(super) fn walk_to(&mut self, position: Position, place: Place) {
        self.walked.position = self.walked.position.max(position);
        self.walked.place = Some(place);
    }

    /// Walks into a segment before which `ordinal` events were meant for this destination. Returns how many of them
    /// were not found: they were lost with a damaged file.
    pub(super) fn enter_segment(&mut self, ordinal: u64) -> u64 {
        let lost = ordinal.saturating_sub(self.walked.ordinal);
        self.walked.ordinal += lost;
        lost
    }

    /// Leaves out everything up to the head, for nothing in it is in flight for this destination.
    pub(super) fn skip_to(&mut self, head: Position, meant: u64) {
        self.walked = Walked {
            position: head.max(self.walked.position),
            ordinal: meant.max(self.walked.ordinal),
            place: None,
        };
        self.ahead.clear();
    }

    /// Whether an event behind what was walked ended before the last start.
    pub(super) fn settled_ahead(&self, position: Position) -> bool {
        self.ahead
            .iter()
            .any(|run| run.first <= position && position <= run.last)
    }

    /// Notes endings. One for an event that was not given out, or ended before, counts all the same: the ledger
    /// then shows the mistake.
    pub(super) fn settle(&mut self, endings: &[(Position, Ending)]) {
        for &(position, ending) in endings {
            match ending {
                Ending::Delivered => self.endings.delivered += 1,
                Ending::DeadLettered => self.endings.dead_lettered += 1,
                Ending::Expired => self.endings.expired += 1,
                Ending::Erased => self.endings.erased += 1,
            }
            if let Ok(index) = self.given.binary_search_by_key(&position, |given| given.position)
                && let Some(given) = self.given.get_mut(index)
                && !given.settled
            {
                given.settled = true;
                self.unsettled -= 1;
            }
        }
        while self.given.front().is_some_and(|front| front.settled) {
            self.given.pop_front();
        }
    }

    /// What must outlive the process.
    pub(super) fn saved(&self) -> Saved {
        let (prefix, ordinal) = self
            .given
            .front()
            .map_or((self.walked.position, self.walked.ordinal), |front| {
                (front.position, front.ordinal)
            });
        let mut ahead: Vec<Settled> = Vec::new();
        let mut last_was_settled = false;
        for given in &self.given {
            match ahead.last_mut() {
                Some(run) if given.settled && last_was_settled => {
                    run.last = given.position;
                    run.count += 1;
                }
                _ if given.settled => ahead.push(Settled {
                    first: given.position,
                    last: given.position,
                    count: 1,
                }),
                _ => {}
            }
            last_was_settled = given.settled;
        }
        ahead.extend(&self.ahead);
        Saved {
            prefix,
            ordinal,
            endings: self.endings,
            ahead,
        }
    }

    /// Events that the log holds for this destination and that have not ended, of `meant` that were ever meant for it.
    pub(super) fn in_flight(&self, meant: u64) -> u64 {
        let ahead: u64 = self.ahead.iter().map(|run| run.count).sum();
        meant.saturating_sub(self.walked.ordinal + ahead) + self.unsettled
    }

    /// The position before which this destination needs nothing any more.
    pub(super) fn needed_from(&self, meant: u64, head: Position) -> Position {
        if self.in_flight(meant) == 0 {
            return head;
        }
        self.given.front().map_or(self.walked.position, |front| front.position)
    }

    /// When the first event that was given out and has not ended was accepted.
    pub(super) fn oldest_given_ms(&self) -> Option<i64> {
        self.given.front().map(|front| front.accepted_ms)
    }

    /// The ledger, given what was decided for this destination.
    pub(super) fn ledger(&self, tally: &Tally) -> Ledger {
        Ledger {
            accepted: tally.accepted,
            filtered: tally.filtered,
            consent_denied: tally.consent_denied,
            delivered: self.endings.delivered,
            dead_lettered: self.endings.dead_lettered,
            expired: self.endings.expired,
            erased: self.endings.erased,
            in_flight: self.in_flight(tally.meant),
            oldest_in_flight_ms: self.oldest_given_ms().or(self.next_accepted_ms),
        }
    }

    /// Whether the event ended before the last start. Positions are asked for in order.
    fn was_settled(&mut self, position: Position) -> bool {
        while self.ahead.front().is_some_and(|run| run.last < position) {
            self.ahead.pop_front();
        }
        match self.ahead.front_mut() {
            Some(run) if run.first <= position => {
                run.count = run.count.saturating_sub(1);
                run.first = Position(position.0 + 1);
                if run.last == position {
                    self.ahead.pop_front();
                }
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    /// A cursor that was given events at these positions, accepted at ten times the position.
    fn given(positions: &[u64]) -> Cursor {
        let mut cursor = Cursor::new(Saved::default());
        walk(&mut cursor, positions);
        cursor
    }

    fn walk(cursor: &mut Cursor, positions: &[u64]) -> Vec<u64> {
        positions
            .iter()
            .copied()
            .filter(|&position| cursor.walk(Position(position), position as i64 * 10, Place::default()))
            .collect()
    }

    fn deliver(cursor: &mut Cursor, positions: &[u64]) {
        let endings: Vec<_> = positions
            .iter()
            .map(|&position| (Position(position), Ending::Delivered))
            .collect();
        cursor.settle(&endings);
    }

    fn tally(meant: u64) -> Tally {
        Tally {
            accepted: meant,
            meant,
            ..Tally::default()
        }
    }

    #[test]
    fn what_ended_out_of_order_is_saved_as_runs_behind_the_first_that_did_not() {
        let mut cursor = given(&[1, 4, 6, 9, 12]);
        deliver(&mut cursor, &[6, 9]);
        let saved = cursor.saved();
        assert_eq!(saved.prefix, Position(1));
        assert_eq!(
            saved.ahead,
            [Settled {
                first: Position(6),
                last: Position(9),
                count: 2
            }]
        );
        assert_eq!(cursor.in_flight(5), 3);
        assert_eq!(cursor.oldest_given_ms(), Some(10));
    }

    #[test]
    fn after_a_start_only_what_did_not_end_is_given_again() {
        let mut cursor = given(&[1, 4, 6, 9, 12]);
        deliver(&mut cursor, &[1, 6, 9]);
        let mut again = Cursor::new(cursor.saved());
        assert_eq!(again.in_flight(5), 2);
        assert_eq!(walk(&mut again, &[4, 6, 9, 12]), [4, 12]);
        assert_eq!(again.in_flight(5), 2);
        deliver(&mut again, &[4, 12]);
        assert_eq!(again.saved().prefix, Position(13));
        assert_eq!(again.ledger(&tally(5)).imbalance(), 0);
    }

    #[test]
    fn a_new_reader_is_given_what_the_old_one_did_not_settle() {
        let mut cursor = given(&[1, 2, 3]);
        deliver(&mut cursor, &[2]);
        let reader = cursor.restart();
        assert!(cursor.is_read_by(reader) && !cursor.is_read_by(reader - 1));
        assert_eq!(cursor.in_flight(3), 2);
        assert_eq!(walk(&mut cursor, &[1, 2, 3]), [1, 3]);
        assert_eq!(cursor.ledger(&tally(3)).imbalance(), 0);
    }

    #[test]
    fn an_event_that_ends_twice_shows_in_the_ledger() {
        let mut cursor = given(&[0, 1]);
        deliver(&mut cursor, &[0]);
        deliver(&mut cursor, &[0]);
        assert_eq!(cursor.ledger(&tally(2)).imbalance(), -1);
    }

    #[test]
    fn an_event_that_the_log_lost_shows_in_the_ledger() {
        let mut cursor = given(&[0]);
        assert_eq!(cursor.enter_segment(3), 2);
        deliver(&mut cursor, &[0]);
        assert_eq!(cursor.ledger(&tally(3)).imbalance(), 2);
        assert_eq!(cursor.in_flight(3), 0);
    }

    #[test]
    fn a_destination_with_nothing_in_flight_needs_nothing_of_the_log() {
        let mut cursor = given(&[3]);
        assert_eq!(cursor.needed_from(1, Position(100)), Position(3));
        deliver(&mut cursor, &[3]);
        assert_eq!(cursor.needed_from(1, Position(100)), Position(100));
        assert_eq!(cursor.needed_from(2, Position(100)), Position(4));
    }
}
