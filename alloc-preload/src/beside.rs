//! How heaps lie beside their rows: a heap takes as much room as a row, and behind as many heaps as there can be lies the
//! segment. So one distance leads from every heap to its row, known when this is compiled, and what it leads to takes no field
//! and no instruction. Where the first heap lies, and for how many there is room, stands here too: for the window, which reserves
//! the place, and the segment, which knows nothing of it.

use core::sync::atomic::{AtomicUsize, Ordering};
use shm_layout::layout::{ROWS, ROWS_OFFSET, Row};

/// Bytes from a heap to the next, and from a row to the next.
pub(crate) const HEAP: usize = size_of::<Row>();
/// Bytes from the first heap to the segment.
pub(crate) const SEGMENT: usize = ROWS * HEAP;
/// Bytes from a bin, at the start of its heap, to the counters of its class, at the start of the row's lines: both are as long.
pub(crate) const LINE: usize = SEGMENT + ROWS_OFFSET + core::mem::offset_of!(Row, lines);

static HEAPS: AtomicUsize = AtomicUsize::new(0);
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// From now on the first heap lies there. Said once, by whoever has reserved the place of all, and that of the segment.
pub(crate) fn begin_at(heaps: usize) {
    HEAPS.store(heaps, Ordering::Relaxed);
}

/// From now on there is room for so many heaps, and as many rows: at first, and later for fewer.
pub(crate) fn have(count: usize) {
    COUNT.store(count, Ordering::Relaxed);
}

/// Address of the first heap.
pub(crate) fn heaps() -> usize {
    HEAPS.load(Ordering::Relaxed)
}

/// Heaps that there is room for.
pub(crate) fn count() -> usize {
    COUNT.load(Ordering::Relaxed)
}

/// Where the segment lies.
pub(crate) fn segment() -> *mut u8 {
    (heaps() + SEGMENT) as *mut u8
}

/// Address of the counters that belong to the bin at this one.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn line_of(bin: usize) -> usize {
    const _: () = assert!(LINE <= i32::MAX as usize);
    bin + LINE
}

// There counters are longer than bins.
#[cfg(loom)]
pub(crate) use crate::world::line_of;
