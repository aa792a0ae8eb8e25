//! Peaks. The counters in the rows are exact at any moment; what they cannot tell is how high their sum once was.
//!
//! Each heap adds its net change to the process's *flushed* totals whenever it leaves the room it was given, and the
//! peaks are the highest flushed totals. While the process has had one thread only, the room upwards ends at the
//! peak itself: every new maximum is noticed by the allocation that makes it, and the peaks are exact. With several
//! threads the room is a share of the permitted error:
//!
//! `error <= threads x 2 x room`, with `room = max(64 KiB, peak / 128) / (16 x threads)`.

use crate::heap::Heap;
use crate::hot::Hot;
use crate::stats::globals;
use core::cell::Cell;
use shm_layout::layout::Globals;

/// One thread alone still flushes this often, so that a second one starts from totals that are nearly right.
const ALONE: u64 = 16 << 10;

unsafe extern "C" {
    static __libc_single_threaded: core::ffi::c_char;
}

/// A heap's side of the accounting. `balance = limit - room` is what the heap has added to the live bytes (negative
/// where it frees others' blocks); `flushed` is the part of it that is in the global totals.
#[repr(C)]
pub(crate) struct Account {
    limit: [Cell<u64>; 2],
    flushed: [Cell<u64>; 2],
}

/// Brings the flushed totals and the peaks up to date, and hands out new room.
#[cold]
pub(crate) fn settle(hot: &Hot, heap: &Heap) {
    let globals = globals();
    // SAFETY: a byte of libc's, which it clears before it starts a second thread.
    let alone =
        globals.threads_started.get() <= 1 && unsafe { (&raw const __libc_single_threaded).read_volatile() } != 0;
    let threads = globals.threads_started.get().saturating_sub(globals.threads_ended.get()).max(1);
    let account = &heap.account;
    let rooms = [&hot.room_requested, &hot.room_allocated];
    let totals = [&globals.flushed_requested, &globals.flushed_allocated];
    let peaks = [&globals.peak_requested, &globals.peak_allocated];
    let share = if alone { ALONE } else { room(globals, threads) };
    for (((room, limit), flushed), (total, peak)) in
        rooms.into_iter().zip(&account.limit).zip(&account.flushed).zip(totals.into_iter().zip(peaks))
    {
        let balance = limit.get().wrapping_sub(room.get());
        let change = balance.wrapping_sub(flushed.get());
        flushed.set(balance);
        let now = if alone { total.add_owned(change) } else { total.add_shared(change) };
        let now = (now as i64).max(0) as u64;
        if now > peak.get() {
            if alone { peak.set(now) } else { peak.raise_shared(now) }
        }
        let up = if alone { share.min(peak.get().saturating_sub(now)) } else { share };
        room.set(up);
        limit.set(balance.wrapping_add(up));
    }
    if !alone {
        let peak = globals.peak_requested.get().max(globals.peak_allocated.get());
        globals.peak_error.raise_shared(permitted(peak));
    }
    // Twice the share, so that there is as much room downwards as upwards.
    hot.room_mask.set(!(2 * share - 1));
}

/// A heap that is left for good has no balance outside the totals.
pub(crate) fn close(hot: &Hot, heap: &Heap) {
    settle(hot, heap);
    for cell in heap.account.limit.iter().chain(&heap.account.flushed) {
        cell.set(0);
    }
    hot.room_requested.set(0);
    hot.room_allocated.set(0);
    hot.room_mask.set(0);
}

/// A heap that starts: the first call that counts settles.
pub(crate) fn open(hot: &Hot, heap: &Heap) {
    for cell in heap.account.limit.iter().chain(&heap.account.flushed) {
        cell.set(0);
    }
    hot.room_requested.set(0);
    hot.room_allocated.set(0);
    hot.room_mask.set(u64::MAX);
}

fn permitted(peak: u64) -> u64 {
    (peak / 128).max(64 << 10)
}

fn room(globals: &Globals, threads: u64) -> u64 {
    let peak = globals.peak_requested.get();
    let share = permitted(peak).checked_div(16 * threads).unwrap_or(0);
    // A power of two, as the mask wants it.
    1 << share.max(16).ilog2()
}
