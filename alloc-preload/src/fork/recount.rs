//! What a child counts anew that cannot take its parent's counters as they were.

use super::snapshot::LineSums;
use crate::central::{Central, central};
use crate::heap;
use crate::hot::{self, Hot};
use crate::slab::{NO_UNIT, Slab, State};
use crate::stats::globals;
use crate::window::{UNIT_GRANULES, UnitIndex, WINDOW, owner};
use shm_layout::class::{CLASSES, LINES, bucket_of};

/// Cumulative counters that end in the counted live blocks: frees as far as known, allocations to match.
pub(super) fn go_on(sums: &mut LineSums, counted: &Counted, taken: bool) {
    if !taken {
        *sums = LineSums::ZERO;
    }
    let LineSums { freed, allocated, capacity_in, capacity_out, slabs_in, slabs_out } = sums;
    allocated.calls = freed.calls + counted.live;
    allocated.requested = freed.requested + counted.requested;
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

/// Goes through all units: counts live blocks, and abandons the slabs of threads that vanished.
pub(super) fn recount(own_id: Option<u32>, own: &Hot) -> [Counted; LINES] {
    let mut lines = [Counted::default(); LINES];
    let mut central = central();
    central.abandoned = [NO_UNIT; CLASSES];
    central.abandoned_full = NO_UNIT;
    globals().stranded.set(0);
    let mut empty = NO_UNIT;
    let mut unit = 0;
    while unit < WINDOW.end().0 {
        let index = UnitIndex(unit);
        // SAFETY: below the committed end.
        let (record, slab) = unsafe { (WINDOW.unit(index), WINDOW.slab(index)) };
        // SAFETY: as above.
        let is_head = unsafe { WINDOW.head(index) } == index;
        match record.owner() {
            _ if !record.is_used() || !is_head => unit += 1,
            owner::SPAN => unit += count_large(index, &mut lines),
            holder => {
                let ours = own_id.is_some() && hot::belongs(holder, own.name());
                unit += u32::from(slab.units.get()).max(1);
                if !count_slab(&mut central, slab, ours, &mut lines) {
                    slab.next.set(core::mem::replace(&mut empty, index.0));
                }
            }
        }
    }
    while empty != NO_UNIT {
        // SAFETY: a slab's unit.
        let slab = unsafe { WINDOW.slab(UnitIndex(empty)) };
        empty = slab.next.get();
        heap::give_back(slab, &mut central.spans);
    }
    lines
}

/// Counts a large block; its units.
fn count_large(index: UnitIndex, lines: &mut [Counted; LINES]) -> u32 {
    // SAFETY: a committed unit.
    let (run, entry) = unsafe { (WINDOW.run(index), WINDOW.entry(index.0 as usize * UNIT_GRANULES)) };
    let allocated = run.allocated.get();
    // SAFETY: as above.
    if let Some(slack) = unsafe { entry.slack(entry.get()) }
        && let Some(line) = lines.get_mut(CLASSES + bucket_of(allocated as usize))
    {
        line.live += 1;
        line.requested += allocated.saturating_sub(slack as u64);
        line.capacity += allocated;
    }
    run.units.get().max(1)
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
    if let Some(line) = lines.get_mut(slab.class.get() as usize) {
        line.live += u64::from(live);
        line.requested += requested;
        line.capacity += u64::from(slab.counted());
        line.slabs += 1;
    }
    true
}
