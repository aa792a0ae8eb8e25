//! Two zones of chunks. Slabs of one unit or two are carved page by page until they are full, so where they lie side by side
//! nearly every page has memory soon, and huge pages cost none. Larger slabs and large blocks may never be touched all
//! over: among them hardly a chunk would fill up.

use crate::window::{CHUNK_UNITS, Chunk, UnitIndex, WINDOW};
use core::sync::atomic::{AtomicU32, Ordering};
use shm_layout::class::{PAIR, UNIT};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zone {
    /// All else.
    Coarse = 0,
    /// Slabs of one unit or two.
    Fine = 1,
}

impl Zone {
    pub(super) fn other(self) -> Self {
        if self == Self::Fine { Self::Coarse } else { Self::Fine }
    }
}

pub(super) const ZONES: [Zone; 2] = [Zone::Coarse, Zone::Fine];

/// Chunks of the fine zone. Written under the central lock.
static FINE_CHUNKS: AtomicU32 = AtomicU32::new(0);

/// The zone for slabs of `units` units.
pub(super) fn zone_for(units: usize) -> Zone {
    if units <= PAIR / UNIT { Zone::Fine } else { Zone::Coarse }
}

/// Whether slabs of so many units lie in the same zone.
pub(crate) fn share_a_zone(units: usize, others: usize) -> bool {
    zone_for(units) == zone_for(others)
}

/// Whether the zones' free runs are for all, since there is not room enough for two: with a single chunk, or under a
/// limit on address space.
pub(super) fn are_shared() -> bool {
    WINDOW.end().0 <= CHUNK_UNITS as u32 || WINDOW.is_chunked()
}

/// The zones in which what belongs to this one is looked for.
pub(super) fn open_to(own: Zone) -> &'static [Zone] {
    match own {
        _ if are_shared() => &ZONES,
        Zone::Coarse => &[Zone::Coarse],
        Zone::Fine => &[Zone::Fine],
    }
}

/// The zone that a unit lies in.
pub(super) fn zone_of(unit: u32) -> Zone {
    if chunk_of(unit).fine.load(Ordering::Relaxed) { Zone::Fine } else { Zone::Coarse }
}

/// Chunks of the fine zone.
pub(super) fn fine_chunks() -> usize {
    FINE_CHUNKS.load(Ordering::Relaxed) as usize
}

/// Adds the chunk that begins with this unit to a zone.
pub(super) fn assign(first: u32, zone: Zone) {
    let fine = fine_chunks() as u32;
    match (zone_of(first), zone) {
        (Zone::Coarse, Zone::Fine) => FINE_CHUNKS.store(fine + 1, Ordering::Relaxed),
        (Zone::Fine, Zone::Coarse) => FINE_CHUNKS.store(fine - 1, Ordering::Relaxed),
        _ => {}
    }
    chunk_of(first).fine.store(zone == Zone::Fine, Ordering::Relaxed);
}

/// The record of the chunk that a unit lies in.
pub(super) fn chunk_of(unit: u32) -> &'static Chunk {
    debug_assert!(unit < WINDOW.end().0);
    // SAFETY: callers stay below the committed end.
    unsafe { WINDOW.chunk(UnitIndex(unit)) }
}
