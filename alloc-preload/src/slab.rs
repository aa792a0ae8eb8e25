//! Slabs: runs of blocks of one size class. The record lies out of line; between the program's blocks there is
//! nothing of ours, and inside them only the links of free lists, in blocks that are not live.

use crate::ledger::{self, Entry};
use crate::os::PAGE;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW};
use core::cell::Cell;
use core::ptr::null_mut;
use shm_layout::class::{GRANULE, SizeClass, UNIT};

/// No unit.
pub(crate) const NO_UNIT: u32 = u32::MAX;

/// A slab's own record, written only by the thread whose heap owns it, or under the central lock while abandoned.
///
/// `used + listed + (capacity - carved) == capacity`, where `used` counts blocks that are live, pending, or in a bin of
/// the owner's.
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The first free block, or null.
    free: Cell<*mut u8>,
    pub(crate) used: Cell<u32>,
    pub(crate) block_size: Cell<u32>,
    pub(crate) carved: Cell<u32>,
    pub(crate) capacity: Cell<u32>,
    /// Neighbours in the list the slab is on: unit numbers.
    pub(crate) next: Cell<u32>,
    pub(crate) previous: Cell<u32>,
    pub(crate) class: Cell<u8>,
    pub(crate) state: Cell<State>,
    pub(crate) units: Cell<u16>,
    /// Left by a thread that vanished in a fork: list and `used` have to be rebuilt before use.
    pub(crate) stale: Cell<bool>,
}

const _: () = assert!(size_of::<Slab>() == 64);

/// Which list a slab is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// Not a slab.
    None = 0,
    /// Its heap takes blocks from it.
    Current,
    /// Has blocks to give; on its heap's list for the class.
    Partial,
    /// Has none; on its heap's list of full slabs.
    Full,
    /// Wholly free, kept for the next need; on no list.
    Spare,
    /// Its thread has ended; on the central list for the class.
    Abandoned,
    /// Likewise, without a block to give; on the central list of those.
    AbandonedFull,
}

/// Reads the link in a block that is not live.
///
/// # Safety
/// The block is carved, not live, and the caller's.
#[inline(always)]
pub(crate) unsafe fn link(block: *mut u8) -> *mut u8 {
    // SAFETY: a block has at least 16 bytes and is 16-byte aligned.
    unsafe { block.cast::<*mut u8>().read() }
}

/// # Safety
/// As [`link`].
#[inline(always)]
pub(crate) unsafe fn set_link(block: *mut u8, next: *mut u8) {
    // SAFETY: as in `link`.
    unsafe { block.cast::<*mut u8>().write(next) }
}

/// A list of blocks that does not hold together: something wrote to a freed block. The address is where the bad link
/// led, or the block that is not what it should be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corrupt {
    pub(crate) address: usize,
}

impl Slab {
    /// Makes the record that of a fresh slab of `class` on units from `unit`.
    pub(crate) fn start(&self, class: SizeClass) {
        self.free.set(null_mut());
        self.used.set(0);
        self.block_size.set(class.block_size() as u32);
        self.carved.set(0);
        self.capacity.set(class.slab_blocks() as u32);
        self.next.set(NO_UNIT);
        self.previous.set(NO_UNIT);
        self.class.set(class.0);
        self.state.set(State::None);
        self.units.set(class.slab_units() as u16);
        self.stale.set(false);
    }

    pub(crate) fn unit(&self) -> UnitIndex {
        WINDOW.unit_of(self)
    }

    pub(crate) fn size_class(&self) -> SizeClass {
        SizeClass(self.class.get())
    }

    /// Block number `index`, and its entry in the ledger.
    ///
    /// # Safety
    /// `index < capacity`
    unsafe fn block(&self, index: u32) -> (*mut u8, &'static Entry) {
        debug_assert!(index < self.capacity.get());
        let (unit, offset) = (self.unit(), index as usize * self.block_size.get() as usize);
        // SAFETY: the slab's memory and its part of the ledger are committed.
        unsafe { (WINDOW.address(unit).add(offset), WINDOW.entry(unit.0 as usize * UNIT_GRANULES + offset / GRANULE)) }
    }

    pub(crate) fn has_free(&self) -> bool {
        self.has_listed() || self.carved.get() < self.capacity.get()
    }

    /// Whether its list holds a block.
    pub(crate) fn has_listed(&self) -> bool {
        !self.free.get().is_null()
    }

    /// Whether a block that came back has changed which list the slab belongs on.
    #[inline]
    pub(crate) fn is_misplaced(&self) -> bool {
        match self.state.get() {
            State::Full => true,
            State::Partial => self.used.get() == 0,
            _ => false,
        }
    }

    /// Bytes of the carved blocks.
    pub(crate) fn carved_bytes(&self) -> usize {
        self.carved.get() as usize * self.block_size.get() as usize
    }

    /// Bytes of the pages that carving has touched.
    pub(crate) fn touched_bytes(&self) -> usize {
        self.carved_bytes().next_multiple_of(PAGE).min(self.units.get() as usize * UNIT)
    }

    /// Writes the owner into the unit records.
    pub(crate) fn set_owner(&self, owner: usize) {
        let first = self.unit().0;
        for unit in first..first + u32::from(self.units.get()) {
            // SAFETY: the slab's own units are committed.
            unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner);
        }
    }

    pub(crate) fn owner(&self) -> usize {
        // SAFETY: the slab's own unit is committed.
        unsafe { WINDOW.unit(self.unit()) }.owner()
    }

    /// Puts a block that is not live, pending or in a bin any more at the head of the list.
    ///
    /// # Safety
    /// The block is one of this slab, and the caller's like the slab.
    #[inline]
    pub(crate) unsafe fn put(&self, block: *mut u8) {
        // SAFETY: the caller's.
        unsafe { self.push(block) };
        self.used.set(self.used.get() - 1);
    }

    /// Hands out all blocks on the list, as a list; null if there are none.
    pub(crate) fn take_all(&self) -> *mut u8 {
        self.used.set(self.carved.get());
        self.free.replace(null_mut())
    }

    /// # Safety
    /// As [`Slab::put`].
    #[inline(always)]
    unsafe fn push(&self, block: *mut u8) {
        // SAFETY: the caller's.
        unsafe { set_link(block, self.free.get()) };
        self.free.set(block);
    }

    /// Carves the next blocks, a page's worth, and puts them on the free list; how many.
    ///
    /// # Safety
    /// The caller owns the slab, whose list is empty, and `carved < capacity`.
    pub(crate) unsafe fn carve(&self) -> u32 {
        debug_assert!(!self.has_listed() && self.carved.get() < self.capacity.get());
        let a_page = (PAGE as u32).checked_div(self.block_size.get()).unwrap_or(0);
        let first = self.carved.get();
        let count = a_page.max(1).min(self.capacity.get() - first);
        for index in (first..first + count).rev() {
            // SAFETY: uncarved blocks of our slab are nobody's.
            unsafe {
                let (block, entry) = self.block(index);
                self.push(block);
                entry.set(ledger::FRESH);
            }
        }
        self.carved.set(first + count);
        count
    }

    /// Builds the free list and the count of used blocks anew from the ledger, for a slab whose owner vanished in a
    /// fork, or whose owner's bins are gone. Returns the live blocks and their requested bytes.
    ///
    /// # Safety
    /// Nobody else uses the slab.
    pub(crate) unsafe fn rebuild(&self) -> (u32, u64) {
        self.stale.set(false);
        let (mut live, mut requested) = (0, 0);
        self.free.set(null_mut());
        for index in (0..self.carved.get().min(self.capacity.get())).rev() {
            // SAFETY: carved blocks lie in the slab.
            unsafe {
                let (block, entry) = self.block(index);
                if let Some(slack) = entry.slack(entry.get()) {
                    live += 1;
                    requested += (self.block_size.get() as usize).saturating_sub(slack) as u64;
                } else {
                    if !ledger::is_free(entry.get()) {
                        entry.set(ledger::FREE);
                    }
                    self.push(block);
                }
            }
        }
        self.used.set(live);
        (live, requested)
    }

    /// Live blocks and their requested bytes, by the ledger. Changes nothing.
    pub(crate) fn count(&self) -> (u32, u64) {
        let (mut live, mut requested) = (0, 0);
        for index in 0..self.carved.get().min(self.capacity.get()) {
            // SAFETY: carved blocks lie in the slab.
            let slack = unsafe {
                let entry = self.block(index).1;
                entry.slack(entry.get())
            };
            if let Some(slack) = slack {
                live += 1;
                requested += (self.block_size.get() as usize).saturating_sub(slack) as u64;
            }
        }
        (live, requested)
    }

    /// Marks the slab of a vanished thread, of whose blocks `live` are live, as one to rebuild before it is used.
    pub(crate) fn set_stale(&self, live: u32) {
        self.stale.set(true);
        self.used.set(live);
        self.free.set(if live < self.carved.get() { WINDOW.address(self.unit()) } else { null_mut() });
    }
}
