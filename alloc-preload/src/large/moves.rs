//! Whether a block's pages may be moved. Every move may split a mapping in two, and a process may have 65,530 of them: now
//! and then they are counted.

use crate::os;
use crate::segment;
use crate::stats::globals;
use crate::window::WINDOW;
use core::sync::atomic::{AtomicU64, Ordering};

/// Moves after which the mappings are counted.
const MOVES: u64 = 4096;
/// With more mappings than this, pages are copied.
const MAPPINGS: usize = 16 << 10;

/// Moves there may be before the mappings are counted again.
static UNTIL: AtomicU64 = AtomicU64::new(MOVES);
/// Moves refused since there were too many mappings.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// Whether pages may be moved once more.
pub(super) fn are_possible() -> bool {
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
    segment::is_filtered() || os::limit(libc::RLIMIT_AS).is_none()
}
