//! Frees of other heaps' blocks: chained by owner, pushed into the owner's inbox with one compare-and-swap a chain, and
//! taken back when the owner has reason to.
//!
//! A block is routed by its unit's owner as of the moment somebody looks at it. An idle heap owns nothing, and whoever
//! pushes into its inbox empties it again: either the pusher sees that it is idle, or the thread that leaves it sees what
//! was pushed.

use super::chain::{Chain, FIRST, fetch_ahead, link, set_link};
use super::{Heap, slab_at, usage};
use crate::bin::{Bin, Bins};
use crate::cancel::Shelter;
use crate::central::heap_named;
use crate::harden;
use crate::ledger::{self, Entry};
use crate::misuse;
use crate::os::PAGE;
use crate::slab::Slab;
use crate::sync::{AtomicPtr, AtomicU32, Ordering};
use crate::window::{WINDOW, Window, owner};
use core::ptr::null_mut;
use shm_layout::class::GRANULE;

/// What other threads write, on a line of its own.
#[repr(C, align(64))]
pub(super) struct Inbox {
    /// The first of the pending blocks that others have freed, or null.
    head: AtomicPtr<u8>,
    /// See `usage`.
    pub(super) usage: AtomicU32,
}

/// The name of the heap that has this bin.
fn name_of(owner: usize) -> usize {
    owner & !(PAGE - 1)
}

const _: () = assert!(size_of::<Bins>() <= PAGE && align_of::<Heap>() == PAGE);

/// Pending blocks on their way, chained for a few owners at a time.
pub(super) type Outgoing = [Chain; CHAINS];
const CHAINS: usize = 8;

impl Heap {
    /// Frees a block of another heap's slab. The block is pending. Returns this heap's own bin of the same class.
    ///
    /// # Safety
    /// `unit_owner` was the owner of the block's unit, a heap; this call alone frees the block.
    #[inline]
    pub(crate) unsafe fn free_remote(&self, unit_owner: usize, block: *mut u8) -> &Bin {
        // SAFETY: the caller's.
        let bin = unsafe { self.bins.at(unit_owner - name_of(unit_owner)) };
        if !bin.is_started() {
            self.start_bin_of(block);
        }
        // SAFETY: the caller's.
        let left = unsafe { self.send(unit_owner, block, bin.block_size()) };
        if !left.is_null() {
            self.receive_left(left);
        }
        bin
    }

    /// The way for blocks of another heap's slab: this heap's own bin of the same class, and the chain that leads there.
    /// `None` as long as there is none. All heaps have the same bins in the same places, so that the slab's record, which its
    /// owner writes, need not be read for its class.
    #[inline(always)]
    pub(crate) fn way_to(&self, unit_owner: usize) -> Option<(&Bin, &Chain)> {
        let chain = self.chain_to(unit_owner);
        let offset = unit_owner.wrapping_sub(chain.heap.get());
        if offset >= size_of::<Bins>() {
            return None;
        }
        // SAFETY: what is the owner of a unit, and lies there, is a bin.
        let bin = unsafe { self.bins.at(offset) };
        bin.is_started().then_some((bin, chain))
    }

    /// The chain for an owner, whether it leads there now or not: heaps made one after the other have different ones.
    #[inline(always)]
    fn chain_to(&self, owner: usize) -> &Chain {
        // SAFETY: the remainder is below the array's length.
        unsafe { self.outgoing.get_unchecked(owner / size_of::<Heap>() % CHAINS) }
    }

    /// Hands over a chain of this heap's that has all it takes.
    pub(crate) fn hand_over_full(&self, chain: &Chain) {
        let left = hand_over(chain, chain.more());
        if !left.is_null() {
            self.receive_left(left);
        }
    }

    /// As `receive`, off the fast path.
    #[inline(never)]
    fn receive_left(&self, left: *mut u8) {
        let _shelter = Shelter::enter();
        self.receive(left);
    }

    /// Makes the bin ready for a class that this heap has not used itself.
    #[inline(never)]
    fn start_bin_of(&self, block: *mut u8) {
        let Some(granule) = WINDOW.granule_of(block) else { return };
        // SAFETY: `granule_of` answers for the unit; a pending block lies in a slab, whose class stays.
        self.start_bin(unsafe { WINDOW.slab(WINDOW.head(Window::unit_of_granule(granule))) }.size_class());
    }

    /// Puts a pending block of so many bytes on its way to its owner, a heap. Returns blocks that this thread has to
    /// receive, since they were left with a heap that is idle; nearly always null.
    ///
    /// # Safety
    /// As [`Heap::free_remote`].
    #[must_use]
    unsafe fn send(&self, owner: usize, block: *mut u8, size: usize) -> *mut u8 {
        let (chain, name) = (self.chain_to(owner), name_of(owner));
        let mut left = null_mut();
        if chain.heap.get() != name {
            left = hand_over(chain, FIRST);
            chain.heap.set(name);
        }
        // SAFETY: a pending block of ours.
        let is_full = unsafe { chain.add(block, size) };
        if left.is_null() && is_full { hand_over(chain, chain.more()) } else { left }
    }

    /// Hands over all chains: none has a block afterwards.
    pub(crate) fn hand_over(&self) {
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for chain in &self.outgoing {
                let left = hand_over(chain, FIRST);
                if !left.is_null() {
                    // Of what was left with an idle heap, some may have to go on by a chain that has had its turn.
                    self.receive(left);
                    is_done = false;
                }
            }
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
        self.outgoing.iter().for_each(Chain::forget);
    }

    /// Takes in a chain of pending blocks: those of this heap's slabs and of abandoned ones return to them, the others
    /// are sent on.
    pub(super) fn receive(&self, mut block: *mut u8) {
        let mut collected = 0;
        while !block.is_null() {
            let Some(Pending { owner, entry, next }) = pending(block) else {
                misuse::freed_twice_or_overwritten(block as usize, size_around(block));
                break;
            };
            if self.owns(owner) {
                // SAFETY: a pending block of ours, which has left its chain; its owner is one of our bins.
                unsafe { self.receive_own(block, entry, &*(owner as *const Bin)) };
                collected += 1;
                block = next;
            } else {
                block = before(self.receive_other(block, entry, owner), next);
            }
        }
        self.count_collected(collected);
    }

    fn count_collected(&self, blocks: u64) {
        if blocks > 0
            && let Some(row) = self.row.get()
        {
            row.remote_collected.add_owned(blocks);
            self.keep_up_after(blocks as u32);
        }
    }

    /// As `receive`, for one block of this heap's.
    ///
    /// # Safety
    /// The block is pending, and the caller's, and the bin that of its class.
    #[inline(always)]
    unsafe fn receive_own(&self, block: *mut u8, entry: &Entry, bin: &Bin) {
        if harden::is_on() {
            // SAFETY: the caller's.
            unsafe { harden::spoil_link(block) };
            return self.retire(block, entry, slab_around(block).size_class());
        }
        entry.note(ledger::FREE);
        if !bin.push(block) {
            self.put(block);
        }
    }

    /// As `receive`, for one block of which nobody knows whose it is; what is left as in `send`.
    #[inline(never)]
    fn receive_other(&self, block: *mut u8, entry: &Entry, mut owner: usize) -> *mut u8 {
        let slab = slab_around(block);
        while owner == owner::ABANDONED {
            if self.visit_abandoned(slab, block) {
                return null_mut();
            }
            // Somebody has taken it over.
            owner = slab.owner();
        }
        if !self.owns(owner) {
            // SAFETY: a pending block of that heap's, which only this thread has.
            return unsafe { self.send(owner, block, slab.size_class().block_size()) };
        }
        // SAFETY: as in `receive`.
        unsafe { self.receive_own(block, entry, &*(owner as *const Bin)) };
        self.count_collected(1);
        null_mut()
    }
}

/// Pushes a chain into its owner's inbox; the next one takes `most` bytes. If the owner is idle, what lies there is for the
/// caller to receive.
#[must_use]
fn hand_over(chain: &Chain, most: isize) -> *mut u8 {
    let Some((first, last)) = chain.take(most) else { return null_mut() };
    // SAFETY: a heap that had a slab was made.
    let heap = unsafe { heap_named(chain.heap.get()) };
    // SAFETY: a chain of pending blocks, which nobody else has.
    unsafe { heap.inbox.push(first, last) };
    if heap.usage().load(Ordering::SeqCst) == usage::IDLE { heap.inbox.take() } else { null_mut() }
}

/// One list of pending blocks before another: received in a loop, blocks that are sent on again and again need no stack.
fn before(list: *mut u8, rest: *mut u8) -> *mut u8 {
    if list.is_null() {
        return rest;
    }
    // A damaged link ends the list: the block that it leads to is refused when it is its turn. One that leads back is
    // found by a marker, which is moved up after twice as many steps each time (Brent).
    let (mut last, mut marker, mut steps, mut limit) = (list, list, 0_u32, 1_u32);
    while let Some(Pending { next, .. }) = pending(last) {
        if next.is_null() {
            // SAFETY: a pending block, which this thread has.
            unsafe { set_link(last, rest) };
            break;
        }
        if next == marker {
            break;
        }
        (last, steps) = (next, steps + 1);
        if steps == limit {
            (marker, steps, limit) = (last, 0, limit.saturating_mul(2));
        }
    }
    list
}

/// A pending block, as it is found in a chain.
struct Pending {
    /// The owner of its unit.
    owner: usize,
    entry: &'static Entry,
    /// The block that hangs on it.
    next: *mut u8,
}

/// What there is to know of a pending block; `None` if it is not pending.
#[inline(always)]
fn pending(block: *mut u8) -> Option<Pending> {
    let granule = WINDOW.granule_of(block)?;
    // SAFETY: `granule_of` answers for the granule.
    let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
    let owner = unit.owner();
    if !entry.is_pending() || !(owner::is_heap(owner) || owner == owner::ABANDONED) {
        return None;
    }
    // SAFETY: a pending block has a link.
    unsafe {
        fetch_ahead(block);
        Some(Pending { owner, entry, next: link(block) })
    }
}

/// The slab that a block lies in.
fn slab_around(block: *mut u8) -> &'static Slab {
    let granule = (block as usize - WINDOW.base()) / GRANULE;
    // SAFETY: the unit of a block has a head.
    slab_at(unsafe { WINDOW.head(Window::unit_of_granule(granule)) }.0)
}

/// Size of the blocks of the slab that the pointer leads into.
fn size_around(pointer: *mut u8) -> Option<usize> {
    let granule = WINDOW.granule_of((pointer as usize & !(GRANULE - 1)) as *const u8)?;
    let index = Window::unit_of_granule(granule);
    // SAFETY: `granule_of` answers for the unit.
    let owner = unsafe { WINDOW.unit(index) }.owner();
    // SAFETY: a slab's units have a head.
    (owner::is_heap(owner) || owner == owner::ABANDONED)
        .then(|| slab_at(unsafe { WINDOW.head(index) }.0).size_class().block_size())
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
