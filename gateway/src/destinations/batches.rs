//! Events in requests: as many as a vendor takes at once, by number and by bytes.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Encoded, Encoding, Limits, Request, mapping::Failures};
use crate::record::Record;

/// Events of one request: their indexes, and each as it was encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Indexes into what `encode` was given.
    pub events: Vec<usize>,
    /// The encoded events, in the same order.
    pub encoded: Vec<String>,
}

impl Batch {
    /// The events as a JSON array.
    #[must_use]
    pub fn array(&self) -> String {
        format!("[{}]", self.encoded.join(","))
    }
}

/// What stands around the array of events in a body.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Before it: `{"data":`.
    pub before: Cow<'static, str>,
    /// Behind it: `}`.
    pub after: Cow<'static, str>,
}

impl Frame {
    /// Of fixed texts.
    #[must_use]
    pub const fn new(before: &'static str, after: &'static str) -> Self {
        Self {
            before: Cow::Borrowed(before),
            after: Cow::Borrowed(after),
        }
    }
}

/// Encodes a batch for a vendor that takes a JSON array of events. `event` encodes one, or says why the vendor can never
/// take it; `request` makes the request of a body.
#[must_use]
pub fn encode(
    records: &[Record<'_>],
    limits: Limits,
    frame: &Frame,
    mut event: impl FnMut(&Record<'_>, &mut Failures) -> Result<String, Cow<'static, str>>,
    request: impl Fn(Bytes) -> Request,
) -> Encoding {
    let (mut encoding, mut failures) = (Encoding::default(), Failures::default());
    let mut encoded = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        match event(record, &mut failures) {
            Ok(event) => encoded.push((index, event)),
            Err(reason) => encoding.refused.push((index, reason)),
        }
    }
    let Frame { before, after } = frame;
    let room = Room {
        events: limits.max_events,
        bytes: limits.max_bytes,
        overhead: before.len() + after.len(),
    };
    let (batches, too_large) = fill(encoded, room);
    let message = format!("is larger than the {} MB of a request", limits.max_bytes / 1_000_000);
    let refused = too_large.into_iter().map(|index| (index, message.clone().into()));
    encoding.refused.extend(refused);
    encoding.requests.extend(batches.into_iter().map(|batch| Encoded {
        request: request(format!("{before}{}{after}", batch.array()).into()),
        events: batch.events,
        ordering_key: None,
    }));
    encoding.expression_errors = failures.into_counts();
    encoding
}

/// What a request holds at the most.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Events.
    pub events: usize,
    /// Bytes of body.
    pub bytes: usize,
    /// Bytes of body beside the events.
    pub overhead: usize,
}

/// Puts encoded events (each a JSON value) into as few requests as take them, in order. The second list has the indexes of
/// those that are too large even alone.
#[must_use]
pub fn fill(encoded: Vec<(usize, String)>, room: Room) -> (Vec<Batch>, Vec<usize>) {
    // The brackets of the array.
    let empty = room.overhead + 2;
    let (mut batches, mut too_large): (Vec<Batch>, Vec<usize>) = (Vec::new(), Vec::new());
    let mut bytes = empty;
    for (index, event) in encoded {
        let size = event.len() + 1;
        if empty + size > room.bytes {
            too_large.push(index);
            continue;
        }
        let fits = |batch: &&mut Batch| batch.events.len() < room.events && bytes + size <= room.bytes;
        match batches.last_mut().filter(fits) {
            Some(batch) => {
                batch.events.push(index);
                batch.encoded.push(event);
                bytes += size;
            }
            None => {
                batches.push(Batch {
                    events: vec![index],
                    encoded: vec![event],
                });
                bytes = empty + size;
            }
        }
    }
    (batches, too_large)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(sizes: &[usize], room: Room) -> (Vec<Vec<usize>>, Vec<usize>) {
        let encoded = sizes.iter().map(|size| "x".repeat(*size)).enumerate().collect();
        let (batches, too_large) = fill(encoded, room);
        for batch in &batches {
            assert!(batch.array().len() + room.overhead <= room.bytes);
        }
        (batches.into_iter().map(|batch| batch.events).collect(), too_large)
    }

    #[test]
    fn a_request_ends_at_either_limit() {
        let room = Room {
            events: 3,
            bytes: 100,
            overhead: 10,
        };
        let (batches, too_large) = filled(&[5, 5, 5, 5, 60, 60, 90, 5], room);
        assert_eq!(batches, [vec![0, 1, 2], vec![3, 4], vec![5, 7]]);
        assert_eq!(too_large, [6]);
        assert_eq!(filled(&[], room), (vec![], vec![]));
    }
}
