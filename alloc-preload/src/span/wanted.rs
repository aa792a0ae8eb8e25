//! What a run is asked for, and where it is looked for.

use super::Kind;
use super::zone::{self, ZONES, Zone, zone_for};
use crate::window::WINDOW;

/// A run asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) units: usize,
    /// Its first unit is a multiple of so many.
    pub(crate) align: usize,
    /// Rather one that reads as zero.
    pub(crate) zero: bool,
    /// Likewise, of which little will be touched.
    pub(crate) sparse: bool,
    /// For a slab.
    pub(crate) slab: bool,
    /// From the upper end of a clean run: for a slab of whose units the ledger has one page for every eight. Those of which it
    /// has more are taken from the lower end, so that they share their pages among themselves.
    pub(crate) high: bool,
    /// The page of it that may be a guard.
    pub(crate) guard: Option<usize>,
}

impl Wanted {
    /// The units of a slab whose blocks begin in so many areas of the ledger.
    pub(crate) const fn slab(units: usize, areas: usize) -> Self {
        Self { units, align: 1, zero: false, sparse: false, guard: None, slab: true, high: areas == 1 }
    }

    /// Where it belongs.
    pub(super) fn zone(self) -> Zone {
        if self.slab && !WINDOW.is_chunked() { zone_for(self.units) } else { Zone::Coarse }
    }

    /// Where runs of this kind are looked for. What lies idle in the fine zone serves larger slabs as well, before other memory is
    /// taken for them; blocks that will grow it would soon be too narrow for.
    pub(super) fn zones(self, kind: Kind) -> &'static [Zone] {
        if self.slab && kind == Kind::Dirty && self.zone() == Zone::Coarse {
            &ZONES
        } else {
            zone::open_to(self.zone())
        }
    }
}
