//! A shelf on disk: append-only files named after the id of their first letter, each letter framed with its length and a
//! checksum.
//!
//! ```text
//! file   = letter*                       00000000000000000042.letters
//! letter = length u32 | crc32 u32 | body        little-endian; the checksum is the body's
//! body   = version u8 (1) | id u64 | postcard(Letter)
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use super::{DeadLetter, DeadLetterError, Letter, file_error};

const VERSION: u8 = 1;
const FRAME_BYTES: usize = 8;
/// A file that is larger is followed by another: files are what is deleted after a replay.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
/// What fields beside message, code and payload take at the most.
const FIXED_BYTES: u64 = 48;

/// About what a letter takes on disk, never less.
pub(super) fn stored_bytes(letter: &Letter) -> u64 {
    (letter.payload.len() + letter.message.len() + letter.code.len()) as u64 + FIXED_BYTES
}

pub(super) struct DiskShelf {
    folder: PathBuf,
    files: Vec<LetterFile>,
    next_id: u64,
    /// The last of `files`, open to append; `None` after a failed write, so that the next letter begins a new file
    /// behind whatever the failure left.
    open: Option<File>,
}

struct LetterFile {
    path: PathBuf,
    first_id: u64,
    bytes: u64,
    letters: u64,
}

impl DiskShelf {
    pub(super) fn open(folder: &Path) -> Result<Self, DeadLetterError> {
        fs::create_dir_all(folder).map_err(|source| file_error(folder, source))?;
        let mut first_ids: Vec<u64> = fs::read_dir(folder)
            .map_err(|source| file_error(folder, source))?
            .filter_map(|entry| id_of(&entry.ok()?.path()))
            .collect();
        first_ids.sort_unstable();
        let mut shelf = Self {
            folder: folder.to_owned(),
            files: Vec::new(),
            next_id: 0,
            open: None,
        };
        for first_id in first_ids {
            let path = shelf.path(first_id);
            let content = fs::read(&path).map_err(|source| file_error(&path, source))?;
            let (letters, end) = parse(&content, 0, usize::MAX);
            if end < content.len() {
                tracing::warn!(
                    path = %path.display(),
                    bytes = content.len() - end,
                    "dead letters: a torn or damaged end is left out"
                );
            }
            if letters.is_empty() {
                // Its name must be free for the letter that takes this id next.
                let aside = path.with_extension("damaged");
                fs::rename(&path, &aside).map_err(|source| file_error(&aside, source))?;
                continue;
            }
            shelf.next_id = shelf
                .next_id
                .max(first_id)
                .max(letters.last().map_or(0, |last| last.id + 1));
            shelf.files.push(LetterFile {
                path,
                first_id,
                bytes: content.len() as u64,
                letters: letters.len() as u64,
            });
        }
        Ok(shelf)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    pub(super) fn letters(&self) -> u64 {
        self.files.iter().map(|file| file.letters).sum()
    }

    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn append(&mut self, letters: &[Letter]) -> Result<(), DeadLetterError> {
        if letters.is_empty() {
            return Ok(());
        }
        let mut frames = Vec::new();
        for (id, letter) in (self.next_id..).zip(letters) {
            frame(id, letter, &mut frames);
        }
        let full = self.files.last().is_none_or(|file| file.bytes >= FILE_BYTES);
        if full || self.open.is_none() {
            self.begin_file()?;
        }
        let (Some(file), Some(open)) = (self.files.last_mut(), &mut self.open) else {
            return Ok(());
        };
        if let Err(source) = open.write_all(&frames).and_then(|()| open.sync_data()) {
            let error = file_error(&file.path, source);
            // Whatever part was written must not count. Where even this fails, the checksums leave it out, or the
            // letters are found twice: their events are not settled.
            if let Err(source) = open.set_len(file.bytes) {
                tracing::warn!(path = %file.path.display(), %source, "dead letters: a failed write cannot be undone");
                file.bytes = open.metadata().map_or(file.bytes, |metadata| metadata.len());
                self.next_id += letters.len() as u64;
            }
            self.open = None;
            return Err(error);
        }
        file.bytes += frames.len() as u64;
        file.letters += letters.len() as u64;
        self.next_id += letters.len() as u64;
        Ok(())
    }

    pub(super) fn read(&self, from: u64, limit: usize) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let mut found = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            let behind = self
                .files
                .get(index + 1)
                .map_or(self.next_id, |following| following.first_id);
            if behind <= from || found.len() >= limit {
                continue;
            }
            let content = fs::read(&file.path).map_err(|source| file_error(&file.path, source))?;
            found.extend(parse(&content, from, limit - found.len()).0);
        }
        Ok(found)
    }

    /// Removes letters below `id`. Files that hold others too are written anew.
    pub(super) fn remove_before(&mut self, id: u64) -> Result<(), DeadLetterError> {
        while let Some(first) = self.files.first() {
            if first.first_id >= id {
                break;
            }
            let content = fs::read(&first.path).map_err(|source| file_error(&first.path, source))?;
            let (kept, _) = parse(&content, id, usize::MAX);
            if let Some(begin) = kept.first() {
                let mut frames = Vec::new();
                for dead in &kept {
                    frame(dead.id, &dead.letter, &mut frames);
                }
                let path = self.path(begin.id);
                write_whole(&path, &frames)?;
                remove(&first.path)?;
                self.open = None;
                if let Some(first) = self.files.first_mut() {
                    *first = LetterFile {
                        path,
                        first_id: begin.id,
                        bytes: frames.len() as u64,
                        letters: kept.len() as u64,
                    };
                }
                break;
            }
            remove(&first.path)?;
            self.files.remove(0);
            if self.files.is_empty() {
                self.open = None;
            }
        }
        sync_folder(&self.folder)
    }

    /// Removes the letters that `keep` does not want. Their files are written anew.
    pub(super) fn retain(&mut self, keep: &dyn Fn(&Letter) -> bool) -> Result<(), DeadLetterError> {
        // Whatever is appended next begins a file of its own.
        self.open = None;
        let result = self.files.iter_mut().try_for_each(|file| file.retain(keep));
        self.files.retain(|file| file.letters > 0);
        result.and_then(|()| sync_folder(&self.folder))
    }

    fn begin_file(&mut self) -> Result<(), DeadLetterError> {
        let path = self.path(self.next_id);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| file_error(&path, source))?;
        sync_folder(&self.folder)?;
        let bytes = file.metadata().map_err(|source| file_error(&path, source))?.len();
        self.open = Some(file);
        // After a failed write the last file may bear the same id: it is gone on with.
        if self.files.last().is_none_or(|last| last.path != path) {
            self.files.push(LetterFile {
                path,
                first_id: self.next_id,
                bytes,
                letters: 0,
            });
        }
        Ok(())
    }

    fn path(&self, first_id: u64) -> PathBuf {
        self.folder.join(format!("{first_id:020}.letters"))
    }
}

impl LetterFile {
    fn retain(&mut self, keep: &dyn Fn(&Letter) -> bool) -> Result<(), DeadLetterError> {
        let content = fs::read(&self.path).map_err(|source| file_error(&self.path, source))?;
        let (letters, _) = parse(&content, 0, usize::MAX);
        let kept: Vec<_> = letters.iter().filter(|dead| keep(&dead.letter)).collect();
        if kept.len() == letters.len() {
            return Ok(());
        }
        let mut frames = Vec::new();
        for dead in &kept {
            frame(dead.id, &dead.letter, &mut frames);
        }
        if kept.is_empty() {
            remove(&self.path)?;
        } else {
            write_whole(&self.path, &frames)?;
        }
        self.bytes = frames.len() as u64;
        self.letters = kept.len() as u64;
        Ok(())
    }
}

fn id_of(path: &Path) -> Option<u64> {
    (path.extension()? == "letters")
        .then(|| path.file_stem()?.to_str()?.parse().ok())
        .flatten()
}

fn frame(id: u64, letter: &Letter, out: &mut Vec<u8>) {
    let mut body = vec![VERSION];
    body.extend_from_slice(&id.to_le_bytes());
    // A vector takes whatever postcard writes.
    let body = postcard::to_extend(letter, body).unwrap_or_default();
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    out.extend_from_slice(&body);
}

/// The letters with an id of `from` or above, up to `limit`, and where reading ended: behind the last whole letter.
fn parse(content: &[u8], from: u64, limit: usize) -> (Vec<DeadLetter>, usize) {
    let mut letters = Vec::new();
    let mut at = 0;
    while letters.len() < limit {
        let Some((body, end)) = body_at(content, at) else {
            break;
        };
        let Some((id, postcard)) = head_of(body) else {
            break;
        };
        at = end;
        if id >= from
            && let Ok(letter) = postcard::from_bytes(postcard)
        {
            letters.push(DeadLetter { id, letter });
        }
    }
    (letters, at)
}

fn body_at(content: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let head = content.get(at..at.checked_add(FRAME_BYTES)?)?;
    let (length, crc) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let crc = u32::from_le_bytes(*crc.first_chunk::<4>()?);
    let begin = at + FRAME_BYTES;
    let end = begin.checked_add(length)?;
    let body = content.get(begin..end)?;
    (crc32fast::hash(body) == crc).then_some((body, end))
}

fn head_of(body: &[u8]) -> Option<(u64, &[u8])> {
    let (version, rest) = body.split_first()?;
    let (id, postcard) = rest.split_first_chunk::<8>()?;
    (*version == VERSION).then(|| (u64::from_le_bytes(*id), postcard))
}

fn write_whole(path: &Path, content: &[u8]) -> Result<(), DeadLetterError> {
    let temporary = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_data()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|source| file_error(path, source))
}

fn remove(path: &Path) -> Result<(), DeadLetterError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(file_error(path, source)),
        _ => Ok(()),
    }
}

fn sync_folder(folder: &Path) -> Result<(), DeadLetterError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|source| file_error(folder, source))
}
