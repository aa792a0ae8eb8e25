//! What a thread's fast path touches of its heap, one record of a few lines.
//!
//! It lies in memory that a forked child finds zeroed, and zero means: no key, no counters, no slab. So the first
//! call of a child, and every call of a thread without a heap, falls onto the slow path without being asked for.

use crate::slab::{EMPTY, Slab};
use core::cell::Cell;
use shm_layout::class::{CLASSES, SizeClass};
use shm_layout::layout::{ClassCounters, Row};

/// A thread's hot record.
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// The heap's name in unit records: this record's address. Zero in the sentinel and after a fork.
    pub(crate) key: Cell<usize>,
    /// Address of the row's lines.
    lines: Cell<usize>,
    /// Room for accounting, see `account`: while both lie in `0..2^k`, nothing needs to be done.
    pub(crate) room_requested: Cell<u64>,
    pub(crate) room_allocated: Cell<u64>,
    /// `!(2^k - 1)`
    pub(crate) room_mask: Cell<u64>,
    /// Number of the heap, and of its row.
    pub(crate) id: Cell<u32>,
    /// The slab each class allocates from: its distance from the sentinel, so that zero is the sentinel.
    current: [Cell<usize>; CLASSES],
}

/// The sentinel's wrapper.
#[repr(transparent)]
pub(crate) struct NoHeap(pub(crate) Hot);

// SAFETY: nothing ever writes the sentinel: without key and slabs, every call leaves the fast path before it would.
unsafe impl Sync for NoHeap {}

/// The record of a thread that has no heap (yet, or any more).
pub(crate) static NO_HEAP: NoHeap = NoHeap(Hot {
    key: Cell::new(0),
    lines: Cell::new(0),
    room_requested: Cell::new(0),
    room_allocated: Cell::new(0),
    room_mask: Cell::new(0),
    id: Cell::new(0),
    current: [const { Cell::new(0) }; CLASSES],
});

impl Hot {
    #[inline(always)]
    pub(crate) fn current(&self, class: SizeClass) -> &'static Slab {
        let distance = self.current.get(class.0 as usize).map_or(0, Cell::get);
        // SAFETY: `set_current` stored the distance of a slab record, and records are never unmapped.
        unsafe { &*((&raw const EMPTY as usize).wrapping_add(distance) as *const Slab) }
    }

    /// As `current`, without the bounds check.
    ///
    /// # Safety
    /// `class` comes from the class table.
    #[inline(always)]
    pub(crate) unsafe fn current_unchecked(&self, class: SizeClass) -> &'static Slab {
        // SAFETY: the caller's; as in `current`.
        unsafe {
            let distance = self.current.get_unchecked(class.0 as usize).get();
            &*((&raw const EMPTY as usize).wrapping_add(distance) as *const Slab)
        }
    }

    pub(crate) fn set_current(&self, class: SizeClass, slab: Option<&Slab>) {
        let distance =
            slab.map_or(0, |slab| (core::ptr::from_ref(slab) as usize).wrapping_sub(&raw const EMPTY as usize));
        if let Some(entry) = self.current.get(class.0 as usize) {
            entry.set(distance);
        }
    }

    pub(crate) fn attach_row(&self, row: &'static Row) {
        self.lines.set(&raw const row.lines as usize);
    }

    /// The row whose counters these are.
    ///
    /// # Safety
    /// The record has a key.
    #[inline(always)]
    pub(crate) unsafe fn row(&self) -> &'static Row {
        // SAFETY: the lines lie in a row.
        unsafe { &*((self.lines.get() - core::mem::offset_of!(Row, lines)) as *const Row) }
    }

    /// The counters at this byte offset of the row.
    ///
    /// # Safety
    /// The record has a key, and `offset` is a multiple of 64 below the size of a row's lines.
    #[inline(always)]
    pub(crate) unsafe fn line(&self, offset: usize) -> &'static ClassCounters {
        // SAFETY: a record with a key has a row, with memory behind it.
        unsafe { &*((self.lines.get() + offset) as *const ClassCounters) }
    }

    /// Counts an allocation; true if the room is used up and `account::settle` is due.
    ///
    /// # Safety
    /// As [`Hot::line`].
    #[inline(always)]
    pub(crate) unsafe fn count_allocation(&self, offset: usize, requested: usize, allocated: usize) -> bool {
        // SAFETY: the caller's.
        let line = unsafe { self.line(offset) };
        line.allocations.add_owned(1);
        line.requested_in.add_owned(requested as u64);
        let requested = self.room_requested.get().wrapping_sub(requested as u64);
        let allocated = self.room_allocated.get().wrapping_sub(allocated as u64);
        self.room_requested.set(requested);
        self.room_allocated.set(allocated);
        (requested | allocated) & self.room_mask.get() != 0
    }

    /// Counts a free; true if the room is used up.
    ///
    /// # Safety
    /// As [`Hot::line`].
    #[inline(always)]
    pub(crate) unsafe fn count_free(&self, offset: usize, requested: usize, allocated: usize) -> (bool, bool) {
        // SAFETY: the caller's.
        let line = unsafe { self.line(offset) };
        let frees = line.frees.add_owned(1);
        line.requested_out.add_owned(requested as u64);
        let requested = self.room_requested.get().wrapping_add(requested as u64);
        let allocated = self.room_allocated.get().wrapping_add(allocated as u64);
        self.room_requested.set(requested);
        self.room_allocated.set(allocated);
        ((requested | allocated) & self.room_mask.get() != 0, frees.is_multiple_of(TICK))
    }

    /// Counts the change of a live block's requested bytes as a free and an allocation; true if the room is used up.
    ///
    /// # Safety
    /// As [`Hot::line`].
    #[inline(always)]
    pub(crate) unsafe fn count_resize(&self, offset: usize, old: usize, new: usize) -> bool {
        // SAFETY: the caller's.
        let line = unsafe { self.line(offset) };
        line.frees.add_owned(1);
        line.requested_out.add_owned(old as u64);
        line.allocations.add_owned(1);
        line.requested_in.add_owned(new as u64);
        let requested = self.room_requested.get().wrapping_add(old as u64).wrapping_sub(new as u64);
        self.room_requested.set(requested);
        requested & self.room_mask.get() != 0
    }
}

/// Frees of one class between two looks at the clock.
const TICK: u64 = 4096;
