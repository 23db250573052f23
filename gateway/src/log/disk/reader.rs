//! How a destination reads the log: from segment to segment, picking the events that are meant for it.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;

use super::{
    super::{
        Chunk, DestinationId, Ending, LogError, Position, Reader, Stored,
        cursor::{Cursor, Place, Walked},
        hit::{self, StoredEvent},
        lock,
    },
    Destination, Shared,
    segment::Segment,
    walker::Walker,
};

/// What walks over the log want to know of it.
trait Visitor {
    /// A segment begins before which this many events were meant for the destination.
    fn enter(&mut self, segment: &Segment, meant_before: u64);

    /// An event that is meant for the destination. False: stop before it.
    fn event(&mut self, position: Position, event: StoredEvent<'_>, place: Place) -> bool;

    /// Everything before this position was seen.
    fn passed(&mut self, position: Position, place: Place);
}

/// A walk over the events of one destination.
struct Walk {
    shared: Arc<Shared>,
    destination: DestinationId,
    walker: Option<Walker>,
}

impl Walk {
    /// Goes on to the head, or until the visitor stops it. Events before `from` are not looked at again.
    fn run(&mut self, from: Walked, visitor: &mut dyn Visitor) -> Result<(), LogError> {
        if self.walker.is_none() {
            self.begin(from, visitor)?;
        }
        let Some(walker) = &mut self.walker else {
            return Ok(());
        };
        let mut end = walker.segment.end();
        loop {
            let segment = Arc::clone(&walker.segment);
            let (sequence, limit) = (segment.header.sequence, segment.limit);
            let frame = walker.frame(end)?.filter(|frame| frame.position < limit);
            if let Some(frame) = frame {
                let place = |offset| Place {
                    segment: sequence,
                    offset,
                };
                let mut position = frame.position;
                for event in hit::events(frame.hit) {
                    let Ok(event) = event else {
                        tracing::error!(path = %segment.path.display(), offset = frame.offset, "cannot read a hit");
                        break;
                    };
                    let Some(stored) = event.stored else {
                        continue;
                    };
                    if position >= from.position
                        && event.is_meant_for(self.destination)
                        && !visitor.event(position, stored, place(frame.offset))
                    {
                        return Ok(());
                    }
                    position.0 += 1;
                }
                let frame_end = frame.end;
                visitor.passed(position, place(frame_end));
                walker.pass(frame_end);
                continue;
            }
            for damage in walker.take_damage() {
                tracing::error!(
                    path = %segment.path.display(), offset = damage.offset, bytes = damage.bytes,
                    "the log is damaged here; what was there is lost"
                );
            }
            // First whether there is a next segment, then whether this one grew before that one began.
            let next = self.shared.segment_after(sequence);
            if std::mem::replace(&mut end, segment.end()) != end {
                continue;
            }
            let Some(next) = next else {
                return Ok(());
            };
            let Some(opened) = Walker::open(Arc::clone(&next), next.start)? else {
                continue;
            };
            enter(&next, self.destination, visitor);
            end = next.end();
            *walker = opened;
        }
    }

    fn begin(&mut self, from: Walked, visitor: &mut dyn Visitor) -> Result<(), LogError> {
        // A segment may be deleted before it is opened: then the next one is it.
        while self.walker.is_none() {
            let remembered = from
                .place
                .and_then(|place| Some((self.shared.segment(place.segment)?, place.offset)));
            let (segment, offset) = match (remembered, from.place) {
                (Some(found), _) => found,
                (None, Some(place)) => match self.shared.segment_after(place.segment) {
                    Some(segment) => (Arc::clone(&segment), segment.start),
                    None => return Ok(()),
                },
                (None, None) => match self.shared.segment_with(from.position) {
                    Some(segment) => (Arc::clone(&segment), segment.start),
                    None => return Ok(()),
                },
            };
            if segment.header.first >= from.position && offset == segment.start {
                enter(&segment, self.destination, visitor);
            }
            self.walker = Walker::open(segment, offset)?;
        }
        Ok(())
    }
}

fn enter(segment: &Segment, destination: DestinationId, visitor: &mut dyn Visitor) {
    visitor.enter(segment, segment.header.before.get(destination).meant);
}

/// The reading end of one destination.
pub(super) struct DiskReader {
    shared: Arc<Shared>,
    /// None for a destination that the log does not know: it has no events.
    destination: Option<Arc<Destination>>,
    /// Which reader of the destination this is.
    number: u64,
    walk: Option<Walk>,
}

impl DiskReader {
    pub(super) fn new(shared: Arc<Shared>, destination: Option<Arc<Destination>>) -> Self {
        let number = destination.as_ref().map_or(0, |destination| {
            let mut kept = lock(&destination.kept);
            let number = kept.cursor.restart();
            let totals = lock(&shared.totals);
            let meant = totals.tallies.get(destination.id).meant;
            if kept.cursor.in_flight(meant) == 0 {
                kept.cursor.skip_to(totals.head, meant);
            }
            number
        });
        let walk = destination.as_ref().map(|destination| Walk {
            shared: Arc::clone(&shared),
            destination: destination.id,
            walker: None,
        });
        Self {
            shared,
            destination,
            number,
            walk,
        }
    }
}

impl Reader for DiskReader {
    fn read(&mut self, max_events: usize, max_bytes: usize) -> Result<Chunk, LogError> {
        let (Some(destination), Some(walk)) = (&self.destination, &mut self.walk) else {
            return Ok(Chunk::default());
        };
        let mut kept = lock(&destination.kept);
        if kept.forgotten || !kept.cursor.is_read_by(self.number) {
            return Ok(Chunk {
                events: Vec::new(),
                next: kept.cursor.walked().position,
            });
        }
        let from = kept.cursor.walked();
        let mut reading = Reading {
            cursor: &mut kept.cursor,
            events: Vec::new(),
            bytes: 0,
            max_events,
            max_bytes,
        };
        let result = walk.run(from, &mut reading);
        let events = reading.events;
        let next = kept.cursor.walked().position;
        kept.dirty |= next != from.position;
        // What was found before a failure counts: the cursor has walked over it.
        match result {
            Err(error) if events.is_empty() => Err(error),
            _ => Ok(Chunk { events, next }),
        }
    }

    fn settle(&mut self, endings: &[(Position, Ending)]) -> Result<(), LogError> {
        let Some(destination) = &self.destination else {
            return Ok(());
        };
        let mut kept = lock(&destination.kept);
        if kept.forgotten || !kept.cursor.is_read_by(self.number) {
            return Ok(());
        }
        let needed_from = |kept: &super::Kept| {
            let totals = lock(&self.shared.totals);
            kept.cursor
                .needed_from(totals.tallies.get(destination.id).meant, totals.head)
        };
        let before = needed_from(&kept);
        kept.cursor.settle(endings);
        kept.dirty = true;
        let frees_from = Position(self.shared.frees_from.load(Ordering::Relaxed));
        if before < frees_from && needed_from(&kept) >= frees_from {
            self.shared.housekeeper.wake();
        }
        kept.save()
    }
}

/// Gives out events as a cursor wants them.
struct Reading<'c> {
    cursor: &'c mut Cursor,
    events: Vec<Stored>,
    bytes: usize,
    max_events: usize,
    max_bytes: usize,
}

impl Visitor for Reading<'_> {
    fn enter(&mut self, segment: &Segment, meant_before: u64) {
        let events = self.cursor.enter_segment(meant_before);
        if events > 0 {
            tracing::error!(events, before = %segment.path.display(), "events were lost with a damaged part of the log");
        }
    }

    fn event(&mut self, position: Position, event: StoredEvent<'_>, place: Place) -> bool {
        if self.events.len() >= self.max_events || self.bytes >= self.max_bytes {
            return false;
        }
        if self.cursor.walk(position, event.accepted_ms, place) {
            self.bytes += event.payload.len();
            // A copy, so that an event that waits for its retry holds its own bytes and not a whole chunk.
            self.events.push(Stored {
                position,
                payload: Bytes::copy_from_slice(event.payload),
            });
        }
        true
    }

    fn passed(&mut self, position: Position, place: Place) {
        self.cursor.walk_to(position, place);
    }
}

/// When the first event behind the cursor that is meant for the destination was accepted.
pub(super) fn next_accepted_ms(shared: &Arc<Shared>, destination: DestinationId, cursor: &Cursor) -> Option<i64> {
    struct First<'c>(&'c Cursor, Option<i64>);

    impl Visitor for First<'_> {
        fn enter(&mut self, _: &Segment, _: u64) {}

        fn event(&mut self, position: Position, event: StoredEvent<'_>, _: Place) -> bool {
            if self.0.settled_ahead(position) {
                return true;
            }
            self.1 = Some(event.accepted_ms);
            false
        }

        fn passed(&mut self, _: Position, _: Place) {}
    }

    let mut first = First(cursor, None);
    let mut walk = Walk {
        shared: Arc::clone(shared),
        destination,
        walker: None,
    };
    if let Err(error) = walk.run(cursor.walked(), &mut first) {
        tracing::warn!(%error, "cannot look up the oldest event in flight");
    }
    first.1
}
