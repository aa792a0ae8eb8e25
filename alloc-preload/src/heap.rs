//! Heaps: one thread's slabs, and how they come, change hands and go.
//!
//! Every slab of a heap is in one state: *current* (the class allocates from it), *partial* (on the class's list),
//! *full* (its unit records say so, which sends every free to the slow path), or *spare* (wholly free, kept so that a
//! class on the brink does not give back and take again).

mod abandon;
mod remote;

pub(crate) use abandon::put_abandoned;

use crate::account::Account;
use crate::central::{central, decay_ns};
use crate::hot::Hot;
use crate::options::options;
use crate::os;
use crate::slab::{NO_UNIT, Remote, Slab, State};
use crate::span::Spans;
use crate::stats::globals;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering};
use remote::Batch;
use shm_layout::class::{CLASSES, SizeClass};
use shm_layout::layout::{ClassCounters, Row};

/// The part of a heap that survives a fork, and that its fast path does not touch.
#[repr(C, align(64))]
pub(crate) struct Heap {
    /// Slabs that others have freed blocks of: unit + 1 of the first, or 0. Linked by `Remote::inbox_next`.
    inbox: AtomicU32,
    /// 1 while a thread uses the heap.
    pub(crate) in_use: AtomicU32,
    pub(crate) next_idle: Cell<u32>,
    pub(crate) account: Account,
    pub(crate) batch: Batch,
    row: Cell<Option<&'static Row>>,
    trimmed_at: Cell<u64>,
    current: [Cell<u32>; CLASSES],
    partial: [Cell<u32>; CLASSES],
    spare: [Cell<u32>; CLASSES],
    /// First full slab, of any class.
    full: Cell<u32>,
}

/// Dirty runs purged in one go.
const PURGES: usize = 16;

fn slab_at(unit: u32) -> &'static Slab {
    // SAFETY: lists hold only units of slabs, which are committed.
    unsafe { WINDOW.slab(UnitIndex(unit)) }
}

fn remote_of(slab: &Slab) -> &'static Remote {
    // SAFETY: as in `slab_at`.
    unsafe { WINDOW.remote(slab.unit()) }
}

fn cell(cells: &[Cell<u32>; CLASSES], class: SizeClass) -> &Cell<u32> {
    // SAFETY: class numbers come from the class table.
    unsafe { cells.get_unchecked(class.0 as usize) }
}

impl Heap {
    pub(crate) fn set_row(&self, row: &'static Row) {
        self.row.set(Some(row));
    }

    pub(crate) fn row(&self) -> Option<&'static Row> {
        self.row.get()
    }

    /// Empties all lists, for a heap whose record is used for the first time or whose thread vanished in a fork.
    pub(crate) fn reset(&self) {
        self.inbox.store(0, Ordering::Relaxed);
        self.batch.count.set(0);
        self.full.set(NO_UNIT);
        for list in [&self.current, &self.partial, &self.spare] {
            for entry in list {
                entry.set(NO_UNIT);
            }
        }
    }

    /// Takes up the hot record again after a fork zeroed it.
    pub(crate) fn restore_current(&self, hot: &Hot) {
        for class in (0..CLASSES as u8).map(SizeClass) {
            let unit = cell(&self.current, class).get();
            hot.set_current(class, (unit != NO_UNIT).then(|| slab_at(unit)));
        }
    }

    // ---- taking slabs ------------------------------------------------------------------------------------------

    /// Makes sure that the class's current slab has a free block; `None` when memory is exhausted.
    pub(crate) fn refill(&self, hot: &Hot, class: SizeClass) -> Option<&'static Slab> {
        self.hand_over_batch();
        let current = cell(&self.current, class);
        if current.get() != NO_UNIT {
            let slab = slab_at(current.get());
            self.collect(slab);
            if self.provide(slab) {
                return Some(slab);
            }
            current.set(NO_UNIT);
            hot.set_current(class, None);
            slab.used.set(slab.used.get() - 1);
            self.set_full(hot, slab);
        }
        self.drain_inbox(hot);
        loop {
            let slab = self.next_slab(hot, class)?;
            if self.provide(slab) {
                slab.state.set(State::Current);
                slab.used.set(slab.used.get() + 1);
                slab.set_owner(hot.name());
                current.set(slab.unit().0);
                hot.set_current(class, Some(slab));
                return Some(slab);
            }
            self.set_full(hot, slab);
        }
    }

    /// Whether the slab has a block on its list, after carving if need be.
    fn provide(&self, slab: &Slab) -> bool {
        if !slab.free.get().is_null() {
            return true;
        }
        if slab.carved.get() == slab.capacity.get() {
            return false;
        }
        // SAFETY: our slab, its list is empty and it is not wholly carved.
        let carved = unsafe { slab.carve() };
        if let Some(line) = self.line(slab) {
            line.capacity_in.add_owned(u64::from(carved));
        }
        true
    }

    /// A slab of this class that may have blocks, taken off its list: partial, spare, abandoned or fresh.
    fn next_slab(&self, hot: &Hot, class: SizeClass) -> Option<&'static Slab> {
        let partial = cell(&self.partial, class).get();
        if partial != NO_UNIT {
            let slab = slab_at(partial);
            self.unlist(slab);
            return Some(slab);
        }
        let spare = cell(&self.spare, class).replace(NO_UNIT);
        if spare != NO_UNIT {
            let slab = slab_at(spare);
            globals().cached.sub_shared(slab.touched_bytes() as u64);
            self.count_slab_in(slab);
            return Some(slab);
        }
        if let Some(slab) = self.adopt_one(hot, class) {
            return Some(slab);
        }
        let units = class.slab_units();
        let taken = central().spans.take(units, 1, false, options().huge)?;
        let slab = slab_at(taken.unit.0);
        for unit in taken.unit.0..taken.unit.0 + units as u32 {
            // SAFETY: units just taken.
            unsafe {
                if !WINDOW.clear_ledger(UnitIndex(unit)) {
                    globals().metadata.add_shared(UNIT_GRANULES as u64);
                }
                WINDOW.unit(UnitIndex(unit)).set_head(slab);
            }
        }
        slab.start(taken.unit, class);
        remote_of(slab).set_class(class);
        self.own(hot, slab);
        self.count_slab_in(slab);
        Some(slab)
    }

    /// Writes this heap's name and counters into the records of a slab that is new to it.
    fn own(&self, hot: &Hot, slab: &Slab) {
        if let Some(line) = self.line(slab) {
            slab.line.set(line);
        }
        slab.set_owner(hot.name());
    }

    // ---- lists -------------------------------------------------------------------------------------------------

    fn list(&self, slab: &Slab) {
        let head = cell(&self.partial, slab.size_class());
        push_on(slab, head.get(), |unit| head.set(unit));
        slab.state.set(State::Partial);
    }

    fn unlist(&self, slab: &Slab) {
        let head = if slab.state.get() == State::Full { &self.full } else { cell(&self.partial, slab.size_class()) };
        take_off(slab, |unit| head.set(unit));
        slab.state.set(State::None);
    }

    /// A slab of ours has no block to give.
    fn set_full(&self, hot: &Hot, slab: &Slab) {
        push_on(slab, self.full.get(), |unit| self.full.set(unit));
        slab.state.set(State::Full);
        slab.set_owner(hot.name() | owner::FULL);
    }

    /// After blocks came back to a slab of ours: puts it where it belongs now.
    pub(crate) fn relist(&self, hot: &Hot, slab: &Slab) {
        let state = slab.state.get();
        if !matches!(state, State::Partial | State::Full) {
            return;
        }
        if slab.used.get() == 0 {
            self.emptied(hot, slab);
        } else if state == State::Full && slab.has_free() {
            self.unlist(slab);
            slab.set_owner(hot.name());
            self.list(slab);
        }
    }

    /// A slab of ours that is not current has become wholly free.
    #[cold]
    pub(crate) fn emptied(&self, hot: &Hot, slab: &Slab) {
        debug_assert!(slab.used.get() == 0);
        self.unlist(slab);
        slab.set_owner(hot.name());
        self.count_slab_out(slab);
        let spare = cell(&self.spare, slab.size_class());
        if spare.get() == NO_UNIT && self.in_use.load(Ordering::Relaxed) != 0 {
            spare.set(slab.unit().0);
            slab.state.set(State::Spare);
            globals().cached.add_shared(slab.touched_bytes() as u64);
        } else {
            release(slab);
        }
    }

    /// After a fork out of several threads, when all slabs have been rebuilt: puts ours where they belong now.
    pub(crate) fn relist_all(&self, hot: &Hot) {
        self.inbox.store(0, Ordering::Relaxed);
        self.batch.count.set(0);
        for list in core::iter::once(&self.full).chain(&self.partial) {
            let mut next = list.get();
            while next != NO_UNIT {
                let slab = slab_at(next);
                next = slab.next.get();
                self.relist(hot, slab);
            }
        }
    }

    // ---- now and then --------------------------------------------------------------------------------------------

    /// What has to be done now and then: hand over, trim, purge.
    pub(crate) fn tick(&self, hot: &Hot, now: u64) {
        self.hand_over_batch();
        let Some(decay) = decay_ns() else { return };
        if now.saturating_sub(self.trimmed_at.get()) > decay {
            self.trimmed_at.set(now);
            self.trim(hot);
        }
        central().spans.purge_older(now.saturating_sub(decay), PURGES);
    }

    /// Gives back the class's spare slab.
    fn release_spare(&self, class: SizeClass) {
        let spare = cell(&self.spare, class).replace(NO_UNIT);
        if spare != NO_UNIT {
            let slab = slab_at(spare);
            globals().cached.sub_shared(slab.touched_bytes() as u64);
            release(slab);
        }
    }

    /// Gives back what is wholly free.
    pub(crate) fn trim(&self, hot: &Hot) {
        self.drain_inbox(hot);
        for class in (0..CLASSES as u8).map(SizeClass) {
            self.release_spare(class);
            let current = cell(&self.current, class).get();
            if current == NO_UNIT {
                continue;
            }
            let slab = slab_at(current);
            self.collect(slab);
            if slab.used.get() == 1 {
                cell(&self.current, class).set(NO_UNIT);
                hot.set_current(class, None);
                slab.used.set(0);
                self.count_slab_out(slab);
                release(slab);
            }
        }
    }

    // ---- counting ------------------------------------------------------------------------------------------------

    fn line(&self, slab: &Slab) -> Option<&'static ClassCounters> {
        self.row.get()?.lines.get(slab.class.get() as usize)
    }

    fn count_slab_in(&self, slab: &Slab) {
        if let Some(line) = self.line(slab) {
            line.capacity_in.add_owned(u64::from(slab.carved.get()));
            line.slabs_in.add_owned(1);
        }
    }

    fn count_slab_out(&self, slab: &Slab) {
        if let Some(line) = self.line(slab) {
            line.capacity_out.add_owned(u64::from(slab.carved.get()));
            line.slabs_out.add_owned(1);
        }
    }
}

/// Gives the units of a wholly free slab back.
fn release(slab: &Slab) {
    give_back(slab, &mut central().spans);
}

/// As `release`, under the central lock.
pub(crate) fn give_back(slab: &Slab, spans: &mut Spans) {
    slab.state.set(State::None);
    slab.set_owner(owner::MARKED);
    slab.extent.set(0);
    spans.give(slab.unit(), slab.units.get() as usize, slab.touched_bytes(), decay_ns());
}

fn push_on(slab: &Slab, head: u32, mut set_head: impl FnMut(u32)) {
    slab.previous.set(NO_UNIT);
    slab.next.set(head);
    if head != NO_UNIT {
        slab_at(head).previous.set(slab.unit().0);
    }
    set_head(slab.unit().0);
}

fn take_off(slab: &Slab, mut set_head: impl FnMut(u32)) {
    let (next, previous) = (slab.next.get(), slab.previous.get());
    if next != NO_UNIT {
        slab_at(next).previous.set(previous);
    }
    if previous == NO_UNIT { set_head(next) } else { slab_at(previous).next.set(next) }
}

const _: () = assert!(os::PAGE == UNIT_GRANULES);
