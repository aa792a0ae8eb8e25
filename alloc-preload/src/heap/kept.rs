//! What is wholly free and stays with the heap: parked runs of large blocks (see `span::Parked`) and spare slabs. It is there
//! for the next block of the same kind; as soon as a large block is needed from what all heaps share, nearly all of it goes
//! back first, and before a slab takes memory that has none behind it, the spare ones do, so that nothing lies idle while
//! other memory is taken.

use super::{Heap, of, push_on, release, slab_at, usage};
use crate::background;
use crate::central::{self, central, decay_ns};
use crate::clock;
use crate::harden;
use crate::slab::{NO_UNIT, Slab, State};
use crate::span::{self, Fit, Place, Run, Taken, Wanted};
use crate::stats::{globals, is_alone, is_several};
use crate::sync::Ordering;
use crate::window::{UnitIndex, WINDOW};
use core::ops::RangeInclusive;
use core::sync::atomic::AtomicU64;
use shm_layout::class::SizeClass;

/// Bytes of spare slabs that all threads may have in equal parts, and the limits of each part. A class has one in any case.
/// Only its own thread reaches them, which may sleep: so many threads do not get much each.
const SPARES: u64 = 4 << 20;
const SPARE: RangeInclusive<u64> = 512 << 10..=2 << 20;

/// Bytes of spare slabs that the heap of one of so many threads may have.
fn allowance(threads: u64) -> u64 {
    (SPARES / threads.max(1)).clamp(*SPARE.start(), *SPARE.end())
}

/// When the parked runs of all heaps were last looked through, monotonic ns.
static LOOKED: AtomicU64 = AtomicU64::new(0);

/// Gives back the parked runs that have been there for a decay time, or a quarter longer: whose they are may sleep.
pub(super) fn give_aged(own: &Heap, now: u64, decay: u64) {
    let last = LOOKED.load(Ordering::Relaxed);
    if now.saturating_sub(last) < decay / span::LOOKS
        || LOOKED.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_err()
    {
        return;
    }
    for heap in reachable(own) {
        heap.parked.take_aged(|unit| {
            heap.keeps_less(span::parked_bytes(unit));
            give_back(unit, now.saturating_sub(decay));
        });
    }
}

/// Gives a parked run back that has been free since then, monotonic ns.
fn give_back(unit: UnitIndex, since: u64) {
    span::free_units(unit, 0);
    let units = span::parked_units(unit);
    central().spans.give_large(unit, since, decay_ns());
    span::relieve(units, decay_ns());
}

/// Since when a run is free, at the latest, that was seen so often.
fn since(looks: u64) -> u64 {
    clock::last().saturating_sub(decay_ns().unwrap_or(0) / span::LOOKS * looks.saturating_sub(1))
}

/// Gives back the parked runs of all heaps that the thread of this one may reach.
pub(crate) fn give_all_parked(own: &Heap) {
    reachable(own).for_each(Heap::give_parked);
}

/// Heaps whose parked runs a thread may take: its own, and once the C library has started a second thread all. A thread that it
/// does not know of may come in the middle of a call of one that takes itself for the only one.
fn reachable(own: &Heap) -> impl Iterator<Item = &'static Heap> {
    let (made, reaches_all) = (central().made, is_several());
    // SAFETY: made before.
    (0..made).map(|id| unsafe { central::heap(id) }).filter(move |&heap| reaches_all || core::ptr::eq(heap, own))
}

impl Heap {
    /// Where this run of a large block that is freed may be kept; `None` if it has to go back at once.
    #[inline]
    pub(crate) fn place_for(&self, run: &Run) -> Option<Place<'_>> {
        let may = !WINDOW.is_chunked() && !harden::is_on() && !background::is_on() && decay_ns() != Some(0);
        if may { self.parked.place_for(run.units.get() as usize) } else { None }
    }

    /// Keeps the run of a large block that is no longer live.
    #[inline]
    pub(crate) fn park(&self, place: Place, unit: UnitIndex, run: &Run, fit: Fit) {
        // First: another thread may take it at once.
        self.keeps_more(run.parked_bytes());
        place.put(unit, run, fit);
    }

    /// As `park`, for the only thread.
    #[inline]
    pub(crate) fn park_alone(&self, place: Place, unit: UnitIndex, run: &Run, fit: Fit) {
        if let Some(row) = self.row() {
            row.kept.add_owned(run.parked_bytes());
        }
        place.put(unit, run, fit);
    }

    /// Takes a parked run that a block of so many pages may have as it stands. For the only thread.
    #[inline]
    pub(crate) fn take_same(&self, pages: usize) -> Option<UnitIndex> {
        let unit = self.parked.take_same(pages)?;
        if let Some(row) = self.row() {
            row.kept.add_owned(span::parked_bytes(unit).wrapping_neg());
        }
        Some(unit)
    }

    /// Takes a parked run; `None`, with nothing kept that may do in another way, if none fits.
    pub(crate) fn take_parked(&self, wanted: Wanted) -> Option<Taken> {
        let taken = self.parked.take(wanted);
        match &taken {
            Some(taken) => self.keeps_less(span::parked_bytes(taken.unit)),
            None => self.give_kept(),
        }
        taken
    }

    /// Gives the parked runs back if one of them begins with this unit; whether it did.
    pub(crate) fn give_parked_at(&self, unit: UnitIndex) -> bool {
        let mut is_parked = false;
        self.parked.each(|first| is_parked |= first == unit);
        if is_parked {
            self.give_parked();
        }
        is_parked
    }

    /// Keeps a slab of ours that is on no list and wholly free; false if it has to go back.
    pub(super) fn keep_spare(&self, slab: &Slab) -> bool {
        let (spare, bytes) = (of(&self.spare, slab.size_class()), slab.held_bytes() as u64);
        let (started, ended) = (globals().threads_started.get(), globals().threads_ended.get());
        let most = allowance(started.saturating_sub(ended));
        let takes_one = WINDOW.is_chunked() || decay_ns() == Some(0) || self.spare_bytes.get() + bytes > most;
        let is_enough = spare.get() != NO_UNIT && takes_one;
        if is_enough || background::is_on() || self.usage().load(Ordering::Relaxed) != usage::USED {
            return false;
        }
        if spare.get() != NO_UNIT {
            self.extra_spares.set(self.extra_spares.get() + 1);
        }
        push_on(slab, spare.get(), |unit| spare.set(unit));
        slab.state.set(State::Spare);
        self.spare_bytes.set(self.spare_bytes.get() + bytes);
        self.keeps_more(bytes);
        true
    }

    /// Takes a spare slab of the class.
    pub(super) fn take_spare(&self, class: SizeClass) -> Option<&'static Slab> {
        let spare = of(&self.spare, class);
        let unit = spare.get();
        if unit == NO_UNIT {
            return None;
        }
        let slab = slab_at(unit);
        spare.set(slab.next.get());
        if spare.get() != NO_UNIT {
            self.extra_spares.set(self.extra_spares.get() - 1);
        }
        let bytes = slab.held_bytes() as u64;
        self.spare_bytes.set(self.spare_bytes.get() - bytes);
        self.keeps_less(bytes);
        Some(slab)
    }

    /// Gives the class's spare slabs back.
    pub(super) fn release_spares(&self, class: SizeClass) {
        while let Some(slab) = self.take_spare(class) {
            release(slab);
        }
    }

    /// Gives back what is kept, but for one spare slab of each class.
    pub(super) fn give_kept(&self) {
        self.give_parked();
        let mut classes = self.classes();
        while self.extra_spares.get() > 0
            && let Some(class) = classes.next()
        {
            while self.has_extra_spare(class)
                && let Some(slab) = self.take_spare(class)
            {
                release(slab);
            }
        }
    }

    fn has_extra_spare(&self, class: SizeClass) -> bool {
        let spare = of(&self.spare, class).get();
        spare != NO_UNIT && slab_at(spare).next.get() != NO_UNIT
    }

    /// Gives the parked runs back; for any thread.
    #[inline(never)]
    pub(crate) fn give_parked(&self) {
        self.parked.take_all(|unit, looks| {
            self.keeps_less(span::parked_bytes(unit));
            give_back(unit, since(looks));
        });
    }

    /// As `give_parked`, for a heap whose thread vanished in a fork: its row is nobody's.
    pub(crate) fn give_vanished(&self) {
        self.parked.take_all(|unit, looks| give_back(unit, since(looks)));
    }

    /// From now on the row says what is kept: for a heap that a child takes up. Elsewhere it is changed by what comes and goes
    /// only, since another thread may be about to.
    #[cold]
    pub(crate) fn count_kept(&self) {
        if let Some(row) = self.row() {
            let mut parked = 0;
            self.parked.each(|unit| parked += span::parked_bytes(unit));
            row.kept.set(parked + self.spare_bytes.get());
        }
    }

    fn keeps_more(&self, bytes: u64) {
        if let Some(row) = self.row() {
            if is_alone() { _ = row.kept.add_owned(bytes) } else { _ = row.kept.add_shared(bytes) }
        }
    }

    fn keeps_less(&self, bytes: u64) {
        self.keeps_more(bytes.wrapping_neg());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn few_threads_share_what_may_lie_idle_and_each_of_many_has_little(threads in 0_u64..1 << 32) {
            let each = allowance(threads);
            prop_assert!(SPARE.contains(&each));
            prop_assert!(each * threads <= SPARES || each == *SPARE.start());
        }
    }
}
