//! A file of the journal: a header, then records of one size, each with its own checksum, so that a damaged one costs
//! itself alone.
//!
//! Header, 40 bytes: `TFDEDUP1`, the secret of the keys (16), the segment's number (8), when it was begun (unix seconds, 4),
//! CRC-32 of all that (4). Record, 24 bytes: key (16), time (unix seconds, 4), CRC-32 of the segment's number and those (4).
//! All numbers little endian.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, ErrorKind, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use super::key::{Key, KeyMaker};

const MAGIC: &[u8; 8] = b"TFDEDUP1";
/// Bytes of the header.
pub(super) const HEADER: usize = 40;
/// Bytes of a record.
pub(super) const RECORD: usize = 24;

/// One confirmed event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) key: Key,
    /// When its hit came, unix seconds.
    pub(super) time_s: u32,
}

/// A segment that can be written.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) begun_s: u32,
    path: PathBuf,
    file: File,
    /// Records for which there is a place, written or not.
    records: AtomicU64,
    /// Of those that were there when it was opened, the damaged ones.
    damaged: u64,
    /// The time of the newest record.
    newest_s: AtomicU32,
    /// Writes that have ended.
    writes: AtomicU64,
    /// Of those, the ones that a crash of the machine leaves there.
    synced: Mutex<u64>,
}

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) secret: [u8; KeyMaker::SECRET_LENGTH],
    pub(super) number: u64,
    pub(super) begun_s: u32,
}

impl Header {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.secret);
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.begun_s.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER]) -> Option<Self> {
        let (content, checksum) = bytes.split_last_chunk()?;
        let (magic, rest) = content.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let begun_s = rest.first_chunk()?;
        let is_whole = magic == MAGIC && u32::from_le_bytes(*checksum) == crc32fast::hash(content);
        is_whole.then_some(Self {
            secret: *secret,
            number: u64::from_le_bytes(*number),
            begun_s: u32::from_le_bytes(*begun_s),
        })
    }

    /// Of a file.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = [0; HEADER];
        File::open(path)?.read_exact(&mut bytes)?;
        Self::from_bytes(&bytes).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "its header is damaged"))
    }
}

impl Segment {
    /// Begins a segment. The file is there after a crash before this returns.
    pub(super) fn create(path: PathBuf, header: Header) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)?;
        file.write_all_at(&header.to_bytes(), 0)?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self::new(path, file, header))
    }

    /// Opens a segment whose header was read, and gives its records in order. What a crash left behind the last whole
    /// record is cut off; damaged records are left out.
    pub(super) fn open(path: PathBuf, header: Header, mut restore: impl FnMut(Key, u32)) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let whole = file.metadata()?.len().saturating_sub(HEADER as u64) / RECORD as u64;
        file.set_len(HEADER as u64 + whole * RECORD as u64)?;
        let mut reader = BufReader::with_capacity(1 << 16, &file);
        reader.read_exact(&mut [0; HEADER])?;
        let (mut newest_s, mut damaged) = (header.begun_s, 0);
        for _ in 0..whole {
            let mut record = [0; RECORD];
            reader.read_exact(&mut record)?;
            match from_record(&record, header.number) {
                Some(Record { key, time_s }) => {
                    newest_s = newest_s.max(time_s);
                    restore(key, time_s);
                }
                None => damaged += 1,
            }
        }
        Ok(Self {
            records: AtomicU64::new(whole),
            newest_s: AtomicU32::new(newest_s),
            damaged,
            ..Self::new(path, file, header)
        })
    }

    fn new(path: PathBuf, file: File, header: Header) -> Self {
        Self {
            number: header.number,
            begun_s: header.begun_s,
            path,
            file,
            records: AtomicU64::new(0),
            damaged: 0,
            newest_s: AtomicU32::new(header.begun_s),
            writes: AtomicU64::new(0),
            synced: Mutex::new(0),
        }
    }

    /// Writes records: a killed process leaves them there. Several threads may write at once, each in its own place.
    pub(super) fn append(&self, records: &[Record]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD);
        for record in records {
            push_record(&mut bytes, *record, self.number);
            self.newest_s.fetch_max(record.time_s, Ordering::Relaxed);
        }
        let before = self.records.fetch_add(records.len() as u64, Ordering::Relaxed);
        let result = self.file.write_all_at(&bytes, HEADER as u64 + before * RECORD as u64);
        self.writes.fetch_add(1, Ordering::Release);
        result
    }

    /// Makes sure that all records whose writing has ended are there after a crash of the machine.
    pub(super) fn sync(&self) -> io::Result<()> {
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = self.writes.load(Ordering::Acquire);
        if writes != *synced {
            self.file.sync_data()?;
            *synced = writes;
        }
        Ok(())
    }

    /// Writes that have ended.
    #[cfg(test)]
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    /// Records that can be read, and those that are being written.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed) - self.damaged
    }

    /// Records that could not be read when it was opened.
    pub(super) const fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The time of the newest record; without one, when it was begun.
    pub(super) fn newest_s(&self) -> u32 {
        self.newest_s.load(Ordering::Relaxed)
    }

    /// Removes the file. Who still writes to it writes into the void.
    pub(super) fn remove(&self) {
        remove(&self.path);
    }
}

/// Removes a file of the journal. A failure costs room only.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove a file of deduplication that is not needed any more");
    }
}

fn push_record(bytes: &mut Vec<u8>, record: Record, segment: u64) {
    let (key, time) = (record.key.to_bytes(), record.time_s.to_le_bytes());
    bytes.extend_from_slice(&key);
    bytes.extend_from_slice(&time);
    bytes.extend_from_slice(&checksum(segment, &key, &time).to_le_bytes());
}

fn from_record(record: &[u8; RECORD], segment: u64) -> Option<Record> {
    let (key, rest) = record.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let is_whole = u32::from_le_bytes(*rest.first_chunk()?) == checksum(segment, key, time);
    is_whole.then(|| Record {
        key: Key::from_bytes(*key),
        time_s: u32::from_le_bytes(*time),
    })
}

/// The segment's number is in it, so that what the file system leaves of another file is not taken for a record.
fn checksum(segment: u64, key: &[u8], time: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment.to_le_bytes());
    hasher.update(key);
    hasher.update(time);
    hasher.finalize()
}
