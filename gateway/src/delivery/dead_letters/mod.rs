//! Dead letters: events that a destination did not take and never will, kept until someone replays or purges them.
//!
//! One shelf for each destination, on disk beside the log or in memory with the memory log. A letter is safe before its
//! event is settled. All shelves together are bounded in bytes; what finds no room is for the caller to count as expired.

mod disk;
mod replay;
pub mod routes;

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use self::disk::DiskShelf;
pub use self::replay::{ReplayError, replay};
use crate::erase::{Erasures, Forget};

/// `deadLetters.maxBytes` when nothing is configured: 512Mi.
pub const DEFAULT_MAX_BYTES: u64 = 512 * 1024 * 1024;

/// Why an event became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The vendor refused it for good.
    Refused,
    /// It cannot be put into the vendor's form.
    NotEncodable,
    /// It was not taken within `retry.maxAge`.
    TooOld,
    /// The buffer was full and this destination lagged most (`buffer.whenFull: ExpireLaggard`).
    BufferFull,
    /// Its record in the log cannot be read.
    Unreadable,
    /// It breaks the tracking plan (`validation[].onInvalid: DeadLetter`).
    Invalid,
}

impl Reason {
    /// One word for it, as lists show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NotEncodable => "not_encodable",
            Self::TooOld => "max_age",
            Self::BufferFull => "buffer_full",
            Self::Unreadable => "unreadable",
            Self::Invalid => "invalid",
        }
    }
}

/// A letter without its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// When it was given up, unix milliseconds.
    pub time_ms: i64,
    /// Why.
    pub reason: Reason,
    /// The vendor's own message, or what was wrong.
    pub message: String,
    /// The vendor's status (`400`, `grpc-3`); empty when it never answered.
    pub code: String,
    /// Requests that carried it.
    pub attempts: u32,
    /// The encoded record, as the destination sees it; empty when it could not be shown so.
    pub payload: Vec<u8>,
}

/// A letter on its shelf.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its number, ascending among the letters of its destination.
    pub id: u64,
    /// What was kept.
    pub letter: Letter,
}

/// One destination's letters in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelved {
    /// The destination.
    pub destination: String,
    /// Letters.
    pub letters: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Why dead letters cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// A file could not be used.
    #[error("dead letters: {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has them.
    #[error(
        "dead letters: {} is in use by another process; a running gateway is asked through its admin listener",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The name cannot be a folder's.
    #[error("dead letters: {0:?} is not a destination's name")]
    Name(String),
}

/// All dead letters of a gateway. Its methods block on the disk; call them where that is allowed.
pub struct DeadLetters {
    folder: Option<PathBuf>,
    max_bytes: u64,
    bytes: AtomicU64,
    shelves: Mutex<BTreeMap<String, Arc<Mutex<Shelf>>>>,
    /// Held by a replay and by an erasure: letters on their way into the log are on no shelf, and would be missed.
    moving: Mutex<()>,
    /// Held while the store is open.
    _lock: Option<File>,
}

enum Shelf {
    Disk(DiskShelf),
    Memory { next_id: u64, letters: Vec<DeadLetter> },
}

impl DeadLetters {
    /// Letters that die with the process, for the memory log.
    #[must_use]
    pub fn in_memory(max_bytes: u64) -> Self {
        Self {
            folder: None,
            max_bytes,
            bytes: AtomicU64::new(0),
            shelves: Mutex::default(),
            moving: Mutex::default(),
            _lock: None,
        }
    }

    /// The letters under `folder` (`<data-dir>/dead-letters`), which is made if it is missing. A torn last letter, left by
    /// a crash, is cut off: its event was not settled and comes again.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub fn open(folder: &Path, max_bytes: u64) -> Result<Self, DeadLetterError> {
        fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|source| file_error(&lock_path, source))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => DeadLetterError::InUse {
                path: folder.to_owned(),
            },
            fs::TryLockError::Error(source) => file_error(&lock_path, source),
        })?;
        let mut shelves = BTreeMap::new();
        let mut bytes = 0;
        for entry in fs::read_dir(folder).map_err(|source| file_error(folder, source))? {
            let entry = entry.map_err(|source| file_error(folder, source))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if entry.path().is_dir() && is_name(&name) {
                let shelf = DiskShelf::open(&entry.path())?;
                bytes += shelf.bytes();
                shelves.insert(name, Arc::new(Mutex::new(Shelf::Disk(shelf))));
            }
        }
        Ok(Self {
            folder: Some(folder.to_owned()),
            max_bytes,
            bytes: AtomicU64::new(bytes),
            shelves: Mutex::new(shelves),
            moving: Mutex::default(),
            _lock: Some(lock),
        })
    }

    /// Shelves letters, in order, and syncs them. Returns how many found room: the first so many.
    ///
    /// # Errors
    /// When they cannot be written; then none of them is kept.
    pub fn append(&self, destination: &str, letters: &[Letter]) -> Result<usize, DeadLetterError> {
        let shelf = self.shelf(destination)?;
        let mut shelf = locked(&shelf);
        let mut sizes = 0;
        let fitting = letters
            .iter()
            .take_while(|letter| {
                sizes += disk::stored_bytes(letter);
                self.bytes.load(Ordering::Relaxed) + sizes <= self.max_bytes
            })
            .count();
        let fitting = letters.get(..fitting).unwrap_or_default();
        let before = shelf.bytes();
        match &mut *shelf {
            Shelf::Disk(disk) => disk.append(fitting)?,
            Shelf::Memory { next_id, letters } => {
                for letter in fitting {
                    letters.push(DeadLetter {
                        id: *next_id,
                        letter: letter.clone(),
                    });
                    *next_id += 1;
                }
            }
        }
        self.bytes.fetch_add(shelf.bytes() - before, Ordering::Relaxed);
        Ok(fitting.len())
    }

    /// What is shelved, by destination; without empty shelves.
    #[must_use]
    pub fn list(&self) -> Vec<Shelved> {
        let shelves: Vec<_> = locked(&self.shelves)
            .iter()
            .map(|(name, shelf)| (name.clone(), Arc::clone(shelf)))
            .collect();
        shelves
            .into_iter()
            .map(|(destination, shelf)| {
                let shelf = locked(&shelf);
                Shelved {
                    destination,
                    letters: shelf.letters(),
                    bytes: shelf.bytes(),
                }
            })
            .filter(|shelved| shelved.letters > 0)
            .collect()
    }

    /// `tagfleet_dead_letters` of one destination.
    #[must_use]
    pub fn count(&self, destination: &str) -> u64 {
        let shelf = locked(&self.shelves).get(destination).cloned();
        shelf.map_or(0, |shelf| locked(&shelf).letters())
    }

    /// Up to `limit` letters of a destination with an id of `from` or above, in order.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn show(&self, destination: &str, from: u64, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let shelf = locked(&self.shelves).get(destination).cloned();
        match shelf {
            None => Ok(Vec::new()),
            Some(shelf) => locked(&shelf).read(from, limit),
        }
    }

    /// Hands a destination's letters to `sink`, in order and some at a time, and removes what it took. A letter may be
    /// handed over again after a crash, never lost.
    ///
    /// Returns how many were taken.
    ///
    /// # Errors
    /// When letters cannot be read or removed, or with what `sink` returned; those not taken stay.
    pub fn replay<E: From<DeadLetterError>>(
        &self,
        destination: &str,
        mut sink: impl FnMut(&[DeadLetter]) -> Result<(), E>,
    ) -> Result<u64, E> {
        /// Letters handed over at once.
        const AT_ONCE: usize = 256;
        let Some(shelf) = locked(&self.shelves).get(destination).cloned() else {
            return Ok(0);
        };
        let _moving = locked(&self.moving);
        let end = locked(&shelf).next_id();
        let (mut from, mut taken) = (0, 0);
        loop {
            let letters = locked(&shelf).read(from, AT_ONCE)?;
            let letters: Vec<_> = letters.into_iter().filter(|letter| letter.id < end).collect();
            let Some(last) = letters.last() else {
                return Ok(taken);
            };
            sink(&letters)?;
            taken += letters.len() as u64;
            from = last.id + 1;
            self.remove_before(&shelf, from)?;
        }
    }

    /// Removes all letters of a destination and returns how many there were.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn purge(&self, destination: &str) -> Result<u64, DeadLetterError> {
        let Some(shelf) = locked(&self.shelves).get(destination).cloned() else {
            return Ok(0);
        };
        let (letters, end) = {
            let shelf = locked(&shelf);
            (shelf.letters(), shelf.next_id())
        };
        self.remove_before(&shelf, end)?;
        Ok(letters)
    }

    /// Removes the letters whose events are erased from every shelf, and returns how many there were. Letters whose event
    /// cannot be read stay.
    ///
    /// # Errors
    /// When they cannot be removed; it may be tried again.
    pub fn remove_erased(&self, erasures: &Erasures) -> Result<u64, DeadLetterError> {
        let _moving = locked(&self.moving);
        let shelves: Vec<_> = locked(&self.shelves).values().map(Arc::clone).collect();
        let mut removed = 0;
        for shelf in shelves {
            let mut shelf = locked(&shelf);
            let (letters, bytes) = (shelf.letters(), shelf.bytes());
            let result = shelf.retain(&|letter| !erasures.covers_encoded(&letter.payload));
            self.bytes
                .fetch_sub(bytes.saturating_sub(shelf.bytes()), Ordering::Relaxed);
            removed += letters.saturating_sub(shelf.letters());
            result?;
        }
        Ok(removed)
    }

    fn remove_before(&self, shelf: &Mutex<Shelf>, id: u64) -> Result<(), DeadLetterError> {
        let mut shelf = locked(shelf);
        let before = shelf.bytes();
        let result = shelf.remove_before(id);
        self.bytes
            .fetch_sub(before.saturating_sub(shelf.bytes()), Ordering::Relaxed);
        result
    }

    fn shelf(&self, destination: &str) -> Result<Arc<Mutex<Shelf>>, DeadLetterError> {
        let mut shelves = locked(&self.shelves);
        if let Some(shelf) = shelves.get(destination) {
            return Ok(Arc::clone(shelf));
        }
        if !is_name(destination) {
            return Err(DeadLetterError::Name(destination.to_owned()));
        }
        let shelf = match &self.folder {
            Some(folder) => Shelf::Disk(DiskShelf::open(&folder.join(destination))?),
            None => Shelf::Memory {
                next_id: 0,
                letters: Vec::new(),
            },
        };
        let shelf = Arc::new(Mutex::new(shelf));
        shelves.insert(destination.to_owned(), Arc::clone(&shelf));
        Ok(shelf)
    }
}

impl Shelf {
    fn bytes(&self) -> u64 {
        match self {
            Self::Disk(disk) => disk.bytes(),
            Self::Memory { letters, .. } => letters.iter().map(|dead| disk::stored_bytes(&dead.letter)).sum(),
        }
    }

    fn letters(&self) -> u64 {
        match self {
            Self::Disk(disk) => disk.letters(),
            Self::Memory { letters, .. } => letters.len() as u64,
        }
    }

    fn next_id(&self) -> u64 {
        match self {
            Self::Disk(disk) => disk.next_id(),
            Self::Memory { next_id, .. } => *next_id,
        }
    }

    fn read(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        match self {
            Self::Disk(disk) => disk.read(from, limit),
            Self::Memory { letters, .. } => Ok(letters
                .iter()
                .filter(|dead| dead.id >= from)
                .take(limit)
                .cloned()
                .collect()),
        }
    }

    fn retain(&mut self, keep: &dyn Fn(&Letter) -> bool) -> Result<(), DeadLetterError> {
        match self {
            Self::Disk(disk) => disk.retain(keep),
            Self::Memory { letters, .. } => {
                letters.retain(|dead| keep(&dead.letter));
                Ok(())
            }
        }
    }

    fn remove_before(&mut self, id: u64) -> Result<(), DeadLetterError> {
        match self {
            Self::Disk(disk) => disk.remove_before(id),
            Self::Memory { letters, .. } => {
                letters.retain(|dead| dead.id >= id);
                Ok(())
            }
        }
    }
}

impl Forget for DeadLetters {
    fn name(&self) -> &'static str {
        "dead letters"
    }

    fn forget(&self, erasures: &Erasures) -> Result<u64, Box<dyn Error + Send + Sync>> {
        Ok(self.remove_erased(erasures)?)
    }
}

/// Whether a name is one that Kubernetes gives (RFC 1123): it becomes a folder.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= 253
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

fn file_error(path: &Path, source: std::io::Error) -> DeadLetterError {
    DeadLetterError::File {
        path: path.to_owned(),
        source,
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
