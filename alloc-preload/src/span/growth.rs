//! Where units come from when none are free: the other zone's, or new ones at the end of the window, with huge pages behind
//! them where that costs no memory.

use super::zone::{self, Zone, chunk_of};
use super::{Kind, Spans, run, share_of, skip_to};
use crate::options::Huge;
use crate::os;
use crate::resident;
use crate::stats::globals;
use crate::window::huge::{self, CHUNK_PAGES};
use crate::window::{self, CHUNK, CHUNK_UNITS, UNIT_PAGES, UnitIndex, WINDOW, owner};
use core::sync::atomic::Ordering;
use shm_layout::class::UNIT;

/// Huge pages are asked for once this much is in use. So the one of each zone that is filled in part at the end costs a 48th
/// on average.
const HUGE_FROM: usize = (48 << 20) / UNIT;

impl Spans {
    /// Adds at least `units` free units in a row to the zone.
    pub(super) fn grow(&mut self, units: usize, zone: Zone, wish: Huge) -> Option<()> {
        if WINDOW.is_chunked() {
            return self.occupy(units, wish);
        }
        let chunks = units.div_ceil(CHUNK_UNITS);
        if self.convert(chunks, zone).is_some() {
            return Some(());
        }
        let wanted = self.wants_huge(wish, zone);
        let grown = window::grow(chunks).ok()?;
        self.count_mapped(grown.units);
        globals().metadata.add_shared((grown.units * window::RECORDS) as u64);
        let huge = if wanted { huge_chunks(grown.first, chunks, wish) } else { 0 };
        for (chunk, first) in (grown.first.0..).step_by(CHUNK_UNITS).take(chunks).enumerate() {
            zone::assign(first, zone);
            chunk_of(first).huge.store(chunk < huge, Ordering::Relaxed);
        }
        // At once: chunk by chunk, each would leave a record behind, on a page of the table of its own.
        self.join(grown.first.0, grown.units, Kind::Clean, 0, 0);
        Some(())
    }

    /// Whether huge pages are to be asked for behind what is added to this zone.
    pub(super) fn wants_huge(&self, wish: Huge, zone: Zone) -> bool {
        match wish {
            Huge::Always => true,
            Huge::Never => false,
            _ => self.is_dense(zone) && huge::are_worth_it() && (zone == Zone::Fine || is_touched()),
        }
    }

    /// Counts units that have become clean ones.
    pub(super) fn count_mapped(&self, units: usize) {
        globals().committed.add_shared((units * UNIT) as u64);
        globals().retained.add_shared((units * UNIT) as u64);
    }

    pub(super) fn has_clean(&self, units: usize) -> bool {
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
        for (from, at, units) in
            [(start, 0, before), (first, before, units), (end, before + units, length - before - units)]
        {
            let share = share_of(touched, length, at + units) - share_of(touched, length, at);
            if units > 0 {
                self.join(from, units, kind, share, stamp);
            }
        }
        Some(())
    }

    /// Whether nearly all that new units of the zone are taken for has memory behind it soon: of the slabs of the fine zone
    /// most have been carved to the end; of all that is in use, nearly all is in blocks.
    pub(super) fn is_dense(&self, zone: Zone) -> bool {
        if zone == Zone::Fine {
            let filled = huge::filled_pages();
            return filled >= HUGE_FROM * UNIT_PAGES && filled * 8 >= zone::fine_chunks() * CHUNK_PAGES * 7;
        }
        self.used_units >= HUGE_FROM
            && self.used_units * 4 >= WINDOW.end().0 as usize * 3
            && globals().flushed_allocated.get() >= (self.used_units * UNIT / 8 * 7) as u64
    }
}

/// Pages looked at to tell whether what is in use has memory behind it.
const SAMPLES: u32 = 32;

/// Whether of the large blocks three quarters have: some programs ask for much that they never touch. The pages lie apart by the
/// golden section of the whole, so that they are spread evenly, and blocks of equal sizes are not met in the same place each time.
/// Taken for granted where the kernel may not be asked or does not tell.
fn is_touched() -> bool {
    const GOLDEN: u32 = 0x9E37_79B9;
    if !resident::may_ask() {
        return true;
    }
    let end = u64::from(WINDOW.end().0);
    let (mut asked, mut there) = (0, 0);
    for sample in 0..SAMPLES {
        let unit = UnitIndex(((end * u64::from(sample.wrapping_mul(GOLDEN))) >> 32) as u32);
        // SAFETY: below the committed end.
        let is_large = unsafe { WINDOW.unit(unit) }.owner() == owner::SPAN;
        let mut page = [0];
        // Not always the first: of every block that one is touched.
        let at = WINDOW.address(unit).wrapping_add(sample as usize % UNIT_PAGES * os::PAGE);
        if is_large && os::residency(at, &mut page).is_ok() {
            asked += 1;
            there += u32::from(page[0] & 1);
        }
    }
    there * 4 >= asked * 3
}

/// Asks for huge pages behind chunks just committed, and touches the first of them: it tells whether the others are worth
/// it. How many have been asked for.
fn huge_chunks(first: UnitIndex, chunks: usize, wish: Huge) -> usize {
    let address = WINDOW.address(first);
    // SAFETY: the chunks are ours. They read as zero, and go on to.
    unsafe {
        let _ = os::advise_huge(address, CHUNK);
        huge::bring(|| address.write_volatile(0));
        if chunks == 1 || !(wish == Huge::Always || huge::are_worth_it()) {
            return 1;
        }
        let _ = os::advise_huge(address.add(CHUNK), (chunks - 1) * CHUNK);
    }
    chunks
}
