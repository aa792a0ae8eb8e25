//! The window: the one address range in which all blocks lie, and the tables beside it.
//!
//! Two modes. *Reserved*: the whole window is one `PROT_NONE` mapping, made accessible in 2 MiB chunks from the
//! bottom. *Chunked*, under a finite `RLIMIT_AS`: an unused hole of the address space is the window, and chunks are
//! mapped into it one by one, skipping those that something else occupies. A program that limits itself while it runs
//! goes over from the first to the second.
//!
//! Invariant: of every unit below `granules`, the memory (holes excepted), the ledger and the records are accessible.

mod chunk;
mod growth;
pub(crate) mod huge;
mod opening;
mod tables;
mod unit;

pub(crate) use chunk::{Chunk, SHARERS};
pub(crate) use growth::{Part, commit_table, grow, occupy, release, vacate};
pub(crate) use opening::{HeapArea, open};
pub(crate) use tables::TABLES;
pub(crate) use unit::{Unit, UnitIndex, owner};

use crate::beside;
use crate::ledger::{self, Entry};
use crate::os;
use crate::slab::Slab;
use crate::span::Run;
use crate::stats::globals;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use shm_layout::class::{GRANULE, UNIT};

/// Memory is committed in steps of this many bytes, which is also a huge page.
pub(crate) const CHUNK: usize = 2 << 20;
/// Units in a chunk.
pub(crate) const CHUNK_UNITS: usize = CHUNK / UNIT;
/// OS pages in a unit.
pub(crate) const UNIT_PAGES: usize = UNIT / os::PAGE;
/// Granules in a unit, so also bytes of its ledger.
pub(crate) const UNIT_GRANULES: usize = UNIT / GRANULE;

/// Bytes of the largest window.
pub(crate) const LARGEST: usize = 1 << 40;
/// Bytes of the records of one unit; that of its chunk is shared by many.
pub(crate) const RECORDS: usize = size_of::<Unit>() + size_of::<AtomicU32>() + size_of::<Slab>() + size_of::<Run>();

// One line each.
const _: () = assert!(size_of::<Slab>() == 64);
// The ledger grows by whole groups.
const _: () = assert!((CHUNK / GRANULE).is_multiple_of(ledger::GROUP));

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
    chunks: AtomicUsize,
    bytes: AtomicUsize,
    /// Where the address space ends that was reserved for it: behind it, so that it could begin at a multiple of [`CHUNK`].
    end: AtomicUsize,
    tables: AtomicUsize,
    tables_bytes: AtomicUsize,
    heaps: AtomicUsize,
    stocks: AtomicUsize,
    /// Units whose ledger is accessible, and whose records in each table are.
    ledger_ready: AtomicUsize,
    records_ready: [AtomicUsize; growth::RECORD_TABLES],
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
    chunks: AtomicUsize::new(0),
    bytes: AtomicUsize::new(0),
    end: AtomicUsize::new(0),
    tables: AtomicUsize::new(0),
    tables_bytes: AtomicUsize::new(0),
    heaps: AtomicUsize::new(0),
    stocks: AtomicUsize::new(0),
    ledger_ready: AtomicUsize::new(0),
    records_ready: [const { AtomicUsize::new(0) }; growth::RECORD_TABLES],
    chunked: AtomicUsize::new(0),
    released: AtomicUsize::new(0),
    over_limit: AtomicUsize::new(0),
};

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

    /// Address of the heaps' area, and how many it has room for.
    pub(crate) fn heaps(&self) -> (usize, usize) {
        (self.heaps.load(Ordering::Relaxed), beside::count())
    }

    /// Address of the heaps' stocks in it.
    pub(crate) fn stocks(&self) -> usize {
        self.stocks.load(Ordering::Relaxed)
    }

    /// Address of the heaps' records in it.
    pub(crate) fn heap_records(&self) -> usize {
        beside::heaps()
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
        unsafe { &*(self.ledger.load(Ordering::Relaxed) as *const Entry).add(ledger::place(granule)) }
    }

    #[inline(always)]
    pub(crate) fn address(&self, unit: UnitIndex) -> *mut u8 {
        (self.base() + unit.0 as usize * UNIT) as *mut u8
    }

    #[inline(always)]
    pub(crate) fn unit_of_granule(granule: usize) -> UnitIndex {
        UnitIndex((granule / UNIT_GRANULES) as u32)
    }

    /// The unit whose slab record this is.
    pub(crate) fn unit_of(&self, slab: &Slab) -> UnitIndex {
        let offset = core::ptr::from_ref(slab) as usize - self.slabs.load(Ordering::Relaxed);
        UnitIndex((offset / size_of::<Slab>()) as u32)
    }

    table!(unit, units, Unit);

    /// The records of `count` units.
    ///
    /// # Safety
    /// The units lie below the committed end.
    pub(crate) unsafe fn units(&self, first: UnitIndex, count: usize) -> &'static [Unit] {
        // SAFETY: the caller's; the records lie side by side.
        unsafe { core::slice::from_raw_parts(self.unit(first), count) }
    }

    table!(slab, slabs, Slab);
    table!(head_number, heads, AtomicU32);
    table!(run, runs, Run);

    /// The chunk that the unit lies in.
    ///
    /// # Safety
    /// The unit lies below the committed end.
    pub(crate) unsafe fn chunk(&self, unit: UnitIndex) -> &'static Chunk {
        // SAFETY: the record is committed with the chunk's units; all atomics.
        unsafe { &*(self.chunks.load(Ordering::Relaxed) as *const Chunk).add(unit.0 as usize / CHUNK_UNITS) }
    }

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

    /// Clears what the ledger says of former blocks in a unit, in so many areas of which blocks will begin from now on.
    ///
    /// # Safety
    /// The unit was free, and is the caller's now.
    #[inline(always)]
    pub(crate) unsafe fn renew_ledger(&self, unit: UnitIndex, areas: usize) {
        // SAFETY: committed with its unit.
        let state = unsafe { self.unit(unit) }.state();
        if state != owner::CLEAN || areas > 0 {
            // SAFETY: the caller's.
            unsafe { self.renew_ledger_in(state, unit, areas) };
        }
    }

    /// # Safety
    /// As in `renew_ledger`; the unit is in this state.
    unsafe fn renew_ledger_in(&self, state: usize, unit: UnitIndex, areas: usize) {
        // What is cleared is written, too: its page may have been given back, and not those of all areas.
        let cleared = if state == owner::SPENT { 1 } else { owner::areas(state) };
        // SAFETY: the unit is the caller's.
        unsafe { if state == owner::SPENT { self.clear_large(unit) } else { self.clear_ledger(unit, cleared) } }
        // SAFETY: a committed unit.
        let pages = unsafe { self.chunk(unit) }.write_ledger(unit, areas.max(cleared));
        if pages > 0 {
            globals().metadata.add_shared(u64::from(pages) * os::PAGE as u64);
        }
    }

    /// Clears what the ledger says of a large block that began in the unit.
    ///
    /// # Safety
    /// It was freed, and the unit is the caller's.
    pub(crate) unsafe fn clear_large(&self, unit: UnitIndex) {
        // SAFETY: its entry and the three digits behind it; the caller is their only user.
        unsafe { core::ptr::write_bytes(self.ledger_part(unit, 0), 0, 4) };
    }

    /// Clears the unit's ledger in so many areas.
    ///
    /// # Safety
    /// There are no blocks in it, and it is the caller's.
    pub(crate) unsafe fn clear_ledger(&self, unit: UnitIndex, areas: usize) {
        for area in (0..ledger::AREAS).filter(|area| ledger::area_bits(areas) >> area & 1 != 0) {
            // SAFETY: the unit's part of an area; the caller is its only user.
            unsafe { core::ptr::write_bytes(self.ledger_part(unit, area), 0, ledger::PART) };
        }
    }

    /// Pages of the ledger that have been written, over all chunks.
    pub(crate) fn ledger_pages(&self) -> u64 {
        let chunks = (0..self.end().0).step_by(CHUNK_UNITS).map(UnitIndex);
        // SAFETY: below the committed end.
        chunks.map(|unit| u64::from(unsafe { self.chunk(unit) }.ledger_pages())).sum()
    }

    /// Where the unit's part of an area of the ledger lies.
    pub(crate) fn ledger_part(&self, unit: UnitIndex, area: usize) -> *mut u8 {
        let place = ledger::place(unit.0 as usize * UNIT_GRANULES + area);
        (self.ledger.load(Ordering::Relaxed) + place) as *mut u8
    }

    /// The ledger of `count` units, whole groups of it: `(address, bytes)`.
    pub(crate) fn ledger_range(&self, unit: UnitIndex, count: usize) -> (*mut u8, usize) {
        debug_assert!(((unit.0 as usize | count) * UNIT_GRANULES).is_multiple_of(ledger::GROUP));
        let start = self.ledger.load(Ordering::Relaxed) + unit.0 as usize * UNIT_GRANULES;
        (start as *mut u8, count * UNIT_GRANULES)
    }
}
