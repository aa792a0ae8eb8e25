//! Forked children. Nothing here asks for a PID to find out: a child is known by its zeroed page (see `central`).
//!
//! A child inherits the heap and needs a segment of its own. If the parent had one thread when it called `fork`, the
//! counters as they stood then are copied by the `prepare` handler, and that is all. Otherwise other threads were
//! changing heap and counters at that moment: their slabs are built anew from the ledger, and live blocks counted.
//! The work is done at the child's first call that needs it; a child that goes on to `exec` never pays.

use crate::account;
use crate::boot;
use crate::central::{self, Central, NO_HEAP_ID, central, wiped};
use crate::heap::{self, usage};
use crate::hot::{self, Hot};
use crate::os;
use crate::segment::{self, Segment};
use crate::slab::{NO_UNIT, Slab, State};
use crate::stats::globals;
use crate::thread;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use shm_layout::class::{CLASSES, LINES, UNIT, bucket_of};
use shm_layout::layout::{ClassCounters, Globals, Row};

static PARENT: AtomicU32 = AtomicU32::new(0);
static BY_HAND: AtomicBool = AtomicBool::new(false);
/// Whether the segment's mapping can be read: false in a child from its `child` handler until it has its own.
static INHERITED: AtomicBool = AtomicBool::new(true);

/// The counters of a process, summed over its rows.
struct Sums {
    /// The parent was forked by `fork`, and this was taken just before.
    taken: bool,
    /// One thread at that time: the sums are exact.
    exact: bool,
    lines: [[u64; 8]; LINES],
    reallocations: u64,
    remote_frees: u64,
    /// Bytes of the parent's segment, which are part of its metadata and not of the child's.
    segment_bytes: u64,
    /// The process-wide counters a child goes on with, see `carried`.
    globals: [u64; CARRIED],
}

struct Snapshot(UnsafeCell<Sums>);

// SAFETY: written by the `prepare` handler, one fork at a time (glibc's lock), read by the child's only thread.
unsafe impl Sync for Snapshot {}

static SNAPSHOT: Snapshot = Snapshot(UnsafeCell::new(Sums {
    taken: false,
    exact: false,
    lines: [[0; 8]; LINES],
    reallocations: 0,
    remote_frees: 0,
    segment_bytes: 0,
    globals: [0; CARRIED],
}));

const CARRIED: usize = 8;

fn carried(globals: &Globals) -> [&shm_layout::counter::Counter; CARRIED] {
    [
        &globals.committed,
        &globals.metadata,
        &globals.cached,
        &globals.purged,
        &globals.purges,
        &globals.retained,
        &globals.adopted,
        &globals.page_moves,
    ]
}

pub(crate) fn remember_pid() {
    PARENT.store(os::pid(), Ordering::Relaxed);
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

/// Copies the counters. Takes no lock: other handlers and libc hold theirs.
unsafe extern "C" fn prepare() {
    // A child that has not come to `recover` yet has counted nothing: what it was given is right for its children too.
    if wiped().ready.load(Ordering::Acquire) == 0 {
        return;
    }
    let Some(segment) = boot::segment() else { return };
    // SAFETY: glibc runs one fork's handlers at a time.
    unsafe { take(segment, &mut *SNAPSHOT.0.get()) };
}

/// Sums up the segment.
fn take(segment: Segment, sums: &mut Sums) {
    let globals = segment.globals();
    sums.exact = globals.threads_started.get() - globals.threads_ended.get() <= 1;
    sums.lines = [[0; 8]; LINES];
    sums.reallocations = 0;
    sums.remote_frees = 0;
    for row in segment.rows() {
        for (sum, line) in sums.lines.iter_mut().zip(&row.lines) {
            for (sum, counter) in sum.iter_mut().zip(counters(line)) {
                *sum = sum.wrapping_add(counter.get());
            }
        }
        sums.reallocations += row.reallocations.get();
        sums.remote_frees += row.remote_frees.get();
    }
    for (copy, counter) in sums.globals.iter_mut().zip(carried(globals)) {
        *copy = counter.get();
    }
    sums.segment_bytes = segment::memory_bytes() as u64;
    sums.taken = true;
}

unsafe extern "C" fn parent() {
    if wiped().ready.load(Ordering::Acquire) != 0 {
        // SAFETY: as in `prepare`. A later raw fork must not find it.
        unsafe { (*SNAPSHOT.0.get()).taken = false };
    }
}

unsafe extern "C" fn child() {
    let Some(segment) = boot::segment() else { return };
    if BY_HAND.load(Ordering::Relaxed) {
        // SAFETY: the child's first act.
        unsafe { central::wipe_now() };
    }
    if wiped().ready.load(Ordering::Acquire) == 0 {
        INHERITED.store(false, Ordering::Relaxed);
        segment.leave();
    }
}

fn counters(line: &ClassCounters) -> [&shm_layout::counter::Counter; 8] {
    [
        &line.frees,
        &line.requested_out,
        &line.allocations,
        &line.requested_in,
        &line.capacity_in,
        &line.capacity_out,
        &line.slabs_in,
        &line.slabs_out,
    ]
}

/// Makes the child a process of its own. `own` is the calling thread's hot record, zeroed, or the sentinel. `None` if
/// there is no memory.
///
/// # Safety
/// Only in a forked child, by its only thread, while `ready` is zero.
pub(crate) unsafe fn recover(own: &'static Hot) -> Option<()> {
    let own_id = id_of(own);
    // SAFETY: nobody else runs.
    let snapshot = unsafe { &mut *SNAPSHOT.0.get() };
    // Between the sums and the fork another thread may have begun to use the heap.
    let exact = snapshot.taken && snapshot.exact && !another_was_in_use(own_id);
    if !snapshot.taken
        && INHERITED.load(Ordering::Relaxed)
        && let Some(parents) = boot::segment()
    {
        // A raw fork: the parent's segment is still there, and the parent goes on counting in it.
        take(parents, snapshot);
    }
    let taken = core::mem::take(&mut snapshot.taken);
    boot::publish(PARENT.load(Ordering::Relaxed))?;
    INHERITED.store(true, Ordering::Relaxed);
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
    thread::open_shared_heap()?;
    let row = match own_id {
        Some(id) => take_up(own, id)?,
        // SAFETY: heap 0 always exists, and `open_shared_heap` gave it a row.
        None => unsafe { central::heap(0) }.row()?,
    };
    if central::was_cut_off() || !taken {
        central().spans.rebuild();
    }
    if !exact {
        if let Some(id) = own_id {
            // The ledger knows which blocks were in bins or pending.
            // SAFETY: the heap the thread had before the fork.
            unsafe { central::heap(id) }.forget_blocks();
        }
        let lines = recount(own_id, own, taken);
        for (sum, counted) in snapshot.lines.iter_mut().zip(lines) {
            go_on(sum, &counted, taken);
        }
    }
    for (line, sum) in row.lines.iter().zip(&snapshot.lines) {
        for (counter, &sum) in counters(line).into_iter().zip(sum) {
            counter.set(sum);
        }
    }
    if taken {
        row.reallocations.set(snapshot.reallocations);
        row.remote_frees.set(snapshot.remote_frees);
    }
    if !exact && let Some(id) = own_id {
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
        account::open(own, unsafe { central::heap(id) });
        thread::start_row(row);
        globals().threads_started.set(1);
    }
    retire_others(own_id);
    wiped().ready.store(1, Ordering::Release);
    Some(())
}

/// The heap whose hot record this is; `None` for the sentinel.
fn id_of(hot: &Hot) -> Option<u32> {
    let (area, room) = WINDOW.heaps();
    let offset = (core::ptr::from_ref(hot) as usize).wrapping_sub(area + os::PAGE);
    let id = offset / size_of::<Hot>();
    (id < room).then_some(id as u32)
}

/// Whether some thread that is not in the child had slabs of its own, or was inside the shared heap.
fn another_was_in_use(own_id: Option<u32>) -> bool {
    let made = central().made;
    // SAFETY: made before.
    let in_use = |id: u32| unsafe { central::heap(id) }.usage().load(Ordering::Relaxed) != usage::IDLE;
    (0..made).filter(|&id| Some(id) != own_id).any(in_use)
}

/// Fills in the calling thread's hot record again.
fn take_up(own: &'static Hot, id: u32) -> Option<&'static Row> {
    let row = boot::segment()?.row(id as usize)?;
    // SAFETY: the heap the thread had before the fork.
    let heap = unsafe { central::heap(id) };
    heap.set_row(row);
    own.attach(id, heap.bins(), row);
    Some(row)
}

/// Without a snapshot: what can be told from the window.
fn estimate_globals() {
    let units = u64::from(WINDOW.end().0);
    globals().committed.set(units * UNIT as u64);
    globals().metadata.add_shared(units * UNIT_GRANULES as u64);
}

/// Cumulative counters that end in the counted live blocks: frees as far as known, allocations to match.
fn go_on(sum: &mut [u64; 8], counted: &Counted, taken: bool) {
    if !taken {
        *sum = [0; 8];
    }
    let [frees, requested_out, allocations, requested_in, capacity_in, capacity_out, slabs_in, slabs_out] = sum;
    *allocations = *frees + counted.live;
    *requested_in = *requested_out + counted.requested;
    *capacity_in = *capacity_out + counted.capacity;
    *slabs_in = *slabs_out + counted.slabs;
}

/// Live requested and allocated bytes of these sums.
fn live(lines: &[[u64; 8]; LINES]) -> (u64, u64) {
    let (mut requested, mut allocated) = (0, 0);
    for (i, line) in lines.iter().enumerate() {
        let [frees, requested_out, allocations, requested_in, capacity_in, capacity_out, ..] = *line;
        requested += requested_in.saturating_sub(requested_out);
        allocated += if i < CLASSES {
            allocations.saturating_sub(frees) * shm_layout::class::SizeClass(i as u8).block_size() as u64
        } else {
            capacity_in.saturating_sub(capacity_out)
        };
    }
    (requested, allocated)
}

#[derive(Clone, Copy, Default)]
struct Counted {
    live: u64,
    requested: u64,
    capacity: u64,
    slabs: u64,
}

/// Goes through all units: counts live blocks, and abandons the slabs of threads that vanished.
fn recount(own_id: Option<u32>, own: &Hot, taken: bool) -> [Counted; LINES] {
    let mut lines = [Counted::default(); LINES];
    let mut central = central();
    central.abandoned = [NO_UNIT; CLASSES];
    central.abandoned_full = NO_UNIT;
    globals().stranded.set(0);
    let mut empty = NO_UNIT;
    let mut unit = 0;
    while unit < WINDOW.end().0 {
        let index = UnitIndex(unit);
        // SAFETY: below the committed end.
        let (record, slab) = unsafe { (WINDOW.unit(index), WINDOW.slab(index)) };
        // SAFETY: as above.
        let is_head = unsafe { WINDOW.head(index) } == index;
        match record.owner() {
            _ if !record.is_used() || !is_head => unit += 1,
            owner::SPAN => unit += count_large(index, &mut lines),
            holder => {
                let ours = own_id.is_some() && hot::belongs(holder, own.name());
                unit += u32::from(slab.units.get()).max(1);
                if slab.state.get() == State::Spare && !taken {
                    globals().cached.add_shared(slab.touched_bytes() as u64);
                }
                if !count_slab(&mut central, slab, ours, &mut lines) {
                    slab.next.set(core::mem::replace(&mut empty, index.0));
                }
            }
        }
    }
    while empty != NO_UNIT {
        // SAFETY: a slab's unit.
        let slab = unsafe { WINDOW.slab(UnitIndex(empty)) };
        empty = slab.next.get();
        heap::give_back(slab, &mut central.spans);
    }
    lines
}

/// Counts a large block; its units.
fn count_large(index: UnitIndex, lines: &mut [Counted; LINES]) -> u32 {
    // SAFETY: a committed unit.
    let (run, entry) = unsafe { (WINDOW.run(index), WINDOW.entry(index.0 as usize * UNIT_GRANULES)) };
    let allocated = run.allocated.get();
    // SAFETY: as above.
    if let Some(slack) = unsafe { entry.slack(entry.get()) }
        && let Some(line) = lines.get_mut(CLASSES + bucket_of(allocated as usize))
    {
        line.live += 1;
        line.requested += allocated.saturating_sub(slack as u64);
        line.capacity += allocated;
    }
    run.units.get().max(1)
}

/// Counts a slab, and abandons it if its thread vanished. False if it is nobody's and wholly free.
fn count_slab(central: &mut Central, slab: &'static Slab, ours: bool, lines: &mut [Counted; LINES]) -> bool {
    let state = slab.state.get();
    let (live, requested);
    if ours {
        // What vanished threads had freed and not handed over is free now.
        // SAFETY: the child has one thread, this one.
        (live, requested) = unsafe { slab.rebuild() };
        if state == State::Spare {
            return true;
        }
    } else {
        // Rebuilt when somebody takes it over: to write to it now would copy the whole heap.
        (live, requested) = slab.count();
        slab.set_stale(live);
        if state == State::Spare {
            globals().cached.sub_shared(slab.touched_bytes() as u64);
        }
        if live == 0 {
            return false;
        }
        slab.set_owner(owner::ABANDONED);
        heap::put_abandoned(central, slab);
        globals().stranded.add_shared(slab.carved_bytes() as u64);
    }
    if let Some(line) = lines.get_mut(slab.class.get() as usize) {
        line.live += u64::from(live);
        line.requested += requested;
        line.capacity += u64::from(slab.carved.get());
        line.slabs += 1;
    }
    true
}

/// All heaps but the calling thread's are idle now.
fn retire_others(own_id: Option<u32>) {
    let mut central = central();
    central.idle = NO_HEAP_ID;
    for id in (1..central.made).rev() {
        if Some(id) == own_id {
            continue;
        }
        // SAFETY: made before.
        let heap = unsafe { central::heap(id) };
        heap.reset();
        heap.usage().store(usage::IDLE, Ordering::Relaxed);
        heap.next_idle.set(central.idle);
        central.idle = id;
    }
}
