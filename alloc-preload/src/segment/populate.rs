//! Memory behind the parts of a segment before they are touched. On a full tmpfs a plain store raises `SIGBUS`; asking
//! first fails cleanly. What is never used takes no memory, not even under `mlockall`: it is not accessible.

use super::Segment;
use crate::os::{self, Errno};
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use shm_layout::layout::*;

/// Header, globals, class table, and the ring of foreign callers.
const START_BYTES: usize = TOTALS_OFFSET;
/// Rows become accessible in steps of this many bytes.
const ACCESS_STEP: usize = 128 << 10;
/// Rows get memory in chunks of this many bytes: two rows.
const CHUNK: usize = 16 << 10;
const CHUNKS: usize = (SEGMENT_BYTES - ROWS_OFFSET).div_ceil(CHUNK);
const PAGE: usize = os::PAGE;

/// No row from this number on was ever asked for. Written under the central lock.
static ROWS_END: AtomicUsize = AtomicUsize::new(0);
/// A bit for every chunk of the rows that has memory behind it. Written under the central lock.
static ROW_CHUNKS: [AtomicU64; CHUNKS.div_ceil(64)] = [const { AtomicU64::new(0) }; CHUNKS.div_ceil(64)];
/// A bit for every page of the rings that has memory behind it.
static RING_PAGES: AtomicU64 = AtomicU64::new(0);
const _: () = assert!((ROWS_OFFSET - TOTALS_OFFSET) / PAGE <= 64);

/// Forgets about a segment this process no longer has.
pub(super) fn reset() {
    ROWS_END.store(0, Ordering::Relaxed);
    ROW_CHUNKS.iter().for_each(|chunks| chunks.store(0, Ordering::Relaxed));
    RING_PAGES.store(0, Ordering::Relaxed);
}

/// Opens up a new segment: everything before the rows, and the first of these; with memory behind its start and the
/// first chunk of rows only.
pub(super) fn start(segment: Segment) -> os::Result<()> {
    // SAFETY: the start of our mapping.
    unsafe {
        os::make_accessible(segment.base, accessible_end(0).min(segment.mapped()))?;
        memory(segment.base, START_BYTES)?;
    }
    segment.globals().metadata.add_shared(START_BYTES as u64);
    chunk(segment, 0)
}

/// Bytes of the segment that have memory behind them.
pub(crate) fn bytes() -> usize {
    let chunks: u32 = ROW_CHUNKS.iter().map(|chunks| chunks.load(Ordering::Relaxed).count_ones()).sum();
    START_BYTES + chunks as usize * CHUNK + RING_PAGES.load(Ordering::Relaxed).count_ones() as usize * PAGE
}

/// No row from this number on can be read.
pub(super) fn rows_end() -> usize {
    ROWS_END.load(Ordering::Acquire)
}

/// Bytes of the segment, from its start, that are accessible.
pub(super) fn accessible() -> usize {
    accessible_end(rows_end())
}

/// Whether row `i`, below [`rows_end`], can be read.
pub(super) fn has_row(i: usize) -> bool {
    chunks_of(i).all(has_chunk)
}

/// Sees to it that row `i` has memory behind it. The caller holds the central lock.
pub(super) fn row(segment: Segment, i: usize) -> bool {
    if i >= ROWS || ROWS_OFFSET + (i + 1) * size_of::<Row>() > segment.mapped() {
        return false;
    }
    let end = rows_end();
    if i >= end {
        let from = accessible_end(end).min(segment.mapped());
        let bytes = accessible_end(i + 1).min(segment.mapped()) - from;
        // SAFETY: within our mapping.
        if bytes != 0 && unsafe { os::make_accessible(segment.base.add(from), bytes) }.is_err() {
            return false;
        }
    }
    if !chunks_of(i).all(|n| has_chunk(n) || chunk(segment, n).is_ok()) {
        return false;
    }
    if i >= end {
        ROWS_END.store(i + 1, Ordering::Release);
        segment.globals().rows_used.raise_shared(i as u64 + 1);
    }
    true
}

/// The chunks in which row `i` lies.
fn chunks_of(i: usize) -> RangeInclusive<usize> {
    let from = i * size_of::<Row>();
    from / CHUNK..=(from + size_of::<Row>() - 1) / CHUNK
}

fn has_chunk(n: usize) -> bool {
    ROW_CHUNKS.get(n / 64).is_some_and(|chunks| chunks.load(Ordering::Acquire) >> (n % 64) & 1 != 0)
}

/// Puts memory behind chunk `n`, as far as it is mapped.
fn chunk(segment: Segment, n: usize) -> os::Result<()> {
    let from = ROWS_OFFSET + n * CHUNK;
    let bytes = CHUNK.min(segment.mapped().saturating_sub(from));
    // SAFETY: within the accessible part of our mapping, which ends on a multiple of chunks or with the mapping.
    unsafe { memory(segment.base.add(from), bytes) }?;
    if let Some(chunks) = ROW_CHUNKS.get(n / 64) {
        chunks.fetch_or(1 << (n % 64), Ordering::Release);
    }
    segment.globals().metadata.add_shared(bytes as u64);
    Ok(())
}

/// Sees to it that a part of the rings has memory behind it.
pub(super) fn ring(segment: Segment, offset: usize, bytes: usize) -> bool {
    debug_assert!(offset >= TOTALS_OFFSET && offset + bytes <= ROWS_OFFSET);
    (offset / PAGE..=(offset + bytes - 1) / PAGE).all(|page| {
        let bit = 1 << (page - TOTALS_OFFSET / PAGE);
        if RING_PAGES.load(Ordering::Relaxed) & bit != 0 {
            return true;
        }
        // SAFETY: the rings lie in the accessible part of our mapping.
        let done = unsafe { memory(segment.base.add(page * PAGE), PAGE) }.is_ok();
        if done && RING_PAGES.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            segment.globals().metadata.add_shared(PAGE as u64);
        }
        done
    })
}

/// Where the accessible part ends when rows before `end` are in use.
fn accessible_end(end: usize) -> usize {
    let bytes = (end * size_of::<Row>()).max(1);
    ROWS_OFFSET + ((bytes + ACCESS_STEP - 1) & !(ACCESS_STEP - 1))
}

/// Puts memory behind whole pages.
///
/// # Safety
/// The range lies in the accessible part of our mapping.
unsafe fn memory(address: *mut u8, bytes: usize) -> os::Result<()> {
    // SAFETY: the caller's.
    match unsafe { os::populate(address, bytes) } {
        // Kernels before 5.14, and sandboxes that allow only the advice they know.
        Err(Errno(libc::EINVAL | libc::EPERM | libc::ENOSYS)) => {
            // SAFETY: within the range; the segment is all atomics.
            (0..bytes).step_by(PAGE).try_for_each(|at| os::touch(unsafe { &*address.add(at).cast::<AtomicU32>() }))
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_lies_in_accessible_chunks() {
        for i in 0..ROWS {
            let (first, last) = chunks_of(i).into_inner();
            assert!(first * CHUNK <= i * size_of::<Row>() && last - first <= 1);
            assert!((last + 1) * CHUNK >= (i + 1) * size_of::<Row>());
            assert!(ROWS_OFFSET + (last + 1) * CHUNK <= accessible_end(i + 1));
            assert!(last < CHUNKS);
        }
        assert_eq!(chunks_of(1), 0..=0);
        assert_eq!(accessible_end(0), ROWS_OFFSET + ACCESS_STEP);
        assert_eq!(accessible_end(1), ROWS_OFFSET + ACCESS_STEP);
    }
}
