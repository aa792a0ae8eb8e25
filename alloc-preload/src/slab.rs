//! Slabs: runs of blocks of one size class. The record lies out of line; between the program's blocks there is
//! nothing of ours, and inside them only the free list's links, in blocks that are not live.

use crate::ledger::{self, Entry};
use crate::room;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use shm_layout::class::{GRANULE, SizeClass, UNIT};
use shm_layout::layout::ClassCounters;

/// No unit.
pub(crate) const NO_UNIT: u32 = u32::MAX;

/// A slab's own record, written only by the thread whose heap owns it (or under the central lock while abandoned). The
/// first line is all that fast paths touch.
///
/// `live + listed + (capacity - carved) + pending == capacity`, where `used` counts live and pending blocks, plus
/// one while the slab is its heap's current one of the class.
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The first free block, or null.
    pub(crate) free: Cell<*mut u8>,
    pub(crate) base: Cell<usize>,
    /// Granules in the slab: every free block starts at one below. Zero in the sentinel, which never has a block.
    pub(crate) extent: Cell<usize>,
    pub(crate) ledger: Cell<*const Entry>,
    /// The class's counters in the owner's row.
    pub(crate) line: Cell<*const ClassCounters>,
    /// What one block takes from its heap's room when it is allocated, requested bytes apart; see `account`.
    pub(crate) charge: Cell<u64>,
    /// What it gives back when it is freed, requested bytes apart.
    pub(crate) credit: Cell<u64>,
    /// Block size less 128: less the requested bytes it is a narrow tag, less a narrow tag the requested bytes, if tags
    /// count as signed.
    pub(crate) tag_base: Cell<u32>,
    pub(crate) used: Cell<u32>,
    /// The unit records' owner once more, beside what a free goes on to. No heap's name where no slab begins.
    pub(crate) holder: AtomicUsize,
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

const _: () = assert!(size_of::<Slab>() == 128 && core::mem::offset_of!(Slab, holder) == 64);

/// Which list a slab is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum State {
    /// Not a slab.
    None = 0,
    /// Its heap allocates from it.
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

/// What other threads write: a line of its own.
#[repr(C, align(64))]
pub(crate) struct Remote {
    /// First block that others have freed, or null.
    head: AtomicPtr<u8>,
    /// Whether the slab is on some heap's inbox.
    pub(crate) queued: AtomicU32,
    /// The next slab there: unit + 1, or 0.
    pub(crate) inbox_next: AtomicU32,
    /// The slab's size class, for freers, who should not read the owner's line.
    class: AtomicU32,
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

/// A free list that does not hold together: something wrote to a freed block.
#[derive(Debug)]
pub(crate) struct Corrupt {
    /// Where the bad link led, or the block that should have been free.
    pub(crate) address: usize,
}

impl Slab {
    /// Makes the record that of a fresh slab of `class` on `units` units from `unit`.
    pub(crate) fn start(&self, unit: UnitIndex, class: SizeClass) {
        let blocks = class.slab_blocks();
        let size = class.block_size();
        self.free.set(null_mut());
        self.extent.set(blocks * size / GRANULE);
        self.base.set(WINDOW.address(unit) as usize);
        // SAFETY: the unit is committed, so its ledger is.
        self.ledger.set(unsafe { WINDOW.entry(unit.0 as usize * UNIT_GRANULES) });
        self.charge.set(room::charge(size));
        self.credit.set(room::credit(size));
        self.tag_base.set((size as u32).wrapping_sub(ledger::NARROW.into()));
        self.used.set(0);
        self.block_size.set(size as u32);
        self.carved.set(0);
        self.capacity.set(blocks as u32);
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

    /// The block that starts at this granule of the slab.
    #[inline(always)]
    pub(crate) fn block_at(&self, granule: usize) -> *mut u8 {
        (self.base.get() + granule * GRANULE) as *mut u8
    }

    /// Granule of a block, counted from the slab's start; none below `extent` for null, and for whatever does not start
    /// on a granule of the slab: the rotation brings the four low bits to the top.
    #[inline(always)]
    pub(crate) fn granule_of(&self, block: *mut u8) -> usize {
        (block as usize).wrapping_sub(self.base.get()).rotate_right(GRANULE.trailing_zeros())
    }

    /// # Safety
    /// `granule < extent`
    #[inline(always)]
    pub(crate) unsafe fn entry(&self, granule: usize) -> &'static Entry {
        debug_assert!(granule < self.extent.get());
        // SAFETY: the slab's part of the ledger has an entry for each of its granules.
        unsafe { &*self.ledger.get().add(granule) }
    }

    /// Puts a block that is not live at the head of the list.
    ///
    /// # Safety
    /// The block is one of this slab, and the caller's like the slab.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, block: *mut u8) {
        // SAFETY: the caller's.
        unsafe { set_link(block, self.free.get()) };
        self.free.set(block);
    }

    pub(crate) fn has_free(&self) -> bool {
        !self.free.get().is_null() || self.carved.get() < self.capacity.get()
    }

    /// Bytes of the carved blocks.
    pub(crate) fn carved_bytes(&self) -> usize {
        self.carved.get() as usize * self.block_size.get() as usize
    }

    /// Bytes of the pages that carving has touched.
    pub(crate) fn touched_bytes(&self) -> usize {
        self.carved_bytes().next_multiple_of(crate::os::PAGE).min(self.units.get() as usize * UNIT)
    }

    /// Writes the owner here and into the unit records.
    pub(crate) fn set_owner(&self, owner: usize) {
        self.holder.store(owner, Ordering::Relaxed);
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

    /// See the field.
    #[inline(always)]
    pub(crate) fn holder(&self) -> usize {
        self.holder.load(Ordering::Relaxed)
    }

    /// Carves the next blocks, a page's worth, and puts them on the free list; how many.
    ///
    /// # Safety
    /// The caller owns the slab, whose list is empty, and `carved < capacity`.
    pub(crate) unsafe fn carve(&self) -> u32 {
        debug_assert!(self.free.get().is_null() && self.carved.get() < self.capacity.get());
        let size = self.block_size.get() as usize;
        let a_page = crate::os::PAGE.checked_div(size).unwrap_or(0) as u32;
        let count = a_page.max(1).min(self.capacity.get() - self.carved.get());
        let first = self.carved.get() as usize * size / GRANULE;
        let mut granule = first + count as usize * size / GRANULE;
        while granule > first {
            granule -= size / GRANULE;
            // SAFETY: uncarved blocks of our slab are nobody's.
            unsafe {
                self.push(self.block_at(granule));
                self.entry(granule).set(ledger::FRESH);
            }
        }
        self.carved.set(self.carved.get() + count);
        count
    }

    /// Takes back what others have freed; how many blocks.
    ///
    /// # Safety
    /// The caller owns the slab.
    pub(crate) unsafe fn collect(&self, remote: &Remote) -> Result<u32, Corrupt> {
        let mut block = remote.take();
        let mut count = 0;
        while !block.is_null() {
            let granule = self.granule_of(block);
            if granule >= self.extent.get() {
                return Err(Corrupt { address: block as usize });
            }
            // SAFETY: `granule < extent`; the list's blocks are ours since `take`.
            let entry = unsafe { self.entry(granule) };
            if entry.get() != ledger::PENDING {
                return Err(Corrupt { address: block as usize });
            }
            entry.set(ledger::FREE);
            // SAFETY: a pending block of ours.
            unsafe {
                let next = link(block);
                self.push(block);
                block = next;
            }
            self.used.set(self.used.get() - 1);
            count += 1;
        }
        Ok(count)
    }

    /// Builds the free list and the count of used blocks anew from the ledger, for a slab whose owner vanished in a
    /// fork. Returns the live blocks and their requested bytes.
    ///
    /// # Safety
    /// Nobody else uses the slab.
    pub(crate) unsafe fn rebuild(&self) -> (u32, u64) {
        self.stale.set(false);
        let step = self.block_size.get() as usize / GRANULE;
        let (mut live, mut requested) = (0, 0);
        self.free.set(null_mut());
        for index in (0..self.carved.get().min(self.capacity.get())).rev() {
            let granule = index as usize * step;
            // SAFETY: carved blocks lie in the slab.
            unsafe {
                let entry = self.entry(granule);
                if let Some(slack) = entry.slack(entry.get()) {
                    live += 1;
                    requested += (self.block_size.get() as usize).saturating_sub(slack) as u64;
                } else {
                    if !ledger::is_free(entry.get()) {
                        entry.set(ledger::FREE);
                    }
                    self.push(self.block_at(granule));
                }
            }
        }
        self.used.set(live);
        (live, requested)
    }
}

impl Slab {
    /// Live blocks and their requested bytes, by the ledger. Changes nothing.
    pub(crate) fn count(&self) -> (u32, u64) {
        let step = self.block_size.get() as usize / GRANULE;
        let (mut live, mut requested) = (0, 0);
        for index in 0..self.carved.get().min(self.capacity.get()) {
            // SAFETY: carved blocks lie in the slab.
            let slack = unsafe {
                let entry = self.entry(index as usize * step);
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
        self.free.set(if live < self.carved.get() { self.block_at(0) } else { null_mut() });
    }
}

impl Remote {
    /// Adds a chain of blocks, `first` to `last`, whose inner links are set. True if the list was empty: then the owner
    /// has to be told.
    ///
    /// # Safety
    /// The blocks are pending, of one slab, and the caller's.
    pub(crate) unsafe fn push(&self, first: *mut u8, last: *mut u8) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else has the chain yet.
            unsafe { set_link(last, head) };
            match self.head.compare_exchange_weak(head, first, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    pub(crate) fn set_class(&self, class: SizeClass) {
        self.class.store(u32::from(class.0), Ordering::Relaxed);
    }

    pub(crate) fn size_class(&self) -> SizeClass {
        SizeClass(self.class.load(Ordering::Relaxed) as u8)
    }

    /// Forgets what a vanished thread may have left.
    pub(crate) fn reset(&self) {
        self.head.store(null_mut(), Ordering::Relaxed);
        self.queued.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Empties the list: its first block, or null.
    fn take(&self) -> *mut u8 {
        if self.is_empty() {
            return null_mut();
        }
        self.head.swap(null_mut(), Ordering::SeqCst)
    }
}

/// Whether a unit's owner means that its slab belongs to the heap with this key.
pub(crate) fn belongs(unit_owner: usize, key: usize) -> bool {
    unit_owner & !owner::FULL == key
}
