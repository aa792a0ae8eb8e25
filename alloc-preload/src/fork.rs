//! Forked children. Nothing here asks for a PID to find out: a child is known by its zeroed page (see `central`).
//!
//! A child inherits the heap and needs a segment of its own. If the parent had one thread when it called `fork`, the
//! counters as they stood then are copied by the `prepare` handler, and that is all. Otherwise other threads were
//! changing heap and counters at that moment: their slabs are built anew from the ledger, and live blocks counted.
//! The work is done at the child's first call that needs it; a child that goes on to `exec` never pays. Of threads that the
//! child has made by then the first one does it, and the others wait.
//!
//! A signal handler may fork in the middle of a call of ours, and the child go on with it. What that call still needs
//! survives the fork (see `hot`), and what it still counts goes to private memory in the segment's place, which the first
//! call adds to the copy. Only a raw fork runs no handler that could put it there: then the rest of the one call is
//! counted in the parent's segment.

mod recount;
mod snapshot;

use crate::account;
use crate::background;
use crate::boot;
use crate::central::{self, NO_HEAP_ID, central, wiped};
use crate::heap::{self, Heap, usage};
use crate::hot::Hot;
use crate::misuse;
use crate::os;
use crate::segment;
use crate::stats::globals;
use crate::thread;
use crate::window::{self, WINDOW, huge};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use recount::{go_on, recount};
use shm_layout::class::UNIT;
use shm_layout::layout::{Row, SHARED_ROW};
use snapshot::{SNAPSHOT, carried, live};

static PARENT: AtomicU32 = AtomicU32::new(0);
static IS_CHILD: AtomicBool = AtomicBool::new(false);
static BY_HAND: AtomicBool = AtomicBool::new(false);
/// Whose fork the copy of the counters is for: the thread's pointer; 0 between forks.
static COPIES: AtomicUsize = AtomicUsize::new(0);
/// Who is making a child a process of its own: the thread's pointer; 0 for nobody.
static RECOVERS: AtomicUsize = AtomicUsize::new(0);
/// A child was forked by another of its parent's threads in the midst of that.
static TORN: AtomicBool = AtomicBool::new(false);
/// What lies in the segment's place.
static PLACE: AtomicU32 = AtomicU32::new(OWN);

/// The process's own segment; in a raw fork's child that has not come to `recover`, its parent's.
const OWN: u32 = 0;
/// Memory that takes in what a child's interrupted call still counts.
const SCRATCH: u32 = 1;
/// Nothing that could be read.
const NOTHING: u32 = 2;

pub(crate) fn remember_pid() {
    PARENT.store(segment::process_number(), Ordering::Relaxed);
}

/// Whether the process is a forked child, and not one that has called `exec` since.
pub(crate) fn is_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

/// The kernel cannot zero pages at a fork: the handler does.
pub(crate) fn wipe_by_hand() {
    BY_HAND.store(true, Ordering::Relaxed);
}

/// At the first call of the process, which nearly always comes before any constructor: our handlers are then the first
/// registered, and `prepare` runs last, after what others allocate in theirs. Where a library's constructor comes before
/// our first call, what its handler allocates is missing from the child's counters.
pub(crate) fn watch_forks() {
    // SAFETY: three functions that stay loaded.
    unsafe { __register_atfork(Some(prepare), Some(parent), Some(child), core::ptr::null_mut()) };
}

unsafe extern "C" {
    fn __register_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
        handle: *mut core::ffi::c_void,
    ) -> i32;
}

/// Copies the counters. Takes no lock: other handlers and libc hold theirs. From glibc 2.36 on the handlers of several
/// threads' forks run at the same time: then one of them has the copy, and the others' children make their own.
unsafe extern "C" fn prepare() {
    // A child that has not come to `recover` yet has counted nothing: what it was given is right for its children too.
    if !wiped().ready.get() {
        return;
    }
    let Some(segment) = boot::segment() else { return };
    background::pause();
    huge::forked();
    if COPIES.compare_exchange(0, this_thread(), Ordering::Acquire, Ordering::Relaxed).is_ok() {
        // SAFETY: whoever finds the word zero has the copy to itself.
        unsafe { SNAPSHOT.sums().take_before(segment) };
    }
}

/// The calling thread's pointer, which is that of the only thread in the child as well.
fn this_thread() -> usize {
    misuse::pointers().1
}

unsafe extern "C" fn parent() {
    if wiped().ready.get() {
        background::resume();
        if COPIES.load(Ordering::Relaxed) == this_thread() {
            // SAFETY: as in `prepare`. A later raw fork must not find it.
            unsafe { SNAPSHOT.sums().taken = false };
            COPIES.store(0, Ordering::Release);
        }
    }
}

unsafe extern "C" fn child() {
    let is_torn = is_torn();
    let Some(segment) = boot::segment() else { return };
    if BY_HAND.load(Ordering::Relaxed) {
        // SAFETY: the child's first act.
        unsafe { central::wipe_now() };
    }
    if is_torn {
        PLACE.store(if segment.leave() { SCRATCH } else { NOTHING }, Ordering::Relaxed);
        return;
    }
    // A child that has left its parent's segment already may have counted something since.
    if !wiped().ready.get() && PLACE.load(Ordering::Relaxed) == OWN {
        // SAFETY: the child's only thread.
        let snapshot = unsafe { SNAPSHOT.sums() };
        if COPIES.swap(0, Ordering::Relaxed) != this_thread() || !snapshot.taken {
            snapshot.take(segment);
        }
        PLACE.store(if segment.leave() { SCRATCH } else { NOTHING }, Ordering::Relaxed);
    }
}

/// Whether the parent, a child itself, was just being made a process of its own, by another thread: of what that has done
/// nothing can be relied on but the ledger and the units' records. A signal handler's child goes on with it.
fn is_torn() -> bool {
    let by = RECOVERS.load(Ordering::Relaxed);
    if by != 0 && by != this_thread() {
        TORN.store(true, Ordering::Relaxed);
    }
    TORN.load(Ordering::Relaxed)
}

/// Makes the child a process of its own. `own` is the calling thread's hot record, zeroed, or the sentinel: that of a
/// thread which the child has made. `None` if there is no memory.
///
/// # Safety
/// Only in a forked child, while `ready` is zero, under the lock for this: no thread of the child's has used the heap yet,
/// and none does until `ready` is set.
#[cold]
#[inline(never)]
pub(crate) unsafe fn recover(own: &'static Hot) -> Option<()> {
    huge::forked();
    IS_CHILD.store(true, Ordering::Relaxed);
    // Of a fork that another thread of the parent's was at.
    COPIES.store(0, Ordering::Relaxed);
    let is_torn = is_torn();
    RECOVERS.store(this_thread(), Ordering::Relaxed);
    // The lists of the thread's heap may be in pieces: its slabs are abandoned with all others.
    let own_id = id_of(own).filter(|_| !is_torn);
    let cut_off = central::was_cut_off();
    // SAFETY: the caller's.
    let snapshot = unsafe { SNAPSHOT.sums() };
    if is_torn && let Some(segment) = boot::segment() {
        (snapshot.taken, snapshot.exact) = (false, false);
        PLACE.store(if segment.leave() { SCRATCH } else { NOTHING }, Ordering::Relaxed);
    }
    if PLACE.load(Ordering::Relaxed) == OWN {
        // A raw fork, or `clone`, whose child may end by leaving its last thread. Ours would go on, and the process with it.
        background::start_no_more();
    }
    if let Some(segment) = boot::segment() {
        match PLACE.load(Ordering::Relaxed) {
            // A raw fork: the parent's segment is still there, and the parent goes on counting in it.
            OWN if !snapshot.taken => snapshot.take(segment),
            SCRATCH if !is_torn => snapshot.add(segment, core::iter::once(0).chain(own_id)),
            _ => {}
        }
    }
    // Above a limit nothing can be mapped, not even in the place of something else. Here it is one that was set past us,
    // or for which the kernel did not take the reservation back.
    if !segment::is_filtered() && os::limit(libc::RLIMIT_AS).is_some() {
        // SAFETY: the caller's.
        window::release(unsafe { central::heaps_end_in_child() });
    }
    // An attempt that fails here is repeated at the next call, and finds the snapshot as it is.
    if boot::publish(PARENT.load(Ordering::Relaxed), own_id.unwrap_or(SHARED_ROW as u32) as usize).is_none() {
        let left = boot::segment().is_some_and(|segment| segment.leave());
        PLACE.store(if left { SCRATCH } else { NOTHING }, Ordering::Relaxed);
        RECOVERS.store(0, Ordering::Relaxed);
        return None;
    }
    // Between the sums and the fork another thread may have begun to use the heap. Asked under the central lock, so not before the
    // child has counters of its own (see `heaps_end_in_child`).
    let exact = snapshot.are_exact() && !another_was_in_use(own_id);
    let taken = core::mem::take(&mut snapshot.taken);
    PLACE.store(OWN, Ordering::Relaxed);
    misuse::start_anew();
    if taken {
        let own_segment = globals().metadata.get();
        for (counter, &copy) in carried(globals()).into_iter().zip(&snapshot.globals) {
            counter.set(copy);
        }
        globals().metadata.add_shared(own_segment);
        globals().metadata.sub_shared(snapshot.segment_bytes);
    } else {
        estimate_globals();
    }
    let shared = thread::open_shared_row()?;
    let row = match own_id {
        Some(id) => take_up(own, id)?,
        None => shared,
    };
    if cut_off || !taken {
        central().spans.rebuild();
    } else if !exact {
        central().spans.recount();
    }
    central::is_in_order();
    if !exact {
        if let Some(id) = own_id {
            // The ledger knows which blocks were in bins or pending.
            // SAFETY: the heap the thread had before the fork.
            unsafe { central::heap(id) }.forget_blocks();
        }
        let lines = recount(own_id, own);
        for (sum, counted) in snapshot.lines.iter_mut().zip(lines) {
            go_on(sum, &counted, taken);
        }
    }
    for (i, (line, sums)) in row.lines.iter().zip(&snapshot.lines).enumerate() {
        sums.publish(i, line);
    }
    if taken {
        row.reallocations.set(snapshot.reallocations);
        row.remote_frees.set(snapshot.remote_frees);
    }
    if exact {
        abandon_warm(row);
        match own_id {
            // SAFETY: the heap the thread had before the fork.
            Some(id) => unsafe { central::heap(id) }.count_kept(),
            // What warm heaps kept was never counted in this row.
            None => row.kept.set(0),
        }
    } else if let Some(id) = own_id {
        // SAFETY: the heap the thread had before the fork.
        unsafe { central::heap(id) }.relist_all();
    }
    let (requested, allocated) = live(&snapshot.lines);
    globals().flushed_requested.set(requested);
    globals().flushed_allocated.set(allocated);
    globals().peak_requested.set(requested);
    globals().peak_allocated.set(allocated);
    if let Some(id) = own_id {
        // SAFETY: the heap the thread had before the fork.
        let heap = unsafe { central::heap(id) };
        heap.have_all();
        account::open(own, heap);
        thread::rows::begin(heap, row);
        globals().threads_started.set(1);
    }
    retire_others(own_id);
    // In this order: a child that is forked in between finds all done.
    TORN.store(false, Ordering::Relaxed);
    RECOVERS.store(0, Ordering::Relaxed);
    wiped().ready.set();
    let waiting = central().spans.oldest_since().is_some();
    if waiting {
        background::freed();
    }
    Some(())
}

/// The heap whose hot record this is; `None` for the sentinel.
fn id_of(hot: &Hot) -> Option<u32> {
    let (area, room) = WINDOW.heaps();
    let offset = (core::ptr::from_ref(hot) as usize).wrapping_sub(area + os::PAGE);
    let id = offset / size_of::<Hot>();
    (id < room).then_some(id as u32)
}

/// Whether some thread that is not in the child was in the middle of using a heap.
fn another_was_in_use(own_id: Option<u32>) -> bool {
    let made = central().made;
    let in_use = |id: u32| {
        // SAFETY: made before.
        let usage = unsafe { central::heap(id) }.usage().load(Ordering::Relaxed);
        !matches!(usage, usage::IDLE | usage::WARM)
    };
    (0..made).filter(|&id| Some(id) != own_id).any(in_use)
}

/// Abandons what warm heaps hold: nothing has been changed in them since they became so. It is counted in the calling
/// thread's row, as all else that was before the fork: there may be no memory for rows of their own.
fn abandon_warm(row: &'static Row) {
    let made = central().made;
    for id in 1..made {
        // SAFETY: made before.
        let heap: &Heap = unsafe { central::heap(id) };
        if heap.usage().load(Ordering::Relaxed) == usage::WARM {
            heap.set_row(row);
            heap.abandon();
        }
    }
}

/// Fills in the calling thread's hot record again.
fn take_up(own: &'static Hot, id: u32) -> Option<&'static Row> {
    let row = boot::segment()?.row(id as usize)?;
    // SAFETY: the heap the thread had before the fork.
    let heap = unsafe { central::heap(id) };
    heap.set_row(row);
    heap.count_kept();
    own.attach(heap.bins(), row);
    Some(row)
}

/// Without a snapshot: what can be told from the window.
fn estimate_globals() {
    let units = u64::from(WINDOW.end().0);
    globals().committed.set(units * UNIT as u64);
    globals().metadata.add_shared(WINDOW.ledger_pages() * os::PAGE as u64);
}

/// All heaps but the calling thread's are idle now. Where that one is the child's own, the thread that forked still has the
/// record of another: all that may be it wait for [`let_go`].
fn retire_others(own_id: Option<u32>) {
    let made = central().made;
    for id in (0..made).filter(|&id| Some(id) != own_id) {
        // SAFETY: made before.
        unsafe { central::heap(id) }.give_vanished();
    }
    let mut central = central();
    central.idle = NO_HEAP_ID;
    central.warm = NO_HEAP_ID;
    for id in (1..central.made).rev() {
        if Some(id) == own_id {
            continue;
        }
        // SAFETY: made before.
        let heap = unsafe { central::heap(id) };
        heap.reset();
        if own_id.is_none() && heap.usage().load(Ordering::Relaxed) == usage::USED {
            continue;
        }
        heap.usage().store(usage::IDLE, Ordering::Relaxed);
        heap::list(heap, id, &mut central.idle);
    }
}

/// Lets other threads have the heap whose hot record this is, a zeroed one that its thread has left, or the sentinel: in a
/// child that another thread has made a process of its own.
pub(crate) fn let_go(own: &Hot) {
    let Some(id) = id_of(own) else { return };
    // SAFETY: the heap the thread had before the fork.
    let heap = unsafe { central::heap(id) };
    heap.usage().store(usage::IDLE, Ordering::Relaxed);
    heap::list(heap, id, &mut central().idle);
}
