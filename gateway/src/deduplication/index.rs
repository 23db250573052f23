//! The index of the events seen: 64 shards, each with its own lock, none shared by all cores. Pure but for the locks: the
//! time is given.
//!
//! An event is pending from the moment at which its hit is taken until the log has answered, and confirmed from then on;
//! what the log did not take is forgotten at once. Confirmed events are numbered through all shards: one is remembered while
//! it is among the last `max_entries` and no older than the window, whichever ends first. What is past that is let go when
//! its shard is touched next.
//!
//! Memory: 24 bytes an entry in the queue, and 5 in the table at a load of 44 to 88 %. With the room that growing leaves
//! it is 30 to 60 bytes, 36 at the default of a million entries.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use hashbrown::HashTable;

use super::{key::Key, outcome::Outcome};

const SHARDS: usize = 64;
/// Entries past their time that one new entry clears away, so that no hit has to clear them all.
const CLEARED_AT_ONCE: usize = 16;
/// Room that is not given back for so few entries.
const KEPT_ROOM: usize = 256;

/// What is known of an event.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It was not seen. It is pending now.
    New,
    /// It was seen, and the log has it.
    Seen,
    /// It was seen, and the log has not answered yet.
    Pending(Arc<Outcome>),
}

/// What bounds the memory of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds for which an event is remembered.
    pub window_s: u32,
    /// Events that are remembered.
    pub max_entries: u32,
}

/// The events seen.
pub struct Index {
    /// All shards but the last, which always is there.
    shards: Box<[Mutex<Shard>]>,
    last: Mutex<Shard>,
    /// The number of the next confirmed event. It wraps around; numbers are compared by their distance.
    next: AtomicU32,
    window_s: AtomicU32,
    max_entries: AtomicU32,
}

#[derive(Default)]
struct Shard {
    pending: HashTable<(Key, Arc<Outcome>)>,
    confirmed: Confirmed,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            shards: (1..SHARDS).map(|_| Mutex::default()).collect(),
            last: Mutex::default(),
            next: AtomicU32::new(0),
            window_s: AtomicU32::new(limits.window_s),
            max_entries: AtomicU32::new(limits.max_entries),
        }
    }

    /// Sets the limits. More room or time do not bring back what was let go.
    pub fn set_limits(&self, limits: Limits) {
        self.window_s.store(limits.window_s, Ordering::Relaxed);
        self.max_entries.store(limits.max_entries, Ordering::Relaxed);
    }

    /// Asks for an event. One that was not seen is pending from now on, under this outcome.
    pub fn reserve(&self, key: Key, now_s: u32, outcome: &Arc<Outcome>) -> Standing {
        let mut shard = self.shard(key);
        if let Some((_, outcome)) = shard.pending.find(key.bits(), |(pending, _)| *pending == key) {
            return Standing::Pending(Arc::clone(outcome));
        }
        let horizon = self.horizon(now_s);
        if shard.confirmed.find(key).is_some_and(|entry| horizon.remembers(entry)) {
            return Standing::Seen;
        }
        let pending = (key, Arc::clone(outcome));
        shard.pending.insert_unique(key.bits(), pending, |(key, _)| key.bits());
        Standing::New
    }

    /// The log has the event of a key that was reserved, or that was kept over a restart: it is seen from this time on.
    pub fn confirm(&self, key: Key, time_s: u32) {
        let mut shard = self.shard(key);
        shard.forget_pending(key);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        shard.confirmed.clear_passed(&self.horizon(time_s), CLEARED_AT_ONCE);
        shard.confirmed.push(Entry { key, number, time_s });
    }

    /// The log does not have the event of a key that was reserved: it was never seen.
    pub fn release(&self, key: Key) {
        self.shard(key).forget_pending(key);
    }

    /// Lets go of everything past its time, and of room that is not needed any more.
    pub fn clear_passed(&self, now_s: u32) {
        for shard in self.all() {
            let mut shard = locked(shard);
            shard.confirmed.clear_passed(&self.horizon(now_s), usize::MAX);
            shard.confirmed.shrink();
        }
    }

    /// Lets go of everything that is confirmed.
    pub fn clear(&self) {
        for shard in self.all() {
            locked(shard).confirmed = Confirmed::default();
        }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        let number = key.shard_bits() as usize % SHARDS;
        locked(self.shards.get(number).unwrap_or(&self.last))
    }

    fn all(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        self.shards.iter().chain([&self.last])
    }

    fn horizon(&self, now_s: u32) -> Horizon {
        Horizon {
            next: self.next.load(Ordering::Relaxed),
            max_entries: self.max_entries.load(Ordering::Relaxed),
            oldest_s: now_s.saturating_sub(self.window_s.load(Ordering::Relaxed)),
        }
    }
}

impl Shard {
    fn forget_pending(&mut self, key: Key) {
        if let Ok(entry) = self.pending.find_entry(key.bits(), |(pending, _)| *pending == key) {
            entry.remove();
        }
    }
}

/// A shard's data is whole whenever its lock is let go of, so that a panic elsewhere is no reason to stop.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Up to where events are remembered.
struct Horizon {
    next: u32,
    max_entries: u32,
    oldest_s: u32,
}

impl Horizon {
    fn remembers(&self, entry: &Entry) -> bool {
        self.next.wrapping_sub(entry.number) <= self.max_entries && entry.time_s >= self.oldest_s
    }
}

/// An event that the log has.
struct Entry {
    key: Key,
    number: u32,
    time_s: u32,
}

/// The confirmed events of a shard: a queue in the order in which they came, and a table of their places in it.
#[derive(Default)]
struct Confirmed {
    queue: VecDeque<Entry>,
    /// The place of the queue's first entry. Places wrap around.
    first: u32,
    places: HashTable<u32>,
}

impl Confirmed {
    fn find(&self, key: Key) -> Option<&Entry> {
        let at = |place: u32| self.queue.get(place.wrapping_sub(self.first) as usize);
        let found = |place: &u32| at(*place).is_some_and(|entry| entry.key == key);
        at(*self.places.find(key.bits(), found)?)
    }

    /// Adds an entry. An older one of the same key is past its time, and is not found any more.
    fn push(&mut self, entry: Entry) {
        let Self { queue, first, places } = self;
        let (key, place) = (entry.key, first.wrapping_add(queue.len() as u32));
        queue.push_back(entry);
        let key_at = |place: u32| queue.get(place.wrapping_sub(*first) as usize).map(|entry| entry.key);
        match places.find_mut(key.bits(), |place| key_at(*place) == Some(key)) {
            Some(older) => *older = place,
            None => {
                let bits = |place: &u32| key_at(*place).map_or(0, Key::bits);
                places.insert_unique(key.bits(), place, bits);
            }
        }
    }

    /// Lets go of the entries at the front that are past their time, of so many at the most.
    fn clear_passed(&mut self, horizon: &Horizon, most: usize) {
        for _ in 0..most {
            let Some(entry) = self.queue.pop_front_if(|entry| !horizon.remembers(entry)) else {
                return;
            };
            let place = self.first;
            self.first = place.wrapping_add(1);
            if let Ok(slot) = self.places.find_entry(entry.key.bits(), |found| *found == place) {
                slot.remove();
            }
        }
    }

    /// Gives back room when a quarter of it would do.
    fn shrink(&mut self) {
        let wanted = (self.queue.len() * 2).max(KEPT_ROOM);
        if self.queue.capacity() / 2 > wanted {
            let Self { queue, first, places } = self;
            queue.shrink_to(wanted);
            let bits = |place: &u32| {
                let entry = queue.get(place.wrapping_sub(*first) as usize);
                entry.map_or(0, |entry| entry.key.bits())
            };
            places.shrink_to(wanted, bits);
        }
    }
}
