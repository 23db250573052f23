//! Opening the log: what a crash left half done is cut off, what is damaged is told, and the counts are made to agree
//! with what is there.
//!
//! Only the last segment is read. Each segment's header has the counts of all before it, so those that follow from the
//! last one's hits are all that is missing.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions as FileOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
};

use tokio::sync::watch;

use super::{
    super::{
        DestinationId, LogError, Position, Verdict,
        cursor::{Cursor, Endings, Saved},
        hit, lock,
        tally::Tallies,
    },
    Bell, Destination, Destinations, Kept, OpenOptions, Shared, Totals,
    committer::Active,
    cursor_file::CursorFile,
    cursor_path,
    files::{self, Device},
    registry::Registry,
    segment::{self, Header, HeaderError, MAX_HEADER, Segment},
    walker::{Damage, Walker},
};

/// What opening found, and what it had to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments found.
    pub segments: usize,
    /// Events that they hold.
    pub events: u64,
    /// Bytes of a hit that was not written to its end: its visitor never got an answer.
    pub cut_bytes: u64,
    /// Bytes in the middle that are no hits; the hits around them are whole.
    pub damaged_bytes: u64,
    /// Segments whose header cannot be read; they are kept under these names, and their events are not delivered.
    pub set_aside: Vec<String>,
    /// Destinations whose cursor was lost: all that the log holds is delivered to them again.
    pub reset_cursors: Vec<String>,
}

/// A registered destination with its cursor as it was saved.
struct Found {
    id: DestinationId,
    name: String,
    /// None where it was lost.
    cursor: Option<(CursorFile, Saved)>,
}

/// What the last segment says.
struct Tail {
    end: u64,
    head: Position,
    tallies: Tallies,
    cut: Option<Damage>,
    damaged_bytes: u64,
    /// For each destination, the events meant for it that its cursor had passed, as far as they are in this segment.
    passed: BTreeMap<DestinationId, Passed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    before_prefix: u64,
    ahead: u64,
}

/// Opens the files under `options.dir` and makes the log of them.
pub(super) fn recover(
    options: &OpenOptions,
    segment_bytes: u64,
    device: Arc<dyn Device>,
) -> Result<(Shared, Active, Recovery), LogError> {
    let folder = options.dir.join("log");
    let cursors = folder.join("cursors");
    fs::create_dir_all(&cursors).map_err(files::at(&cursors))?;
    let mut recovery = Recovery::default();
    let files = segment_files(&folder)?;
    let next_sequence = files.last().map_or(0, |(sequence, _)| sequence + 1);
    let segments = load_segments(files, &mut recovery)?;
    let registry = load_registry(&folder, &segments)?;
    let mut found = load_cursors(&folder, &registry)?;

    let mut totals = Totals::default();
    let mut start_new_segment = true;
    if let Some(last) = segments.last() {
        let tail = read_tail(last, &found)?;
        cut(last, &tail, &mut recovery)?;
        totals = Totals {
            head: tail.head,
            tallies: tail.tallies,
        };
        start_new_segment = tail.damaged_bytes > 0;
        for destination in &mut found {
            if let Some((_, saved)) = &mut destination.cursor {
                let passed = tail.passed.get(&destination.id).copied().unwrap_or_default();
                start_new_segment |= reconcile(destination.id, saved, passed, &last.header, &mut totals);
            }
        }
    }
    recovery.segments = segments.len();
    let oldest = segments.first().map_or(totals.head, |oldest| oldest.header.first);
    recovery.events = totals.head.0.saturating_sub(oldest.0);

    let by_id = destinations(
        &folder,
        found,
        segments.first().map(|oldest| &oldest.header),
        &mut recovery,
    )?;
    let head = totals.head;
    let shared = Shared {
        folder,
        max_bytes: options.max_bytes,
        segment_bytes,
        when_full: options.when_full,
        device,
        segments: Mutex::default(),
        next_sequence: AtomicU64::new(next_sequence),
        totals: Mutex::new(totals),
        destinations: Mutex::new(Destinations { registry, by_id }),
        head: watch::Sender::new(head),
        stages: Mutex::default(),
        bytes: AtomicU64::new(0),
        staged_bytes: AtomicU64::new(0),
        waiting: AtomicUsize::new(0),
        frees_from: AtomicU64::new(u64::MAX),
        device_failed: AtomicBool::new(false),
        closing: AtomicBool::new(false),
        committer: Bell::default(),
        housekeeper: Bell::default(),
    };
    for segment in segments {
        shared.push_segment(segment);
    }
    let last = lock(&shared.segments).last().cloned();
    let active = match last {
        Some(last) if !start_new_segment => Active::reopen(last)?,
        _ => Active::create(&shared)?,
    };
    recovery.tell(&shared.folder);
    Ok((shared, active, recovery))
}

impl Recovery {
    fn tell(&self, folder: &Path) {
        let path = folder.display();
        if self.cut_bytes > 0 {
            tracing::warn!(%path, bytes = self.cut_bytes, "cut off a hit that was not written to its end");
        }
        if self.damaged_bytes > 0 {
            tracing::error!(%path, bytes = self.damaged_bytes, "part of the log is damaged; the hits in it are lost");
        }
        for name in &self.set_aside {
            tracing::error!(%path, name, "a segment cannot be read and was set aside; its events are not delivered");
        }
        for destination in &self.reset_cursors {
            tracing::error!(%path, destination, "a cursor was lost; all that the log holds is delivered again");
        }
    }
}

/// The segments' files by number, those that were set aside among them.
fn segment_files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(files::at(folder))? {
        let path = entry.map_err(files::at(folder))?.path();
        paths.extend(segment::sequence_of(&path).map(|sequence| (sequence, path)));
    }
    paths.sort_unstable();
    Ok(paths)
}

fn load_segments(paths: Vec<(u64, PathBuf)>, recovery: &mut Recovery) -> Result<Vec<Arc<Segment>>, LogError> {
    let mut loaded: Vec<(PathBuf, Header, u64, u64)> = Vec::new();
    let whole = paths.into_iter().filter(|(_, path)| !segment::is_set_aside(path));
    for (sequence, path) in whole {
        let (bytes, length) = read_start(&path).map_err(files::at(&path))?;
        match Header::decode(&bytes) {
            Ok((header, start)) if header.sequence == sequence => loaded.push((path, header, start, length)),
            Err(HeaderError::Version(version)) => {
                let reason = format!(
                    "written by a gateway with log version {version}, this one has {}",
                    segment::VERSION
                );
                return Err(files::corrupt(&path, reason));
            }
            Ok(_) | Err(HeaderError::Damaged) => set_aside(&path, length, recovery)?,
        }
    }
    let limits: Vec<Position> = loaded.iter().skip(1).map(|(_, header, ..)| header.first).collect();
    let limits = limits.into_iter().chain([Position(u64::MAX)]);
    let segments = loaded.into_iter().zip(limits);
    Ok(segments
        .map(|((path, header, start, length), limit)| Arc::new(Segment::new(path, header, start, length, limit)))
        .collect())
}

/// The first bytes of a file, all of the header among them, and the file's length.
fn read_start(path: &Path) -> io::Result<(Vec<u8>, u64)> {
    const USUAL: u64 = 64 << 10;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    Read::take(&file, USUAL).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == USUAL && Header::decode(&bytes) == Err(HeaderError::Damaged) {
        bytes.resize(length.min(MAX_HEADER as u64) as usize, 0);
        file.read_exact_at(&mut bytes, 0)?;
    }
    Ok((bytes, length))
}

/// Takes a file without a header out of the log. One that a crash left when it was made holds nothing.
fn set_aside(path: &Path, length: u64, recovery: &mut Recovery) -> Result<(), LogError> {
    if length <= Header::default().encode().len() as u64 {
        files::remove(path);
        return Ok(());
    }
    let aside = path.with_extension(segment::SET_ASIDE);
    fs::rename(path, &aside).map_err(files::at(path))?;
    recovery.set_aside.push(aside.display().to_string());
    Ok(())
}

fn load_registry(folder: &Path, segments: &[Arc<Segment>]) -> Result<Registry, LogError> {
    let path = folder.join("registry.json");
    match Registry::load(&path)? {
        Some(registry) => Ok(registry),
        None if segments.is_empty() => Registry::create(&path),
        None => Err(files::corrupt(
            &path,
            "missing beside segments, so nobody knows whose their events are; restore it, or move the folder away",
        )),
    }
}

fn load_cursors(folder: &Path, registry: &Registry) -> Result<Vec<Found>, LogError> {
    let load = |(name, id): (&str, DestinationId)| {
        let cursor = CursorFile::load(&cursor_path(folder, id))?;
        Ok(Found {
            id,
            name: name.to_owned(),
            cursor,
        })
    };
    registry.iter().map(load).collect()
}

/// Reads the last segment to its end.
fn read_tail(last: &Arc<Segment>, found: &[Found]) -> Result<Tail, LogError> {
    let mut tail = Tail {
        end: last.start,
        head: last.header.first,
        tallies: last.header.before.clone(),
        cut: None,
        damaged_bytes: 0,
        passed: BTreeMap::new(),
    };
    let saved: BTreeMap<DestinationId, &Saved> = found
        .iter()
        .filter_map(|found| Some((found.id, &found.cursor.as_ref()?.1)))
        .collect();
    let file_end = last.end();
    let Some(mut walker) = Walker::open(Arc::clone(last), last.start)? else {
        return Ok(tail);
    };
    while let Some(frame) = walker.frame(file_end)? {
        let mut position = frame.position.max(tail.head);
        for event in hit::events(frame.hit) {
            let Ok(event) = event else {
                // Whole by its checksum and yet no hit: readers pass over it too.
                tail.damaged_bytes += frame.end - frame.offset;
                break;
            };
            for (id, verdict) in event.verdicts() {
                tail.tallies.count(id, verdict);
                if verdict == Verdict::Meant
                    && let Some(saved) = saved.get(&id)
                {
                    tail.passed.entry(id).or_default().count(saved, position);
                }
            }
            position.0 += u64::from(event.stored.is_some());
        }
        tail.head = position;
        tail.end = frame.end;
        let frame_end = frame.end;
        walker.pass(frame_end);
    }
    for damage in walker.take_damage() {
        if damage.offset + damage.bytes == file_end {
            tail.cut = Some(damage);
        } else {
            tail.damaged_bytes += damage.bytes;
        }
    }
    Ok(tail)
}

impl Passed {
    fn count(&mut self, saved: &Saved, position: Position) {
        if position < saved.prefix {
            self.before_prefix += 1;
        } else if saved.settled_ahead(position) {
            self.ahead += 1;
        }
    }
}

/// Cuts a torn hit off, and makes sure that what readers will be given is on the device.
fn cut(last: &Segment, tail: &Tail, recovery: &mut Recovery) -> Result<(), LogError> {
    recovery.cut_bytes = tail.cut.map_or(0, |cut| cut.bytes);
    recovery.damaged_bytes = tail.damaged_bytes;
    let file = FileOptions::new()
        .write(true)
        .open(&last.path)
        .map_err(files::at(&last.path))?;
    if tail.cut.is_some() {
        file.set_len(tail.end).map_err(files::at(&last.path))?;
    }
    last.set_end(tail.end);
    file.sync_all().map_err(files::at(&last.path))
}

/// Makes the totals agree with what a cursor saw before: an event that was delivered and is damaged now was meant all
/// the same, and no position that was settled is given out again. Says whether the totals had to change.
fn reconcile(id: DestinationId, saved: &mut Saved, passed: Passed, last: &Header, totals: &mut Totals) -> bool {
    let before_last = last.before.get(id).meant;
    let (seen, there) = if saved.prefix >= last.first {
        let ahead: u64 = saved.ahead.iter().map(|run| run.count).sum();
        let there = before_last + passed.before_prefix;
        saved.ordinal = saved.ordinal.max(there);
        (saved.ordinal + ahead, there + passed.ahead)
    } else {
        (saved.ordinal, before_last)
    };
    let missing = seen.saturating_sub(there);
    if missing > 0 {
        let mut tally = totals.tallies.get(id);
        tally.meant += missing;
        tally.accepted += missing;
        totals.tallies.set(id, tally);
    }
    let seen_to = saved.ahead.last().map_or(saved.prefix, |run| Position(run.last.0 + 1));
    let beyond = seen_to > totals.head;
    totals.head = totals.head.max(seen_to);
    missing > 0 || beyond
}

/// Puts the destinations together. One whose cursor was lost begins at the oldest event that is left: those before it
/// were all settled, how is not known any more, so they are taken for delivered.
fn destinations(
    folder: &Path,
    found: Vec<Found>,
    oldest: Option<&Header>,
    recovery: &mut Recovery,
) -> Result<BTreeMap<DestinationId, Arc<Destination>>, LogError> {
    let mut by_id = BTreeMap::new();
    for Found { id, name, cursor } in found {
        let (file, saved) = match cursor {
            Some(found) => found,
            None => {
                let ordinal = oldest.map_or(0, |oldest| oldest.before.get(id).meant);
                let saved = Saved {
                    prefix: oldest.map_or_else(Position::default, |oldest| oldest.first),
                    ordinal,
                    endings: Endings {
                        delivered: ordinal,
                        ..Endings::default()
                    },
                    ahead: Vec::new(),
                };
                recovery.reset_cursors.push(name.clone());
                (CursorFile::create(&cursor_path(folder, id), &saved)?, saved)
            }
        };
        let kept = Kept {
            cursor: Cursor::new(saved),
            file,
            dirty: false,
            forgotten: false,
        };
        let destination = Destination {
            id,
            name,
            kept: Mutex::new(kept),
        };
        by_id.insert(id, Arc::new(destination));
    }
    Ok(by_id)
}
