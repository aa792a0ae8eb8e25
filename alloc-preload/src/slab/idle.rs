//! Pages of a slab on which no block is in use: for how long nothing has moved in it, and what has been given back of it.

use super::Slab;
use crate::ledger;
use crate::os::PAGE;
use crate::window::UNIT_PAGES;
use shm_layout::class::{CLASSES, GRANULE, SizeClass};

/// How far a slab has got in which nothing is laid to rest and nothing woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Seen {
    /// No sweep has come by since.
    No = 0,
    /// One has.
    Once = 1,
    /// Another one has given back what there was.
    Swept = 2,
}

/// Pages of a slab, a bit for each.
pub(crate) type Pages = u64;
const _: () = assert!(SizeClass((CLASSES - 1) as u8).slab_units() * UNIT_PAGES <= Pages::BITS as usize);

impl Slab {
    /// What the last sweep did about it, if nothing has moved since.
    pub(crate) fn seen(&self) -> Seen {
        match self.recent.get() % GRANULE {
            0 => Seen::No,
            1 => Seen::Once,
            _ => Seen::Swept,
        }
    }

    pub(crate) fn set_seen(&self, seen: Seen) {
        self.recent.set(self.recent.get() / GRANULE * GRANULE + seen as usize);
    }

    /// The pages on which blocks have been carved, but none is in use, and which have not gone yet. `None` if a bin has blocks
    /// of the slab: those may be in use at any moment.
    ///
    /// # Safety
    /// The caller owns the slab.
    pub(crate) unsafe fn idle_pages(&self) -> Option<Pages> {
        let size = self.block_size.get() as usize;
        let (mut idle, mut used) = (pages_of(0, self.touched_bytes()) & !self.gone.get(), 0);
        for index in 0..self.carved.get() {
            // SAFETY: carved blocks lie in the slab.
            if !ledger::is_free(unsafe { self.block(index) }.1.get()) {
                idle &= !pages_of(index as usize * size, size);
                used += 1;
            }
        }
        (used == self.used.get()).then_some(idle)
    }

    /// Whether pages have gone.
    pub(crate) fn has_gone_pages(&self) -> bool {
        self.gone.get() != 0
    }

    /// How many have.
    pub(crate) fn gone_pages(&self) -> usize {
        self.gone.get().count_ones() as usize
    }

    /// These have gone as well.
    pub(crate) fn add_gone(&self, pages: Pages) {
        self.gone.set(self.gone.get() | pages);
    }

    /// None has, as far as is known: blocks on them may be in use from now on.
    pub(crate) fn forget_gone(&self) {
        self.gone.set(0);
    }

    /// As many blocks as the pages that have gone would hold: they do not count as the slab's capacity.
    #[inline(never)]
    pub(crate) fn gone_blocks(&self) -> u32 {
        let touched = self.touched_bytes();
        // What is behind the last block on its page was never one.
        let last = pages_of(touched - PAGE.min(touched), PAGE.min(touched));
        let behind = if self.gone.get() & last == 0 { 0 } else { touched.saturating_sub(self.carved_bytes()) };
        let bytes = self.gone_pages() * PAGE - behind;
        bytes.checked_div(self.block_size.get() as usize).unwrap_or(0) as u32
    }

    /// Carved blocks but for those.
    #[inline(never)]
    pub(crate) fn counted(&self) -> u32 {
        self.carved.get() - self.gone_blocks()
    }

    /// Bytes of the pages that carving has touched, but for those that have gone.
    pub(crate) fn held_bytes(&self) -> usize {
        self.touched_bytes() - self.gone_pages() * PAGE
    }
}

/// The pages on which the `size` bytes from `start` lie.
fn pages_of(start: usize, size: usize) -> Pages {
    let first = |pages: usize| Pages::MAX.checked_shr(Pages::BITS - pages as u32).unwrap_or(0);
    first((start + size).div_ceil(PAGE)) & !first(start / PAGE)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use shm_layout::class::UNIT;

    #[test]
    fn a_block_lies_on_every_page_that_has_a_byte_of_it_and_on_no_other() {
        for class in (0..CLASSES as u8).map(SizeClass) {
            let size = class.block_size();
            for start in (0..class.slab_blocks()).map(|index| index * size) {
                let naive = (start..start + size).step_by(GRANULE).fold(0, |pages, at| pages | 1 << (at / PAGE));
                assert_eq!(pages_of(start, size), naive, "{size} bytes from {start}");
            }
            let all = class.slab_units() * UNIT;
            assert_eq!(pages_of(0, all).count_ones() as usize, all / PAGE);
        }
        assert_eq!(pages_of(0, 0), 0);
    }
}
