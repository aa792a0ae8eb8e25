//! How the window comes to be: reserved, or a hole of the address space under a limit.

use super::growth::ALL_RELEASED;
use super::{CHUNK, CHUNK_UNITS, Chunk, LARGEST, TABLES, Unit, WINDOW};
use crate::beside;
use crate::ledger::Entry;
use crate::os;
use crate::segment;
use crate::slab::Slab;
use crate::span::Run;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use shm_layout::class::{GRANULE, UNIT};
use shm_layout::layout::ROWS;

const SMALLEST: usize = 1 << 30;
/// A limited window is so many times the limit: free parts of it and what lies behind large blocks are not mapped.
const SPARSE: u64 = 4;
/// Places tried for a limited window.
const PLACES: usize = 16;

/// The heaps' records in the tables.
#[derive(Clone, Copy)]
pub(crate) struct HeapArea {
    /// Offset of the stocks.
    pub(crate) stocks: usize,
    /// Offset of the heaps.
    pub(crate) heaps: usize,
    /// Offset of the segment, and where the area ends.
    pub(crate) segment: usize,
    /// Offsets and bytes of what is accessible from the start.
    pub(crate) ready: [(usize, usize); 2],
}

/// Reserves the window and its tables. `heap_area` tells what the records of so many heaps take. Called until it has
/// succeeded, before anything else of this module.
pub(crate) fn open(heap_area: fn(usize) -> HeapArea) -> os::Result<()> {
    let limit = os::limit(libc::RLIMIT_AS);
    if limit.is_none() {
        let mut bytes = LARGEST;
        while bytes >= SMALLEST {
            if try_reserved(bytes, heap_area).is_ok() {
                return Ok(());
            }
            bytes /= 2;
        }
    }
    open_chunked(limit.unwrap_or(SMALLEST as u64), heap_area)
}

fn try_reserved(bytes: usize, heap_area: fn(usize) -> HeapArea) -> os::Result<()> {
    let area = heap_area(ROWS);
    let shape = Shape::new(bytes, area);
    let window = os::reserve_undumped(bytes + CHUNK)?;
    let all = shape.total + segment::bytes(ROWS);
    let result = os::reserve_undumped(all).and_then(|tables| {
        // SAFETY: the heaps' area lies in the reservation just made.
        let commit = |(offset, bytes)| unsafe { os::commit(tables.add(shape.heaps + offset), bytes) };
        let committed = area.ready.into_iter().try_for_each(commit);
        if committed.is_err() {
            // SAFETY: the reservation just made, which nothing uses.
            let _ = unsafe { os::unmap(tables, all) };
        }
        committed.map(|()| tables)
    });
    match result {
        Ok(tables) => {
            let base = (window as usize).next_multiple_of(CHUNK);
            publish(base, bytes, tables as usize, &shape, ROWS, false);
            WINDOW.end.store(window as usize + bytes + CHUNK, Ordering::Relaxed);
            Ok(())
        }
        Err(error) => {
            // SAFETY: the reservation just made, which nothing uses.
            let _ = unsafe { os::unmap(window, bytes + CHUNK) };
            Err(error)
        }
    }
}

/// Picks window and tables among addresses that neither the kernel nor a linker uses of its own accord: between 32 and
/// 48 TiB, moved about by the stack's random address. All but the first heaps and the segment's place is mapped when it is wanted.
#[cold]
#[inline(never)]
fn open_chunked(limit: u64, heap_area: fn(usize) -> HeapArea) -> os::Result<()> {
    let bytes = (limit.saturating_mul(SPARSE) as usize).clamp(CHUNK, LARGEST).next_multiple_of(CHUNK);
    let heaps = segment::rows_under(limit);
    let area = heap_area(heaps);
    let shape = Shape::new(bytes, area);
    let mut random = &raw const shape as usize;
    for _ in 0..PLACES {
        random = random.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let base = (32 << 40) + (random >> 52 << 32);
        let tables = base + bytes;
        match map_heaps((tables + shape.heaps) as *mut u8, area, heaps) {
            Ok(()) => {
                publish(base, bytes, tables, &shape, heaps, true);
                return Ok(());
            }
            Err(os::Errno(libc::EEXIST)) => {}
            Err(error) => return Err(error),
        }
    }
    Err(os::Errno(libc::ENOMEM))
}

/// Maps the first of so many heaps, and reserves their segment.
fn map_heaps(address: *mut u8, area: HeapArea, heaps: usize) -> os::Result<()> {
    let [first, second] = area.ready.map(|(offset, bytes)| (address.wrapping_add(offset), bytes));
    // SAFETY: what was just mapped, and nothing uses.
    let undo = |(start, bytes)| _ = unsafe { os::unmap(start, bytes) };
    os::map_at(first.0, first.1)?;
    os::map_at(second.0, second.1).inspect_err(|_| undo(first))?;
    os::reserve_at(address.wrapping_add(area.segment), segment::bytes(heaps)).inspect_err(|_| {
        undo(first);
        undo(second);
    })
}

fn publish(base: usize, bytes: usize, tables: usize, shape: &Shape, heaps: usize, chunked: bool) {
    let set = |field: &AtomicUsize, value| field.store(value, Ordering::Relaxed);
    let window = &WINDOW;
    set(&window.base, base);
    set(&window.bytes, bytes);
    set(&window.tables, tables);
    set(&window.tables_bytes, shape.total);
    set(&window.ledger, tables);
    set(&window.units, tables + shape.units);
    let (entries, units) = (tables as *const Entry, (tables + shape.units) as *const Unit);
    TABLES.base.set(base);
    TABLES.ledger.set(entries);
    TABLES.entries.set(entries.wrapping_sub(base / GRANULE));
    TABLES.units.set(units.wrapping_sub(base / UNIT));
    TABLES.heads.set(((tables + shape.heads) as *const AtomicU32).wrapping_sub(base / UNIT));
    TABLES.slabs.set((tables + shape.slabs) as *const Slab);
    TABLES.fine_slabs.set(((tables + shape.slabs) as *const Slab).wrapping_sub(base / UNIT));
    set(&window.slabs, tables + shape.slabs);
    set(&window.heads, tables + shape.heads);
    set(&window.runs, tables + shape.runs);
    set(&window.chunks, tables + shape.chunks);
    set(&window.heaps, tables + shape.heaps);
    set(&window.stocks, tables + shape.stocks);
    beside::begin_at(tables + shape.heap_records);
    beside::have(heaps);
    set(&window.chunked, usize::from(chunked));
    set(&window.released, if chunked { ALL_RELEASED } else { 0 });
}

/// Offsets of the tables in their reservation.
struct Shape {
    units: usize,
    heads: usize,
    slabs: usize,
    runs: usize,
    chunks: usize,
    heaps: usize,
    stocks: usize,
    heap_records: usize,
    /// Where they end. Behind them lies the segment.
    total: usize,
}

impl Shape {
    fn new(bytes: usize, heap_area: HeapArea) -> Self {
        // One unit more than there is: a run may look at its right neighbour without asking whether it exists.
        let count = bytes / UNIT + 1;
        let after = |offset: usize, size: usize| (offset + size).next_multiple_of(os::PAGE);
        let units = after(0, bytes / GRANULE);
        let heads = after(units, count * size_of::<Unit>());
        let slabs = after(heads, count * size_of::<AtomicU32>());
        let runs = after(slabs, count * size_of::<Slab>());
        let chunks = after(runs, count * size_of::<Run>());
        let heaps_at = after(chunks, count.div_ceil(CHUNK_UNITS) * size_of::<Chunk>());
        Self {
            units,
            heads,
            slabs,
            runs,
            chunks,
            heaps: heaps_at,
            stocks: heaps_at + heap_area.stocks,
            heap_records: heaps_at + heap_area.heaps,
            total: heaps_at + heap_area.segment,
        }
    }
}
