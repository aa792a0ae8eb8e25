//! Heaps: one thread's slabs, and how they come, change hands and go.
//!
//! A heap hands out and takes back blocks by its bins (see `bin`). Behind them lie the slabs: an empty bin is filled from
//! one, and what a full bin cannot take returns to its slab.
//!
//! Every slab of a heap is in one state: *current* (the class takes blocks from it), *partial* (on the class's list),
//! *full* (it has none to give), or *spare* (wholly free, kept so that a class on the brink does not give back and take
//! again).

mod abandon;
mod bins;
mod chain;
mod give;
mod kept;
mod lines;
mod remote;
mod sparse;
mod tick;
mod trim;
mod warm;

pub(crate) use abandon::put_abandoned;
pub(crate) use chain::Chain;
pub(crate) use kept::give_all_parked;
pub(crate) use warm::{cool, list, unlist};

use crate::account::Account;
use crate::background;
use crate::beside;
use crate::bin::{Bin, Bins};
use crate::central::{self, UNLISTED, central, decay_ns};
use crate::harden::Quarantine;
use crate::hot;
use crate::ledger;
use crate::options::options;
use crate::os;
use crate::slab::{NO_UNIT, Slab, State};
use crate::slots::Slots;
use crate::span::{self, Parked, Spans, Wanted};
use crate::sync::AtomicU32;
use crate::window::{UnitIndex, WINDOW};
use core::cell::Cell;
use remote::{Inbox, Outgoing};
use shm_layout::class::{CLASSES, GRANULE, SizeClass};
use shm_layout::layout::Row;
use sparse::Sweep;

/// A heap. Unlike the hot record it survives a fork. It lies at a fixed distance from its row (see `beside`).
#[repr(C, align(4096))]
pub(crate) struct Heap {
    /// First, so that a heap's address is that of its bins: its name.
    bins: Bins,
    inbox: Inbox,
    /// The next heap that is idle, or warm, as this one; `UNLISTED` for one that is neither.
    pub(crate) next_idle: Cell<u32>,
    /// Frees, and blocks that came home, since the tallies last kept up.
    freed: Cell<u32>,
    pub(crate) account: Account,
    outgoing: Outgoing,
    row: Cell<Option<&'static Row>>,
    /// Classes that it has, or has had: a bit for each. Zeroed memory has none.
    classes: Cell<u64>,
    /// Whether the row counts large blocks.
    has_large: Cell<bool>,
    /// Frees of large blocks off the slow path.
    pub(crate) large_frees: Cell<u32>,
    trimmed_at: Cell<u64>,
    current: [Cell<u32>; CLASSES],
    partial: [Cell<u32>; CLASSES],
    /// First spare slab of each class.
    spare: [Cell<u32>; CLASSES],
    /// Touched bytes of all spare slabs.
    spare_bytes: Cell<u64>,
    /// How many of them are not the first of their class.
    extra_spares: Cell<u32>,
    /// First full slab, of any class.
    full: Cell<u32>,
    sweep: Sweep,
    parked: Parked,
    /// Bytes of its slabs that count as stranded already, since it is warm.
    left: Cell<u64>,
}

/// What of a heap is long, and only slow paths reach for by name.
#[repr(C, align(4096))]
pub(crate) struct Stock {
    slots: Slots,
    quarantine: Quarantine,
}

const _: () = assert!(core::mem::offset_of!(Heap, bins) == 0);
#[cfg(not(loom))]
const _: () = assert!(size_of::<Heap>() == beside::HEAP);
const _: () = assert!(CLASSES <= u64::BITS as usize);

/// States of a heap.
pub(crate) mod usage {
    /// No thread uses it, and no unit record names it.
    pub(crate) const IDLE: u32 = 0;
    /// A thread uses it.
    pub(crate) const USED: u32 = 1;
    /// Its slabs are being abandoned.
    pub(crate) const LEAVING: u32 = 2;
    /// Its thread has ended, and the next one may go on with it.
    pub(crate) const WARM: u32 = 3;
}

fn slab_at(unit: u32) -> &'static Slab {
    // SAFETY: lists hold only units of slabs, which are committed.
    unsafe { WINDOW.slab(UnitIndex(unit)) }
}

fn of<T>(cells: &[T; CLASSES], class: SizeClass) -> &T {
    // SAFETY: class numbers come from the class table.
    unsafe { cells.get_unchecked(class.0 as usize) }
}

impl Heap {
    /// Bytes of a heap of which no class has been used often, and whose freed blocks wait in no quarantine.
    pub(crate) const BYTES: usize = size_of::<Self>() + size_of::<Slots>() - Slots::SPARE;

    pub(crate) fn bins(&self) -> &Bins {
        &self.bins
    }

    fn name(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    fn stock(&self) -> &'static Stock {
        // SAFETY: a heap that is used was made, and its stock with it.
        unsafe { central::stock(central::id_of(self.name())) }
    }

    /// Whether a unit with this owner is the heap's.
    pub(crate) fn owns(&self, owner: usize) -> bool {
        hot::belongs(owner, self.name())
    }

    /// See [`usage`].
    pub(crate) fn usage(&self) -> &AtomicU32 {
        &self.inbox.usage
    }

    /// From now on the heap counts in `row`. Bins are started when their class is first used: none before the first row.
    pub(crate) fn set_row(&self, row: &'static Row) {
        if self.row.replace(Some(row)).is_some() {
            self.classes().filter(|&class| self.bins.bin(class).is_started()).for_each(|class| self.start_bin(class));
        }
    }

    pub(crate) fn row(&self) -> Option<&'static Row> {
        self.row.get()
    }

    /// Empties all lists, for a heap whose record is used for the first time or whose thread vanished in a fork.
    #[inline(never)]
    pub(crate) fn reset(&self) {
        self.forget_blocks();
        self.full.set(NO_UNIT);
        self.left.set(0);
        self.spare_bytes.set(0);
        self.extra_spares.set(0);
        self.sweep.end();
        self.next_idle.set(UNLISTED);
        for list in [&self.current, &self.partial, &self.spare] {
            for entry in list {
                entry.set(NO_UNIT);
            }
        }
    }

    // ---- taking slabs ------------------------------------------------------------------------------------------

    /// Fills the class's bin, which is empty, from its current slab or another in its place; `None` when memory is
    /// exhausted.
    fn fill_from_slabs(&self, class: SizeClass, bin: &Bin) -> Option<()> {
        let current = of(&self.current, class);
        loop {
            if current.get() == NO_UNIT {
                let slab = self.next_slab(class)?;
                slab.state.set(State::Current);
                current.set(slab.unit().0);
            }
            let slab = slab_at(current.get());
            if self.fill_from(slab, bin) {
                return Some(());
            }
            current.set(NO_UNIT);
            self.set_full(slab);
        }
    }

    /// Moves blocks from the slab to its class's bin, carving some if need be; false if it has none.
    fn fill_from(&self, slab: &Slab, bin: &Bin) -> bool {
        // SAFETY: our slab and its bin.
        if unsafe { slab.wake(bin) } {
            if slab.has_gone_pages() {
                self.come_back(slab);
            }
            return true;
        }
        if slab.is_carved() || !span::hold_slab(slab.unit(), || drop(central())) {
            return false;
        }
        // SAFETY: our slab, which is not wholly carved.
        let carved = unsafe { slab.carve(bin, span::is_blank(slab.unit())) };
        span::settle_slab(slab.unit(), slab.touched_bytes());
        if let Some(line) = self.line(slab.class.get() as usize) {
            line.capacity_in.add_owned(u64::from(carved));
        }
        true
    }

    /// A slab of this class that may have blocks, taken off its list: partial, spare, abandoned or fresh.
    fn next_slab(&self, class: SizeClass) -> Option<&'static Slab> {
        let partial = of(&self.partial, class).get();
        if partial != NO_UNIT {
            let slab = slab_at(partial);
            self.unlist(slab);
            return Some(slab);
        }
        if let Some(slab) = self.take_spare(class) {
            self.count_slab_in(slab);
            return Some(slab);
        }
        if let Some(slab) = self.adopt_one(class) {
            return Some(slab);
        }
        self.give_parked();
        let units = class.slab_units();
        let wanted = Wanted::slab(units, ledger::areas(class.block_size() / GRANULE));
        if !central().spans.has_dirty(wanted) {
            self.trim_full();
            self.trim_idle(units);
        }
        let taken = central().spans.take(wanted, options().huge)?;
        let slab = slab_at(taken.unit.0);
        slab.start(class);
        for unit in (taken.unit.0..taken.unit.0 + units as u32).map(UnitIndex) {
            // SAFETY: units just taken.
            unsafe {
                WINDOW.renew_ledger(unit, slab.areas());
                WINDOW.set_head(unit, taken.unit);
            }
        }
        self.own(slab);
        self.count_slab_in(slab);
        Some(slab)
    }

    /// Writes this heap into the unit records of a slab that is new to it.
    fn own(&self, slab: &Slab) {
        if !self.bins.bin(slab.size_class()).is_started() {
            self.start_bin(slab.size_class());
        }
        slab.set_owner(hot::owner_for(&self.bins, slab.size_class()));
    }

    // ---- lists -------------------------------------------------------------------------------------------------

    fn list(&self, slab: &Slab) {
        let head = of(&self.partial, slab.size_class());
        push_on(slab, head.get(), |unit| head.set(unit));
        slab.state.set(State::Partial);
    }

    fn unlist(&self, slab: &Slab) {
        let head = if slab.state.get() == State::Full { &self.full } else { of(&self.partial, slab.size_class()) };
        self.sweep.pass_over(slab);
        take_off(slab, |unit| head.set(unit));
        slab.state.set(State::None);
    }

    /// A slab of ours has no block to give.
    fn set_full(&self, slab: &Slab) {
        push_on(slab, self.full.get(), |unit| self.full.set(unit));
        slab.state.set(State::Full);
    }

    /// After blocks came back to a slab of ours: puts it where it belongs now.
    pub(crate) fn relist(&self, slab: &Slab) {
        let state = slab.state.get();
        if !matches!(state, State::Partial | State::Full) {
            return;
        }
        if slab.used.get() == 0 {
            self.emptied(slab);
        } else if state == State::Full && slab.has_free() {
            self.unlist(slab);
            self.list(slab);
        }
    }

    /// As `relist`, after the thread itself has freed blocks. With the background thread on, a class that has a slab to give
    /// back gives back all it can: nobody else may, once this thread is idle.
    pub(crate) fn relist_freed(&self, slab: &Slab) {
        let class = slab.size_class();
        self.relist(slab);
        if slab.state.get() == State::None && background::is_on() {
            self.trim_class(class);
        }
    }

    /// A slab of ours that is not current has become wholly free.
    #[inline(never)]
    fn emptied(&self, slab: &Slab) {
        debug_assert!(slab.used.get() == 0);
        self.unlist(slab);
        self.count_slab_out(slab);
        if !self.keep_spare(slab) {
            release(slab);
        }
    }

    /// After a fork out of several threads, when all slabs have been rebuilt: puts ours where they belong now.
    pub(crate) fn relist_all(&self) {
        for list in core::iter::once(&self.full).chain(&self.partial) {
            let mut next = list.get();
            while next != NO_UNIT {
                let slab = slab_at(next);
                next = slab.next.get();
                self.relist(slab);
            }
        }
    }
}

/// Gives the units of a wholly free slab back.
fn release(slab: &Slab) {
    give_back(slab, &mut central().spans);
    background::freed();
}

/// As `release`, under the central lock.
pub(crate) fn give_back(slab: &Slab, spans: &mut Spans) {
    slab.state.set(State::None);
    let (unit, held) = (slab.unit(), slab.held_bytes());
    let part = slab.part(slab.gone_pages(), slab.touched_bytes() / os::PAGE);
    let was_cut = spans.give_if_cut(unit);
    if !was_cut {
        slab.set_free();
    }
    // Once it is no slab any more: a child that was forked before gives it back again.
    part.empty();
    if !was_cut {
        spans.give(unit, slab.units.get() as usize, held, decay_ns());
    }
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
