//! The log in memory: for tests, and for containers whose events may be lost with the process.
//!
//! Encoding happens on the worker's thread; the one lock is held for some tens of nanoseconds a hit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{
    Accepted, AppendError, Appender, Chunk, Commit, DestinationId, Ending, Ledger, Log, LogError, Position, Reader,
    Stored, Usage, WhenFull,
    cursor::{Cursor, Place, Saved},
    hit, lock,
    tally::Tallies,
};

/// What a hit takes beside its bytes: the queue's entry and the allocation.
const HIT_OVERHEAD: u64 = 64;

/// Hits that a reader looks at before it lets others at the log.
const HITS_A_STEP: usize = 512;

/// A log that lives and dies with the process.
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    head: watch::Sender<Position>,
    max_bytes: u64,
    when_full: WhenFull,
}

#[derive(Default)]
struct State {
    hits: VecDeque<Hit>,
    bytes: u64,
    head: Position,
    tallies: Tallies,
    names: BTreeMap<String, DestinationId>,
    cursors: BTreeMap<DestinationId, Cursor>,
    next_id: u32,
    closed: bool,
}

struct Hit {
    first: Position,
    stored: u32,
    bytes: Bytes,
}

impl Hit {
    fn end(&self) -> Position {
        Position(self.first.0 + u64::from(self.stored))
    }

    fn size(&self) -> u64 {
        self.bytes.len() as u64 + HIT_OVERHEAD
    }
}

impl MemoryLog {
    /// An empty log that holds up to `max_bytes`.
    #[must_use]
    pub fn open(max_bytes: u64, when_full: WhenFull) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                head: watch::Sender::default(),
                max_bytes,
                when_full,
            }),
        }
    }
}

impl State {
    /// The index of the hit that holds `position`, or of the first behind it.
    fn hit_at(&self, position: Position) -> usize {
        self.hits.partition_point(|hit| hit.end() <= position)
    }

    /// Drops the hits that no destination needs any more.
    fn trim(&mut self) {
        let needed = self
            .cursors
            .iter()
            .map(|(id, cursor)| cursor.needed_from(self.tallies.get(*id).meant, self.head))
            .min()
            .unwrap_or(self.head);
        while let Some(hit) = self.hits.pop_front_if(|hit| hit.end() <= needed) {
            self.bytes -= hit.size();
        }
    }

    /// When the first event behind the cursor that is meant for the destination was accepted.
    fn next_accepted_ms(&self, destination: DestinationId, cursor: &Cursor) -> Option<i64> {
        let from = cursor.walked().position;
        self.hits.range(self.hit_at(from)..).find_map(|found| {
            stored_events(found)
                .find(|(position, event, _)| *position >= from && event.is_meant_for(destination))
                .map(|(_, _, stored)| stored.accepted_ms)
        })
    }
}

fn stored_events(found: &Hit) -> impl Iterator<Item = (Position, hit::HitEvent<'_>, hit::StoredEvent<'_>)> {
    hit::events(&found.bytes)
        .map_while(Result::ok)
        .filter_map(|event| Some((event, event.stored?)))
        .zip(found.first.0..)
        .map(|((event, stored), position)| (Position(position), event, stored))
}

impl Log for MemoryLog {
    fn register(&self, name: &str) -> Result<DestinationId, LogError> {
        let mut state = lock(&self.shared.state);
        if let Some(id) = state.names.get(name) {
            return Ok(*id);
        }
        let id = u16::try_from(state.next_id)
            .map(DestinationId)
            .map_err(|_| LogError::TooManyDestinations(name.to_owned()))?;
        state.next_id += 1;
        let prefix = state.head;
        state.names.insert(name.to_owned(), id);
        state.cursors.insert(
            id,
            Cursor::new(Saved {
                prefix,
                ..Saved::default()
            }),
        );
        Ok(id)
    }

    fn appender(&self) -> Box<dyn Appender> {
        Box::new(MemoryAppender {
            shared: Arc::clone(&self.shared),
            encoded: Vec::new(),
            scratch: Vec::new(),
            tallies: Tallies::default(),
        })
    }

    fn reader(&self, destination: DestinationId) -> Result<Box<dyn Reader>, LogError> {
        let mut state = lock(&self.shared.state);
        let number = state.cursors.get_mut(&destination).map_or(0, Cursor::restart);
        Ok(Box::new(MemoryReader {
            shared: Arc::clone(&self.shared),
            destination,
            number,
        }))
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.head.subscribe()
    }

    fn ledgers(&self) -> Vec<(String, DestinationId, Ledger)> {
        let state = lock(&self.shared.state);
        let names = state.names.iter();
        names
            .filter_map(|(name, &id)| {
                let cursor = state.cursors.get(&id)?;
                let mut ledger = cursor.ledger(&state.tallies.get(id));
                if ledger.in_flight > 0 && ledger.oldest_in_flight_ms.is_none() {
                    ledger.oldest_in_flight_ms = state.next_accepted_ms(id, cursor);
                }
                Some((name.clone(), id, ledger))
            })
            .collect()
    }

    fn usage(&self) -> Usage {
        let state = lock(&self.shared.state);
        Usage {
            bytes: state.bytes,
            events: state.hits.front().map_or(0, |first| state.head.0 - first.first.0),
            max_bytes: self.shared.max_bytes,
        }
    }

    fn expire_before(&self) -> Option<Position> {
        let state = lock(&self.shared.state);
        if self.shared.when_full == WhenFull::Refuse || state.bytes <= self.shared.max_bytes {
            return None;
        }
        // An eighth more than must be, so that this is not asked for with every hit: the disk log's measure too.
        let mut excess = state.bytes - self.shared.max_bytes + self.shared.max_bytes / 8;
        state
            .hits
            .iter()
            .find(|hit| {
                excess = excess.saturating_sub(hit.size());
                excess == 0
            })
            .or(state.hits.back())
            .map(Hit::end)
    }

    fn forget(&self, destination: DestinationId) -> Result<(), LogError> {
        let mut state = lock(&self.shared.state);
        state.names.retain(|_, id| *id != destination);
        state.cursors.remove(&destination);
        state.trim();
        Ok(())
    }

    fn close(&self) {
        lock(&self.shared.state).closed = true;
    }
}

struct MemoryAppender {
    shared: Arc<Shared>,
    encoded: Vec<u8>,
    scratch: Vec<u8>,
    tallies: Tallies,
}

impl Appender for MemoryAppender {
    fn append(&mut self, events: &[Accepted<'_, '_>]) -> Result<Commit, AppendError> {
        self.encoded.clear();
        self.tallies.clear();
        let stored = hit::encode(events, &mut self.encoded, &mut self.scratch, &mut self.tallies);
        let bytes = if stored == 0 {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&self.encoded)
        };
        let head = {
            let mut state = lock(&self.shared.state);
            if state.closed {
                return Err(AppendError::Closed);
            }
            let hit = Hit {
                first: state.head,
                stored,
                bytes,
            };
            if stored > 0 {
                let max_bytes = self.shared.max_bytes;
                let limit = self.shared.when_full.refuses_from(max_bytes);
                if state.bytes + hit.size() > limit {
                    state.trim();
                }
                if state.bytes + hit.size() > limit {
                    return Err(AppendError::Full {
                        bytes: state.bytes,
                        max_bytes,
                    });
                }
                state.bytes += hit.size();
                state.head = hit.end();
                state.hits.push_back(hit);
            }
            state.tallies.add(&self.tallies);
            state.head
        };
        if stored > 0 {
            self.shared.head.send_if_modified(|last| {
                let further = head > *last;
                *last = head.max(*last);
                further
            });
        }
        Ok(Box::pin(std::future::ready(Ok(()))))
    }
}

struct MemoryReader {
    shared: Arc<Shared>,
    destination: DestinationId,
    number: u64,
}

impl MemoryReader {
    /// Walks some hits; says whether there is more to walk and room for it.
    fn walk(&self, chunk: &mut Chunk, max_events: usize, max_bytes: usize, bytes: &mut usize) -> bool {
        let mut state = lock(&self.shared.state);
        let State {
            hits, cursors, head, ..
        } = &mut *state;
        let Some(cursor) = cursors
            .get_mut(&self.destination)
            .filter(|cursor| cursor.is_read_by(self.number))
        else {
            chunk.next = *head;
            return false;
        };
        let from = cursor.walked().position;
        let index = hits.partition_point(|hit| hit.end() <= from);
        if index == hits.len() {
            cursor.walk_to(*head, Place::default());
        }
        for found in hits.range(index..).take(HITS_A_STEP) {
            for (position, event, stored) in stored_events(found) {
                if position < from || !event.is_meant_for(self.destination) {
                    continue;
                }
                if chunk.events.len() >= max_events || *bytes >= max_bytes {
                    chunk.next = cursor.walked().position;
                    return false;
                }
                if cursor.walk(position, stored.accepted_ms, Place::default()) {
                    *bytes += stored.payload.len();
                    chunk.events.push(Stored {
                        position,
                        payload: found.bytes.slice_ref(stored.payload),
                    });
                }
            }
            cursor.walk_to(found.end(), Place::default());
        }
        chunk.next = cursor.walked().position;
        chunk.next < *head
    }
}

impl Reader for MemoryReader {
    fn read(&mut self, max_events: usize, max_bytes: usize) -> Result<Chunk, LogError> {
        let mut chunk = Chunk::default();
        let mut bytes = 0;
        // Ingest waits while the lock is held, so a long stretch without a match is walked in steps.
        while self.walk(&mut chunk, max_events, max_bytes, &mut bytes) {}
        Ok(chunk)
    }

    fn settle(&mut self, endings: &[(Position, Ending)]) -> Result<(), LogError> {
        let mut state = lock(&self.shared.state);
        if let Some(cursor) = state
            .cursors
            .get_mut(&self.destination)
            .filter(|cursor| cursor.is_read_by(self.number))
        {
            cursor.settle(endings);
            state.trim();
        }
        Ok(())
    }
}
