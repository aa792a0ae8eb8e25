//! Bins: a heap's free blocks of one class that its thread hands out next, as addresses that stand out of line.
//!
//! A bin survives a fork. Nothing leads to it in a child before the thread's hot record has been filled in again.

use crate::ledger::NARROW;
use crate::room;
use core::arch::asm;
use core::cell::Cell;
use core::hint::cold_path;
use core::ptr::{NonNull, null};
use shm_layout::class::{CLASSES, SizeClass};
use shm_layout::layout::ClassCounters;

/// A thread's free blocks of one class, and all else that allocating and freeing one takes. The addresses of the blocks
/// stand in [`slots`](Bin::slot) behind it: nothing of ours lies in a free block, and neither call touches it.
#[repr(C)]
pub(crate) struct Bin {
    /// Blocks in the bin.
    pub(crate) count: Cell<u32>,
    /// Blocks that it takes.
    pub(crate) most: Cell<u32>,
    /// Block size less 128: less the requested bytes it is a narrow tag, less a narrow tag the requested bytes, if tags
    /// count as signed. As wide as the sums that it goes into.
    tag_base: Cell<usize>,
    /// The class's counters in the heap's row.
    line: Cell<*const ClassCounters>,
    /// What one block takes from the room when it is allocated, requested bytes apart.
    pub(crate) charge: Cell<u64>,
    /// What it gives back when it is freed, requested bytes apart.
    pub(crate) credit: Cell<u64>,
}

/// Blocks that a bin takes while its class is only freed.
const FEW: u32 = 4;

/// Slots of each class's bin: as many blocks as lie in 32 KiB, within limits.
const SLOTS: [u32; CLASSES] = {
    let mut slots = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        slots[class] = match (32 << 10) / SizeClass(class as u8).block_size() {
            few @ ..2 => few as u32 + 1,
            some @ 2..512 => some as u32,
            _ => 512,
        };
        class += 1;
    }
    slots
};

/// Offset of each class's bin, and behind the last one of what follows, in bytes.
const OFFSETS: [u32; CLASSES + 1] = {
    let mut offsets = [0; CLASSES + 1];
    let mut class = 0;
    while class < CLASSES {
        let bytes = size_of::<Bin>() + SLOTS[class] as usize * size_of::<*mut u8>();
        offsets[class + 1] = offsets[class] + bytes as u32;
        class += 1;
    }
    offsets
};

const BINS_BYTES: usize = OFFSETS[CLASSES] as usize;

/// A heap's bins, one after the other, each with its slots. Zeroed memory is a valid state: none was started.
#[repr(C, align(64))]
pub(crate) struct Bins([Cell<u64>; BINS_BYTES / 8]);

impl Bins {
    /// The class's bin.
    #[inline]
    pub(crate) fn bin(&self, class: SizeClass) -> &Bin {
        let offset = OFFSETS.get(class.0 as usize).map_or(0, |&offset| offset as usize);
        // SAFETY: the offset is that of a bin.
        unsafe { self.at(offset) }
    }

    /// The bin so many bytes behind the first.
    ///
    /// # Safety
    /// One lies there.
    #[inline]
    pub(crate) unsafe fn at(&self, offset: usize) -> &Bin {
        // SAFETY: the caller's.
        unsafe { &*core::ptr::from_ref(self).byte_add(offset).cast() }
    }
}

impl Bin {
    /// Without slots.
    pub(crate) const fn empty() -> Self {
        Self {
            count: Cell::new(0),
            most: Cell::new(0),
            tag_base: Cell::new(0),
            line: Cell::new(null()),
            charge: Cell::new(0),
            credit: Cell::new(0),
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        !self.line.get().is_null()
    }

    /// Makes this the bin of a class that counts in `line`. What is in it stays.
    pub(crate) fn start(&self, class: SizeClass, line: &ClassCounters) {
        let size = class.block_size();
        self.widen(class);
        self.tag_base.set(size.wrapping_sub(NARROW.into()));
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
        // The line that the next block begins with: nothing else of ours would touch it before the program does.
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
            cold_path();
            return false;
        }
        // SAFETY: `index < most`
        unsafe { self.slot(index) }.set(block);
        // SAFETY: counts one more. In one instruction, where the compiler would keep the number in a register and store it.
        unsafe { asm!("inc dword ptr [{}]", in(reg) self.count.as_ptr(), options(nostack)) };
        true
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count.get() == self.most.get()
    }

    /// Whether it takes more blocks than it would if it were narrow.
    pub(crate) fn is_wide(&self) -> bool {
        self.most.get() > FEW
    }

    /// Takes few blocks from now on. It holds no more.
    pub(crate) fn narrow(&self) {
        debug_assert!(self.count.get() <= FEW && self.is_wide());
        self.most.set(FEW);
    }

    /// Takes as many as there are slots again.
    pub(crate) fn widen(&self, class: SizeClass) {
        self.most.set(SLOTS.get(class.0 as usize).map_or(0, |&slots| slots));
    }

    /// Writes the slot at `index`, whatever `count` says.
    ///
    /// # Safety
    /// `index < most`
    #[inline(always)]
    pub(crate) unsafe fn set(&self, index: u32, block: *mut u8) {
        // SAFETY: the caller's.
        unsafe { self.slot(index) }.set(block);
    }

    #[inline(always)]
    pub(crate) fn block_size(&self) -> usize {
        opaque(self.tag_base.get().wrapping_add(NARROW.into()))
    }

    /// Tag of a live block of so many requested bytes whose slack is narrow; only the low byte counts.
    #[inline(always)]
    pub(crate) fn tag(&self, requested: usize) -> u32 {
        (self.tag_base.get() as u32).wrapping_sub(requested as u32)
    }

    /// Requested bytes of a live block with this narrow tag.
    #[inline(always)]
    pub(crate) fn requested(&self, tag: u8) -> usize {
        // Negated, since it goes into sums with either sign.
        opaque(isize::from(tag.cast_signed()).cast_unsigned().wrapping_sub(self.tag_base.get())).wrapping_neg()
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

/// A number of whose origin the compiler knows nothing. It would take a difference apart and add its terms to a counter
/// one after the other: that takes an instruction more, and a fork may come between the counter's load and its store.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: touches nothing.
    unsafe { asm!("/* {} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// Has a line fetched, to be written.
#[inline(always)]
pub(crate) fn prefetch(block: *const u8) {
    // SAFETY: a prefetch neither faults nor changes anything.
    unsafe {
        asm!("prefetchw [{}]", in(reg) block, options(nostack, preserves_flags));
    }
}
