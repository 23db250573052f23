//! A destination's cursor on disk: `cursors/<number>`.
//!
//! The file has three slots, each with a checksum and a sequence number; the valid one with the highest number counts.
//! A save is one small write into the page cache, which survives the process; a sync once a second makes it survive
//! the machine. Saves never touch the slot that was synced last, nor the one that is being synced, so there is always a
//! whole slot to come back to. An older slot means that some events are delivered again, never that one is lost.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    super::{
        LogError, Position,
        codec::{DecodeError, Input, put_varint},
        cursor::{Endings, Saved, Settled},
    },
    files,
};

const SLOTS: u64 = 3;

/// The file is sparse; what is not written takes no room. A slot holds more runs than delivery ever has under way.
const SLOT_BYTES: u64 = 1 << 20;

/// Checksum and length of the rest.
const SLOT_HEAD: usize = 8;

#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    file: Arc<File>,
    sequence: u64,
    /// The slot that the last sync made safe.
    synced: u64,
    syncing: Option<u64>,
    /// The slot that was saved to and not synced since.
    unsynced: Option<u64>,
}

impl CursorFile {
    /// Makes the file; it and its content are there after a crash.
    pub(super) fn create(path: &Path, saved: &Saved) -> Result<Self, LogError> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).read(true).write(true);
        let mut cursor = Self {
            path: path.to_owned(),
            file: Arc::new(options.open(path).map_err(files::at(path))?),
            sequence: 0,
            synced: 1,
            syncing: None,
            unsynced: None,
        };
        cursor.save(saved)?;
        cursor.sync_now()?;
        files::sync_folder_of(path)?;
        Ok(cursor)
    }

    /// Opens the file and reads the newest slot. `None` when there is no file, or nothing in it can be read.
    pub(super) fn load(path: &Path) -> Result<Option<(Self, Saved)>, LogError> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::at(path)(error)),
        };
        let mut newest: Option<(u64, u64, Saved)> = None;
        for slot in 0..SLOTS {
            if let Some((sequence, saved)) = read_slot(&file, slot).map_err(files::at(path))?
                && newest.as_ref().is_none_or(|(other, ..)| *other < sequence)
            {
                newest = Some((sequence, slot, saved));
            }
        }
        let Some((sequence, slot, saved)) = newest else {
            return Ok(None);
        };
        let mut cursor = Self {
            path: path.to_owned(),
            file: Arc::new(file),
            sequence,
            synced: (slot + 1) % SLOTS,
            syncing: None,
            unsynced: Some(slot),
        };
        cursor.sync_now()?;
        Ok(Some((cursor, saved)))
    }

    /// Writes the cursor so that it survives the process.
    pub(super) fn save(&mut self, saved: &Saved) -> Result<(), LogError> {
        let sequence = self.sequence + 1;
        let bytes = encode(sequence, saved);
        if bytes.len() as u64 > SLOT_BYTES {
            return Err(files::corrupt(
                &self.path,
                "too many events settled out of order to be saved",
            ));
        }
        let free = (0..SLOTS).find(|slot| *slot != self.synced && Some(*slot) != self.syncing);
        let slot = self.unsynced.or(free).unwrap_or_default();
        self.file
            .write_all_at(&bytes, slot * SLOT_BYTES)
            .map_err(files::at(&self.path))?;
        self.sequence = sequence;
        self.unsynced = Some(slot);
        Ok(())
    }

    /// Begins a sync, if there is anything to sync: call [`sync`](Syncing::sync) without a lock, then
    /// [`end_sync`](Self::end_sync).
    pub(super) fn begin_sync(&mut self) -> Option<Syncing> {
        let slot = self.unsynced.take()?;
        self.syncing = Some(slot);
        Some(Syncing {
            file: Arc::clone(&self.file),
            slot,
        })
    }

    /// Ends a sync. After a failed one the slot counts as free: what is in it cannot be known.
    pub(super) fn end_sync(&mut self, syncing: &Syncing, succeeded: bool) {
        self.syncing = None;
        if succeeded {
            self.synced = syncing.slot;
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What the file has after a crash that leaves nothing but what was synced.
    #[cfg(test)]
    pub(super) fn synced_content(&self) -> Vec<u8> {
        let mut content = std::fs::read(&self.path).unwrap_or_default();
        for (slot, bytes) in (0..SLOTS).zip(content.chunks_mut(SLOT_BYTES as usize)) {
            if slot != self.synced {
                bytes.fill(0);
            }
        }
        content
    }

    fn sync_now(&mut self) -> Result<(), LogError> {
        let Some(syncing) = self.begin_sync() else {
            return Ok(());
        };
        let result = syncing.sync();
        self.end_sync(&syncing, result.is_ok());
        result.map_err(files::at(&self.path))
    }
}

/// A sync under way.
pub(super) struct Syncing {
    file: Arc<File>,
    slot: u64,
}

impl Syncing {
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read_slot(file: &File, slot: u64) -> io::Result<Option<(u64, Saved)>> {
    let offset = slot * SLOT_BYTES;
    let mut head = [0; SLOT_HEAD];
    match file.read_exact_at(&mut head, offset) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (crc, length) = (
        u64::from_le_bytes(head) as u32,
        (u64::from_le_bytes(head) >> 32) as usize,
    );
    if length as u64 > SLOT_BYTES {
        return Ok(None);
    }
    let mut body = vec![0; length];
    match file.read_exact_at(&mut body, offset + SLOT_HEAD as u64) {
        Ok(()) if crc32fast::hash(&body) == crc => Ok(decode(&body).ok()),
        Ok(()) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn encode(sequence: u64, saved: &Saved) -> Vec<u8> {
    let mut body = Vec::with_capacity(64);
    let Endings {
        delivered,
        dead_lettered,
        expired,
        erased,
    } = saved.endings;
    for number in [
        sequence,
        saved.prefix.0,
        saved.ordinal,
        delivered,
        dead_lettered,
        expired,
        erased,
        saved.ahead.len() as u64,
    ] {
        put_varint(&mut body, number);
    }
    let mut last = saved.prefix.0;
    for run in &saved.ahead {
        put_varint(&mut body, run.first.0.saturating_sub(last));
        put_varint(&mut body, run.last.0.saturating_sub(run.first.0));
        put_varint(&mut body, run.count);
        last = run.last.0;
    }
    let mut slot = Vec::with_capacity(SLOT_HEAD + body.len());
    slot.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    slot.extend_from_slice(&(body.len() as u32).to_le_bytes());
    slot.append(&mut body);
    slot
}

fn decode(body: &[u8]) -> Result<(u64, Saved), DecodeError> {
    let mut input = Input(body);
    let sequence = input.varint()?;
    let mut saved = Saved {
        prefix: Position(input.varint()?),
        ordinal: input.varint()?,
        endings: Endings {
            delivered: input.varint()?,
            dead_lettered: input.varint()?,
            expired: input.varint()?,
            erased: input.varint()?,
        },
        ahead: Vec::new(),
    };
    let mut last = saved.prefix.0;
    for _ in 0..input.count()? {
        let first = last.checked_add(input.varint()?).ok_or(DecodeError::Range)?;
        last = first.checked_add(input.varint()?).ok_or(DecodeError::Range)?;
        saved.ahead.push(Settled {
            first: Position(first),
            last: Position(last),
            count: input.varint()?,
        });
    }
    Ok((sequence, saved))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    fn saved(prefix: u64) -> Saved {
        Saved {
            prefix: Position(prefix),
            ordinal: prefix / 2,
            endings: Endings {
                delivered: prefix,
                expired: 1,
                ..Endings::default()
            },
            ahead: vec![Settled {
                first: Position(prefix + 3),
                last: Position(prefix + 900),
                count: 4,
            }],
        }
    }

    fn load(path: &Path) -> Saved {
        CursorFile::load(path).unwrap().unwrap().1
    }

    #[test]
    fn the_last_save_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0");
        let mut cursor = CursorFile::create(&path, &saved(1)).unwrap();
        for prefix in 2..20 {
            cursor.save(&saved(prefix)).unwrap();
            assert_eq!(load(&path), saved(prefix));
        }
    }

    #[test]
    fn saves_during_a_sync_leave_both_safe_slots_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0");
        let mut cursor = CursorFile::create(&path, &saved(1)).unwrap();
        cursor.save(&saved(2)).unwrap();
        let syncing = cursor.begin_sync().unwrap();
        cursor.save(&saved(3)).unwrap();
        cursor.save(&saved(4)).unwrap();
        let slots: Vec<_> = (0..SLOTS)
            .map(|slot| read_slot(&cursor.file, slot).unwrap().unwrap().1.prefix.0)
            .collect();
        let mut sorted = slots;
        sorted.sort_unstable();
        assert_eq!(sorted, [1, 2, 4]);
        cursor.end_sync(&syncing, true);
        assert_eq!(load(&path), saved(4));
    }

    #[test]
    fn a_damaged_slot_gives_way_to_the_one_synced_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0");
        let mut cursor = CursorFile::create(&path, &saved(1)).unwrap();
        cursor.save(&saved(2)).unwrap();
        let slot = cursor.unsynced.unwrap();
        cursor.file.write_all_at(b"torn", slot * SLOT_BYTES + 10).unwrap();
        assert_eq!(load(&path), saved(1));
        cursor.file.set_len(3).unwrap();
        assert!(CursorFile::load(&path).unwrap().is_none());
    }
}
