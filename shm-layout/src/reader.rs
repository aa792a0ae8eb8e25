//! Untrusted bytes in, a checked snapshot or a precise error out.
//!
//! Nothing here panics, loops without end or reads outside the bytes given, whatever they hold. Offsets and sizes in
//! the header are compared with the ones this version knows and then never used again. Sums wrap and differences
//! stop at zero, so that a hostile counter is only a wrong number.

mod bytes;
mod check;
mod rings;
mod rows;
#[cfg(test)]
mod tests;

pub use check::ReadError;
pub use rings::{ForeignCaller, Misuse, ModuleCopy, Ring, TotalsCopy};
pub use rows::{LineTotals, RowView};

use crate::layout::{CLASSES_OFFSET, GLOBALS_OFFSET, Globals, Header, ROWS, ROWS_OFFSET, Row};
use bytes::{u32_at, u64_at};
use core::mem::offset_of;

/// A checked view of two copies of one segment.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    first: &'a [u8],
    second: &'a [u8],
    rows: usize,
}

/// Who wrote the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity<'a> {
    /// The process's PID in its own PID namespace.
    pub pid: u32,
    /// Effective user at the start.
    pub uid: u32,
    /// Inode of the PID namespace; 0 if unknown.
    pub pid_namespace: u64,
    /// Start time in clock ticks since boot; 0 if unknown.
    pub start_ticks: u64,
    /// When the segment was made, `CLOCK_REALTIME` in nanoseconds.
    pub created_realtime_ns: u64,
    /// When the segment was made, `CLOCK_MONOTONIC` in nanoseconds.
    pub created_monotonic_ns: u64,
    /// Address of the window in which all blocks lie.
    pub window_address: u64,
    /// Size of the window in bytes.
    pub window_bytes: u64,
    /// Address of the allocator's own tables.
    pub tables_address: u64,
    /// Address range of the tables in bytes.
    pub tables_bytes: u64,
    /// PID of the process this one was forked from; 0 for a fresh program.
    pub forked_from: u32,
    /// PID of the parent when the segment was made; 0 if unknown.
    pub parent: u32,
    /// Decay time of cached memory in milliseconds.
    pub decay_ms: u32,
    /// Path of the executable: any bytes, at most 256.
    pub executable: &'a [u8],
}

macro_rules! globals_copy {
    ($($field:ident),* $(,)?) => {
        /// Plain values of [`Globals`], field by field; see there for their meaning.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        #[allow(missing_docs, reason = "each field is documented in `Globals`")]
        pub struct GlobalsCopy {
            $(pub $field: u64),*
        }

        impl GlobalsCopy {
            fn read(segment: &[u8]) -> Self {
                Self { $($field: u64_at(segment, GLOBALS_OFFSET + offset_of!(Globals, $field))),* }
            }
        }
    };
}

globals_copy! {
    ended, rows_used, threads_started, threads_ended, threads_without_row, peak_requested, peak_allocated,
    peak_error, committed, metadata, cached, purged, purges, retained, stranded, adopted, page_moves,
    foreign_frees, double_frees, invalid_frees, corruptions, misuse_events, flushed_requested,
    flushed_allocated, last_second,
}

impl<'a> Reader<'a> {
    /// Checks two copies of the same segment's used part, taken one after the other.
    ///
    /// What left the heap (`freed`, `capacity_out`, `slabs_out` of every line) is taken from `first`,
    /// everything else from `second`, so no difference between the two is ever negative. With only one copy at
    /// hand, pass it twice.
    pub fn new(first: &'a [u8], second: &'a [u8]) -> Result<Self, ReadError> {
        check::header(first)?;
        check::header(second)?;
        let got = first.len().min(second.len());
        if got < ROWS_OFFSET {
            return Err(ReadError::TooShort { needed: ROWS_OFFSET, got });
        }
        if !check::same_segment(first, second) {
            return Err(ReadError::BadLayout("the two copies are of different segments"));
        }
        let held = (second.len() - ROWS_OFFSET) / size_of::<Row>();
        Ok(Self { first, second, rows: rows_used(second).min(held) })
    }

    /// How many bytes of a segment are worth copying: from the header to the end of the last used row. `head` is at
    /// least the segment's first [`CLASSES_OFFSET`] bytes.
    pub fn used_bytes(head: &[u8]) -> Result<usize, ReadError> {
        check::header(head)?;
        if head.len() < CLASSES_OFFSET {
            return Err(ReadError::TooShort { needed: CLASSES_OFFSET, got: head.len() });
        }
        Ok(ROWS_OFFSET + rows_used(head) * size_of::<Row>())
    }

    /// Rows in use for which the second copy has no room: threads that came while it was taken. Where this is not 0,
    /// copy again for complete totals.
    pub fn rows_missing(&self) -> usize {
        rows_used(self.second).saturating_sub(self.rows)
    }

    /// Who wrote the segment.
    pub fn identity(&self) -> Identity<'a> {
        let path = offset_of!(Header, executable);
        let longest = size_of::<Header>() - path;
        let used = (u32_at(self.second, offset_of!(Header, executable_len)) as usize).min(longest);
        let word = |offset| u64_at(self.second, offset);
        let half = |offset| u32_at(self.second, offset);
        Identity {
            pid: half(offset_of!(Header, pid)),
            uid: half(offset_of!(Header, uid)),
            pid_namespace: word(offset_of!(Header, pid_namespace)),
            start_ticks: word(offset_of!(Header, start_ticks)),
            created_realtime_ns: word(offset_of!(Header, created_realtime_ns)),
            created_monotonic_ns: word(offset_of!(Header, created_monotonic_ns)),
            window_address: word(offset_of!(Header, window_address)),
            window_bytes: word(offset_of!(Header, window_bytes)),
            tables_address: word(offset_of!(Header, tables_address)),
            tables_bytes: word(offset_of!(Header, tables_bytes)),
            forked_from: half(offset_of!(Header, forked_from)),
            parent: half(offset_of!(Header, parent)),
            decay_ms: half(offset_of!(Header, decay_ms)),
            executable: self.second.get(path..path + used).unwrap_or_default(),
        }
    }

    /// The process-wide counters, as the second copy has them; `cached` with what the rows have kept.
    pub fn globals(&self) -> GlobalsCopy {
        let globals = GlobalsCopy::read(self.second);
        let cached = (0..self.rows).map(|row| self.kept(row)).fold(globals.cached, u64::saturating_add);
        GlobalsCopy { cached, ..globals }
    }
}

/// Rows that the segment says are in use, as many as it can have.
fn rows_used(segment: &[u8]) -> usize {
    let used = u64_at(segment, GLOBALS_OFFSET + offset_of!(Globals, rows_used));
    usize::try_from(used).unwrap_or(ROWS).min(ROWS)
}
