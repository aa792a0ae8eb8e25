//! Bins: a heap's free blocks of one class that its thread hands out next, as addresses that stand out of line.
//!
//! A bin survives a fork. Nothing leads to it in a child before the thread's hot record has been filled in again.

use crate::beside::line_of;
use crate::hint::opaque;
use crate::ledger::NARROW;
use crate::room;
use crate::slots::{self, Slot, Slots};
use core::arch::asm;
use core::cell::Cell;
use core::hint::cold_path;
use core::ptr::{NonNull, null};
use core::sync::atomic::{Ordering, compiler_fence};
use shm_layout::class::{CLASSES, SizeClass};
use shm_layout::layout::ClassCounters;
use shm_layout::tally::{Scale, Tally, Way};

/// A thread's free blocks of one class, and all else that allocating and freeing one takes, on one line of the caches. The
/// addresses of the blocks stand in [`Slots`]: nothing of ours lies in a free block, and neither call touches it.
#[repr(C, align(64))]
pub(crate) struct Bin {
    /// The slot of the block that is handed out next; of an empty bin the floor.
    top: Cell<*const Slot>,
    /// One below the lowest slot.
    floor: Cell<*const Slot>,
    /// The highest slot that it uses.
    ceiling: Cell<*const Slot>,
    /// Block size less 128: less the requested bytes it is a narrow tag, less a narrow tag the requested bytes, if tags
    /// count as signed. As wide as the sums that it goes into.
    tag_base: Cell<usize>,
    /// What allocating a block adds to the room and the class's tally, requested bytes apart.
    charge: Cell<u64>,
    /// What freeing one adds, its tag apart: see [`freeing`](Self::freeing).
    credit: Cell<u64>,
    /// Bytes by which its blocks are larger than those of the class below.
    step: Cell<u32>,
    /// Slots above the floor.
    slots: Cell<u16>,
    /// How often it was filled again before it had all its slots, or since it last looked how many it needs.
    refills: Cell<u16>,
}

const _: () = assert!(size_of::<Bin>() == 64);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Bin>() == size_of::<ClassCounters>());

/// Blocks that a bin takes while its class is only freed.
const FEW: u32 = 4;

/// A bin that is filled again for the so many-th time gets more than the first.
const OFTEN: u16 = 2;

/// Of so many fillings from then on, one looks at how much of the class is in use.
const LOOK: u16 = 16;

/// A heap's bins. Zeroed memory is a valid state: none was started.
#[repr(C)]
pub(crate) struct Bins([Bin; CLASSES]);

impl Bins {
    /// The class's bin.
    #[inline]
    pub(crate) fn bin(&self, class: SizeClass) -> &Bin {
        // SAFETY: class numbers come from the class table.
        unsafe { self.0.get_unchecked(class.0 as usize) }
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
            top: Cell::new(null()),
            floor: Cell::new(null()),
            ceiling: Cell::new(null()),
            tag_base: Cell::new(0),
            charge: Cell::new(0),
            credit: Cell::new(0),
            step: Cell::new(0),
            slots: Cell::new(0),
            refills: Cell::new(0),
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.charge.get() != 0
    }

    /// Makes this the bin of a class, if it is none yet. The heap has a row.
    pub(crate) fn start(&self, class: SizeClass, slots: &Slots) {
        let size = class.block_size();
        if !self.is_started() {
            let (lowest, slots) = slots.first(class);
            self.move_to(lowest);
            self.slots.set(slots);
        }
        self.widen();
        let tag_base = size.wrapping_sub(NARROW.into());
        self.tag_base.set(tag_base);
        self.charge.set(room::charge(size));
        self.credit.set(room::credit(size).wrapping_sub(tag_base as u64));
        self.step.set(class.step() as u32);
    }

    /// Has the blocks stand in these slots from now on. It holds none.
    fn move_to(&self, lowest: *const Slot) {
        let floor = lowest.wrapping_sub(1);
        self.floor.set(floor);
        self.top.set(floor);
    }

    /// Makes an empty bin ready to be filled. Returns the bytes of slots that it did not use before.
    pub(crate) fn make_room(&self, class: SizeClass, slots: &Slots) -> usize {
        debug_assert!(self.count() == 0);
        let mut more = 0;
        // One that was not started has no slots, and there may be no memory for its first block.
        if self.is_started() {
            let refills = self.refills.get() + 1;
            if refills == OFTEN
                && let Some(all) = slots.all(class)
            {
                more = size_of_val(all);
                self.move_to(all.as_ptr());
            }
            // Not before: a child that is forked in between moves once more, and has not many slots where there are few.
            compiler_fence(Ordering::SeqCst);
            self.refills.set(if refills < OFTEN + LOOK { refills } else { OFTEN });
            if self.refills.get() == OFTEN {
                self.look(class);
            }
        }
        self.widen();
        more
    }

    /// Sees to it that the class's tally keeps up, and that there are slots for as many blocks as are in use, as far as the
    /// row's counters tell: what a thread allocates and others free counts as in use, what others have allocated does not.
    fn look(&self, class: SizeClass) {
        // SAFETY: the bin was started.
        let (line, scale) = (unsafe { self.line() }, Scale::class(class));
        // Whatever the fast path hands out came by a filling, or was freed or came home: see `Heap::keep_up_after`.
        line.allocated.keep_up(scale, Way::In);
        let calls = |tally: &Tally, way| tally.get(scale, way).calls;
        let in_use = || calls(&line.allocated, Way::In).saturating_sub(calls(&line.freed, Way::Out));
        self.slots.set(slots::fitting(class, in_use));
    }

    /// Blocks in the bin.
    pub(crate) fn count(&self) -> u32 {
        self.above_floor(self.top.get())
    }

    /// Blocks that it takes.
    pub(crate) fn most(&self) -> u32 {
        self.above_floor(self.ceiling.get())
    }

    fn above_floor(&self, slot: *const Slot) -> u32 {
        ((slot as usize).wrapping_sub(self.floor.get() as usize) / size_of::<Slot>()) as u32
    }

    /// Says that the lowest `count` slots have the blocks.
    ///
    /// # Safety
    /// They have, and `count <= most`.
    pub(crate) unsafe fn set_count(&self, count: u32) {
        debug_assert!(count <= self.most());
        self.top.set(self.floor.get().wrapping_add(count as usize));
    }

    /// Loses all its blocks.
    pub(crate) fn forget(&self) {
        self.top.set(self.floor.get());
    }

    /// Takes a block out; `None` if there is none.
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<NonNull<u8>> {
        let top = self.top.get();
        if top == self.floor.get() {
            return None;
        }
        // SAFETY: above the floor up to the top stand blocks.
        unsafe {
            let block = (*top).get();
            self.top.set(top.sub(1));
            // As in `push`: a thread that is cancelled further on has no live block in its bin.
            asm!("", options(nostack, preserves_flags));
            Some(NonNull::new_unchecked(block))
        }
    }

    /// Puts a block in; false if there is no slot for it.
    #[inline(always)]
    pub(crate) fn push(&self, block: *mut u8) -> bool {
        let top = self.top.get();
        if top >= self.ceiling.get() {
            cold_path();
            return false;
        }
        // SAFETY: up to the ceiling there are slots.
        unsafe {
            (*top.add(1)).set(block);
            // No instruction, but an order: a thread that is cancelled in between has lost the block, and no slot holds what
            // is none.
            asm!("", options(nostack, preserves_flags));
            self.top.set(top.add(1));
        }
        true
    }

    pub(crate) fn is_full(&self) -> bool {
        self.top.get() == self.ceiling.get()
    }

    /// Whether it takes more blocks than it would if it were narrow.
    pub(crate) fn is_wide(&self) -> bool {
        self.most() > FEW
    }

    /// Takes few blocks from now on. It holds no more.
    pub(crate) fn narrow(&self) {
        debug_assert!(self.count() <= FEW && self.is_wide());
        self.ceiling.set(self.floor.get().wrapping_add(FEW as usize));
    }

    /// Takes as many as there are slots again.
    pub(crate) fn widen(&self) {
        self.ceiling.set(self.floor.get().wrapping_add(self.slots.get() as usize));
    }

    /// The lowest of its [`most`](Self::most) slots, whether a block stands there or not.
    pub(crate) fn lowest_slot(&self) -> *const Slot {
        self.floor.get().wrapping_add(1)
    }

    #[inline(always)]
    pub(crate) fn block_size(&self) -> usize {
        opaque(self.tag_base.get().wrapping_add(NARROW.into()))
    }

    /// Whether blocks with so much slack, of which the lowest 32 bits count, are of its class: with more they would be of the one
    /// below. What is asked for beyond the block is very much slack here.
    #[inline(always)]
    pub(crate) fn is_slack_of_its_class(&self, slack: usize) -> bool {
        (slack as u32) < self.step.get()
    }

    /// Tag of a live block of so many requested bytes whose slack is narrow; only the low byte counts.
    #[inline(always)]
    pub(crate) fn tag(&self, requested: usize) -> u32 {
        (self.tag_base.get() as u32).wrapping_sub(requested as u32)
    }

    /// What allocating a block for so many bytes adds to the room and the class's tally.
    #[inline(always)]
    pub(crate) fn allocating(&self, requested: usize) -> u64 {
        (requested as u64).wrapping_add(self.charge.get())
    }

    /// What freeing a block with so much slack adds.
    #[inline(always)]
    pub(crate) fn freeing(&self, slack: usize) -> u64 {
        (slack.wrapping_sub(NARROW.into()) as u64).wrapping_add(self.credit.get())
    }

    /// As `freeing`, of a block with this narrow tag: as a signed one, that is its slack less 128.
    #[inline(always)]
    pub(crate) fn freeing_tagged(&self, tag: u8) -> u64 {
        (i64::from(tag.cast_signed()).cast_unsigned()).wrapping_add(self.credit.get())
    }

    /// The class's counters in the heap's row.
    ///
    /// # Safety
    /// The bin was started, and is a heap's.
    #[inline(always)]
    pub(crate) unsafe fn line(&self) -> &'static ClassCounters {
        // SAFETY: bin and line have the same place in heap and row; rows that a heap has are never unmapped.
        unsafe { &*(line_of(core::ptr::from_ref(self) as usize) as *const ClassCounters) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::beside::LINE;
    use crate::slots::FIRST;
    use proptest::prelude::*;
    use shm_layout::tally::Counts;
    use std::boxed::Box;
    use std::vec::Vec;

    fn zeroed<T>() -> Box<T> {
        // SAFETY: bins, slots and counters, which may be zero.
        unsafe { Box::new_zeroed().assume_init() }
    }

    /// A bin as it lies in a heap, with the counters of its class where they lie in the row.
    #[repr(C)]
    struct Placed {
        bin: Bin,
        _between: [u8; LINE - size_of::<Bin>()],
        line: ClassCounters,
    }

    #[test]
    fn a_bin_has_few_slots_until_it_has_been_filled_again() {
        let (placed, slots) = (zeroed::<Placed>(), zeroed());
        let bin = &placed.bin;
        let class = SizeClass::of(64).unwrap();
        bin.start(class, &slots);
        assert_eq!(bin.most(), FIRST as u32);
        let more: Vec<usize> = (0..OFTEN + 2).map(|_| bin.make_room(class, &slots)).collect();
        assert_eq!(more.iter().sum::<usize>(), 512 * size_of::<Slot>());
        assert_eq!(bin.most(), 512);
    }

    #[test]
    fn a_bin_has_more_slots_only_while_much_of_its_class_is_in_use() {
        let (placed, slots) = (zeroed::<Placed>(), zeroed());
        let (bin, line) = (&placed.bin, &placed.line);
        let class = SizeClass::of(4096).unwrap();
        bin.start(class, &slots);
        let count = |tally: &Tally, way, calls| {
            tally.set(Scale::class(class), way, Counts { calls, requested: calls * 4096 });
        };
        let most_with = |in_use, fillings| {
            count(&line.allocated, Way::In, in_use);
            (0..fillings).for_each(|_| _ = bin.make_room(class, &slots));
            bin.most()
        };
        assert_eq!([1, 1, LOOK, 1].map(|fillings| most_with(1000, fillings)), [8, 16, 16, 16]);
        assert_eq!(
            [(40, LOOK - 2), (40, 1), (0, LOOK)].map(|(in_use, fillings)| most_with(in_use, fillings)),
            [16, 10, 8]
        );
        count(&line.freed, Way::Out, 1000);
        assert_eq!(most_with(1000, LOOK), 8);
    }

    #[test]
    fn attempts_to_fill_a_bin_for_which_there_is_no_memory_do_not_count() {
        let (placed, slots) = (zeroed::<Placed>(), zeroed());
        let bin = &placed.bin;
        let class = SizeClass::of(64).unwrap();
        assert!((0..=OFTEN).all(|_| bin.make_room(class, &slots) == 0 && bin.is_full()));
        bin.start(class, &slots);
        assert!((0..=OFTEN).any(|_| bin.make_room(class, &slots) > 0));
    }

    proptest! {
        #[test]
        fn a_bin_hands_out_what_came_last_and_never_takes_more_than_it_may(
            size in 1_usize..40_000,
            moves in prop::collection::vec(0..8_u8, 0..2000),
        ) {
            let Some(class) = SizeClass::of(size) else { return Ok(()) };
            let (placed, slots) = (zeroed::<Placed>(), zeroed());
            let bin = &placed.bin;
            bin.start(class, &slots);
            let (mut model, mut next) = (Vec::new(), 0_usize);
            for step in moves {
                match step {
                    0..=3 => {
                        next += 64;
                        let fits = model.len() < bin.most() as usize;
                        prop_assert_eq!(bin.push(next as *mut u8), fits);
                        if fits {
                            model.push(next);
                        }
                    }
                    4..=5 => prop_assert_eq!(bin.pop().map(|block| block.as_ptr() as usize), model.pop()),
                    6 if model.len() <= FEW as usize && bin.is_wide() => bin.narrow(),
                    _ if model.is_empty() => drop(bin.make_room(class, &slots)),
                    _ => bin.widen(),
                }
                prop_assert_eq!(bin.count() as usize, model.len());
                prop_assert_eq!(bin.is_full(), model.len() == bin.most() as usize);
            }
        }
    }
}
