//! A large block that follows one of as many pages, in a program with one thread: it has the same run, of which everything that
//! is written down stays as it is. So the pair of calls takes no lock and no locked instruction, and seldom looks at the clock.

use super::{Large, pages, units_for};
use crate::account;
use crate::central;
use crate::clock;
use crate::heap::Heap;
use crate::hot::{self, Hot};
use crate::ledger::{self, Entry};
use crate::os::PAGE;
use crate::span::{self, Fit, Run, guard};
use crate::stats::is_alone;
use crate::window::TABLES;
use shm_layout::tally::Scale;

impl Large {
    /// What another block needs, to have this one's run without a change.
    #[inline]
    pub(super) fn fit(self, run: &Run) -> Fit {
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
        hot::count_in(line, Scale::BUCKET, size);
    }
    let is_due = account::shift_alone(hot, heap, [size as u64, allocated as u64]);
    Some((block.address(), is_due))
}

/// So many of these frees and one of them looks at the clock: a program that uses such blocks may let much time pass between two
/// calls.
const LOOK: u32 = 16;

/// Frees the live block that `pointer` is said to begin, whose entry this would be, and keeps its run as it stands; `None`, with
/// nothing done, where it cannot be kept so, or there is no such block. Otherwise whether it is time to look after memory.
#[inline(always)]
pub(crate) fn free(hot: &Hot, pointer: *mut u8, entry: &Entry) -> Option<bool> {
    let heap = only(hot).filter(|_| !hot.is_closed())?;
    // SAFETY: the entry of a committed unit.
    let slack = unsafe { entry.slack(entry.check()) }?;
    let block = Large { unit: TABLES.unit_number(pointer) };
    let run = block.run();
    let fit = block.fit(run);
    // What has been touched of a block that had no memory behind it is to be looked at.
    if fit.pages == 0 || run.unbacked.get() {
        return None;
    }
    let place = heap.place_for(run)?;
    entry.note(ledger::FREE);
    heap.park_alone(place, block.unit, run, fit);
    let allocated = fit.pages * PAGE;
    let requested = allocated.wrapping_sub(slack);
    if let Some(line) = heap.large_line(allocated) {
        hot::count_out(line, Scale::BUCKET, requested);
        hot::count(&line.capacity_out, allocated);
    }
    account::shift_alone(hot, heap, [(requested as u64).wrapping_neg(), (allocated as u64).wrapping_neg()]);
    heap.large_frees.set(heap.large_frees.get().wrapping_add(1));
    Some(heap.large_frees.get().is_multiple_of(LOOK) && clock::may_have_moved())
}

/// The heap of the only thread.
#[inline(always)]
fn only(hot: &Hot) -> Option<&'static Heap> {
    let (name, _) = hot.ready().filter(|_| is_alone())?;
    // SAFETY: a ready record has a heap.
    Some(unsafe { central::heap_named(name) })
}
