//! Threads: which heap a thread has, from its first call to its last.

use crate::account;
use crate::boot;
use crate::cancel::Shelter;
use crate::central::{self, NO_HEAP_ID, central, wiped};
use crate::clock;
use crate::fork;
use crate::heap::{self, Heap, usage};
use crate::hot::{Hot, NO_HEAP};
use crate::misuse;
use crate::os;
use crate::segment;
use crate::stats::globals;
use crate::window::WINDOW;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::layout::{Row, SHARED_ROW, row_state};

// Two words of initial-exec TLS: the thread's hot record, and its state. `thread_local!` in a shared library would
// call `__tls_get_addr` on every access.
global_asm!(
    ".pushsection .tdata, \"awT\", @progbits",
    ".balign 16",
    ".globl statsalloc_thread",
    ".hidden statsalloc_thread",
    ".type statsalloc_thread, @object",
    ".size statsalloc_thread, 16",
    "statsalloc_thread:",
    ".quad {no_heap}",
    ".quad 0",
    ".popsection",
    no_heap = sym NO_HEAP,
);

/// State: has passed its exit hook, or found no free heap; uses the shared one.
/// Zero means: has not used the heap yet, or has one of its own.
const SHARED: usize = 1;

/// The calling thread's hot record; the sentinel's if it has none.
#[inline(always)]
pub(crate) fn hot() -> &'static Hot {
    let hot: *const Hot;
    // SAFETY: reads the calling thread's own word; its value is always the address of a hot record.
    unsafe {
        asm!(
            "mov {hot}, qword ptr [rip + statsalloc_thread@GOTTPOFF]",
            "mov {hot}, qword ptr fs:[{hot}]",
            hot = out(reg) hot,
            options(pure, readonly, nostack, preserves_flags),
        );
        &*hot
    }
}

fn set_hot(hot: &'static Hot) {
    // SAFETY: writes the calling thread's own word.
    unsafe {
        asm!(
            "mov {at}, qword ptr [rip + statsalloc_thread@GOTTPOFF]",
            "mov qword ptr fs:[{at}], {hot}",
            at = out(reg) _,
            hot = in(reg) core::ptr::from_ref(hot),
            options(nostack, preserves_flags),
        );
    }
}

fn state() -> usize {
    let state: usize;
    // SAFETY: reads the calling thread's own word.
    unsafe {
        asm!(
            "mov {at}, qword ptr [rip + statsalloc_thread@GOTTPOFF]",
            "mov {at}, qword ptr fs:[{at} + 8]",
            at = out(reg) state,
            options(readonly, nostack, preserves_flags),
        );
    }
    state
}

fn set_state(state: usize) {
    // SAFETY: writes the calling thread's own word.
    unsafe {
        asm!(
            "mov {at}, qword ptr [rip + statsalloc_thread@GOTTPOFF]",
            "mov qword ptr fs:[{at} + 8], {state}",
            at = out(reg) _,
            state = in(reg) state,
            options(nostack, preserves_flags),
        );
    }
}

/// Runs `work` with the calling thread's heap, or with the shared one. `None` when there is no memory even for that. Every
/// slow path comes here, so no lock is ever held by a thread that can be cancelled.
#[inline]
pub(crate) fn with_heap<T>(work: impl FnOnce(&'static Hot, &'static Heap) -> T) -> Option<T> {
    let _shelter = Shelter::enter();
    let hot = hot();
    if let Some((id, _)) = hot.ready()
        && wiped().ready.get()
    {
        // SAFETY: a ready record has a heap.
        return Some(work(hot, unsafe { central::heap(id) }));
    }
    with_late_heap(work)
}

#[cold]
fn with_late_heap<T>(work: impl FnOnce(&'static Hot, &'static Heap) -> T) -> Option<T> {
    if let Some(hot) = attach()?
        && let Some((id, _)) = hot.ready()
    {
        // SAFETY: a ready record has a heap.
        return Some(work(hot, unsafe { central::heap(id) }));
    }
    let _guard = wiped().shared_heap.lock();
    // SAFETY: heap 0 always exists.
    let (hot, heap) = unsafe { (central::hot(0), central::heap(0)) };
    heap.usage().store(usage::USED, Ordering::SeqCst);
    account::open(hot, heap);
    let result = work(hot, heap);
    account::close(hot, heap);
    heap.abandon();
    Some(result)
}

/// Gives the calling thread a heap: `Some(None)` if it has to use the shared one, `None` if there is no memory.
fn attach() -> Option<Option<&'static Hot>> {
    boot::ensure()?;
    if !wiped().ready.get() {
        // SAFETY: `ready` is zero only in a forked child, which has one thread, this one.
        unsafe { fork::recover(hot()) }?;
        if hot().is_ready() {
            return Some(Some(hot()));
        }
    }
    if state() == SHARED {
        return Some(None);
    }
    let Some(Claimed { id, is_warm }) = claim() else {
        globals().threads_without_row.add_shared(1);
        globals().threads_started.add_shared(1);
        set_state(SHARED);
        hook_exit();
        return Some(None);
    };
    // SAFETY: `claim` made sure there is room for it.
    let (hot, heap) = unsafe { (central::hot(id), central::heap(id)) };
    heap.usage().store(usage::USED, Ordering::SeqCst);
    account::open(hot, heap);
    if let Some(row) = heap.row() {
        start_row(row);
        if is_warm {
            heap.go_on();
            hot.set_ready(false);
        } else {
            hot.attach(id, heap.bins(), row);
        }
    }
    globals().threads_started.add_shared(1);
    set_hot(hot);
    // After the heap is set: this may allocate.
    hook_exit();
    Some(Some(hot))
}

/// A heap for a new thread.
struct Claimed {
    id: u32,
    /// It has slabs, and a record that leads to them.
    is_warm: bool,
}

/// A heap for a new thread: a warm one, an idle one, or the next that was never used. Its row has memory behind it.
fn claim() -> Option<Claimed> {
    let segment = boot::segment()?;
    let (_, room) = WINDOW.heaps();
    let mut central = central();
    if let Some(id) = heap::take_warm(&mut central) {
        return Some(Claimed { id, is_warm: true });
    }
    let id = if central.idle != NO_HEAP_ID { central.idle } else { central.made };
    if id as usize >= room {
        return None;
    }
    // SAFETY: there is room for it.
    let heap = unsafe { central::heap(id) };
    let row = segment.row(id as usize)?;
    if id == central.made {
        // SAFETY: there is room for it.
        unsafe { central::make_ready(id) }.ok()?;
        central.made += 1;
        heap.reset();
        globals().metadata.add_shared((size_of::<Heap>() + size_of::<Hot>()) as u64);
    } else {
        central.idle = heap.next_idle.get();
    }
    heap.set_row(row);
    Some(Claimed { id, is_warm: false })
}

/// Publishes that a new thread continues this row.
pub(crate) fn start_row(row: &Row) {
    let name = if segment::is_filtered() { [0; 16] } else { os::thread_name() };
    for (word, bytes) in row.name.iter().zip(name.chunks_exact(8)) {
        word.set(bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)));
    }
    let mut sums = [0; 6];
    for line in &row.lines {
        let [allocations, frees, requested_in, requested_out, ..] = &mut sums;
        *allocations += line.allocations.get();
        *frees += line.frees.get();
        *requested_in += line.requested_in.get();
        *requested_out += line.requested_out.get();
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
    row.tid.store(os::tid(), Ordering::Relaxed);
    row.started_ns.set(clock::read());
    row.ended_ns.set(0);
    row.state.store(row_state::LIVE, Ordering::Relaxed);
    row.generation.set_release(row.generation.get() + 1);
}

/// Prepares heap 0, once a process.
pub(crate) fn open_shared_heap() -> Option<()> {
    // SAFETY: heap 0 always has room.
    let (hot, heap) = unsafe { (central::hot(0), central::heap(0)) };
    let row = boot::segment()?.row(SHARED_ROW)?;
    row.state.store(row_state::SHARED, Ordering::Relaxed);
    heap.reset();
    heap.set_row(row);
    hot.attach(0, heap.bins(), row);
    Some(())
}

/// Gives up the calling thread's heap. What the thread still frees and allocates goes to the shared one.
fn detach() {
    let own = hot();
    let ready = own.ready();
    set_state(SHARED);
    set_hot(&NO_HEAP.0);
    if !wiped().ready.get() {
        // A child whose only thread ends without having used the heap: nobody is left to count.
        return;
    }
    let Some((id, _)) = ready else {
        globals().threads_ended.add_shared(1);
        return;
    };
    // SAFETY: a ready record has a heap.
    let heap = unsafe { central::heap(id) };
    account::close(own, heap);
    if let Some(row) = heap.row() {
        row.ended_ns.set(clock::read());
        row.state.store(row_state::ENDED, Ordering::Relaxed);
    }
    heap.leave_to_next(id);
    globals().threads_ended.add_shared(1);
}

// ---- the end of a thread ---------------------------------------------------------------------------------------

const NO_KEY: u32 = u32::MAX;
static EXIT_KEY: AtomicU32 = AtomicU32::new(NO_KEY);
/// glibc runs destructors of thread-specific data in up to four rounds. Ours waits for the second, so that those of
/// others in the first find the heap as it was; no longer, since a thread may use the heap for the first time in one
/// of those, and is then seen a round later.
const ROUNDS: usize = 2;

/// Makes the key whose destructor sees threads end. From the library's constructor.
pub(crate) fn watch_exits() {
    let mut key = 0;
    // SAFETY: `key` is writable and `thread_ends` stays loaded: a preloaded library is never unloaded.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) } == 0 {
        EXIT_KEY.store(key, Ordering::Relaxed);
        if hot().is_ready() {
            hook_exit();
        }
    }
}

fn hook_exit() {
    rearm(1);
}

fn rearm(round: usize) {
    let key = EXIT_KEY.load(Ordering::Relaxed);
    if key != NO_KEY {
        // SAFETY: a key of ours; the value is a number, never followed.
        unsafe { libc::pthread_setspecific(key, round as *const core::ffi::c_void) };
    }
}

unsafe extern "C" fn thread_ends(round: *mut core::ffi::c_void) {
    let round = round as usize;
    if round < ROUNDS { rearm(round + 1) } else { detach() }
}

// ---- now and then ----------------------------------------------------------------------------------------------

/// What slow paths do now and then.
pub(crate) fn housekeeping(heap: &Heap) {
    let Some(now) = clock::moved() else { return };
    heap.tick(now);
    if let Some(segment) = boot::segment() {
        segment::tick(segment, now);
    }
}
