//! Freeing one block on the slow path, whosever it is.

use super::{Heap, slab_at};
use crate::harden;
use crate::hot;
use crate::ledger::{self, out_of_line};
use crate::window::{WINDOW, Window, owner};
use shm_layout::class::SizeClass;

impl Heap {
    /// Gives a block of a slab back, uncounted: the slack that it was freed with. `None` if another thread has freed it meanwhile.
    ///
    /// # Safety
    /// The block, at this granule, was a live one of this class with this tag in the ledger, and the program has handed it
    /// in to be freed.
    pub(crate) unsafe fn give(&self, block: *mut u8, granule: usize, tag: u8, class: SizeClass) -> Option<usize> {
        let index = Window::unit_of_granule(granule);
        // SAFETY: the caller's; the unit of a live block has a head.
        let (entry, unit, head) = unsafe { (WINDOW.entry(granule), WINDOW.unit(index), WINDOW.head(index)) };
        // Of a wide tag only while the block is nobody else's: until then it may be freed and had anew, with another slack.
        // SAFETY: the ledger is committed there.
        let slack = || unsafe { out_of_line::slack(entry, tag) }.unwrap_or_default();
        // Another thread may adopt the slab first, and abandon it again.
        let owner = loop {
            let owner = unit.owner();
            if owner != owner::ABANDONED {
                break owner;
            }
            self.adopt(slab_at(head.0));
        };
        if !self.owns(owner) {
            if !entry.exchange_if(tag, ledger::PENDING) {
                return None;
            }
            let slack = slack();
            if let Some(row) = self.row() {
                hot::count(&row.remote_frees, 1);
            }
            // SAFETY: the exchange made this call the only one to free the block.
            unsafe {
                if harden::is_on() {
                    harden::spoil(block, class.block_size());
                }
                self.free_remote(owner, block);
            }
            return Some(slack);
        }
        if entry.check() != tag {
            return None;
        }
        let slack = slack();
        if harden::is_on() {
            // SAFETY: a block of ours that was just freed.
            unsafe { harden::spoil(block, class.block_size()) };
        }
        self.retire(block, entry, class);
        Some(slack)
    }
}
