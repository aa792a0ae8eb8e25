//! Filling and emptying bins.

use super::{Heap, classes, of, slab_at};
use crate::hot::Bin;
use crate::ledger::{self, Entry};
use crate::misuse;
use crate::slab::{Corrupt, Slab, link};
use crate::window::{WINDOW, Window};
use core::ptr::null_mut;
use shm_layout::class::SizeClass;

impl Heap {
    /// The class's bin.
    pub(super) fn bin(&self, class: SizeClass) -> &Bin {
        of(&self.bins, class)
    }

    /// Fills the class's bin, which is empty; `None` when memory is exhausted.
    pub(crate) fn fill(&self, class: SizeClass) -> Option<()> {
        let bin = self.bin(class);
        debug_assert!(bin.front.get().is_null());
        self.drain_inbox();
        bin.front.set(self.slab_with_blocks(class)?.take_all());
        bin.spare.set(bin.most.get());
        Some(())
    }

    /// Returns all blocks of the class's bin to their slabs.
    pub(super) fn empty_bin(&self, class: SizeClass) {
        let bin = self.bin(class);
        bin.spare.set(bin.most.get());
        self.put_back(bin.front.replace(null_mut()), bin);
    }

    pub(super) fn empty_bins(&self) {
        classes().for_each(|class| self.empty_bin(class));
    }

    /// Loses all blocks in bins and on their way: in a child that rebuilds its slabs, they are found there.
    pub(crate) fn forget_blocks(&self) {
        for bin in &self.bins {
            bin.front.set(null_mut());
        }
        self.forget_remote();
    }

    /// Returns the blocks of a list to their slabs.
    fn put_back(&self, mut block: *mut u8, bin: &Bin) {
        while !block.is_null() {
            match self.check(block) {
                Ok((slab, next)) => {
                    // SAFETY: a free block of a slab of ours.
                    unsafe { slab.put(block) };
                    self.relist(slab);
                    block = next;
                }
                // What hangs on a damaged link is lost, and never handed out again.
                Err(corrupt) => return misuse::corrupt_list(corrupt.address, bin.block_size()),
            }
        }
    }

    /// The slab of a free block of ours, and the block that hangs on it.
    fn check(&self, block: *mut u8) -> Result<(&'static Slab, *mut u8), Corrupt> {
        let corrupt = Corrupt { address: block as usize };
        let granule = WINDOW.granule_of(block).ok_or(corrupt)?;
        let index = Window::unit_of_granule(granule);
        // SAFETY: `granule_of` answers for the granule.
        let (entry, unit): (&Entry, _) = unsafe { (WINDOW.entry(granule), WINDOW.unit(index)) };
        if !ledger::is_free(entry.get()) || !self.owns(unit.owner()) {
            return Err(corrupt);
        }
        // SAFETY: a free block, which has a link, in a slab, which has a head.
        unsafe { Ok((slab_at(WINDOW.head(index).0), link(block))) }
    }
}
