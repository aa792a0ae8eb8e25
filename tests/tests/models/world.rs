//! The world of a model, new for every interleaving: heaps with their rows, and what a thread does to one. What the fast
//! path does in the library stands here in its plain form, made of the same functions of ledger, bins and heap.

use crate::bin::Bin;
use crate::central::{self, Central, NO_HEAP_ID, central};
use crate::heap::{self, Heap, usage};
use crate::hot;
use crate::ledger;
use crate::misuse;
use crate::segment::LineSum;
use crate::slab::{NO_UNIT, Slab};
use crate::span::Spans;
use crate::stats;
use crate::sync::{self, Ordering};
use crate::window::{HEAPS, UNITS, UnitIndex, WINDOW, Window, owner};
use shm_layout::class::{CLASSES, SizeClass};
use shm_layout::layout::{Globals, Row};
use shm_layout::tally::Scale;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Size of the blocks in the models, in bytes: so large that they are carved one by one, and handed over one by one.
pub(crate) const SIZE: usize = 8192;

pub(crate) fn class() -> SizeClass {
    SizeClass::of(SIZE).unwrap()
}

/// Tries `model` in every interleaving with at most so many preemptions, `None` for all there are.
pub(crate) fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    // One world at a time.
    static WORLD: Mutex<()> = Mutex::new(());
    let _guard = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    let tried = std::sync::Arc::new(core::sync::atomic::AtomicUsize::new(0));
    let count = tried.clone();
    builder.check(move || {
        count.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        begin();
        model();
    });
    println!("{} interleavings", tried.load(core::sync::atomic::Ordering::Relaxed));
}

fn begin() {
    static GLOBALS: OnceLock<&'static Globals> = OnceLock::new();
    sync::begin();
    WINDOW.clear();
    misuse::told();
    stats::set_globals(GLOBALS.get_or_init(|| {
        // SAFETY: counters and atomics, which may be zero.
        Box::leak(unsafe { Box::<Globals>::new_zeroed().assume_init() })
    }));
    // What several threads use exists before they do.
    let globals = stats::globals();
    for counter in [&globals.stranded, &globals.adopted, &globals.cached, &globals.metadata, &globals.threads_ended] {
        counter.set(0);
    }
    for unit in (0..UNITS as u32).map(UnitIndex) {
        // SAFETY: in the window.
        unsafe { WINDOW.unit(unit) }.set_owner(owner::CLEAN);
    }
    *central() = Central {
        spans: Spans::new(),
        abandoned: [NO_UNIT; CLASSES],
        abandoned_full: NO_UNIT,
        idle: NO_HEAP_ID,
        warm: NO_HEAP_ID,
        made: 1,
        stocks: 0,
    };
}

/// Row `id`.
pub(crate) fn row(id: u32) -> &'static Row {
    static ROWS: OnceLock<Box<[Row]>> = OnceLock::new();
    // SAFETY: as in `begin`.
    let rows = ROWS.get_or_init(|| unsafe { Box::new_zeroed_slice(HEAPS).assume_init() });
    &rows[id as usize]
}

/// Address of the counters that belong to the bin at this one.
pub(crate) fn line_of(bin: usize) -> usize {
    let offset = bin - WINDOW.heap_records();
    let (id, class) = (offset / size_of::<Heap>(), offset % size_of::<Heap>() / size_of::<Bin>());
    core::ptr::from_ref(&row(id as u32).lines[class]) as usize
}

/// Heap `id` of a thread that begins.
pub(crate) fn start(id: u32) -> &'static Heap {
    // SAFETY: there is room for it.
    let heap = unsafe { central::heap(id) };
    heap.reset();
    heap.usage().store(usage::USED, Ordering::SeqCst);
    heap.set_row(row(id));
    heap
}

/// The warm heap whose thread ended last, for a thread that begins, if there is one.
pub(crate) fn start_warm() -> Option<&'static Heap> {
    let id = heap::unlist(&mut central().warm)?;
    // SAFETY: made before.
    let heap = unsafe { central::heap(id) };
    heap.usage().store(usage::USED, Ordering::SeqCst);
    heap.go_on();
    Some(heap)
}

/// A block of the heap.
pub(crate) fn allocate(heap: &Heap) -> *mut u8 {
    let bin = heap.bins().bin(class());
    loop {
        if let Some(block) = bin.pop() {
            let entry = entry(block.as_ptr());
            assert!(ledger::is_free(entry.get()), "handed out twice");
            // SAFETY: a free block of our heap.
            unsafe { entry.set_live(0) };
            hot::count_in(&row_of(heap).lines[class().0 as usize], Scale::class(class()), SIZE);
            return block.as_ptr();
        }
        heap.fill(class()).expect("there are units");
    }
}

/// Counts a block as the heap's thread would, without one.
pub(crate) fn count(heap: &Heap) {
    hot::count_in(heap.small_line(class()).unwrap(), Scale::class(class()), SIZE);
}

/// Frees a live block. False if that was a mistake which was noticed at once.
pub(crate) fn free(heap: &Heap, block: *mut u8) -> bool {
    let granule = WINDOW.granule_of(block).unwrap();
    let tag = entry(block).get();
    if !ledger::is_live(tag) {
        return false;
    }
    // SAFETY: just looked at.
    let freed = unsafe { heap.give(block, granule, tag, class()) }.is_some();
    if freed {
        hot::count_out(&row_of(heap).lines[class().0 as usize], Scale::class(class()), SIZE);
    }
    freed
}

/// The address of a block that may go to another thread.
#[derive(Clone, Copy)]
pub(crate) struct Block(pub(crate) *mut u8);
// SAFETY: an address.
unsafe impl Send for Block {}

impl Block {
    pub(crate) fn free(self, by: Of) -> bool {
        free(by.0, self.0)
    }
}

/// The heap of another thread.
#[derive(Clone, Copy)]
pub(crate) struct Of(pub(crate) &'static Heap);
// SAFETY: only that thread uses it.
unsafe impl Send for Of {}

impl Of {
    pub(crate) fn heap(self) -> &'static Heap {
        self.0
    }
}

fn row_of(heap: &Heap) -> &'static Row {
    heap.row().unwrap()
}

pub(crate) fn entry(block: *mut u8) -> &'static ledger::Entry {
    // SAFETY: a block of the window.
    unsafe { WINDOW.entry(WINDOW.granule_of(block).unwrap()) }
}

/// The slab that the block lies in.
pub(crate) fn slab_of(block: *mut u8) -> &'static Slab {
    let unit = Window::unit_of_granule(WINDOW.granule_of(block).unwrap());
    // SAFETY: in the window.
    unsafe { WINDOW.slab(WINDOW.head(unit)) }
}

/// Live blocks over all rows.
pub(crate) fn live() -> u64 {
    line().live_blocks()
}

/// The class's line over all rows.
pub(crate) fn line() -> LineSum {
    let first = class().0 as usize / 8 * 8;
    crate::segment::lines(crate::segment::Segment, first)[class().0 as usize % 8]
}

/// At the end, with no thread left: all that is on its way arrives, and nothing is left anywhere.
pub(crate) fn everything_returns(heaps: &[&'static Heap]) {
    for heap in heaps {
        heap.hand_over();
        if heap.usage().load(Ordering::SeqCst) == usage::USED {
            heap.abandon();
        }
    }
    heap::cool(u64::MAX);
    for unit in (0..UNITS as u32).map(UnitIndex) {
        // SAFETY: in the window.
        let owner = unsafe { WINDOW.unit(unit) }.owner();
        assert!(central().spans.is_free(unit), "unit {unit:?} is kept, by {owner:#x}");
    }
    assert_eq!(stats::globals().stranded.get(), 0);
}
