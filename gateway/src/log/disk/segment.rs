//! A segment: a file of hits in order. This is its layout.
//!
//! ```text
//! file    = header frame*
//! header  = "TAGFLOG" version:u8, length:u32, crc32:u32, content    the checksum is that of version and content
//! content = sequence:u64, salt:u64, first position:u64, count:u32, { destination:u16, accepted, filtered,
//!           consent_denied, meant: u64 }*          the verdicts on all events before this segment
//! frame   = marker:u32, length:u32, crc32:u32, position:u64, hit
//! ```
//! All numbers are little endian. Each hit has its own checksum, so a torn or damaged one takes no other with it. The
//! marker by which a reader finds the next hit after a damaged one, and the checksum's start value, come from the
//! salt, a random number: nobody can send a hit that carries, inside, what looks like another.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::super::{
    DestinationId, Position,
    codec::{DecodeError, Input},
    tally::{Tallies, Tally},
};

const MAGIC: &[u8; 7] = b"TAGFLOG";

/// The version of the layout above.
pub(super) const VERSION: u8 = 1;

/// Magic, version, length and checksum.
const HEADER_HEAD: usize = 16;

/// A header names up to 65,536 destinations.
pub(super) const MAX_HEADER: usize = 4 << 20;

/// The bytes before the hit in a frame.
pub(super) const FRAME_HEAD: usize = 20;

/// The longest hit; ingest's limits are far below.
pub(super) const MAX_HIT: usize = 64 << 20;

/// A segment as all of its users see it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) header: Header,
    /// Where the first frame begins.
    pub(super) start: u64,
    /// Where the committed frames end.
    end: AtomicU64,
    /// Frames from this position on do not count: they failed to commit, and the next segment has that position.
    pub(super) limit: Position,
}

impl Segment {
    pub(super) fn new(path: PathBuf, header: Header, start: u64, end: u64, limit: Position) -> Self {
        Self {
            path,
            header,
            start,
            end: AtomicU64::new(end),
            limit,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }
}

/// What stands before the frames.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    /// The segments' order.
    pub(super) sequence: u64,
    pub(super) salt: u64,
    /// The position of the first event.
    pub(super) first: Position,
    /// The verdicts on all events before.
    pub(super) before: Tallies,
}

/// Why a file does not begin with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// It is torn or damaged.
    Damaged,
    /// Another version of the gateway wrote it.
    Version(u8),
}

impl From<DecodeError> for HeaderError {
    fn from(_: DecodeError) -> Self {
        Self::Damaged
    }
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        self.encode_as(VERSION)
    }

    /// The header under another version's number.
    pub(super) fn encode_as(&self, version: u8) -> Vec<u8> {
        let mut content = Vec::new();
        for number in [self.sequence, self.salt, self.first.0] {
            content.extend_from_slice(&number.to_le_bytes());
        }
        content.extend_from_slice(&(self.before.iter().count() as u32).to_le_bytes());
        for (destination, tally) in self.before.iter() {
            content.extend_from_slice(&destination.0.to_le_bytes());
            for number in [tally.accepted, tally.filtered, tally.consent_denied, tally.meant] {
                content.extend_from_slice(&number.to_le_bytes());
            }
        }
        let mut header = Vec::with_capacity(HEADER_HEAD + content.len());
        header.extend_from_slice(MAGIC);
        header.push(version);
        header.extend_from_slice(&(content.len() as u32).to_le_bytes());
        header.extend_from_slice(&header_checksum(version, &content).to_le_bytes());
        header.append(&mut content);
        header
    }

    /// Reads the header at the start of `bytes`, and says how long it is.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, u64), HeaderError> {
        let mut input = Input(bytes);
        if input.array()? != *MAGIC {
            return Err(HeaderError::Damaged);
        }
        let version = input.byte()?;
        let length = u32::from_le_bytes(input.array()?) as usize;
        let crc = u32::from_le_bytes(input.array()?);
        let content = input.bytes(length)?;
        if header_checksum(version, content) != crc {
            return Err(HeaderError::Damaged);
        }
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let mut input = Input(content);
        let mut header = Self {
            sequence: u64::from_le_bytes(input.array()?),
            salt: u64::from_le_bytes(input.array()?),
            first: Position(u64::from_le_bytes(input.array()?)),
            before: Tallies::default(),
        };
        for _ in 0..u32::from_le_bytes(input.array()?) {
            let destination = DestinationId(u16::from_le_bytes(input.array()?));
            header.before.set(
                destination,
                Tally {
                    accepted: u64::from_le_bytes(input.array()?),
                    filtered: u64::from_le_bytes(input.array()?),
                    consent_denied: u64::from_le_bytes(input.array()?),
                    meant: u64::from_le_bytes(input.array()?),
                },
            );
        }
        Ok((header, (HEADER_HEAD + length) as u64))
    }
}

/// Every version keeps to this, so that a damaged version number is not taken for another version.
fn header_checksum(version: u8, content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[version]);
    hasher.update(content);
    hasher.finalize()
}

const EXTENSION: &str = "segment";

/// The extension of a segment that cannot be read.
pub(super) const SET_ASIDE: &str = "damaged";

/// A segment's file in the log's folder.
pub(super) fn path_of(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:012}.{EXTENSION}"))
}

/// The number in the name of a segment's file, be it in use or set aside.
pub(super) fn sequence_of(path: &Path) -> Option<u64> {
    let extension = path.extension()?;
    if extension != EXTENSION && extension != SET_ASIDE {
        return None;
    }
    path.file_stem()?.to_str()?.parse().ok()
}

/// Whether the file was set aside.
pub(super) fn is_set_aside(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == SET_ASIDE)
}

/// The marker before each frame. Never zero, so that what was never written is no frame.
pub(super) const fn marker(salt: u64) -> [u8; 4] {
    ((salt >> 32) as u32 | 1).to_le_bytes()
}

fn checksum(salt: u64, length: [u8; 4], position: [u8; 8], hit: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt as u32);
    hasher.update(&length);
    hasher.update(&position);
    hasher.update(hit);
    hasher.finalize()
}

/// Fills in the head of a frame: [`FRAME_HEAD`] bytes left free, then the hit.
pub(super) fn seal(frame: &mut [u8], salt: u64, position: Position) {
    if let Some((head, hit)) = frame.split_first_chunk_mut::<FRAME_HEAD>() {
        let length = (hit.len() as u32).to_le_bytes();
        let position = position.0.to_le_bytes();
        let crc = checksum(salt, length, position, hit).to_le_bytes();
        let fields = marker(salt).into_iter().chain(length).chain(crc).chain(position);
        for (byte, field) in head.iter_mut().zip(fields) {
            *byte = field;
        }
    }
}

/// How many bytes the frame at the start of `bytes` has, if it may be one.
pub(super) fn frame_size(bytes: &[u8], salt: u64) -> Option<usize> {
    let mut input = Input(bytes);
    if input.array().ok()? != marker(salt) {
        return None;
    }
    let length = u32::from_le_bytes(input.array().ok()?) as usize;
    (length <= MAX_HIT).then_some(FRAME_HEAD + length)
}

/// The position and the hit of a whole frame, if its checksum is right.
pub(super) fn open_frame(frame: &[u8], salt: u64) -> Option<(Position, &[u8])> {
    let mut input = Input(frame);
    input.array::<4>().ok()?;
    let length = input.array().ok()?;
    let crc = u32::from_le_bytes(input.array().ok()?);
    let position = input.array().ok()?;
    let hit = input.0;
    (checksum(salt, length, position, hit) == crc).then_some((Position(u64::from_le_bytes(position)), hit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    fn header() -> Header {
        let mut before = Tallies::default();
        before.set(
            DestinationId(3),
            Tally {
                accepted: 10,
                filtered: 2,
                consent_denied: 3,
                meant: 5,
            },
        );
        Header {
            sequence: 7,
            salt: 0x1234_5678_9abc_def0,
            first: Position(99),
            before,
        }
    }

    #[test]
    fn a_header_is_read_back_and_a_damaged_one_is_not() {
        let bytes = header().encode();
        assert_eq!(Header::decode(&bytes), Ok((header(), bytes.len() as u64)));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Header::decode(&damaged), Err(HeaderError::Damaged), "byte {at}");
            assert_eq!(Header::decode(&bytes[..at]), Err(HeaderError::Damaged));
        }
        assert_eq!(Header::decode(&header().encode_as(2)), Err(HeaderError::Version(2)));
    }

    #[test]
    fn a_frame_is_valid_only_whole_unchanged_and_under_its_salt() {
        let mut frame = vec![0; FRAME_HEAD];
        frame.extend_from_slice(b"hit");
        seal(&mut frame, 5 << 32, Position(12));
        assert_eq!(frame_size(&frame, 5 << 32), Some(frame.len()));
        assert_eq!(open_frame(&frame, 5 << 32), Some((Position(12), &b"hit"[..])));
        assert_eq!(frame_size(&frame, 6 << 32), None);
        assert_eq!(open_frame(&frame, 5 << 32 | 1), None);
        for at in 4..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x10;
            assert_eq!(open_frame(&damaged, 5 << 32), None, "byte {at}");
        }
    }

    #[test]
    fn a_file_name_tells_the_order() {
        let path = path_of(Path::new("/data/log"), 42);
        assert_eq!(sequence_of(&path), Some(42));
        assert_eq!(sequence_of(Path::new("registry.json")), None);
    }
}
