//! Frees of other heaps' blocks: chained by owner, pushed into the owner's inbox with one compare-and-swap a chain, and
//! taken back when the owner has reason to.
//!
//! A block is routed by its unit's owner as of the moment somebody looks at it. An idle heap owns nothing, and whoever
//! pushes into its inbox empties it again: either the pusher sees that it is idle, or the thread that leaves it sees what
//! was pushed.

use super::{Heap, slab_at, usage};
use crate::central::heap_of;
use crate::hot;
use crate::ledger;
use crate::misuse;
use crate::os::PAGE;
use crate::slab::{Corrupt, link, set_link};
use crate::window::{WINDOW, Window, owner};
use core::cell::Cell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use shm_layout::class::SizeClass;

/// What other threads write, on a line of its own.
#[repr(C, align(64))]
pub(super) struct Inbox {
    /// The first of the pending blocks that others have freed, or null.
    head: AtomicPtr<u8>,
    /// See `usage`.
    pub(super) usage: AtomicU32,
}

/// Pending blocks on their way, chained for a few owners at a time.
pub(super) type Outgoing = [Chain; CHAINS];
const CHAINS: usize = 4;

/// Pending blocks of one owner.
#[repr(C)]
pub(super) struct Chain {
    /// The owner's name.
    heap: Cell<usize>,
    first: Cell<*mut u8>,
    last: Cell<*mut u8>,
    bytes: Cell<usize>,
}

/// A chain is handed over when it holds this many bytes: so much an idle thread may keep from each of a few others.
const BATCH: usize = 4096;

impl Heap {
    /// Frees a block of another heap's slab; its class. The block is pending.
    ///
    /// # Safety
    /// `unit_owner` was the owner of the block's unit, a heap; this call alone frees the block.
    pub(crate) unsafe fn free_remote(&self, unit_owner: usize, block: *mut u8) -> SizeClass {
        let owner = heap_of(unit_owner);
        let class = hot::class_of(unit_owner, owner.bins());
        let heap = core::ptr::from_ref(owner) as usize;
        // SAFETY: the remainder is below the array's length.
        let chain = unsafe { self.outgoing.get_unchecked(heap / size_of::<Self>() % CHAINS) };
        if chain.heap.get() != heap {
            self.hand_over_chain(chain);
            chain.heap.set(heap);
        }
        // SAFETY: a pending block of ours.
        unsafe { set_link(block, chain.first.get()) };
        if chain.first.replace(block).is_null() {
            chain.last.set(block);
        }
        let bytes = chain.bytes.get() + class.block_size();
        chain.bytes.set(bytes);
        if bytes >= BATCH {
            self.hand_over_chain(chain);
        }
        class
    }

    /// Hands over all chains.
    pub(crate) fn hand_over(&self) {
        self.outgoing.iter().for_each(|chain| self.hand_over_chain(chain));
    }

    fn hand_over_chain(&self, chain: &Chain) {
        let first = chain.first.replace(null_mut());
        chain.bytes.set(0);
        if first.is_null() {
            return;
        }
        let heap = heap_of(chain.heap.get());
        // SAFETY: a chain of pending blocks, which nobody else has.
        unsafe { heap.inbox.push(first, chain.last.get()) };
        if heap.usage().load(Ordering::SeqCst) == usage::IDLE {
            self.receive(heap.inbox.take());
        }
    }

    /// Takes back what others have freed.
    #[inline]
    pub(super) fn drain_inbox(&self) {
        if !self.inbox.head.load(Ordering::Relaxed).is_null() {
            self.receive(self.inbox.take());
        }
    }

    pub(super) fn forget_remote(&self) {
        self.inbox.head.store(null_mut(), Ordering::Relaxed);
        for chain in &self.outgoing {
            chain.first.set(null_mut());
            chain.bytes.set(0);
        }
    }

    /// Takes in a chain of pending blocks: those of this heap's slabs and of abandoned ones return to them, the others
    /// are sent on.
    pub(super) fn receive(&self, mut block: *mut u8) {
        let mut collected = 0;
        while !block.is_null() {
            let Ok((owner, next)) = pending(block) else {
                misuse::freed_twice_or_overwritten(block as usize);
                break;
            };
            // The chain goes on from here if the block's own words change hands.
            self.settle_block(block, owner, &mut collected);
            block = next;
        }
        if collected > 0
            && let Some(row) = self.row.get()
        {
            row.remote_collected.add_owned(collected);
        }
    }

    fn settle_block(&self, block: *mut u8, mut owner: usize, collected: &mut u64) {
        let Some(granule) = WINDOW.granule_of(block) else { return };
        let index = Window::unit_of_granule(granule);
        loop {
            if self.owns(owner) {
                // SAFETY: a pending block of ours, in a slab, which has a head.
                unsafe {
                    let slab = slab_at(WINDOW.head(index).0);
                    WINDOW.entry(granule).set(ledger::FREE);
                    slab.put(block);
                    self.relist(slab);
                }
                *collected += 1;
                return;
            }
            // SAFETY: `granule_of` answers for the unit.
            let unit = unsafe { WINDOW.unit(index) };
            if owner == owner::ABANDONED {
                // SAFETY: as above.
                if self.visit_abandoned(slab_at(unsafe { WINDOW.head(index) }.0), block) {
                    return;
                }
                owner = unit.owner();
                continue;
            }
            // SAFETY: a pending block of that heap's, which only this thread has.
            unsafe { self.free_remote(owner, block) };
            return;
        }
    }
}

/// The owner of a pending block's unit, and the block that hangs on it.
fn pending(block: *mut u8) -> Result<(usize, *mut u8), Corrupt> {
    let corrupt = Corrupt { address: block as usize };
    let granule = WINDOW.granule_of(block).ok_or(corrupt)?;
    // SAFETY: `granule_of` answers for the granule.
    let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
    let owner = unit.owner();
    if entry.get() != ledger::PENDING || (owner < PAGE && owner != owner::ABANDONED) {
        return Err(corrupt);
    }
    // SAFETY: a pending block has a link.
    Ok((owner, unsafe { link(block) }))
}

impl Inbox {
    /// Adds a chain of blocks, `first` to `last`, whose inner links are set.
    ///
    /// # Safety
    /// The blocks are pending, and the caller's.
    unsafe fn push(&self, first: *mut u8, last: *mut u8) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: nobody else has the chain yet.
            unsafe { set_link(last, head) };
            match self.head.compare_exchange_weak(head, first, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Empties it: its first block, or null.
    pub(super) fn take(&self) -> *mut u8 {
        self.head.swap(null_mut(), Ordering::SeqCst)
    }
}
