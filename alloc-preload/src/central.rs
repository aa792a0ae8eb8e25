//! What all heaps share: free runs, abandoned slabs, idle heaps. One lock, held for short and never while calling up.

use crate::background::Background;
use crate::beside;
use crate::heap::{Heap, Stock};
use crate::hot::Hot;
use crate::lock::{Guard, Lock};
use crate::options::options;
use crate::os;
use crate::slab::NO_UNIT;
use crate::span::Spans;
use crate::sync::UnsafeCell;
use crate::window::{HeapArea, Part, WINDOW, commit_table};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use shm_layout::class::CLASSES;

/// The state behind the lock.
pub(crate) struct Central {
    pub(crate) spans: Spans,
    /// Per class the first abandoned slab, a unit number.
    pub(crate) abandoned: [u32; CLASSES],
    /// First abandoned slab without a free block, of any class.
    pub(crate) abandoned_full: u32,
    /// First idle heap, or `NO_HEAP_ID`; linked by `Heap::next_idle`.
    pub(crate) idle: u32,
    /// The heap whose thread ended last of those that are warm, or `NO_HEAP_ID`; linked likewise.
    pub(crate) warm: u32,
    /// Heaps ever made; heap 0 is the one that threads without a heap share.
    pub(crate) made: u32,
    /// The heap with whose stock the last ones begin that have become accessible.
    pub(crate) stocks: u32,
}

/// No heap.
pub(crate) const NO_HEAP_ID: u32 = u32::MAX;
/// In the place of the next heap: on no list.
pub(crate) const UNLISTED: u32 = u32::MAX - 1;

struct Shared(UnsafeCell<Central>);

// SAFETY: only `Locked` hands out references, and only one exists at a time.
unsafe impl Sync for Shared {}

static CENTRAL: Shared = Shared(UnsafeCell::new(Central {
    spans: Spans::new(),
    abandoned: [NO_UNIT; CLASSES],
    abandoned_full: NO_UNIT,
    idle: NO_HEAP_ID,
    warm: NO_HEAP_ID,
    made: 1,
    stocks: 0,
}));

/// Set while the state is being changed. Unlike the lock it survives a fork: then the change was cut off.
static CHANGING: AtomicBool = AtomicBool::new(false);
/// Set when that was noticed.
static REPAIRED: AtomicBool = AtomicBool::new(false);

/// The page that a forked child finds zeroed.
#[repr(C)]
pub(crate) struct Wiped {
    pub(crate) ready: Ready,
    /// Guards what makes a child a process of its own.
    pub(crate) recovery: Lock,
    pub(crate) central: Lock,
    pub(crate) leased: Leased,
    /// Guards heap 0 and row 0.
    pub(crate) shared_heap: Lock,
    pub(crate) background: Background,
}

/// Set in a process that has its own segment and locks in a known state. On a line that nothing else is written to:
/// every slow path asks.
#[repr(C, align(64))]
pub(crate) struct Ready(AtomicUsize);

/// Bytes of the peaks' permitted error that heaps have on lease. On a line of their own: whoever settles reads them.
#[repr(C, align(64))]
pub(crate) struct Leased(pub(crate) AtomicU64);

impl Ready {
    #[inline]
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    pub(crate) fn set(&self) {
        self.0.store(1, Ordering::Release);
    }
}

/// The central state, locked.
pub(crate) struct Locked {
    _guard: Guard<'static>,
}

impl core::ops::Deref for Locked {
    type Target = Central;
    fn deref(&self) -> &Central {
        // SAFETY: the lock is held.
        unsafe { &*CENTRAL.0.get() }
    }
}

impl core::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Central {
        // SAFETY: the lock is held.
        unsafe { &mut *CENTRAL.0.get() }
    }
}

/// How long a thread takes to wake up, in ns, and to do what it wanted the lock for.
const WAKING: u64 = 100_000;

impl Locked {
    /// Lets go of it, and lets whoever sleeps until it is free have it first: the calling thread, which does not have to wake
    /// up, would nearly always have it again before.
    pub(crate) fn give_way(self) {
        let is_wanted = wiped().central.is_wanted();
        drop(self);
        if is_wanted {
            os::thread::sleep(WAKING);
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        CHANGING.store(false, Ordering::Relaxed);
    }
}

/// Locks the central state. In a child whose parent was forked while another of its threads changed it, the runs are
/// put in order first.
#[inline(never)]
pub(crate) fn central() -> Locked {
    let guard = wiped().central.lock();
    let cut_off = CHANGING.load(Ordering::Relaxed);
    CHANGING.store(true, Ordering::Relaxed);
    let mut locked = Locked { _guard: guard };
    if cut_off {
        REPAIRED.store(true, Ordering::Relaxed);
        locked.spans.rebuild();
    }
    locked
}

/// Whether the parent was forked while another of its threads changed the central state. Only for a child.
pub(crate) fn was_cut_off() -> bool {
    CHANGING.load(Ordering::Relaxed) || REPAIRED.load(Ordering::Relaxed)
}

/// The child has been told, and its children are not to be.
pub(crate) fn is_in_order() {
    REPAIRED.store(false, Ordering::Relaxed);
}

// The heaps' area: the wiped page, the hot records (wiped as well), the heaps' stocks, the heaps; behind as many of these as
// there can be lies the segment.

/// Heaps that become accessible at a time.
const STEP: usize = 4;

/// The area for `count` heaps.
pub(crate) fn heap_area(count: usize) -> HeapArea {
    let stocks = os::PAGE + (count * size_of::<Hot>()).next_multiple_of(os::PAGE);
    let stocks_end = |heaps: usize| stocks + heaps * size_of::<Stock>();
    let (heaps, first) = (stocks_end(count), STEP.min(count));
    HeapArea {
        stocks,
        heaps,
        segment: heaps + beside::SEGMENT,
        ready: [(0, stocks_end(first)), (heaps, first * size_of::<Heap>())],
    }
}

/// Makes heap `id`, the next one that was never used, accessible. Under the central lock.
///
/// # Safety
/// `id` is below the number of heaps there is room for.
pub(crate) unsafe fn make_ready(id: u32, central: &mut Central) -> os::Result<()> {
    let (_, count) = WINDOW.heaps();
    if !(id as usize).is_multiple_of(STEP) || id == 0 {
        return Ok(());
    }
    let more = STEP.min(count - id as usize);
    // SAFETY: the heaps' area is ours.
    unsafe {
        // It may have been the heaps for which there was no memory.
        if central.stocks < id {
            commit_table(Part::Stocks, core::ptr::from_ref(stock(id)).cast_mut().cast(), more * size_of::<Stock>())?;
            central.stocks = id;
        }
        commit_table(Part::Heaps, core::ptr::from_ref(heap(id)).cast_mut().cast(), more * size_of::<Heap>())
    }
}

/// From now on there are so many heaps at most, fewer than there might have been: gives up the address space of the others'
/// hot records. Under the central lock.
#[cold]
pub(crate) fn have_heaps(count: usize) {
    // First: what a child that is forked in between does not have, it does not map.
    beside::have(count);
    let from = (WINDOW.heaps().0 + os::PAGE + count * size_of::<Hot>()).next_multiple_of(os::PAGE);
    // SAFETY: records that no thread has ever had.
    let _ = unsafe { os::unmap(from as *mut u8, WINDOW.stocks() - from) };
}

/// Where the accessible stocks and heaps end.
#[cold]
#[inline(never)]
pub(crate) fn heaps_end(central: &Central) -> [usize; 2] {
    let (_, count) = WINDOW.heaps();
    let ready = |heaps: u32| (heaps as usize).next_multiple_of(STEP).min(count);
    let (stocks, heaps) = (ready(central.made.max(central.stocks + 1)), ready(central.made));
    [WINDOW.stocks() + stocks * size_of::<Stock>(), WINDOW.heap_records() + heaps * size_of::<Heap>()]
}

/// The same in a child that counts in its parent's segment still: to lock the central state may repair it, which is counted.
///
/// # Safety
/// No other thread uses the heap.
pub(crate) unsafe fn heaps_end_in_child() -> [usize; 2] {
    // SAFETY: the caller's.
    heaps_end(unsafe { &*CENTRAL.0.get() })
}

/// Makes sure that a child finds hot records and locks zeroed; false where the kernel refuses.
pub(crate) fn wipe_on_fork() -> bool {
    let (area, _) = WINDOW.heaps();
    // SAFETY: our own area.
    unsafe { os::wipe_on_fork(area as *mut u8, WINDOW.stocks() - area) }.is_ok()
}

/// Zeroes what `wipe_on_fork` covers, by hand.
///
/// # Safety
/// Only in a forked child, before anything else.
pub(crate) unsafe fn wipe_now() {
    let (area, count) = WINDOW.heaps();
    let used = os::PAGE + (heaps_made().min(count)) * size_of::<Hot>();
    // SAFETY: the child's only thread is here, and zero is a valid state of everything in the area.
    unsafe { core::ptr::write_bytes(area as *mut u8, 0, used) };
}

fn heaps_made() -> usize {
    // SAFETY: a plain copy in the only thread of a child.
    unsafe { (*CENTRAL.0.get()).made as usize }
}

/// The wiped page. The window must be open.
pub(crate) fn wiped() -> &'static Wiped {
    // SAFETY: the first page of the area; zero is a valid state.
    unsafe { &*(WINDOW.heaps().0 as *const Wiped) }
}

/// The hot record of heap `id`.
///
/// # Safety
/// `id` is below the number of heaps there is room for.
pub(crate) unsafe fn hot(id: u32) -> &'static Hot {
    let (area, _) = WINDOW.heaps();
    // SAFETY: the caller's.
    unsafe { &*((area + os::PAGE) as *const Hot).add(id as usize) }
}

/// Heap `id`.
///
/// # Safety
/// As [`hot`]; and to use it, it was made.
pub(crate) unsafe fn heap(id: u32) -> &'static Heap {
    // SAFETY: the caller's.
    unsafe { &*(WINDOW.heap_records() as *const Heap).add(id as usize) }
}

/// What of heap `id` is long.
///
/// # Safety
/// As [`heap`].
pub(crate) unsafe fn stock(id: u32) -> &'static Stock {
    // SAFETY: the caller's.
    unsafe { &*(WINDOW.stocks() as *const Stock).add(id as usize) }
}

/// The heap whose bins lie there.
///
/// # Safety
/// The heap has been made.
#[inline(always)]
pub(crate) unsafe fn heap_named(name: usize) -> &'static Heap {
    // SAFETY: the caller's; a heap begins with its bins.
    unsafe { &*(name as *const Heap) }
}

/// The number of the heap of this name.
pub(crate) fn id_of(name: usize) -> u32 {
    ((name - WINDOW.heap_records()) / size_of::<Heap>()) as u32
}

/// Decay time in nanoseconds; `None`: never.
pub(crate) fn decay_ns() -> Option<u64> {
    options().decay_ms.map(|ms| u64::from(ms) * 1_000_000)
}
