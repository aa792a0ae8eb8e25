//! Where units come from when none are free: the other zone's, or new ones at the end of the window, with huge pages behind
//! them where that costs no memory.

use super::zone::{self, Zone};
use super::{Kind, Spans, mark, run, skip_to};
use crate::options::Huge;
use crate::os;
use crate::stats::globals;
use crate::window::huge::{self, CHUNK_PAGES};
use crate::window::{self, CHUNK, CHUNK_UNITS, UNIT_PAGES, UnitIndex, WINDOW, owner};
use shm_layout::class::UNIT;

/// Huge pages are asked for once this much is in use. So the one that is filled in part at the end costs a sixteenth on
/// average.
const HUGE_FROM: usize = (16 << 20) / UNIT;

impl Spans {
    /// Adds at least `units` free units in a row to the zone.
    pub(super) fn grow(&mut self, units: usize, zone: Zone, wish: Huge) -> Option<()> {
        let chunks = units.div_ceil(CHUNK_UNITS);
        if self.vacant >= chunks && self.occupy(chunks).is_some() && self.has_clean(units) {
            return Some(());
        }
        if self.convert(chunks, zone).is_some() {
            return Some(());
        }
        // A hole may lie in what we get; each try starts behind the last one.
        for _ in 0..64 {
            let is_dense = self.is_dense(zone);
            // A whole chunk may be refused where its parts were wanted only to round up.
            let grown = window::grow(chunks).ok()?;
            globals().committed.add_shared(((grown.units - grown.holes * CHUNK_UNITS) * UNIT) as u64);
            globals().metadata.add_shared((grown.units * window::RECORDS) as u64);
            let wanted = grown.holes == 0 && (wish == Huge::Always || wish == Huge::Auto && is_dense);
            if wanted {
                // SAFETY: chunks just committed.
                let _ = unsafe { os::advise_huge(WINDOW.address(grown.first), grown.units * UNIT) };
            }
            for chunk in 0..grown.units / CHUNK_UNITS {
                let first = grown.first.0 + (chunk * CHUNK_UNITS) as u32;
                zone::assign(first, zone);
                run(first).huge.set(wanted);
                // SAFETY: committed by `grow`.
                if unsafe { WINDOW.unit(UnitIndex(first)) }.owner() == owner::HOLE {
                    mark(first, CHUNK_UNITS, Kind::Used);
                } else {
                    globals().retained.add_shared(CHUNK as u64);
                    self.join(first, CHUNK_UNITS, Kind::Clean, 0, 0);
                }
            }
            if self.has_clean(units) {
                return Some(());
            }
        }
        None
    }

    fn has_clean(&self, units: usize) -> bool {
        self.zones.iter().any(|zone| zone.clean.find(units).is_some())
    }

    /// Moves `chunks` free chunks in a row to this zone from the other one.
    fn convert(&mut self, chunks: usize, zone: Zone) -> Option<()> {
        let (units, other) = (chunks * CHUNK_UNITS, zone.other());
        let (start, kind) = [Kind::Dirty, Kind::Clean]
            .into_iter()
            .find_map(|kind| Some((self.bins(kind, other).find_aligned(units, CHUNK_UNITS)?, kind)))?;
        let record = run(start);
        let (length, touched, stamp) = (record.units.get() as usize, record.touched.get(), record.stamp.get());
        self.unlink(start);
        let before = skip_to(start, CHUNK_UNITS);
        let first = start + before as u32;
        let end = first + units as u32;
        for chunk in (first..end).step_by(CHUNK_UNITS) {
            zone::assign(chunk, zone);
        }
        let mut left = touched;
        for (from, units) in [(start, before), (first, units), (end, length - before - units)] {
            let share = left.min((units * UNIT) as u64);
            left -= share;
            if units > 0 {
                self.join(from, units, kind, share, stamp);
            }
        }
        Some(())
    }

    /// Whether nearly all that new units of the zone are taken for has memory behind it soon: of the slabs of the fine zone
    /// most have been carved to the end; of all that is in use, nearly all is in blocks.
    fn is_dense(&self, zone: Zone) -> bool {
        if zone == Zone::Fine {
            let carved = huge::carved_pages();
            return carved >= HUGE_FROM * UNIT_PAGES && carved * 8 >= zone::fine_chunks() * CHUNK_PAGES * 7;
        }
        self.used_units >= HUGE_FROM
            && self.used_units * 4 >= WINDOW.end().0 as usize * 3
            && globals().flushed_allocated.get() >= (self.used_units * UNIT / 8 * 7) as u64
    }
}
