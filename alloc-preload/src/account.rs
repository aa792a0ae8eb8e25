//! Peaks. The counters in the rows are exact at any moment; what they cannot tell is how high their sum once was.
//!
//! Each heap adds its net change to the process's *flushed* totals whenever it leaves the room it was given (see
//! `room`), and the peaks are the highest flushed totals.
//!
//! *One thread.* The room upwards ends at the peak itself, so every new maximum is noticed by the allocation that makes
//! it, and the peaks are exact. While live bytes only rise, not even that is needed: the heap *climbs* with room to
//! spare, its frees take the slow path, and the first of them stores the peak that it leaves.
//!
//! *Several threads.* The room is a lease on the permitted error; the heap that was alone holds one as well:
//!
//! `|peak - truth| <= sum of leases <= max(64 KiB, peak / 128) + 2 KiB for every thread`.
//!
//! The last part is there because a thread that is not running keeps what it has leased. Whoever finds nothing left gets
//! so much all the same: without a lease, every call would settle, and with many threads each of these waits for the others.

use crate::bare::BARE;
use crate::central::{self, central, wiped};
use crate::heap::Heap;
use crate::hot::Hot;
use crate::room;
use crate::stats::{globals, is_alone};
use core::cell::Cell;
use core::sync::atomic::Ordering;
use shm_layout::counter::Counter;
use shm_layout::layout::Globals;

/// Room of the only thread, and its lease: so much it may not have flushed when a second one starts.
const ALONE: u64 = 32 << 10;
/// How much less may be requested of a block of the largest class, which is as large as that.
const UNASKED: u64 = ALONE / 4;
/// The part of the permitted error, one in so many, that is leased to a thread that is about to start a second one.
const FIRST_SHARE: u64 = 16;
/// What every heap may lease of several, whatever is left.
const LEAST: u64 = 2 << 10;
/// Blocks from this size on do not fit in a word of room.
const UNPACKED: usize = 1 << room::WIDEST;

/// A heap's side of the accounting, requested bytes and allocated ones. `balance = floor + room` is what the heap has
/// added to the live bytes (negative where it frees others' blocks); `flushed` is the part of it that is in the global
/// totals.
#[repr(C)]
pub(crate) struct Account {
    floor: [Cell<u64>; 2],
    flushed: [Cell<u64>; 2],
    /// Bytes of the permitted error that this heap may use up.
    lease: Cell<u64>,
    /// Threads there were when this heap last had less than its share and recalled what others have.
    recalled: Cell<u64>,
}

/// Brings the flushed totals and the peaks up to date, and hands out new room.
#[inline(never)]
pub(crate) fn settle(hot: &Hot, heap: &Heap) {
    let (requested, allocated, calls) = room::read(hot.room.get());
    let top = room::top(hot.room_mask.load(Ordering::Relaxed));
    // Of a large block, no call takes room.
    let rises = calls == 0 && (requested > top || allocated > top) && allocated < top + ALONE.cast_signed();
    flush(hot, heap, rises && is_alone());
}

/// Before anything leaves a heap: one that climbs has its peak now.
#[inline]
pub(crate) fn descend(hot: &Hot, heap: &Heap) {
    if hot.is_on_detour() {
        flush(hot, heap, false);
    }
}

#[inline(never)]
fn flush(hot: &Hot, heap: &Heap, climbing: bool) {
    let (account, globals) = (&heap.account, globals());
    let alone = is_alone();
    let (requested, allocated, frees) = room::read(hot.room.get());
    heap.keep_up_after(frees as u32);
    let update = |i: usize, room: i64, total: &Counter, peak: &Counter| {
        let (Some(floor), Some(flushed)) = (account.floor.get(i), account.flushed.get(i)) else { return 0 };
        let balance = floor.get().wrapping_add(room.cast_unsigned());
        floor.set(balance);
        let change = balance.wrapping_sub(flushed.replace(balance));
        let now = if alone { total.add_owned(change) } else { total.add_shared(change) };
        let now = now.cast_signed().max(0).cast_unsigned();
        let highest = peak.get().max(now);
        if highest == now {
            if alone { peak.set(now) } else { peak.raise_shared(now) }
        }
        highest - now
    };
    let below = [
        update(0, requested, &globals.flushed_requested, &globals.peak_requested),
        update(1, allocated, &globals.flushed_allocated, &globals.peak_allocated),
    ];
    // Alone and not climbing, it may rise to the peak and no further.
    let is_bound = alone && !climbing;
    let nearest = below.into_iter().min().filter(|_| is_bound).unwrap_or(u64::MAX);
    let lease = if alone {
        // What is requested of a block as large as the lease may be less: then it may fall by so much more.
        account.hold(if (ALONE - UNASKED..ALONE).contains(&nearest) { ALONE + UNASKED } else { ALONE });
        ALONE
    } else {
        account.renew_lease(globals);
        account.lease.get()
    };
    // Both ways as much as is leased. Where the peak is much nearer than that, as much in all.
    let is_near = nearest < lease.saturating_sub(UNASKED);
    let mask = room::mask(lease.checked_ilog2().map_or(0, |log2| log2 + u32::from(!is_near)));
    let most = if is_near { lease / 2 } else { lease };
    let down = below.map(|below| {
        let up = if is_bound { below.min(most) } else { lease };
        room::top(mask).cast_unsigned().saturating_sub(up)
    });
    for (floor, down) in account.floor.iter().zip(down) {
        floor.set(floor.get().wrapping_sub(down));
    }
    let [requested, allocated] = down;
    hot.room.set(room::word(requested, allocated));
    hot.room_mask.store(mask, Ordering::Relaxed);
    hot.set_ready(climbing);
}

impl Account {
    /// Leases a share of the permitted error for this heap, a power of two or nothing, in bytes.
    fn renew_lease(&self, globals: &Globals) {
        let permitted = permitted(globals.peak_requested.get().max(globals.peak_allocated.get()));
        // Whoever is the only one yet is about to start others, and may then never settle again.
        let threads = match globals.threads_started.get().saturating_sub(globals.threads_ended.get()) {
            ..2 => FIRST_SHARE,
            threads => threads,
        };
        let all = wiped().leased.0.load(Ordering::Relaxed);
        let left = permitted.saturating_sub(all.wrapping_sub(self.lease.get()));
        let power = |bytes: u64| bytes.checked_ilog2().map_or(0, |log2| 1 << log2);
        let equal = power(permitted.checked_div(threads).unwrap_or(0));
        // Rounding down may leave a half: twice as much then, while there is an equal share left for the next thread.
        let fair = if left >= 3 * equal { 2 * equal } else { equal };
        let lease = power(fair.min(left)).clamp(LEAST, 1 << (room::WIDEST - 1));
        let (old, mut all) = (self.lease.get(), self.hold(lease));
        if lease > old && all > permitted {
            // Others were faster.
            all = self.hold(old.max(LEAST));
        }
        globals.peak_error.raise_shared(permitted.max(all));
        if self.lease.get() < equal && self.recalled.replace(threads) != threads {
            recall();
        }
    }

    /// Changes the lease to so many bytes. Returns those of all heaps.
    fn hold(&self, lease: u64) -> u64 {
        let change = lease.wrapping_sub(self.lease.replace(lease));
        let all = &wiped().leased.0;
        match change {
            0 => all.load(Ordering::Relaxed),
            _ => all.fetch_add(change, Ordering::Relaxed).wrapping_add(change),
        }
    }
}

/// Has all heaps settle at their next call, and with that lease no more than their share as it is now.
fn recall() {
    let made = central().made;
    // SAFETY: heaps that were made.
    (1..made).for_each(|id| unsafe { central::hot(id) }.room_mask.store(u64::MAX, Ordering::Relaxed));
}

/// Counts an allocation of any size into the room.
pub(crate) fn charge(hot: &Hot, heap: &Heap, requested: usize, allocated: usize) {
    if !has_room_for(hot, allocated) {
        shift(hot, heap, [requested as u64, allocated as u64]);
    } else if hot.leaves_room(room::charge(allocated).wrapping_add(requested as u64)) {
        settle(hot, heap);
    }
}

/// Counts a free of any size into the room.
pub(crate) fn credit(hot: &Hot, heap: &Heap, requested: usize, allocated: usize) {
    if !has_room_for(hot, allocated) {
        shift(hot, heap, [(requested as u64).wrapping_neg(), (allocated as u64).wrapping_neg()]);
    } else if hot.leaves_room(room::credit(allocated).wrapping_sub(requested as u64)) {
        settle(hot, heap);
    }
}

/// Counts a small block that stays where it is, with `new` requested bytes instead of `old`.
pub(crate) fn resize(hot: &Hot, heap: &Heap, old: usize, new: usize) {
    if hot.leaves_room(room::CALL.wrapping_add(new as u64).wrapping_sub(old as u64)) {
        settle(hot, heap);
    }
}

/// Large blocks that take a greater part of the room than one in so many are not counted in it: of these few calls go by until it
/// is left, and to settle takes longer than to change the totals.
const SMALL_PART: i64 = 4;

/// Whether blocks of that size are counted in the room. Alone, a thread has not enough for any that is large.
fn has_room_for(hot: &Hot, allocated: usize) -> bool {
    let fits = || match room::top(hot.room_mask.load(Ordering::Relaxed)) {
        // Others want it to settle.
        0 => true,
        top => allocated as i64 <= top / SMALL_PART,
    };
    BARE || allocated <= ALONE as usize || (allocated < UNPACKED && !is_alone() && fits())
}

/// Adds a large block's bytes to the flushed totals. The heap's balance knows nothing of them.
fn shift(hot: &Hot, heap: &Heap, change: [u64; 2]) {
    if is_alone() {
        if shift_alone(hot, heap, change) {
            settle(hot, heap);
        }
        return;
    }
    for ((total, peak), change) in totals(globals()).into_iter().zip(change) {
        peak.raise_shared(total.add_shared(change).cast_signed().max(0).cast_unsigned());
    }
}

/// As `shift`, for the only thread; true if the room that it has may lead beyond a peak now, and has to be settled.
#[inline(always)]
pub(crate) fn shift_alone(hot: &Hot, heap: &Heap, change: [u64; 2]) -> bool {
    if BARE {
        return false;
    }
    let account = &heap.account;
    let top = room::top(hot.room_mask.load(Ordering::Relaxed));
    let mut is_near = false;
    for (((floor, flushed), (total, peak)), change) in
        account.floor.iter().zip(&account.flushed).zip(totals(globals())).zip(change)
    {
        let now = total.add_owned(change);
        // What the room allows still.
        let rise = floor.get().wrapping_sub(flushed.get()).wrapping_add_signed(top);
        is_near |= now.wrapping_add(rise).cast_signed() > peak.get().cast_signed();
    }
    is_near
}

/// The flushed totals and their peaks, requested bytes and allocated ones.
#[inline(always)]
fn totals(globals: &Globals) -> [(&Counter, &Counter); 2] {
    [(&globals.flushed_requested, &globals.peak_requested), (&globals.flushed_allocated, &globals.peak_allocated)]
}

/// A heap that is left for good has no balance outside the totals.
pub(crate) fn close(hot: &Hot, heap: &Heap) {
    flush(hot, heap, false);
    heap.account.hold(0);
    clear(hot, &heap.account, 0);
}

/// A heap that starts: the first call that counts settles.
pub(crate) fn open(hot: &Hot, heap: &Heap) {
    clear(hot, &heap.account, u64::MAX);
}

fn clear(hot: &Hot, account: &Account, mask: u64) {
    for cell in account.floor.iter().chain(&account.flushed) {
        cell.set(0);
    }
    account.lease.set(0);
    account.recalled.set(0);
    hot.room.set(0);
    hot.room_mask.store(mask, Ordering::Relaxed);
}

fn permitted(peak: u64) -> u64 {
    (peak / 128).max(2 * ALONE)
}
