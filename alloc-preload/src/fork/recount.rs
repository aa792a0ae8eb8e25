//! What a child counts anew that cannot take its parent's counters as they were.

use crate::central::{self, Central, central};
use crate::clock;
use crate::heap;
use crate::hot::{self, Hot};
use crate::slab::{NO_UNIT, Slab, State};
use crate::span;
use crate::stats::globals;
use crate::window::{UNIT_GRANULES, Unit, UnitIndex, WINDOW, owner};
use shm_layout::class::{CLASSES, LINES, bucket_of};

/// Cumulative counters that end in the counted live blocks: frees as far as known, allocations to match.
pub(super) fn go_on(sum: &mut [u64; 8], counted: &Counted, taken: bool) {
    if !taken {
        *sum = [0; 8];
    }
    let [frees, requested_out, allocations, requested_in, capacity_in, capacity_out, slabs_in, slabs_out] = sum;
    *allocations = *frees + counted.live;
    *requested_in = *requested_out + counted.requested;
    *capacity_in = *capacity_out + counted.capacity;
    *slabs_in = *slabs_out + counted.slabs;
}

#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    live: u64,
    requested: u64,
    capacity: u64,
    slabs: u64,
}

/// Goes through all units and counts live blocks. Changes nothing but what counts as stranded.
pub(super) fn count() -> [Counted; LINES] {
    let mut lines = [Counted::default(); LINES];
    let central = central();
    // SAFETY: made before.
    let mut stranded: u64 = (1..central.made).map(|id| unsafe { central::heap(id) }.left_bytes()).sum();
    each_used(|index, record| {
        if record.owner() == owner::SPAN {
            count_large(index, &mut lines);
            return;
        }
        // SAFETY: a slab's unit.
        let slab = unsafe { WINDOW.slab(index) };
        if slab.state.get() != State::Spare {
            let (live, requested) = slab.count();
            count_lines(slab, live, requested, &mut lines);
            stranded += if record.owner() == owner::ABANDONED { slab.carved_bytes() as u64 } else { 0 };
        }
    });
    globals().stranded.set(stranded);
    lines
}

/// Calls `each` with the first unit of everything in use; all of it is in use until then.
fn each_used(mut each: impl FnMut(UnitIndex, &Unit)) {
    let mut unit = 0;
    while unit < WINDOW.end().0 {
        let index = UnitIndex(unit);
        // SAFETY: below the committed end.
        let (record, head) = unsafe { (WINDOW.unit(index), WINDOW.head(index)) };
        if !record.is_used() || head != index {
            unit += 1;
            continue;
        }
        // SAFETY: the unit of a large block, or of a slab.
        unit += unsafe {
            match record.owner() {
                owner::SPAN => WINDOW.run(index).units.get(),
                _ => u32::from(WINDOW.slab(index).units.get()),
            }
        }
        .max(1);
        each(index, record);
    }
}

/// Goes through all units: counts live blocks, and abandons the slabs of threads that vanished. Where no call of this thread's
/// has been interrupted, the runs of large blocks that are not live go back: those that were parked, or that a thread had
/// not filled yet, or not given back.
pub(super) fn recount(own_id: Option<u32>, own: &Hot, is_interrupted: bool) -> [Counted; LINES] {
    let mut lines = [Counted::default(); LINES];
    let mut central = central();
    if !is_interrupted {
        // SAFETY: made before.
        (0..central.made).for_each(|id| unsafe { central::heap(id) }.forget_parked());
    }
    central.abandoned = [NO_UNIT; CLASSES];
    central.abandoned_full = NO_UNIT;
    globals().stranded.set(0);
    let mut empty = NO_UNIT;
    each_used(|index, record| match record.owner() {
        owner::SPAN => {
            // SAFETY: a large block's unit.
            let is_whole = !unsafe { WINDOW.run(index) }.is_cut();
            if !count_large(index, &mut lines) && is_whole && !is_interrupted {
                span::free_units(index, 0);
                central.spans.give_large(index, clock::last(), None);
            }
        }
        holder => {
            let ours = own_id.is_some() && hot::belongs(holder, own.name());
            // SAFETY: a slab's unit.
            let slab = unsafe { WINDOW.slab(index) };
            if !count_slab(&mut central, slab, ours, &mut lines) {
                slab.next.set(core::mem::replace(&mut empty, index.0));
            }
        }
    });
    while empty != NO_UNIT {
        // SAFETY: a slab's unit.
        let slab = unsafe { WINDOW.slab(UnitIndex(empty)) };
        empty = slab.next.get();
        heap::give_back(slab, &mut central.spans);
    }
    lines
}

/// Counts a large block; false if it is not live.
fn count_large(index: UnitIndex, lines: &mut [Counted; LINES]) -> bool {
    // SAFETY: a committed unit.
    let (run, entry) = unsafe { (WINDOW.run(index), WINDOW.entry(index.0 as usize * UNIT_GRANULES)) };
    let allocated = run.allocated.get();
    // SAFETY: as above.
    let Some(slack) = (unsafe { entry.slack(entry.get()) }) else { return false };
    if let Some(line) = lines.get_mut(CLASSES + bucket_of(allocated as usize)) {
        line.live += 1;
        line.requested += allocated.saturating_sub(slack as u64);
        line.capacity += allocated;
    }
    true
}

/// Counts a slab, and abandons it if its thread vanished. False if it is nobody's and wholly free.
fn count_slab(central: &mut Central, slab: &'static Slab, ours: bool, lines: &mut [Counted; LINES]) -> bool {
    let state = slab.state.get();
    let (live, requested);
    if ours {
        // What vanished threads had freed and not handed over is free now.
        // SAFETY: no other thread of the child's uses the heap yet.
        (live, requested) = unsafe { slab.rebuild() };
        if state == State::Spare {
            return true;
        }
    } else {
        // Rebuilt when somebody takes it over: to write to it now would copy the whole heap.
        (live, requested) = slab.count();
        slab.set_stale(live);
        if live == 0 {
            return false;
        }
        slab.set_owner(owner::ABANDONED);
        heap::put_abandoned(central, slab);
        globals().stranded.add_shared(slab.carved_bytes() as u64);
    }
    count_lines(slab, live, requested, lines);
    true
}

fn count_lines(slab: &Slab, live: u32, requested: u64, lines: &mut [Counted; LINES]) {
    if let Some(line) = lines.get_mut(slab.class.get() as usize) {
        line.live += u64::from(live);
        line.requested += requested;
        line.capacity += u64::from(slab.counted());
        line.slabs += 1;
    }
}
