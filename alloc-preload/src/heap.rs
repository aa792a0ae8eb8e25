//! Heaps: one thread's slabs, and how they come, change hands and go.
//!
//! Every slab of a heap is in one state: *current* (the class allocates from it), *partial* (on the class's list),
//! *full* (its unit records say so, which sends every free to the slow path), or *spare* (wholly free, kept so that a
//! class on the brink does not give back and take again).

use crate::account::Account;
use crate::central::{Central, central, decay_ns, heap_of_key};
use crate::hot::Hot;
use crate::misuse;
use crate::options::options;
use crate::os;
use crate::slab::{Corrupt, NIL, NO_UNIT, Remote, Slab, State, belongs};
use crate::span::Spans;
use crate::stats::globals;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use core::cell::Cell;
use core::sync::atomic::{AtomicU32, Ordering, fence};
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

/// Blocks of one other heap's slab, freed here and not yet handed over.
#[repr(C)]
pub(crate) struct Batch {
    unit: Cell<u32>,
    first: Cell<u32>,
    last: Cell<u32>,
    count: Cell<u32>,
}

/// A batch is handed over when it holds this many bytes: so much an idle thread may keep from others.
const BATCH: usize = 1024;
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
                slab.set_owner(hot.key.get());
                current.set(slab.unit().0);
                hot.set_current(class, Some(slab));
                return Some(slab);
            }
            self.set_full(hot, slab);
        }
    }

    /// Whether the slab has a block on its list, after carving if need be.
    fn provide(&self, slab: &Slab) -> bool {
        if slab.free.get() != NIL {
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
        slab.set_owner(hot.key.get());
        self.count_slab_in(slab);
        Some(slab)
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
        slab.set_owner(hot.key.get() | owner::FULL);
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
            slab.set_owner(hot.key.get());
            self.list(slab);
        }
    }

    /// A slab of ours that is not current has become wholly free.
    #[cold]
    pub(crate) fn emptied(&self, hot: &Hot, slab: &Slab) {
        debug_assert!(slab.used.get() == 0);
        self.unlist(slab);
        slab.set_owner(hot.key.get());
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

    // ---- frees from elsewhere ----------------------------------------------------------------------------------

    /// Frees a block of another heap's slab. The block is pending.
    ///
    /// # Safety
    /// `granule` (counted from the slab's first unit) starts a block of that slab, which this call alone frees.
    pub(crate) unsafe fn free_remote(&self, unit: UnitIndex, granule: u32) {
        let batch = &self.batch;
        if batch.count.get() > 0 && batch.unit.get() == unit.0 {
            // SAFETY: a pending block of ours.
            unsafe { crate::slab::set_link(block_of(unit, granule), batch.first.get()) };
        } else {
            self.hand_over_batch();
            batch.unit.set(unit.0);
            batch.last.set(granule);
        }
        batch.first.set(granule);
        batch.count.set(batch.count.get() + 1);
        // SAFETY: a slab's unit is committed.
        let block_size = unsafe { WINDOW.remote(unit) }.size_class().block_size();
        if batch.count.get() as usize * block_size >= BATCH {
            self.hand_over_batch();
        }
    }

    pub(crate) fn hand_over_batch(&self) {
        let batch = &self.batch;
        if batch.count.replace(0) == 0 {
            return;
        }
        let slab = slab_at(batch.unit.get());
        // SAFETY: the batch is a chain of pending blocks of this slab.
        let first = unsafe { remote_of(slab).push(slab, batch.first.get(), batch.last.get()) };
        if first {
            self.notify(UnitIndex(batch.unit.get()));
        } else if slab.owner() == owner::ABANDONED {
            self.visit_abandoned(UnitIndex(batch.unit.get()));
        }
    }

    /// Takes back what others have freed in one of our slabs.
    fn collect(&self, slab: &Slab) {
        if let Err(corrupt) = self.try_collect(slab) {
            misuse::corrupt_list(corrupt.address, slab.block_size.get() as usize);
        }
    }

    /// As `collect`; what is wrong is the caller's to report, where a lock is held that a signal handler may want.
    fn try_collect(&self, slab: &Slab) -> Result<(), Corrupt> {
        // SAFETY: our slab, or an abandoned one under the central lock.
        let count = unsafe { slab.collect(remote_of(slab)) }?;
        if let Some(row) = self.row.get() {
            row.remote_collected.add_owned(u64::from(count));
        }
        Ok(())
    }

    /// Looks after all slabs that others have freed blocks of.
    pub(crate) fn drain_inbox(&self, hot: &Hot) {
        let mut next = self.inbox.swap(0, Ordering::SeqCst);
        while next != 0 {
            let unit = UnitIndex(next - 1);
            // SAFETY: inboxes hold committed units.
            let remote = unsafe { WINDOW.remote(unit) };
            next = remote.inbox_next.load(Ordering::Relaxed);
            remote.queued.store(0, Ordering::SeqCst);
            let slab = slab_at(unit.0);
            // The slab may have changed hands, or gone, since it was put here.
            if is_slab(slab) && belongs(slab.owner(), hot.key.get()) {
                self.collect(slab);
                self.relist(hot, slab);
            } else if !remote.is_empty() {
                self.notify(unit);
            }
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

    // ---- threads that end, and who comes after them --------------------------------------------------------------

    /// Leaves all slabs: the wholly free ones go back, the others wait for another heap.
    pub(crate) fn abandon(&self, hot: &Hot) {
        self.hand_over_batch();
        self.in_use.store(0, Ordering::SeqCst);
        self.drain_inbox(hot);
        for class in (0..CLASSES as u8).map(SizeClass) {
            let spare = cell(&self.spare, class).replace(NO_UNIT);
            if spare != NO_UNIT {
                let slab = slab_at(spare);
                globals().cached.sub_shared(slab.touched_bytes() as u64);
                release(slab);
            }
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

    fn leave(&self, slab: &'static Slab) {
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
    fn adopt_one(&self, hot: &Hot, class: SizeClass) -> Option<&'static Slab> {
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
        slab.set_owner(hot.key.get());
        let bytes = slab.carved_bytes() as u64;
        globals().stranded.sub_shared(bytes);
        globals().adopted.add_shared(bytes);
        if let Some(row) = self.row.get() {
            row.adopted.add_owned(bytes);
        }
    }

    /// Tells the owner of a slab, whoever that is by now, that blocks of it have been freed.
    fn notify(&self, unit: UnitIndex) {
        let slab = slab_at(unit.0);
        let remote = remote_of(slab);
        let holder = slab.owner();
        if holder == owner::ABANDONED {
            return self.visit_abandoned(unit);
        }
        let key = holder & !owner::FULL;
        if key < os::PAGE || remote.queued.swap(1, Ordering::SeqCst) != 0 {
            // Released meanwhile (somebody else has collected the blocks), or told already.
            return;
        }
        let heap = heap_of_key(key);
        let mut head = heap.inbox.load(Ordering::Relaxed);
        loop {
            remote.inbox_next.store(head, Ordering::Relaxed);
            match heap.inbox.compare_exchange_weak(head, unit.0 + 1, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if heap.in_use.load(Ordering::SeqCst) == 0 {
            self.forward_inbox(heap);
        }
    }

    /// Empties the inbox of a heap that no thread uses: its slabs are abandoned or have new owners.
    fn forward_inbox(&self, idle: &Heap) {
        let mut next = idle.inbox.swap(0, Ordering::SeqCst);
        while next != 0 {
            let unit = UnitIndex(next - 1);
            // SAFETY: inboxes hold committed units.
            let remote = unsafe { WINDOW.remote(unit) };
            next = remote.inbox_next.load(Ordering::Relaxed);
            remote.queued.store(0, Ordering::SeqCst);
            if !remote.is_empty() && !self.is_leaving(idle, unit) {
                self.notify(unit);
            }
        }
    }

    /// Whether the slab still belongs to this idle heap, whose thread is about to abandon it and will collect then.
    fn is_leaving(&self, idle: &Heap, unit: UnitIndex) -> bool {
        let holder = slab_at(unit.0).owner() & !owner::FULL;
        // If the heap is in use again, its new thread has to be told after all.
        holder >= os::PAGE && core::ptr::eq(heap_of_key(holder), idle) && idle.in_use.load(Ordering::SeqCst) == 0
    }

    /// Takes back pending blocks of an abandoned slab, and gives the slab back if that was the last of it.
    fn visit_abandoned(&self, unit: UnitIndex) {
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

    /// Gives back what is wholly free.
    pub(crate) fn trim(&self, hot: &Hot) {
        self.drain_inbox(hot);
        for class in (0..CLASSES as u8).map(SizeClass) {
            let spare = cell(&self.spare, class).replace(NO_UNIT);
            if spare != NO_UNIT {
                let slab = slab_at(spare);
                globals().cached.sub_shared(slab.touched_bytes() as u64);
                release(slab);
            }
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

/// Whether the record is that of a slab now.
fn is_slab(slab: &Slab) -> bool {
    // SAFETY: the record's own unit is committed.
    let head = unsafe { WINDOW.unit(slab.unit()) }.head();
    core::ptr::eq(head, slab) && slab.state.get() != State::None
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

fn cell_of(heads: &mut [u32; CLASSES], class: SizeClass) -> &mut u32 {
    // SAFETY: class numbers come from the class table.
    unsafe { heads.get_unchecked_mut(class.0 as usize) }
}

fn block_of(unit: UnitIndex, granule: u32) -> *mut u8 {
    // SAFETY: a granule of a committed slab.
    unsafe { WINDOW.address(unit).add(granule as usize * shm_layout::class::GRANULE) }
}

const _: () = assert!(os::PAGE == UNIT_GRANULES);
