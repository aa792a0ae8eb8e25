//! Large blocks: one span each, from the start of its first unit, counted in whole OS pages.

mod growth;
mod moves;
pub(crate) mod same;
mod zeros;

use crate::account;
use crate::background;
use crate::central::{central, decay_ns};
use crate::clock;
use crate::harden;
use crate::heap::Heap;
use crate::hot::{self, Hot};
use crate::ledger::{self, Entry};
use crate::options::options;
use crate::os::PAGE;
use crate::span::{self, Guard, Run, Taken, Wanted, free_units, guard};
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use shm_layout::class::{PAIR, UNIT};
use shm_layout::tally::Scale;

/// A large block, live or about to be.
#[derive(Clone, Copy)]
pub(crate) struct Large {
    pub(crate) unit: UnitIndex,
}

/// Bytes that `size` takes, in whole pages; `None` if that cannot be.
fn pages(size: usize) -> Option<usize> {
    (size <= isize::MAX as usize).then(|| size.max(1).next_multiple_of(PAGE))
}

/// Units that so many bytes take.
fn units_for(bytes: usize) -> usize {
    bytes.div_ceil(PAIR) * (PAIR / UNIT)
}

/// A large block asked for.
#[derive(Clone, Copy)]
pub(crate) struct Demand {
    pub(crate) size: usize,
    /// It begins at a multiple of so many bytes.
    pub(crate) align: usize,
    /// Bytes for it to grow in place.
    pub(crate) room: usize,
    /// Rather memory that reads as zero.
    pub(crate) zero: bool,
    /// With a guard behind it, if that can be afforded (see `span::guard`).
    pub(crate) guarded: bool,
}

impl Demand {
    /// A block of `size` bytes that is not expected to grow.
    pub(crate) const fn of(size: usize) -> Self {
        Self { size, align: 1, room: 0, zero: false, guarded: true }
    }

    /// A block of `size` bytes, which has grown before and will again: it has no guard, which would be in the way.
    pub(crate) const fn growing(size: usize) -> Self {
        Self { guarded: false, ..Self::of(size) }
    }

    /// What is kept free behind `allocated` bytes of it for a guard, even if that takes more units. Address space is not
    /// to be spent where it is limited.
    fn behind(self, allocated: usize) -> usize {
        let wanted = self.guarded && !WINDOW.is_chunked() && guard::is_wanted(allocated);
        if wanted { PAGE } else { hardened_bytes() }
    }
}

/// What a hardened block's span has room for behind it.
fn hardened_bytes() -> usize {
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

    /// Takes a span for a thread of this heap. The block is live, but not counted. The answer tells whether it reads as zero.
    pub(crate) fn take(heap: &Heap, demand: Demand) -> Option<(Self, bool)> {
        let allocated = pages(demand.size)?;
        let units = units_for(allocated.checked_add(demand.room)?.checked_add(demand.behind(allocated))?);
        let align = demand.align.div_ceil(UNIT).max(1);
        if units >> 31 != 0 || align >> 31 != 0 {
            return None;
        }
        let may_guard = (demand.guarded || harden::is_on()) && allocated < units * UNIT && guard::is_wanted(allocated);
        let page = may_guard.then_some(allocated / PAGE);
        let (zero, sparse) = if demand.zero { zeros::rather_clean(allocated) } else { (false, false) };
        let wanted = Wanted { units, align, zero, sparse, slab: false, high: false, guard: page };
        let parked = heap.take_parked(wanted);
        let is_parked = parked.is_some();
        let taken = parked.or_else(|| Self::take_run(wanted))?;
        let block = Self { unit: taken.unit };
        let run = block.run();
        run.guard.set(if taken.guard == Guard::Left { (allocated / PAGE) as u32 } else { 0 });
        if !is_parked {
            block.own(0, units);
        }
        run.allocated.set(allocated as u64);
        run.touched.set(run.touched.get().max(allocated as u64));
        run.unbacked.set(false);
        if may_guard && (taken.guard == Guard::Due || harden::is_on()) {
            block.install_guard();
        }
        block.set_requested(demand.size);
        run.settle();
        Some((block, taken.zero))
    }

    fn take_run(wanted: Wanted) -> Option<Taken> {
        let taken = central().spans.take(wanted, options().huge)?;
        if taken.zero && !taken.chosen && decay_ns().is_some() {
            span::purge_unfit(wanted.units);
        }
        Some(taken)
    }

    /// Writes the unit records of units `from..to` of the span, and clears what the ledger says of former blocks.
    fn own(self, from: usize, to: usize) {
        for unit in self.unit.0 + from as u32..self.unit.0 + to as u32 {
            let unit = UnitIndex(unit);
            // SAFETY: the span's units are committed, and ours; they were free.
            unsafe {
                // A span has but one entry, in the first area.
                WINDOW.renew_ledger(unit, usize::from(unit == self.unit));
                WINDOW.set_head(unit, self.unit);
                WINDOW.unit(unit).set_owner(owner::SPAN);
            }
        }
    }

    /// Its entry in the ledger.
    ///
    /// # Safety
    /// The unit lies below the committed end.
    unsafe fn entry(self) -> &'static Entry {
        // SAFETY: the caller's.
        unsafe { WINDOW.entry(self.unit.0 as usize * UNIT_GRANULES) }
    }

    /// Writes the ledger entry for `size` requested bytes.
    fn set_requested(self, size: usize) {
        // SAFETY: the block's first granules, which are ours.
        unsafe {
            self.entry().set_live(self.allocated() - size);
            if harden::is_on() {
                harden::seal(self.address(), size, self.allocated());
            }
        }
    }

    /// Makes the page behind the block its guard, if it has none. The page lies in the span.
    fn install_guard(self) {
        let (run, page) = (self.run(), self.allocated() / PAGE);
        if run.guard.get() == 0 {
            // Noted first: a guard that nothing tells of would be handed out.
            run.guard.set(page as u32);
            // SAFETY: behind the block, in its span; nobody else uses that page.
            if !unsafe { guard::install(self.address().add(page * PAGE)) } {
                run.guard.set(0);
            }
        }
    }

    /// False if the kernel refuses.
    fn remove_guard(self) -> bool {
        let run = self.run();
        let page = run.guard.get() as usize;
        // SAFETY: the block's guard, if it has one.
        let removed = page == 0 || unsafe { guard::remove(self.address().add(page * PAGE)) }.is_ok();
        if removed {
            run.guard.set(0);
        }
        removed
    }

    /// Keeps others from cutting off the block's tail, until it is settled again.
    fn hold(self) {
        if !self.run().hold() {
            drop(central());
        }
    }

    /// As [`give`](Self::give), for a block that is expected to be followed by another of its size.
    pub(crate) fn park(self, heap: &Heap) {
        let is_clean = self.observe();
        let run = self.run();
        match heap.place_for(run) {
            Some(place) if !is_clean => heap.park(place, self.unit, run, self.fit(run)),
            _ => self.give(),
        }
    }

    /// Gives the span back. The block is no longer live, and counted as freed.
    pub(crate) fn give(self) {
        self.hold();
        if self.run().is_cut() {
            central().spans.give_if_cut(self.unit);
            return;
        }
        free_units(self.unit, 0);
        let units = self.run().units.get() as usize;
        central().spans.give_large(self.unit, clock::last(), decay_ns());
        span::relieve(units, decay_ns());
        background::freed();
    }

    /// Makes the block `size` bytes without moving it; false if that cannot be. Not counted.
    pub(crate) fn resize(self, heap: &Heap, size: usize) -> bool {
        self.hold();
        let resized = pages(size).is_some_and(|allocated| self.resize_held(heap, size, allocated));
        self.run().settle();
        resized
    }

    fn resize_held(self, heap: &Heap, size: usize, allocated: usize) -> bool {
        let (run, needed) = (self.run(), allocated + hardened_bytes());
        let units = run.units.get() as usize;
        let mut wanted = units_for(needed);
        let fits = needed <= run.mapped();
        // A tail that could not be mapped again is cut off further ahead.
        let mut cut = false;
        if run.is_cut() && !(fits && wanted == units) && central().spans.restore_tail(self.unit).is_err() {
            if !fits {
                return false;
            }
            (cut, wanted) = (true, units);
        }
        // A block that has grown is left without, since it will grow again.
        let in_the_way = harden::is_on() || run.guard.get() as usize * PAGE < allocated;
        if in_the_way && !self.remove_guard() {
            return false;
        }
        if wanted > units {
            let extend = || central().spans.extend(self.unit, units, wanted - units);
            // What follows may be parked.
            let next = UnitIndex(self.unit.0 + units as u32);
            let extended = extend().or_else(|| heap.give_parked_at(next).then(extend)?);
            if extended.is_none() {
                return false;
            }
            self.own(units, wanted);
        } else if wanted < units && allocated < self.allocated() {
            free_units(self.unit, wanted);
            central().spans.shrink(self.unit, units, wanted, decay_ns());
            span::relieve(units - wanted, decay_ns());
            background::freed();
        }
        run.allocated.set(allocated as u64);
        run.touched.set(run.touched.get().max(allocated as u64));
        run.unbacked.set(false);
        if cut {
            central().spans.cut_tail(self.unit);
        }
        if harden::is_on() && allocated < run.mapped() {
            self.install_guard();
        }
        self.set_requested(size);
        true
    }

    /// Takes a block of `size` bytes for the contents of one of which `old` were requested; the answer as of [`take`](Self::take).
    pub(crate) fn take_grown(heap: &Heap, old: usize, size: usize) -> Option<(Self, bool)> {
        // A block that has grown once will grow again; where address space is plentiful it gets room for that.
        let room = if WINDOW.is_chunked() { 0 } else { growth::room(old, size) };
        let demand = Demand::growing(size);
        Self::take(heap, Demand { room, ..demand }).or_else(|| Self::take(heap, demand))
    }

    /// Has the contents in another block, which is not counted, and may be known to read as zero; false if that one is lost, and
    /// this one as before. This one stays live; once moved, its contents are gone.
    pub(crate) fn move_to(self, new: Self, size: usize, fresh: bool) -> bool {
        let bytes = self.allocated().min(new.allocated());
        // SAFETY: two live blocks of ours.
        let Some(moved) = (unsafe { moves::carry(self.address(), new.address(), bytes, fresh) }) else {
            new.lose();
            return false;
        };
        let run = self.run();
        run.touched.set(run.touched.get() - moved as u64);
        if harden::is_on() {
            // Whole pages have come, perhaps over its seal.
            new.set_requested(size);
        }
        true
    }

    /// Gives up an uncounted block whose memory may be somebody else's.
    fn lose(self) {
        self.hold();
        // SAFETY: the first granule of our block.
        unsafe { self.entry() }.note(ledger::FREE);
        // The first comes last: a child that is forked in between takes all for a run in use.
        for unit in (self.unit.0..self.unit.0 + self.run().units.get()).rev() {
            // SAFETY: units of our span, which stays in use for ever.
            unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner::HOLE);
        }
    }
}

/// Counts a large block as allocated.
pub(crate) fn count_in(hot: &Hot, heap: &Heap, requested: usize, allocated: usize) {
    if let Some(line) = heap.large_line(allocated) {
        hot::count(&line.capacity_in, allocated);
        hot::count_in(line, Scale::BUCKET, requested);
    }
    account::charge(hot, heap, requested, allocated);
}

/// Counts a large block as freed.
pub(crate) fn count_out(hot: &Hot, heap: &Heap, requested: usize, allocated: usize) {
    if let Some(line) = heap.large_line(allocated) {
        hot::count_out(line, Scale::BUCKET, requested);
        hot::count(&line.capacity_out, allocated);
    }
    account::credit(hot, heap, requested, allocated);
}

/// Marks a large block as freed; false if somebody else was faster.
pub(crate) fn claim(block: Large, tag: u8) -> bool {
    // SAFETY: a committed unit.
    unsafe { block.entry() }.exchange_if(tag, ledger::FREE)
}
