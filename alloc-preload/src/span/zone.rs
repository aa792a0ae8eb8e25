//! Two zones of chunks. Slabs of one unit are carved page by page until they are full, so where they lie side by side
//! nearly every page has memory soon, and huge pages cost none. Larger slabs and large blocks may never be touched all
//! over: among them hardly a chunk would fill up.

use crate::window::{CHUNK, CHUNK_UNITS, LARGEST, WINDOW};
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Zone {
    /// All else.
    Coarse = 0,
    /// Slabs of one unit.
    Fine = 1,
}

impl Zone {
    pub(super) fn other(self) -> Self {
        if self == Self::Fine { Self::Coarse } else { Self::Fine }
    }
}

pub(super) const ZONES: [Zone; 2] = [Zone::Coarse, Zone::Fine];

/// A bit for each chunk: set in the fine zone. Written under the central lock.
static FINE: [AtomicU8; LARGEST / CHUNK / 8] = [const { AtomicU8::new(0) }; LARGEST / CHUNK / 8];

/// Chunks of the fine zone. Written under the central lock.
static FINE_CHUNKS: AtomicU32 = AtomicU32::new(0);

/// The zone that runs of `units` units are for.
pub(super) fn zone_for(units: usize) -> Zone {
    if units == 1 { Zone::Fine } else { Zone::Coarse }
}

/// Whether the zones' free runs are for all, since there is not room enough for two: with a single chunk, or under a
/// limit on address space.
pub(super) fn are_shared() -> bool {
    WINDOW.end().0 <= CHUNK_UNITS as u32 || WINDOW.is_chunked()
}

/// The zone that a unit lies in.
pub(super) fn zone_of(unit: u32) -> Zone {
    let (byte, bit) = place(unit);
    if byte.load(Ordering::Relaxed) & bit == 0 { Zone::Coarse } else { Zone::Fine }
}

/// Chunks of the fine zone.
pub(super) fn fine_chunks() -> usize {
    FINE_CHUNKS.load(Ordering::Relaxed) as usize
}

/// Adds the chunk that begins with this unit to a zone.
pub(super) fn assign(first: u32, zone: Zone) {
    let (byte, bit) = place(first);
    let (bits, fine) = (byte.load(Ordering::Relaxed), fine_chunks() as u32);
    match (zone_of(first), zone) {
        (Zone::Coarse, Zone::Fine) => {
            byte.store(bits | bit, Ordering::Relaxed);
            FINE_CHUNKS.store(fine + 1, Ordering::Relaxed);
        }
        (Zone::Fine, Zone::Coarse) => {
            byte.store(bits & !bit, Ordering::Relaxed);
            FINE_CHUNKS.store(fine - 1, Ordering::Relaxed);
        }
        _ => {}
    }
}

fn place(unit: u32) -> (&'static AtomicU8, u8) {
    let chunk = unit as usize / CHUNK_UNITS;
    #[expect(clippy::indexing_slicing, reason = "the remainder is below the length; the window has no more chunks")]
    (&FINE[chunk / 8 % FINE.len()], 1 << (chunk % 8))
}
