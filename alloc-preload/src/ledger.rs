//! The ledger: one byte for every granule of the window, out of reach of any overflow of a block.
//!
//! | byte        | meaning |
//! |-------------|---------|
//! | `0`         | no block starts here (also what fresh and purged memory reads as) |
//! | `0x10..=0x4F` | a digit (6 bits) of the wide slack of the block before it |
//! | [`WIDE`]    | a live block starts here; its slack stands in the next three bytes as digits |
//! | [`PENDING`] | freed by another thread, not yet back on its slab's free list |
//! | [`CONFINED`] | freed, in its heap's quarantine |
//! | [`FREE`]    | a block starts here that was live once |
//! | [`FRESH`]   | a carved block starts here that was never live |
//! | `0x80..=0xFF` | a live block starts here; slack = byte - 0x80 |
//!
//! slack = block size - requested bytes. The sign tells nearly every live block, and the two largest positive values
//! the free ones: either question is one comparison.

use crate::bare::BARE;
use crate::sync::{AtomicU8, Ordering};
use crate::window::WINDOW;

pub(crate) const WIDE: u8 = 0x50;
pub(crate) const PENDING: u8 = 0x51;
pub(crate) const CONFINED: u8 = 0x52;
pub(crate) const FREE: u8 = 0x7E;
pub(crate) const FRESH: u8 = 0x7F;

/// Tag of a live block without slack; slack that fits in one byte is added to it.
pub(crate) const NARROW: u8 = 0x80;
/// Largest slack that fits in one byte.
pub(crate) const NARROW_MAX: usize = 0x7F;
const DIGIT: u8 = 0x10;

/// One entry of the ledger.
#[repr(transparent)]
pub(crate) struct Entry(AtomicU8);

impl Entry {
    #[inline(always)]
    pub(crate) fn get(&self) -> u8 {
        let tag = self.0.load(Ordering::Relaxed);
        if BARE && tag != FREE { NARROW } else { tag }
    }

    /// As `get`, for the block that a call was handed: a bare build believes that it is live.
    #[inline(always)]
    pub(crate) fn check(&self) -> u8 {
        if BARE { NARROW } else { self.get() }
    }

    /// Whether a block waits here for its owner; a bare build believes that it does.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        BARE || self.get() == PENDING
    }

    /// Which of the [`LOOK`] entries from this one on call a block free, a bit for each.
    ///
    /// # Safety
    /// This entry is the first of an aligned group in the caller's slab, whose ledger is committed.
    #[inline(always)]
    unsafe fn free_ones(&self) -> u32 {
        use core::arch::x86_64::{_mm_cmpgt_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8};
        // SAFETY: sixteen bytes of the ledger. What they say of the caller's resting blocks nobody else changes, and
        // what others write to other entries does not call a block free.
        unsafe {
            let entries = _mm_load_si128(core::ptr::from_ref(self).cast());
            _mm_movemask_epi8(_mm_cmpgt_epi8(entries, _mm_set1_epi8(FREE as i8 - 1))).cast_unsigned()
        }
    }

    /// Shows `each` entry that calls a block free, by its distance from this one, a slab's first, from `from` up to
    /// `end`, until it wants no more. Blocks begin `step` entries apart.
    ///
    /// # Safety
    /// The entries belong to a slab of the caller's, and are committed.
    #[inline(always)]
    pub(crate) unsafe fn free_between(
        &self,
        mut from: usize,
        end: usize,
        step: usize,
        mut each: impl FnMut(usize) -> bool,
    ) {
        if step >= LOOK {
            while from < end {
                // SAFETY: the caller's.
                if is_free(unsafe { self.behind(from) }.get()) && !each(from) {
                    return;
                }
                from += step;
            }
            return;
        }
        while from < end {
            let group = from & !(LOOK - 1);
            // SAFETY: the caller's; a slab's entries begin on a page.
            let mut free = unsafe { self.behind(group).free_ones() } >> (from - group) << (from - group);
            while free != 0 {
                let found = group + free.trailing_zeros() as usize;
                if found >= end || !each(found) {
                    return;
                }
                free &= free - 1;
            }
            from = group + LOOK;
        }
    }

    /// What becomes of a block, for the one thread that owns its slab, or holds the central lock for spans.
    #[inline(always)]
    pub(crate) fn note(&self, tag: u8) {
        if !BARE {
            self.set(tag);
        }
    }

    #[inline(always)]
    fn set(&self, tag: u8) {
        self.0.store(tag, Ordering::Relaxed);
    }

    /// Replaces `old` by `tag`; false if somebody else was faster. Whoever takes the live tag away has freed the block.
    #[inline]
    pub(crate) fn exchange_if(&self, old: u8, tag: u8) -> bool {
        BARE || self.0.compare_exchange(old, tag, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The `n`th entry behind this one.
    ///
    /// # Safety
    /// The granule lies in the same block.
    #[inline(always)]
    pub(crate) unsafe fn behind(&self, n: usize) -> &Self {
        // SAFETY: the ledger is one array, and the caller names a granule of a committed block.
        unsafe { &*core::ptr::from_ref(self).add(n) }
    }

    /// Marks a block as live.
    ///
    /// # Safety
    /// The entry is the start of a block of more than `slack` bytes that the caller owns.
    #[inline(always)]
    pub(crate) unsafe fn set_live(&self, slack: usize) {
        if slack <= NARROW_MAX {
            self.note(NARROW | slack as u8);
        } else if !BARE {
            // SAFETY: a block with more than 126 bytes of slack has at least seven further granules.
            unsafe { self.set_wide(slack) };
        }
    }

    #[inline(always)]
    unsafe fn set_wide(&self, slack: usize) {
        for n in 0..3 {
            // SAFETY: as in `set_live`.
            unsafe { self.behind(n + 1) }.set(DIGIT + (slack >> (6 * n) & 0x3F) as u8);
        }
        self.set(WIDE);
    }

    /// Slack of the live block that starts here with the wide tag.
    ///
    /// # Safety
    /// The entry belongs to committed memory.
    #[inline(always)]
    pub(crate) unsafe fn wide_slack(&self) -> usize {
        // SAFETY: a wide tag is only ever set together with its three digits.
        let digit = |n: usize| unsafe { self.behind(n + 1) }.get().wrapping_sub(DIGIT) as usize;
        digit(0) | digit(1) << 6 | digit(2) << 12
    }

    /// Slack of the live block that starts here with `tag`; `None` if the tag is not a live one.
    ///
    /// # Safety
    /// The entry belongs to committed memory.
    #[inline]
    pub(crate) unsafe fn slack(&self, tag: u8) -> Option<usize> {
        if is_narrow(tag) {
            return Some((tag - NARROW) as usize);
        }
        // SAFETY: the caller's.
        (tag == WIDE).then(|| unsafe { self.wide_slack() })
    }
}

/// A free block returns to its slab. Only a bare build has not marked it before.
#[inline(always)]
pub(crate) fn rest(block: *mut u8) {
    if BARE && let Some(granule) = WINDOW.granule_of(block) {
        // SAFETY: `granule_of` answered.
        unsafe { WINDOW.entry(granule) }.set(FREE);
    }
}

/// A free block leaves its slab for a bin; only a bare build does not call it free there.
#[inline(always)]
pub(crate) fn wake(block: *mut u8) {
    if BARE && let Some(granule) = WINDOW.granule_of(block) {
        // SAFETY: `granule_of` answered.
        unsafe { WINDOW.entry(granule) }.set(0);
    }
}

/// Entries looked at together.
const LOOK: usize = 16;

/// Whether a live block starts at an entry with this tag.
#[inline(always)]
pub(crate) fn is_live(tag: u8) -> bool {
    is_narrow(tag) || tag == WIDE
}

/// Whether a block that may be handed out starts at an entry with this tag.
#[inline(always)]
pub(crate) fn is_free(tag: u8) -> bool {
    tag as i8 >= FREE as i8
}

/// A live tag whose slack stands in the tag itself.
#[inline(always)]
pub(crate) fn is_narrow(tag: u8) -> bool {
    (tag as i8) < 0
}

#[cfg(all(test, not(loom), not(feature = "bare")))]
mod tests {
    use super::*;

    #[test]
    fn every_slack_up_to_a_page_or_a_slab_block_is_read_back() {
        let entries: [Entry; 8] = std::array::from_fn(|_| Entry(AtomicU8::new(0)));
        for slack in 0..40_000 {
            // SAFETY: entry 0 has three entries behind it.
            unsafe {
                entries[0].set_live(slack);
                assert_eq!(entries[0].slack(entries[0].get()), Some(slack));
            }
            assert!(is_live(entries[0].get()));
            assert!((1..4).all(|n| !is_live(entries[n].get())));
        }
    }

    #[test]
    fn no_state_reads_as_live() {
        for tag in [0, FREE, FRESH, PENDING, CONFINED, DIGIT, DIGIT + 0x3F] {
            assert!(!is_live(tag));
        }
    }
}
