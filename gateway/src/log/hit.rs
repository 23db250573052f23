//! How the events of one hit are laid out: what both logs keep, as one piece, so that a hit is stored whole or not.
//!
//! A hit is a count of events, and for each event the verdicts (a destination's number and the verdict in one varint)
//! and the encoded record with its time. An event that is meant for nobody has its verdicts, which the ledger is
//! counted from, and nothing else: neither record nor position.

use super::{
    Accepted, DestinationId, Verdict,
    codec::{self, DecodeError, Input, put_signed, put_varint},
    tally::Tallies,
};

/// An event as a hit holds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitEvent<'b> {
    verdicts: Input<'b>,
    verdict_count: usize,
    /// What is stored; nothing for an event that is meant for nobody.
    pub(super) stored: Option<StoredEvent<'b>>,
}

/// An event that is meant for some destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct StoredEvent<'b> {
    pub(super) accepted_ms: i64,
    pub(super) payload: &'b [u8],
}

/// Appends the hit to `out`, counts its verdicts, and returns how many of its events are stored. `scratch` is emptied.
pub(super) fn encode(
    events: &[Accepted<'_, '_>],
    out: &mut Vec<u8>,
    scratch: &mut Vec<u8>,
    tallies: &mut Tallies,
) -> u32 {
    let mut stored = 0;
    put_varint(out, events.len() as u64);
    for event in events {
        put_varint(out, event.verdicts.len() as u64);
        let mut meant = false;
        for &(destination, verdict) in event.verdicts {
            put_varint(out, u64::from(destination.0) << 2 | verdict_bits(verdict));
            tallies.count(destination, verdict);
            meant |= verdict == Verdict::Meant;
        }
        if meant {
            stored += 1;
            put_signed(out, event.record.accepted_ms);
            scratch.clear();
            codec::encode(event.record, scratch);
            put_varint(out, scratch.len() as u64);
            out.extend_from_slice(scratch);
        }
    }
    stored
}

/// The events of an encoded hit. Ends at the first error.
pub(super) fn events(hit: &[u8]) -> impl Iterator<Item = Result<HitEvent<'_>, DecodeError>> {
    let mut input = Input(hit);
    let (mut left, mut failure) = match input.count() {
        Ok(count) => (count, None),
        Err(error) => (0, Some(error)),
    };
    std::iter::from_fn(move || {
        if let Some(error) = failure.take() {
            return Some(Err(error));
        }
        left = left.checked_sub(1)?;
        let event = take_event(&mut input);
        if event.is_err() {
            left = 0;
        }
        Some(event)
    })
}

fn take_event<'b>(input: &mut Input<'b>) -> Result<HitEvent<'b>, DecodeError> {
    let verdict_count = input.count()?;
    let verdicts = *input;
    let mut meant = false;
    for _ in 0..verdict_count {
        meant |= verdict_of(input.varint()?)?.1 == Verdict::Meant;
    }
    let stored = if meant {
        let accepted_ms = input.signed()?;
        let length = input.length()?;
        Some(StoredEvent {
            accepted_ms,
            payload: input.bytes(length)?,
        })
    } else {
        None
    };
    Ok(HitEvent {
        verdicts,
        verdict_count,
        stored,
    })
}

impl HitEvent<'_> {
    /// The verdicts, in the order in which they were given.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = (DestinationId, Verdict)> {
        let mut input = self.verdicts;
        (0..self.verdict_count).map_while(move |_| verdict_of(input.varint().ok()?).ok())
    }

    /// Whether the event is meant for `destination`.
    pub(super) fn is_meant_for(&self, destination: DestinationId) -> bool {
        self.verdicts().any(|verdict| verdict == (destination, Verdict::Meant))
    }
}

const fn verdict_bits(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Meant => 0,
        Verdict::Filtered => 1,
        Verdict::ConsentDenied => 2,
    }
}

fn verdict_of(number: u64) -> Result<(DestinationId, Verdict), DecodeError> {
    let destination = u16::try_from(number >> 2).map_err(|_| DecodeError::Range)?;
    let verdict = match number & 3 {
        0 => Verdict::Meant,
        1 => Verdict::Filtered,
        2 => Verdict::ConsentDenied,
        _ => return Err(DecodeError::Range),
    };
    Ok((DestinationId(destination), verdict))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;
    use crate::{event::Event, record::Record};

    fn record() -> Record<'static> {
        let mut event = Event::new();
        event.set("event_name", "purchase");
        Record {
            accepted_ms: 42,
            event,
            ..Record::default()
        }
    }

    #[test]
    fn a_hit_keeps_every_verdict_and_the_records_that_somebody_shall_get() {
        let record = record();
        let (a, b) = (DestinationId(0), DestinationId(500));
        let wanted = [(a, Verdict::Filtered), (b, Verdict::Meant)];
        let unwanted = [(a, Verdict::ConsentDenied), (b, Verdict::Filtered)];
        let hit = [
            Accepted {
                record: &record,
                verdicts: &unwanted,
            },
            Accepted {
                record: &record,
                verdicts: &wanted,
            },
        ];
        let (mut bytes, mut tallies) = (Vec::new(), Tallies::default());

        assert_eq!(encode(&hit, &mut bytes, &mut Vec::new(), &mut tallies), 1);

        let found: Vec<_> = events(&bytes).collect::<Result<_, _>>().unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].stored.is_none());
        assert_eq!(found[0].verdicts().collect::<Vec<_>>(), unwanted);
        assert!(found[1].is_meant_for(b) && !found[1].is_meant_for(a));
        let stored = found[1].stored.unwrap();
        assert_eq!(stored.accepted_ms, 42);
        assert_eq!(codec::decode(stored.payload).unwrap(), record);
        assert_eq!(tallies.get(b).meant, 1);
        assert_eq!(tallies.get(a).consent_denied, 1);
        assert_eq!(tallies.get(a).accepted, 2);
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_events_or_one_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut events = events(&bytes);
            while let Some(event) = events.next() {
                if event.is_err() {
                    prop_assert!(events.next().is_none());
                    break;
                }
            }
        }
    }
}
