//! Threads that end, and who comes after them: slabs are left, and taken over by whoever needs one or frees into one.

use super::{Heap, cell, push_on, release, slab_at, take_off};
use crate::central::{Central, central};
use crate::hot::Hot;
use crate::misuse;
use crate::slab::{NO_UNIT, Slab, State};
use crate::stats::globals;
use crate::window::{UnitIndex, owner};
use core::sync::atomic::{Ordering, fence};
use shm_layout::class::{CLASSES, SizeClass};

impl Heap {
    /// Leaves all slabs: the wholly free ones go back, the others wait for another heap.
    pub(crate) fn abandon(&self, hot: &Hot) {
        self.hand_over_batch();
        self.in_use.store(0, Ordering::SeqCst);
        self.drain_inbox(hot);
        for class in (0..CLASSES as u8).map(SizeClass) {
            self.release_spare(class);
            let current = cell(&self.current, class).replace(NO_UNIT);
            hot.set_current(class, None);
            if current != NO_UNIT {
                let slab = slab_at(current);
                slab.used.set(slab.used.get() - 1);
                self.leave(slab);
            }
            while cell(&self.partial, class).get() != NO_UNIT {
                let slab = slab_at(cell(&self.partial, class).get());
                self.unlist(slab);
                self.leave(slab);
            }
        }
        while self.full.get() != NO_UNIT {
            let slab = slab_at(self.full.get());
            self.unlist(slab);
            self.leave(slab);
        }
        self.drain_inbox(hot);
    }

    pub(super) fn leave(&self, slab: &'static Slab) {
        let mut central = central();
        slab.set_owner(owner::ABANDONED);
        // After the owner has changed: a freer that still saw us has pushed before.
        fence(Ordering::SeqCst);
        let collected = self.try_collect(slab);
        if slab.used.get() == 0 {
            drop(central);
            self.count_slab_out(slab);
            release(slab);
            return;
        }
        // Counted before anybody can take it over.
        let bytes = slab.carved_bytes() as u64;
        globals().stranded.add_shared(bytes);
        put_abandoned(&mut central, slab);
        drop(central);
        if let Some(row) = self.row.get() {
            row.abandoned.add_owned(bytes);
        }
        if let Err(corrupt) = collected {
            misuse::corrupt_list(corrupt.address, slab.block_size.get() as usize);
        }
    }

    /// Takes over an abandoned slab of this class that has blocks to give.
    pub(super) fn adopt_one(&self, hot: &Hot, class: SizeClass) -> Option<&'static Slab> {
        loop {
            let slab = {
                let mut central = central();
                let head = *cell_of(&mut central.abandoned, class);
                if head == NO_UNIT {
                    return None;
                }
                let slab = slab_at(head);
                self.take_over(hot, slab, &mut central);
                slab
            };
            self.collect(slab);
            if slab.has_free() {
                return Some(slab);
            }
            self.set_full(hot, slab);
        }
    }

    /// Takes over this slab if it is (still) abandoned.
    pub(crate) fn adopt(&self, hot: &Hot, slab: &'static Slab) {
        let mut central = central();
        if !is_abandoned(slab) {
            return;
        }
        self.take_over(hot, slab, &mut central);
        drop(central);
        self.set_full(hot, slab);
        self.collect(slab);
        self.relist(hot, slab);
    }

    fn take_over(&self, hot: &Hot, slab: &Slab, central: &mut Central) {
        take_abandoned(central, slab);
        refresh(slab);
        self.own(hot, slab);
        let bytes = slab.carved_bytes() as u64;
        globals().stranded.sub_shared(bytes);
        globals().adopted.add_shared(bytes);
        if let Some(row) = self.row.get() {
            row.adopted.add_owned(bytes);
        }
    }

    /// Takes back pending blocks of an abandoned slab, and gives the slab back if that was the last of it.
    pub(super) fn visit_abandoned(&self, unit: UnitIndex) {
        let slab = slab_at(unit.0);
        let mut central = central();
        if !is_abandoned(slab) {
            return;
        }
        take_abandoned(&mut central, slab);
        refresh(slab);
        let collected = self.try_collect(slab);
        if slab.used.get() > 0 {
            put_abandoned(&mut central, slab);
            drop(central);
            if let Err(corrupt) = collected {
                misuse::corrupt_list(corrupt.address, slab.block_size.get() as usize);
            }
            return;
        }
        globals().stranded.sub_shared(slab.carved_bytes() as u64);
        drop(central);
        self.count_slab_out(slab);
        release(slab);
    }
}

/// Whether the slab is abandoned. Under the central lock.
fn is_abandoned(slab: &Slab) -> bool {
    slab.owner() == owner::ABANDONED && matches!(slab.state.get(), State::Abandoned | State::AbandonedFull)
}

/// Rebuilds the slab of a thread that vanished in a fork, before its first use in the child. Under the central lock.
fn refresh(slab: &Slab) {
    if slab.stale.get() {
        // SAFETY: an abandoned slab, under the central lock.
        unsafe { slab.rebuild() };
    }
}

pub(crate) fn put_abandoned(central: &mut Central, slab: &Slab) {
    let full = !slab.has_free();
    slab.state.set(if full { State::AbandonedFull } else { State::Abandoned });
    let head = abandoned_head(central, slab, full);
    push_on(slab, *head, |unit| *head = unit);
}

fn take_abandoned(central: &mut Central, slab: &Slab) {
    let head = abandoned_head(central, slab, slab.state.get() == State::AbandonedFull);
    take_off(slab, |unit| *head = unit);
    slab.state.set(State::None);
}

fn abandoned_head<'a>(central: &'a mut Central, slab: &Slab, full: bool) -> &'a mut u32 {
    if full { &mut central.abandoned_full } else { cell_of(&mut central.abandoned, slab.size_class()) }
}

fn cell_of(heads: &mut [u32; CLASSES], class: SizeClass) -> &mut u32 {
    // SAFETY: class numbers come from the class table.
    unsafe { heads.get_unchecked_mut(class.0 as usize) }
}
