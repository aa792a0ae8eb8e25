//! The rings: what the heap looked like at the end of each second, minute and hour. The program's own threads write
//! them, in passing: the slot of the period that is running is rewritten every now and then. When a program goes idle after a
//! burst, the slot holds a figure of the midst of that, since nothing comes by afterwards. What does when the program goes
//! on finds the bytes as they have been all the while, and writes these over it. The calls it leaves alone: who calls seldom
//! comes by as late, and has not rested.

use super::{LineSum, Segment, Sums, collect, populate};
use core::sync::atomic::{AtomicU64, Ordering, fence};
use shm_layout::class::LINES;
use shm_layout::counter::Counter;
use shm_layout::layout::*;

const SECOND: u64 = 1_000_000_000;
/// Least time between two looks at the rows.
const INTERVAL: u64 = 50_000_000;
/// Nobody has come by for so long although the rings were due: the program was idle.
const REST: u64 = 50_000_000;
/// Most rows summed up in a second, beside one row's worth at each interval.
const ROWS_PER_SECOND: u64 = 256;

/// When the rings are due next, on `CLOCK_MONOTONIC`. Whoever advances it writes them.
static DUE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Begins a new segment's history. A program that ends, or goes idle, at once leaves none.
pub(super) fn start(segment: Segment) {
    DUE.store(segment.header().created_monotonic_ns.get() + INTERVAL, Ordering::Relaxed);
}

/// Brings the rings up to date where that is due. Any thread, on slow paths; `now_ns` is `CLOCK_MONOTONIC`.
pub(crate) fn tick(segment: Segment, now_ns: u64) {
    let due = DUE.load(Ordering::Relaxed);
    if now_ns >= due {
        let pause = INTERVAL.max(populate::rows_end() as u64 * (SECOND / ROWS_PER_SECOND));
        if DUE.compare_exchange(due, now_ns + pause, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            write(segment, now_ns, now_ns - due > REST);
        }
    }
}

/// Writes the running periods. After a rest, the last ones as well.
#[inline(never)]
fn write(segment: Segment, now_ns: u64, rested: bool) {
    let second = now_ns.saturating_sub(segment.header().created_monotonic_ns.get()) / SECOND;
    let (minute, hour) = (second / 60, second / 3600);
    // The second that was written last, where that is over.
    let last = segment.globals().last_second.get().checked_sub(1).filter(|&last| rested && last < second);
    let minutes = [last.map(|last| last / 60).filter(|&last| last < minute), Some(minute)];
    let hours = [last.map(|last| last / 3600).filter(|&last| last < hour), Some(hour)];
    let minute_slots = minutes.map(|minute| totals_slot(segment, SECONDS, MINUTES, minute?));
    // The per-class ring goes by these stamps.
    minute_slots.into_iter().flatten().for_each(begin);
    let class_slots = minutes.map(|minute| class_slot(segment, minute?));
    let sums = collect(segment, |line, sum: &LineSum| {
        for slot in class_slots.iter().flatten().filter_map(|lines| lines.get(line)) {
            slot.allocated.set(sum.allocated());
            slot.pinned.set(sum.pinned());
        }
    });
    for (minute, slot) in minutes.into_iter().zip(minute_slots) {
        finish(slot, minute.unwrap_or(0), &sums, minute != Some(second / 60));
    }
    for period in [last, Some(second)].into_iter().flatten() {
        finish(totals_slot(segment, 0, SECONDS, period), period, &sums, period != second);
    }
    for period in hours.into_iter().flatten() {
        finish(totals_slot(segment, SECONDS + MINUTES, HOURS, period), period, &sums, period != hour);
    }
    // Also where there was no memory for a slot: a reader sees that the rings lack something.
    segment.globals().last_second.raise_shared(second + 1);
}

/// The slot of `period` in the ring of `slots` slots that lies after `before` others.
fn totals_slot(segment: Segment, before: usize, slots: usize, period: u64) -> Option<&'static TotalsSlot> {
    let offset = TOTALS_OFFSET + (before + (period % slots as u64) as usize) * size_of::<TotalsSlot>();
    // SAFETY: within the rings, and there is memory; all atomics.
    populate::ring(segment, offset, size_of::<TotalsSlot>()).then(|| unsafe { &*segment.base.add(offset).cast() })
}

fn class_slot(segment: Segment, minute: u64) -> Option<&'static [ClassSlot; LINES]> {
    const BYTES: usize = size_of::<[ClassSlot; LINES]>();
    let offset = CLASS_RING_OFFSET + (minute % CLASS_MINUTES as u64) as usize * BYTES;
    // SAFETY: as in `totals_slot`.
    populate::ring(segment, offset, BYTES).then(|| unsafe { &*segment.base.add(offset).cast() })
}

/// Marks a slot as being written, for readers that see any of what follows.
fn begin(slot: &TotalsSlot) {
    slot.stamp.set(0);
    fence(Ordering::Release);
}

/// Of a period that is over the calls stay what they were: those of now would look as if they had been made before the time in
/// which they were.
fn finish(slot: Option<&TotalsSlot>, period: u64, sums: &Sums, is_over: bool) {
    let Some(slot) = slot else { return };
    begin(slot);
    let set = |field: &Counter, value: u64| field.set(value);
    set(&slot.requested, sums.requested);
    set(&slot.allocated, sums.allocated);
    set(&slot.pinned, sums.pinned);
    set(&slot.cached, sums.cached);
    if !is_over || slot.allocations.get() == 0 {
        set(&slot.allocations, sums.allocations);
        set(&slot.frees, sums.frees);
        set(&slot.cumulative_requested, sums.cumulative_requested);
    }
    slot.stamp.set(period + 1);
}
