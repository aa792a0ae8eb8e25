//! The search for a slab's free blocks, by their entries: from some place of it upward or downward, a row at a time.

use super::{AREA, AREAS, Entry, FREE, areas, is_free};
use crate::window::WINDOW;
use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_cmpgt_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_unpackhi_epi8, _mm_unpackhi_epi16,
    _mm_unpacklo_epi8, _mm_unpacklo_epi16,
};
use shm_layout::class::GRANULE;

/// Entries of a *row*, which are looked at together: as many granules, or two or four times as many where the blocks begin in two
/// areas, or in one.
const ROW: usize = 64;
/// Blocks that are so many granules apart do not share a row.
const ALONE: usize = ROW * AREAS;

/// Where a slab's blocks begin: its first granule and that one's address, and how many granules they are apart.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) first: usize,
    pub(crate) base: usize,
    pub(crate) step: usize,
}

/// Free blocks that lie together: one for each bit, so many bytes apart as the bits stand for, from an address on.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) start: usize,
    pub(crate) free: u64,
    pub(crate) apart: usize,
}

impl Row {
    /// Address of the lowest of the blocks.
    #[inline(always)]
    pub(crate) fn lowest(self) -> usize {
        self.start + self.free.trailing_zeros() as usize * self.apart
    }

    /// The row without its lowest block.
    #[inline(always)]
    pub(crate) fn above(self) -> Self {
        Self { free: self.free & self.free.wrapping_sub(1), ..self }
    }
}

impl Grid {
    /// Whether a free block begins so many granules behind the first.
    ///
    /// # Safety
    /// One begins there, and its ledger is committed.
    pub(crate) unsafe fn is_free_at(self, granule: usize) -> bool {
        // SAFETY: the caller's.
        is_free(unsafe { WINDOW.entry(self.first + granule) }.get())
    }

    fn address(self, granule: usize) -> usize {
        self.base + granule * GRANULE
    }

    /// The block that begins there, if it is free.
    ///
    /// # Safety
    /// As in `is_free_at`.
    #[inline(always)]
    unsafe fn alone(self, granule: usize) -> Row {
        // SAFETY: the caller's.
        Row { start: self.address(granule), free: u64::from(unsafe { self.is_free_at(granule) }), apart: 0 }
    }

    /// Shows `each` the free blocks from this granule on up to `end`, the lowest rows first, until it wants no more. Granules
    /// are counted from the slab's first. From `end` on the ledger may call blocks free that are not: a thread that a fork left
    /// behind had begun to carve them.
    ///
    /// # Safety
    /// The slab is the caller's, and its ledger is committed.
    #[inline(always)]
    pub(crate) unsafe fn free_from(self, mut from: usize, end: usize, mut each: impl FnMut(Row) -> bool) {
        if self.step >= ALONE {
            // SAFETY: the caller's.
            while from < end && each(unsafe { self.alone(from) }) {
                from += self.step;
            }
            return;
        }
        let areas = areas(self.step);
        let apart = AREAS / areas;
        while from < end {
            let row = from & !(ROW * apart - 1);
            // SAFETY: the caller's; a slab's first granule is that of a row.
            let free =
                unsafe { free_in_row(WINDOW.entry(self.first + row), areas) } & between(from - row, end - row, apart);
            if !each(Row { start: opaque(self.address(row)), free, apart: apart * GRANULE }) {
                return;
            }
            from = row + ROW * apart;
        }
    }

    /// As [`free_from`](Self::free_from), those below `end`, the highest rows first.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(crate) unsafe fn free_below(self, mut end: usize, mut each: impl FnMut(Row) -> bool) {
        if self.step >= ALONE {
            while end > 0 {
                end -= self.step;
                // SAFETY: the caller's.
                if !each(unsafe { self.alone(end) }) {
                    return;
                }
            }
            return;
        }
        let areas = areas(self.step);
        let apart = AREAS / areas;
        while end > 0 {
            let row = (end - 1) & !(ROW * apart - 1);
            // SAFETY: as above.
            let free = unsafe { free_in_row(WINDOW.entry(self.first + row), areas) } & between(0, end - row, apart);
            if !each(Row { start: opaque(self.address(row)), free, apart: apart * GRANULE }) {
                return;
            }
            end = row;
        }
    }
}

/// The bits of a row whose granules, so far `apart`, lie from `from` up to `end`, which may lie behind the row.
#[inline(always)]
const fn between(from: usize, end: usize, apart: usize) -> u64 {
    let last = (end - 1) / apart;
    u64::MAX << (from / apart) & u64::MAX >> (ROW - 1 - if last < ROW { last } else { ROW - 1 })
}

/// The same number, of which the compiler does not know how it was made: it would take it apart and add up the parts for
/// every block anew.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: no instruction.
    unsafe { asm!("/* {} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// Which granules of a row, of those that lie in so many areas, have free blocks: a bit for each in the order of their
/// addresses. Its first entry is that of a granule in the first area.
///
/// # Safety
/// The row belongs to the caller's slab, and its ledger is committed.
#[inline(always)]
unsafe fn free_in_row(first: &Entry, areas: usize) -> u64 {
    // SAFETY: sixty-four bytes in all, on a boundary of as many of each area. What they say of the caller's resting blocks nobody
    // else changes, and what others write to other entries does not call a block free. The instructions are in every x86-64.
    unsafe {
        let load = |area: usize, n: usize| {
            let entries = first.behind(area * AREA + n * size_of::<__m128i>());
            _mm_load_si128(core::ptr::from_ref(entries).cast::<__m128i>())
        };
        let bits = |n: usize, entries: __m128i| {
            let free = _mm_movemask_epi8(_mm_cmpgt_epi8(entries, _mm_set1_epi8(FREE as i8 - 1)));
            u64::from(free.cast_unsigned()) << (n * size_of::<__m128i>())
        };
        let half = |n: usize, zero: __m128i, two: __m128i| {
            bits(n, _mm_unpacklo_epi8(zero, two)) | bits(n + 1, _mm_unpackhi_epi8(zero, two))
        };
        if areas == 1 {
            return bits(0, load(0, 0)) | bits(1, load(0, 1)) | bits(2, load(0, 2)) | bits(3, load(0, 3));
        }
        if areas == 2 {
            return half(0, load(0, 0), load(2, 0)) | half(2, load(0, 1), load(2, 1));
        }
        let quarters = |n: usize, evens: __m128i, odds: __m128i| {
            bits(n, _mm_unpacklo_epi16(evens, odds)) | bits(n + 1, _mm_unpackhi_epi16(evens, odds))
        };
        let (zero, one, two, three) = (load(0, 0), load(1, 0), load(2, 0), load(3, 0));
        quarters(0, _mm_unpacklo_epi8(zero, one), _mm_unpacklo_epi8(two, three))
            | quarters(2, _mm_unpackhi_epi8(zero, one), _mm_unpackhi_epi8(two, three))
    }
}

#[cfg(all(test, not(loom), not(feature = "bare")))]
mod tests {
    use super::*;
    use crate::ledger::{BLANK, CONFINED, FRESH, GROUP, NARROW, PENDING, WIDE, place};
    use std::boxed::Box;

    #[repr(align(64))]
    struct Group([Entry; GROUP]);

    #[test]
    fn a_row_has_a_bit_for_every_free_block_and_none_for_any_other_entry() {
        // SAFETY: entries may be zero.
        let group: Box<Group> = unsafe { Box::new_zeroed().assume_init() };
        let tags = [0, 0x3F, WIDE, PENDING, CONFINED, FREE - 1, FREE, FRESH, BLANK, NARROW, 0xFF];
        for granule in 0..GROUP {
            group.0[place(granule)].note(tags[granule * 7 % 31 % tags.len()]);
        }
        for areas in [1, 2, 4] {
            let apart = AREAS / areas;
            for row in (0..GROUP).step_by(ROW * apart) {
                // SAFETY: all of the row lies in the group.
                let free = unsafe { free_in_row(&group.0[place(row)], areas) };
                for bit in 0..ROW {
                    let tag = group.0[place(row + bit * apart)].get();
                    let is_free = [FREE, FRESH, BLANK].contains(&tag);
                    assert_eq!(free >> bit & 1 != 0, is_free, "{tag} at {row} + {bit} * {apart}");
                }
            }
        }
    }

    #[test]
    fn what_lies_behind_the_carved_blocks_is_not_looked_at() {
        for apart in [1, 2, 4] {
            let granules = ROW * apart;
            for (from, end) in (0..granules).flat_map(|from| (from + 1..2 * granules).map(move |end| (from, end))) {
                let from = from / apart * apart;
                let bits = between(from, end, apart);
                for bit in 0..ROW {
                    assert_eq!(
                        bits >> bit & 1 != 0,
                        (from..end).contains(&(bit * apart)),
                        "{from}..{end} by {apart}: {bit}"
                    );
                }
            }
        }
    }
}
