//! How a run is written down. It has its record at its first unit, and its length at its last too, so that neighbours are
//! found in one step. Free runs lie in bins by zone, kind and length; only those of the same kind are joined. Dirty ones
//! also stand in the order in which they became free (see `purge`).

use super::bins::Bins;
use super::zone::{Zone, zone_of};
use super::{Kind, NO_UNIT, Run, Spans};
use crate::bare::BARE;
use crate::window::{UNIT_PAGES, UnitIndex, WINDOW, owner};

impl Spans {
    /// Adds a run to its free neighbours of the same kind; the first unit of the result.
    pub(super) fn join(
        &mut self,
        mut first: u32,
        mut units: usize,
        kind: Kind,
        mut touched: u64,
        mut stamp: u64,
    ) -> u32 {
        // In the queue it takes the place of the neighbour that became free first: to look for it from the newest on would
        // take a step for every run that became free since.
        let mut place = None;
        if first > 0 {
            let last = run(first - 1);
            if last.kind.get() == kind && zone_of(first - 1) == zone_of(first) {
                let before = first - last.units.get();
                let record = run(before);
                touched += record.touched.get();
                units += record.units.get() as usize;
                let behind = self.unlink(before);
                if record.stamp.get() <= stamp {
                    (stamp, place) = (record.stamp.get(), Some(behind));
                }
                run(first - 1).kind.set(Kind::None);
                first = before;
            }
        }
        let next = first + units as u32;
        if next < WINDOW.end().0 && run(next).kind.get() == kind && zone_of(next) == zone_of(first) {
            let record = run(next);
            touched += record.touched.get();
            units += record.units.get() as usize;
            let behind = self.unlink(next);
            if record.stamp.get() <= stamp || place == Some(next) {
                (stamp, place) = (stamp.min(record.stamp.get()), Some(behind));
            }
            record.kind.set(Kind::None);
        }
        self.link_behind(place.unwrap_or(self.newest), first, units, kind, touched, stamp);
        first
    }

    pub(super) fn bins(&mut self, kind: Kind, zone: Zone) -> &mut Bins {
        if kind == Kind::Vacant {
            return &mut self.vacant;
        }
        let [coarse, fine] = &mut self.zones;
        let free = if zone == Zone::Fine { fine } else { coarse };
        if kind == Kind::Dirty { &mut free.dirty } else { &mut free.clean }
    }

    pub(super) fn link(&mut self, first: u32, units: usize, kind: Kind, touched: u64, stamp: u64) {
        self.link_behind(self.newest, first, units, kind, touched, stamp);
    }

    /// As `link`; if it is dirty, `behind` is the run in the queue behind which its place is looked for.
    pub(super) fn link_behind(&mut self, behind: u32, first: u32, units: usize, kind: Kind, touched: u64, stamp: u64) {
        mark(first, units, kind);
        let record = run(first);
        record.touched.set(touched);
        record.stamp.set(stamp);
        self.bins(kind, zone_of(first)).push(first, units);
        if kind == Kind::Dirty {
            self.enqueue(first, behind);
        }
    }

    /// Takes a free run out. Returns behind which run of the queue it stood, if it is dirty.
    pub(super) fn unlink(&mut self, first: u32) -> u32 {
        let record = run(first);
        let kind = record.kind.get();
        self.bins(kind, zone_of(first)).remove(first);
        if kind != Kind::Dirty {
            return NO_UNIT;
        }
        self.dequeue(first);
        record.older.get()
    }
}

pub(super) fn run(unit: u32) -> &'static Run {
    debug_assert!(unit < WINDOW.end().0);
    // SAFETY: callers stay below the committed end; records are guarded by the central lock.
    unsafe { WINDOW.run(UnitIndex(unit)) }
}

/// Writes kind and length at both ends of a run.
pub(super) fn mark(first: u32, units: usize, kind: Kind) {
    let last = run(first + units as u32 - 1);
    last.kind.set(kind);
    last.units.set(units as u32);
    let record = run(first);
    record.kind.set(kind);
    record.units.set(units as u32);
}

/// So many bytes of a slab's run that had memory behind them have none any more.
pub(crate) fn untouch(first: UnitIndex, bytes: usize) {
    let touched = &run(first.0).touched;
    touched.set(touched.get().saturating_sub(bytes as u64));
}

/// Writes down the units of a large block's run from the `kept`th on as free. A guard that lies in them stays. The run's
/// first unit comes last: until then all of it is in use.
pub(crate) fn free_units(first: UnitIndex, kept: usize) {
    let run = run(first.0);
    // SAFETY: units of a run.
    let units = unsafe { WINDOW.units(first, run.units.get() as usize) };
    let guard = Some(run.guard.get() as usize).filter(|&page| page != 0);
    let guard_in = |unit: usize| guard.filter(|page| page / UNIT_PAGES == unit).map(|page| page % UNIT_PAGES);
    let guarded = guard.map(|page| page / UNIT_PAGES).filter(|&unit| unit >= kept);
    for unit in units.iter().skip(kept.max(1)) {
        unit.set_owner(owner::CLEAN);
    }
    if let Some(index) = guarded
        && index > 0
        && let Some(unit) = units.get(index)
    {
        unit.set_free(owner::CLEAN, guard_in(index));
    }
    if kept == 0
        && let Some(first) = units.first()
    {
        // Its ledger shows the freed block; nothing is marked in that of the others.
        first.set_free(if BARE { owner::CLEAN } else { owner::SPENT }, guard_in(0));
    }
    if guarded.is_some() {
        run.guard.set(0);
    }
}
