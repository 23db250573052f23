//! Events in requests: as many as a vendor takes at once, by number and by bytes.

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
