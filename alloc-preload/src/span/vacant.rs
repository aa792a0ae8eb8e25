//! Chunked mode: wholly free chunks go back to the system. A program under a limit on its address space needs that for
//! other things than blocks, like threads' stacks.

use super::purge::CACHE;
use super::{Kind, PURGED_AT_ONCE, Spans, mark, run};
use crate::os;
use crate::stats::globals;
use crate::window::{self, CHUNK, CHUNK_UNITS, UnitIndex, WINDOW, owner};
use shm_layout::class::UNIT;

impl Spans {
    /// Gives back wholly free chunks, the highest first, while more is free than a half of what is in use, and some MiB.
    pub(super) fn vacate(&mut self) {
        if !WINDOW.is_chunked() || self.mapped_free() <= self.enough_mapped().max(self.vacate_from) {
            return;
        }
        // What is free may be in pieces only because some are dirty and some clean.
        while self.purge_older(u64::MAX, PURGED_AT_ONCE) {}
        let mut chunk = WINDOW.end().0 / CHUNK_UNITS as u32;
        while chunk > 0 && self.mapped_free() > self.enough_mapped() {
            chunk -= 1;
            self.vacate_chunk(chunk * CHUNK_UNITS as u32);
        }
        // The free units that lie scattered are not looked through again before there are more of them.
        self.vacate_from = self.mapped_free() + CACHE;
    }

    /// Bytes that are mapped and free.
    fn mapped_free(&self) -> u64 {
        globals().committed.get().saturating_sub((self.used_units * UNIT) as u64)
    }

    fn enough_mapped(&self) -> u64 {
        CACHE.max((self.used_units / 2 * UNIT) as u64)
    }

    /// Gives back the chunk at `first` if it is free and clean.
    fn vacate_chunk(&mut self, first: u32) {
        let end = first + CHUNK_UNITS as u32;
        // SAFETY: below the committed end.
        let is_clean = |unit| unsafe { WINDOW.unit(UnitIndex(unit)) }.state() == owner::CLEAN;
        if !(first..end).all(is_clean) {
            return;
        }
        let Some(start) = self.clean_run_around(first) else { return };
        let run_end = start + run(start).units.get();
        self.unlink(start);
        if start < first {
            self.link(start, (first - start) as usize, Kind::Clean, 0, 0);
        }
        if end < run_end {
            self.link(end, (run_end - end) as usize, Kind::Clean, 0, 0);
        }
        mark(first, CHUNK_UNITS, Kind::Used);
        // SAFETY: free units, with a clean ledger. Guards in them go with them.
        if unsafe { window::unmap(UnitIndex(first)) }.is_err() {
            self.join(first, CHUNK_UNITS, Kind::Clean, 0, 0);
            return;
        }
        self.vacant += 1;
        globals().retained.sub_shared(CHUNK as u64);
        globals().committed.sub_shared(CHUNK as u64);
    }

    /// The clean run in which the whole chunk at `first` lies.
    fn clean_run_around(&self, first: u32) -> Option<u32> {
        let whole = |start: u32| {
            let record = run(start);
            record.kind.get() == Kind::Clean && start + record.units.get() >= first + CHUNK_UNITS as u32
        };
        self.zones.iter().flat_map(|zone| zone.clean.runs()).find(|&start| start <= first && whole(start))
    }

    /// Takes `chunks` vacant chunks in a row again; `None` if there are none, or no address space.
    pub(super) fn occupy(&mut self, chunks: usize) -> Option<()> {
        let (mut chunk, end, mut row) = (0, WINDOW.end().0 / CHUNK_UNITS as u32, 0);
        while chunk < end && row < chunks {
            // SAFETY: below the committed end.
            let holder = unsafe { WINDOW.unit(UnitIndex(chunk * CHUNK_UNITS as u32)) }.owner();
            row = if holder == owner::VACANT { row + 1 } else { 0 };
            chunk += 1;
        }
        if row < chunks {
            return None;
        }
        for chunk in chunk - chunks as u32..chunk {
            let first = chunk * CHUNK_UNITS as u32;
            let result = window::remap(UnitIndex(first));
            if matches!(result, Ok(()) | Err(os::Errno(libc::EEXIST))) {
                self.vacant -= 1;
            }
            result.ok()?;
            run(first).huge.set(false);
            globals().retained.add_shared(CHUNK as u64);
            globals().committed.add_shared(CHUNK as u64);
            self.join(first, CHUNK_UNITS, Kind::Clean, 0, 0);
        }
        Some(())
    }
}
