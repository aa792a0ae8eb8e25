//! Heaps and their rows on the way from thread to thread: claimed, begun, retired.
//!
//! A row is never zeroed. Whoever takes one raises `taken`, says whose it is now and where its counters stand, and then
//! raises `generation`: a reader that finds both alike knows whose counters it sees (see `shm_layout::reader`).

use crate::background;
use crate::boot;
use crate::central::{self, NO_HEAP_ID, central};
use crate::clock;
use crate::fork;
use crate::heap::{self, Heap};
use crate::hot::Hot;
use crate::misuse;
use crate::os;
use crate::segment;
use crate::stats::globals;
use crate::sync::Ordering;
use crate::window::WINDOW;
use shm_layout::layout::{Row, row_state};
use shm_layout::tally::{Scale, Way};

/// A heap for a new thread.
pub(crate) struct Claimed {
    pub(crate) id: u32,
    /// It has slabs, and a hot record that leads to them.
    pub(crate) is_warm: bool,
}

/// Which heap a new thread may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// One that another thread had before, rather a warm one.
    Idle,
    /// Such a one, or the next that was never used.
    All,
}

/// A heap for a new thread. Its row has memory behind it.
pub(crate) fn claim(from: From) -> Option<Claimed> {
    let segment = boot::segment()?;
    let (_, room) = WINDOW.heaps();
    let mut central = central();
    if let Some(id) = heap::unlist(&mut central.warm) {
        return Some(Claimed { id, is_warm: true });
    }
    let id = match central.idle {
        NO_HEAP_ID if from == From::Idle => return None,
        NO_HEAP_ID => central.made,
        idle => idle,
    };
    if id as usize >= room {
        return None;
    }
    // SAFETY: there is room for it.
    let heap = unsafe { central::heap(id) };
    let row = segment.row(id as usize)?;
    if id == central.made {
        // SAFETY: there is room for it.
        unsafe { central::make_ready(id, &mut central) }.ok()?;
        central.made += 1;
        heap.reset();
        globals().metadata.add_shared((Heap::BYTES + size_of::<Hot>()) as u64);
    } else {
        heap::unlist(&mut central.idle);
    }
    heap.set_row(row);
    Some(Claimed { id, is_warm: false })
}

/// Publishes that a new thread continues this heap's row.
pub(crate) fn begin(heap: &Heap, row: &Row) {
    let name = segment::thread_name();
    row.taken.set(row.generation.get() + 1);
    for (word, bytes) in row.name.iter().zip(name.chunks_exact(8)) {
        word.set(bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    let mut sums = [0; 6];
    for (scale, line) in heap.lines().filter_map(|line| Some((Scale::line(line), row.lines.get(line)?))) {
        let [allocations, frees, requested_in, requested_out, ..] = &mut sums;
        let (allocated, freed) = (line.allocated.get(scale, Way::In), line.freed.get(scale, Way::Out));
        *allocations += allocated.calls;
        *frees += freed.calls;
        *requested_in += allocated.requested;
        *requested_out += freed.requested;
    }
    let [.., reallocations, remote_frees] = &mut sums;
    *reallocations = row.reallocations.get();
    *remote_frees = row.remote_frees.get();
    for (base, sum) in row.base.iter().zip(sums) {
        base.set(sum);
    }
    let (stack, thread) = misuse::pointers();
    row.stack_pointer.set(stack as u64);
    row.thread_pointer.set(thread as u64);
    row.tid.store(tid(), Ordering::Release);
    row.started_ns.set(clock::read());
    row.ended_ns.set(0);
    row.state.store(row_state::LIVE, Ordering::Release);
    row.generation.set(row.taken.get());
}

/// The thread that counts in a row: the number that stands in the C library's descriptor, which costs no system call, may
/// one be filtered or not. A raw fork leaves the parent's there; so the kernel is asked in children, except in those of
/// `vfork`, where the one counts that the child stands in for.
fn tid() -> u32 {
    let ask = fork::is_child() && !segment::is_filtered() && !background::is_borrowed();
    if ask { os::tid() } else { os::tid_by_library() }
}

/// Publishes that the row's thread has ended, and lets the next one have it and the heap.
pub(crate) fn retire(id: u32, heap: &Heap) {
    if let Some(row) = heap.row() {
        row.ended_ns.set(clock::read());
        row.state.store(row_state::ENDED, Ordering::Release);
    }
    heap.leave_to_next(id);
    // Not before: a fork takes a process in which all threads but one have ended for one in which nothing happens.
    globals().threads_ended.add_shared(1);
}
