//! What a thread's fast path touches of its heap, one record of a few lines.
//!
//! It lies in memory that a forked child finds zeroed, and zero means: no key, no counters, no slab. So the first
//! call of a child, and every call of a thread without a heap, falls onto the slow path without being asked for.

use crate::ledger::Entry;
use crate::room;
use crate::slab::{Slab, State};
use crate::window::{WINDOW, owner};
use core::cell::Cell;
use core::ptr::{null, null_mut};
use core::sync::atomic::AtomicUsize;
use shm_layout::class::{CLASSES, FINE_MAX, GRANULE, SizeClass, UNIT};
use shm_layout::layout::{ClassCounters, Row};

/// Entries of [`Hot::fine`]: one for every sixteen bytes.
const FINE: usize = FINE_MAX / GRANULE + 1;

/// A thread's hot record.
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// The slab of a class that has none: never written, its extent is zero. It comes first, so that a distance of zero
    /// leads to it.
    none: Slab,
    /// The heap's name in unit records while its frees may take the fast path, which is this record's address; see
    /// [`Hot::name`]. Zero in the sentinel and after a fork.
    key: Cell<usize>,
    /// Address of the row's lines.
    lines: Cell<usize>,
    /// See `room`.
    pub(crate) room: Cell<u64>,
    pub(crate) room_mask: Cell<u64>,
    view: View,
    /// Number of the heap, and of its row.
    pub(crate) id: Cell<u32>,
    /// The slab that sizes up to [`FINE_MAX`] are allocated from, for every sixteen bytes: its distance from this record.
    fine: [Cell<usize>; FINE],
    /// The same for every class.
    current: [Cell<usize>; CLASSES],
}

/// What a thread knows of the window. Pointers into a part that has been added since are unknown to it, and take the
/// slow path, which looks again. Without a heap, all pointers are.
#[repr(C)]
pub(crate) struct View {
    base: Cell<usize>,
    granules: Cell<usize>,
    ledger: Cell<*const Entry>,
    slabs: Cell<*const Slab>,
}

impl View {
    /// As [`Window::granule_of`].
    ///
    /// [`Window::granule_of`]: crate::window::Window::granule_of
    #[inline(always)]
    pub(crate) fn granule_of(&self, pointer: *const u8) -> Option<usize> {
        let granule = (pointer as usize).wrapping_sub(self.base.get()).rotate_right(GRANULE.trailing_zeros());
        (granule < self.granules.get()).then_some(granule)
    }

    /// The granule's entry in the ledger, and its unit's slab record, whose slab may begin in another unit.
    ///
    /// The record's place is computed from the pointer without a load. A free stores to it, and the allocation that
    /// follows has to wait for the address of that store.
    ///
    /// # Safety
    /// `granule_of` answered with it for this pointer.
    #[inline(always)]
    pub(crate) unsafe fn at(&self, granule: usize, pointer: *const u8) -> (&'static Entry, &'static Slab) {
        const SHIFT: u32 = UNIT.trailing_zeros() - size_of::<Slab>().trailing_zeros();
        let offset = (pointer as usize >> SHIFT) & !(size_of::<Slab>() - 1);
        // SAFETY: ledger and records are accessible as far as the window is, and never unmapped.
        unsafe { (&*self.ledger.get().add(granule), &*self.slabs.get().wrapping_byte_add(offset)) }
    }

    /// Looks at the window again.
    #[inline]
    pub(crate) fn renew(&self) {
        let granules = WINDOW.granules();
        if self.granules.get() != granules {
            self.base.set(WINDOW.base());
            self.ledger.set(WINDOW.first_entry());
            // Where the record of address 0 would lie.
            self.slabs.set(WINDOW.first_slab().wrapping_sub(WINDOW.base() / UNIT));
            self.granules.set(granules);
        }
    }
}

/// The sentinel's wrapper.
#[repr(transparent)]
pub(crate) struct NoHeap(pub(crate) Hot);

// SAFETY: nothing ever writes the sentinel: without key and slabs, every call leaves the fast path before it would.
unsafe impl Sync for NoHeap {}

/// The record of a thread that has no heap (yet, or any more).
pub(crate) static NO_HEAP: NoHeap = NoHeap(Hot {
    none: Slab {
        free: Cell::new(null_mut()),
        base: Cell::new(0),
        extent: Cell::new(0),
        ledger: Cell::new(null()),
        line: Cell::new(null()),
        charge: Cell::new(0),
        credit: Cell::new(0),
        tag_base: Cell::new(0),
        used: Cell::new(0),
        block_size: Cell::new(0),
        carved: Cell::new(0),
        capacity: Cell::new(0),
        next: Cell::new(0),
        previous: Cell::new(0),
        class: Cell::new(0),
        state: Cell::new(State::None),
        holder: AtomicUsize::new(0),
        units: Cell::new(0),
        stale: Cell::new(false),
    },
    key: Cell::new(0),
    lines: Cell::new(0),
    room: Cell::new(0),
    room_mask: Cell::new(0),
    view: View { base: Cell::new(0), granules: Cell::new(0), ledger: Cell::new(null()), slabs: Cell::new(null()) },
    id: Cell::new(0),
    fine: [const { Cell::new(0) }; FINE],
    current: [const { Cell::new(0) }; CLASSES],
});

/// A key that no unit record holds: every free takes the slow path.
const DETOUR: usize = owner::FULL;

impl Hot {
    /// What unit records call this heap.
    #[inline(always)]
    pub(crate) fn name(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// What the thread knows of the window.
    #[inline(always)]
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// What a unit's owner has to be for a free to take the fast path.
    #[inline(always)]
    pub(crate) fn key(&self) -> usize {
        self.key.get()
    }

    /// Whether a thread uses the record: not the sentinel, and not after a fork.
    #[inline(always)]
    pub(crate) fn is_ready(&self) -> bool {
        self.key.get() != 0
    }

    /// Makes the record ready. On a detour, frees take the slow path.
    pub(crate) fn set_ready(&self, detour: bool) {
        self.view.renew();
        self.key.set(if detour { DETOUR } else { self.name() });
    }

    pub(crate) fn is_on_detour(&self) -> bool {
        self.key.get() == DETOUR
    }

    #[inline(always)]
    fn slab_at(&self, distance: usize) -> &'static Slab {
        // SAFETY: `set_current` stored the distance of a slab record, and records are never unmapped; zero is the record's
        // own, and hot records are never unmapped either.
        unsafe { &*(self.name().wrapping_add(distance) as *const Slab) }
    }

    /// The slab the class allocates from, or the empty one.
    #[inline(always)]
    pub(crate) fn current(&self, class: SizeClass) -> &'static Slab {
        // SAFETY: class numbers come from the class table.
        self.slab_at(unsafe { self.current.get_unchecked(class.0 as usize) }.get())
    }

    /// The slab that blocks of `size` bytes come from.
    ///
    /// # Safety
    /// `size <= FINE_MAX`
    #[inline(always)]
    pub(crate) unsafe fn fine(&self, size: usize) -> &'static Slab {
        debug_assert!(size <= FINE_MAX);
        // SAFETY: the caller's.
        self.slab_at(unsafe { self.fine.get_unchecked((size + GRANULE - 1) / GRANULE) }.get())
    }

    pub(crate) fn set_current(&self, class: SizeClass, slab: Option<&Slab>) {
        let distance = slab.map_or(0, |slab| (core::ptr::from_ref(slab) as usize).wrapping_sub(self.name()));
        if let Some(entry) = self.current.get(class.0 as usize) {
            entry.set(distance);
        }
        // From the largest size of the class down.
        for (index, entry) in self.fine.iter().enumerate().take(class.block_size() / GRANULE + 1).rev() {
            if SizeClass::of(index * GRANULE) != Some(class) {
                break;
            }
            entry.set(distance);
        }
    }

    pub(crate) fn attach_row(&self, row: &'static Row) {
        self.lines.set(&raw const row.lines as usize);
    }

    /// The row whose counters these are.
    ///
    /// # Safety
    /// The record is ready.
    #[inline(always)]
    pub(crate) unsafe fn row(&self) -> &'static Row {
        // SAFETY: the lines lie in a row.
        unsafe { &*((self.lines.get() - core::mem::offset_of!(Row, lines)) as *const Row) }
    }

    /// Counters number `line` of the row: those of a size class, or of a bucket.
    ///
    /// # Safety
    /// The record is ready, and `line < LINES`.
    #[inline(always)]
    pub(crate) unsafe fn line(&self, line: usize) -> &'static ClassCounters {
        // SAFETY: a ready record has a row, with memory behind it.
        unsafe { &*(self.lines.get() as *const ClassCounters).add(line) }
    }

    /// Takes room for a block of a slab; true if it is used up, and the account has to be settled.
    #[inline(always)]
    pub(crate) fn charge(&self, requested: usize, charge: u64) -> bool {
        self.set_room(self.room.get().wrapping_sub(room::requested(requested).wrapping_add(charge)))
    }

    /// Gives room for a block of a slab; true if there is too much now, or the clock should be looked at.
    #[inline(always)]
    pub(crate) fn credit(&self, requested: usize, credit: u64) -> bool {
        self.set_room(room::requested(requested).wrapping_add(credit).wrapping_add(self.room.get()))
    }

    /// Room after a live block of `old` requested bytes has become one of `new`; as `credit`.
    #[inline(always)]
    pub(crate) fn recharge(&self, old: usize, new: usize) -> bool {
        let change = room::requested(old).wrapping_sub(room::requested(new));
        self.set_room(self.room.get().wrapping_add(change).wrapping_add(1))
    }

    #[inline(always)]
    fn set_room(&self, room: u64) -> bool {
        self.room.set(room);
        room & self.room_mask.get() != 0
    }
}

/// Counts an allocation. Between any two stores, here and in `count_out`, no more is requested than allocated.
#[inline(always)]
pub(crate) fn count_in(line: &ClassCounters, requested: usize) {
    line.allocations.add_owned(1);
    line.requested_in.add_owned(requested as u64);
}

/// Counts a free.
#[inline(always)]
pub(crate) fn count_out(line: &ClassCounters, requested: usize) {
    line.requested_out.add_owned(requested as u64);
    line.frees.add_owned(1);
}
