//! The open segment: canonical records in frames, as they lie in `LOG/open/<instance>.<n>.seg`.
//!
//! ```text
//! header   "TOLLSEG\0", format u32, first seq u64, length of the instance's name u16, the name,
//!          CRC32C u32 of all that
//! frame    length u32, CRC32C u32 of the four length bytes and the record, canonical record
//! ```
//!
//! Numbers are little-endian. The checksum covers the length too, so that a file which a crash left
//! full of zeros doesn't read as empty frames. A process that is killed while it appends leaves a
//! torn end: one last frame that is short or was never finished, and nothing good after it. A bad
//! frame with good ones behind it was damaged later, and must not be taken for a torn end, because
//! cutting there would drop acknowledged records.

use std::ops::Range;

use tollbook_engine::Event;

/// Most bytes of one record. A longer one is refused when it is appended.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// Longest name of an instance, in bytes.
pub const INSTANCE_BYTES_MAX: usize = 120;

const MAGIC: &[u8; 8] = b"TOLLSEG\0";
const FRAME_HEADER_BYTES: usize = 8;
/// How far behind a bad frame a good one is looked for, in bytes: a frame and its neighbour.
const RESYNC_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Most bytes that looking for a good frame may check, so that no file makes it slow.
const RESYNC_WORK_MAX: usize = 256 << 20;
/// The first byte of every record: a CBOR array of three, see [`Event`].
const RECORD_FIRST_BYTE: u8 = 0x83;

/// Why a file isn't a segment that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It ends inside the header, so nothing was ever acknowledged from it.
    #[error("the file ends inside its header, at byte {0}")]
    Short(usize),
    /// It is something else.
    #[error("the file doesn't begin as a segment does")]
    NotASegment,
    /// It was written by a newer version.
    #[error("the segment has format {found}; this version reads formats up to {FORMAT}")]
    Newer {
        /// The format that the file states.
        found: u32,
    },
    /// The header fails its checksum.
    #[error("the segment's header is damaged")]
    Damaged,
}

/// What a segment holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The process that wrote it.
    pub instance: String,
    /// Sequence number of the first record.
    pub first_seq: u64,
    /// The canonical records, in order without gaps.
    pub records: Vec<&'a [u8]>,
    /// How the file ends.
    pub end: SegmentEnd,
}

impl Segment<'_> {
    /// The sequence number after the last record.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.first_seq.saturating_add(self.records.len() as u64)
    }
}

/// How a segment's file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SegmentEnd {
    /// After a whole frame.
    Clean,
    /// Inside a frame, with nothing good behind it: what a crash leaves.
    Torn {
        /// Where the bad frame begins.
        at: usize,
        /// What is wrong with it.
        why: FrameFault,
    },
    /// A bad frame in the middle: damage.
    Damaged {
        /// Where the bad frame begins.
        at: usize,
        /// What is wrong with it.
        why: FrameFault,
        /// Where a good frame begins behind it, or the bad frame itself where its checksum is right.
        good_at: usize,
    },
}

/// What is wrong with a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    /// The file ends inside it.
    #[error("short frame: {have} of {want} bytes")]
    Short {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the frame needs.
        want: usize,
    },
    /// Its length is zero or beyond the bound.
    #[error("a frame of {0} bytes, where 1 to {FRAME_BYTES_MAX} are possible")]
    Length(usize),
    /// Its bytes aren't those that were written.
    #[error("bad checksum")]
    Checksum,
    /// Its bytes are as written and aren't a record that this version reads.
    #[error("undecodable record: {0}")]
    Undecodable(String),
    /// It is the wrong record.
    #[error("record {found} where {expected} was expected")]
    Sequence {
        /// The record's sequence number.
        found: u64,
        /// The one that follows the record before it.
        expected: u64,
    },
}

/// The header of a segment.
#[must_use]
pub fn header(instance: &str, first_seq: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + instance.len());
    bytes.extend(MAGIC);
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(first_seq.to_le_bytes());
    bytes.extend(u16::try_from(instance.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend(instance.as_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// Appends the frame of the record that `write` appends, and tells where the record stands.
///
/// # Errors
/// Where the record is empty or longer than [`FRAME_BYTES_MAX`]: its size. Nothing was appended then.
pub fn frame_into(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<Range<usize>, usize> {
    let frame = out.len();
    out.extend_from_slice(&[0; FRAME_HEADER_BYTES]);
    let start = out.len();
    write(out);
    let record = out.get(start..).unwrap_or_default();
    let bytes = record.len();
    let Some(length) = u32::try_from(bytes).ok().filter(|_| (1..=FRAME_BYTES_MAX).contains(&bytes)) else {
        out.truncate(frame);
        return Err(bytes);
    };
    let length = length.to_le_bytes();
    let header = length.into_iter().chain(checksum(length, record).to_le_bytes());
    out.iter_mut().skip(frame).zip(header).for_each(|(place, byte)| *place = byte);
    Ok(start..out.len())
}

/// Reads a segment up to its end.
///
/// # Errors
/// Where the header isn't one that this version reads. A bad frame is no error: see [`SegmentEnd`].
pub fn read(bytes: &[u8]) -> Result<Segment<'_>, HeaderError> {
    let (instance, first_seq, mut at) = read_header(bytes)?;
    let mut segment = Segment { instance, first_seq, records: Vec::new(), end: SegmentEnd::Clean };
    while at < bytes.len() {
        let read = frame_at(bytes, at).and_then(|record| {
            let expected = segment.next_seq();
            match Event::from_bytes(record) {
                Ok(event) if event.seq == expected => Ok(record),
                Ok(event) => Err(FrameFault::Sequence { found: event.seq, expected }),
                Err(error) => Err(FrameFault::Undecodable(error)),
            }
        });
        match read {
            Ok(record) => {
                at += FRAME_HEADER_BYTES + record.len();
                segment.records.push(record);
            }
            Err(why) => {
                segment.end = bad_frame(bytes, at, why);
                break;
            }
        }
    }
    Ok(segment)
}

/// A torn end, or damage? A frame whose checksum is right was written as it is, so it isn't torn.
fn bad_frame(bytes: &[u8], at: usize, why: FrameFault) -> SegmentEnd {
    let whole = matches!(why, FrameFault::Undecodable(_) | FrameFault::Sequence { .. });
    let good_at = if whole { Some(at) } else { next_good(bytes, at + 1) };
    match good_at {
        Some(good_at) => SegmentEnd::Damaged { at, why, good_at },
        None => SegmentEnd::Torn { at, why },
    }
}

fn next_good(bytes: &[u8], from: usize) -> Option<usize> {
    let mut work_left = RESYNC_WORK_MAX;
    let end = bytes.len().min(from.saturating_add(RESYNC_BYTES_MAX));
    for at in from..end {
        if bytes.get(at + FRAME_HEADER_BYTES) != Some(&RECORD_FIRST_BYTE) {
            continue;
        }
        let Some(length) = frame_length(bytes, at) else { continue };
        if length > FRAME_BYTES_MAX || at + FRAME_HEADER_BYTES + length > bytes.len() {
            continue;
        }
        work_left = work_left.checked_sub(length)?;
        if frame_at(bytes, at).is_ok_and(|record| Event::from_bytes(record).is_ok()) {
            return Some(at);
        }
    }
    None
}

fn frame_length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

/// The record in the frame at `at`, its checksum right.
fn frame_at(bytes: &[u8], at: usize) -> Result<&[u8], FrameFault> {
    let rest = bytes.get(at..).unwrap_or_default();
    let short = |want| FrameFault::Short { have: rest.len(), want };
    let (head, body) = rest.split_at_checked(FRAME_HEADER_BYTES).ok_or_else(|| short(FRAME_HEADER_BYTES))?;
    let &[l0, l1, l2, l3, c0, c1, c2, c3] = head else { return Err(short(FRAME_HEADER_BYTES)) };
    let length_bytes = [l0, l1, l2, l3];
    let length = usize::try_from(u32::from_le_bytes(length_bytes)).unwrap_or(usize::MAX);
    if !(1..=FRAME_BYTES_MAX).contains(&length) {
        return Err(FrameFault::Length(length));
    }
    let record = body.get(..length).ok_or_else(|| short(FRAME_HEADER_BYTES + length))?;
    if checksum(length_bytes, record) == u32::from_le_bytes([c0, c1, c2, c3]) {
        Ok(record)
    } else {
        Err(FrameFault::Checksum)
    }
}

fn checksum(length: [u8; 4], record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), record)
}

/// The instance, the first sequence number, and where the frames begin.
fn read_header(bytes: &[u8]) -> Result<(String, u64, usize), HeaderError> {
    let short = || HeaderError::Short(bytes.len());
    let start = MAGIC.len().min(bytes.len());
    if bytes.get(..start) != MAGIC.get(..start) {
        return Err(HeaderError::NotASegment);
    }
    let format = u32::from_le_bytes(*chunk(bytes, 8).ok_or_else(short)?);
    if format > FORMAT {
        return Err(HeaderError::Newer { found: format });
    }
    let first_seq = u64::from_le_bytes(*chunk(bytes, 12).ok_or_else(short)?);
    let name_bytes = usize::from(u16::from_le_bytes(*chunk(bytes, 20).ok_or_else(short)?));
    if format == 0 || name_bytes > INSTANCE_BYTES_MAX {
        return Err(HeaderError::Damaged);
    }
    let end = 22 + name_bytes;
    let sum = u32::from_le_bytes(*chunk(bytes, end).ok_or_else(short)?);
    let covered = bytes.get(..end).ok_or_else(short)?;
    let name = covered.get(22..).and_then(|name| std::str::from_utf8(name).ok());
    match name {
        Some(name) if crc32c::crc32c(covered) == sum => Ok((name.to_owned(), first_seq, end + 4)),
        _ => Err(HeaderError::Damaged),
    }
}

fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

#[cfg(test)]
mod tests;
