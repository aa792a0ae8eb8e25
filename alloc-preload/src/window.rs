//! The window: the one address range in which all blocks lie, and the tables beside it.
//!
//! Two modes. *Reserved*: the whole window is one `PROT_NONE` mapping, made accessible in 2 MiB chunks from the
//! bottom. *Chunked*, under a finite `RLIMIT_AS`: an unused hole of the address space is the window, and chunks are
//! mapped into it one by one, skipping those that something else occupies. A program that limits itself while it runs
//! goes over from the first to the second.
//!
//! Invariant: of every unit below `granules`, the memory (holes excepted), the ledger and the records are accessible.

mod growth;

pub(crate) use growth::{Part, commit_table, grow, release, remap, unmap};

use crate::ledger::Entry;
use crate::os;
use crate::slab::Slab;
use crate::span::Run;
use core::cell::Cell;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use shm_layout::class::{GRANULE, UNIT};
use shm_layout::layout::ROWS;

/// Memory is committed in steps of this many bytes, which is also a huge page.
pub(crate) const CHUNK: usize = 2 << 20;
/// Units in a chunk.
pub(crate) const CHUNK_UNITS: usize = CHUNK / UNIT;
/// Granules in a unit, so also bytes of ledger: one page.
pub(crate) const UNIT_GRANULES: usize = UNIT / GRANULE;

const LARGEST: usize = 1 << 40;
const SMALLEST: usize = 1 << 30;

/// Bytes of the records of one unit.
pub(crate) const RECORDS: usize = size_of::<Unit>() + size_of::<AtomicU32>() + size_of::<Slab>() + size_of::<Run>();

/// A unit's number, counted from the start of the window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UnitIndex(pub(crate) u32);

/// What a free needs to know about the unit its pointer lies in, one word. Read-mostly: other threads read it.
#[repr(transparent)]
pub(crate) struct Unit {
    /// The address of the bin that the slab's blocks go to, which tells heap and class (see `hot`); or one of the
    /// constants in [`owner`].
    owner: AtomicUsize,
}

/// Values of [`Unit::owner`] besides bins' addresses. Those of units in use are larger than any address, so that they
/// are in no range of addresses; the others are smaller.
pub(crate) mod owner {
    use crate::os::PAGE;

    /// Free, and no entry of its ledger page has ever been set, or all have been cleared.
    pub(crate) const CLEAN: usize = 0;
    /// A slab whose thread has ended.
    pub(crate) const ABANDONED: usize = usize::MAX - 1;
    /// Part of a large block's span.
    pub(crate) const SPAN: usize = usize::MAX;
    /// Free, with entries of former blocks in its ledger page.
    pub(crate) const MARKED: usize = 8;
    /// Free, with nothing in its ledger page but the entry of a large block that began there.
    pub(crate) const SPENT: usize = 32;
    /// Somebody else's memory (chunked mode).
    pub(crate) const HOLE: usize = 16;
    /// Given back to the system, to be mapped again in time of need (chunked mode).
    pub(crate) const VACANT: usize = 64;

    /// Whether this is the address of a heap's bin.
    #[inline(always)]
    pub(crate) fn is_heap(owner: usize) -> bool {
        owner.wrapping_sub(PAGE) < ABANDONED - PAGE
    }
}

impl Unit {
    #[inline(always)]
    pub(crate) fn owner(&self) -> usize {
        self.owner.load(Ordering::Relaxed)
    }

    pub(crate) fn set_owner(&self, owner: usize) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Whether the unit belongs to a slab or a span.
    pub(crate) fn is_used(&self) -> bool {
        !matches!(self.owner(), owner::CLEAN | owner::MARKED | owner::SPENT | owner::HOLE | owner::VACANT)
    }
}

/// Addresses and sizes; all zero until [`open`], so that every pointer lies outside.
#[repr(C, align(64))]
pub(crate) struct Window {
    base: AtomicUsize,
    granules: AtomicUsize,
    ledger: AtomicUsize,
    units: AtomicUsize,
    heads: AtomicUsize,
    slabs: AtomicUsize,
    runs: AtomicUsize,
    bytes: AtomicUsize,
    tables: AtomicUsize,
    tables_bytes: AtomicUsize,
    heaps: AtomicUsize,
    heap_count: AtomicUsize,
    /// Units whose ledger, and whose records, are accessible.
    ledger_ready: AtomicUsize,
    records_ready: AtomicUsize,
    chunked: AtomicUsize,
    /// Not zero once unused address space has been given up: then the tables, too, have to be mapped as they grow.
    released: AtomicUsize,
    over_limit: AtomicUsize,
}

/// The window of this process.
pub(crate) static WINDOW: Window = Window {
    base: AtomicUsize::new(0),
    granules: AtomicUsize::new(0),
    ledger: AtomicUsize::new(0),
    units: AtomicUsize::new(0),
    heads: AtomicUsize::new(0),
    slabs: AtomicUsize::new(0),
    runs: AtomicUsize::new(0),
    bytes: AtomicUsize::new(0),
    tables: AtomicUsize::new(0),
    tables_bytes: AtomicUsize::new(0),
    heaps: AtomicUsize::new(0),
    heap_count: AtomicUsize::new(0),
    ledger_ready: AtomicUsize::new(0),
    records_ready: AtomicUsize::new(0),
    chunked: AtomicUsize::new(0),
    released: AtomicUsize::new(0),
    over_limit: AtomicUsize::new(0),
};

/// Where window, ledger and unit records lie, in words for the fast path.
#[repr(C, align(64))]
pub(crate) struct Tables {
    base: Cell<usize>,
    ledger: Cell<*const Entry>,
    /// Where the entry of the granule at address 0 would lie.
    entries: Cell<*const Entry>,
    /// Where the record of the unit at address 0 would lie.
    units: Cell<*const Unit>,
}

// SAFETY: written once, by `open`, before any thread has a heap. Without one a thread reads `base` at most, and knows no
// granule, wherever that is.
unsafe impl Sync for Tables {}

/// The tables of [`WINDOW`].
pub(crate) static TABLES: Tables =
    Tables { base: Cell::new(0), ledger: Cell::new(null()), entries: Cell::new(null()), units: Cell::new(null()) };

impl Tables {
    #[inline(always)]
    pub(crate) fn base(&self) -> usize {
        self.base.get()
    }

    /// # Safety
    /// The calling thread has a heap, and the granule lies below the committed end.
    #[inline(always)]
    pub(crate) unsafe fn entry(&self, granule: usize) -> &'static Entry {
        // SAFETY: the ledger is accessible as far as the window is, and never unmapped.
        unsafe { &*self.ledger.get().add(granule) }
    }

    /// The entry of a block's granule.
    ///
    /// # Safety
    /// The calling thread has a heap, and the block lies below the committed end.
    #[inline(always)]
    pub(crate) unsafe fn entry_of(&self, block: *const u8) -> &'static Entry {
        // SAFETY: as in `entry`.
        unsafe { &*self.entries.get().wrapping_add(block as usize / GRANULE) }
    }

    /// The unit that a pointer lies in.
    ///
    /// # Safety
    /// The calling thread has a heap, and the pointer lies below the committed end.
    #[inline(always)]
    pub(crate) unsafe fn unit(&self, pointer: *const u8) -> &'static Unit {
        // SAFETY: the records are accessible as far as the window is, and never unmapped.
        unsafe { &*self.units.get().wrapping_add(pointer as usize / UNIT) }
    }
}

macro_rules! table {
    ($name:ident, $field:ident, $type:ty) => {
        /// # Safety
        /// The unit lies below the committed end.
        #[inline(always)]
        pub(crate) unsafe fn $name(&self, unit: UnitIndex) -> &'static $type {
            // SAFETY: the record is committed with its unit; its fields are atomics or guarded by their owner.
            unsafe { &*(self.$field.load(Ordering::Relaxed) as *const $type).add(unit.0 as usize) }
        }
    };
}

impl Window {
    #[inline(always)]
    pub(crate) fn base(&self) -> usize {
        self.base.load(Ordering::Relaxed)
    }

    /// Whether [`open`] has done its work.
    pub(crate) fn is_open(&self) -> bool {
        self.base() != 0
    }

    /// Address range: `(address, bytes)`.
    pub(crate) fn range(&self) -> (usize, usize) {
        (self.base(), self.bytes.load(Ordering::Relaxed))
    }

    /// Address range of the tables: `(address, bytes)`.
    pub(crate) fn tables(&self) -> (usize, usize) {
        (self.tables.load(Ordering::Relaxed), self.tables_bytes.load(Ordering::Relaxed))
    }

    /// Address of the heap records, and how many there is room for.
    pub(crate) fn heaps(&self) -> (usize, usize) {
        (self.heaps.load(Ordering::Relaxed), self.heap_count.load(Ordering::Relaxed))
    }

    /// Whether address space is scarce, and the window is mapped chunk by chunk.
    pub(crate) fn is_chunked(&self) -> bool {
        self.chunked.load(Ordering::Relaxed) != 0
    }

    /// Whether the kernel has kept address space that was to be given up: above its limit the program can map nothing,
    /// not even in the place of something else.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.over_limit.load(Ordering::Relaxed) != 0
    }

    /// Granules that are committed.
    #[inline(always)]
    pub(crate) fn granules(&self) -> usize {
        self.granules.load(Ordering::Acquire)
    }

    /// Units that are committed.
    pub(crate) fn end(&self) -> UnitIndex {
        UnitIndex((self.granules.load(Ordering::Relaxed) / UNIT_GRANULES) as u32)
    }

    /// Whether the address, in the window, is not ours: somebody else's memory, nobody's, or what may become so.
    pub(crate) fn is_hole(&self, address: usize) -> bool {
        match self.granule_of((address & !(GRANULE - 1)) as *const u8) {
            Some(granule) => {
                // SAFETY: `granule_of` answers for the unit.
                let unit = unsafe { self.unit(Self::unit_of_granule(granule)) };
                matches!(unit.owner(), owner::HOLE | owner::VACANT)
            }
            None => self.is_chunked(),
        }
    }

    /// Granule number of a pointer that may start a block of ours: in the committed window and aligned. The rotation
    /// brings the four low bits to the top, so one comparison refuses unaligned pointers too.
    #[inline(always)]
    pub(crate) fn granule_of(&self, pointer: *const u8) -> Option<usize> {
        let granule = (pointer as usize).wrapping_sub(self.base()).rotate_right(GRANULE.trailing_zeros());
        (granule < self.granules.load(Ordering::Relaxed)).then_some(granule)
    }

    /// # Safety
    /// The granule lies below the committed end.
    #[inline(always)]
    pub(crate) unsafe fn entry(&self, granule: usize) -> &'static Entry {
        // SAFETY: the ledger is committed as far as the window.
        unsafe { &*(self.ledger.load(Ordering::Relaxed) as *const Entry).add(granule) }
    }

    #[inline(always)]
    pub(crate) fn address(&self, unit: UnitIndex) -> *mut u8 {
        (self.base() + unit.0 as usize * UNIT) as *mut u8
    }

    #[inline(always)]
    pub(crate) fn unit_of_granule(granule: usize) -> UnitIndex {
        UnitIndex((granule / UNIT_GRANULES) as u32)
    }

    /// The unit that an address of the window lies in.
    #[inline(always)]
    pub(crate) fn unit_at(&self, address: *const u8) -> UnitIndex {
        UnitIndex(((address as usize).wrapping_sub(self.base()) / UNIT) as u32)
    }

    /// The unit whose slab record this is.
    pub(crate) fn unit_of(&self, slab: &Slab) -> UnitIndex {
        let offset = core::ptr::from_ref(slab) as usize - self.slabs.load(Ordering::Relaxed);
        UnitIndex((offset / size_of::<Slab>()) as u32)
    }

    table!(unit, units, Unit);
    table!(slab, slabs, Slab);
    table!(head_number, heads, AtomicU32);
    table!(run, runs, Run);

    /// The first unit of the slab or span that this one belongs to, or belonged to last.
    ///
    /// # Safety
    /// The unit lies below the committed end.
    #[inline]
    pub(crate) unsafe fn head(&self, unit: UnitIndex) -> UnitIndex {
        // SAFETY: the caller's.
        UnitIndex(unsafe { self.head_number(unit) }.load(Ordering::Relaxed))
    }

    /// # Safety
    /// The unit lies below the committed end, and is the caller's.
    pub(crate) unsafe fn set_head(&self, unit: UnitIndex, head: UnitIndex) {
        // SAFETY: the caller's.
        unsafe { self.head_number(unit) }.store(head.0, Ordering::Relaxed);
    }

    /// Clears what the ledger says of former blocks in a unit; true if its page had been written before.
    ///
    /// # Safety
    /// The unit was free, and is the caller's now.
    pub(crate) unsafe fn clear_ledger(&self, unit: UnitIndex) -> bool {
        let page = self.ledger.load(Ordering::Relaxed) + unit.0 as usize * UNIT_GRANULES;
        // SAFETY: committed with its unit.
        let written = match unsafe { self.unit(unit) }.owner() {
            owner::MARKED => UNIT_GRANULES,
            // An entry and the three digits behind it.
            owner::SPENT => 4,
            _ => return false,
        };
        // SAFETY: within the unit's page of the ledger; the caller is its only user.
        unsafe { core::ptr::write_bytes(page as *mut u8, 0, written) };
        true
    }

    /// The ledger pages of `count` units: `(address, bytes)`.
    pub(crate) fn ledger_range(&self, unit: UnitIndex, count: usize) -> (*mut u8, usize) {
        let page = self.ledger.load(Ordering::Relaxed) + unit.0 as usize * UNIT_GRANULES;
        (page as *mut u8, count * UNIT_GRANULES)
    }
}

/// Bytes of the heaps' records in the tables.
#[derive(Clone, Copy)]
pub(crate) struct HeapArea {
    /// All of them.
    pub(crate) bytes: usize,
    /// Those that are accessible from the start.
    pub(crate) ready: usize,
}

/// Reserves the window and its tables. `heap_area` tells what the records of so many heaps take. Called until it has
/// succeeded, before anything else of this module.
pub(crate) fn open(heap_area: fn(usize) -> HeapArea) -> os::Result<()> {
    let limit = os::limit(libc::RLIMIT_AS);
    if limit.is_none() {
        let mut bytes = LARGEST;
        while bytes >= SMALLEST {
            if try_reserved(bytes, heap_area).is_ok() {
                return Ok(());
            }
            bytes /= 2;
        }
    }
    let limit = limit.map_or(SMALLEST, |limit| usize::try_from(limit).unwrap_or(LARGEST));
    open_chunked(limit.clamp(CHUNK, LARGEST).next_multiple_of(CHUNK), heap_area)
}

fn try_reserved(bytes: usize, heap_area: fn(usize) -> HeapArea) -> os::Result<()> {
    let area = heap_area(ROWS);
    let shape = Shape::new(bytes, area.bytes);
    let window = os::reserve(bytes + CHUNK)?;
    let result = os::reserve(shape.total).and_then(|tables| {
        // SAFETY: the heap records lie in the reservation just made.
        let committed = unsafe { os::commit(tables.add(shape.heaps), area.ready) };
        if committed.is_err() {
            // SAFETY: the reservation just made, which nothing uses.
            let _ = unsafe { os::unmap(tables, shape.total) };
        }
        committed.map(|()| tables)
    });
    match result {
        Ok(tables) => {
            let base = (window as usize).next_multiple_of(CHUNK);
            publish(base, bytes, tables as usize, &shape, ROWS, false);
            Ok(())
        }
        Err(error) => {
            // SAFETY: the reservation just made, which nothing uses.
            let _ = unsafe { os::unmap(window, bytes + CHUNK) };
            Err(error)
        }
    }
}

/// Picks the window among addresses that neither the kernel nor a linker uses of its own accord: between 32 and
/// 48 TiB, moved about by the stack's random address.
fn open_chunked(bytes: usize, heap_area: fn(usize) -> HeapArea) -> os::Result<()> {
    let heaps = (bytes >> 20).clamp(16, ROWS);
    let shape = Shape::new(bytes, heap_area(heaps).bytes);
    let tables = os::map(shape.total)?;
    let random = (&raw const shape as usize).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
    publish((32 << 40) + (random << 32), bytes, tables as usize, &shape, heaps, true);
    Ok(())
}

fn publish(base: usize, bytes: usize, tables: usize, shape: &Shape, heaps: usize, chunked: bool) {
    let set = |field: &AtomicUsize, value| field.store(value, Ordering::Relaxed);
    let window = &WINDOW;
    set(&window.base, base);
    set(&window.bytes, bytes);
    set(&window.tables, tables);
    set(&window.tables_bytes, shape.total);
    set(&window.ledger, tables);
    set(&window.units, tables + shape.units);
    let (entries, units) = (tables as *const Entry, (tables + shape.units) as *const Unit);
    TABLES.base.set(base);
    TABLES.ledger.set(entries);
    TABLES.entries.set(entries.wrapping_sub(base / GRANULE));
    TABLES.units.set(units.wrapping_sub(base / UNIT));
    set(&window.slabs, tables + shape.slabs);
    set(&window.heads, tables + shape.heads);
    set(&window.runs, tables + shape.runs);
    set(&window.heaps, tables + shape.heaps);
    set(&window.heap_count, heaps);
    set(&window.chunked, usize::from(chunked));
}

/// Offsets of the tables in their reservation.
struct Shape {
    units: usize,
    heads: usize,
    slabs: usize,
    runs: usize,
    heaps: usize,
    total: usize,
}

impl Shape {
    fn new(bytes: usize, heap_area: usize) -> Self {
        // One unit more than there is: a run may look at its right neighbour without asking whether it exists.
        let count = bytes / UNIT + 1;
        let after = |offset: usize, size: usize| (offset + size).next_multiple_of(os::PAGE);
        let units = after(0, bytes / GRANULE);
        let heads = after(units, count * size_of::<Unit>());
        let slabs = after(heads, count * size_of::<AtomicU32>());
        let runs = after(slabs, count * size_of::<Slab>());
        let heaps_at = after(runs, count * size_of::<Run>());
        Self { units, heads, slabs, runs, heaps: heaps_at, total: after(heaps_at, heap_area) }
    }
}
