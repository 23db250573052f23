//! Walks the frames of one segment through a buffer of its own, past damage if there is any.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use super::{
    super::{LogError, Position},
    files,
    segment::{self, FRAME_HEAD, Segment},
};

/// Bytes read at once. Readers that keep up read what was just written, from the page cache.
const CHUNK: usize = 64 << 10;

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'b> {
    /// The position of its first stored event, or of the next one if it stores none.
    pub(super) position: Position,
    pub(super) hit: &'b [u8],
    /// Where it begins in the file.
    pub(super) offset: u64,
    /// Where the next one begins.
    pub(super) end: u64,
}

/// Bytes of a file that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

pub(super) struct Walker {
    pub(super) segment: Arc<Segment>,
    file: File,
    buffer: Vec<u8>,
    /// The part of the buffer that was walked over.
    consumed: usize,
    /// The file's offset of what was not.
    offset: u64,
    damage: Vec<Damage>,
}

impl Walker {
    /// Begins at a frame's offset. `None` when the segment was deleted in the meantime.
    pub(super) fn open(segment: Arc<Segment>, offset: u64) -> Result<Option<Self>, LogError> {
        let file = match File::open(&segment.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(files::at(&segment.path)(error)),
        };
        Ok(Some(Self {
            segment,
            file,
            buffer: Vec::new(),
            consumed: 0,
            offset,
            damage: Vec::new(),
        }))
    }

    /// The frame at hand, if one ends at or before `end`; damage before it is skipped. The same one is given until
    /// [`pass`](Self::pass) is called.
    pub(super) fn frame(&mut self, end: u64) -> Result<Option<Frame<'_>>, LogError> {
        let Some(size) = self.find(end).map_err(files::at(&self.segment.path))? else {
            return Ok(None);
        };
        let bytes = self.buffer.get(self.consumed..self.consumed + size).unwrap_or_default();
        let frame = segment::open_frame(bytes, self.segment.header.salt);
        Ok(frame.map(|(position, hit)| Frame {
            position,
            hit,
            offset: self.offset,
            end: self.offset + size as u64,
        }))
    }

    /// Goes on behind a frame, to where it [ends](Frame::end).
    pub(super) fn pass(&mut self, frame_end: u64) {
        self.skip(frame_end.saturating_sub(self.offset) as usize);
    }

    /// The damage that was skipped since this was last asked.
    pub(super) fn take_damage(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damage)
    }

    /// Makes sure that a valid frame is at hand and in the buffer, and says how long it is.
    fn find(&mut self, end: u64) -> io::Result<Option<usize>> {
        if self.offset >= end {
            return Ok(None);
        }
        let mut found = self.valid_frame(end)?;
        if found.is_none() {
            let offset = self.offset;
            while found.is_none() && self.skip_to_marker(end)? {
                found = self.valid_frame(end)?;
            }
            self.damage.push(Damage {
                offset,
                bytes: self.offset - offset,
            });
        }
        Ok(found)
    }

    fn valid_frame(&mut self, end: u64) -> io::Result<Option<usize>> {
        let salt = self.segment.header.salt;
        if !self.fill(FRAME_HEAD, end)? {
            return Ok(None);
        }
        let Some(size) = segment::frame_size(self.rest(), salt) else {
            return Ok(None);
        };
        if !self.fill(size, end)? {
            return Ok(None);
        }
        let frame = self.rest().get(..size).unwrap_or_default();
        Ok(segment::open_frame(frame, salt).map(|_| size))
    }

    /// Goes on to the next place that looks like a frame; to `end` and false if there is none.
    fn skip_to_marker(&mut self, end: u64) -> io::Result<bool> {
        let marker = segment::marker(self.segment.header.salt);
        self.skip(1);
        while self.fill(FRAME_HEAD, end)? {
            if let Some(distance) = memchr::memmem::find(self.rest(), &marker) {
                self.skip(distance);
                return Ok(true);
            }
            self.skip(self.rest().len() + 1 - marker.len());
        }
        self.skip(end.saturating_sub(self.offset) as usize);
        Ok(false)
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.consumed..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.offset += bytes as u64;
        self.consumed += bytes;
        if self.consumed >= self.buffer.len() {
            self.buffer.clear();
            self.consumed = 0;
        }
    }

    /// Reads on until `needed` bytes are in the buffer. False if the file has not that many before `end`.
    fn fill(&mut self, needed: usize, end: u64) -> io::Result<bool> {
        let have = self.rest().len();
        if have >= needed {
            return Ok(true);
        }
        let left = end.saturating_sub(self.offset);
        if (needed as u64) > left {
            return Ok(false);
        }
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let wanted = left.min(needed.max(CHUNK) as u64) as usize;
        if self.buffer.capacity() > CHUNK && wanted <= CHUNK {
            self.buffer.shrink_to(CHUNK);
        }
        self.buffer.resize(wanted, 0);
        let unread = self.buffer.get_mut(have..).unwrap_or_default();
        let result = self.file.read_exact_at(unread, self.offset + have as u64);
        if result.is_err() {
            self.buffer.truncate(have);
        }
        result.map(|()| true)
    }
}
