//! A block's contents moved by their pages instead of copied.
//!
//! Every move may split a mapping in two, and a process may have 65,530 of them: now and then they are counted.
//!
//! A call that fails may have unmapped the destination first, into which another thread may have mapped something since. Of
//! several mappings, some may have been moved (Linux 6.17), or it always fails so (before that). So each is moved by itself,
//! and after the first failure pages are copied for good.

use crate::os::{self, Errno, PAGE};
use crate::resident;
use crate::segment;
use crate::stats::globals;
use crate::window::WINDOW;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Moves after which the mappings are counted.
const MOVES: u64 = 4096;
/// With more mappings than this, pages are copied: a third of what a process may have. Twice [`MOVES`] may come until they are counted
/// again, and half of all may be tails that are cut off (see `span::tail`).
const MAPPINGS: usize = 20 << 10;

/// Blocks from this size on are moved by their pages.
const LEAST: usize = 1 << 20;
/// So are pieces of them from this size on.
const PIECE: usize = LEAST / 8;
/// Pieces of a block that are looked for. A block that grows by a half each time has so many when it is larger than any memory.
const PIECES: usize = 64;

/// Pages asked about at a time.
const ASKED: usize = 256;

/// The kernel has refused a move.
static OFF: AtomicBool = AtomicBool::new(false);
/// The kernel knows such moves.
static KNOWN: AtomicBool = AtomicBool::new(false);
/// Moves there may be before the mappings are counted again.
static UNTIL: AtomicU64 = AtomicU64::new(MOVES);
/// Moves refused since there were too many mappings.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Has the contents of one block in another, by their pages where that is possible: the bytes whose pages have left the first.
/// `None` where the other's memory may be somebody else's now; the first is as before then. `fresh` says that the other's
/// memory reads as zero.
///
/// # Safety
/// Live blocks of whole pages, with at least that many bytes, which the caller alone uses.
pub(super) unsafe fn carry(from: *mut u8, to: *mut u8, bytes: usize, fresh: bool) -> Option<usize> {
    let (mut done, mut moved) = (0, 0);
    if bytes < LEAST {
        // SAFETY: the caller's.
        unsafe { core::ptr::copy_nonoverlapping(from, to, bytes) };
        return Some(0);
    }
    for _ in 0..PIECES {
        if bytes - done < PIECE || !are_possible() {
            break;
        }
        // SAFETY: within both blocks.
        let (from_here, to_here) = unsafe { (from.add(done), to.add(done)) };
        let Some(piece) = in_one_mapping(from_here, bytes - done) else { break };
        // SAFETY: as above.
        match unsafe { carry_piece(from_here, to_here, piece, fresh) } {
            Some(pages) => moved += pages,
            None => {
                // SAFETY: the caller's; what has left is still mapped, and reads as zero.
                unsafe { core::ptr::copy_nonoverlapping(to, from, done) };
                return None;
            }
        }
        done += piece;
    }
    // SAFETY: the caller's.
    unsafe { copy(from.add(done), to.add(done), bytes - done, fresh) };
    Some(moved)
}

/// As `carry`, for what lies in one mapping.
unsafe fn carry_piece(from: *mut u8, to: *mut u8, bytes: usize, mut fresh: bool) -> Option<usize> {
    if bytes >= PIECE {
        // SAFETY: the caller's.
        match unsafe { os::move_pages(from, to, bytes) } {
            Ok(()) => {
                KNOWN.store(true, Ordering::Relaxed);
                globals().page_moves.add_shared(1);
                return Some(bytes);
            }
            Err(error) => {
                OFF.store(true, Ordering::Relaxed);
                // Kernels that know no such move and filters say so before they do anything.
                let unknown = error == Errno(libc::EINVAL) && !KNOWN.load(Ordering::Relaxed);
                let untouched = unknown || matches!(error, Errno(libc::EPERM | libc::ENOSYS));
                if !untouched {
                    if os::map_at(to, bytes).is_err() {
                        return None;
                    }
                    fresh = true;
                }
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { copy(from, to, bytes, fresh) };
    Some(0)
}

/// Copies what cannot be moved.
///
/// # Safety
/// As of `carry`.
unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize, fresh: bool) {
    if bytes >= PIECE {
        // SAFETY: the caller's.
        unsafe { copy_touched(from, to, bytes, fresh) };
    } else {
        // SAFETY: the caller's.
        unsafe { core::ptr::copy_nonoverlapping(from, to, bytes) };
    }
}

/// Copies pages, but for those that read as zero, as what was never touched does, if what they are copied to does as well: they would
/// take memory there. Where little is resident, it is made to.
///
/// # Safety
/// As of `carry`.
#[cold]
#[inline(never)]
unsafe fn copy_touched(from: *const u8, to: *mut u8, bytes: usize, fresh: bool) {
    // SAFETY: the caller's.
    if !(fresh || unsafe { make_fresh(from, to, bytes) }) {
        // SAFETY: the caller's.
        return unsafe { core::ptr::copy_nonoverlapping(from, to, bytes) };
    }
    for offset in (0..bytes).step_by(PAGE) {
        // SAFETY: a page of both.
        unsafe {
            if !is_zero(from.add(offset)) {
                core::ptr::copy_nonoverlapping(from.add(offset), to.add(offset), PAGE);
            }
        }
    }
}

/// Gives back the memory of the second, if less than half of the first have any; whether it reads as zero now.
///
/// # Safety
/// Nobody needs what stands there.
unsafe fn make_fresh(from: *const u8, to: *mut u8, bytes: usize) -> bool {
    let (mut done, mut there) = (0, 0);
    while done < bytes {
        let mut resident = [0; ASKED];
        let pages = ASKED.min((bytes - done) / PAGE);
        let Some(resident) = resident.get_mut(..pages).filter(|_| resident::may_ask()) else { return false };
        if os::residency(from.wrapping_add(done), resident).is_err() {
            return false;
        }
        there += resident.iter().filter(|&page| page & 1 != 0).count();
        done += pages * PAGE;
    }
    // SAFETY: the caller's.
    there < bytes / PAGE / 2 && unsafe { os::purge(to, bytes) }.is_ok()
}

/// Whether a page reads as zero. To read what was never touched takes no memory.
///
/// # Safety
/// A page that nobody writes.
unsafe fn is_zero(page: *const u8) -> bool {
    const WORDS: usize = PAGE / size_of::<u64>();
    // SAFETY: the caller's; pages are aligned.
    let words = unsafe { &*page.cast::<[u64; WORDS]>() };
    words.iter().all(|&word| word == 0)
}

/// How many of the bytes from there on lie in one mapping; `None` if the kernel does not tell.
fn in_one_mapping(address: *mut u8, bytes: usize) -> Option<usize> {
    if os::lies_in_one_mapping(address, bytes)? {
        return Some(bytes);
    }
    let (mut one, mut several) = (PAGE, bytes);
    while several - one > PAGE {
        let middle = one + (several - one) / 2 / PAGE * PAGE;
        if os::lies_in_one_mapping(address, middle)? { one = middle } else { several = middle }
    }
    Some(one)
}

/// Whether pages may be moved once more.
fn are_possible() -> bool {
    if OFF.load(Ordering::Relaxed) {
        return false;
    }
    (globals().page_moves.get() < UNTIL.load(Ordering::Relaxed) || leave_few_mappings()) && has_room()
}

#[cold]
fn leave_few_mappings() -> bool {
    if !REFUSED.load(Ordering::Relaxed).is_multiple_of(MOVES) {
        REFUSED.fetch_add(1, Ordering::Relaxed);
        return false;
    }
    // A filter of system calls may end the program for an unusual one.
    let are_few = !segment::is_filtered() && os::lines(c"/proc/self/maps").is_ok_and(|lines| lines <= MAPPINGS);
    if are_few {
        UNTIL.store(globals().page_moves.get() + MOVES, Ordering::Relaxed);
    }
    REFUSED.store(u64::from(!are_few), Ordering::Relaxed);
    are_few
}

/// Whether address space allows pages to be moved: where it does not, the kernel may have unmapped the destination before it
/// refuses. A limit on a window that was reserved without one has come from outside, and is exceeded. A filter of system
/// calls may not know the question.
fn has_room() -> bool {
    if WINDOW.is_chunked() {
        return !WINDOW.is_over_limit();
    }
    segment::is_filtered() || [libc::RLIMIT_AS, libc::RLIMIT_DATA].into_iter().all(|kind| os::limit(kind).is_none())
}
