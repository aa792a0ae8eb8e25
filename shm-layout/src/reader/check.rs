//! Is this a segment, and exactly the one this version knows?

use super::bytes::{u32_at, u64_at};
use crate::class::{BUCKETS, CLASSES};
use crate::layout::*;
use core::fmt;
use core::mem::offset_of;

/// Why bytes are not a segment that can be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// Fewer bytes than the part asked for has.
    TooShort {
        /// Bytes that are needed.
        needed: usize,
        /// Bytes that were given.
        got: usize,
    },
    /// The first eight bytes are somebody else's.
    NotASegment,
    /// The process is still setting its segment up: the magic number is zero.
    NotReady,
    /// Written by a library with another layout.
    Version {
        /// Its layout version.
        found: u32,
    },
    /// The version is right, but a size or offset in the header is not what that version has.
    BadLayout(&'static str),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooShort { needed, got } => write!(f, "segment cut short: {got} bytes where {needed} are needed"),
            Self::NotASegment => f.write_str("not a statsalloc segment: wrong magic number"),
            Self::NotReady => f.write_str("segment not ready: the process is still setting it up"),
            Self::Version { found } => {
                write!(f, "segment has layout version {found}; this reader knows version {LAYOUT_VERSION}")
            }
            Self::BadLayout(what) => write!(f, "segment header contradicts layout version {LAYOUT_VERSION}: {what}"),
        }
    }
}

impl core::error::Error for ReadError {}

/// Checks everything that a version fixes.
pub(super) fn header(bytes: &[u8]) -> Result<(), ReadError> {
    if bytes.len() < size_of::<Header>() {
        return Err(ReadError::TooShort { needed: size_of::<Header>(), got: bytes.len() });
    }
    match u64_at(bytes, offset_of!(Header, magic)) {
        MAGIC => {}
        0 => return Err(ReadError::NotReady),
        _ => return Err(ReadError::NotASegment),
    }
    let found = u32_at(bytes, offset_of!(Header, layout_version));
    if found != LAYOUT_VERSION {
        return Err(ReadError::Version { found });
    }
    let wide = [
        (offset_of!(Header, segment_bytes), SEGMENT_BYTES, "segment_bytes"),
        (offset_of!(Header, rows_offset), ROWS_OFFSET, "rows_offset"),
    ];
    for (offset, known, name) in wide {
        if u64_at(bytes, offset) != known as u64 {
            return Err(ReadError::BadLayout(name));
        }
    }
    let slots = offset_of!(Header, totals_slots);
    let narrow = [
        (offset_of!(Header, header_bytes), size_of::<Header>(), "header_bytes"),
        (offset_of!(Header, globals_offset), GLOBALS_OFFSET, "globals_offset"),
        (offset_of!(Header, globals_bytes), size_of::<Globals>(), "globals_bytes"),
        (offset_of!(Header, classes_offset), CLASSES_OFFSET, "classes_offset"),
        (offset_of!(Header, class_count), CLASSES, "class_count"),
        (offset_of!(Header, bucket_count), BUCKETS, "bucket_count"),
        (offset_of!(Header, class_bytes), size_of::<ClassInfo>(), "class_bytes"),
        (offset_of!(Header, totals_offset), TOTALS_OFFSET, "totals_offset"),
        (offset_of!(Header, totals_bytes), size_of::<TotalsSlot>(), "totals_bytes"),
        (slots, SECONDS, "totals_slots[0]"),
        (slots + 4, MINUTES, "totals_slots[1]"),
        (slots + 8, HOURS, "totals_slots[2]"),
        (offset_of!(Header, class_ring_slots), CLASS_MINUTES, "class_ring_slots"),
        (offset_of!(Header, class_ring_offset), CLASS_RING_OFFSET, "class_ring_offset"),
        (offset_of!(Header, class_slot_bytes), size_of::<ClassSlot>(), "class_slot_bytes"),
        (offset_of!(Header, row_bytes), size_of::<Row>(), "row_bytes"),
        (offset_of!(Header, row_count), ROWS, "row_count"),
    ];
    for (offset, known, name) in narrow {
        if u32_at(bytes, offset) as usize != known {
            return Err(ReadError::BadLayout(name));
        }
    }
    Ok(())
}

/// Do both copies come from the same process?
pub(super) fn same_segment(first: &[u8], second: &[u8]) -> bool {
    let half = |offset| u32_at(first, offset) == u32_at(second, offset);
    let word = |offset| u64_at(first, offset) == u64_at(second, offset);
    half(offset_of!(Header, pid))
        && word(offset_of!(Header, start_ticks))
        && word(offset_of!(Header, created_realtime_ns))
        && word(offset_of!(Header, created_monotonic_ns))
}
