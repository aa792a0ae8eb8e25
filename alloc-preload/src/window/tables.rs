//! Where the tables lie, for those who may not wait.

use super::{Unit, UnitIndex};
use crate::bare::BARE;
use crate::ledger::{self, Entry};
use crate::slab::Slab;
use core::cell::Cell;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::class::{FINE_MAX, GRANULE, SizeClass, UNIT};

/// Where window, ledger and unit records lie, in words for the fast path.
#[repr(C, align(64))]
pub(crate) struct Tables {
    pub(super) base: Cell<usize>,
    pub(super) ledger: Cell<*const Entry>,
    /// Where the entry of the granule at address 0 would lie.
    pub(super) entries: Cell<*const Entry>,
    /// Where the record of the unit at address 0 would lie.
    pub(super) units: Cell<*const Unit>,
    /// Where its head would stand.
    pub(super) heads: Cell<*const AtomicU32>,
    pub(super) slabs: Cell<*const Slab>,
    /// Where the record of a slab of one unit at address 0 would lie.
    pub(super) fine_slabs: Cell<*const Slab>,
}

// SAFETY: written once, by `open`, before any thread has a heap. Without one a thread reads `base` at most, and knows no
// granule, wherever that is.
unsafe impl Sync for Tables {}

/// The tables of [`WINDOW`].
pub(crate) static TABLES: Tables = Tables {
    base: Cell::new(0),
    ledger: Cell::new(null()),
    entries: Cell::new(null()),
    units: Cell::new(null()),
    heads: Cell::new(null()),
    slabs: Cell::new(null()),
    fine_slabs: Cell::new(null()),
};

impl Tables {
    #[inline(always)]
    pub(crate) fn base(&self) -> usize {
        self.base.get()
    }

    /// The entry at this [place](ledger::place).
    ///
    /// # Safety
    /// The calling thread has a heap, and the place is that of a granule below the committed end.
    #[inline(always)]
    pub(crate) unsafe fn entry(&self, place: usize) -> &'static Entry {
        // SAFETY: the ledger is accessible as far as the window is, and never unmapped.
        unsafe { &*self.ledger.get().add(place) }
    }

    /// The entry of a block's granule.
    ///
    /// # Safety
    /// The calling thread has a heap, and the block lies below the committed end.
    #[inline(always)]
    pub(crate) unsafe fn entry_of(&self, block: *const u8) -> &'static Entry {
        // SAFETY: as in `entry`.
        unsafe { &*self.entry_place(block) }
    }

    /// Where that entry lies, if the block is one.
    #[inline(always)]
    pub(crate) fn entry_place(&self, block: *const u8) -> *const Entry {
        self.entries.get().wrapping_add(ledger::place(block as usize / GRANULE))
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

    /// The number of the unit that a pointer lies in.
    #[inline(always)]
    pub(crate) fn unit_number(&self, pointer: *const u8) -> UnitIndex {
        UnitIndex(((pointer as usize).wrapping_sub(self.base()) / UNIT) as u32)
    }

    /// The slab that a block of at most [`FINE_MAX`] bytes lies in: such slabs have one unit. (A bare build takes all blocks for
    /// such.)
    ///
    /// # Safety
    /// The calling thread has a heap, and the block lies in such a slab.
    #[inline(always)]
    pub(crate) unsafe fn fine_slab(&self, block: *const u8) -> &'static Slab {
        const { assert!(SizeClass::of(FINE_MAX).unwrap().slab_units() == 1) };
        // SAFETY: the caller's; the records are accessible as far as the window is.
        unsafe { if BARE { self.slab(block) } else { &*self.fine_slabs.get().wrapping_add(block as usize / UNIT) } }
    }

    /// The slab that a block lies in.
    ///
    /// # Safety
    /// The calling thread has a heap, and the block lies in a slab.
    #[inline(always)]
    pub(crate) unsafe fn slab(&self, block: *const u8) -> &'static Slab {
        // SAFETY: the unit of a slab has a head, and the records are accessible as far as the window is.
        unsafe {
            let head = &*self.heads.get().wrapping_add(block as usize / UNIT);
            &*self.slabs.get().add(head.load(Ordering::Relaxed) as usize)
        }
    }
}
