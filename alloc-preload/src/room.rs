//! Room: how far a heap's live bytes may rise or fall before its account is settled (see `account`), in one word, so
//! that a fast path keeps it with one addition and asks with one test.
//!
//! ```text
//! 63      42 41       20 19      0
//! requested  allocated   calls
//! ```
//!
//! Requested and allocated are the bytes still left upwards, signed: a negative one borrows from the field above it,
//! which [`read`] undoes. Calls counts frees, so that even a thread which never leaves the fast path looks at the clock
//! now and then.

const ALLOCATED: u32 = 20;
const REQUESTED: u32 = 42;
const FIELD: u32 = 22;
/// Calls that fit before the word asks for a look at the clock, as a power of two.
const CALLS: u32 = 12;

/// Largest room, as a power of two: an operation more, of at most 32 KiB, still fits in a field.
pub(crate) const WIDEST: u32 = 20;

/// What allocating one block takes, its requested bytes apart.
pub(crate) const fn charge(block: usize) -> u64 {
    (block as u64) << ALLOCATED
}

/// What freeing one block gives, its requested bytes apart.
pub(crate) const fn credit(block: usize) -> u64 {
    charge(block) + 1
}

/// Requested bytes, as they are taken and given.
#[inline(always)]
pub(crate) const fn requested(bytes: usize) -> u64 {
    (bytes as u64) << REQUESTED
}

/// A word with so much room upwards and no calls.
pub(crate) const fn word(requested: u64, allocated: u64) -> u64 {
    (requested << REQUESTED).wrapping_add(allocated << ALLOCATED)
}

/// The bits that are zero while both fields lie in `0..2^log2` and calls have not run full.
pub(crate) const fn mask(log2: u32) -> u64 {
    let field = (1_u64 << FIELD) - (1 << log2);
    field << REQUESTED | field << ALLOCATED | ((1 << ALLOCATED) - (1 << CALLS))
}

/// Room left for requested and for allocated bytes, and calls.
pub(crate) const fn read(word: u64) -> (i64, i64, u64) {
    let allocated = (word << FIELD).cast_signed() >> REQUESTED;
    let requested = word.wrapping_sub((allocated << ALLOCATED).cast_unsigned()).cast_signed() >> REQUESTED;
    (requested, allocated, word & ((1 << ALLOCATED) - 1))
}

const _: () = assert!(ALLOCATED + FIELD == REQUESTED && REQUESTED + FIELD == u64::BITS);
const _: () = assert!((1 << WIDEST) + shm_layout::class::SMALL_MAX < 1 << (FIELD - 1));

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_taken_and_given_is_read_back(
            up in 0_u64..1 << WIDEST, also in 0_u64..1 << WIDEST,
            size in 0_usize..=32 << 10, slack in 0_usize..1000, frees in 0_u64..4096,
        ) {
            let block = size + slack;
            let start = word(up, also);
            prop_assert_eq!(read(start), (up as i64, also as i64, 0));
            let less = start.wrapping_sub(requested(size)).wrapping_sub(charge(block));
            prop_assert_eq!(read(less), (up as i64 - size as i64, also as i64 - block as i64, 0));
            let more = start.wrapping_add(requested(size)).wrapping_add(credit(block)).wrapping_add(frees);
            prop_assert_eq!(read(more), (up as i64 + size as i64, also as i64 + block as i64, 1 + frees));
        }

        #[test]
        fn the_mask_tells_when_either_side_is_left(
            log2 in 4_u32..=WIDEST, requested in -70_000_i64..1 << 20, allocated in -70_000_i64..1 << 20,
        ) {
            let now = word(requested as u64, allocated as u64);
            let inside = 0..1_i64 << log2;
            let left = !inside.contains(&requested) || !inside.contains(&allocated);
            prop_assert_eq!(now & mask(log2) != 0, left);
        }
    }

    #[test]
    fn the_mask_tells_when_calls_run_full() {
        let start = word(100, 100);
        assert_eq!((start + (1 << CALLS) - 1) & mask(16), 0);
        assert_ne!((start + (1 << CALLS)) & mask(16), 0);
    }
}
