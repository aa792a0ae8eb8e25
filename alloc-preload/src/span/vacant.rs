//! Under a limit on address space: free runs that are not mapped. The window grows by vacant units, parts of which are
//! mapped when they are wanted; what is free in plenty becomes vacant again, and so does everything else that is not in
//! use when there is nothing left.

use super::purge::CACHE;
use super::zone::{self, Zone, chunk_of};
use super::{Kind, Spans, mark, run};
use crate::options::Huge;
use crate::os;
use crate::stats::globals;
use crate::window::{self, CHUNK, CHUNK_UNITS, UnitIndex, WINDOW, owner};
use core::sync::atomic::Ordering;
use shm_layout::class::UNIT;

impl Spans {
    /// Maps at least `units` vacant units in a row, if need be in the place of all that is mapped and not in use.
    #[cold]
    #[inline(never)]
    pub(super) fn occupy(&mut self, units: usize, wish: Huge) -> Option<()> {
        if let Some(done) = self.occupy_any(units, wish) {
            return Some(done);
        }
        self.purge_all();
        if self.has_clean(units) {
            return Some(());
        }
        // Nothing can be mapped in the place of what is given up.
        if WINDOW.is_over_limit() {
            return None;
        }
        // As much as the window may have to grow by; the rest of a chunk pays for its tables.
        let mut needed = units + CHUNK_UNITS;
        while let Some(vacated) = self.vacate_one(1, needed) {
            needed -= vacated;
            if needed == 0 {
                break;
            }
        }
        self.occupy_any(units, wish).or_else(|| {
            self.cut_tails();
            self.occupy_any(units, wish)
        })
    }

    #[cold]
    #[inline(never)]
    fn occupy_any(&mut self, units: usize, wish: Huge) -> Option<()> {
        while !self.has_clean(units) {
            match self.vacant.find(units) {
                Some(first) => self.occupy_start(first, units, wish)?,
                None => self.add_vacant(units)?,
            }
        }
        Some(())
    }

    /// Maps what is vacant of the `more` units from `next` on, where all of them are free, or beyond the window's end: a block that
    /// grows in its place needs no room for a second one meanwhile.
    #[cold]
    #[inline(never)]
    pub(super) fn occupy_behind(&mut self, next: u32, more: usize) -> Option<()> {
        if self.occupy_next(next, more).is_some() {
            return Some(());
        }
        if WINDOW.is_over_limit() {
            return None;
        }
        self.purge_all();
        let mut needed = more + CHUNK_UNITS;
        while let Some(vacated) = self.vacate_one(1, needed) {
            needed -= vacated;
            if needed == 0 {
                break;
            }
        }
        self.occupy_next(next, more)
    }

    #[cold]
    fn occupy_next(&mut self, next: u32, more: usize) -> Option<()> {
        let mut found = 0;
        while found < more {
            let at = next + found as u32;
            if at >= WINDOW.end().0 {
                self.add_vacant(more - found)?;
                continue;
            }
            let length = run(at).units.get() as usize;
            match run(at).kind.get() {
                Kind::Dirty | Kind::Clean => found += length,
                Kind::Vacant => {
                    self.occupy_start(at, length.min(more - found), Huge::Never)?;
                    if run(at).kind.get() == Kind::Vacant {
                        return None;
                    }
                    // What was clean before it is one run with it now.
                    found = 0;
                }
                _ => return None,
            }
        }
        Some(())
    }

    /// Adds a vacant run of at least `units` at the window's end.
    #[cold]
    fn add_vacant(&mut self, units: usize) -> Option<()> {
        let grown = window::grow(units.div_ceil(CHUNK_UNITS)).ok()?;
        globals().metadata.add_shared((grown.units * window::RECORDS) as u64);
        for first in (grown.first.0..).step_by(CHUNK_UNITS).take(grown.units / CHUNK_UNITS) {
            zone::assign(first, Zone::Coarse);
        }
        self.join(grown.first.0, grown.units, Kind::Vacant, 0, 0);
        Some(())
    }

    /// Maps the first `units` of a vacant run and, if there is address space for it, those up to a chunk's end.
    fn occupy_start(&mut self, first: u32, units: usize, wish: Huge) -> Option<()> {
        let length = run(first).units.get() as usize;
        let to_the_end = ((first as usize + units).next_multiple_of(CHUNK_UNITS) - first as usize).min(length);
        for part in [to_the_end, units] {
            let result = window::occupy(UnitIndex(first), part);
            if !matches!(result, Ok(()) | Err(os::Errno(libc::EEXIST))) {
                continue;
            }
            self.unlink(first);
            mark(first, part, Kind::Used);
            self.leave_vacant(first + part as u32, length - part);
            match result {
                Ok(()) => self.put_occupied(first, part, wish),
                Err(_) => self.occupy_around(first, part, wish),
            }
            return Some(());
        }
        None
    }

    /// Maps what can be mapped of units that somebody else has mapped some of: their units are holes from now on.
    fn occupy_around(&mut self, first: u32, units: usize, wish: Huge) {
        let each = || first..first + units as u32;
        // Inside a run the records say what was there before: none of them is to be taken for a neighbour.
        each().for_each(|unit| mark(unit, 1, Kind::Used));
        for unit in each() {
            match window::occupy(UnitIndex(unit), 1) {
                Ok(()) => self.put_occupied(unit, 1, wish),
                Err(os::Errno(libc::EEXIST)) => {
                    // SAFETY: below the committed end.
                    unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner::HOLE);
                }
                Err(_) => self.leave_vacant(unit, 1),
            }
        }
    }

    fn leave_vacant(&mut self, first: u32, units: usize) {
        if units > 0 {
            mark(first, units, Kind::Used);
            self.join(first, units, Kind::Vacant, 0, 0);
        }
    }

    /// Takes units that have just been mapped among the clean ones.
    #[cold]
    #[inline(never)]
    fn put_occupied(&mut self, first: u32, units: usize, wish: Huge) {
        let wanted = self.wants_huge(wish, Zone::Coarse);
        let chunks = (first.next_multiple_of(CHUNK_UNITS as u32)..first + units as u32).step_by(CHUNK_UNITS);
        for chunk in chunks {
            let is_whole = chunk as usize + CHUNK_UNITS <= first as usize + units;
            // SAFETY: a chunk just mapped.
            let ask = || unsafe { os::advise_huge(WINDOW.address(UnitIndex(chunk)), CHUNK) };
            let asked = wanted && is_whole && ask().is_ok();
            chunk_of(chunk).huge.store(asked, Ordering::Relaxed);
        }
        self.count_mapped(units);
        mark(first, units, Kind::Used);
        self.join(first, units, Kind::Clean, 0, 0);
    }

    /// Gives back what is free, while that is more than a half of what is in use, and some MiB.
    pub(super) fn vacate(&mut self) {
        if !WINDOW.is_chunked() {
            return;
        }
        let (free, enough) = (self.mapped_free(), self.enough_mapped());
        if free <= enough {
            self.vacate_from = 0;
        }
        if free <= enough.max(self.vacate_from) {
            return;
        }
        // What is free may be in pieces only because some are dirty and some clean.
        self.purge_all();
        loop {
            let surplus = self.mapped_free().saturating_sub(self.enough_mapped()) as usize / UNIT;
            if surplus == 0 || self.vacate_one(CHUNK_UNITS, surplus.max(CHUNK_UNITS)).is_none() {
                break;
            }
        }
        // The free units that lie scattered are not looked through again before there are more of them.
        self.vacate_from = self.mapped_free() + CACHE;
    }

    /// Bytes that are mapped and free.
    fn mapped_free(&self) -> u64 {
        (globals().committed.get() + self.cut_bytes).saturating_sub((self.used_units * UNIT) as u64)
    }

    fn enough_mapped(&self) -> u64 {
        CACHE.max((self.used_units / 2 * UNIT) as u64)
    }

    /// Gives back the upper part, of at most `most` units, of one of the longest clean runs, if that has `least`: how many.
    /// `None` if there is no such run, or the kernel refuses.
    #[cold]
    #[inline(never)]
    fn vacate_one(&mut self, least: usize, most: usize) -> Option<usize> {
        let longest = self.zones.iter().filter_map(|zone| zone.clean.longest());
        let start = longest.max_by_key(|&start| run(start).units.get())?;
        let length = run(start).units.get() as usize;
        if length < least {
            return None;
        }
        let units = length.min(most);
        let first = start + (length - units) as u32;
        self.unlink(start);
        if first > start {
            self.link(start, length - units, Kind::Clean, 0, 0);
        }
        mark(first, units, Kind::Used);
        // SAFETY: clean units that are in no list.
        let result = unsafe { window::vacate(UnitIndex(first), units) };
        if result.is_err() {
            self.join(first, units, Kind::Clean, 0, 0);
            return None;
        }
        globals().retained.sub_shared((units * UNIT) as u64);
        globals().committed.sub_shared((units * UNIT) as u64);
        self.join(first, units, Kind::Vacant, 0, 0);
        Some(units)
    }
}
