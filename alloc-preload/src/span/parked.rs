//! Runs that a heap keeps after its thread has freed the large blocks in them, for the next blocks of as many units. Neither
//! call then waits for the central lock, and the records of the units stay as they are: to all others the run is in use,
//! by a block that is not live.
//!
//! Only the heap's thread parks a run. Whoever takes a place's word away has the run: nearly always that thread, and
//! otherwise one that looks after memory, since the heap's own may sleep.

use super::{Guard, Run, Taken, Wanted, guard, is_huge, run};
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

/// A place where nothing stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a>(&'a AtomicU64);

impl Place<'_> {
    /// Parks a run whose block is no longer live.
    #[inline]
    pub(crate) fn put(self, unit: UnitIndex, run: &Run, fit: Fit) {
        self.0.store(Word::of(unit, run.units.get(), run.guard.get(), fit).0, Ordering::Release);
    }
}

/// What stands in a place; zero for nothing.
///
/// ```text
/// 63            32 31        30  24 23          14 13          4 3 0
/// first unit + 1   unguarded units  guard's page   block's pages age
/// ```
#[derive(Clone, Copy)]
struct Word(u64);

/// How often whoever looks after memory has seen it.
const AGE: u64 = 0xF;
/// With so many looks in a decay time, what has been seen as often has been there for as long.
pub(crate) const LOOKS: u64 = 4;
const _: () = assert!(LOOKS <= AGE && UNITS <= 0x7F && UNITS * UNIT_PAGES <= PAGE as usize);
/// A page's number, or a number of pages.
const PAGE: u64 = 0x3FF;
/// It has no guard, but is to have one when that can be afforded.
const UNGUARDED: u64 = 1 << 31;

/// What the next block needs, to have a run as it stands.
#[derive(Clone, Copy, Default)]
pub(crate) struct Fit {
    /// To be of so many pages; of 0, no block may.
    pub(crate) pages: usize,
    /// And that no guard can be afforded.
    pub(crate) unguarded: bool,
}

impl Word {
    fn of(unit: UnitIndex, units: u32, guard: u32, fit: Fit) -> Self {
        let place = (u64::from(unit.0) + 1) << 32 | u64::from(units) << 24;
        let unguarded = if fit.unguarded { UNGUARDED } else { 0 };
        Self(place | unguarded | u64::from(guard) << 14 | (fit.pages as u64) << 4)
    }

    fn unit(self) -> Option<UnitIndex> {
        ((self.0 >> 32) as u32).checked_sub(1).map(UnitIndex)
    }

    fn units(self) -> usize {
        (self.0 >> 24 & 0x7F) as usize
    }

    /// The page of the run that is a guard; 0 where there is none.
    fn guard(self) -> usize {
        (self.0 >> 14 & PAGE) as usize
    }

    /// What a block needs to have the run as it stands.
    fn fit(self) -> Fit {
        Fit { pages: (self.0 >> 4 & PAGE) as usize, unguarded: self.0 & UNGUARDED != 0 }
    }
}

impl Parked {
    /// A place for a run of so many units.
    #[inline]
    pub(crate) fn place_for(&self, units: usize) -> Option<Place<'_>> {
        let words = || self.places.iter().map(|place| Word(place.load(Ordering::Relaxed)));
        let place = self.places.iter().find(|place| place.load(Ordering::Relaxed) == 0)?;
        (words().map(Word::units).sum::<usize>() + units <= UNITS).then_some(Place(place))
    }

    /// Takes a run that a block of so many pages may have as it stands. For the only thread.
    #[inline]
    pub(crate) fn take_same(&self, pages: usize) -> Option<UnitIndex> {
        let word = |place: &AtomicU64| Word(place.load(Ordering::Relaxed));
        let place = self.places.iter().find(|place| word(place).fit().pages == pages)?;
        let word = word(place);
        if word.fit().unguarded && guard::is_due() {
            return None;
        }
        let unit = word.unit()?;
        place.store(0, Ordering::Relaxed);
        Some(unit)
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
        Some(Taken { unit, zero: false, chosen: false, guard })
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

impl Run {
    /// Bytes of the run, whose block is no longer live, that may have memory behind them. For whoever has it.
    #[inline]
    pub(crate) fn parked_bytes(&self) -> u64 {
        self.touched.get().min(u64::from(self.units.get()) * UNIT as u64)
    }
}

/// As [`Run::parked_bytes`], of the run that begins with this unit.
pub(crate) fn parked_bytes(unit: UnitIndex) -> u64 {
    run(unit.0).parked_bytes()
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
        let most = UNITS * UNIT_PAGES;
        for (unit, units, guard, pages, unguarded) in
            [(0, 2, 0, 9, true), (0, 2, 2 * UNIT_PAGES - 1, 0, false), (u32::MAX - 1, UNITS, most - 1, most, true)]
        {
            let word = Word::of(UnitIndex(unit), units as u32, guard as u32, Fit { pages, unguarded });
            for word in [word, Word(word.0 | AGE)] {
                assert_eq!((word.unit(), word.units()), (Some(UnitIndex(unit)), units));
                assert_eq!((word.guard(), word.fit().pages, word.fit().unguarded), (guard, pages, unguarded));
            }
        }
        assert_eq!(Word(0).unit(), None);
    }
}
