//! What a thread's fast path touches: the bins of its heap, one for each class, and the heap's hot record.
//!
//! The record lies in memory that a forked child finds zeroed, and zero means: no heap, no window, no bin but the empty
//! one. So the first call of a child, and every call of a thread without a heap, falls onto the slow path without being
//! asked for. The bins stay as they are; nothing leads to them before the record has been filled in again.

use crate::ledger::{Entry, NARROW};
use crate::room;
use crate::window::{Unit, WINDOW};
use core::cell::Cell;
use core::ptr::{NonNull, null};
use shm_layout::class::{CLASSES, FINE_MAX, GRANULE, SizeClass, UNIT};
use shm_layout::layout::{ClassCounters, Row};

/// A thread's free blocks of one class, and all else that allocating and freeing one takes. The addresses of the blocks
/// stand in [`slots`](Bin::slot) behind it: nothing of ours lies in a free block, and neither call touches it.
#[repr(C)]
pub(crate) struct Bin {
    /// Blocks in the bin.
    pub(crate) count: Cell<u32>,
    /// Blocks that it takes.
    pub(crate) most: Cell<u32>,
    /// Block size less 128: less the requested bytes it is a narrow tag, less a narrow tag the requested bytes, if tags
    /// count as signed.
    tag_base: Cell<u32>,
    block_size: Cell<u32>,
    /// The class's counters in the heap's row.
    line: Cell<*const ClassCounters>,
    /// What one block takes from the room when it is allocated, requested bytes apart.
    charge: Cell<u64>,
    /// What it gives back when it is freed, requested bytes apart.
    credit: Cell<u64>,
}

/// Slots of the class's bin: as many blocks as lie in 32 KiB, within limits.
const fn slots(class: SizeClass) -> usize {
    match (32 << 10) / class.block_size() {
        few @ ..2 => few + 1,
        some @ 2..128 => some,
        _ => 128,
    }
}

/// Offset of each class's bin, and behind the last one of what follows, in bytes.
const OFFSETS: [u32; CLASSES + 1] = {
    let mut offsets = [0; CLASSES + 1];
    let mut class = 0;
    while class < CLASSES {
        let bytes = size_of::<Bin>() + slots(SizeClass(class as u8)) * size_of::<*mut u8>();
        offsets[class + 1] = offsets[class] + bytes as u32;
        class += 1;
    }
    offsets
};

const BINS_BYTES: usize = OFFSETS[CLASSES] as usize;

/// A heap's bins, one after the other, each with its slots. Zeroed memory is a valid state: without slots.
#[repr(C, align(64))]
pub(crate) struct Bins([Cell<u64>; BINS_BYTES / 8]);

impl Bins {
    /// The class's bin.
    #[inline]
    pub(crate) fn bin(&self, class: SizeClass) -> &Bin {
        let offset = OFFSETS.get(class.0 as usize).map_or(0, |&offset| offset as usize);
        // SAFETY: the offset is that of a bin.
        unsafe { &*core::ptr::from_ref(self).byte_add(offset).cast() }
    }
}

impl Bin {
    /// Without slots.
    const fn empty() -> Self {
        Self {
            count: Cell::new(0),
            most: Cell::new(0),
            tag_base: Cell::new(0),
            block_size: Cell::new(0),
            line: Cell::new(null()),
            charge: Cell::new(0),
            credit: Cell::new(0),
        }
    }

    /// Makes this the bin of a class that counts in `line`. What is in it stays.
    pub(crate) fn start(&self, class: SizeClass, line: &ClassCounters) {
        let size = class.block_size();
        self.most.set(slots(class) as u32);
        self.tag_base.set((size as u32).wrapping_sub(NARROW.into()));
        self.block_size.set(size as u32);
        self.line.set(line);
        self.charge.set(room::charge(size));
        self.credit.set(room::credit(size));
    }

    /// The place of block number `index`.
    ///
    /// # Safety
    /// `index < most`, and the bin is one of a heap's.
    #[inline(always)]
    unsafe fn slot(&self, index: u32) -> &Cell<*mut u8> {
        debug_assert!(index < self.most.get());
        // SAFETY: the slots lie behind the bin.
        unsafe { &*core::ptr::from_ref(self).add(1).cast::<Cell<*mut u8>>().add(index as usize) }
    }

    /// Takes a block out; `None` if there is none.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<NonNull<u8>> {
        let index = self.count.get().checked_sub(1)?;
        self.count.set(index);
        // SAFETY: `index < count <= most`, and what lies in a bin is a block. Below the lowest slot lies a number that is
        // no address, and a prefetch of that does nothing.
        unsafe {
            let slot = core::ptr::from_ref(self.slot(index));
            prefetch(slot.sub(1).cast::<*const u8>().read());
            Some(NonNull::new_unchecked((*slot).get()))
        }
    }

    /// Puts a block in; false if there is no slot for it.
    #[inline(always)]
    pub(crate) fn push(&self, block: *mut u8) -> bool {
        let index = self.count.get();
        if index >= self.most.get() {
            return false;
        }
        // SAFETY: `index < most`
        unsafe { self.slot(index) }.set(block);
        self.count.set(index + 1);
        true
    }

    /// Writes the slot at `index`, which is below `most`, whatever `count` says.
    #[inline(always)]
    pub(crate) fn set(&self, index: u32, block: *mut u8) {
        if index < self.most.get() {
            // SAFETY: just compared.
            unsafe { self.slot(index) }.set(block);
        }
    }

    #[inline(always)]
    pub(crate) fn block_size(&self) -> usize {
        self.block_size.get() as usize
    }

    /// Tag of a live block of so many requested bytes whose slack is narrow; only the low byte counts.
    #[inline(always)]
    pub(crate) fn tag(&self, requested: usize) -> u32 {
        self.tag_base.get().wrapping_sub(requested as u32)
    }

    /// Requested bytes of a live block with this narrow tag.
    #[inline(always)]
    pub(crate) fn requested(&self, tag: u8) -> usize {
        self.tag_base.get().wrapping_sub(i32::from(tag.cast_signed()).cast_unsigned()) as usize
    }

    /// The counters.
    ///
    /// # Safety
    /// The bin was started.
    #[inline(always)]
    pub(crate) unsafe fn line(&self) -> &'static ClassCounters {
        // SAFETY: rows are never unmapped.
        unsafe { &*self.line.get() }
    }
}

/// Has the line that the next block begins with fetched: nothing else of ours would touch it before the program does.
#[inline(always)]
fn prefetch(block: *const u8) {
    // SAFETY: a prefetch neither faults nor changes anything.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) block, options(nostack, preserves_flags));
    }
}

/// Entries of [`Hot::fine`]: one for every sixteen bytes.
const FINE: usize = FINE_MAX / GRANULE + 1;

/// A thread's hot record.
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// The bin of whoever has none: never written, always empty. It comes first, so that a distance of zero leads to it.
    none: Bin,
    /// Address of the heap's bins while its frees may take the fast path. Zero in the sentinel and after a fork.
    key: Cell<usize>,
    /// Address of the row's lines.
    lines: Cell<usize>,
    /// See `room`.
    pub(crate) room: Cell<u64>,
    pub(crate) room_mask: Cell<u64>,
    view: View,
    /// Address of the heap's bins.
    name: Cell<usize>,
    /// Number of the heap, and of its row.
    pub(crate) id: Cell<u32>,
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
    lines: Cell::new(0),
    room: Cell::new(0),
    room_mask: Cell::new(0),
    view: View { base: Cell::new(0), granules: Cell::new(0), ledger: Cell::new(null()), units: Cell::new(null()) },
    name: Cell::new(0),
    id: Cell::new(0),
    fine: [const { Cell::new(0) }; FINE],
    bins: [const { Cell::new(0) }; CLASSES],
});

/// A key to which no unit's owner belongs: every free takes the slow path.
const DETOUR: usize = 1 << 63;

/// What a thread knows of the window. Pointers into a part that has been added since are unknown to it, and take the
/// slow path, which looks again. Without a heap, all pointers are.
#[repr(C)]
pub(crate) struct View {
    base: Cell<usize>,
    granules: Cell<usize>,
    ledger: Cell<*const Entry>,
    /// Where the record of the unit at address 0 would lie.
    units: Cell<*const Unit>,
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

    /// # Safety
    /// `granule_of` answered with it.
    #[inline(always)]
    pub(crate) unsafe fn entry(&self, granule: usize) -> &'static Entry {
        // SAFETY: the ledger is accessible as far as the window is, and never unmapped.
        unsafe { &*self.ledger.get().add(granule) }
    }

    /// The entry of a block's granule.
    ///
    /// # Safety
    /// The pointer is a block of the window that the thread knows.
    #[inline(always)]
    pub(crate) unsafe fn entry_of(&self, block: *const u8) -> &'static Entry {
        // SAFETY: as in `entry`.
        unsafe { &*self.ledger.get().add((block as usize).wrapping_sub(self.base.get()) / GRANULE) }
    }

    /// The unit that a pointer lies in.
    ///
    /// # Safety
    /// `granule_of` answered for it.
    #[inline(always)]
    pub(crate) unsafe fn unit(&self, pointer: *const u8) -> &'static Unit {
        // SAFETY: the records are accessible as far as the window is, and never unmapped.
        unsafe { &*self.units.get().wrapping_add(pointer as usize / UNIT) }
    }

    /// Looks at the window again.
    #[inline]
    pub(crate) fn renew(&self) {
        let granules = WINDOW.granules();
        if self.granules.get() != granules {
            self.base.set(WINDOW.base());
            self.ledger.set(WINDOW.first_entry());
            self.units.set(WINDOW.first_unit().wrapping_sub(WINDOW.base() / UNIT));
            self.granules.set(granules);
        }
    }
}

impl Hot {
    /// Leads to the bins of heap number `id`, which counts in `row`.
    pub(crate) fn attach(&self, id: u32, bins: &Bins, row: &Row) {
        self.id.set(id);
        self.lines.set(&raw const row.lines as usize);
        self.name.set(core::ptr::from_ref(bins) as usize);
        let distance =
            |class: SizeClass| (core::ptr::from_ref(bins.bin(class)) as usize).wrapping_sub(self.address()) as u32;
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

    /// What the thread knows of the window.
    #[inline(always)]
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    #[inline(always)]
    fn bin_at(&self, distance: u32) -> &'static Bin {
        // SAFETY: `attach` stored the distance of a bin, and bins are never unmapped; zero is the record's own, and hot
        // records are never unmapped either.
        unsafe { &*((self.address() + distance as usize) as *const Bin) }
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

    /// Takes room for a block of the bin's class; true if it is used up, and the account has to be settled.
    #[inline(always)]
    pub(crate) fn charge(&self, requested: usize, bin: &Bin) -> bool {
        self.take_room(requested, bin.charge.get())
    }

    /// Gives room for a block of the bin's class; true if there is too much now, or the clock should be looked at.
    #[inline(always)]
    pub(crate) fn credit(&self, requested: usize, bin: &Bin) -> bool {
        self.give_room(requested, bin.credit.get())
    }

    /// As `charge`, for any block whose bytes fit.
    #[inline(always)]
    pub(crate) fn take_room(&self, requested: usize, charge: u64) -> bool {
        self.set_room(self.room.get().wrapping_sub(room::requested(requested).wrapping_add(charge)))
    }

    /// As `credit`, for any block whose bytes fit.
    #[inline(always)]
    pub(crate) fn give_room(&self, requested: usize, credit: u64) -> bool {
        self.set_room(room::requested(requested).wrapping_add(credit).wrapping_add(self.room.get()))
    }

    /// Room after a live block of `old` requested bytes has become one of `new`; as `credit`.
    #[inline(always)]
    pub(crate) fn exchange_room(&self, old: usize, new: usize) -> bool {
        let change = room::requested(old).wrapping_sub(room::requested(new));
        self.set_room(self.room.get().wrapping_add(change).wrapping_add(1))
    }

    /// Whether the account has to be settled.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.room.get() & self.room_mask.get() != 0
    }

    #[inline(always)]
    fn set_room(&self, room: u64) -> bool {
        self.room.set(room);
        room & self.room_mask.get() != 0
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
