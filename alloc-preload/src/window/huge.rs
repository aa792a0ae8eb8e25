//! Huge pages for chunks that are filled: where nearly every page has memory already, one that spans the chunk costs
//! little more of it, and spares the processor most of its walks through page tables.
//!
//! What is counted here is a hint. A chunk that is made huge by mistake costs a few pages.

use super::{CHUNK, CHUNK_UNITS, UNIT_PAGES, UnitIndex, WINDOW};
use crate::clock;
use crate::options::{Huge, options};
use crate::os::{self, Errno, PAGE};
use crate::segment;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// In a chunk's count of filled pages: it was made huge since, or cannot be.
const DONE: u16 = 0x8000;
/// Likewise: pages of it have gone, and what was huge is in pieces.
const SPLIT: u16 = 0x4000;

/// Pages of slabs that have been carved to the end, over all chunks.
static ALL: AtomicU64 = AtomicU64::new(0);

/// Pages of a chunk.
pub(crate) const CHUNK_PAGES: usize = CHUNK / PAGE;
/// Pages that make a chunk worth it: the others, an eighth at most, are what the huge page costs.
const NEARLY_ALL: u16 = (CHUNK_PAGES - CHUNK_PAGES / 8) as u16;

/// The chunk to look at next.
static CURSOR: AtomicU32 = AtomicU32::new(0);
/// Chunks looked at in one go.
const LOOK: usize = 64;

/// Where the window ended at the last fork: below, pages may be shared with a child or a parent, and would be copied.
static SHARED: AtomicU32 = AtomicU32::new(0);

/// Nothing is tried before this time, in monotonic ns.
static NOT_BEFORE: AtomicU64 = AtomicU64::new(0);
/// How long to wait when the kernel has no huge page, or a new one has cost too much, in ns.
const PAUSE: u64 = 1_000_000_000;
/// From this many ns on a huge page is dear: ten times what it takes to clear one. In a virtual machine that gives free
/// memory back to its host, that has to come from there again, and it is the large free pieces that were given back.
const DEAR: u64 = 2_000_000;

/// No chunk is collapsed before this time, in monotonic ns, unless the user wants all that are filled. 0: nobody has asked.
static DUE: AtomicU64 = AtomicU64::new(0);
/// How many ns go by for each that collapsing took: it is worth it for a program that goes on for long, and costs any other
/// one no more than a hundredth of its time.
const PATIENCE: u64 = 100;
/// What the first one is expected to take, in ns: as long as where huge pages are dear.
const EXPECTED: u64 = 5_000_000;

/// Whether the administrator's wish is known.
static HEEDED: AtomicBool = AtomicBool::new(false);

/// Heeds an administrator who wants no huge pages at all: the kernel would give them on request all the same. Asked by who first has a
/// use for one, or is about to forbid himself the question; most processes end before.
pub(crate) fn heed_system() {
    if !HEEDED.load(Ordering::Relaxed) {
        ask_system();
    }
}

#[inline(never)]
fn ask_system() {
    let fd = match os::open(c"/sys/kernel/mm/transparent_hugepage/enabled", libc::O_RDONLY, 0) {
        Ok(fd) => fd,
        // A kernel without huge pages.
        Err(Errno(libc::ENOENT)) => return HEEDED.store(true, Ordering::Relaxed),
        // None until it can be told.
        Err(_) => {
            NOT_BEFORE.fetch_max(clock::last().saturating_add(PAUSE), Ordering::Relaxed);
            return;
        }
    };
    let mut says = [0; 64];
    let length = os::read(fd, &mut says).unwrap_or(0);
    os::close(fd);
    const NEVER: &[u8] = b"[never]";
    if says.get(..length).is_some_and(|says| says.windows(NEVER.len()).any(|word| word == NEVER)) {
        NOT_BEFORE.store(u64::MAX, Ordering::Relaxed);
    }
    // Afterwards: a child that is forked in between asks again.
    HEEDED.store(true, Ordering::Relaxed);
}

/// Whether huge pages are wished for, and neither missing nor dear at present, as far as is known.
pub(crate) fn are_worth_it() -> bool {
    heed_system();
    has_no_pause()
}

fn has_no_pause() -> bool {
    clock::last() >= NOT_BEFORE.load(Ordering::Relaxed)
}

/// Does what brings a new huge page, and sees whether it is dear.
pub(crate) fn bring(work: impl FnOnce()) {
    if timed(work).1 >= DEAR && options().huge == Huge::Auto {
        NOT_BEFORE.fetch_max(clock::read().saturating_add(PAUSE), Ordering::Relaxed);
    }
}

/// Does something, and sees how many ns of the thread's time it takes: not what it waits for a processor. None where a filter
/// may end the process for the question.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    if segment::is_filtered() {
        return (work(), 0);
    }
    let start = os::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
    let result = work();
    (result, os::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(start))
}

/// Whether a chunk may be collapsed now.
fn is_due(now: u64) -> bool {
    let due = DUE.load(Ordering::Relaxed);
    if due == 0 {
        put_off(now, EXPECTED);
    }
    options().huge != Huge::Auto || due != 0 && due <= now
}

/// Collapsing a chunk has taken so many ns.
fn put_off(now: u64, took: u64) {
    DUE.store(now.saturating_add(took.saturating_mul(PATIENCE)), Ordering::Relaxed);
}

/// Pages of slabs that have been carved to the end.
pub(crate) fn filled_pages() -> usize {
    ALL.load(Ordering::Relaxed) as usize
}

/// The pages `from..to` of a slab. They count once it is filled, carved to the end, and not one by one before: a locked
/// instruction waits until all that the program has written has left the processor's buffers.
pub(crate) struct Part {
    pub(crate) slab: UnitIndex,
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) is_filled: bool,
}

impl Part {
    /// They have memory, and count from now on.
    pub(crate) fn fill(self) {
        self.add(|_| 0);
    }

    /// They are in use no more; their memory may be purged from now on.
    pub(crate) fn empty(self) {
        self.sub(|chunk| chunk.fetch_and(!(DONE | SPLIT), Ordering::Relaxed));
    }

    /// As many have gone: the chunk is not made huge now, which would bring them back.
    pub(crate) fn lose(self) {
        self.sub(|chunk| chunk.fetch_or(SPLIT, Ordering::Relaxed));
    }

    /// As many that had gone are in use again.
    pub(crate) fn regain(self) {
        self.add(|chunk| chunk.fetch_and(!SPLIT, Ordering::Relaxed));
    }

    fn add(self, then: impl Fn(&AtomicU16) -> u16) {
        ALL.fetch_add(self.counted(self.to - self.from) as u64, Ordering::Relaxed);
        self.by_chunk(|chunk, pages| {
            chunk.fetch_add(self.counted(pages) as u16, Ordering::Relaxed);
            then(chunk);
        });
    }

    fn sub(self, then: impl Fn(&AtomicU16) -> u16) {
        ALL.fetch_sub(self.counted(self.to - self.from) as u64, Ordering::Relaxed);
        self.by_chunk(|chunk, pages| {
            chunk.fetch_sub(self.counted(pages) as u16, Ordering::Relaxed);
            then(chunk);
        });
    }

    fn counted(&self, pages: usize) -> usize {
        if self.is_filled { pages } else { 0 }
    }

    /// Shows the chunks in which they lie, with how many of them.
    fn by_chunk(&self, each: impl Fn(&AtomicU16, usize)) {
        let first = self.slab.0 as usize * UNIT_PAGES;
        let (mut page, end) = (first + self.from, first + self.to);
        while page < end {
            let pages = (end - page).min(CHUNK_PAGES - page % CHUNK_PAGES);
            // SAFETY: a slab's units are committed.
            each(unsafe { &WINDOW.chunk(UnitIndex((page / UNIT_PAGES) as u32)).filled }, pages);
            page += pages;
        }
    }
}

/// Pages in the chunk of this unit are about to go. Where huge pages were asked for from the start the kernel (`khugepaged`)
/// would bring them back, so they are asked for no more.
pub(crate) fn thinned(unit: UnitIndex) {
    // SAFETY: callers have a slab there, whose units are committed.
    if unsafe { WINDOW.chunk(unit) }.huge.swap(false, Ordering::Relaxed) {
        let first = UnitIndex(unit.0 / CHUNK_UNITS as u32 * CHUNK_UNITS as u32);
        // SAFETY: a committed chunk.
        let _ = unsafe { os::advise_no_huge(WINDOW.address(first), CHUNK) };
    }
}

/// Whether a huge page may be behind this unit.
pub(crate) fn is_huge(unit: UnitIndex) -> bool {
    // SAFETY: callers have a slab there, whose units are committed.
    let chunk = unsafe { WINDOW.chunk(unit) };
    let filled = chunk.filled.load(Ordering::Relaxed);
    filled & SPLIT == 0 && (filled & DONE != 0 || chunk.huge.load(Ordering::Relaxed))
}

/// The process has forked, or is a child.
pub(crate) fn forked() {
    SHARED.store(WINDOW.end().0, Ordering::Relaxed);
}

/// Makes one filled chunk huge, if there is one: 0.3 to 0.6 ms, or about 5 where huge pages are dear.
pub(crate) fn collapse_one(now: u64) {
    if WINDOW.is_chunked() || now < NOT_BEFORE.load(Ordering::Relaxed) || !is_due(now) {
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
        // SAFETY: below the committed end.
        let counted = unsafe { &WINDOW.chunk(UnitIndex(first)).filled };
        let seen = counted.load(Ordering::Relaxed);
        if !(NEARLY_ALL..SPLIT).contains(&seen) {
            continue;
        }
        if !are_worth_it() {
            return;
        }
        // SAFETY: a committed chunk; its contents stay.
        let (collapsed, took) = timed(|| unsafe { os::collapse(WINDOW.address(UnitIndex(first)), CHUNK) });
        put_off(now, took);
        match collapsed {
            // Refused: a free unit may hold a guard, or the kernel may not know the advice, and costs one call for each chunk.
            Ok(()) | Err(Errno(libc::EINVAL)) => {
                let _ = counted.compare_exchange(seen, seen | DONE, Ordering::Relaxed, Ordering::Relaxed);
            }
            Err(_) => {
                NOT_BEFORE.fetch_max(now.saturating_add(PAUSE), Ordering::Relaxed);
            }
        }
        return;
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_huge_page_that_took_long_to_get_is_the_last_for_a_while() {
        let used = || os::clock_ns(libc::CLOCK_THREAD_CPUTIME_ID);
        assert!(has_no_pause());
        let before = os::clock_ns(libc::CLOCK_MONOTONIC);
        bring(|| {
            let start = used();
            while used() - start < DEAR {}
        });
        assert!(!has_no_pause());
        assert!(NOT_BEFORE.load(Ordering::Relaxed) >= before + DEAR + PAUSE);
    }

    #[test]
    fn collapsing_takes_no_more_than_its_share_of_the_time() {
        assert!(!is_due(1_000));
        let (mut now, mut spent) = (1_000, 0);
        for took in [1, EXPECTED, EXPECTED * 20, 7, EXPECTED] {
            while !is_due(now) {
                now += EXPECTED;
            }
            assert!(spent <= (now - 1_000) / PATIENCE);
            spent += took;
            put_off(now, took);
            assert!(!is_due(now + took * PATIENCE - 1) && is_due(now + took * PATIENCE));
        }
    }
}
