//! Threads that ended unseen, because no thread-specific key was left when the library was loaded.
//!
//! Before a heap is made for a new thread, some of those in use are looked at, and those whose thread is gone are retired
//! in its place. More are looked at than made, so they are found faster than they come: there are never many more heaps
//! than twice the threads.

use super::retire;
use crate::central::{self, central};
use crate::heap::usage;
use crate::os;
use crate::segment;
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::layout::row_state;

/// Heaps looked at in one go.
const LOOKS: usize = 4;

/// The heap looked at last. Changed under the central lock.
static LAST: AtomicU32 = AtomicU32::new(0);

#[inline(never)]
pub(super) fn retire_some() {
    // Which would take a system call.
    if segment::is_filtered() {
        return;
    }
    let mut found = [None; LOOKS];
    {
        // A heap goes from one thread to the next under this lock, so whoever is found gone has it still.
        let central = central();
        let others = central.made.saturating_sub(1) as usize;
        for place in found.iter_mut().take(others) {
            let next = LAST.load(Ordering::Relaxed) + 1;
            let id = if next < central.made { next } else { 1 };
            LAST.store(id, Ordering::Relaxed);
            *place = has_lost_its_thread(id).then_some(id);
        }
    }
    for id in found.into_iter().flatten() {
        // SAFETY: it was made.
        retire(id, unsafe { central::hot(id) });
    }
}

/// Whether heap `id` is in use by a thread that is no more. If so it is the caller's to retire.
fn has_lost_its_thread(id: u32) -> bool {
    // SAFETY: it was made.
    let heap = unsafe { central::heap(id) };
    // In a child it may be a row of its parent's, with nothing behind it.
    let Some(row) = heap.row().filter(|_| segment::has_row(id)) else { return false };
    if heap.usage().load(Ordering::Acquire) != usage::USED || row.state.load(Ordering::Acquire) != row_state::LIVE {
        return false;
    }
    // One that is under the calling thread's own number stays: it may be about to be this thread's, in a call that a signal
    // has interrupted.
    let tid = row.tid.load(Ordering::Relaxed);
    let is_gone = tid != 0 && !os::thread::exists(tid);
    if is_gone {
        heap.usage().store(usage::LEAVING, Ordering::SeqCst);
    }
    is_gone
}
