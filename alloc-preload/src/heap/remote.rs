//! Frees of other heaps' blocks: gathered in a batch, pushed onto the slab's remote list, and told to its owner, who
//! takes them back when it has reason to.

use super::{Heap, remote_of, slab_at};
use crate::central::heap_of_key;
use crate::hot::Hot;
use crate::misuse;
use crate::os;
use crate::slab::{Corrupt, Slab, State, belongs, set_link};
use crate::window::{UnitIndex, WINDOW, owner};
use core::cell::Cell;
use core::sync::atomic::Ordering;

/// Blocks of one other heap's slab, freed here and not yet handed over.
#[repr(C)]
pub(crate) struct Batch {
    first: Cell<*mut u8>,
    last: Cell<*mut u8>,
    unit: Cell<u32>,
    pub(super) count: Cell<u32>,
}

/// A batch is handed over when it holds this many bytes: so much an idle thread may keep from others.
const BATCH: usize = 1024;

impl Heap {
    /// Frees a block of another heap's slab. The block is pending.
    ///
    /// # Safety
    /// `block` is one of the slab whose first unit this is, and this call alone frees it.
    pub(crate) unsafe fn free_remote(&self, unit: UnitIndex, block: *mut u8) {
        let batch = &self.batch;
        if batch.count.get() > 0 && batch.unit.get() == unit.0 {
            // SAFETY: a pending block of ours.
            unsafe { set_link(block, batch.first.get()) };
        } else {
            self.hand_over_batch();
            batch.unit.set(unit.0);
            batch.last.set(block);
        }
        batch.first.set(block);
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
        let first = unsafe { remote_of(slab).push(batch.first.get(), batch.last.get()) };
        if first {
            self.notify(UnitIndex(batch.unit.get()));
        } else if slab.owner() == owner::ABANDONED {
            self.visit_abandoned(UnitIndex(batch.unit.get()));
        }
    }

    /// Takes back what others have freed in one of our slabs.
    pub(super) fn collect(&self, slab: &Slab) {
        if let Err(corrupt) = self.try_collect(slab) {
            misuse::corrupt_list(corrupt.address, slab.block_size.get() as usize);
        }
    }

    /// As `collect`; what is wrong is the caller's to report, where a lock is held that a signal handler may want.
    pub(super) fn try_collect(&self, slab: &Slab) -> Result<(), Corrupt> {
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
            if is_slab(slab) && belongs(slab.owner(), hot.name()) {
                self.collect(slab);
                self.relist(hot, slab);
            } else if !remote.is_empty() {
                self.notify(unit);
            }
        }
    }

    /// Tells the owner of a slab, whoever that is by now, that blocks of it have been freed.
    pub(super) fn notify(&self, unit: UnitIndex) {
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
}

/// Whether the record is that of a slab now.
fn is_slab(slab: &Slab) -> bool {
    // SAFETY: the record's own unit is committed.
    let head = unsafe { WINDOW.unit(slab.unit()) }.head();
    core::ptr::eq(head, slab) && slab.state.get() != State::None
}
