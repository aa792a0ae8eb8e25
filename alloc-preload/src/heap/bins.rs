//! Filling and emptying bins.

use super::{Heap, slab_at};
use crate::bin::Bin;
use crate::harden;
use crate::hint::read_before;
use crate::ledger::{self, Entry};
use crate::misuse::{self, Call};
use crate::stats::globals;
use crate::window::{WINDOW, Window};
use shm_layout::class::SizeClass;

impl Heap {
    /// Fills the class's bin, which is empty; `None` when memory is exhausted.
    pub(crate) fn fill(&self, class: SizeClass) -> Option<()> {
        let bin = self.bins.bin(class);
        let more = bin.make_room(class, &self.stock().slots);
        if more > 0 {
            globals().metadata.add_shared(more as u64);
        }
        self.drain_inbox();
        if bin.count() > 0 {
            return Some(());
        }
        self.fill_from_slabs(class, bin)
    }

    /// Makes the class's bin ready for use.
    pub(super) fn start_bin(&self, class: SizeClass) {
        if self.row().is_some() {
            // In this order: a child that is forked in between would not know of it.
            self.have(class);
            read_before();
            self.bins.bin(class).start(class, &self.stock().slots);
        }
    }

    /// Takes back a free block of ours, into its bin or its slab.
    pub(crate) fn take_back(&self, block: *mut u8, class: SizeClass) {
        if !self.bins.bin(class).push(block) {
            self.put(block);
        }
    }

    /// Takes back a block of ours that was freed a moment ago: at once, or in a hardened heap after some time in quarantine.
    pub(crate) fn retire(&self, block: *mut u8, entry: &Entry, class: SizeClass) {
        if !harden::is_on() {
            entry.note(ledger::FREE);
            return self.take_back(block, class);
        }
        entry.note(ledger::CONFINED);
        self.release(self.stock().quarantine.enter(block));
    }

    /// Ends the quarantine of a block, or of null.
    #[cold]
    #[inline(never)]
    fn release(&self, block: *mut u8) {
        if block.is_null() {
            return;
        }
        let Some(granule) = WINDOW.granule_of(block) else { return };
        // SAFETY: `granule_of` answers for the unit, whose head is a slab of ours.
        let class = unsafe { WINDOW.slab(WINDOW.head(Window::unit_of_granule(granule))) }.size_class();
        // SAFETY: a freed block of ours.
        unsafe {
            if !harden::is_spoilt(block, class.block_size()) {
                misuse::written_after_free(block as usize, class.block_size(), Call::Free);
                harden::spoil(block, class.block_size());
            }
            WINDOW.entry(granule).note(ledger::FREE);
        }
        self.take_back(block, class);
    }

    /// Ends the quarantine of all blocks.
    #[inline]
    pub(crate) fn release_quarantine(&self) {
        if harden::is_on() {
            self.release_all();
        }
    }

    #[cold]
    #[inline(never)]
    fn release_all(&self) {
        loop {
            let block = self.stock().quarantine.leave();
            if block.is_null() {
                return;
            }
            self.release(block);
        }
    }

    /// Returns a free block of ours to its slab.
    pub(super) fn put(&self, block: *mut u8) {
        let Some(granule) = WINDOW.granule_of(block) else { return };
        // SAFETY: `granule_of` answers for the unit, whose head is a slab of ours.
        unsafe {
            let slab = slab_at(WINDOW.head(Window::unit_of_granule(granule)).0);
            slab.put(block);
            self.relist(slab);
        }
    }

    /// Returns all blocks of the class's bin to their slabs.
    #[inline(never)]
    pub(super) fn empty_bin(&self, class: SizeClass) {
        while let Some(block) = self.bins.bin(class).pop() {
            self.put(block.as_ptr());
        }
    }

    pub(super) fn empty_bins(&self) {
        self.classes().for_each(|class| self.empty_bin(class));
    }

    /// Loses all blocks in bins and on their way: in a child that rebuilds its slabs, they are found there.
    pub(crate) fn forget_blocks(&self) {
        self.classes().map(|class| self.bins.bin(class)).filter(|bin| bin.is_started()).for_each(Bin::forget);
        while harden::is_on() && !self.stock().quarantine.leave().is_null() {}
        self.forget_remote();
    }
}
