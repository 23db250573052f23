//! The list of those whose events are not to be sent: digests and times, no ids.

use std::{
    collections::BTreeMap,
    error::Error,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::{
    event::{Event, field},
    hashing::sha256_hex,
    log::codec,
};

/// The file of the list in the data folder.
const FILE: &str = "erasures";
/// The list's first line.
const HEADER: &str = "tagfleet erasures 1";
/// The most entries; two for each request.
const MAX_ENTRIES: usize = 100_000;
/// An entry is kept this much longer than the oldest event that waits asks for: events do not stand in the log strictly in
/// the order of their acceptance, and those that were held for consent come into it up to 24 hours late.
const KEPT_MS: i64 = 25 * 3_600_000;

type Digest = [u8; 32];
/// Until when events count as erased, unix milliseconds, by the digest of the visitor's id.
type Entries = BTreeMap<Digest, i64>;

/// By what a visitor is known.
#[derive(Clone, PartialEq, Eq)]
pub enum Visitor {
    /// `event.client_id`.
    ClientId(String),
    /// `event.user_id`.
    UserId(String),
}

impl Visitor {
    /// The digests of the id as it is, and as a `hash` transformation has put it into the log.
    fn digests(&self) -> [Digest; 2] {
        let (name, id) = match self {
            Self::ClientId(id) => (field::CLIENT_ID, id),
            Self::UserId(id) => (field::USER_ID, id),
        };
        [digest(name, id), digest(name, &sha256_hex(id.as_bytes()))]
    }
}

/// Why a visitor's events cannot be erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The list cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what this version wrote.
    #[error(
        "{}: line {line} is damaged, so that it is unknown whose events are not to be sent: restore the file, or remove it \
         and ask for those erasures again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// There is no room in the list.
    #[error("the list of erasures is full: its entries go when the events of their time have left the buffer")]
    Full,
    /// A place does not remove them.
    #[error("{name}: {source}")]
    Place {
        /// What is kept there.
        name: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// The list. Reading it takes no lock.
#[derive(Debug)]
pub struct Erasures {
    path: Option<PathBuf>,
    entries: ArcSwap<Entries>,
    writing: Mutex<()>,
    changed: watch::Sender<u64>,
}

impl Default for Erasures {
    /// An empty list that dies with the process, for the memory log.
    fn default() -> Self {
        Self::with(None, Entries::new())
    }
}

impl Erasures {
    fn with(path: Option<PathBuf>, entries: Entries) -> Self {
        Self {
            path,
            entries: ArcSwap::from_pointee(entries),
            writing: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// The list in a data folder, empty when there is none yet.
    ///
    /// # Errors
    /// When it cannot be read: nothing may be sent then.
    pub fn open(folder: &Path) -> Result<Self, EraseError> {
        let path = folder.join(FILE);
        let entries = match fs::read_to_string(&path) {
            Ok(text) => read(&text).map_err(|line| EraseError::Damaged {
                path: path.clone(),
                line,
            })?,
            Err(source) if source.kind() == io::ErrorKind::NotFound => Entries::new(),
            Err(source) => return Err(EraseError::File { path, source }),
        };
        Ok(Self::with(Some(path), entries))
    }

    /// Notes that a visitor's events which were accepted up to this time are erased. It survives a crash once it is noted.
    ///
    /// # Errors
    /// When the list is full or cannot be written; then it is as it was.
    pub fn add(&self, visitor: &Visitor, at_ms: i64) -> Result<(), EraseError> {
        self.change(|entries| {
            for digest in visitor.digests() {
                let until = entries.entry(digest).or_insert(at_ms);
                *until = at_ms.max(*until);
            }
        })?;
        self.changed.send_modify(|times| *times += 1);
        Ok(())
    }

    /// Drops the entries that no event can be older than any more: `oldest_ms` is when the oldest event that waits was
    /// accepted.
    ///
    /// # Errors
    /// When the list cannot be written; then it is as it was.
    pub fn prune(&self, oldest_ms: Option<i64>, now_ms: i64) -> Result<(), EraseError> {
        let before = oldest_ms.unwrap_or(now_ms).min(now_ms).saturating_sub(KEPT_MS);
        let needed = |until: i64| until > before;
        if self.entries.load().values().all(|until| needed(*until)) {
            return Ok(());
        }
        self.change(|entries| entries.retain(|_, until| needed(*until)))
    }

    fn change(&self, change: impl FnOnce(&mut Entries)) -> Result<(), EraseError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = Entries::clone(&self.entries.load());
        change(&mut entries);
        if entries.len() > MAX_ENTRIES {
            return Err(EraseError::Full);
        }
        if let Some(path) = &self.path {
            write(path, &entries).map_err(|source| EraseError::File {
                path: path.clone(),
                source,
            })?;
        }
        self.entries.store(entries.into());
        Ok(())
    }

    /// Whether an event that was accepted at this time is erased.
    #[must_use]
    pub fn covers(&self, event: &Event<'_>, accepted_ms: i64) -> bool {
        let entries = self.entries.load();
        if entries.is_empty() {
            return false;
        }
        [field::CLIENT_ID, field::USER_ID].into_iter().any(|name| {
            let until = event.text(name).and_then(|id| entries.get(&digest(name, id)));
            until.is_some_and(|until| accepted_ms <= *until)
        })
    }

    /// As [`Self::covers`] of an encoded record; of one that cannot be read nobody knows whose it is.
    #[must_use]
    pub fn covers_encoded(&self, payload: &[u8]) -> bool {
        !self.entries.load().is_empty()
            && codec::decode(payload).is_ok_and(|record| self.covers(&record.event, record.accepted_ms))
    }

    /// Changes with each request to erase.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn digest(name: &str, id: &str) -> Digest {
    Sha256::new()
        .chain_update(name)
        .chain_update([0])
        .chain_update(id)
        .finalize()
        .into()
}

/// One line for each entry behind the header: the digest in hexadecimal and the time.
fn write(path: &Path, entries: &Entries) -> io::Result<()> {
    let mut text = format!("{HEADER}\n");
    for (digest, until) in entries {
        text.push_str(&format!("{} {until}\n", hex::encode(digest)));
    }
    let temporary = path.with_extension("new");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The entries, or the number of the line that is none.
fn read(text: &str) -> Result<Entries, usize> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err(1);
    }
    let mut entries = Entries::new();
    for (index, line) in lines.enumerate() {
        let (digest, until) = line.split_once(' ').and_then(entry).ok_or(index + 2)?;
        entries.insert(digest, until);
    }
    Ok(entries)
}

fn entry((digest, until): (&str, &str)) -> Option<(Digest, i64)> {
    let mut bytes = Digest::default();
    hex::decode_to_slice(digest, &mut bytes).ok()?;
    Some((bytes, until.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::testing;

    fn jane() -> Visitor {
        Visitor::ClientId("1506821430.1730448757".to_owned())
    }

    fn covers(erasures: &Erasures, event: serde_json::Value, accepted_ms: i64) -> bool {
        erasures.covers(&testing::record(event).event, accepted_ms)
    }

    #[test]
    fn a_visitors_events_up_to_the_request_are_covered_and_no_others() {
        let erasures = Erasures::default();
        erasures.add(&jane(), 1_000).unwrap();
        let own = || json!({"client_id": "1506821430.1730448757", "user_id": "other"});
        assert!(covers(&erasures, own(), 1_000));
        assert!(!covers(&erasures, own(), 1_001), "accepted after the request");
        assert!(!covers(&erasures, json!({"client_id": "1.2"}), 500));
        assert!(!covers(&erasures, json!({"user_id": "1506821430.1730448757"}), 500));
    }

    #[test]
    fn an_id_that_was_hashed_before_the_log_is_known_again() {
        let erasures = Erasures::default();
        erasures.add(&Visitor::UserId("user-42".to_owned()), 1_000).unwrap();
        assert!(covers(&erasures, json!({"user_id": sha256_hex(b"user-42")}), 500));
    }

    #[test]
    fn the_file_outlives_the_process_and_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        Erasures::open(folder.path()).unwrap().add(&jane(), 1_000).unwrap();
        let text = fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert!(!text.contains("1506821430"), "{text}");
        let again = Erasures::open(folder.path()).unwrap();
        assert!(covers(&again, json!({"client_id": "1506821430.1730448757"}), 500));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "something\n", "tagfleet erasures 1\nabc 1000\n"] {
            fs::write(folder.path().join(FILE), text).unwrap();
            let error = Erasures::open(folder.path()).unwrap_err();
            assert!(matches!(error, EraseError::Damaged { .. }), "{text:?}: {error}");
        }
    }

    #[test]
    fn an_entry_goes_when_no_event_of_its_time_waits() {
        let erasures = Erasures::default();
        erasures.add(&jane(), 1_000).unwrap();
        let late = 1_000 + KEPT_MS;
        let own = || json!({"client_id": "1506821430.1730448757"});
        erasures.prune(Some(900), late + 1).unwrap();
        assert!(covers(&erasures, own(), 900), "an older one waits");
        erasures.prune(None, late - 1).unwrap();
        assert!(covers(&erasures, own(), 900), "one may be on its way");
        erasures.prune(None, late).unwrap();
        assert!(!covers(&erasures, own(), 900));
    }
}
