//! The fast paths: short enough to read as assembly. Each ends in a return or a jump to a slow path, or to `memset`; there is no
//! call (but `memcpy`, where `realloc` moves a block), no locked instruction, no system call, and a test holds them to that.

pub(crate) mod resize;
pub(crate) mod slow;
pub(crate) mod zeroed;

use crate::account;
use crate::bin::Bin;
use crate::central;
use crate::harden;
use crate::heap::{Chain, Heap};
use crate::hint::prefetch;
use crate::hot::{self, Hot};
use crate::large;
use crate::ledger::{self, Entry, out_of_line};
use crate::slab::Slab;
use crate::thread::{hot, in_passing, with_heap};
use crate::window::{TABLES, WINDOW, Window, owner};
use core::arch::naked_asm;
use core::hint::cold_path;
use shm_layout::class::{FINE_MAX, SizeClass};
use shm_layout::layout::Row;
use slow::{allocate_slow, free_slow, usable_size_slow};

/// A block of `size` bytes; null with `errno` set when memory is exhausted.
///
/// Plainly: find the class's bin, take its topmost block, note the slack, count. Deviations: 1. threads without a heap
/// have empty bins; 2. one comparison tells whether the accounts have to be settled.
#[inline(always)]
pub(crate) fn allocate(size: usize) -> *mut u8 {
    allocate_or::<OrNull>(size)
}

/// The way of an allocation off the fast path, and how it ends on it.
pub(crate) trait Allocating {
    /// Where no block lies ready.
    fn slow(size: usize) -> *mut u8;

    /// Blocks of which one may follow another of as many pages.
    #[inline(always)]
    fn large(size: usize) -> *mut u8
    where
        Self: Sized,
    {
        allocate_large::<Self>(size)
    }

    /// Whether a block that reads as zero is handed on in another way.
    const TELLS_BLANK: bool = false;

    /// Hands the block on.
    ///
    /// # Safety
    /// A block of at least `size` bytes that was just taken.
    #[inline(always)]
    unsafe fn finish(block: *mut u8, _size: usize) -> *mut u8 {
        block
    }

    /// The same, but the account has to be settled first.
    ///
    /// # Safety
    /// As for `finish`.
    #[inline(always)]
    unsafe fn settle(block: *mut u8, _size: usize) -> *mut u8 {
        settled(block)
    }
}

/// What becomes of the free of a pointer that is no block here.
pub(crate) trait Freeing {
    fn slow(pointer: *mut u8);
}

/// A null pointer and `errno` where memory is exhausted.
struct OrNull;

impl Allocating for OrNull {
    #[inline(always)]
    fn slow(size: usize) -> *mut u8 {
        allocate_slow(size)
    }
}

impl Freeing for OrNull {
    #[inline(always)]
    fn slow(pointer: *mut u8) {
        free_slow(pointer);
    }
}

/// As [`allocate`], with another way off the fast path.
#[inline(always)]
pub(crate) fn allocate_or<O: Allocating>(size: usize) -> *mut u8 {
    if size > FINE_MAX {
        return allocate_medium::<O>(size);
    }
    let hot = hot();
    // SAFETY: just compared.
    pop::<false, O>(hot, unsafe { hot.fine(size) }, size)
}

/// Sizes whose slack stands in more than one byte of the ledger.
#[inline(never)]
extern "C" fn allocate_medium<O: Allocating>(size: usize) -> *mut u8 {
    let hot = hot();
    match SizeClass::of(size) {
        Some(class) => pop::<true, O>(hot, hot.bin(class), size),
        None => O::large(size),
    }
}

/// Sizes of which a block may follow one of as many pages.
#[inline(never)]
extern "C" fn allocate_large<O: Allocating>(size: usize) -> *mut u8 {
    match large::same::allocate(hot(), size) {
        Some((block, false)) => block,
        Some((block, true)) => settled(block),
        None => O::slow(size),
    }
}

#[inline(always)]
fn pop<const WIDE: bool, O: Allocating>(hot: &'static Hot, bin: &'static Bin, size: usize) -> *mut u8 {
    let Some(block) = bin.pop() else {
        cold_path();
        return O::slow(size);
    };
    let block = block.as_ptr();
    // SAFETY: what lies in a bin is a block of the window.
    let entry = unsafe { TABLES.entry_of(block) };
    let tag = bin.tag(size);
    let is_blank = WIDE && O::TELLS_BLANK && entry.get() == ledger::BLANK;
    if WIDE {
        // SAFETY: a free block of the thread's own heap, whose class is that of `size`.
        unsafe { entry.set_live_medium(tag.wrapping_add(ledger::NARROW.into()) as usize) };
    } else {
        entry.note(tag as u8);
    }
    let change = bin.allocating(size);
    // SAFETY: a bin with blocks was started.
    hot::tally(&unsafe { bin.line() }.allocated, change);
    let leaves_room = hot.leaves_room(change);
    if is_blank {
        return if leaves_room { settled(block) } else { block };
    }
    // SAFETY: just taken, from the bin for blocks of that size.
    unsafe { if leaves_room { O::settle(block, size) } else { O::finish(block, size) } }
}

/// Settles, looks at the clock, and hands the block on. Opaque to the compiler, which would otherwise see that the
/// result is the argument, and turn the jump at the end of each fast path into a call with a stack frame.
#[unsafe(naked)]
extern "C" fn settled(block: *mut u8) -> *mut u8 {
    naked_asm!(".cfi_startproc", "jmp {}", ".cfi_endproc", sym settle_then)
}

unsafe extern "C" fn settle_then(block: *mut u8) -> *mut u8 {
    in_passing(account::settle);
    block
}

/// Frees a block.
///
/// Plainly: the ledger must show a live block, its unit must be ours; count, and put it in the class's bin.
/// Deviations: 1. null, foreign, unaligned and uncommitted pointers all fail one comparison; 2. another thread's block, a
/// large and an abandoned one fail one comparison; 3. the unit's owner is the bin.
#[inline(always)]
pub(crate) fn free(pointer: *mut u8) {
    free_or::<OrNull>(pointer);
}

/// As [`free`], with another way off the fast path.
#[inline(always)]
pub(crate) fn free_or<O: Freeing>(pointer: *mut u8) {
    let hot = hot();
    let Some(place) = hot.place_of(pointer) else { return O::slow(pointer) };
    // SAFETY: `place_of` answered.
    let (entry, unit) = unsafe { (TABLES.entry(place), TABLES.unit(pointer)) };
    let owner = unit.owner();
    if !hot.takes(owner) {
        cold_path();
        return free_elsewhere(pointer, hot, place, owner);
    }
    // SAFETY: just asked.
    let bin = unsafe { hot.bin_of(owner) };
    // Not before: another processor's line is to be fetched for writing, and once.
    let tag = entry.check();
    if !ledger::is_narrow(tag) {
        cold_path();
        return free_wide(pointer, hot, bin, place);
    }
    if !bin.push(pointer) {
        return free_beyond(pointer, hot, bin, place, tag);
    }
    entry.note(ledger::FREE);
    let change = bin.freeing_tagged(tag);
    // SAFETY: a bin that a unit names was started.
    hot::tally(&unsafe { bin.line() }.freed, change);
    if hot.leaves_room(change) {
        cold_path();
        settle_and_look();
    }
}

/// Blocks whose bin is full: they go straight back to their slab, whose record nothing but this touches.
#[inline(never)]
extern "C" fn free_beyond(pointer: *mut u8, hot: &Hot, bin: &Bin, place: usize, tag: u8) {
    // SAFETY: `place_of` answered with it.
    let entry = unsafe { TABLES.entry(place) };
    // SAFETY: a narrow tag is that of a block up to `FINE_MAX`.
    rest(pointer, hot, bin, entry, bin.freeing_tagged(tag), unsafe { TABLES.fine_slab(pointer) });
}

/// Blocks above [`FINE_MAX`], and aligned ones with more slack than their class has.
#[inline(never)]
extern "C" fn free_wide(pointer: *mut u8, hot: &Hot, bin: &Bin, place: usize) {
    // SAFETY: `place_of` answered with it.
    let entry = unsafe { TABLES.entry(place) };
    // SAFETY: the ledger is committed there.
    let Some(slack) = (unsafe { entry.medium_slack() }) else { return free_wider(pointer, hot, bin, place) };
    into_bin(pointer, hot, bin, entry, bin.freeing(slack));
}

/// Frees a block of the thread's own heap into its bin, or its slab.
#[inline(always)]
fn into_bin(pointer: *mut u8, hot: &Hot, bin: &Bin, entry: &Entry, change: u64) {
    if !bin.push(pointer) {
        // SAFETY: the block lies in a slab.
        return rest(pointer, hot, bin, entry, change, unsafe { TABLES.slab(pointer) });
    }
    entry.note(ledger::FREE);
    // SAFETY: a bin that a unit names was started.
    hot::tally(&unsafe { bin.line() }.freed, change);
    if hot.leaves_room(change) {
        cold_path();
        settle_and_look();
    }
}

/// Blocks with yet more slack: aligned ones, and those of the two largest classes.
#[inline(never)]
extern "C" fn free_wider(pointer: *mut u8, hot: &Hot, bin: &Bin, place: usize) {
    // SAFETY: `place_of` answered with it.
    let entry = unsafe { TABLES.entry(place) };
    if entry.check() != ledger::WIDE {
        return free_slow(pointer);
    }
    // SAFETY: the ledger is committed there.
    into_bin(pointer, hot, bin, entry, bin.freeing(unsafe { entry.wide_slack() }));
}

/// Frees a block of the thread's own heap into its slab.
#[inline(always)]
fn rest(pointer: *mut u8, hot: &Hot, bin: &Bin, entry: &Entry, change: u64, slab: &'static Slab) {
    entry.note(ledger::FREE);
    // SAFETY: a bin that a unit names was started.
    hot::tally(&unsafe { bin.line() }.freed, change);
    let room = hot.move_room(change);
    // SAFETY: the slab is the heap's whose bin the unit names.
    unsafe { slab.put(pointer) };
    if slab.is_misplaced() {
        cold_path();
        return relist(slab);
    }
    if hot.is_outside(room) {
        cold_path();
        settle_and_look();
    }
}

/// Blocks of other threads' heaps. The exchange decides who has freed the block, if several try at once.
#[inline(never)]
extern "C" fn free_elsewhere(pointer: *mut u8, hot: &Hot, place: usize, owner: usize) {
    // SAFETY: `place_of` answered with it.
    let entry = unsafe { TABLES.entry(place) };
    // Another processor's: read first, it would have to be fetched twice.
    prefetch(core::ptr::from_ref(entry).cast());
    if owner == owner::SPAN {
        return free_large(pointer, hot, place);
    }
    let tag = entry.check();
    let Some((name, lines)) = hot.ready() else { return free_slow(pointer) };
    if !ledger::is_live(tag) || !owner::is_heap(owner) || hot.is_closed() || !entry.exchange_if(tag, ledger::PENDING) {
        return free_slow(pointer);
    }
    // SAFETY: a ready record has a heap with a row.
    let (heap, row) = unsafe { (central::heap_named(name), lines.row()) };
    let Some((bin, chain)) = heap.way_to(owner) else {
        cold_path();
        return free_first(pointer, hot, heap, place, tag, owner);
    };
    let size = bin.block_size();
    let room = count_remote(hot, bin, row, freeing(bin, entry, tag));
    // SAFETY: the exchange made this call the only one to free the block.
    if unsafe { chain.add(pointer, size) } {
        cold_path();
        return free_last(heap, chain);
    }
    if hot.is_outside(room) {
        cold_path();
        settle_and_look();
    }
}

/// What freeing a block with this tag adds. Of a wide one its digits tell, while it is pending and not handed on.
#[inline(always)]
fn freeing(bin: &Bin, entry: &Entry, tag: u8) -> u64 {
    if ledger::is_narrow(tag) {
        bin.freeing_tagged(tag)
    } else {
        // SAFETY: the ledger is committed there.
        bin.freeing(unsafe { entry.wide_slack() })
    }
}

/// Counts the free of another heap's block; as `Hot::move_room`. The bin of its class was started.
#[inline(always)]
fn count_remote(hot: &Hot, bin: &Bin, row: &Row, change: u64) -> u64 {
    hot::count(&row.remote_frees, 1);
    // SAFETY: the bin was started.
    hot::tally(&unsafe { bin.line() }.freed, change);
    hot.move_room(change)
}

/// A pending block to whose owner no chain leads, or the first of its class that this thread's heap has to do with.
#[inline(never)]
extern "C" fn free_first(pointer: *mut u8, hot: &Hot, heap: &Heap, place: usize, tag: u8, owner: usize) {
    // SAFETY: `place_of` answered with it; and the ledger is committed there.
    let slack = unsafe { out_of_line::slack(TABLES.entry(place), tag) }.unwrap_or_default();
    // SAFETY: the owner is a heap, and the exchange made this call the only one to free the block.
    let bin = unsafe { heap.free_remote(owner, pointer) };
    if let Some(row) = heap.row()
        && hot.is_outside(count_remote(hot, bin, row, bin.freeing(slack)))
    {
        settle_and_look();
    }
}

/// A pending block after which its chain has all it takes.
#[inline(never)]
extern "C" fn free_last(heap: &Heap, chain: &Chain) {
    heap.hand_over_full(chain);
    settle_and_look();
}

/// Large blocks.
#[inline(never)]
extern "C" fn free_large(pointer: *mut u8, hot: &Hot, place: usize) {
    // SAFETY: `place_of` answered with it.
    match large::same::free(hot, pointer, unsafe { TABLES.entry(place) }) {
        Some(false) => {}
        Some(true) => settle_and_look(),
        None => free_slow(pointer),
    }
}

#[inline(never)]
extern "C" fn relist(slab: &'static Slab) {
    with_heap(|_, heap| heap.relist_freed(slab));
    settle_and_look();
}

/// The account has to be settled, or it is time to look at the clock.
#[inline(never)]
extern "C" fn settle_and_look() {
    in_passing(|hot, heap| {
        if hot.is_unsettled() {
            account::settle(hot, heap);
        }
    });
}

/// Bytes the live block at `pointer` can hold; 0 for null, and after a report where there is none.
#[inline(always)]
pub(crate) fn usable_size(pointer: *mut u8) -> usize {
    if harden::is_on() {
        return usable_size_slow(pointer);
    }
    let Some(granule) = WINDOW.granule_of(pointer) else { return usable_size_slow(pointer) };
    let index = Window::unit_of_granule(granule);
    // SAFETY: `granule_of` answers for the granule.
    let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(index)) };
    if !ledger::is_live(entry.check()) || unit.owner() == owner::SPAN {
        return usable_size_slow(pointer);
    }
    // SAFETY: the unit of a live block has a head; a slab's block size does not change while one of its blocks lives.
    unsafe { WINDOW.slab(WINDOW.head(index)) }.block_size.get() as usize
}
