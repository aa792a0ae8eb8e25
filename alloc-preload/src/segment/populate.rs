//! Memory behind the parts of a segment before they are touched. On a full tmpfs a plain store raises `SIGBUS`; asking
//! first fails cleanly. What is never used takes no memory, not even under `mlockall`: it is not accessible.

use super::Segment;
use crate::os::{self, Errno};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use shm_layout::layout::*;

/// Header, globals and class table.
const START_BYTES: usize = TOTALS_OFFSET;
/// Rows become accessible in steps of this many bytes.
const ACCESS_STEP: usize = 128 << 10;
/// Rows get memory in steps of this many bytes: two or so at first, then ten.
const FIRST_STEP: usize = 16 << 10;
const LATER_STEP: usize = 64 << 10;
const PAGE: usize = os::PAGE;

/// Rows `0..ROWS_READY` have memory behind them. Written under the central lock.
static ROWS_READY: AtomicUsize = AtomicUsize::new(0);
/// A bit for every page of the rings that has memory behind it.
static RING_PAGES: AtomicU64 = AtomicU64::new(0);
const _: () = assert!((ROWS_OFFSET - TOTALS_OFFSET) / PAGE <= 64);

/// Forgets about a segment this process no longer has.
pub(super) fn reset() {
    ROWS_READY.store(0, Ordering::Relaxed);
    RING_PAGES.store(0, Ordering::Relaxed);
}

/// Opens up a new segment: everything before the rows, and the first of these; with memory behind its start only.
pub(super) fn start(segment: Segment) -> os::Result<()> {
    let accessible = (ROWS_OFFSET + ACCESS_STEP).min(segment.mapped);
    // SAFETY: the start of our mapping.
    unsafe {
        os::commit(segment.base, accessible)?;
        memory(segment.base, START_BYTES)?;
    }
    segment.globals().metadata.add_shared(START_BYTES as u64);
    Ok(())
}

/// How many rows can be read.
pub(super) fn rows_ready() -> usize {
    ROWS_READY.load(Ordering::Acquire)
}

/// Sees to it that the first `wanted` rows have memory behind them. The caller holds the central lock.
pub(super) fn rows(segment: Segment, wanted: usize) -> bool {
    let ready = rows_ready();
    if wanted <= ready {
        return true;
    }
    if wanted > ROWS || ROWS_OFFSET + wanted * size_of::<Row>() > segment.mapped {
        return false;
    }
    let range = |end: fn(usize) -> usize| {
        let from = end(ready).min(segment.mapped);
        (segment.base.wrapping_add(from), end(wanted).min(segment.mapped) - from)
    };
    let (address, bytes) = range(accessible_end);
    // SAFETY: within our mapping.
    if bytes != 0 && unsafe { os::commit(address, bytes) }.is_err() {
        return false;
    }
    let (address, bytes) = range(memory_end);
    // SAFETY: within the accessible part of our mapping.
    if bytes != 0 && unsafe { memory(address, bytes) }.is_err() {
        return false;
    }
    ROWS_READY.store(wanted, Ordering::Release);
    let globals = segment.globals();
    globals.metadata.add_shared(bytes as u64);
    globals.rows_used.raise_shared(wanted as u64);
    true
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

/// Where the accessible part ends when `rows` are in use.
fn accessible_end(rows: usize) -> usize {
    ROWS_OFFSET + round_up((rows * size_of::<Row>()).max(1), ACCESS_STEP)
}

/// Where the memory ends when `rows` are in use.
fn memory_end(rows: usize) -> usize {
    let bytes = rows * size_of::<Row>();
    ROWS_OFFSET + if bytes <= ACCESS_STEP { round_up(bytes, FIRST_STEP) } else { round_up(bytes, LATER_STEP) }
}

/// `step` is a power of two.
fn round_up(bytes: usize, step: usize) -> usize {
    (bytes + step - 1) & !(step - 1)
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
    fn memory_never_reaches_beyond_the_accessible_part() {
        for rows in 0..=ROWS {
            assert!(memory_end(rows) <= accessible_end(rows));
            assert!(memory_end(rows) >= ROWS_OFFSET + rows * size_of::<Row>());
            assert!(rows == 0 || memory_end(rows) >= memory_end(rows - 1));
        }
        assert_eq!(accessible_end(0), ROWS_OFFSET + ACCESS_STEP);
        assert_eq!(memory_end(0), ROWS_OFFSET);
        assert_eq!(memory_end(2), ROWS_OFFSET + FIRST_STEP);
    }
}
