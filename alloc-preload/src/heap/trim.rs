//! Giving back what a heap holds and does not need.

use super::{Heap, of, release, slab_at};
use crate::slab::NO_UNIT;
use crate::span;
use shm_layout::class::SizeClass;

impl Heap {
    /// Gives back what is wholly free, and others' blocks to them.
    pub(crate) fn trim(&self) {
        // In this order: what has come here may have to go on.
        self.drain_inbox();
        self.hand_over();
        self.classes().for_each(|class| self.trim_class(class));
    }

    /// Trims the classes whose bins are full, of which blocks were freed last and not allocated: before memory is taken that
    /// has none behind it. A class without a partial slab has filled its bin by carving.
    pub(super) fn trim_full(&self) {
        for class in self.classes() {
            let bin = self.bins.bin(class);
            if bin.is_full() && bin.is_wide() && of(&self.partial, class).get() != NO_UNIT {
                self.trim_class(class);
                bin.narrow();
            }
        }
    }

    /// Gives back the slabs that are wholly free, of all classes whose slabs lie in the same zone as those of so many units: before
    /// memory is taken that has none behind it. Larger slabs give no room for small ones, which lie in a zone of their own.
    pub(super) fn trim_idle(&self, units: usize) {
        for class in self.classes().filter(|class| span::share_a_zone(class.slab_units(), units)) {
            self.release_spares(class);
            self.release_current(class);
        }
    }

    #[inline(never)]
    pub(super) fn trim_class(&self, class: SizeClass) {
        self.empty_bin(class);
        self.release_spares(class);
        self.release_current(class);
    }

    /// Gives the class's current slab back if it is wholly free.
    fn release_current(&self, class: SizeClass) {
        let current = of(&self.current, class);
        if current.get() != NO_UNIT && slab_at(current.get()).used.get() == 0 {
            let slab = slab_at(current.replace(NO_UNIT));
            self.count_slab_out(slab);
            release(slab);
        }
    }
}
