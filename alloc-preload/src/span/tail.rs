//! Under a limit on address space: the tail of a run in use, its whole pages that nothing lies on, is not mapped any more
//! once there is no address space left. Of a large block that is what lies behind its end; of a slab, what has not been
//! carved, and never is then.
//!
//! Tails are cut off under the central lock, by whoever needs the space, while the run is *settled*. Its holder takes it in
//! hand before it changes what is used of it.

use super::{Kind, Run, Spans, guard, run};
use crate::os::{self, PAGE};
use crate::stats::globals;
use crate::window::{UnitIndex, WINDOW, owner};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use shm_layout::class::UNIT;

/// Tails cut off at a time: each splits a mapping, and a process has 65,530 of them.
const CUT_AT_A_TIME: usize = 32 << 10;

/// Whether a run may have been settled since tails were last cut off.
static ANY: AtomicBool = AtomicBool::new(false);

/// Who may cut a run's tail off. Zeroed memory is a valid state: only its holder.
#[repr(transparent)]
pub(super) struct Tail(AtomicU8);

const HELD: u8 = 0;
const SETTLED: u8 = 1;
const BEING_CUT: u8 = 2;

impl Run {
    /// From now on what lies beyond `allocated` may be cut off. By the run's holder, who uses no more of it before
    /// [`hold`](Self::hold).
    pub(crate) fn settle(&self) {
        if WINDOW.is_chunked() {
            self.tail.0.store(SETTLED, Ordering::Release);
            ANY.store(true, Ordering::Release);
        }
    }

    /// From now on it may not. False while that is being done: then it has been once the central lock was free.
    pub(crate) fn hold(&self) -> bool {
        self.tail.0.load(Ordering::Relaxed) == HELD || self.tail.0.swap(HELD, Ordering::Acquire) != BEING_CUT
    }

    /// Bytes of the run that are mapped.
    pub(crate) fn mapped(&self) -> usize {
        match self.mapped.get() {
            0 => self.units.get() as usize * UNIT,
            pages => pages as usize * PAGE,
        }
    }

    /// Whether its tail has been cut off.
    pub(crate) fn is_cut(&self) -> bool {
        self.mapped.get() != 0
    }
}

/// Takes a slab's run in hand to carve more of it; false if that is not there any more. `wait` waits for the central lock.
pub(crate) fn hold_slab(unit: UnitIndex, wait: impl FnOnce()) -> bool {
    let run = run(unit.0);
    if !run.hold() {
        wait();
    }
    !run.is_cut()
}

/// Lets go of it, when so many bytes have been carved.
pub(crate) fn settle_slab(unit: UnitIndex, touched: usize) {
    if WINDOW.is_chunked() {
        let run = run(unit.0);
        run.allocated.set(touched as u64);
        run.settle();
    }
}

impl Spans {
    /// Cuts off the tails of all settled runs.
    #[cold]
    #[inline(never)]
    pub(super) fn cut_tails(&mut self) {
        if !ANY.swap(false, Ordering::Acquire) {
            return;
        }
        let (mut unit, end) = (0, WINDOW.end().0);
        while unit < end {
            let tail = &run(unit).tail.0;
            if tail.load(Ordering::Relaxed) == SETTLED
                && tail.compare_exchange(SETTLED, BEING_CUT, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                self.cut_tail(UnitIndex(unit));
                let _ = tail.compare_exchange(BEING_CUT, SETTLED, Ordering::Release, Ordering::Relaxed);
            }
            unit += run(unit).units.get().max(1);
        }
    }

    /// Cuts off the tail of a run in hand, or one that nobody takes in hand meanwhile, as far as it is mapped.
    pub(crate) fn cut_tail(&mut self, unit: UnitIndex) {
        let record = run(unit.0);
        let (mapped, kept) = (record.mapped(), record.allocated.get() as usize);
        if kept >= mapped || self.cut >= CUT_AT_A_TIME {
            return;
        }
        let before = record.mapped.replace((kept / PAGE) as u32);
        // SAFETY: whole pages of the run behind what is used of it.
        if unsafe { os::unmap(WINDOW.address(unit).add(kept), mapped - kept) }.is_err() {
            record.mapped.set(before);
            return;
        }
        // What is not mapped is as good a guard.
        if record.guard.replace(0) != 0 {
            guard::is_gone();
        }
        self.cut += usize::from(before == 0);
        self.cut_bytes += (mapped - kept) as u64;
        globals().committed.sub_shared((mapped - kept) as u64);
    }

    /// Maps the tail of a run in hand again.
    pub(crate) fn restore_tail(&mut self, unit: UnitIndex) -> os::Result<()> {
        let record = run(unit.0);
        let (mapped, all) = (record.mapped(), record.units.get() as usize * UNIT);
        // SAFETY: within the run.
        os::map_at(unsafe { WINDOW.address(unit).add(mapped) }, all - mapped)?;
        record.mapped.set(0);
        self.count_restored(all - mapped);
        Ok(())
    }

    /// Gives back a used run whose tail has been cut off: it becomes vacant. False, with nothing done, for all others.
    pub(crate) fn give_if_cut(&mut self, unit: UnitIndex) -> bool {
        let record = run(unit.0);
        // Under the central lock nobody is cutting.
        record.hold();
        if !record.is_cut() {
            return false;
        }
        let (units, mapped) = (record.units.get() as usize, record.mapped());
        // SAFETY: units of the run.
        let owners = unsafe { WINDOW.units(unit, units) };
        self.used_units -= units;
        self.count_restored(units * UNIT - mapped);
        globals().committed.sub_shared((units * UNIT) as u64);
        // A child that was forked while the tail was cut off may find it still noted.
        if record.guard.replace(0) != 0 {
            guard::is_gone();
        }
        // SAFETY: units of the run; there are no blocks in it any more.
        unsafe { forget_blocks(unit, units) };
        // The first comes last: until then all of it is in use, for a child that is forked in between.
        owners.iter().rev().for_each(|unit| unit.set_owner(owner::VACANT));
        record.mapped.set(0);
        // SAFETY: what was mapped of the run, which nobody uses any more.
        if unsafe { os::unmap(WINDOW.address(unit), mapped) }.is_err() {
            owners.iter().rev().for_each(|unit| unit.set_owner(owner::HOLE));
            // SAFETY: as above.
            let _ = unsafe { os::purge(WINDOW.address(unit), mapped) };
            return true;
        }
        self.join(unit.0, units, Kind::Vacant, 0, 0);
        true
    }

    fn count_restored(&mut self, bytes: usize) {
        self.cut -= 1;
        self.cut_bytes -= bytes as u64;
        globals().committed.add_shared(bytes as u64);
    }
}

/// Clears what the ledger says of the blocks of a used run.
///
/// # Safety
/// All have been freed.
unsafe fn forget_blocks(first: UnitIndex, units: usize) {
    // SAFETY: a unit of the run.
    let is_large = unsafe { WINDOW.unit(first) }.owner() == owner::SPAN;
    if is_large {
        // SAFETY: the caller's.
        return unsafe { WINDOW.clear_large(first) };
    }
    // SAFETY: the run is a slab's.
    let slab = unsafe { WINDOW.slab(first) };
    for unit in first.0..first.0 + units as u32 {
        // SAFETY: a unit of the run.
        unsafe { WINDOW.clear_ledger(UnitIndex(unit), slab.areas()) };
    }
}
