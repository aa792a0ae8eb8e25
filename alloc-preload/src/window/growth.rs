//! How the window grows: chunk by chunk, with the tables beside it.

use super::{CHUNK, CHUNK_UNITS, Chunk, UNIT_GRANULES, Unit, UnitIndex, WINDOW, owner};
use crate::beside;
use crate::os;
use crate::slab::Slab;
use crate::span::Run;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use shm_layout::class::UNIT;

/// Tables of records.
pub(super) const RECORD_TABLES: usize = 5;
/// Records become accessible for this many units at a time.
const RECORD_STEP: usize = 1024;

/// Adds the next `chunks` chunks to the window: their units, or an error with nothing changed but tables made
/// accessible. In chunked mode they are vacant: each part is mapped by [`occupy`] when it is wanted. Under the central
/// lock.
pub(crate) fn grow(chunks: usize) -> os::Result<Grown> {
    let window = &WINDOW;
    let first = window.end();
    let units = chunks * CHUNK_UNITS;
    let new_end = first.0 as usize + units;
    if new_end * UNIT > window.bytes.load(Ordering::Relaxed) {
        return Err(os::Errno(libc::ENOMEM));
    }
    grow_records(new_end + 1)?;
    grow_ledger(new_end)?;
    if window.is_chunked() {
        all(first, units).for_each(|unit| unit.set_owner(owner::VACANT));
    } else {
        // SAFETY: the window is our reservation.
        unsafe { os::commit(window.address(first), chunks * CHUNK) }?;
    }
    window.granules.store(new_end * UNIT_GRANULES, Ordering::Release);
    Ok(Grown { first, units })
}

/// What [`grow`] added.
pub(crate) struct Grown {
    pub(crate) first: UnitIndex,
    pub(crate) units: usize,
}

/// Gives free units back to the system. In chunked mode, under the central lock.
///
/// # Safety
/// They are clean, and nobody uses them.
#[cold]
#[inline(never)]
pub(crate) unsafe fn vacate(first: UnitIndex, units: usize) -> os::Result<()> {
    for unit in first.0..first.0 + units as u32 {
        // SAFETY: the caller's. Some may share pages of the ledger with units that are in use.
        unsafe { WINDOW.renew_ledger(UnitIndex(unit), 0) };
    }
    // Before: a child that is forked in between must not take them for mapped.
    all(first, units).for_each(|unit| unit.set_free(owner::VACANT, unit.guard()));
    // SAFETY: the caller's.
    let result = unsafe { os::unmap(WINDOW.address(first), units * UNIT) };
    match result {
        // Guards have gone with them.
        Ok(()) => all(first, units).for_each(|unit| unit.set_owner(owner::VACANT)),
        Err(_) => all(first, units).for_each(|unit| unit.set_free(owner::CLEAN, unit.guard())),
    }
    result
}

/// Maps vacant units; `EEXIST` where some of that is somebody else's memory. Under the central lock.
#[cold]
#[inline(never)]
pub(crate) fn occupy(first: UnitIndex, units: usize) -> os::Result<()> {
    os::map_at(WINDOW.address(first), units * UNIT)?;
    all(first, units).for_each(|unit| unit.set_owner(owner::CLEAN));
    Ok(())
}

/// The records of units below the end, or just beyond.
fn all(first: UnitIndex, units: usize) -> impl Iterator<Item = &'static Unit> {
    // SAFETY: their records are accessible, from before or since a moment ago.
    (first.0..first.0 + units as u32).map(|unit| unsafe { WINDOW.unit(UnitIndex(unit)) })
}

/// Makes the records of the first `needed` units accessible, table by table: what a failure leaves is there already when
/// that is tried again.
fn grow_records(needed: usize) -> os::Result<()> {
    let all = WINDOW.bytes.load(Ordering::Relaxed) / UNIT + 1;
    for part in Part::RECORDS {
        let (_, ready) = records(part);
        let before = ready.load(Ordering::Relaxed);
        if needed <= before {
            continue;
        }
        let target = needed.next_multiple_of(RECORD_STEP).min(all);
        let (from, to) = (record_end(part, before), record_end(part, target));
        // SAFETY: the table's pages in our reservation, or where that was; the last is padding of this table.
        unsafe { commit_table(part, from as *mut u8, to - from) }?;
        ready.store(target, Ordering::Relaxed);
    }
    Ok(())
}

/// A table of records: its address, and for how many units it is accessible.
fn records(part: Part) -> (&'static AtomicUsize, &'static AtomicUsize) {
    let window = &WINDOW;
    let [units, heads, slabs, runs, chunks] = &window.records_ready;
    match part {
        Part::Units => (&window.units, units),
        Part::Heads => (&window.heads, heads),
        Part::Slabs => (&window.slabs, slabs),
        Part::Runs => (&window.runs, runs),
        _ => (&window.chunks, chunks),
    }
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

/// Where the pages of the records of the first `units` units end, in this table.
fn record_end(part: Part, units: usize) -> usize {
    let bytes = match part {
        Part::Units => units * size_of::<Unit>(),
        Part::Heads => units * size_of::<AtomicU32>(),
        Part::Slabs => units * size_of::<Slab>(),
        Part::Runs => units * size_of::<Run>(),
        _ => units.div_ceil(CHUNK_UNITS) * size_of::<Chunk>(),
    };
    (records(part).0.load(Ordering::Relaxed) + bytes).next_multiple_of(os::PAGE)
}

/// What address space is reserved for; [`Window::released`](super::Window) has a bit for each whose unused rest was given
/// up, or never reserved.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Window,
    Units,
    Heads,
    Slabs,
    Runs,
    Chunks,
    Stocks,
    Heaps,
    Ledger,
}

impl Part {
    /// The tables of records, which grow together.
    const RECORDS: [Self; RECORD_TABLES] = [Self::Units, Self::Heads, Self::Slabs, Self::Runs, Self::Chunks];

    const fn bit(self) -> usize {
        1 << self as usize
    }
}

/// Nothing is reserved.
pub(super) const ALL_RELEASED: usize = Part::Ledger.bit() * 2 - 1;

/// Makes some of a table accessible.
///
/// # Safety
/// The range lies in the reservation for this table, or where that was before [`release`], or would be.
pub(crate) unsafe fn commit_table(part: Part, address: *mut u8, size: usize) -> os::Result<()> {
    // A page of the table may reach that far already; and the kernel need not have an answer to a call about nothing.
    if size == 0 {
        return Ok(());
    }
    if WINDOW.released.load(Ordering::Relaxed) & part.bit() == 0 {
        // SAFETY: the caller's.
        return unsafe { os::commit(address, size) };
    }
    // Where somebody else has mapped something meanwhile, the heap cannot grow any more.
    os::map_at(address, size)
}

/// Gives up all address space that has not been used yet, and goes on in chunked mode: the program is about to limit
/// itself, and the reservation alone would exceed the limit. Beyond the two ends no heap is in use. What the kernel does
/// not take back stays reserved, and is used as before until the next attempt. Under the central lock.
#[cold]
#[inline(never)]
pub(crate) fn release([stocks_end, heaps_end]: [usize; 2]) {
    let window = &WINDOW;
    let mut released = window.released.load(Ordering::Relaxed);
    if released == ALL_RELEASED {
        return;
    }
    let end = window.end();
    let at = |field: &AtomicUsize| field.load(Ordering::Relaxed);
    let used = |part| record_end(part, at(records(part).1));
    let (ledger, _) = window.ledger_range(UnitIndex(at(&window.ledger_ready) as u32), 0);
    window.over_limit.store(1, Ordering::Relaxed);
    for (part, from, to) in [
        (Part::Window, window.address(end) as usize, at(&window.end)),
        (Part::Ledger, ledger as usize, at(&window.units)),
        (Part::Units, used(Part::Units), at(&window.heads)),
        (Part::Heads, used(Part::Heads), at(&window.slabs)),
        (Part::Slabs, used(Part::Slabs), at(&window.runs)),
        (Part::Runs, used(Part::Runs), at(&window.chunks)),
        (Part::Chunks, used(Part::Chunks), at(&window.heaps)),
        (Part::Stocks, stocks_end, beside::heaps()),
        (Part::Heaps, heaps_end, beside::segment() as usize),
    ] {
        // SAFETY: the unused rest of the window or of a table: nothing there was ever accessible.
        if released & part.bit() == 0 && (from >= to || unsafe { os::unmap(from as *mut u8, to - from) }.is_ok()) {
            released |= part.bit();
        }
        if released & Part::Window.bit() == 0 {
            return;
        }
    }
    window.released.store(released, Ordering::Relaxed);
    window.over_limit.store(usize::from(released != ALL_RELEASED), Ordering::Relaxed);
    window.chunked.store(1, Ordering::Relaxed);
}
