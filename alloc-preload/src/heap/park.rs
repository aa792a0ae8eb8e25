//! Runs of large blocks that stay with the heap whose thread has freed them (see `span::Parked`).

use super::Heap;
use crate::background;
use crate::central::{central, decay_ns};
use crate::harden;
use crate::span::{self, Taken, Wanted};
use crate::window::{UnitIndex, WINDOW};

impl Heap {
    /// Keeps the run of a large block that is no longer live; false if it has to go back at once.
    pub(crate) fn park(&self, unit: UnitIndex) -> bool {
        let may = !WINDOW.is_chunked() && !harden::is_on() && !background::is_on() && decay_ns() != Some(0);
        let parked = may && self.parked.put(unit);
        self.count_parked();
        parked
    }

    /// Takes a parked run. If none fits they all go back, where they may be joined or cut to fit.
    pub(crate) fn take_parked(&self, wanted: Wanted) -> Option<Taken> {
        let taken = self.parked.take(wanted);
        if taken.is_none() {
            self.unpark();
        }
        self.count_parked();
        taken
    }

    /// Gives the parked runs back.
    pub(crate) fn unpark(&self) {
        self.give_parked();
        self.count_parked();
    }

    /// As [`unpark`](Self::unpark), also for a heap whose thread vanished in a fork.
    pub(crate) fn give_parked(&self) {
        while let Some(unit) = self.parked.take_any() {
            span::free_units(unit, 0);
            central().spans.give_large(unit, decay_ns());
        }
    }

    pub(super) fn count_parked(&self) {
        if let Some(row) = self.row() {
            row.parked.set(self.parked.touched());
        }
    }
}
