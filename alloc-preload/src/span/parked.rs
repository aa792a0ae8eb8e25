//! Runs that a heap keeps after its thread has freed the large blocks in them, for the next blocks of as many units. Neither
//! call then waits for the central lock, and the records of the units stay as they are: to all others the run is in use,
//! by a block that is not live.
//!
//! Only the heap's thread parks a run. Whoever takes a place's word away has the run: nearly always that thread, and
//! otherwise one that looks after memory, since the heap's own may sleep.

use super::{Guard, Taken, Wanted, guard, is_huge, run};
use crate::window::{UNIT_PAGES, UnitIndex};
use core::sync::atomic::{AtomicU64, Ordering};
use shm_layout::class::{PAIR, UNIT};

/// Runs of a heap.
const RUNS: usize = 4;
/// Units of all of them: 1 MiB and a guard.
const UNITS: usize = ((1 << 20) + PAIR) / UNIT;

/// A heap's parked runs. Zeroed memory is a valid state: there are none. A fork may come between any two instructions: what
/// stands here is parked.
pub(crate) struct Parked {
    places: [AtomicU64; RUNS],
}

/// What stands in a place; zero for nothing.
///
/// ```text
/// 63           32 31     16 15        4 3 0
/// first unit + 1    units   guard's page age
/// ```
#[derive(Clone, Copy)]
struct Word(u64);

/// How often whoever looks after memory has seen it.
const AGE: u64 = 0xF;
/// With so many looks in a decay time, what has been seen as often has been there for as long.
pub(crate) const LOOKS: u64 = 4;
const _: () = assert!(LOOKS <= AGE && UNITS * UNIT_PAGES <= 0xFFF);

impl Word {
    fn of(unit: UnitIndex) -> Self {
        let run = run(unit.0);
        Self((u64::from(unit.0) + 1) << 32 | u64::from(run.units.get()) << 16 | u64::from(run.guard.get()) << 4)
    }

    fn unit(self) -> Option<UnitIndex> {
        ((self.0 >> 32) as u32).checked_sub(1).map(UnitIndex)
    }

    fn units(self) -> usize {
        (self.0 >> 16 & 0xFFFF) as usize
    }

    /// The page of the run that is a guard; 0 where there is none.
    fn guard(self) -> usize {
        (self.0 >> 4 & 0xFFF) as usize
    }
}

impl Parked {
    /// Whether there is a place for a run of so many units.
    pub(crate) fn has_place(&self, units: usize) -> bool {
        let words = || self.places.iter().map(|place| Word(place.load(Ordering::Relaxed)));
        words().any(|word| word.unit().is_none()) && words().map(Word::units).sum::<usize>() + units <= UNITS
    }

    /// Parks a run whose block is no longer live. There is a place for it.
    pub(crate) fn put(&self, unit: UnitIndex) {
        if let Some(place) = self.places.iter().find(|place| place.load(Ordering::Relaxed) == 0) {
            place.store(Word::of(unit).0, Ordering::Release);
        }
    }

    /// Takes a run of just as many units, without a guard or with the one that is wanted.
    pub(crate) fn take(&self, wanted: Wanted) -> Option<Taken> {
        if wanted.zero || wanted.align > 1 {
            return None;
        }
        let page = wanted.guard.unwrap_or(0);
        let fits = |word: Word| word.units() == wanted.units && (word.guard() == 0 || word.guard() == page);
        let word = self.take_if(fits)?;
        let unit = word.unit()?;
        let guard = match wanted.guard {
            Some(page) if word.guard() == page => Guard::Left,
            Some(page) if !is_huge(unit.0, page) && guard::draw() => Guard::Due,
            _ => Guard::Absent,
        };
        Some(Taken { unit, zero: false, guard })
    }

    /// Takes all of them, with how often each has been seen.
    pub(crate) fn take_all(&self, mut each: impl FnMut(UnitIndex, u64)) {
        for place in self.places.iter().filter(|place| place.load(Ordering::Relaxed) != 0) {
            let word = Word(place.swap(0, Ordering::Acquire));
            if let Some(unit) = word.unit() {
                each(unit, word.0 & AGE);
            }
        }
    }

    /// Shows all of them; others may be about to take some.
    pub(crate) fn each(&self, show: impl FnMut(UnitIndex)) {
        self.places.iter().filter_map(|place| Word(place.load(Ordering::Relaxed)).unit()).for_each(show);
    }

    /// Takes those that have been seen here [`LOOKS`] times; of the others it is noted that they were seen once more.
    pub(crate) fn take_aged(&self, mut each: impl FnMut(UnitIndex)) {
        for place in &self.places {
            let word = place.load(Ordering::Relaxed);
            let Some(unit) = Word(word).unit() else { continue };
            let is_aged = word & AGE >= LOOKS;
            let next = if is_aged { 0 } else { word + 1 };
            if place.compare_exchange(word, next, Ordering::Acquire, Ordering::Relaxed).is_ok() && is_aged {
                each(unit);
            }
        }
    }

    fn take_if(&self, fits: impl Fn(Word) -> bool) -> Option<Word> {
        for place in &self.places {
            let mut word = place.load(Ordering::Relaxed);
            while word != 0 && fits(Word(word)) {
                match place.compare_exchange(word, 0, Ordering::Acquire, Ordering::Relaxed) {
                    Ok(_) => return Some(Word(word)),
                    Err(now) => word = now,
                }
            }
        }
        None
    }
}

/// Bytes of a run whose block is no longer live that may have memory behind them. For whoever has it.
pub(crate) fn parked_bytes(unit: UnitIndex) -> u64 {
    let run = run(unit.0);
    run.touched.get().min(u64::from(run.units.get()) * UNIT as u64)
}

/// Units of that run.
pub(crate) fn parked_units(unit: UnitIndex) -> usize {
    run(unit.0).units.get() as usize
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_every_run_that_can_be_parked() {
        for (unit, units, guard) in
            [(0, 2, 0), (0, 2, 2 * UNIT_PAGES - 1), (u32::MAX - 1, UNITS, UNITS * UNIT_PAGES - 1)]
        {
            let word = Word((u64::from(unit) + 1) << 32 | (units as u64) << 16 | (guard as u64) << 4);
            for word in [word, Word(word.0 | AGE)] {
                assert_eq!((word.unit(), word.units(), word.guard()), (Some(UnitIndex(unit)), units, guard));
            }
        }
        assert_eq!(Word(0).unit(), None);
    }
}
