//! The search for a slab's free blocks, by their entries: from some place of it upward or downward, a row at a time.

use super::{AREA, AREAS, FREE, areas, is_free};
use crate::window::WINDOW;
use core::arch::asm;
use core::arch::x86_64::{
    __m128i, _mm_cmpgt_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8, _mm_unpackhi_epi8, _mm_unpackhi_epi16,
    _mm_unpacklo_epi8, _mm_unpacklo_epi16,
};
use shm_layout::class::GRANULE;

/// Granules of a *row*: sixteen entries in each area, looked at together.
const ROW: usize = 16 * AREAS;

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
        if self.step >= ROW {
            // SAFETY: the caller's.
            while from < end && each(unsafe { self.alone(from) }) {
                from += self.step;
            }
            return;
        }
        let areas = areas(self.step);
        let apart = AREAS / areas;
        while from < end {
            let row = from - from % ROW;
            // SAFETY: the caller's; a slab's first granule is that of a row.
            let free = unsafe { free_in_row(self.first + row, areas) } & between(from - row, end - row, apart);
            if !each(Row { start: opaque(self.address(row)), free, apart: apart * GRANULE }) {
                return;
            }
            from = row + ROW;
        }
    }

    /// As [`free_from`](Self::free_from), those below `end`, the highest rows first.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(crate) unsafe fn free_below(self, mut end: usize, mut each: impl FnMut(Row) -> bool) {
        if self.step >= ROW {
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
            let row = (end - 1) - (end - 1) % ROW;
            // SAFETY: as above.
            let free = unsafe { free_in_row(self.first + row, areas) } & between(0, end - row, apart);
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
    let end = if end < ROW { end } else { ROW };
    u64::MAX << (from / apart) & u64::MAX >> (63 - (end - 1) / apart)
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
/// addresses.
///
/// # Safety
/// The row belongs to the caller's slab, and its ledger is committed.
#[inline(always)]
unsafe fn free_in_row(row: usize, areas: usize) -> u64 {
    // SAFETY: sixteen bytes of each area, on a boundary of as many. What they say of the caller's resting blocks nobody else
    // changes, and what others write to other entries does not call a block free. The instructions are in every x86-64.
    unsafe {
        let entries = WINDOW.entry(row);
        let area = |n: usize| _mm_load_si128(core::ptr::from_ref(entries.behind(n * AREA)).cast::<__m128i>());
        let bits = |entries: __m128i| {
            u64::from(_mm_movemask_epi8(_mm_cmpgt_epi8(entries, _mm_set1_epi8(FREE as i8 - 1))).cast_unsigned())
        };
        if areas == 1 {
            return bits(area(0));
        }
        let (zero, two) = (area(0), area(2));
        if areas == 2 {
            return bits(_mm_unpacklo_epi8(zero, two)) | bits(_mm_unpackhi_epi8(zero, two)) << 16;
        }
        let (one, three) = (area(1), area(3));
        let quarter = |evens: __m128i, odds: __m128i| {
            bits(_mm_unpacklo_epi16(evens, odds)) | bits(_mm_unpackhi_epi16(evens, odds)) << 16
        };
        let low = quarter(_mm_unpacklo_epi8(zero, one), _mm_unpacklo_epi8(two, three));
        low | quarter(_mm_unpackhi_epi8(zero, one), _mm_unpackhi_epi8(two, three)) << 32
    }
}

#[cfg(all(test, not(loom), not(feature = "bare")))]
mod tests {
    use super::*;

    #[test]
    fn what_lies_behind_the_carved_blocks_is_not_looked_at() {
        for apart in [1, 2, 4] {
            for (from, end) in (0..ROW).flat_map(|from| (from + 1..2 * ROW).map(move |end| (from, end))) {
                let from = from / apart * apart;
                let bits = between(from, end, apart);
                for bit in 0..ROW / apart {
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
