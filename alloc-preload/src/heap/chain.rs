//! Chains: pending blocks on their way to their owner, hanging on each other.

use crate::hint::prefetch;
use crate::sync::{Cell, Ordering};
use crate::window::TABLES;
use core::ptr::null_mut;
use core::sync::atomic::compiler_fence;

/// Pending blocks of one owner.
#[repr(C)]
pub(crate) struct Chain {
    /// The owner's name, or 0.
    pub(super) heap: Cell<usize>,
    first: Cell<*mut u8>,
    last: Cell<*mut u8>,
    /// What it may still take before it is handed over, and what it may take in all, in bytes (see [`weight`]).
    left: Cell<isize>,
    most: Cell<isize>,
    /// Blocks in the chain.
    count: Cell<usize>,
    /// The first of them, block `n` from the end in place `n % AHEAD`.
    recent: [Cell<*mut u8>; AHEAD],
}

/// A block of a chain names the one that stands so many places behind it, too: who follows the links has that one fetched
/// early. The lines are another processor's, and one fetch would wait for the other.
const AHEAD: usize = 8;

/// What a chain takes at first. It takes twice as much whenever it has been filled: the more, the rarer the owner's line is
/// written to, and the farther ahead the blocks are fetched. After a pause it begins anew: what an idle thread keeps from others is
/// little, unless it went idle in the midst of freeing.
pub(super) const FIRST: isize = 8 << 10;
/// What it takes at most.
const MOST: isize = 128 << 10;

/// What a block of so many bytes counts for in a chain. However small, it keeps a slab from being given back.
const fn weight(size: usize) -> isize {
    size.cast_signed() + 512
}

impl Chain {
    /// Adds a block of so many bytes; whether it has all it takes now.
    ///
    /// # Safety
    /// The block is pending, and the caller's.
    #[inline(always)]
    pub(crate) unsafe fn add(&self, block: *mut u8, size: usize) -> bool {
        let count = self.count.get();
        // SAFETY: the remainder is below the array's length.
        let place = unsafe { self.recent.get_unchecked(count % AHEAD) };
        let behind = if count < AHEAD { null_mut() } else { place.get() };
        let first = self.first.get();
        // SAFETY: the caller's.
        unsafe {
            set_link(block, first);
            set_hint(block, behind);
        }
        // In this order: a thread that is cancelled in between must not leave a chain without an end.
        if first.is_null() {
            self.last.set(block);
            compiler_fence(Ordering::SeqCst);
        }
        self.first.set(block);
        place.set(block);
        self.count.set(count + 1);
        let left = self.left.get() - weight(size);
        self.left.set(left);
        left <= 0
    }

    /// Takes all blocks out, if there are any: the first, which leads to the last. From then on it takes so many bytes.
    pub(super) fn take(&self, most: isize) -> Option<(*mut u8, *mut u8)> {
        let first = self.first.replace(null_mut());
        self.left.set(most);
        self.most.set(most);
        self.count.set(0);
        (!first.is_null()).then(|| (first, self.last.get()))
    }

    /// What it takes once it has been filled.
    pub(super) fn more(&self) -> isize {
        (2 * self.most.get()).clamp(FIRST, MOST)
    }

    /// Loses all blocks.
    pub(super) fn forget(&self) {
        self.first.set(null_mut());
        self.left.set(0);
        self.count.set(0);
    }
}

/// Reads the link in a pending block. Link and hint are the only things that are ever kept in a block.
///
/// # Safety
/// The block is pending, and the caller's.
pub(super) unsafe fn link(block: *mut u8) -> *mut u8 {
    // SAFETY: a block has at least 16 bytes and is 16-byte aligned.
    unsafe { (*block.cast::<Cell<*mut u8>>()).get() }
}

/// # Safety
/// As [`link`].
pub(super) unsafe fn set_link(block: *mut u8, next: *mut u8) {
    // SAFETY: as in `link`.
    unsafe { (*block.cast::<Cell<*mut u8>>()).set(next) }
}

/// Reads the block that a pending block names beside its link; it may be anything.
///
/// # Safety
/// As [`link`].
unsafe fn hint(block: *mut u8) -> *mut u8 {
    // SAFETY: as in `link`.
    unsafe { (*block.cast::<Cell<*mut u8>>().add(1)).get() }
}

/// # Safety
/// As [`link`].
unsafe fn set_hint(block: *mut u8, behind: *mut u8) {
    // SAFETY: as in `link`.
    unsafe { (*block.cast::<Cell<*mut u8>>().add(1)).set(behind) }
}

/// Has what a pending block names beside its link fetched, to be written.
///
/// # Safety
/// As [`link`].
#[inline(always)]
pub(super) unsafe fn fetch_ahead(block: *mut u8) {
    // SAFETY: the caller's.
    fetch(unsafe { hint(block) });
}

/// Has a block's first line and its entry in the ledger fetched, to be written. Whatever stands in the place of an address,
/// nothing comes of it.
fn fetch(block: *mut u8) {
    if !block.is_null() {
        prefetch(block);
        prefetch(TABLES.entry_place(block).cast());
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The blocks of a chain, first to last, and of each the one that it names as ahead.
    fn listed(chain: &Chain) -> (Vec<*mut u8>, Vec<*mut u8>) {
        let (mut blocks, mut hints, mut block) = (Vec::new(), Vec::new(), chain.first.get());
        while !block.is_null() {
            blocks.push(block);
            // SAFETY: a block of the chain.
            unsafe {
                hints.push(hint(block));
                block = link(block);
            }
        }
        assert_eq!(blocks.last().copied(), Some(chain.last.get()));
        (blocks, hints)
    }

    fn empty() -> Chain {
        // SAFETY: zeroed memory is a chain that leads nowhere.
        unsafe { core::mem::zeroed() }
    }

    #[test]
    fn a_chain_names_what_stands_so_many_places_behind_or_nothing() {
        let (chain, mut memory) = (empty(), [[0_u64; 2]; 3 * AHEAD]);
        let mut freed: Vec<*mut u8> = memory.iter_mut().map(|block| block.as_mut_ptr().cast()).collect();
        for &block in &freed {
            // SAFETY: nobody else has it.
            unsafe { chain.add(block, 16) };
        }
        freed.reverse();
        let ahead: Vec<*mut u8> = (AHEAD..4 * AHEAD).map(|n| freed.get(n).copied().unwrap_or(null_mut())).collect();
        assert_eq!(listed(&chain), (freed, ahead));
    }

    #[test]
    fn a_chain_whose_thread_was_cancelled_while_it_was_handed_over_has_an_end_again() {
        let (chain, mut memory) = (empty(), [[0_u64; 2]; 8]);
        let blocks: Vec<*mut u8> = memory.iter_mut().map(|block| block.as_mut_ptr().cast()).collect();
        for (number, &block) in blocks.iter().enumerate() {
            if number == 5 {
                // What `take` does first, and then no more.
                chain.first.set(null_mut());
            }
            // SAFETY: nobody else has it.
            unsafe { chain.add(block, 16) };
        }
        assert_eq!(listed(&chain).0, [blocks[7], blocks[6], blocks[5]]);
    }
}
