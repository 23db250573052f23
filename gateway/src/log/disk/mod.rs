//! The log on disk: segments of checksummed hits, one sync for all hits that wait, one cursor for each destination.
//!
//! ```text
//! <data dir>/lock                     held while a process uses the folder
//! <data dir>/log/registry.json        the destinations' names and numbers
//! <data dir>/log/cursors/<number>     where each stands, and how its events ended
//! <data dir>/log/<sequence>.segment   the hits
//! ```
//! A worker stages its hits ([`stage`]); the committer writes and syncs them ([`committer`]); readers follow through the
//! page cache ([`reader`]); the housekeeper syncs cursors and deletes what nobody needs any more ([`housekeeper`]). The
//! ledger's side of what was decided is stored with the hits themselves, so it is as durable as they are; the side of
//! what became of them is stored with the cursors. Order is by position alone: no step looks at the clock.

mod committer;
#[cfg(test)]
mod crash_tests;
mod cursor_file;
mod files;
mod housekeeper;
mod reader;
mod recovery;
mod registry;
mod segment;
mod stage;
#[cfg(test)]
mod tests;
mod walker;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

use self::{
    committer::Bell,
    cursor_file::CursorFile,
    files::{Device, RealDevice},
    reader::DiskReader,
    registry::Registry,
    segment::Segment,
    stage::{DiskAppender, Stage},
};
pub use self::{files::FolderLock, recovery::Recovery};
use super::{
    Appender, DestinationId, Ledger, Log, LogError, Position, Reader, Usage, WhenFull,
    cursor::{Cursor, Saved},
    lock,
    tally::Tallies,
};

/// A segment's size unless the log is small: an eighth of it can then be deleted at once.
const SEGMENT_BYTES: u64 = 64 << 20;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The data folder; it may hold other things than the log. It is made if it is not there.
    pub dir: PathBuf,
    /// `buffer.disk.maxBytes`.
    pub max_bytes: u64,
    /// `buffer.whenFull`.
    pub when_full: WhenFull,
}

/// The log on disk.
pub struct DiskLog {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Held as long as this lives.
    _lock: FolderLock,
}

/// What the log's users and its two threads share.
struct Shared {
    folder: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    when_full: WhenFull,
    device: Arc<dyn Device>,
    /// In order; the last is written to.
    segments: Mutex<Vec<Arc<Segment>>>,
    /// The number of the next segment. None is given out twice, for readers go on by it.
    next_sequence: AtomicU64,
    totals: Mutex<Totals>,
    destinations: Mutex<Destinations>,
    head: watch::Sender<Position>,
    stages: Mutex<Vec<Arc<Stage>>>,
    /// In all segments.
    bytes: AtomicU64,
    /// On the way there.
    staged_bytes: AtomicU64,
    /// Hits staged and not decided.
    waiting: AtomicUsize,
    /// From this position on a cursor frees the oldest segment.
    frees_from: AtomicU64,
    device_failed: AtomicBool,
    closing: AtomicBool,
    committer: Bell,
    housekeeper: Bell,
}

/// What is committed.
#[derive(Debug, Default)]
struct Totals {
    head: Position,
    tallies: Tallies,
}

struct Destinations {
    registry: Registry,
    by_id: BTreeMap<DestinationId, Arc<Destination>>,
}

/// A destination and its cursor.
struct Destination {
    id: DestinationId,
    name: String,
    kept: Mutex<Kept>,
}

/// A cursor and its file.
struct Kept {
    cursor: Cursor,
    file: CursorFile,
    /// Something is not in the file yet.
    dirty: bool,
    /// The destination was forgotten: nothing is read or saved any more.
    forgotten: bool,
}

impl Kept {
    fn save(&mut self) -> Result<(), LogError> {
        if !self.forgotten {
            self.file.save(&self.cursor.saved())?;
            self.dirty = false;
        }
        Ok(())
    }
}

impl DiskLog {
    /// Opens the log, and repairs what a crash left behind.
    ///
    /// # Errors
    /// When another process uses the folder, when it cannot be read and written, or when it is of another version.
    pub fn open(options: &OpenOptions) -> Result<(Self, Recovery), LogError> {
        Self::open_on(options, Arc::new(RealDevice))
    }

    fn open_on(options: &OpenOptions, device: Arc<dyn Device>) -> Result<(Self, Recovery), LogError> {
        let folder_lock = FolderLock::take(&options.dir)?;
        let segment_bytes = SEGMENT_BYTES.min(options.max_bytes / 8).max(1);
        let (shared, active, recovery) = recovery::recover(options, segment_bytes, device)?;
        let shared = Arc::new(shared);
        let (committer, housekeeper) = (Arc::clone(&shared), Arc::clone(&shared));
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(run)
                .map_err(files::at(&shared.folder))
        };
        let threads = vec![
            spawn(
                "log-committer",
                Box::new(move || {
                    committer.committer.listen();
                    committer::run(&committer, active);
                }),
            )?,
            spawn(
                "log-housekeeper",
                Box::new(move || {
                    housekeeper.housekeeper.listen();
                    housekeeper::run(&housekeeper);
                }),
            )?,
        ];
        let log = Self {
            shared,
            threads: Mutex::new(threads),
            _lock: folder_lock,
        };
        Ok((log, recovery))
    }
}

impl Shared {
    /// All destinations; no lock is held while they are looked at.
    fn all_destinations(&self) -> Vec<Arc<Destination>> {
        lock(&self.destinations).by_id.values().cloned().collect()
    }

    /// The segment to go on with behind the one of this number.
    fn segment_after(&self, sequence: u64) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let index = segments.partition_point(|segment| segment.header.sequence <= sequence);
        segments.get(index).cloned()
    }

    /// The segment of this number.
    fn segment(&self, sequence: u64) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let index = segments.partition_point(|segment| segment.header.sequence < sequence);
        segments
            .get(index)
            .filter(|segment| segment.header.sequence == sequence)
            .cloned()
    }

    /// The segment that holds this position, or the oldest if the position is older.
    fn segment_with(&self, position: Position) -> Option<Arc<Segment>> {
        let segments = lock(&self.segments);
        let index = segments.partition_point(|segment| segment.header.first <= position);
        segments.get(index.saturating_sub(1)).cloned()
    }

    fn push_segment(&self, segment: Arc<Segment>) {
        self.bytes.fetch_add(segment.end(), Ordering::Relaxed);
        let mut segments = lock(&self.segments);
        segments.push(segment);
        self.note_frees_from(&segments);
    }

    /// Takes a segment out of the log; its file is the caller's.
    fn drop_segment(&self, sequence: u64) {
        let mut segments = lock(&self.segments);
        segments.retain(|segment| {
            let kept = segment.header.sequence != sequence;
            if !kept {
                self.bytes.fetch_sub(segment.end(), Ordering::Relaxed);
            }
            kept
        });
        self.note_frees_from(&segments);
    }

    fn note_frees_from(&self, segments: &[Arc<Segment>]) {
        let second = segments.get(1).map_or(u64::MAX, |segment| segment.header.first.0);
        self.frees_from.store(second, Ordering::Relaxed);
    }

    fn cursor_path(&self, destination: DestinationId) -> PathBuf {
        cursor_path(&self.folder, destination)
    }
}

fn cursor_path(folder: &Path, destination: DestinationId) -> PathBuf {
    folder.join("cursors").join(destination.0.to_string())
}

impl Log for DiskLog {
    fn register(&self, name: &str) -> Result<DestinationId, LogError> {
        let mut destinations = lock(&self.shared.destinations);
        let known = destinations.registry.iter().find(|(known, _)| *known == name);
        if let Some((_, id)) = known {
            return Ok(id);
        }
        let id = destinations.registry.next(name)?;
        let saved = Saved {
            prefix: lock(&self.shared.totals).head,
            ..Saved::default()
        };
        // The cursor first: a name without a cursor would be a cursor that was lost.
        let file = CursorFile::create(&self.shared.cursor_path(id), &saved)?;
        destinations.registry.add(name, id)?;
        let destination = Destination {
            id,
            name: name.to_owned(),
            kept: Mutex::new(Kept {
                cursor: Cursor::new(saved),
                file,
                dirty: false,
                forgotten: false,
            }),
        };
        destinations.by_id.insert(id, Arc::new(destination));
        Ok(id)
    }

    fn appender(&self) -> Box<dyn Appender> {
        Box::new(DiskAppender::new(Arc::clone(&self.shared)))
    }

    fn reader(&self, destination: DestinationId) -> Result<Box<dyn Reader>, LogError> {
        let found = lock(&self.shared.destinations).by_id.get(&destination).cloned();
        Ok(Box::new(DiskReader::new(Arc::clone(&self.shared), found)))
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.head.subscribe()
    }

    fn ledgers(&self) -> Vec<(String, DestinationId, Ledger)> {
        let ledger = |destination: &Destination| {
            // The cursor before the totals: what is in flight is then never less than nothing.
            let mut kept = lock(&destination.kept);
            let tally = lock(&self.shared.totals).tallies.get(destination.id);
            let mut ledger = kept.cursor.ledger(&tally);
            if ledger.in_flight > 0 && ledger.oldest_in_flight_ms.is_none() {
                kept.cursor.next_accepted_ms = reader::next_accepted_ms(&self.shared, destination.id, &kept.cursor);
                ledger.oldest_in_flight_ms = kept.cursor.next_accepted_ms;
            }
            ledger
        };
        let destinations = self.shared.all_destinations();
        let ledgers = destinations
            .iter()
            .map(|found| (found.name.clone(), found.id, ledger(found)));
        ledgers.collect()
    }

    fn usage(&self) -> Usage {
        let head = lock(&self.shared.totals).head.0;
        let first = lock(&self.shared.segments)
            .first()
            .map_or(head, |oldest| oldest.header.first.0);
        Usage {
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            events: head.saturating_sub(first),
            max_bytes: self.shared.max_bytes,
        }
    }

    fn expire_before(&self) -> Option<Position> {
        let full = self.shared.bytes.load(Ordering::Relaxed) > self.shared.max_bytes;
        if self.shared.when_full == WhenFull::Refuse || !full {
            return None;
        }
        lock(&self.shared.segments).get(1).map(|second| second.header.first)
    }

    fn forget(&self, destination: DestinationId) -> Result<(), LogError> {
        let mut destinations = lock(&self.shared.destinations);
        let Some(found) = destinations.by_id.get(&destination).cloned() else {
            return Ok(());
        };
        destinations.registry.remove(destination)?;
        destinations.by_id.remove(&destination);
        let mut kept = lock(&found.kept);
        kept.forgotten = true;
        files::remove(kept.file.path());
        self.shared.housekeeper.wake();
        Ok(())
    }

    fn close(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.shared.committer.wake();
        self.shared.housekeeper.wake();
        for thread in lock(&self.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the log ended in a panic");
            }
        }
        housekeeper::sync_cursors(&self.shared);
    }
}

impl Drop for DiskLog {
    fn drop(&mut self) {
        self.close();
    }
}
