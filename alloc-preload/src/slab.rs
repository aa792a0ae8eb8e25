//! Slabs: runs of blocks of one size class. The record lies out of line; between the program's blocks there is
//! nothing of ours, and inside them only the free list's links, in blocks that are not live.

use crate::ledger::{self, Entry};
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use core::cell::Cell;
use core::ptr::null;
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::class::{GRANULE, SizeClass, UNIT};

/// End of a free list. Larger than any extent, so one comparison refuses it and every link out of range.
pub(crate) const NIL: u32 = u32::MAX;
/// No unit.
pub(crate) const NO_UNIT: u32 = u32::MAX;

/// A slab's own record, written only by the thread whose heap owns it (or under the central lock while abandoned).
///
/// `live + listed + (capacity - carved) + pending == capacity`, where `used` counts live and pending blocks, plus
/// one while the slab is its heap's current one of the class.
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// Granule (counted from the slab's start) of the first free block, or [`NIL`].
    pub(crate) free: Cell<u32>,
    /// Granules in the slab: every link is below. Zero in the sentinel, which therefore never has a block.
    pub(crate) extent: Cell<u32>,
    pub(crate) base: Cell<usize>,
    pub(crate) ledger: Cell<*const Entry>,
    pub(crate) used: Cell<u32>,
    pub(crate) block_size: Cell<u32>,
    /// Byte offset of the class's counters in a row's lines.
    pub(crate) line: Cell<u32>,
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
    /// First block that others have freed: granule + 1, or 0.
    head: AtomicU32,
    /// Whether the slab is on some heap's inbox.
    pub(crate) queued: AtomicU32,
    /// The next slab there: unit + 1, or 0.
    pub(crate) inbox_next: AtomicU32,
    /// The slab's size class, for freers, who should not read the owner's line.
    class: AtomicU32,
}

/// The sentinel's wrapper: all zero, never written.
#[repr(transparent)]
pub(crate) struct Sentinel(pub(crate) Slab);

// SAFETY: nothing ever writes the sentinel: its extent is zero, so every path that would treats it as exhausted.
unsafe impl Sync for Sentinel {}

/// The slab of a heap that has none.
pub(crate) static EMPTY: Sentinel = Sentinel(Slab {
    free: Cell::new(0),
    extent: Cell::new(0),
    base: Cell::new(0),
    ledger: Cell::new(null()),
    used: Cell::new(0),
    block_size: Cell::new(0),
    line: Cell::new(0),
    carved: Cell::new(0),
    capacity: Cell::new(0),
    next: Cell::new(0),
    previous: Cell::new(0),
    class: Cell::new(0),
    state: Cell::new(State::None),
    units: Cell::new(0),
    stale: Cell::new(false),
});

/// Reads the link in a block that is not live.
///
/// # Safety
/// The block is carved, not live, and the caller's.
#[inline(always)]
pub(crate) unsafe fn link(block: *mut u8) -> u32 {
    // SAFETY: a block has at least 16 bytes and is 16-byte aligned.
    unsafe { block.cast::<u32>().read() }
}

/// # Safety
/// As [`link`].
#[inline(always)]
pub(crate) unsafe fn set_link(block: *mut u8, next: u32) {
    // SAFETY: as in `link`.
    unsafe { block.cast::<u32>().write(next) }
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
        self.free.set(NIL);
        self.extent.set((blocks * class.block_size() / GRANULE) as u32);
        self.base.set(WINDOW.address(unit) as usize);
        // SAFETY: the unit is committed, so its ledger is.
        self.ledger.set(unsafe { WINDOW.entry(unit.0 as usize * UNIT_GRANULES) });
        self.used.set(0);
        self.block_size.set(class.block_size() as u32);
        self.line.set(u32::from(class.0) * 64);
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

    #[inline(always)]
    pub(crate) fn block_at(&self, granule: u32) -> *mut u8 {
        (self.base.get() + granule as usize * GRANULE) as *mut u8
    }

    /// # Safety
    /// `granule < extent`
    #[inline(always)]
    pub(crate) unsafe fn entry(&self, granule: u32) -> &'static Entry {
        debug_assert!(granule < self.extent.get());
        // SAFETY: the slab's part of the ledger has an entry for each of its granules.
        unsafe { &*self.ledger.get().add(granule as usize) }
    }

    pub(crate) fn has_free(&self) -> bool {
        self.free.get() != NIL || self.carved.get() < self.capacity.get()
    }

    /// Bytes of the carved blocks.
    pub(crate) fn carved_bytes(&self) -> usize {
        self.carved.get() as usize * self.block_size.get() as usize
    }

    /// Bytes of the pages that carving has touched.
    pub(crate) fn touched_bytes(&self) -> usize {
        self.carved_bytes().next_multiple_of(crate::os::PAGE).min(self.units.get() as usize * UNIT)
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

    /// Carves the next blocks, a page's worth, and puts them on the free list; how many.
    ///
    /// # Safety
    /// The caller owns the slab, whose list is empty, and `carved < capacity`.
    pub(crate) unsafe fn carve(&self) -> u32 {
        debug_assert!(self.free.get() == NIL && self.carved.get() < self.capacity.get());
        let size = self.block_size.get();
        let a_page = (crate::os::PAGE as u32).checked_div(size).unwrap_or(0);
        let count = a_page.max(1).min(self.capacity.get() - self.carved.get());
        let step = size / GRANULE as u32;
        let first = self.carved.get() * step;
        let mut granule = first;
        for left in (0..count).rev() {
            let next = if left == 0 { NIL } else { granule + step };
            // SAFETY: uncarved blocks of our slab are nobody's.
            unsafe {
                set_link(self.block_at(granule), next);
                self.entry(granule).set(ledger::FRESH);
            }
            granule += step;
        }
        self.free.set(first);
        self.carved.set(self.carved.get() + count);
        count
    }

    /// Takes back what others have freed; how many blocks.
    ///
    /// # Safety
    /// The caller owns the slab.
    pub(crate) unsafe fn collect(&self, remote: &Remote) -> Result<u32, Corrupt> {
        let mut granule = remote.take();
        let mut count = 0;
        while granule != NIL {
            if granule >= self.extent.get() {
                return Err(Corrupt { address: self.block_at(granule) as usize });
            }
            // SAFETY: `granule < extent`; the list's blocks are ours since `take`.
            let (entry, block) = unsafe { (self.entry(granule), self.block_at(granule)) };
            if entry.get() != ledger::PENDING {
                return Err(Corrupt { address: block as usize });
            }
            // SAFETY: a pending block of ours.
            let next = unsafe { link(block) };
            entry.set(ledger::FREE);
            // SAFETY: as above.
            unsafe { set_link(block, self.free.get()) };
            self.free.set(granule);
            self.used.set(self.used.get() - 1);
            count += 1;
            granule = next;
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
        let step = self.block_size.get() / GRANULE as u32;
        let (mut live, mut requested) = (0, 0);
        self.free.set(NIL);
        for index in (0..self.carved.get().min(self.capacity.get())).rev() {
            let granule = index * step;
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
                    set_link(self.block_at(granule), self.free.get());
                    self.free.set(granule);
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
        let step = self.block_size.get() / GRANULE as u32;
        let (mut live, mut requested) = (0, 0);
        for index in 0..self.carved.get().min(self.capacity.get()) {
            // SAFETY: carved blocks lie in the slab.
            let slack = unsafe {
                let entry = self.entry(index * step);
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
        self.free.set(if live < self.carved.get() { 0 } else { NIL });
    }
}

impl Remote {
    /// Adds a chain of blocks, `first` to `last` (granules), whose inner links are set. True if the list was empty:
    /// then the owner has to be told.
    ///
    /// # Safety
    /// The blocks are pending, of one slab, and the caller's.
    pub(crate) unsafe fn push(&self, slab: &Slab, first: u32, last: u32) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else has the chain yet.
            unsafe { set_link(slab.block_at(last), head.wrapping_sub(1)) };
            match self.head.compare_exchange_weak(head, first + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return head == 0,
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
        self.head.store(0, Ordering::Relaxed);
        self.queued.store(0, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed) == 0
    }

    /// Empties the list: the granule of its first block, or [`NIL`].
    fn take(&self) -> u32 {
        if self.is_empty() {
            return NIL;
        }
        self.head.swap(0, Ordering::SeqCst).wrapping_sub(1)
    }
}

/// Whether a unit's owner means that its slab belongs to the heap with this key.
pub(crate) fn belongs(unit_owner: usize, key: usize) -> bool {
    unit_owner & !owner::FULL == key
}
