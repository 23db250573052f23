//! The committer: the one thread that writes to the log. It takes what all workers have staged, gives positions,
//! writes once, syncs once, and decides the hits.

use std::{
    fs::{File, OpenOptions},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Thread},
};

use super::{
    super::{AppendError, LogError, Position, lock},
    Shared, files,
    segment::{self, Header, Segment},
    stage::{Stage, Staged},
};

/// How a thread that waits for work is told of it, for the price of a write to memory while it is at work anyway.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bell {
    /// Makes the calling thread the one that is woken.
    pub(super) fn listen(&self) {
        self.thread.get_or_init(thread::current);
    }

    pub(super) fn wake(&self) {
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// To be called before looking for work: what comes later rings again.
    pub(super) fn hush(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }
}

/// Runs until the log is closed and everything staged is committed.
pub(super) fn run(shared: &Shared, active: Active) {
    let mut writer = Writer {
        shared,
        active: Some(active),
        buffer: Vec::new(),
    };
    let mut spare = Vec::new();
    loop {
        shared.committer.hush();
        let closing = shared.closing.load(Ordering::Acquire);
        let mut rounds = collect(shared, &mut spare, closing);
        if rounds.is_empty() {
            if closing {
                return;
            }
            thread::park();
            continue;
        }
        let outcome = writer.commit(&mut rounds);
        for mut staged in rounds {
            shared.waiting.fetch_sub(staged.frames.len(), Ordering::Relaxed);
            shared
                .staged_bytes
                .fetch_sub(staged.bytes.len() as u64, Ordering::Relaxed);
            staged.round.decide(outcome.clone());
            staged.reset();
            spare.push(staged);
        }
    }
}

/// Takes what is staged, and drops the stages whose workers are gone.
fn collect(shared: &Shared, spare: &mut Vec<Staged>, closing: bool) -> Vec<Staged> {
    let mut rounds = Vec::new();
    lock(&shared.stages).retain(|stage: &Arc<Stage>| {
        let in_use = Arc::strong_count(stage) > 1;
        let mut staged = lock(&stage.staged);
        staged.closed = closing;
        if !staged.frames.is_empty() {
            let mut empty = spare.pop().unwrap_or_default();
            empty.closed = closing;
            rounds.push(std::mem::replace(&mut *staged, empty));
        }
        in_use
    });
    rounds
}

/// The segment that is written to.
pub(super) struct Active {
    segment: Arc<Segment>,
    file: File,
}

impl Active {
    /// Goes on with a segment.
    pub(super) fn reopen(segment: Arc<Segment>) -> Result<Self, LogError> {
        let file = OpenOptions::new()
            .write(true)
            .open(&segment.path)
            .map_err(files::at(&segment.path))?;
        Ok(Self { segment, file })
    }

    /// Begins a segment at the head, and makes sure that it is there after a crash.
    pub(super) fn create(shared: &Shared) -> Result<Self, LogError> {
        let sequence = shared.next_sequence.fetch_add(1, Ordering::Relaxed);
        let (first, before) = {
            let totals = lock(&shared.totals);
            (totals.head, totals.tallies.clone())
        };
        let header = Header {
            sequence,
            salt: rand::random(),
            first,
            before,
        };
        let path = segment::path_of(&shared.folder, sequence);
        let bytes = header.encode();
        let create = || {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            shared.device.write_at(&file, &bytes, 0)?;
            shared.device.sync(&file)?;
            Ok(file)
        };
        let created = create().map_err(files::at(&path)).and_then(|file| {
            files::sync_folder_of(&path)?;
            Ok(file)
        });
        let file = created.inspect_err(|_| files::remove(&path))?;
        let start = bytes.len() as u64;
        let segment = Arc::new(Segment::new(path, header, start, start, Position(u64::MAX)));
        shared.push_segment(Arc::clone(&segment));
        Ok(Self { segment, file })
    }

    fn is_empty(&self) -> bool {
        self.segment.end() == self.segment.start
    }
}

struct Writer<'s> {
    shared: &'s Shared,
    /// None after a failure: the next commit begins a segment.
    active: Option<Active>,
    buffer: Vec<u8>,
}

impl Writer<'_> {
    fn commit(&mut self, rounds: &mut [Staged]) -> Result<(), AppendError> {
        let size: u64 = rounds.iter().map(|staged| staged.bytes.len() as u64).sum();
        let result = self.try_commit(rounds, size);
        result.map_err(|error| {
            let reason = error.to_string();
            if self.shared.device_failed.swap(true, Ordering::Relaxed) {
                tracing::debug!(%reason, "the log still cannot be written");
            } else {
                tracing::error!(%reason, "the log cannot be written; hits are answered with 503 until it can");
            }
            AppendError::Device(reason)
        })?;
        if self.shared.device_failed.swap(false, Ordering::Relaxed) {
            tracing::info!("the log can be written again");
        }
        Ok(())
    }

    fn try_commit(&mut self, rounds: &mut [Staged], size: u64) -> Result<(), LogError> {
        let active = self.take_segment_with_room_for(size)?;
        let head = lock(&self.shared.totals).head;
        let next = fill(&mut self.buffer, rounds, active.segment.header.salt, head);
        let end = active.segment.end();

        if let Err(error) = self.shared.device.write_at(&active.file, &self.buffer, end) {
            // A full device takes part of a write. Cut it off; if that fails too, the file is left alone.
            let error = files::at(&active.segment.path)(error);
            if active.file.set_len(end).is_ok() {
                self.active = Some(active);
            } else {
                self.abandon(&active);
            }
            return Err(error);
        }
        if let Err(error) = self.shared.device.sync(&active.file) {
            // After a failed fsync the kernel may mark the pages clean although they are not on the device, and the
            // next fsync then succeeds (fsync(2); Rebello et al., "Can Applications Recover from fsync Failures?",
            // USENIX ATC 2020). So neither these pages nor this file are trusted again.
            let error = files::at(&active.segment.path)(error);
            self.abandon(&active);
            return Err(error);
        }

        {
            // First what was decided, then what can be read: a reader never finds more than was counted.
            let mut totals = lock(&self.shared.totals);
            totals.head = next;
            for staged in rounds.iter() {
                totals.tallies.add(&staged.tallies);
            }
        }
        active.segment.set_end(end + size);
        self.active = Some(active);
        self.shared.bytes.fetch_add(size, Ordering::Relaxed);
        self.shared
            .head
            .send_if_modified(|last| std::mem::replace(last, next) != next);
        Ok(())
    }

    fn take_segment_with_room_for(&mut self, size: u64) -> Result<Active, LogError> {
        let fits = |active: &Active| active.is_empty() || active.segment.end() + size <= self.shared.segment_bytes;
        match self.active.take() {
            Some(active) if fits(&active) => Ok(active),
            full => {
                // While there is no room for a new segment, the old one stays open.
                let created = Active::create(self.shared).inspect_err(|_| self.active = full)?;
                self.shared.housekeeper.wake();
                Ok(created)
            }
        }
    }

    /// Gives up a segment behind its last committed hit; the next commit begins another.
    fn abandon(&self, active: &Active) {
        let path = &active.segment.path;
        if let Err(error) = active.file.set_len(active.segment.end()) {
            tracing::warn!(path = %path.display(), %error, "cannot cut hits off that failed to commit");
        }
        if active.is_empty() {
            self.shared.drop_segment(active.segment.header.sequence);
            files::remove(path);
        }
    }
}

/// Puts all frames into the buffer, with their positions; returns the position behind the last.
fn fill(buffer: &mut Vec<u8>, rounds: &mut [Staged], salt: u64, head: Position) -> Position {
    const KEPT: usize = 1 << 20;
    buffer.clear();
    buffer.shrink_to(KEPT);
    let mut position = head;
    for staged in rounds {
        let mut rest = staged.bytes.as_mut_slice();
        for staged_frame in &staged.frames {
            let Some((frame, behind)) = rest.split_at_mut_checked(staged_frame.size) else {
                break;
            };
            segment::seal(frame, salt, position);
            position.0 += u64::from(staged_frame.stored);
            rest = behind;
        }
        buffer.extend_from_slice(&staged.bytes);
    }
    position
}
