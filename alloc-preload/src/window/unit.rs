//! Units and what is written down of each.

use super::UNIT_PAGES;
use crate::os::PAGE;
use crate::sync::{AtomicUsize, Ordering};

/// A unit's number, counted from the start of the window.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UnitIndex(pub(crate) u32);

/// What a free needs to know about the unit its pointer lies in, one word. Read-mostly: other threads read it.
#[repr(transparent)]
pub(crate) struct Unit {
    /// The address of the bin that the slab's blocks go to, which tells heap and class (see `hot`); or one of the
    /// constants in [`owner`], of a free unit with what is said of a guard in it.
    owner: AtomicUsize,
}

/// Values of [`Unit::owner`] besides bins' addresses. Those of units in use are larger than any address, so that they
/// are in no range of addresses; the others are smaller.
pub(crate) mod owner {
    use crate::os::PAGE;

    /// Free, and no entry of its ledger has ever been set, or all have been cleared.
    pub(crate) const CLEAN: usize = 0;
    /// A slab whose thread has ended.
    pub(crate) const ABANDONED: usize = usize::MAX - 1;
    /// Part of a large block's span.
    pub(crate) const SPAN: usize = usize::MAX;
    /// Free, with entries of former blocks in its ledger; below this bit stands in how many areas.
    const MARKED: usize = 8;
    /// Free, with nothing in its ledger but the entry of a large block that began there.
    pub(crate) const SPENT: usize = 32;
    /// Somebody else's memory (chunked mode).
    pub(crate) const HOLE: usize = 16;
    /// Given back to the system, to be mapped again in time of need (chunked mode).
    pub(crate) const VACANT: usize = 64;

    /// Beside the state of a free unit: a guard lies in it. Above this bit is the number of its page.
    pub(super) const GUARDED: usize = 128;
    /// Where that number begins.
    pub(super) const GUARD_PAGE: u32 = 8;

    const _: () = assert!((super::UNIT_PAGES << GUARD_PAGE) <= PAGE);

    /// The state of a free unit with entries of former blocks in so many areas of its ledger.
    pub(crate) const fn marked(areas: usize) -> usize {
        MARKED | areas
    }

    /// In how many areas the ledger of a unit in this state has entries of former blocks of a slab.
    pub(crate) const fn areas(state: usize) -> usize {
        if state & !(MARKED - 1) == MARKED { state & (MARKED - 1) } else { 0 }
    }

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

    /// The owner; of a unit that has none, its state alone.
    pub(crate) fn state(&self) -> usize {
        let owner = self.owner();
        if owner < PAGE { owner & (owner::GUARDED - 1) } else { owner }
    }

    /// Makes the unit a free one in this state, with a guard at this page of it.
    pub(crate) fn set_free(&self, state: usize, guard: Option<usize>) {
        debug_assert!(state < owner::GUARDED && guard.is_none_or(|page| page < UNIT_PAGES));
        self.set_owner(guard.map_or(state, |page| page << owner::GUARD_PAGE | owner::GUARDED | state));
    }

    /// The page of a free unit at which a guard lies.
    #[inline(always)]
    pub(crate) fn guard(&self) -> Option<usize> {
        let owner = self.owner();
        (owner < PAGE && owner & owner::GUARDED != 0).then_some(owner >> owner::GUARD_PAGE)
    }

    /// Whether a guard lies in any of these free units.
    pub(crate) fn any_guarded(units: &[Self]) -> bool {
        units.iter().fold(0, |all, unit| all | unit.owner()) & owner::GUARDED != 0
    }

    /// Whether the unit belongs to a slab or a span.
    pub(crate) fn is_used(&self) -> bool {
        self.owner() >= PAGE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_free_unit_says_where_its_guard_is_and_a_used_one_nothing() {
        let unit = Unit { owner: AtomicUsize::new(0) };
        for state in [owner::CLEAN, owner::marked(1), owner::marked(4), owner::SPENT] {
            for guard in (0..UNIT_PAGES).map(Some).chain([None]) {
                unit.set_free(state, guard);
                assert_eq!((unit.state(), unit.guard(), unit.is_used()), (state, guard, false));
                assert!(!owner::is_heap(unit.owner()));
            }
        }
        for used in [owner::SPAN, owner::ABANDONED, PAGE, 0x7fff_ffff_f080] {
            unit.set_owner(used);
            assert_eq!((unit.state(), unit.guard(), unit.is_used()), (used, None, true));
        }
    }
}
