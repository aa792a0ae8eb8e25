//! Heaps whose threads ended a moment ago. A *warm* heap keeps its bins and slabs for the next thread that begins, which
//! then has neither to take over what was left nor to start with nothing. If none comes, whoever next looks after memory
//! abandons the slabs.
//!
//! No thread uses a warm heap, but to those that free its blocks it is one in use: they push into its inbox.

use super::{Heap, of, slab_at, usage};
use crate::background;
use crate::central::{self, Central, NO_HEAP_ID, UNLISTED, central, decay_ns};
use crate::slab::{NO_UNIT, Slab};
use crate::stats::globals;
use crate::sync::Ordering;
use crate::window::WINDOW;

/// Warm heaps at a time.
const MOST: usize = 16;
/// Slabs that one may have.
const FEW: usize = 256;
/// How long one waits for a thread, in nanoseconds.
pub(crate) const PATIENCE: u64 = 50_000_000;

impl Heap {
    /// Ends its thread's use of heap number `id`. In its row stands when that was.
    pub(crate) fn leave_to_next(&self, id: u32) {
        if !self.is_worth_keeping() {
            self.abandon();
            return list(self, id, &mut central().idle);
        }
        self.hand_over();
        self.give_kept();
        self.usage().store(usage::WARM, Ordering::SeqCst);
        list(self, id, &mut central().warm);
        cool(0);
    }

    /// Whether the heap may stay warm; if so, what it holds of the program's is counted as stranded.
    fn is_worth_keeping(&self) -> bool {
        if background::is_on() || WINDOW.is_chunked() || decay_ns() == Some(0) {
            return false;
        }
        let (mut slabs, mut used, mut bytes) = (0, 0, 0);
        for slab in self.slabs() {
            slabs += 1;
            if slabs > FEW {
                return false;
            }
            used += slab.used.get();
            bytes += slab.carved_bytes() as u64;
        }
        let in_bins: u32 = self.classes().map(|class| self.bins.bin(class).count()).sum();
        if used > in_bins {
            self.left.set(bytes);
            globals().stranded.add_shared(bytes);
            if let Some(row) = self.row.get() {
                row.abandoned.add_owned(bytes);
            }
        }
        true
    }

    /// The slabs that have blocks in use or in bins.
    fn slabs(&self) -> impl Iterator<Item = &'static Slab> {
        let lists = core::iter::once(&self.full).chain(self.classes().map(|class| of(&self.partial, class)));
        let listed = lists.flat_map(|list| core::iter::successors(known(list.get()), |slab| known(slab.next.get())));
        listed.chain(self.classes().filter_map(|class| known(of(&self.current, class).get())))
    }

    /// Goes on with a warm heap, for a new thread.
    pub(crate) fn go_on(&self) {
        let bytes = self.left.take();
        globals().stranded.sub_shared(bytes);
        globals().adopted.add_shared(bytes);
        if let Some(row) = self.row.get() {
            row.adopted.add_owned(bytes);
        }
    }
}

/// Puts heap number `id` on a list, unless it is on one: a signal handler may have forked in the midst of what comes before
/// this, and the child, which goes on with it, has listed all heaps.
pub(crate) fn list(heap: &Heap, id: u32, first: &mut u32) {
    if heap.next_idle.get() == UNLISTED {
        heap.next_idle.set(core::mem::replace(first, id));
    }
}

/// Takes the first heap off a list.
pub(crate) fn unlist(first: &mut u32) -> Option<u32> {
    let id = *first;
    if id == NO_HEAP_ID {
        return None;
    }
    // SAFETY: made before.
    *first = unsafe { central::heap(id) }.next_idle.replace(UNLISTED);
    Some(id)
}

fn known(unit: u32) -> Option<&'static Slab> {
    (unit != NO_UNIT).then(|| slab_at(unit))
}

/// Abandons what is held by warm heaps whose threads ended before `before`, and by those that are too many. When the first
/// of them was left, if there are any; monotonic ns.
pub(crate) fn cool(before: u64) -> Option<u64> {
    let mut oldest = None;
    loop {
        // Not in the pattern: the lock would be held for as long as the match.
        let surplus = take_surplus(&mut central(), before);
        let Some((id, ended)) = surplus else { return oldest };
        // They stand from the newest to the oldest.
        oldest = Some(ended);
        // SAFETY: made before; nobody else has it any more.
        let heap = unsafe { central::heap(id) };
        heap.abandon();
        list(heap, id, &mut central().idle);
    }
}

/// Takes a heap off the list of warm ones that has waited too long or has too many before it; when its thread ended.
fn take_surplus(central: &mut Central, before: u64) -> Option<(u32, u64)> {
    let mut behind: Option<&'static Heap> = None;
    let mut id = central.warm;
    for place in 0.. {
        if id == NO_HEAP_ID {
            break;
        }
        // SAFETY: made before.
        let heap = unsafe { central::heap(id) };
        let ended = heap.row.get().map_or(0, |row| row.ended_ns.get());
        if place >= MOST || ended < before {
            let next = heap.next_idle.replace(UNLISTED);
            match behind {
                Some(behind) => behind.next_idle.set(next),
                None => central.warm = next,
            }
            return Some((id, ended));
        }
        behind = Some(heap);
        id = heap.next_idle.get();
    }
    None
}
