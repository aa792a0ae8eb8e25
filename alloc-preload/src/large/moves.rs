//! A block's contents moved by their pages instead of copied.
//!
//! Every move may split a mapping in two, and a process may have 65,530 of them: now and then they are counted.
//!
//! A call that fails may have unmapped the destination first, into which another thread may have mapped something since. Of
//! several mappings, some may have been moved (Linux 6.17), or it always fails so (before that). So each is moved by itself,
//! and after the first failure pages are copied for good.

use crate::os::{self, Errno, PAGE};
use crate::segment;
use crate::stats::globals;
use crate::window::WINDOW;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Moves after which the mappings are counted.
const MOVES: u64 = 4096;
/// With more mappings than this, pages are copied.
const MAPPINGS: usize = 16 << 10;

/// Blocks and pieces of them from this size on are moved by their pages.
const LEAST: usize = 1 << 20;
/// Pieces of a block that are looked for. What lies behind them is copied.
const PIECES: usize = 8;

/// The kernel has refused a move.
static OFF: AtomicBool = AtomicBool::new(false);
/// The kernel knows such moves.
static KNOWN: AtomicBool = AtomicBool::new(false);
/// Moves there may be before the mappings are counted again.
static UNTIL: AtomicU64 = AtomicU64::new(MOVES);
/// Moves refused since there were too many mappings.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Has the contents of one block in another, by their pages where that is possible: the bytes whose pages have left the first.
/// `None` where the other's memory may be somebody else's now; the first is as before then.
///
/// # Safety
/// Live blocks of whole pages, with at least that many bytes, which the caller alone uses.
pub(super) unsafe fn carry(from: *mut u8, to: *mut u8, bytes: usize) -> Option<usize> {
    let (mut done, mut moved) = (0, 0);
    for _ in 0..PIECES {
        if bytes - done < LEAST || !are_possible() {
            break;
        }
        // SAFETY: within both blocks.
        let (from_here, to_here) = unsafe { (from.add(done), to.add(done)) };
        let Some(piece) = in_one_mapping(from_here, bytes - done) else { break };
        // SAFETY: as above.
        match unsafe { carry_piece(from_here, to_here, piece) } {
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
    unsafe { core::ptr::copy_nonoverlapping(from.add(done), to.add(done), bytes - done) };
    Some(moved)
}

/// As `carry`, for what lies in one mapping.
unsafe fn carry_piece(from: *mut u8, to: *mut u8, bytes: usize) -> Option<usize> {
    if bytes >= LEAST {
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
                if !untouched && os::map_at(to, bytes).is_err() {
                    return None;
                }
            }
        }
    }
    // SAFETY: the caller's.
    unsafe { core::ptr::copy_nonoverlapping(from, to, bytes) };
    Some(0)
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
