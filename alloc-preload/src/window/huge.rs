//! Huge pages for chunks that are filled: where nearly every page has memory already, one that spans the chunk costs no
//! more of it, and spares the processor most of its walks through page tables.
//!
//! What is counted here is a hint. A chunk that is made huge by mistake costs a few pages.

use super::{CHUNK, CHUNK_UNITS, LARGEST, UnitIndex, WINDOW};
use crate::os;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Of a chunk's units, so many belong to slabs whose every block has been carved; and whether it was made huge since.
static FILLED: [AtomicU8; LARGEST / CHUNK] = [const { AtomicU8::new(0) }; LARGEST / CHUNK];
const DONE: u8 = 0x80;

/// The same over all chunks.
static ALL: AtomicU32 = AtomicU32::new(0);

/// Units that make a chunk worth it: the others may be empty, and cost a fifteenth at most.
const NEARLY_ALL: u8 = (CHUNK_UNITS - CHUNK_UNITS / 16) as u8;

/// The chunk to look at next.
static CURSOR: AtomicU32 = AtomicU32::new(0);
/// Chunks looked at in one go.
const LOOK: usize = 64;

/// Where the window ended at the last fork: below, pages may be shared with a child or a parent, and would be copied.
static SHARED: AtomicU32 = AtomicU32::new(0);

/// Nothing is tried before this time, in monotonic ns.
static NOT_BEFORE: AtomicU64 = AtomicU64::new(0);
/// How long to wait when the kernel has no huge page, in ns.
const PAUSE: u64 = 1_000_000_000;

/// Heeds an administrator who wants no huge pages at all: the kernel would give them on request all the same.
pub(crate) fn heed_system() {
    let Ok(fd) = os::open(c"/sys/kernel/mm/transparent_hugepage/enabled", libc::O_RDONLY, 0) else { return };
    let mut says = [0; 64];
    let length = os::read(fd, &mut says).unwrap_or(0);
    os::close(fd);
    const NEVER: &[u8] = b"[never]";
    if says.get(..length).is_some_and(|says| says.windows(NEVER.len()).any(|word| word == NEVER)) {
        NOT_BEFORE.store(u64::MAX, Ordering::Relaxed);
    }
}

/// Units of slabs whose every block has been carved.
pub(crate) fn filled_units() -> usize {
    ALL.load(Ordering::Relaxed) as usize
}

/// All blocks of a slab have been carved.
pub(crate) fn filled(first: UnitIndex, units: usize) {
    ALL.fetch_add(units as u32, Ordering::Relaxed);
    for unit in first.0..first.0 + units as u32 {
        chunk_of(unit).fetch_add(1, Ordering::Relaxed);
    }
}

/// A slab whose blocks had all been carved is none any more; its memory may be purged from now on.
pub(crate) fn emptied(first: UnitIndex, units: usize) {
    ALL.fetch_sub(units as u32, Ordering::Relaxed);
    for unit in first.0..first.0 + units as u32 {
        let counted = chunk_of(unit);
        let left = (counted.load(Ordering::Relaxed) & !DONE).saturating_sub(1);
        counted.store(left, Ordering::Relaxed);
    }
}

/// The process has forked, or is a child.
pub(crate) fn forked() {
    SHARED.store(WINDOW.end().0, Ordering::Relaxed);
}

/// Makes one filled chunk huge, if there is one: about 0.6 ms.
pub(crate) fn collapse_one(now: u64) {
    if WINDOW.is_chunked() || now < NOT_BEFORE.load(Ordering::Relaxed) {
        return;
    }
    let shared = SHARED.load(Ordering::Relaxed).div_ceil(CHUNK_UNITS as u32);
    let end = WINDOW.end().0 / CHUNK_UNITS as u32;
    for _ in 0..LOOK {
        let chunk = CURSOR.load(Ordering::Relaxed).max(shared);
        if chunk >= end {
            CURSOR.store(0, Ordering::Relaxed);
            return;
        }
        CURSOR.store(chunk + 1, Ordering::Relaxed);
        let first = chunk * CHUNK_UNITS as u32;
        let counted = chunk_of(first);
        let seen = counted.load(Ordering::Relaxed);
        if !(NEARLY_ALL..DONE).contains(&seen) {
            continue;
        }
        // SAFETY: a committed chunk; its contents stay.
        match unsafe { os::collapse(WINDOW.address(UnitIndex(first)), CHUNK) } {
            Ok(()) => drop(counted.compare_exchange(seen, seen | DONE, Ordering::Relaxed, Ordering::Relaxed)),
            Err(os::Errno(libc::EINVAL | libc::ENOSYS)) => NOT_BEFORE.store(u64::MAX, Ordering::Relaxed),
            Err(_) => NOT_BEFORE.store(now.saturating_add(PAUSE), Ordering::Relaxed),
        }
        return;
    }
}

fn chunk_of(unit: u32) -> &'static AtomicU8 {
    // The window has no more chunks than the table; the remainder spares the check.
    #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
    &FILLED[unit as usize / CHUNK_UNITS % FILLED.len()]
}
