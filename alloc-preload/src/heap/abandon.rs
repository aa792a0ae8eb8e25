//! Slabs without a heap: how a heap leaves them, and how they are taken over by whoever needs one or frees into one.

use super::{Heap, give_back, of, push_on, release, slab_at, take_off, usage};
use crate::background;
use crate::central::{Central, central};
use crate::harden;
use crate::ledger;
use crate::slab::{NO_UNIT, Slab, State};
use crate::stats::globals;
use crate::sync::Ordering;
use crate::window::{UNIT_GRANULES, WINDOW, owner};
use shm_layout::class::{CLASSES, GRANULE, SizeClass};

/// Slabs that are left under one lock.
const LEFT_AT_ONCE: usize = 64;

impl Heap {
    /// Leaves all slabs: the wholly free ones go back, the others wait for another heap.
    pub(crate) fn abandon(&self) {
        // Before anything is changed: a child that finds the heap warm believes that nothing has been.
        self.usage().store(usage::LEAVING, Ordering::SeqCst);
        self.drain_inbox();
        self.release_quarantine();
        self.empty_bins();
        self.give_parked();
        self.classes().for_each(|class| self.release_spares(class));
        let mut first = 0;
        let mut is_left = true;
        while is_left {
            let mut central = central();
            is_left = (0..LEFT_AT_ONCE)
                .all(|_| self.next_to_leave(&mut first).map(|slab| self.leave(slab, &mut central)).is_some());
        }
        background::freed();
        // After the last slab has another owner: who pushes from now on sees it, and looks after the block itself.
        self.usage().store(usage::IDLE, Ordering::SeqCst);
        self.receive(self.inbox.take());
        self.hand_over();
        globals().stranded.sub_shared(self.left.take());
    }

    /// A slab of ours, taken off its list; `None` if there is none. Classes below `first` have none but full ones.
    fn next_to_leave(&self, first: &mut u8) -> Option<&'static Slab> {
        while usize::from(*first) < CLASSES {
            let class = SizeClass(*first);
            let current = of(&self.current, class).replace(NO_UNIT);
            if current != NO_UNIT {
                return Some(slab_at(current));
            }
            let partial = of(&self.partial, class).get();
            if partial != NO_UNIT {
                let slab = slab_at(partial);
                self.unlist(slab);
                return Some(slab);
            }
            *first += 1;
        }
        let full = self.full.get();
        (full != NO_UNIT).then(|| {
            let slab = slab_at(full);
            self.unlist(slab);
            slab
        })
    }

    fn leave(&self, slab: &'static Slab, central: &mut Central) {
        // In the child of a signal handler that forked in the midst of this, it has been left already.
        if !self.owns(slab.owner()) {
            return;
        }
        if slab.used.get() == 0 {
            self.count_slab_out(slab);
            give_back(slab, &mut central.spans);
            return;
        }
        let bytes = slab.carved_bytes() as u64;
        // Counted before anybody can take it over; of a warm heap, when its thread ended.
        let counted = self.left.get().min(bytes);
        self.left.set(self.left.get() - counted);
        globals().stranded.add_shared(bytes - counted);
        if let Some(row) = self.row.get() {
            row.abandoned.add_owned(bytes - counted);
        }
        slab.set_owner(owner::ABANDONED);
        put_abandoned(central, slab);
    }

    /// Takes over an abandoned slab of this class that has blocks to give.
    pub(super) fn adopt_one(&self, class: SizeClass) -> Option<&'static Slab> {
        loop {
            let slab = {
                let mut central = central();
                let head = *cell_of(&mut central.abandoned, class);
                if head == NO_UNIT {
                    return None;
                }
                let slab = slab_at(head);
                self.take_over(slab, &mut central);
                slab
            };
            if slab.has_free() {
                return Some(slab);
            }
            self.set_full(slab);
        }
    }

    /// Takes over this slab if it is (still) abandoned.
    pub(crate) fn adopt(&self, slab: &'static Slab) {
        {
            let mut central = central();
            if !is_abandoned(slab) {
                return;
            }
            self.take_over(slab, &mut central);
        }
        self.set_full(slab);
        self.relist(slab);
    }

    fn take_over(&self, slab: &Slab, central: &mut Central) {
        take_abandoned(central, slab);
        refresh(slab);
        self.own(slab);
        let bytes = slab.carved_bytes() as u64;
        globals().stranded.sub_shared(bytes);
        globals().adopted.add_shared(bytes);
        if let Some(row) = self.row.get() {
            row.adopted.add_owned(bytes);
        }
    }

    /// Returns a pending block to an abandoned slab, and gives the slab back if that was the last one in use. False if
    /// the slab is not abandoned any more.
    pub(super) fn visit_abandoned(&self, slab: &'static Slab, block: *mut u8) -> bool {
        let mut central = central();
        if !is_abandoned(slab) {
            return false;
        }
        take_abandoned(&mut central, slab);
        if slab.stale.get() {
            // Finds the block by its entry.
            refresh(slab);
        } else {
            let unit = slab.unit();
            let granule = (block as usize - WINDOW.address(unit) as usize) / GRANULE;
            // SAFETY: a pending block of the slab, which is guarded by the lock.
            unsafe {
                harden::spoil_link(block);
                WINDOW.entry(unit.0 as usize * UNIT_GRANULES + granule).note(ledger::FREE);
                slab.put(block);
            }
        }
        if slab.used.get() > 0 {
            put_abandoned(&mut central, slab);
            return true;
        }
        globals().stranded.sub_shared(slab.carved_bytes() as u64);
        drop(central);
        self.count_slab_out(slab);
        release(slab);
        true
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
