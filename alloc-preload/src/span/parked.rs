//! Runs that a heap keeps after its thread has freed the large blocks in them, for the next blocks of as many units. Neither
//! call then waits for the central lock, and the records of the units stay as they are: to all others the run is in use,
//! by a block that is not live.

use super::{Guard, Run, Taken, Wanted, run};
use crate::window::UnitIndex;
use core::cell::Cell;
use core::sync::atomic::{Ordering, compiler_fence};
use shm_layout::class::UNIT;

/// Runs of a heap.
const RUNS: usize = 4;
/// Units of all of them: 1 MiB and a guard.
const UNITS: usize = (1 << 20) / UNIT + 1;

/// A heap's parked runs: the numbers of their first units, plus one. Zeroed memory is a valid state: there are none. A
/// fork may come between any two instructions: what stands here is parked.
#[repr(transparent)]
pub(crate) struct Parked([Cell<u32>; RUNS]);

impl Parked {
    /// Parks a run whose block is no longer live; false if there are too many.
    pub(crate) fn put(&self, unit: UnitIndex) -> bool {
        let units = |unit: UnitIndex| run(unit.0).units.get() as usize;
        let Some(place) = self.0.iter().find(|place| place.get() == 0) else { return false };
        if self.iter().map(units).sum::<usize>() + units(unit) > UNITS {
            return false;
        }
        compiler_fence(Ordering::SeqCst);
        place.set(unit.0 + 1);
        true
    }

    /// Takes a run of just as many units, without a guard or with the one that is wanted.
    pub(crate) fn take(&self, wanted: Wanted) -> Option<Taken> {
        if wanted.zero || wanted.align > 1 {
            return None;
        }
        let page = wanted.guard.unwrap_or(0);
        let unit = self.take_if(|run| {
            run.units.get() as usize == wanted.units && (run.guard.get() == 0 || run.guard.get() as usize == page)
        })?;
        let guard = if run(unit.0).guard.get() == 0 { Guard::Absent } else { Guard::Left };
        Some(Taken { unit, zero: false, guard })
    }

    /// Takes any of them.
    pub(crate) fn take_any(&self) -> Option<UnitIndex> {
        self.take_if(|_| true)
    }

    /// Bytes of them that may have memory behind them.
    pub(crate) fn touched(&self) -> u64 {
        let bytes = |run: &Run| run.touched.get().min(u64::from(run.units.get()) * UNIT as u64);
        self.iter().map(|unit| bytes(run(unit.0))).sum()
    }

    fn iter(&self) -> impl Iterator<Item = UnitIndex> {
        self.0.iter().filter_map(parked_at)
    }

    fn take_if(&self, fits: impl Fn(&Run) -> bool) -> Option<UnitIndex> {
        let place = self.0.iter().find(|place| parked_at(place).is_some_and(|unit| fits(run(unit.0))))?;
        let unit = parked_at(place);
        place.set(0);
        compiler_fence(Ordering::SeqCst);
        unit
    }
}

fn parked_at(place: &Cell<u32>) -> Option<UnitIndex> {
    place.get().checked_sub(1).map(UnitIndex)
}
