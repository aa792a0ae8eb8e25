//! Room: how far a heap's live bytes may rise or fall before its account is settled (see `account`), in one word, so
//! that a fast path keeps it with one addition and asks with one test.
//!
//! ```text
//! 63   44 43       22 21       0
//! calls   allocated   requested
//! ```
//!
//! Requested and allocated are bytes above the lowest that the room has a place for, signed: a negative one borrows from
//! the field above it, which [`read`] undoes. Calls counts frees, so that even a thread which never leaves the fast path
//! looks at the clock now and then.

use shm_layout::tally;

const FIELD: u32 = 22;
const ALLOCATED: u32 = FIELD;
const CALLS: u32 = 2 * FIELD;
/// One call.
pub(crate) const CALL: u64 = 1 << CALLS;
/// Calls that fit before the word asks for a look at the clock, as a power of two.
const FEW_CALLS: u32 = 12;

/// Largest room, as a power of two: an operation more, of at most 32 KiB, still fits in a field.
pub(crate) const WIDEST: u32 = 20;

/// What allocating one block adds, its requested bytes apart.
pub(crate) const fn charge(block: usize) -> u64 {
    (block as u64) << ALLOCATED
}

/// What freeing one block adds, its requested bytes apart.
pub(crate) const fn credit(block: usize) -> u64 {
    CALL.wrapping_sub(charge(block))
}

/// A word with so many bytes and no calls.
pub(crate) const fn word(requested: u64, allocated: u64) -> u64 {
    requested.wrapping_add(allocated << ALLOCATED)
}

/// The bits that are zero while both fields lie in `0..2^log2` and calls have not run full.
pub(crate) const fn mask(log2: u32) -> u64 {
    let field = (1_u64 << FIELD) - (1 << log2);
    field | field << ALLOCATED | u64::MAX << (CALLS + FEW_CALLS)
}

/// The highest that both fields may be under a mask; 0 under one that asks to settle at once, or never.
pub(crate) const fn top(mask: u64) -> i64 {
    match 1_i64.checked_shl(mask.trailing_zeros()) {
        Some(end) => end - 1,
        None => 0,
    }
}

/// Requested and allocated bytes, and calls.
pub(crate) const fn read(word: u64) -> (i64, i64, u64) {
    let requested = lowest(word);
    let above = word.wrapping_sub(requested.cast_unsigned()) >> FIELD;
    let allocated = lowest(above);
    (requested, allocated, above.wrapping_sub(allocated.cast_unsigned()) >> FIELD & (u64::MAX >> CALLS))
}

/// The lowest field.
const fn lowest(word: u64) -> i64 {
    (word << (u64::BITS - FIELD)).cast_signed() >> (u64::BITS - FIELD)
}

// One change is added to the room and to a tally.
const _: () = assert!(ALLOCATED == tally::BLOCK_SHIFT && CALL == tally::FREE);
const _: () = assert!(CALLS + FEW_CALLS < u64::BITS);
const _: () = assert!((1 << WIDEST) + shm_layout::class::SMALL_MAX < 1 << (FIELD - 1));

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_allocated_and_freed_is_read_back(
            level in 0_u64..1 << WIDEST, also in 0_u64..1 << WIDEST,
            size in 0_usize..=32 << 10, slack in 0_usize..1000, frees in 0_u64..4096,
        ) {
            let block = size + slack;
            let start = word(level, also);
            prop_assert_eq!(read(start), (level as i64, also as i64, 0));
            let more = start.wrapping_add(size as u64).wrapping_add(charge(block));
            prop_assert_eq!(read(more), (level as i64 + size as i64, also as i64 + block as i64, 0));
            let less = start.wrapping_sub(size as u64).wrapping_add(credit(block)).wrapping_add(frees * CALL);
            prop_assert_eq!(read(less), (level as i64 - size as i64, also as i64 - block as i64, 1 + frees));
        }

        #[test]
        fn the_mask_tells_when_either_side_is_left(
            log2 in 4_u32..=WIDEST, requested in -70_000_i64..1 << 20, allocated in -70_000_i64..1 << 20,
        ) {
            let now = word(requested as u64, allocated as u64);
            let inside = 0..1_i64 << log2;
            let left = !inside.contains(&requested) || !inside.contains(&allocated);
            prop_assert_eq!(now & mask(log2) != 0, left);
            prop_assert_eq!(top(mask(log2)) + 1, inside.end);
        }
    }

    #[test]
    fn the_mask_tells_when_calls_run_full() {
        let start = word(100, 100);
        assert_eq!((start + CALL * ((1 << FEW_CALLS) - 1)) & mask(16), 0);
        assert_ne!((start + (CALL << FEW_CALLS)) & mask(16), 0);
    }
}
