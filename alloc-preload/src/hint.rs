//! What only the compiler or the processor is told: none of it changes a value.

use core::arch::asm;

/// A number of whose origin the compiler knows nothing. It would take a difference apart and add its terms to a counter
/// one after the other: that takes an instruction more, and a fork may come between the counter's load and its store. And of
/// the address of a bin it would add up the terms anew in every instruction: an addition less, but slower, since a
/// processor splits what names two registers and changes memory, and forwards no store to it at once.
#[inline(always)]
pub(crate) fn opaque(mut number: usize) -> usize {
    // SAFETY: touches nothing.
    unsafe { asm!("/* {} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// Has a line fetched, to be written.
#[inline(always)]
pub(crate) fn prefetch(block: *const u8) {
    // SAFETY: a prefetch neither faults nor changes anything.
    unsafe {
        asm!("prefetchw [{}]", in(reg) block, options(nostack, preserves_flags));
    }
}

/// What stands before this is read, or written, before what stands behind it: where a gate that comes later is open, no fork
/// had come yet.
#[inline(always)]
pub(crate) fn read_before() {
    // SAFETY: no instruction. (A compiler's fence is about atomics, and other reads do pass it.)
    unsafe { asm!("", options(nostack, preserves_flags)) };
}
