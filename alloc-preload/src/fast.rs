//! The fast paths: short enough to read as assembly. Each ends in a return or a jump to a slow path; there is no call,
//! no locked instruction, no system call, and a test holds them to that.

use crate::account::settle;
use crate::block;
use crate::hot::Hot;
use crate::ledger;
use crate::misuse::Call;
use crate::slab::{link, set_link};
use crate::thread::{self, hot, with_heap};
use crate::window::{WINDOW, Window, owner};
use core::arch::naked_asm;
use core::ptr::null_mut;
use shm_layout::class::{FINE_MAX, GRANULE, SMALL_MAX, SizeClass};

/// A block of `size` bytes; null with `errno` set when memory is exhausted.
///
/// Plainly: find the class, take its current slab's first free block, note the slack, count. Deviations: 1. large
/// classes, threads without a heap, exhausted slabs and damaged lists all look like an empty list; 2. one comparison
/// tells whether the accounts have to be settled.
#[inline(always)]
pub(crate) fn allocate(size: usize) -> *mut u8 {
    if size > FINE_MAX {
        return allocate_medium(size);
    }
    match SizeClass::of(size) {
        Some(class) => pop::<false>(hot(), class, size),
        None => allocate_slow(size),
    }
}

/// Sizes whose slack may need more than one byte of the ledger.
#[inline(never)]
extern "C" fn allocate_medium(size: usize) -> *mut u8 {
    match SizeClass::of(size) {
        Some(class) => pop::<true>(hot(), class, size),
        None => allocate_slow(size),
    }
}

#[inline(always)]
fn pop<const WIDE: bool>(hot: &'static Hot, class: SizeClass, size: usize) -> *mut u8 {
    // SAFETY: the class comes from the table.
    let slab = unsafe { hot.current_unchecked(class) };
    let granule = slab.free.get();
    if granule >= slab.extent.get() {
        return allocate_slow(size);
    }
    // SAFETY: `granule < extent`
    let (entry, block) = unsafe { (slab.entry(granule), slab.block_at(granule)) };
    if !ledger::is_free(entry.get()) {
        return allocate_slow(size);
    }
    let block_size = slab.block_size.get() as usize;
    let slack = block_size - size;
    // SAFETY: a free block of the thread's own slab.
    slab.free.set(unsafe { link(block) });
    // SAFETY: as above; a fine class has no wide slack.
    unsafe { entry.set_slack::<WIDE>(slack) };
    slab.used.set(slab.used.get() + 1);
    // SAFETY: a heap with a slab has a key.
    if unsafe { hot.count_allocation(slab.line.get() as usize, size, block_size) } {
        return settled(block);
    }
    block
}

#[cold]
#[inline(never)]
extern "C" fn allocate_slow(size: usize) -> *mut u8 {
    or_enomem(
        with_heap(|hot, heap| {
            let block = block::allocate(hot, heap, size, 1);
            thread::housekeeping(hot, heap);
            block
        })
        .unwrap_or(null_mut()),
    )
}

/// Settles, and hands the block on. Opaque to the compiler, which would otherwise see that the result is the argument,
/// and turn the jump at the end of each fast path into a call with a stack frame.
#[unsafe(naked)]
extern "C" fn settled(block: *mut u8) -> *mut u8 {
    naked_asm!("jmp {}", sym settle_then)
}

unsafe extern "C" fn settle_then(block: *mut u8) -> *mut u8 {
    with_heap(settle);
    block
}

/// Frees a block.
///
/// Plainly: the ledger must show a live block, its slab must be ours; count, and put it on the slab's list.
/// Deviations: 1. null, foreign, unaligned and uncommitted pointers all fail one comparison; 2. a full slab and another
/// thread's slab both fail one comparison; 3. the current slab counts itself as used, and never looks empty.
#[inline(always)]
pub(crate) fn free(pointer: *mut u8) {
    push::<false>(pointer);
}

/// Blocks with wide slack.
#[inline(never)]
extern "C" fn free_wide(pointer: *mut u8) {
    push::<true>(pointer);
}

#[inline(always)]
fn push<const WIDE: bool>(pointer: *mut u8) {
    let hot = hot();
    let Some(granule) = WINDOW.granule_of(pointer) else { return free_slow(pointer) };
    // SAFETY: `granule_of` answers for the granule.
    let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
    let tag = entry.get();
    let slack = if !WIDE {
        if !ledger::is_narrow(tag) {
            return free_wide(pointer);
        }
        tag as usize - 1
    } else if tag == ledger::WIDE {
        // SAFETY: the ledger is committed there.
        unsafe { entry.wide_slack() }
    } else {
        return free_slow(pointer);
    };
    if unit.owner() != hot.key.get() {
        return free_slow(pointer);
    }
    // SAFETY: the unit of a live block has a head, and a slab whose owner is a heap is that heap's.
    let slab = unsafe { &*unit.head() };
    let block_size = slab.block_size.get() as usize;
    // SAFETY: the thread's own slab, and a block of it that is no longer live.
    unsafe { set_link(pointer, slab.free.get()) };
    slab.free.set(((pointer as usize).wrapping_sub(slab.base.get()) / GRANULE) as u32);
    entry.set(ledger::FREE);
    let used = slab.used.get().wrapping_sub(1);
    slab.used.set(used);
    let requested = block_size.wrapping_sub(slack);
    // SAFETY: a heap with a slab has a key.
    let (full, tick) = unsafe { hot.count_free(slab.line.get() as usize, requested, block_size) };
    if used == 0 || full || tick {
        after_free(slab);
    }
}

#[cold]
#[inline(never)]
extern "C" fn after_free(slab: &'static crate::slab::Slab) {
    with_heap(|hot, heap| {
        settle(hot, heap);
        heap.relist(hot, slab);
        thread::housekeeping(hot, heap);
    });
}

/// Resizes a block. Stays in place where the class remains the same.
#[inline(always)]
pub(crate) fn reallocate(pointer: *mut u8, size: usize) -> *mut u8 {
    resize::<false>(pointer, size)
}

/// Blocks and sizes whose slack may need more than one byte of the ledger.
#[inline(never)]
extern "C" fn reallocate_medium(pointer: *mut u8, size: usize) -> *mut u8 {
    resize::<true>(pointer, size)
}

#[inline(always)]
fn resize<const WIDE: bool>(pointer: *mut u8, size: usize) -> *mut u8 {
    let hot = hot();
    let Some(granule) = WINDOW.granule_of(pointer) else { return reallocate_slow(pointer, size) };
    // SAFETY: `granule_of` answers for the granule.
    let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
    let tag = entry.get();
    let old_slack = if !WIDE {
        if size > FINE_MAX || !ledger::is_narrow(tag) {
            return reallocate_medium(pointer, size);
        }
        tag as usize - 1
    } else if ledger::is_narrow(tag) {
        tag as usize - 1
    } else if tag == ledger::WIDE {
        // SAFETY: the ledger is committed there.
        unsafe { entry.wide_slack() }
    } else {
        return reallocate_slow(pointer, size);
    };
    let ours = unit.owner() & !owner::FULL == hot.key.get();
    if size == 0 || !ours || hot.key.get() == 0 {
        return reallocate_slow(pointer, size);
    }
    // SAFETY: the unit of a live block has a head.
    let slab = unsafe { &*unit.head() };
    if SizeClass::of(size).is_none_or(|class| class.0 != slab.class.get()) {
        return reallocate_slow(pointer, size);
    }
    let block_size = slab.block_size.get() as usize;
    let old = block_size.wrapping_sub(old_slack);
    // SAFETY: a live block, which the caller alone uses.
    unsafe { entry.set_slack::<WIDE>(block_size.wrapping_sub(size)) };
    // SAFETY: a heap with a slab has a key.
    unsafe { hot.row() }.reallocations.add_owned(1);
    // SAFETY: as above.
    if unsafe { hot.count_resize(slab.line.get() as usize, old, size) } {
        return settled(pointer);
    }
    pointer
}

/// Everything that is not resized on the fast path; as [`free_slow`].
#[unsafe(naked)]
pub(crate) extern "C" fn reallocate_slow(pointer: *mut u8, size: usize) -> *mut u8 {
    naked_asm!("mov rdx, [rsp]", "jmp {}", sym reallocate_from)
}

unsafe extern "C" fn reallocate_from(pointer: *mut u8, size: usize, caller: usize) -> *mut u8 {
    reallocate_for(pointer, size, Call::Realloc, caller)
}

/// `realloc` for the named call: a null pointer allocates, size zero frees.
pub(crate) fn reallocate_for(pointer: *mut u8, size: usize, call: Call, caller: usize) -> *mut u8 {
    if pointer.is_null() {
        return allocate(size);
    }
    if size == 0 {
        free_for(pointer, call, caller);
        return null_mut();
    }
    let result = with_heap(|hot, heap| {
        let result = block::resize(hot, heap, pointer, size);
        thread::housekeeping(hot, heap);
        result
    });
    match result {
        Some(Ok(block)) => or_enomem(block),
        Some(Err(wrong)) => {
            // Outside `with_heap`: a handler of SIGABRT may allocate. If told to go on, the program does so without the block.
            block::report(pointer, wrong, call, caller);
            no_memory()
        }
        None => no_memory(),
    }
}

/// Everything that is not freed on the fast path. Hands on where it was called from: entered by a jump, it finds the
/// program's return address on top of the stack.
#[unsafe(naked)]
pub(crate) extern "C" fn free_slow(pointer: *mut u8) {
    naked_asm!("mov rsi, [rsp]", "jmp {}", sym free_from)
}

unsafe extern "C" fn free_from(pointer: *mut u8, caller: usize) {
    free_for(pointer, Call::Free, caller);
}

/// Frees `pointer` for the named call. `errno` is the caller's before and after.
pub(crate) fn free_for(pointer: *mut u8, call: Call, caller: usize) {
    if pointer.is_null() {
        return;
    }
    let result = with_heap(|hot, heap| {
        let result = block::free(hot, heap, pointer);
        thread::housekeeping(hot, heap);
        result
    });
    if let Some(Err(wrong)) = result {
        block::report(pointer, wrong, call, caller);
    }
}

/// Bytes the live block at `pointer` can hold; 0 for null, and after a report where there is none.
#[inline(always)]
pub(crate) fn usable_size(pointer: *mut u8) -> usize {
    let Some(granule) = WINDOW.granule_of(pointer) else { return usable_size_slow(pointer) };
    // SAFETY: `granule_of` answers for the granule.
    let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
    if !ledger::is_live(entry.get()) || unit.owner() == owner::SPAN {
        return usable_size_slow(pointer);
    }
    // SAFETY: the unit of a live block has a head; a slab's block size does not change while one of its blocks lives.
    unsafe { &*unit.head() }.block_size.get() as usize
}

/// Large blocks, and pointers that are no block; as [`free_slow`].
#[unsafe(naked)]
extern "C" fn usable_size_slow(pointer: *mut u8) -> usize {
    naked_asm!("mov rsi, [rsp]", "jmp {}", sym usable_size_from)
}

unsafe extern "C" fn usable_size_from(pointer: *mut u8, caller: usize) -> usize {
    if pointer.is_null() {
        return 0;
    }
    match block::Block::at(pointer) {
        Ok(block) => block.size(),
        Err(wrong) => {
            with_heap(|_, _| ());
            block::report(pointer, wrong, Call::UsableSize, caller);
            0
        }
    }
}

/// A block of `size` bytes at a multiple of `align`, a power of two; null when memory is exhausted.
pub(crate) fn allocate_aligned(size: usize, align: usize) -> *mut u8 {
    if align <= GRANULE {
        return allocate(size);
    }
    with_heap(|hot, heap| {
        let block = block::allocate(hot, heap, size, align);
        thread::housekeeping(hot, heap);
        block
    })
    .unwrap_or(null_mut())
}

/// A block of `size` zeroed bytes; null with `errno` set when memory is exhausted.
#[inline(always)]
pub(crate) fn allocate_zeroed(size: usize) -> *mut u8 {
    if size > SMALL_MAX {
        return allocate_zeroed_large(size);
    }
    let block = allocate(size);
    if !block.is_null() {
        // SAFETY: a fresh block of at least that many bytes.
        unsafe { core::ptr::write_bytes(block, 0, size) };
    }
    block
}

#[inline(never)]
extern "C" fn allocate_zeroed_large(size: usize) -> *mut u8 {
    or_enomem(
        with_heap(|hot, heap| {
            let block = block::allocate_zeroed_large(hot, heap, size);
            thread::housekeeping(hot, heap);
            block
        })
        .unwrap_or(null_mut()),
    )
}

/// Sets `errno` where a call that must not return null does. Every failure of ours means that there is no memory.
#[inline(always)]
pub(crate) fn or_enomem(block: *mut u8) -> *mut u8 {
    if block.is_null() { no_memory() } else { block }
}

/// Sets `errno` to `ENOMEM`; null.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn no_memory() -> *mut u8 {
    set_errno(libc::ENOMEM);
    null_mut()
}

pub(crate) fn set_errno(number: i32) {
    // SAFETY: libc answers with the calling thread's errno.
    unsafe { *libc::__errno_location() = number };
}
