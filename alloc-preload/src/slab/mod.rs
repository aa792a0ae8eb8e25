//! Slabs: runs of blocks of one size class. The record lies out of line, and so does all that tells which blocks are
//! free: neither between the program's blocks nor inside them is there anything of ours.

mod idle;
mod wake;

use crate::bin::Bin;
use crate::harden;
use crate::ledger::{self, Entry};
use crate::os::PAGE;
use crate::sync::Cell;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, huge, owner};
use shm_layout::class::{GRANULE, SizeClass, UNIT};

pub(crate) use idle::{Pages, Seen};

/// No unit.
pub(crate) const NO_UNIT: u32 = u32::MAX;

/// A slab's own record, written only by the thread whose heap owns it, or under the central lock while abandoned.
///
/// `used + resting + (capacity - carved) == capacity`, where `used` counts blocks that are live, pending, or in a bin of
/// the owner's. Resting blocks are found by the ledger: they are those it calls free, as long as the bin is empty.
#[repr(C, align(64))]
pub(crate) struct Slab {
    /// The block that was laid to rest last, or woken last if that was later: around it lie those that were used last.
    /// In its lowest bits stands what the last sweep did about the slab, which both acts undo (see [`Seen`]).
    recent: Cell<usize>,
    pub(crate) used: Cell<u32>,
    pub(crate) block_size: Cell<u32>,
    pub(crate) carved: Cell<u32>,
    pub(crate) capacity: Cell<u32>,
    /// Neighbours in the list the slab is on: unit numbers.
    pub(crate) next: Cell<u32>,
    pub(crate) previous: Cell<u32>,
    pub(crate) state: Cell<State>,
    pub(crate) class: Cell<u8>,
    pub(crate) units: Cell<u16>,
    /// Left by a thread that vanished in a fork: it has to be rebuilt before use.
    pub(crate) stale: Cell<bool>,
    /// Pages that have no memory behind them, since it was given back (see `heap::sparse`). While there are any, blocks rest.
    gone: Cell<Pages>,
}

/// Which list a slab is on. The number is how many used blocks are too few for it (see [`Slab::is_misplaced`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(crate) enum State {
    /// Not a slab.
    None = 0,
    /// Its heap takes blocks from it.
    Current = -1,
    /// Has blocks to give; on its heap's list for the class.
    Partial = 1,
    /// Has none; on its heap's list of full slabs.
    Full = i32::MAX,
    /// Wholly free, kept for the next need; on its heap's list of those.
    Spare = -2,
    /// Its thread has ended; on the central list for the class.
    Abandoned = -3,
    /// Likewise, without a block to give; on the central list of those.
    AbandonedFull = -4,
}

impl Slab {
    /// Makes the record that of a fresh slab of `class` on units from `unit`.
    pub(crate) fn start(&self, class: SizeClass) {
        self.recent.set(0);
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
        self.gone.set(0);
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

    /// In how many areas of the ledger its blocks begin.
    pub(crate) fn areas(&self) -> usize {
        ledger::areas(self.block_size.get() as usize / GRANULE)
    }

    /// Blocks that rest in the slab.
    pub(crate) fn resting(&self) -> u32 {
        self.carved.get().saturating_sub(self.used.get())
    }

    pub(crate) fn has_free(&self) -> bool {
        self.used.get() < self.capacity.get()
    }

    /// Whether a block that came back has changed which list the slab belongs on.
    #[inline]
    pub(crate) fn is_misplaced(&self) -> bool {
        // Full ones always are, partial ones without a used block, and no others.
        self.used.get().cast_signed() < self.state.get() as i32
    }

    /// Whether all blocks have been carved.
    pub(crate) fn is_carved(&self) -> bool {
        self.carved.get() == self.capacity.get()
    }

    /// Bytes of the carved blocks.
    pub(crate) fn carved_bytes(&self) -> usize {
        self.carved.get() as usize * self.block_size.get() as usize
    }

    /// Bytes of the pages that carving has touched.
    pub(crate) fn touched_bytes(&self) -> usize {
        self.bytes_under(self.carved.get())
    }

    /// Bytes of the pages that the first so many blocks lie on.
    fn bytes_under(&self, blocks: u32) -> usize {
        let bytes = blocks as usize * self.block_size.get() as usize;
        bytes.next_multiple_of(PAGE).min(self.units.get() as usize * UNIT)
    }

    /// As many of its pages, for [`huge`].
    pub(crate) fn part(&self, from: usize, to: usize) -> huge::Part {
        huge::Part { slab: self.unit(), from, to, is_filled: self.is_carved() }
    }

    pub(crate) fn each_unit(&self, each: impl FnMut(UnitIndex)) {
        self.all_units().for_each(each);
    }

    fn all_units(&self) -> impl DoubleEndedIterator<Item = UnitIndex> + use<> {
        let first = self.unit().0;
        (first..first + u32::from(self.units.get())).map(UnitIndex)
    }

    /// Writes the owner into the unit records.
    pub(crate) fn set_owner(&self, owner: usize) {
        // SAFETY: the slab's own units are committed.
        self.each_unit(|unit| unsafe { WINDOW.unit(unit) }.set_owner(owner));
    }

    /// Writes down that the units are free. The first comes last: until then all of them are in use, for a child that is forked
    /// in between.
    pub(crate) fn set_free(&self) {
        let free = owner::marked(self.areas());
        // SAFETY: the slab's own units are committed.
        self.all_units().rev().for_each(|unit| unsafe { WINDOW.unit(unit) }.set_owner(free));
    }

    pub(crate) fn owner(&self) -> usize {
        // SAFETY: the slab's own unit is committed.
        unsafe { WINDOW.unit(self.unit()) }.owner()
    }

    /// Lays a free block to rest.
    ///
    /// # Safety
    /// The block is one of this slab, and the caller's like the slab.
    #[inline]
    pub(crate) unsafe fn put(&self, block: *mut u8) {
        ledger::rest(block);
        self.recent.set(block as usize);
        self.used.set(self.used.get() - 1);
    }

    /// Carves the next blocks straight into the bin; how many. Their memory may be known to read as zero.
    ///
    /// # Safety
    /// The caller owns the slab and the bin, and `carved < capacity`.
    // As `wake`.
    #[inline(never)]
    pub(crate) unsafe fn carve(&self, bin: &Bin, is_blank: bool) -> u32 {
        debug_assert!(self.carved.get() < self.capacity.get());
        let a_page = (PAGE as u32).checked_div(self.block_size.get()).unwrap_or(0);
        let first = self.carved.get();
        let count = a_page.max(1).min(self.capacity.get() - first).min(bin.most() - bin.count());
        // The lowest address on top.
        let top = bin.count() + count;
        let (size, slots) = (self.block_size.get() as usize, bin.lowest_slot());
        let mut offset = first as usize * size;
        let tag = if is_blank { ledger::BLANK } else { ledger::FRESH };
        let (address, granule) = (WINDOW.address(self.unit()), self.unit().0 as usize * UNIT_GRANULES);
        for slot in (bin.count()..top).rev() {
            // SAFETY: uncarved blocks of our slab are nobody's, its memory and its part of the ledger are committed, and there
            // are as many slots.
            unsafe {
                WINDOW.entry(granule + offset / GRANULE).note(tag);
                (*slots.add(slot as usize)).set(address.add(offset));
            }
            offset += size;
        }
        // SAFETY: just filled.
        unsafe { bin.set_count(top) };
        if first + count == self.capacity.get() {
            let to = self.bytes_under(self.capacity.get()) / PAGE;
            // Before it says so: a child that is forked in between counts too much rather than less than nothing.
            huge::Part { slab: self.unit(), from: self.gone_pages(), to, is_filled: true }.fill();
        }
        self.carved.set(first + count);
        self.used.set(self.used.get() + count);
        count
    }

    /// Counts the used blocks anew, by the ledger, for a slab whose owner vanished in a fork, or whose owner's bins are
    /// gone. Returns the live blocks and their requested bytes.
    ///
    /// # Safety
    /// Nobody else uses the slab.
    #[cold]
    pub(crate) unsafe fn rebuild(&self) -> (u32, u64) {
        self.stale.set(false);
        let (mut live, mut requested) = (0, 0);
        self.recent.set(0);
        for index in 0..self.carved.get().min(self.capacity.get()) {
            // SAFETY: carved blocks lie in the slab.
            unsafe {
                let (block, entry) = self.block(index);
                if let Some(slack) = entry.slack(entry.get()) {
                    live += 1;
                    requested += (self.block_size.get() as usize).saturating_sub(slack) as u64;
                } else if !ledger::is_free(entry.get()) {
                    // Its thread may have vanished before it had filled the block.
                    if harden::is_on() && entry.get() == ledger::PENDING {
                        harden::spoil(block, self.block_size.get() as usize);
                    }
                    entry.note(ledger::FREE);
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
    }
}
