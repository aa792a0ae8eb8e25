//! `realloc` of small blocks: in place, or from one bin into another.

use super::slow::reallocate_slow;
use super::{allocate, settled};
use crate::bin::Bin;
use crate::hot::{self, Hot};
use crate::ledger;
use crate::thread::hot;
use crate::window::TABLES;
use core::hint::cold_path;
use shm_layout::class::{FINE_MAX, SMALL_MAX, SizeClass};

/// Resizes a block. Stays in place where the class remains the same.
#[inline(always)]
pub(crate) fn reallocate(pointer: *mut u8, size: usize) -> *mut u8 {
    resize::<false>(pointer, size)
}

/// Blocks and sizes whose slack stands in more than one byte of the ledger.
#[inline(never)]
extern "C" fn reallocate_medium(pointer: *mut u8, size: usize) -> *mut u8 {
    resize::<true>(pointer, size)
}

#[inline(always)]
fn resize<const WIDE: bool>(pointer: *mut u8, size: usize) -> *mut u8 {
    if !WIDE && size > FINE_MAX {
        return reallocate_medium(pointer, size);
    }
    let hot = hot();
    let Some(place) = hot.place_of(pointer) else {
        // Some programs allocate in no other way.
        return match pointer.is_null() {
            false => reallocate_slow(pointer, size),
            true => {
                // SAFETY: smaller sizes come here with a block only.
                unsafe { core::hint::assert_unchecked(!WIDE || size > FINE_MAX) };
                allocate(size)
            }
        };
    };
    // SAFETY: `place_of` answered.
    let (entry, unit) = unsafe { (TABLES.entry(place), TABLES.unit(pointer)) };
    let tag = entry.check();
    if !WIDE && !ledger::is_narrow(tag) {
        cold_path();
        return reallocate_medium(pointer, size);
    }
    // SAFETY: the ledger is committed there.
    let slack = unsafe { if WIDE { entry.medium_slack() } else { None }.or_else(|| entry.slack(tag)) };
    let Some(old_slack) = slack else { return reallocate_slow(pointer, size) };
    let (lines, owner) = (hot.lines(), unit.owner());
    if !hot.takes(owner) || size > SMALL_MAX {
        return reallocate_slow(pointer, size);
    }
    // SAFETY: just asked.
    let bin = unsafe { hot.bin_of(owner) };
    let slack = bin.block_size().wrapping_sub(size);
    if !bin.is_slack_of_its_class(slack) {
        return exchange(pointer, size, hot, bin);
    }
    if WIDE {
        // SAFETY: a live block, which the caller alone uses. One with a narrow tag is of a smaller class.
        unsafe { entry.set_live_medium(slack) };
    } else {
        // Blocks of a class for such sizes have no other slack.
        entry.note(ledger::NARROW | slack as u8);
    }
    // SAFETY: the thread has a heap.
    hot::count(&unsafe { lines.row() }.reallocations, 1);
    // SAFETY: a bin that a unit names was started.
    let line = unsafe { bin.line() };
    let (freeing, allocating) = (bin.freeing(old_slack), bin.allocating(size));
    hot::tally(&line.freed, freeing);
    hot::tally(&line.allocated, allocating);
    if hot.leaves_room(freeing.wrapping_add(allocating)) {
        return settled(pointer);
    }
    pointer
}

/// Moves a block of the thread's own heap into one of another class, if neither bin stands in the way. The new block is
/// taken before the old one is given, but counted behind it: no peak holds both.
#[inline(never)]
extern "C" fn exchange(pointer: *mut u8, size: usize, hot: &Hot, from: &Bin) -> *mut u8 {
    // SAFETY: a block of the window.
    let entry = unsafe { TABLES.entry_of(pointer) };
    // SAFETY: the ledger is committed there.
    let Some(slack) = (unsafe { entry.slack(entry.check()) }) else { return reallocate_slow(pointer, size) };
    let Some(class) = SizeClass::of(size).filter(|_| size != 0) else { return reallocate_slow(pointer, size) };
    let (lines, to) = (hot.lines(), hot.bin(class));
    if from.is_full() {
        return reallocate_slow(pointer, size);
    }
    let Some(block) = to.pop() else { return reallocate_slow(pointer, size) };
    let block = block.as_ptr();
    // SAFETY: what lies in a bin is a free block of the thread's own heap; this one holds `size` bytes. Of the old one
    // all bytes are copied, not only those requested, since programs use what `malloc_usable_size` says.
    unsafe {
        TABLES.entry_of(block).set_live_of(to.block_size(), to.block_size().wrapping_sub(size));
        core::ptr::copy_nonoverlapping(pointer, block, from.block_size().min(size));
    }
    if entry.check() == ledger::PENDING {
        // Another thread has freed the old block meanwhile. The slow path says so.
        // SAFETY: what lies in a bin is a block of the window.
        unsafe { TABLES.entry_of(block) }.note(ledger::FREE);
        to.push(block);
        return reallocate_slow(pointer, size);
    }
    // In this order: a thread that is cancelled in between and frees the old block is told so.
    entry.note(ledger::FREE);
    from.push(pointer);
    let (freeing, allocating) = (from.freeing(slack), to.allocating(size));
    // SAFETY: bins with blocks and those that a unit names were started; a ready record has a row.
    unsafe {
        hot::tally(&from.line().freed, freeing);
        hot::tally(&to.line().allocated, allocating);
        hot::count(&lines.row().reallocations, 1);
    }
    if hot.leaves_room(freeing.wrapping_add(allocating)) {
        return settled(block);
    }
    block
}
