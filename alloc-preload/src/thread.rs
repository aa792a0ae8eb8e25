//! Threads: which heap a thread has, from its first call to its last.

mod gone;
pub(crate) mod rows;

use crate::account;
use crate::boot;
use crate::cancel::Shelter;
use crate::central::{self, central, wiped};
use crate::clock;
use crate::fork;
use crate::heap::{Heap, usage};
use crate::hot::{Hot, NO_HEAP};
use crate::lock::Guard;
use crate::misuse;
use crate::segment;
use crate::stats::globals;
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use rows::Claimed;
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

/// How often threads have begun to use a heap, and the shared one or left it. While it stays the same, and one thread has a
/// heap, no other changes anything. Private memory: a child finds it as it was at the fork.
static USES: AtomicU64 = AtomicU64::new(0);

pub(crate) fn uses() -> u64 {
    USES.load(Ordering::SeqCst)
}

/// After the thread counts as started: whoever sees the one sees the other.
fn note_use() {
    USES.fetch_add(1, Ordering::SeqCst);
}

/// Runs `work` with the calling thread's heap, or with the shared one. `None` when there is no memory even for that. Every
/// slow path comes here, and the end of a thread does likewise, so no lock is ever held by a thread that can be cancelled.
#[inline]
pub(crate) fn with_heap<T>(work: impl FnOnce(&'static Hot, &'static Heap) -> T) -> Option<T> {
    let _shelter = Shelter::enter();
    let mut shared = None;
    let (hot, heap) = match own_heap().filter(|_| wiped().ready.get()) {
        Some(own) => own,
        None => late_heap(&mut shared)?,
    };
    Some(work(hot, heap))
}

/// The calling thread's heap, if it has one.
#[inline]
fn own_heap() -> Option<(&'static Hot, &'static Heap)> {
    let hot = hot();
    // SAFETY: a ready record has a heap.
    hot.ready().map(|(name, _)| (hot, unsafe { central::heap_named(name) }))
}

/// A heap for a thread that has none yet, or the shared one for as long as `shared` is there.
#[inline(never)]
fn late_heap(shared: &mut Option<Shared>) -> Option<(&'static Hot, &'static Heap)> {
    attach()?;
    if let own @ Some(_) = own_heap() {
        return own;
    }
    let Shared { hot, heap, .. } = shared.insert(Shared::enter()?);
    Some((hot, heap))
}

/// Holds the shared heap until dropped.
struct Shared {
    hot: &'static Hot,
    heap: &'static Heap,
    _guard: Guard<'static>,
    /// Ends after the lock.
    _deferral: misuse::Deferral,
}

impl Shared {
    fn enter() -> Option<Self> {
        let guard = wiped().shared_heap.lock();
        // SAFETY: heap 0 always exists.
        let (hot, heap) = unsafe { (central::hot(0), central::heap(0)) };
        if heap.row().is_none() {
            prepare_shared_heap(boot::segment()?.row_in_use(SHARED_ROW)?);
        }
        note_use();
        heap.usage().store(usage::USED, Ordering::SeqCst);
        account::open(hot, heap);
        Some(Self { hot, heap, _guard: guard, _deferral: misuse::Deferral::begin() })
    }
}

impl Drop for Shared {
    #[cold]
    #[inline(never)]
    fn drop(&mut self) {
        account::close(self.hot, self.heap);
        // Before and after: the heap looks idle from some point within on.
        note_use();
        self.heap.abandon();
        note_use();
    }
}

/// Gives the calling thread a heap, unless it has to use the shared one. `None` if there is no memory.
fn attach() -> Option<()> {
    boot::ensure()?;
    if !wiped().ready.get() {
        // A child may have made threads before any of them comes here.
        let _recovery = wiped().recovery.lock();
        if !wiped().ready.get() {
            // SAFETY: `ready` is zero only in a forked child, and the lock is held.
            unsafe { fork::recover(hot()) }?;
        }
    }
    if hot().is_ready() {
        return Some(());
    }
    leave_wiped();
    if state() == SHARED {
        return Some(());
    }
    let Some(Claimed { id, is_warm }) = claim() else {
        globals().threads_without_row.add_shared(1);
        globals().threads_started.add_shared(1);
        note_use();
        set_state(SHARED);
        hook_exit();
        return Some(());
    };
    // SAFETY: `claim` made sure there is room for it.
    let (hot, heap) = unsafe { (central::hot(id), central::heap(id)) };
    heap.usage().store(usage::USED, Ordering::SeqCst);
    account::open(hot, heap);
    if let Some(row) = heap.row() {
        rows::begin(heap, row);
        if is_warm {
            heap.go_on();
            hot.set_ready(false);
        } else {
            hot.attach(heap.bins(), row);
        }
    }
    globals().threads_started.add_shared(1);
    note_use();
    set_hot(hot);
    // After the heap is set: this may allocate.
    hook_exit();
    Some(())
}

/// In a child in which another thread came first: the one that forked has no use for the heap any more that it had before.
fn leave_wiped() {
    let own = hot();
    if !own.is_ready() {
        set_hot(&NO_HEAP.0);
        fork::let_go(own);
    }
}

/// With more heaps, it is asked whether some have lost their threads before another is made.
const MANY: u32 = 64;

/// A heap for the calling thread.
fn claim() -> Option<Claimed> {
    rows::claim(rows::From::Idle).or_else(|| {
        // A thread whose first call comes in the last rounds of destructors ends unseen.
        if !sees_exits() || central().made > MANY {
            gone::retire_some();
        }
        rows::claim(rows::From::All)
    })
}

/// Publishes row 0, once a process. Its heap is prepared when a thread first needs it, and in a child whose parent did.
pub(crate) fn open_shared_row() -> Option<&'static Row> {
    let row = boot::segment()?.row(SHARED_ROW)?;
    row.state.store(row_state::SHARED, Ordering::Relaxed);
    // SAFETY: heap 0 always has room.
    if unsafe { central::heap(0) }.row().is_some() {
        prepare_shared_heap(row);
    }
    Some(row)
}

#[cold]
fn prepare_shared_heap(row: &'static Row) {
    // SAFETY: heap 0 always has room.
    let (hot, heap) = unsafe { (central::hot(0), central::heap(0)) };
    heap.reset();
    heap.set_row(row);
    hot.attach(heap.bins(), row);
}

/// Gives up the calling thread's heap. What the thread still frees and allocates goes to the shared one.
fn detach() {
    let own = hot();
    let ready = own.ready();
    let was_shared = state() == SHARED;
    set_state(SHARED);
    set_hot(&NO_HEAP.0);
    if !wiped().ready.get() {
        // In a child whose heap no thread has used yet: this one has not been counted.
        return;
    }
    match ready {
        Some((name, _)) => retire(central::id_of(name), own),
        None if was_shared => {
            globals().threads_ended.add_shared(1);
        }
        // In a child, the thread that forked has not used the heap since.
        None => fork::let_go(own),
    }
}

/// Gives up heap `id`, whose hot record this is, and whose thread uses it no more.
fn retire(id: u32, own: &Hot) {
    // SAFETY: it was made.
    let heap = unsafe { central::heap(id) };
    account::close(own, heap);
    rows::retire(id, heap);
}

// ---- the end of a thread ---------------------------------------------------------------------------------------

const NO_KEY: u32 = u32::MAX;
static EXIT_KEY: AtomicU32 = AtomicU32::new(NO_KEY);
/// glibc runs destructors of thread-specific data in up to four rounds. Ours waits for the second, so that those of
/// others in the first find the heap as it was; no longer, since a thread may use the heap for the first time in one
/// of those. In the last two it is not seen any more (see [`gone`]).
const ROUNDS: usize = 2;

/// Makes the key whose destructor sees threads end. From the library's constructor, which comes before others as far as
/// the dynamic linker lets it: there are 1,024 keys, and where none is left, threads end unseen (see [`gone`]).
pub(crate) fn watch_exits() {
    let mut key = 0;
    // SAFETY: `key` is writable and `thread_ends` stays loaded: the library is linked so that it is never unloaded.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(thread_ends)) } == 0 {
        EXIT_KEY.store(key, Ordering::Relaxed);
        if hot().is_ready() {
            hook_exit();
        }
    }
}

fn sees_exits() -> bool {
    EXIT_KEY.load(Ordering::Relaxed) != NO_KEY
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

/// A thread that may be cancelled at any instruction may be so here as well. Its key has been cleared by then: what is not
/// done now is never done.
unsafe extern "C" fn thread_ends(round: *mut core::ffi::c_void) {
    let _shelter = Shelter::enter();
    let round = round as usize;
    if round < ROUNDS { rearm(round + 1) } else { detach() }
}

// ---- now and then ----------------------------------------------------------------------------------------------

/// As [`with_heap`], and does what slow paths do now and then: the history is written first, since what it shows of the time
/// that the program let pass is how things stood until this call.
#[inline]
pub(crate) fn in_passing<T>(work: impl FnOnce(&'static Hot, &'static Heap) -> T) -> Option<T> {
    with_heap(|hot, heap| {
        let moved = clock::moved();
        if let Some(now) = moved {
            remember(now);
        }
        let result = work(hot, heap);
        if let Some(now) = moved {
            look_after(heap, now);
        }
        result
    })
}

#[inline(never)]
fn remember(now: u64) {
    if let Some(segment) = boot::segment() {
        segment::tick(segment, now);
    }
}

#[inline(never)]
fn look_after(heap: &Heap, now: u64) {
    heap.tick(now);
}
