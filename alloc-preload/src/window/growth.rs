//! How the window grows: chunk by chunk, with the tables beside it.

use super::{CHUNK, CHUNK_UNITS, UNIT_GRANULES, Unit, UnitIndex, WINDOW, owner};
use crate::os;
use crate::slab::Slab;
use crate::span::Run;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use shm_layout::class::UNIT;

/// Records become accessible for this many units at a time.
const RECORD_STEP: usize = 1024;

/// Commits the next `chunks` chunks; their number of units, or an error with nothing changed but records made
/// accessible. In chunked mode a chunk that is occupied becomes a hole, and counts. Under the central lock.
pub(crate) fn grow(chunks: usize) -> os::Result<Grown> {
    let window = &WINDOW;
    let end = window.end();
    let units = chunks * CHUNK_UNITS;
    let new_end = end.0 as usize + units;
    if new_end * UNIT > window.bytes.load(Ordering::Relaxed) {
        return Err(os::Errno(libc::ENOMEM));
    }
    let chunked = window.is_chunked();
    if !chunked || window.released.load(Ordering::Relaxed) != 0 {
        grow_records(new_end + 1)?;
        grow_ledger(new_end)?;
    }
    if !chunked {
        // SAFETY: the window is our reservation.
        unsafe { os::commit(window.address(end), chunks * CHUNK) }?;
    }
    let mut holes = 0;
    if chunked {
        for chunk in 0..chunks {
            let first = UnitIndex(end.0 + (chunk * CHUNK_UNITS) as u32);
            match os::map_at(window.address(first), CHUNK) {
                // A hole of an earlier attempt that failed may have been vacated.
                Ok(()) => mark(first, owner::CLEAN),
                Err(os::Errno(libc::EEXIST)) => {
                    holes += 1;
                    mark(first, owner::HOLE);
                }
                Err(error) => {
                    for earlier in 0..chunk {
                        let first = UnitIndex(end.0 + (earlier * CHUNK_UNITS) as u32);
                        // SAFETY: mapped a moment ago, unused.
                        unsafe {
                            if window.unit(first).owner() != owner::HOLE {
                                os::unmap(window.address(first), CHUNK)?;
                            }
                        }
                    }
                    return Err(error);
                }
            }
        }
    }
    window.granules.store(new_end * UNIT_GRANULES, Ordering::Release);
    Ok(Grown { first: end, units, holes })
}

/// Gives a chunk back to the system. In chunked mode, under the central lock.
///
/// # Safety
/// Its units are free, and their ledger is clean.
pub(crate) unsafe fn unmap(first: UnitIndex) -> os::Result<()> {
    // SAFETY: the caller's.
    unsafe { os::unmap(WINDOW.address(first), CHUNK) }?;
    mark(first, owner::VACANT);
    Ok(())
}

/// Takes a vacant chunk again. One that somebody else has mapped meanwhile is a hole from now on.
pub(crate) fn remap(first: UnitIndex) -> os::Result<()> {
    let result = os::map_at(WINDOW.address(first), CHUNK);
    match result {
        Ok(()) => mark(first, owner::CLEAN),
        Err(os::Errno(libc::EEXIST)) => mark(first, owner::HOLE),
        Err(_) => {}
    }
    result
}

/// Writes the owner of a chunk that is about to be committed, or given back.
fn mark(first: UnitIndex, owner: usize) {
    for unit in first.0..first.0 + CHUNK_UNITS as u32 {
        // SAFETY: in chunked mode the records have been made accessible just now, or were from the start.
        unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner);
    }
}

/// What [`grow`] added.
pub(crate) struct Grown {
    pub(crate) first: UnitIndex,
    pub(crate) units: usize,
    /// Chunks among them that are somebody else's.
    pub(crate) holes: usize,
}

fn grow_records(needed: usize) -> os::Result<()> {
    let window = &WINDOW;
    let ready = window.records_ready.load(Ordering::Relaxed);
    if needed <= ready {
        return Ok(());
    }
    let all = window.bytes.load(Ordering::Relaxed) / UNIT + 1;
    let target = needed.next_multiple_of(RECORD_STEP).min(all);
    for (part, table, size) in [
        (Part::Units, &window.units, size_of::<Unit>()),
        (Part::Heads, &window.heads, size_of::<AtomicU32>()),
        (Part::Slabs, &window.slabs, size_of::<Slab>()),
        (Part::Runs, &window.runs, size_of::<Run>()),
    ] {
        let start = table.load(Ordering::Relaxed);
        let from = record_end(start, ready, size);
        // SAFETY: the table's pages in our reservation; the last is padding of this table.
        unsafe { commit_table(part, from as *mut u8, record_end(start, target, size) - from) }?;
    }
    window.records_ready.store(target, Ordering::Relaxed);
    Ok(())
}

/// Makes the ledger of the first `needed` units accessible. What a growth that failed further on has made accessible
/// already stays so.
fn grow_ledger(needed: usize) -> os::Result<()> {
    let ready = WINDOW.ledger_ready.load(Ordering::Relaxed);
    if needed > ready {
        let (ledger, bytes) = WINDOW.ledger_range(UnitIndex(ready as u32), needed - ready);
        // SAFETY: the ledger lies in the tables' reservation, or where that was.
        unsafe { commit_table(Part::Ledger, ledger, bytes) }?;
        WINDOW.ledger_ready.store(needed, Ordering::Relaxed);
    }
    Ok(())
}

/// Where the pages of the first `count` records of a table end.
fn record_end(table: usize, count: usize, size: usize) -> usize {
    (table + count * size).next_multiple_of(os::PAGE)
}

/// What address space is reserved for; [`Window::released`](super::Window) has a bit for each whose unused rest was given
/// up.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Units,
    Heads,
    Slabs,
    Runs,
    Heaps,
    Ledger,
}

/// Makes some of a table accessible.
///
/// # Safety
/// The range lies in the reservation for this table, or where that was before [`release`].
pub(crate) unsafe fn commit_table(part: Part, address: *mut u8, size: usize) -> os::Result<()> {
    if WINDOW.released.load(Ordering::Relaxed) & 1 << part as usize == 0 {
        // SAFETY: the caller's.
        return unsafe { os::commit(address, size) };
    }
    // Where somebody else has mapped something meanwhile, the heap cannot grow any more.
    if size == 0 { Ok(()) } else { os::map_at(address, size) }
}

/// Gives up all address space that has not been used yet, and goes on in chunked mode: the program is about to limit
/// itself, and the reservation alone would exceed the limit. Beyond `heaps_end` no heap is in use. What the kernel does
/// not take back stays reserved, and is used as before until the next attempt. Under the central lock.
pub(crate) fn release(heaps_end: usize) {
    let window = &WINDOW;
    let mut released = window.released.load(Ordering::Relaxed);
    if window.is_chunked() && released == 0 {
        return;
    }
    let end = window.end();
    let at = |field: &AtomicUsize| field.load(Ordering::Relaxed);
    let give_up = |from: usize, to: usize| {
        // SAFETY: the unused rest of the window or of a table: nothing there was ever accessible.
        from >= to || unsafe { os::unmap(from as *mut u8, to - from) }.is_ok()
    };
    window.over_limit.store(1, Ordering::Relaxed);
    if released == 0 && !give_up(window.address(end) as usize, window.base() + at(&window.bytes)) {
        return;
    }
    released |= TABLES_GROW;
    let ready = at(&window.records_ready);
    let (ledger, _) = window.ledger_range(UnitIndex(at(&window.ledger_ready) as u32), 0);
    for (part, from, to) in [
        (Part::Ledger, ledger as usize, at(&window.units)),
        (Part::Units, record_end(at(&window.units), ready, size_of::<Unit>()), at(&window.heads)),
        (Part::Heads, record_end(at(&window.heads), ready, size_of::<AtomicU32>()), at(&window.slabs)),
        (Part::Slabs, record_end(at(&window.slabs), ready, size_of::<Slab>()), at(&window.runs)),
        (Part::Runs, record_end(at(&window.runs), ready, size_of::<Run>()), at(&window.heaps)),
        (Part::Heaps, heaps_end.next_multiple_of(os::PAGE), at(&window.tables) + at(&window.tables_bytes)),
    ] {
        let bit = 1 << part as usize;
        if released & bit == 0 && give_up(from, to) {
            released |= bit;
        }
    }
    window.released.store(released, Ordering::Relaxed);
    window.over_limit.store(usize::from(released != ALL_RELEASED), Ordering::Relaxed);
    window.chunked.store(1, Ordering::Relaxed);
}

/// Nothing is left to give up.
const ALL_RELEASED: usize = TABLES_GROW | ((1 << (Part::Ledger as usize + 1)) - 1);
/// Set in `released` of a window that was reserved at first: its tables are not accessible from the start.
const TABLES_GROW: usize = 1 << 63;
