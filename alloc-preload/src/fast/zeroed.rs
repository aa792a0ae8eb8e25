//! `calloc`: the fast path of an allocation, with another end.

use super::slow::{allocate_zeroed_large, allocate_zeroed_slow};
use super::{Allocating, allocate_or};
use crate::account;
use crate::thread::in_passing;
use core::arch::naked_asm;
use shm_layout::class::GRANULE;

/// A block of `size` zeroed bytes; null with `errno` set when memory is exhausted.
#[inline(always)]
pub(crate) fn allocate_zeroed(size: usize) -> *mut u8 {
    allocate_or::<Zeroed>(size)
}

/// Zeros in the block; a null pointer and `errno` where memory is exhausted.
struct Zeroed;

impl Allocating for Zeroed {
    /// It stays as it is, and takes no memory.
    const TELLS_BLANK: bool = true;

    #[inline(always)]
    fn slow(size: usize) -> *mut u8 {
        allocate_zeroed_slow(size)
    }

    #[inline(always)]
    fn large(size: usize) -> *mut u8 {
        allocate_zeroed_large(size)
    }

    #[inline(always)]
    unsafe fn finish(block: *mut u8, size: usize) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { zero(block, size) };
        block
    }

    #[inline(always)]
    unsafe fn settle(block: *mut u8, size: usize) -> *mut u8 {
        settled_zeroed(block, size)
    }
}

/// Zeros a block, or as much of it as was asked for. Of few bytes in four stores, some of them onto each other, without a branch
/// that a program of many sizes would have mispredicted.
///
/// # Safety
/// A block of ours of at least `size` bytes that nobody uses yet.
#[inline(always)]
unsafe fn zero(block: *mut u8, size: usize) {
    const STORES: usize = 4;
    if size > STORES * GRANULE {
        // SAFETY: the caller's.
        unsafe { core::ptr::write_bytes(block, 0, size) };
        return;
    }
    let last = size.saturating_sub(1) & !(GRANULE - 1);
    for store in 0..STORES {
        // SAFETY: blocks begin at granules, and hold whole ones.
        unsafe { block.add(last.min(store * GRANULE)).cast::<u128>().write(0) };
    }
}

/// As `settled`, and zeros the block.
#[unsafe(naked)]
extern "C" fn settled_zeroed(block: *mut u8, size: usize) -> *mut u8 {
    naked_asm!(".cfi_startproc", "jmp {}", ".cfi_endproc", sym settle_then_zero)
}

unsafe extern "C" fn settle_then_zero(block: *mut u8, size: usize) -> *mut u8 {
    in_passing(account::settle);
    // SAFETY: a block of at least that many bytes, which is about to be handed out.
    unsafe { core::ptr::write_bytes(block, 0, size) };
    block
}
