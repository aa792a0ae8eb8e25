//! A large block that follows one of as many pages, in a program with one thread: it has the same run, of which everything that
//! is written down stays as it is. So the pair of calls takes no lock and no locked instruction, and does not look at the clock.

use super::{Large, pages, units_for};
use crate::account;
use crate::central;
use crate::heap::Heap;
use crate::hot::{self, Hot};
use crate::ledger::{self, Entry};
use crate::os::PAGE;
use crate::span::{self, Fit, guard};
use crate::stats::is_alone;
use crate::window::WINDOW;

impl Large {
    /// What another block needs, to have this one's run without a change.
    #[inline]
    pub(super) fn fit(self) -> Fit {
        let run = self.run();
        let allocated = run.allocated.get() as usize;
        let (pages, guard) = (allocated / PAGE, run.guard.get() as usize);
        let is_of = |bytes| run.units.get() as usize == units_for(bytes);
        if guard == pages && is_of(allocated + PAGE) {
            return Fit { pages, unguarded: false };
        }
        let is_wanted = guard::is_wanted(allocated);
        if guard != 0 || !is_of(allocated + usize::from(is_wanted) * PAGE) {
            return Fit::default();
        }
        Fit { pages, unguarded: is_wanted && !span::is_huge(self.unit.0, pages) }
    }
}

/// A counted block of `size` bytes, if the heap has a run for it that needs nothing done; and whether the account has to be
/// settled.
#[inline(always)]
pub(crate) fn allocate(hot: &Hot, size: usize) -> Option<(*mut u8, bool)> {
    let heap = only(hot)?;
    let allocated = pages(size)?;
    let block = Large { unit: heap.take_same(allocated / PAGE)? };
    // SAFETY: the block's first granule, which is ours.
    unsafe { block.entry().set_live(allocated - size) };
    if let Some(line) = heap.large_line(allocated) {
        hot::count(&line.capacity_in, allocated);
        hot::count_in(line, size);
    }
    let is_due = account::shift_alone(hot, heap, [size as u64, allocated as u64]);
    Some((block.address(), is_due))
}

/// Frees the live block that `pointer` is said to begin, whose entry this would be, and keeps its run as it stands; false, with
/// nothing done, where it cannot be kept so, or there is no such block.
#[inline(always)]
pub(crate) fn free(hot: &Hot, pointer: *mut u8, entry: &Entry) -> bool {
    let Some(heap) = only(hot).filter(|_| !hot.is_closed()) else { return false };
    // SAFETY: the entry of a committed unit.
    let Some(slack) = (unsafe { entry.slack(entry.check()) }) else { return false };
    let block = Large { unit: WINDOW.unit_at(pointer) };
    let fit = block.fit();
    // What has been touched of a block that had no memory behind it is to be looked at.
    if fit.pages == 0 || block.run().unbacked.get() {
        return false;
    }
    let Some(place) = heap.place_for(block.unit) else { return false };
    entry.note(ledger::FREE);
    heap.park(place, block.unit, fit);
    let allocated = fit.pages * PAGE;
    let requested = allocated.wrapping_sub(slack);
    if let Some(line) = heap.large_line(allocated) {
        hot::count_out(line, requested);
        hot::count(&line.capacity_out, allocated);
    }
    account::shift_alone(hot, heap, [(requested as u64).wrapping_neg(), (allocated as u64).wrapping_neg()]);
    true
}

/// The heap of the only thread.
#[inline(always)]
fn only(hot: &Hot) -> Option<&'static Heap> {
    let (id, _) = hot.ready().filter(|_| is_alone())?;
    // SAFETY: a ready record has a heap.
    Some(unsafe { central::heap(id) })
}
