//! What a thread's fast path touches of its heap beside the bins: the hot record.
//!
//! The record lies in memory that a forked child finds zeroed, and zero means: no heap, no window, no bin but the empty
//! one. So the first call of a child, and every call of a thread without a heap, falls onto the slow path without being
//! asked for.
//!
//! A signal handler may fork in the middle of a call, and the child go on with it. So three fields are *gates*: the
//! granules, the key and the bins. Once a call has passed those it needs, it uses nothing of the record any more but the
//! room, of which any value is as good as another there; or what it has read before.

use crate::bare::BARE;
use crate::bin::{Bin, Bins};
use crate::harden;
use crate::hint::{opaque, read_before};
use crate::ledger;
use crate::window::{TABLES, WINDOW};
use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use shm_layout::class::{CLASSES, FINE_MAX, GRANULE, SizeClass};
use shm_layout::counter::Counter;
use shm_layout::layout::{ClassCounters, Row};
use shm_layout::tally::{Scale, Tally, Way};

/// Entries of [`Hot::fine`]: one for every sixteen bytes.
const FINE: usize = FINE_MAX / GRANULE + 1;

/// A thread's hot record.
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// The bin of whoever has none: never written, always empty. It comes first, so that a distance of zero leads to it.
    none: Bin,
    /// Address of the heap's bins while its frees may take the fast path. Zero in the sentinel and after a fork.
    key: Cell<usize>,
    lines: Cell<Lines>,
    /// See `room`.
    pub(crate) room: Cell<u64>,
    /// Others write it, too, to have the heap settle.
    pub(crate) room_mask: AtomicU64,
    /// Granules of the window that the thread knows. Pointers into a part that has been added since take the slow path,
    /// which looks again. Without a heap, all pointers do.
    granules: Cell<usize>,
    /// Address of the heap's bins.
    name: Cell<usize>,
    /// The bin for sizes up to [`FINE_MAX`], for every sixteen bytes: its distance from this record.
    fine: [Cell<u32>; FINE],
    /// The same for every class.
    bins: [Cell<u32>; CLASSES],
}

/// The sentinel's wrapper.
#[repr(transparent)]
pub(crate) struct NoHeap(pub(crate) Hot);

// SAFETY: nothing ever writes the sentinel: without key and bins, every call leaves the fast path before it would.
unsafe impl Sync for NoHeap {}

/// The record of a thread that has no heap (yet, or any more).
pub(crate) static NO_HEAP: NoHeap = NoHeap(Hot {
    none: Bin::empty(),
    key: Cell::new(0),
    lines: Cell::new(Lines(0)),
    room: Cell::new(0),
    room_mask: AtomicU64::new(0),
    granules: Cell::new(0),
    name: Cell::new(0),
    fine: [const { Cell::new(0) }; FINE],
    bins: [const { Cell::new(0) }; CLASSES],
});

/// A key to which no unit's owner belongs: every free takes the slow path.
const DETOUR: usize = 1 << 63;
/// The same, for good.
const HARDENED: usize = DETOUR | 1 << 62;

/// Address of the lines of a ready record's row; zero in a record that no thread uses.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Lines(usize);

impl Lines {
    /// The row whose counters these are.
    ///
    /// # Safety
    /// They were read from a ready record.
    #[inline(always)]
    pub(crate) unsafe fn row(self) -> &'static Row {
        // SAFETY: the lines lie in a row, with memory behind it.
        unsafe { &*((self.0 - core::mem::offset_of!(Row, lines)) as *const Row) }
    }
}

impl Hot {
    /// Leads to the bins of a heap, which counts in `row`.
    #[inline(never)]
    pub(crate) fn attach(&self, bins: &Bins, row: &Row) {
        // In this order: in a child that is forked in between the record is not ready.
        self.lines.set(Lines(&raw const row.lines as usize));
        read_before();
        self.name.set(core::ptr::from_ref(bins) as usize);
        let distance = |class: SizeClass| match harden::is_on() {
            true => 0,
            false => (core::ptr::from_ref(bins.bin(class)) as usize).wrapping_sub(self.address()) as u32,
        };
        for (class, entry) in (0..).map(SizeClass).zip(&self.bins) {
            entry.set(distance(class));
        }
        for (index, entry) in self.fine.iter().enumerate() {
            entry.set(SizeClass::of(index * GRANULE).map_or(0, distance));
        }
        self.set_ready(false);
    }

    #[inline(always)]
    fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// The heap's name: unit records of its slabs hold this plus the offset of the class's bin.
    #[inline(always)]
    pub(crate) fn name(&self) -> usize {
        self.name.get()
    }

    /// Name of the heap and its row's lines, if a thread uses the record: not the sentinel, not after a fork, and not in a
    /// signal handler that comes while the record is being filled in.
    #[inline(always)]
    pub(crate) fn ready(&self) -> Option<(usize, Lines)> {
        let known = (self.name.get(), self.lines.get());
        read_before();
        (known.0 != 0 && self.is_ready()).then_some(known)
    }

    /// Whether a thread uses the record.
    pub(crate) fn is_ready(&self) -> bool {
        self.lines.get().0 != 0
    }

    /// What [`ready`](Self::ready) tells, for whoever asks a gate himself afterwards.
    #[inline(always)]
    pub(crate) fn lines(&self) -> Lines {
        let lines = self.lines.get();
        read_before();
        lines
    }

    /// Opens the gates of frees, or on a detour has them take the slow path. A record without a heap stays as it is.
    pub(crate) fn set_ready(&self, detour: bool) {
        self.look_again();
        if self.is_ready() {
            let open = if harden::is_on() { HARDENED } else { self.name() };
            self.key.set(if detour { DETOUR } else { open });
        }
    }

    /// Whether the heap climbs (see `account`).
    pub(crate) fn is_on_detour(&self) -> bool {
        self.key.get() == DETOUR
    }

    /// Whether frees have to take the slow path.
    pub(crate) fn is_closed(&self) -> bool {
        self.key.get() >= DETOUR
    }

    /// Where the ledger's entry lies of a pointer that may start a block: the [`place`](ledger::place) of its
    /// [granule](crate::window::Window::granule_of), in the window as the thread knows it.
    #[inline(always)]
    pub(crate) fn place_of(&self, pointer: *const u8) -> Option<usize> {
        let granule = (pointer as usize).wrapping_sub(TABLES.base()).rotate_right(GRANULE.trailing_zeros());
        (granule < self.granules.get()).then(|| ledger::place(granule))
    }

    /// Learns what has been added to the window.
    #[inline]
    pub(crate) fn look_again(&self) {
        self.granules.set(WINDOW.granules());
    }

    #[inline(always)]
    fn bin_at(&self, distance: u32) -> &'static Bin {
        let address = opaque(self.address() + distance as usize);
        // SAFETY: `attach` stored the distance of a bin, and bins are never unmapped; zero is the record's own, and hot
        // records are never unmapped either.
        unsafe { &*(address as *const Bin) }
    }

    /// The class's bin, or the empty one.
    #[inline(always)]
    pub(crate) fn bin(&self, class: SizeClass) -> &'static Bin {
        // SAFETY: class numbers come from the class table.
        self.bin_at(unsafe { self.bins.get_unchecked(class.0 as usize) }.get())
    }

    /// The bin for blocks of `size` bytes, or the empty one.
    ///
    /// # Safety
    /// `size <= FINE_MAX`
    #[inline(always)]
    pub(crate) unsafe fn fine(&self, size: usize) -> &'static Bin {
        debug_assert!(size <= FINE_MAX);
        // SAFETY: the caller's.
        self.bin_at(unsafe { self.fine.get_unchecked(size.div_ceil(GRANULE)) }.get())
    }

    /// Whether a unit with this owner is this heap's, and its frees may take the fast path.
    #[inline(always)]
    pub(crate) fn takes(&self, owner: usize) -> bool {
        owner.wrapping_sub(self.key.get()) < size_of::<Bins>()
    }

    /// The bin that a unit's blocks go to.
    ///
    /// # Safety
    /// `takes` said yes to this owner.
    #[inline(always)]
    pub(crate) unsafe fn bin_of(&self, owner: usize) -> &'static Bin {
        debug_assert!(self.takes(owner));
        // SAFETY: an owner in that range is the address of one of the heap's bins.
        unsafe { &*(owner as *const Bin) }
    }

    /// Takes room and gives it; true if it is used up, or there is too much now, and the account has to be settled, or the
    /// clock should be looked at.
    #[inline(always)]
    pub(crate) fn leaves_room(&self, change: u64) -> bool {
        self.is_outside(self.move_room(change))
    }

    /// Whether the account has to be settled.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.room.get() & self.room_mask.load(Ordering::Relaxed) != 0
    }

    /// Whether there is no such room. The compiler would not test an atomic where it lies, but load it first.
    #[inline(always)]
    pub(crate) fn is_outside(&self, room: u64) -> bool {
        if BARE {
            return false;
        }
        // SAFETY: reads the mask, as one load.
        unsafe {
            asm!(
                "test qword ptr [{hot} + {mask}], {room}",
                "jne {outside}",
                hot = in(reg) self,
                mask = const core::mem::offset_of!(Hot, room_mask),
                room = in(reg) room,
                outside = label { return true },
                options(nostack, readonly),
            );
        }
        false
    }

    /// As `leaves_room`, for whoever asks [`is_outside`](Self::is_outside) later: the room.
    #[inline(always)]
    pub(crate) fn move_room(&self, change: u64) -> u64 {
        let room = change.wrapping_add(self.room.get());
        if !BARE {
            self.room.set(room);
        }
        room
    }
}

/// What the unit records of a slab of this class hold.
pub(crate) fn owner_for(bins: &Bins, class: SizeClass) -> usize {
    core::ptr::from_ref(bins.bin(class)) as usize
}

/// Whether a unit's owner is the heap of this name.
pub(crate) fn belongs(owner: usize, name: usize) -> bool {
    owner.wrapping_sub(name) < size_of::<Bins>()
}

/// Counts a call of the fast path by what it adds to the room. That counts frees, after so many of which all tallies keep up
/// (see `Heap::keep_up_after`).
#[inline(always)]
pub(crate) fn tally(tally: &Tally, change: u64) {
    if !BARE {
        tally.add(change);
    }
}

/// Counts an allocation.
#[inline(always)]
pub(crate) fn count_in(line: &ClassCounters, scale: Scale, requested: usize) {
    if !BARE {
        line.allocated.count(scale, Way::In, requested);
    }
}

/// Counts a free.
#[inline(always)]
pub(crate) fn count_out(line: &ClassCounters, scale: Scale, requested: usize) {
    if !BARE {
        line.freed.count(scale, Way::Out, requested);
    }
}

/// Counts something else: calls of another kind, or bytes.
#[inline(always)]
pub(crate) fn count(counter: &Counter, more: usize) {
    if !BARE {
        counter.add_owned(more as u64);
    }
}
