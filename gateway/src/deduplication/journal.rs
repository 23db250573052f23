//! What the index of deduplication leaves on disk: one record for each confirmed event, in segments by time.
//!
//! A record is written before its hit is answered, together with those of the other hits that the log committed with it, so
//! that a killed process forgets nothing that it acknowledged, and synced within a second: a crash of the machine may forget
//! that much, which costs a repeat and never an event. A segment goes when it is past the window, or when the later ones
//! alone hold `max_entries`: on disk there are up to 1.25 × `max_entries` × 24 bytes, and what comes in a second.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwapOption;

use super::{
    index::Limits,
    key::{Key, KeyMaker},
    segment::{self, Header, Record, Segment},
};

/// Segments in a window, and in `max_entries`.
const PARTS: u32 = 8;
/// A segment of fewer records is not worth a file.
const LEAST_RECORDS: u64 = 4096;
/// Room for so many is kept from one batch to the next.
const KEPT_RECORDS: usize = 4096;
const EXTENSION: &str = "keys";

/// The journal of a folder; one process has it, by the lock of the log's folder around it.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    secret: [u8; KeyMaker::SECRET_LENGTH],
    /// Where records are written; none while nothing is to be kept.
    current: ArcSwapOption<Segment>,
    segments: Mutex<Segments>,
    /// What is written next.
    next: Mutex<Batch>,
}

/// Records that are written with one call.
#[derive(Debug, Default)]
struct Batch {
    number: u64,
    records: Vec<Record>,
}

#[derive(Debug, Default)]
struct Segments {
    /// The segments before the current one, the oldest first.
    before: VecDeque<Arc<Segment>>,
    last_number: u64,
}

impl Journal {
    /// Opens the journal of a folder, which is made if it is missing, and gives its records, the oldest first. Segments
    /// that cannot be read are told in the log and removed.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(folder: &Path, mut restore: impl FnMut(Key, u32)) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut found = headers(folder)?;
        found.sort_by_key(|(_, header)| header.number);
        // The keys of one index have one secret. Were there others, the newest would be the one in use.
        let secret = found.last().map(|(_, header)| header.secret);
        let mut segments = Segments::default();
        for (path, header) in found {
            segments.last_number = header.number;
            if Some(header.secret) != secret {
                unusable(&path, "it has another secret than later ones");
                continue;
            }
            match Segment::open(path.clone(), header, &mut restore) {
                Ok(segment) => {
                    if segment.damaged() > 0 {
                        tracing::warn!(
                            path = %path.display(),
                            records = segment.damaged(),
                            "damaged records of deduplication are left out: repeats of their events may come through"
                        );
                    }
                    segments.before.push_back(Arc::new(segment));
                }
                Err(error) => unusable(&path, &error.to_string()),
            }
        }
        // The newest is written on, lest every start leave a file.
        let current = segments.before.pop_back();
        Ok(Self {
            folder: folder.to_owned(),
            secret: secret.unwrap_or_else(|| KeyMaker::random().secret()),
            current: ArcSwapOption::new(current),
            segments: Mutex::new(segments),
            next: Mutex::default(),
        })
    }

    /// Makes the keys that it keeps.
    #[must_use]
    pub const fn key_maker(&self) -> KeyMaker {
        KeyMaker::with_secret(self.secret)
    }

    /// Begins to keep records, where it does not yet.
    ///
    /// # Errors
    /// When no file can be made.
    pub fn begin(&self, now_s: u32) -> io::Result<()> {
        let mut segments = self.segments();
        if self.current.load().is_none() {
            self.begin_segment(&mut segments, now_s)?;
        }
        Ok(())
    }

    /// Stops to keep records, and removes those that there are.
    pub fn clear(&self) {
        let mut segments = self.segments();
        let current = self.current.swap(None);
        for segment in segments.before.drain(..).chain(current) {
            segment.remove();
        }
    }

    /// Writes records of events that the log has. All hits of one commit are woken at once: each adds its own, and the first
    /// that has its turn again writes them all.
    ///
    /// # Errors
    /// When they cannot be written, to the hit that tried to; some of them may be there all the same.
    pub async fn append(&self, keys: &[Key], time_s: u32) -> io::Result<()> {
        let number = {
            let mut next = self.next();
            next.records.extend(keys.iter().map(|key| Record { key: *key, time_s }));
            next.number
        };
        tokio::task::yield_now().await;
        // Held over the write: who finds its batch gone knows that it is written.
        let mut next = self.next();
        if next.number != number {
            return Ok(());
        }
        let written = match &*self.current.load() {
            Some(segment) => segment.append(&next.records),
            None => Ok(()),
        };
        next.number += 1;
        next.records.clear();
        next.records.shrink_to(KEPT_RECORDS);
        written
    }

    /// Makes all records safe from a crash of the machine, begins a new segment when it is time, and removes what is not
    /// needed any more. To be called every second.
    ///
    /// # Errors
    /// The first failure; the rest is done all the same.
    pub fn tend(&self, limits: Limits, now_s: u32) -> io::Result<()> {
        let mut segments = self.segments();
        let Some(current) = self.current.load_full() else {
            return self.begin_segment(&mut segments, now_s);
        };
        let is_full = current.records() >= (u64::from(limits.max_entries / PARTS)).max(LEAST_RECORDS);
        let is_old = now_s.saturating_sub(current.begun_s) > limits.window_s / PARTS && current.records() > 0;
        let begun = if is_full || is_old {
            self.begin_segment(&mut segments, now_s)
        } else {
            Ok(())
        };
        let current = self.current.load_full().unwrap_or(current);
        let synced = segments.before.iter().chain([&current]).map(|segment| segment.sync());
        let synced = synced.fold(Ok(()), Result::and);
        drop_passed(&mut segments, &current, limits, now_s);
        begun.and(synced)
    }

    fn begin_segment(&self, segments: &mut Segments, now_s: u32) -> io::Result<()> {
        let number = segments.last_number + 1;
        let header = Header {
            secret: self.secret,
            number,
            begun_s: now_s,
        };
        let segment = Segment::create(self.folder.join(format!("{number:016}.{EXTENSION}")), header)?;
        segments.last_number = number;
        segments.before.extend(self.current.swap(Some(Arc::new(segment))));
        Ok(())
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> MutexGuard<'_, Batch> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the oldest segments while nothing in them is remembered any more.
fn drop_passed(segments: &mut Segments, current: &Segment, limits: Limits, now_s: u32) {
    let in_others: u64 = segments.before.iter().map(|segment| segment.records()).sum();
    let mut in_later = in_others + current.records();
    while let Some(oldest) = segments.before.front() {
        in_later -= oldest.records();
        let is_passed = now_s.saturating_sub(oldest.newest_s()) > limits.window_s;
        if !is_passed && in_later < u64::from(limits.max_entries) {
            return;
        }
        oldest.remove();
        segments.before.pop_front();
    }
}

/// The segments of a folder with their headers.
fn headers(folder: &Path) -> io::Result<Vec<(PathBuf, Header)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            match Header::read(&path) {
                Ok(header) => found.push((path, header)),
                Err(error) => unusable(&path, &error.to_string()),
            }
        }
    }
    Ok(found)
}

fn unusable(path: &Path, reason: &str) {
    tracing::warn!(
        path = %path.display(),
        "a file of deduplication cannot be used ({reason}) and is removed: repeats of its events may come through"
    );
    segment::remove(path);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(number: u8) -> Key {
        Key::from_bytes([number; Key::LENGTH])
    }

    #[tokio::test]
    async fn hits_of_one_commit_are_written_together_and_each_waits_for_it() {
        let folder = tempfile::TempDir::new().unwrap();
        let journal = Journal::open(folder.path(), |_, _| ()).unwrap();
        journal.begin(1).unwrap();
        let (ones, twos, threes) = ([key(1)], [key(2), key(3)], [key(4)]);
        let hits = async {
            tokio::join!(
                journal.append(&ones, 7),
                journal.append(&twos, 8),
                journal.append(&threes, 9),
            )
        };
        for written in <[io::Result<()>; 3]>::from(hits.await) {
            written.unwrap();
        }
        assert_eq!(journal.current.load().as_ref().unwrap().writes(), 1);
        journal.append(&[key(5)], 10).await.unwrap();

        let mut found = Vec::new();
        Journal::open(folder.path(), |key, time_s| found.push((key, time_s))).unwrap();
        assert_eq!(
            found,
            [(key(1), 7), (key(2), 8), (key(3), 8), (key(4), 9), (key(5), 10)]
        );
    }

    #[tokio::test]
    async fn a_hit_that_goes_away_keeps_no_other_from_being_written() {
        let folder = tempfile::TempDir::new().unwrap();
        let journal = Journal::open(folder.path(), |_, _| ()).unwrap();
        journal.begin(1).unwrap();
        let keys = [key(1)];
        let mut gone = Box::pin(journal.append(&keys, 7));
        assert!(futures::poll!(&mut gone).is_pending());
        drop(gone);
        journal.append(&[key(2)], 8).await.unwrap();

        let mut found = Vec::new();
        Journal::open(folder.path(), |key, _| found.push(key)).unwrap();
        assert_eq!(found, [key(1), key(2)]);
    }
}
