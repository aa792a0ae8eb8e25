//! In a child whose parent was forked while another of its threads changed the runs.

use super::zone::zone_of;
use super::{Kind, Spans, run};
use crate::clock;
use crate::os::PAGE;
use crate::stats::globals;
use crate::window::{UnitIndex, WINDOW, owner};
use shm_layout::class::UNIT;

impl Spans {
    /// Builds bins and queue anew from the records of used runs, in a child whose parent was forked in the middle
    /// of a change. What lies between used runs is free, and dirty to be safe.
    #[cold]
    #[inline(never)]
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
                    _ if run(unit).is_cut() => {
                        self.used_units += length;
                        self.cut += 1;
                        self.cut_bytes += (length * UNIT - run(unit).mapped()) as u64;
                    }
                    _ => self.used_units += length,
                }
                unit += length as u32;
                continue;
            }
            let (first, vacant) = (unit, is_vacant(unit));
            let belongs = |unit| used_length(unit) == 0 && zone_of(unit) == zone_of(first) && is_vacant(unit) == vacant;
            while unit < end && belongs(unit) {
                run(unit).kind.set(Kind::None);
                unit += 1;
            }
            let units = (unit - first) as usize;
            if vacant {
                self.link(first, units, Kind::Vacant, 0, 0);
                continue;
            }
            self.link(first, units, Kind::Dirty, (units * UNIT) as u64, clock::last());
            cached += (units * UNIT) as u64;
        }
        globals().cached.set(cached);
        globals().retained.set(0);
    }

    /// Counts what is free anew, in a child: the parent's counters were copied at another moment than its runs.
    pub(crate) fn recount(&self) {
        let (mut unit, end) = (0, WINDOW.end().0);
        let (mut cached, mut retained) = (0, 0);
        while unit < end {
            let record = run(unit);
            let units = record.units.get().max(1);
            match record.kind.get() {
                Kind::Dirty => cached += record.touched.get(),
                Kind::Clean => retained += u64::from(units) * UNIT as u64,
                _ => {}
            }
            unit += units;
        }
        globals().cached.set(cached);
        globals().retained.set(retained);
    }
}

fn is_vacant(unit: u32) -> bool {
    // SAFETY: callers stay below the committed end.
    unsafe { WINDOW.unit(UnitIndex(unit)) }.state() == owner::VACANT
}

/// Units of the used run that starts here, by the unit records; 0 if none does.
fn used_length(unit: u32) -> usize {
    // SAFETY: callers stay below the committed end.
    let holder = unsafe { WINDOW.unit(UnitIndex(unit)) }.state();
    match holder {
        owner::HOLE => 1,
        free if free < PAGE => 0,
        _ => (run(unit).units.get() as usize).max(1),
    }
}
