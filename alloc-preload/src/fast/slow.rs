//! Where the fast paths fall off to, and the calls that have none.

use super::allocate;
use crate::account;
use crate::block::{self, Wrong};
use crate::harden;
use crate::misuse::Call;
use crate::thread::{in_passing, with_heap};
use core::arch::naked_asm;
use core::ptr::null_mut;
use shm_layout::class::{GRANULE, SizeClass};

/// Whatever is not allocated on the fast path.
#[inline(never)]
pub(crate) extern "C" fn allocate_slow(size: usize) -> *mut u8 {
    or_enomem(in_passing(|hot, heap| block::allocate(hot, heap, size, 1)).unwrap_or(null_mut()))
}

/// As [`allocate_slow`], with zeros in as many bytes as were asked for.
#[inline(never)]
pub(super) extern "C" fn allocate_zeroed_slow(size: usize) -> *mut u8 {
    let Some(class) = SizeClass::of(size) else { return allocate_zeroed_large(size) };
    or_enomem(in_passing(|hot, heap| block::allocate_zeroed_small(hot, heap, class, size)).unwrap_or(null_mut()))
}

#[inline(never)]
pub(super) extern "C" fn allocate_zeroed_large(size: usize) -> *mut u8 {
    or_enomem(in_passing(|hot, heap| block::allocate_zeroed_large(hot, heap, size)).unwrap_or(null_mut()))
}

/// A block of `size` bytes at a multiple of `align`, a power of two; null when memory is exhausted.
pub(crate) fn allocate_aligned(size: usize, align: usize) -> *mut u8 {
    if align <= GRANULE { allocate(size) } else { allocate_silently(size, align) }
}

/// As [`allocate_aligned`], and leaves `errno` alone.
pub(crate) fn allocate_silently(size: usize, align: usize) -> *mut u8 {
    in_passing(|hot, heap| block::allocate(hot, heap, size, align)).unwrap_or(null_mut())
}

/// Everything that is not resized on the fast path; as [`free_slow`].
#[unsafe(naked)]
pub(crate) extern "C" fn reallocate_slow(pointer: *mut u8, size: usize) -> *mut u8 {
    naked_asm!(".cfi_startproc", "mov rdx, [rsp]", "jmp {}", ".cfi_endproc", sym reallocate_from)
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
    let result = in_passing(|hot, heap| {
        hot.look_again();
        account::descend(hot, heap);
        block::resize(hot, heap, pointer, size)
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
    naked_asm!(".cfi_startproc", "mov rsi, [rsp]", "jmp {}", ".cfi_endproc", sym free_from)
}

unsafe extern "C" fn free_from(pointer: *mut u8, caller: usize) {
    free_for(pointer, Call::Free, caller);
}

/// Frees `pointer` for the named call. `errno` is the caller's before and after.
pub(crate) fn free_for(pointer: *mut u8, call: Call, caller: usize) {
    if pointer.is_null() {
        return;
    }
    let result = in_passing(|hot, heap| {
        hot.look_again();
        account::descend(hot, heap);
        block::free(hot, heap, pointer)
    });
    if let Some(Err(wrong)) = result {
        block::report(pointer, wrong, call, caller);
    }
}

/// Frees `pointer`, a block that `size` bytes were asked for. The wrong size is reported; the block is freed all the same.
pub(crate) fn free_sized_for(pointer: *mut u8, size: usize, call: Call, caller: usize) {
    if let Ok(block) = block::Block::at(pointer)
        && block.requested != size
    {
        block::report(pointer, Wrong::Size(block.requested, block.size(), size), call, caller);
    }
    free_for(pointer, call, caller);
}

/// Large blocks, and pointers that are no block; as [`free_slow`].
#[unsafe(naked)]
pub(super) extern "C" fn usable_size_slow(pointer: *mut u8) -> usize {
    naked_asm!(".cfi_startproc", "mov rsi, [rsp]", "jmp {}", ".cfi_endproc", sym usable_size_from)
}

unsafe extern "C" fn usable_size_from(pointer: *mut u8, caller: usize) -> usize {
    if pointer.is_null() {
        return 0;
    }
    match block::Block::at(pointer) {
        // What lies beyond is sealed.
        Ok(block) if harden::is_on() => block.requested,
        Ok(block) => block.size(),
        Err(wrong) => {
            if with_heap(|_, _| ()).is_some() {
                block::report(pointer, wrong, Call::UsableSize, caller);
            }
            0
        }
    }
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
