//! Large blocks: one span each, from the start of its first unit, counted in whole OS pages.

use crate::account;
use crate::background;
use crate::bare::BARE;
use crate::central::{central, decay_ns};
use crate::harden;
use crate::heap::Heap;
use crate::hot::{self, Hot};
use crate::ledger;
use crate::options::options;
use crate::os::{self, PAGE};
use crate::span::Run;
use crate::stats::globals;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use shm_layout::class::{CLASSES, UNIT, bucket_of};
use shm_layout::layout::ClassCounters;

/// Blocks of at least this many bytes are moved by their pages instead of copied.
const MOVE_FROM: usize = 1024 << 10;
/// Every move may split a mapping in two, and a process has 65,530 of them.
const MOVES: u64 = 8192;

/// A large block, live or about to be.
#[derive(Clone, Copy)]
pub(crate) struct Large {
    pub(crate) unit: UnitIndex,
}

/// Bytes that `size` takes, in whole pages; `None` if that cannot be.
fn pages(size: usize) -> Option<usize> {
    (size <= isize::MAX as usize).then(|| size.max(1).next_multiple_of(PAGE))
}

/// What a hardened block's span has room for behind it.
fn guard_bytes() -> usize {
    if harden::is_on() { PAGE } else { 0 }
}

impl Large {
    fn run(self) -> &'static Run {
        // SAFETY: a large block's unit is committed; its holder alone uses the run's fields.
        unsafe { WINDOW.run(self.unit) }
    }

    pub(crate) fn address(self) -> *mut u8 {
        WINDOW.address(self.unit)
    }

    pub(crate) fn allocated(self) -> usize {
        self.run().allocated.get() as usize
    }

    /// Takes a span for `size` bytes at a multiple of `align`, with `room` bytes to grow. The block is live, but not
    /// counted. The answer tells whether it reads as zero.
    pub(crate) fn take(size: usize, align: usize, room: usize, want_zero: bool) -> Option<(Self, bool)> {
        let allocated = pages(size)?;
        let units = allocated.checked_add(room)?.checked_add(guard_bytes())?.div_ceil(UNIT);
        let align = align.div_ceil(UNIT).max(1);
        if units >> 31 != 0 || align >> 31 != 0 {
            return None;
        }
        let taken = central().spans.take(units, align, want_zero, options().huge)?;
        let block = Self { unit: taken.unit };
        block.own(0, units);
        let run = block.run();
        run.allocated.set(allocated as u64);
        run.touched.set(run.touched.get().max(allocated as u64));
        block.set_requested(size);
        Some((block, taken.zero))
    }

    /// Writes the unit records of units `from..to` of the span, and clears what the ledger says of former blocks.
    fn own(self, from: usize, to: usize) {
        for unit in self.unit.0 + from as u32..self.unit.0 + to as u32 {
            let unit = UnitIndex(unit);
            // SAFETY: the span's units are committed, and ours; they were free.
            let (record, written) = unsafe { (WINDOW.unit(unit), WINDOW.clear_ledger(unit)) };
            // Of a span, only the first unit's ledger page is used.
            if written && unit != self.unit {
                globals().metadata.sub_shared(UNIT_GRANULES as u64);
            } else if !written && unit == self.unit {
                globals().metadata.add_shared(UNIT_GRANULES as u64);
            }
            // SAFETY: as above.
            unsafe { WINDOW.set_head(unit, self.unit) };
            record.set_owner(owner::SPAN);
        }
    }

    /// Writes the ledger entry for `size` requested bytes.
    fn set_requested(self, size: usize) {
        // SAFETY: the block's first granules, which are ours.
        unsafe {
            WINDOW.entry(self.unit.0 as usize * UNIT_GRANULES).set_live(self.allocated() - size);
            if harden::is_on() {
                harden::seal(self.address(), size, self.allocated());
                let _ = os::guard(self.guard(), PAGE);
            }
        }
    }

    /// Where a hardened block's guard lies.
    fn guard(self) -> *mut u8 {
        self.address().wrapping_add(self.allocated())
    }

    fn remove_guard(self) {
        if harden::is_on() {
            // SAFETY: behind the block, in its span.
            let _ = unsafe { os::unguard(self.guard(), PAGE) };
        }
    }

    /// Gives the span back. The block is no longer live, and counted as freed.
    pub(crate) fn give(self) {
        self.remove_guard();
        let run = self.run();
        let units = run.units.get() as usize;
        for unit in self.unit.0 + 1..self.unit.0 + units as u32 {
            // SAFETY: units of our span; nothing is marked in their ledger.
            unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner::CLEAN);
        }
        // SAFETY: as above; the first unit's ledger shows the freed block.
        unsafe { WINDOW.unit(self.unit) }.set_owner(if BARE { owner::CLEAN } else { owner::SPENT });
        central().spans.give(self.unit, units, 0, decay_ns());
        background::freed();
    }

    /// Makes the block `size` bytes without moving it; false if that cannot be. Not counted.
    pub(crate) fn resize(self, size: usize) -> bool {
        let Some(allocated) = pages(size) else { return false };
        let run = self.run();
        let (units, wanted) = (run.units.get() as usize, (allocated + guard_bytes()).div_ceil(UNIT));
        if wanted > units {
            if central().spans.extend(self.unit, units, wanted - units).is_none() {
                return false;
            }
            self.own(units, wanted);
        } else if wanted < units && allocated < self.allocated() {
            self.remove_guard();
            for unit in self.unit.0 + wanted as u32..self.unit.0 + units as u32 {
                // SAFETY: units of our span; nothing is marked in their ledger.
                unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner::CLEAN);
            }
            central().spans.shrink(self.unit, units, wanted, decay_ns());
            background::freed();
        }
        self.remove_guard();
        run.allocated.set(allocated as u64);
        run.touched.set(run.touched.get().max(allocated as u64));
        self.set_requested(size);
        true
    }

    /// Takes a larger block for the contents of this one and moves them there. The old block stays live, its contents
    /// are gone.
    pub(crate) fn grow_elsewhere(self, size: usize) -> Option<Self> {
        // A block that has grown once will grow again; where address space is plentiful it gets room to double.
        let room = if WINDOW.is_chunked() { 0 } else { pages(size)? };
        let (new, _) = Self::take(size, 1, room, false).or_else(|| Self::take(size, 1, 0, false))?;
        let moved = self.allocated();
        let may_move = moved >= MOVE_FROM && globals().page_moves.get() < MOVES && !WINDOW.is_over_limit();
        // SAFETY: two live blocks of ours, which do not overlap; the old one is as large as `moved`.
        if may_move && unsafe { os::move_pages(self.address(), new.address(), moved) }.is_ok() {
            globals().page_moves.add_shared(1);
            let run = self.run();
            run.touched.set(run.touched.get() - moved as u64);
        } else {
            if may_move && !new.is_there(moved) {
                new.lose();
                return None;
            }
            // SAFETY: as above.
            unsafe { core::ptr::copy_nonoverlapping(self.address(), new.address(), moved.min(size)) };
        }
        Some(new)
    }

    /// Whether there is memory behind the block's first `bytes` after a move to it has failed: some kernels unmap the
    /// destination before they refuse.
    fn is_there(self, bytes: usize) -> bool {
        let mapped = os::map_at(self.address(), bytes);
        matches!(mapped, Ok(()) | Err(os::Errno(libc::EEXIST))) || os::is_mapped(self.address() as usize)
    }

    /// Gives up an uncounted block whose memory is gone: what is mapped there from now on is somebody else's.
    fn lose(self) {
        // SAFETY: the first granule of our block.
        unsafe { WINDOW.entry(self.unit.0 as usize * UNIT_GRANULES) }.note(ledger::FREE);
        for unit in self.unit.0..self.unit.0 + self.run().units.get() {
            // SAFETY: units of our span, which stays in use for ever.
            unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner::HOLE);
        }
    }
}

/// Counters of the bucket that a block of so many bytes falls into.
fn line_of(heap: &Heap, allocated: usize) -> Option<&'static ClassCounters> {
    heap.line(CLASSES + bucket_of(allocated))
}

/// Counts a large block as allocated.
pub(crate) fn count_in(hot: &Hot, heap: &Heap, requested: usize, allocated: usize) {
    if let Some(line) = line_of(heap, allocated) {
        hot::count(&line.capacity_in, allocated);
        hot::count_in(line, requested);
    }
    account::charge(hot, heap, requested, allocated);
}

/// Counts a large block as freed.
pub(crate) fn count_out(hot: &Hot, heap: &Heap, requested: usize, allocated: usize) {
    if let Some(line) = line_of(heap, allocated) {
        hot::count_out(line, requested);
        hot::count(&line.capacity_out, allocated);
    }
    account::credit(hot, heap, requested, allocated);
}

/// Marks a large block as freed; false if somebody else was faster.
pub(crate) fn claim(unit: UnitIndex, tag: u8) -> bool {
    // SAFETY: the ledger of a committed unit.
    unsafe { WINDOW.entry(unit.0 as usize * UNIT_GRANULES) }.exchange_if(tag, ledger::FREE)
}
