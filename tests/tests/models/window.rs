//! A window of a few units, with its tables. Everything in it may be zeroed, and lies where it lies for good.

#[path = "../../../alloc-preload/src/window/unit.rs"]
mod unit;

pub(crate) use unit::{Unit, UnitIndex, owner};

use crate::heap::Heap;
use crate::ledger::{self, Entry};
use crate::os;
use crate::slab::Slab;
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::class::{GRANULE, PAIR, UNIT};
use std::alloc::{Layout, alloc_zeroed};
use std::sync::OnceLock;

pub(crate) const UNIT_PAGES: usize = UNIT / os::PAGE;
pub(crate) const UNIT_GRANULES: usize = UNIT / GRANULE;
/// Units of a slab in the models.
pub(crate) const SLAB_UNITS: usize = PAIR / UNIT;
/// Units in the window: of three slabs.
pub(crate) const UNITS: usize = 3 * SLAB_UNITS;
/// Heaps there is room for.
pub(crate) const HEAPS: usize = 4;

pub(crate) struct Window(OnceLock<Places>);

struct Places {
    base: usize,
    ledger: usize,
    units: usize,
    slabs: usize,
    heads: usize,
    heaps: usize,
    heaps_bytes: usize,
    area: HeapArea,
}

pub(crate) static WINDOW: Window = Window(OnceLock::new());

fn zeroed(bytes: usize, align: usize) -> usize {
    // SAFETY: not of size zero.
    unsafe { alloc_zeroed(Layout::from_size_align(bytes, align).unwrap()) as usize }
}

impl Window {
    fn places(&self) -> &Places {
        self.0.get_or_init(|| {
            let area = crate::central::heap_area(HEAPS);
            let heaps_bytes = area.heaps + HEAPS * size_of::<Heap>();
            Places {
                base: zeroed(UNITS * UNIT, UNIT),
                ledger: zeroed(ledger::GROUP * size_of::<Entry>(), os::PAGE),
                units: zeroed(UNITS * size_of::<Unit>(), os::PAGE),
                slabs: zeroed(UNITS * size_of::<Slab>(), os::PAGE),
                heads: zeroed(UNITS * size_of::<AtomicU32>(), os::PAGE),
                heaps: zeroed(heaps_bytes, os::PAGE),
                heaps_bytes,
                area,
            }
        })
    }

    /// Zeroes the heaps and everything the program or a slab has written.
    pub(crate) fn clear(&self) {
        let places = self.places();
        // SAFETY: no thread runs, and zero is a valid state.
        unsafe {
            core::ptr::write_bytes(places.heaps as *mut u8, 0, places.heaps_bytes);
            core::ptr::write_bytes(places.slabs as *mut u8, 0, UNITS * size_of::<Slab>());
        }
    }

    pub(crate) fn is_chunked(&self) -> bool {
        false
    }

    pub(crate) fn base(&self) -> usize {
        self.places().base
    }

    pub(crate) fn heaps(&self) -> (usize, usize) {
        (self.places().heaps, HEAPS)
    }

    pub(crate) fn stocks(&self) -> usize {
        self.places().heaps + self.places().area.stocks
    }

    pub(crate) fn heap_records(&self) -> usize {
        self.places().heaps + self.places().area.heaps
    }

    pub(crate) fn granules(&self) -> usize {
        UNITS * UNIT_GRANULES
    }

    pub(crate) fn granule_of(&self, pointer: *const u8) -> Option<usize> {
        let granule = (pointer as usize).wrapping_sub(self.base()).rotate_right(GRANULE.trailing_zeros());
        (granule < self.granules()).then_some(granule)
    }

    pub(crate) fn unit_of_granule(granule: usize) -> UnitIndex {
        UnitIndex((granule / UNIT_GRANULES) as u32)
    }

    pub(crate) fn address(&self, unit: UnitIndex) -> *mut u8 {
        (self.base() + unit.0 as usize * UNIT) as *mut u8
    }

    pub(crate) fn unit_of(&self, slab: &Slab) -> UnitIndex {
        UnitIndex(((core::ptr::from_ref(slab) as usize - self.places().slabs) / size_of::<Slab>()) as u32)
    }

    pub(crate) unsafe fn entry(&self, granule: usize) -> &'static Entry {
        assert!(granule < self.granules());
        // SAFETY: just compared.
        unsafe { &*(self.places().ledger as *const Entry).add(ledger::place(granule)) }
    }

    pub(crate) unsafe fn unit(&self, unit: UnitIndex) -> &'static Unit {
        assert!((unit.0 as usize) < UNITS);
        // SAFETY: just compared.
        unsafe { &*(self.places().units as *const Unit).add(unit.0 as usize) }
    }

    pub(crate) unsafe fn slab(&self, unit: UnitIndex) -> &'static Slab {
        assert!((unit.0 as usize) < UNITS);
        // SAFETY: just compared.
        unsafe { &*(self.places().slabs as *const Slab).add(unit.0 as usize) }
    }

    pub(crate) unsafe fn head(&self, unit: UnitIndex) -> UnitIndex {
        UnitIndex(self.head_number(unit).load(Ordering::Relaxed))
    }

    pub(crate) unsafe fn set_head(&self, unit: UnitIndex, head: UnitIndex) {
        self.head_number(unit).store(head.0, Ordering::Relaxed);
    }

    fn head_number(&self, unit: UnitIndex) -> &'static AtomicU32 {
        assert!((unit.0 as usize) < UNITS);
        // SAFETY: just compared.
        unsafe { &*(self.places().heads as *const AtomicU32).add(unit.0 as usize) }
    }

    pub(crate) unsafe fn renew_ledger(&self, _: UnitIndex, _: usize) {}
}

/// As the fast path sees it.
pub(crate) struct Tables;
pub(crate) static TABLES: Tables = Tables;

impl Tables {
    pub(crate) fn base(&self) -> usize {
        WINDOW.base()
    }

    pub(crate) fn entry_place(&self, block: *const u8) -> *const Entry {
        let granule = (block as usize).wrapping_sub(WINDOW.base()) / GRANULE;
        (WINDOW.places().ledger as *const Entry).wrapping_add(ledger::place(granule))
    }
}

#[derive(Clone, Copy)]
pub(crate) struct HeapArea {
    pub(crate) stocks: usize,
    pub(crate) heaps: usize,
    pub(crate) segment: usize,
    pub(crate) ready: [(usize, usize); 2],
}

#[derive(Clone, Copy)]
pub(crate) enum Part {
    Stocks,
    Heaps,
}

pub(crate) unsafe fn commit_table(_: Part, _: *mut u8, _: usize) -> os::Result<()> {
    Ok(())
}

pub(crate) mod huge {
    use super::UnitIndex;

    pub(crate) struct Part {
        pub(crate) slab: UnitIndex,
        pub(crate) from: usize,
        pub(crate) to: usize,
        pub(crate) is_filled: bool,
    }

    impl Part {
        pub(crate) fn fill(self) {}
        pub(crate) fn empty(self) {}
        pub(crate) fn lose(self) {}
        pub(crate) fn regain(self) {}
    }

    pub(crate) fn thinned(_: UnitIndex) {}

    pub(crate) fn is_huge(_: UnitIndex) -> bool {
        false
    }

    pub(crate) fn collapse_one(_: u64) {}
}
