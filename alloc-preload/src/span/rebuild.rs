//! In a child whose parent was forked while another of its threads changed the runs.

use super::zone::zone_of;
use super::{Kind, Spans, run};
use crate::clock;
use crate::stats::globals;
use crate::window::{CHUNK_UNITS, UnitIndex, WINDOW, owner};
use shm_layout::class::UNIT;

impl Spans {
    /// Builds bins and queue anew from the records of used runs, in a child whose parent was forked in the middle
    /// of a change. What lies between used runs is free, and dirty to be safe.
    pub(crate) fn rebuild(&mut self) {
        *self = Self::new();
        let (mut unit, end) = (0, WINDOW.end().0);
        let mut cached = 0;
        while unit < end {
            let length = used_length(unit);
            if length > 0 {
                // SAFETY: below the committed end.
                match unsafe { WINDOW.unit(UnitIndex(unit)) }.owner() {
                    owner::HOLE => {}
                    owner::VACANT => self.vacant += usize::from((unit as usize).is_multiple_of(CHUNK_UNITS)),
                    _ => self.used_units += length,
                }
                unit += length as u32;
                continue;
            }
            let first = unit;
            while unit < end && used_length(unit) == 0 && zone_of(unit) == zone_of(first) {
                run(unit).kind.set(Kind::None);
                unit += 1;
            }
            let units = (unit - first) as usize;
            self.link(first, units, Kind::Dirty, (units * UNIT) as u64, clock::last());
            cached += (units * UNIT) as u64;
        }
        globals().cached.set(cached);
        globals().retained.set(0);
    }
}

/// Units of the used run that starts here, by the unit records; 0 if none does.
fn used_length(unit: u32) -> usize {
    // SAFETY: callers stay below the committed end.
    let holder = unsafe { WINDOW.unit(UnitIndex(unit)) }.state();
    match holder {
        owner::CLEAN | owner::MARKED | owner::SPENT => 0,
        owner::HOLE | owner::VACANT => 1,
        _ => (run(unit).units.get() as usize).max(1),
    }
}
