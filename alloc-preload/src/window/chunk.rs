//! Chunks and what is written down of each.

use super::{CHUNK_UNITS, UnitIndex};
use crate::ledger;
use crate::os;
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};

/// What is written down of a chunk.
#[repr(C)]
pub(crate) struct Chunk {
    /// Pages of slabs that have been carved to the end (see `huge`).
    pub(super) filled: AtomicU16,
    /// Whether it belongs to the fine zone (see `span::zone`). Written under the central lock.
    pub(crate) fine: AtomicBool,
    /// Whether huge pages were asked for from the start, and still are. Taken back by whoever thins a slab in it.
    pub(crate) huge: AtomicBool,
    /// Pages of the ledger that have been written since they were last given back: of every [`SHARERS`] units a bit for each
    /// area.
    ledger: AtomicU32,
}

impl Chunk {
    /// Notes that blocks will begin in so many areas of a unit: how many pages of the ledger that adds.
    pub(super) fn write_ledger(&self, unit: UnitIndex, areas: usize) -> u32 {
        let bits = ledger::area_bits(areas) << Self::shift(unit);
        if self.ledger.load(Ordering::Relaxed) & bits == bits {
            return 0;
        }
        (bits & !self.ledger.fetch_or(bits, Ordering::Relaxed)).count_ones()
    }

    /// In which areas pages of the ledger have been written that the unit shares: a bit for each.
    pub(crate) fn written(&self, unit: UnitIndex) -> u32 {
        self.ledger.load(Ordering::Relaxed) >> Self::shift(unit) & ledger::area_bits(ledger::AREAS)
    }

    /// The page of this area that the unit shares has been given back.
    pub(crate) fn forget_ledger(&self, unit: UnitIndex, area: usize) {
        self.ledger.fetch_and(!(1 << area << Self::shift(unit)), Ordering::Relaxed);
    }

    /// Pages of the ledger that have been written.
    pub(super) fn ledger_pages(&self) -> u32 {
        self.ledger.load(Ordering::Relaxed).count_ones()
    }

    fn shift(unit: UnitIndex) -> usize {
        unit.0 as usize % CHUNK_UNITS / SHARERS * ledger::AREAS
    }
}

/// Units whose parts of an area of the ledger fill a page.
pub(crate) const SHARERS: usize = os::PAGE / ledger::PART;

const _: () = assert!(CHUNK_UNITS / SHARERS * ledger::AREAS == u32::BITS as usize);
