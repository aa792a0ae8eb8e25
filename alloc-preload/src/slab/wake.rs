//! Waking: how resting blocks get into a bin.

use super::Slab;
use crate::bin::Bin;
use crate::hint::prefetch;
use crate::ledger::{self, Grid, Row};
use crate::slots::Slot;
use crate::window::{UNIT_GRANULES, WINDOW};
use core::ops::Range;
use shm_layout::class::GRANULE;

/// Blocks on their way into the slots of a bin.
struct Found {
    /// Slots that are still to be filled, by their numbers.
    left: Range<u32>,
    /// The lowest slot.
    slots: *const Slot,
    /// Address of the block that was found last.
    last: usize,
}

impl Found {
    /// Fills the lowest slots with the highest blocks of a row, the lowest of these on top; whether there are more.
    ///
    /// # Safety
    /// The slots are there, and free blocks of the bin's class in the row.
    #[inline(always)]
    unsafe fn low(&mut self, mut row: Row) -> bool {
        let mut found = row.free.count_ones();
        while found > self.left.len() as u32 {
            (row, found) = (row.above(), found - 1);
        }
        if found > 0 {
            self.left.start += found;
            self.last = row.lowest();
            let mut slot = self.left.start;
            while row.free != 0 {
                slot -= 1;
                // SAFETY: the caller's.
                unsafe { self.fill(slot, row.lowest()) };
                row = row.above();
            }
        }
        !self.left.is_empty()
    }

    /// Fills the highest slots with the lowest blocks of a row, the lowest on top; whether there are more.
    ///
    /// # Safety
    /// As in `low`.
    #[inline(always)]
    unsafe fn high(&mut self, mut row: Row) -> bool {
        while row.free != 0 && !self.left.is_empty() {
            self.left.end -= 1;
            self.last = row.lowest();
            // SAFETY: the caller's.
            unsafe { self.fill(self.left.end, self.last) };
            row = row.above();
        }
        !self.left.is_empty()
    }

    /// Has the line fetched that the block begins with, which nothing of ours touches: it has not been in use for a while.
    #[inline(always)]
    unsafe fn fill(&self, slot: u32, block: usize) {
        ledger::wake(block as *mut u8);
        prefetch(block as *const u8);
        // SAFETY: the caller's.
        unsafe { (*self.slots.add(slot as usize)).set(block as *mut u8) };
    }
}

impl Slab {
    /// Moves resting blocks to the bin, those next to where the last one was laid to rest: on the side where its neighbour
    /// rests, too, and then on the other. Of either side the lowest address comes on top. False if there are none.
    ///
    /// # Safety
    /// The caller owns the slab and the bin, which is empty.
    // Within its caller the compiler would keep on the stack what it counts with.
    #[inline(never)]
    pub(crate) unsafe fn wake(&self, bin: &Bin) -> bool {
        let wanted = self.resting().min(bin.most());
        if wanted == 0 {
            return false;
        }
        let first = self.unit().0 as usize * UNIT_GRANULES;
        let base = WINDOW.base() + first * GRANULE;
        let grid = Grid { first, base, step: self.block_size.get() as usize / GRANULE };
        let end = self.carved.get() as usize * grid.step;
        let from = self.recent.get().saturating_sub(base) / GRANULE;
        let from = if from < end { from } else { 0 };
        // SAFETY: the block below, if there is one; the slab's part of the ledger is committed.
        let descend = from >= grid.step && unsafe { grid.is_free_at(from - grid.step) };
        let pivot = if descend { from + grid.step } else { from };
        let mut found = Found { left: 0..wanted, slots: bin.lowest_slot(), last: 0 };
        for below in [descend, !descend] {
            if found.left.is_empty() {
                break;
            }
            // SAFETY: the slab's part of the ledger is committed; there are as many slots.
            unsafe {
                if below {
                    grid.free_below(pivot, |row| found.low(row));
                } else {
                    grid.free_from(pivot, end, |row| found.high(row));
                }
            }
        }
        self.recent.set(found.last);
        if !found.left.is_empty() {
            // Somebody has written to the ledger; what it does not know is lost, and what was found with it.
            self.used.set(self.carved.get());
            return false;
        }
        // SAFETY: just filled.
        unsafe { bin.set_count(wanted) };
        self.used.set(self.used.get() + wanted);
        true
    }
}

#[cfg(all(test, not(loom), not(feature = "bare")))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const APART: usize = 48;

    proptest! {
        #[test]
        fn the_nearest_free_blocks_stand_in_the_slots_and_the_lowest_on_top(
            rows in prop::collection::vec(any::<u16>(), 1..8), wanted in 1_u32..100,
        ) {
            let row = |at: usize, bits: u16| Row { start: 4096 + at * 16 * APART, free: bits.into(), apart: APART };
            let rows: Vec<Row> = (0..).zip(&rows).map(|(at, &bits)| row(at, bits)).collect();
            let mut blocks: Vec<usize> = Vec::new();
            for row in &rows {
                blocks.extend((0..16).filter(|bit| row.free >> bit & 1 != 0).map(|bit| row.start + bit * APART));
            }
            let count = (wanted as usize).min(blocks.len());
            for below in [false, true] {
                let slots: Vec<Slot> = (0..wanted).map(|_| Slot::default()).collect();
                let mut found = Found { left: 0..wanted, slots: slots.as_ptr(), last: 0 };
                // SAFETY: there are as many slots, and nobody uses what they hold.
                let mut fill = |row: Row| unsafe { if below { found.low(row) } else { found.high(row) } };
                let more = if below { rows.iter().rev().all(|&row| fill(row)) } else { rows.iter().all(|&row| fill(row)) };
                prop_assert_eq!(more, count < wanted as usize);
                let near: Vec<usize> = match below {
                    false => blocks.iter().take(count).copied().collect(),
                    true => blocks.iter().rev().take(count).copied().collect(),
                };
                let mut stand: Vec<usize> = slots.iter().map(|slot| slot.get() as usize).filter(|&at| at != 0).collect();
                if !below {
                    stand.reverse();
                }
                prop_assert_eq!(&stand, &near);
                prop_assert_eq!(found.last, near.last().copied().unwrap_or(0));
            }
        }
    }
}
