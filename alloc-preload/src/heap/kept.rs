//! What is wholly free and stays with the heap: parked runs of large blocks (see `span::Parked`) and spare slabs. It is there
//! for the next block of the same kind; as soon as anything else is needed from what all heaps share, nearly all of it goes
//! back first, so that nothing lies idle while other memory is taken.

use super::{Heap, classes, of, push_on, release, slab_at, usage};
use crate::background;
use crate::central::{central, decay_ns};
use crate::harden;
use crate::slab::{NO_UNIT, Slab, State};
use crate::span::{self, Taken, Wanted};
use crate::sync::Ordering;
use crate::window::{UnitIndex, WINDOW};
use shm_layout::class::SizeClass;

/// A class has one spare slab at most, or more while all classes' have no more bytes than this.
const SPARE: u64 = 512 << 10;

impl Heap {
    /// Keeps the run of a large block that is no longer live; false if it has to go back at once.
    pub(crate) fn park(&self, unit: UnitIndex) -> bool {
        let may = !WINDOW.is_chunked() && !harden::is_on() && !background::is_on() && decay_ns() != Some(0);
        let parked = may && self.parked.put(unit);
        self.count_kept();
        parked
    }

    /// Takes a parked run; `None`, with nothing kept that may do in another way, if none fits.
    pub(crate) fn take_parked(&self, wanted: Wanted) -> Option<Taken> {
        let taken = self.parked.take(wanted);
        match taken {
            Some(_) => self.count_kept(),
            None => self.give_kept(),
        }
        taken
    }

    /// Keeps a slab of ours that is on no list and wholly free; false if it has to go back.
    pub(super) fn keep_spare(&self, slab: &Slab) -> bool {
        let (spare, bytes) = (of(&self.spare, slab.size_class()), slab.touched_bytes() as u64);
        let is_enough = spare.get() != NO_UNIT && (self.spare_bytes.get() + bytes > SPARE || WINDOW.is_chunked());
        if is_enough || background::is_on() || self.usage().load(Ordering::Relaxed) != usage::USED {
            return false;
        }
        if spare.get() != NO_UNIT {
            self.extra_spares.set(self.extra_spares.get() + 1);
        }
        push_on(slab, spare.get(), |unit| spare.set(unit));
        slab.state.set(State::Spare);
        self.spare_bytes.set(self.spare_bytes.get() + bytes);
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
        self.spare_bytes.set(self.spare_bytes.get() - slab.touched_bytes() as u64);
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
        let mut classes = classes();
        while self.extra_spares.get() > 0
            && let Some(class) = classes.next()
        {
            while self.has_extra_spare(class)
                && let Some(slab) = self.take_spare(class)
            {
                release(slab);
            }
        }
        self.count_kept();
    }

    fn has_extra_spare(&self, class: SizeClass) -> bool {
        let spare = of(&self.spare, class).get();
        spare != NO_UNIT && slab_at(spare).next.get() != NO_UNIT
    }

    /// Gives the parked runs back, also those of a heap whose thread vanished in a fork.
    pub(crate) fn give_parked(&self) {
        while let Some(unit) = self.parked.take_any() {
            span::free_units(unit, 0);
            central().spans.give_large(unit, decay_ns());
        }
    }

    /// Publishes how much is kept.
    pub(crate) fn count_kept(&self) {
        if let Some(row) = self.row() {
            row.kept.set(self.parked.touched() + self.spare_bytes.get());
        }
    }
}
