//! Units and what is written down of each.

use core::sync::atomic::{AtomicUsize, Ordering};

/// A unit's number, counted from the start of the window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UnitIndex(pub(crate) u32);

/// What a free needs to know about the unit its pointer lies in, one word. Read-mostly: other threads read it.
#[repr(transparent)]
pub(crate) struct Unit {
    /// The address of the bin that the slab's blocks go to, which tells heap and class (see `hot`); or one of the
    /// constants in [`owner`].
    owner: AtomicUsize,
}

/// Values of [`Unit::owner`] besides bins' addresses. Those of units in use are larger than any address, so that they
/// are in no range of addresses; the others are smaller.
pub(crate) mod owner {
    use crate::os::PAGE;

    /// Free, and no entry of its ledger page has ever been set, or all have been cleared.
    pub(crate) const CLEAN: usize = 0;
    /// A slab whose thread has ended.
    pub(crate) const ABANDONED: usize = usize::MAX - 1;
    /// Part of a large block's span.
    pub(crate) const SPAN: usize = usize::MAX;
    /// Free, with entries of former blocks in its ledger page.
    pub(crate) const MARKED: usize = 8;
    /// Free, with nothing in its ledger page but the entry of a large block that began there.
    pub(crate) const SPENT: usize = 32;
    /// Somebody else's memory (chunked mode).
    pub(crate) const HOLE: usize = 16;
    /// Given back to the system, to be mapped again in time of need (chunked mode).
    pub(crate) const VACANT: usize = 64;

    /// Whether this is the address of a heap's bin.
    #[inline(always)]
    pub(crate) fn is_heap(owner: usize) -> bool {
        owner.wrapping_sub(PAGE) < ABANDONED - PAGE
    }
}

impl Unit {
    #[inline(always)]
    pub(crate) fn owner(&self) -> usize {
        self.owner.load(Ordering::Relaxed)
    }

    pub(crate) fn set_owner(&self, owner: usize) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// Whether the unit belongs to a slab or a span.
    pub(crate) fn is_used(&self) -> bool {
        !matches!(self.owner(), owner::CLEAN | owner::MARKED | owner::SPENT | owner::HOLE | owner::VACANT)
    }
}
