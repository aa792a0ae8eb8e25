//! Runs of units: slabs and large spans are cut from them and come back to them.
//!
//! Free runs are *dirty* (touched, waiting to be purged) or *clean* (they read as zero).
//! Under a limit on address space there are *vacant* ones as well, which are not mapped (see `vacant`).
//!
//! Everything here is under the central lock. The records are the truth: lists and bins can be rebuilt from them.

mod bins;
mod growth;
pub(crate) mod guard;
mod links;
mod parked;
mod purge;
mod rebuild;
mod tail;
mod vacant;
mod wanted;
mod zone;

use crate::clock;
use crate::options::Huge;
use crate::os;
use crate::stats::globals;
use crate::window::{UNIT_PAGES, UnitIndex, WINDOW, owner};
use bins::Bins;
use core::cell::Cell;
use core::sync::atomic::Ordering;
pub(crate) use links::{free_units, untouch};
use links::{mark, run};
pub(crate) use parked::{Fit, LOOKS, Parked, Place, parked_bytes, parked_units};
use purge::Appetite;
pub(crate) use purge::{purge_older, purge_unfit, relieve};
use shm_layout::class::UNIT;
use tail::Tail;
pub(crate) use tail::{hold_slab, settle_slab};
pub(crate) use wanted::Wanted;
pub(crate) use zone::share_a_zone;
use zone::{ZONES, chunk_of, zone_of};

const NO_UNIT: u32 = u32::MAX;
/// When a run of at least this many units is freed, the oldest dirty runs are purged until no more than enough lie about.
const LARGE: usize = (512 << 10) / UNIT;

/// Kinds of run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Not the first or last unit of any run.
    None = 0,
    Dirty,
    Clean,
    /// Free, and not mapped.
    Vacant,
    Used,
}

/// A run's record, in the table at its first unit.
#[repr(C, align(64))]
pub(crate) struct Run {
    kind: Cell<Kind>,
    pub(crate) units: Cell<u32>,
    next: Cell<u32>,
    previous: Cell<u32>,
    older: Cell<u32>,
    newer: Cell<u32>,
    /// Dirty: when it became free, monotonic ns.
    stamp: Cell<u64>,
    /// Bytes that may have memory behind them: in a dirty run all that do; in a used one what it started with, and
    /// for a large block what it has reached since.
    pub(crate) touched: Cell<u64>,
    /// Used: it was dirty when taken, so what lies beyond `touched` need not read as zero.
    pub(crate) unclean: Cell<bool>,
    /// Used by a large block that had no memory behind it when it was handed out, to be zero.
    pub(crate) unbacked: Cell<bool>,
    /// The last zeroed block that began here was such a one.
    pub(crate) was_unbacked: Cell<bool>,
    /// Used: who may cut its tail off.
    tail: Tail,
    /// Used by a large block: the page of the run that is a guard; 0 where there is none.
    pub(crate) guard: Cell<u32>,
    /// Used: bytes from its start, a multiple of the OS page, that a large block takes; of a slab, under a limit on address
    /// space, that have been carved.
    pub(crate) allocated: Cell<u64>,
    /// Used: its pages that are mapped, if its tail has been cut off; otherwise 0.
    mapped: Cell<u32>,
}

const _: () = assert!(size_of::<Run>() == 64);

/// The free runs. One instance, guarded by the central lock.
pub(crate) struct Spans {
    zones: [Free; 2],
    oldest: u32,
    newest: u32,
    used_units: usize,
    /// The most that were in use at one time.
    most_used: usize,
    /// Since when there are clean runs, monotonic ns, that were given back as such, with entries of former blocks in the ledger.
    spent_since: Option<u64>,
    appetite: Appetite,
    /// Chunked mode: free runs that are not mapped, and how many bytes have to be free before more become so.
    vacant: Bins,
    vacate_from: u64,
    /// Runs whose tails have been cut off, and the bytes of these.
    cut: usize,
    cut_bytes: u64,
}

/// The free runs of one zone.
struct Free {
    dirty: Bins,
    clean: Bins,
}

/// A run handed out.
pub(crate) struct Taken {
    pub(crate) unit: UnitIndex,
    /// Whether all of it reads as zero.
    pub(crate) zero: bool,
    /// Whether one that was in use before would have done: it has been passed over, since one that reads as zero was wanted.
    pub(crate) chosen: bool,
    pub(crate) guard: Guard,
}

/// What is at the page that may be a guard.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// One that was left there.
    Left,
    /// None, but it can be afforded.
    Due,
    /// None.
    Absent,
}

impl Spans {
    pub(crate) const fn new() -> Self {
        Self {
            zones: [const { Free { dirty: Bins::new(), clean: Bins::new() } }; 2],
            oldest: NO_UNIT,
            newest: NO_UNIT,
            used_units: 0,
            most_used: 0,
            spent_since: None,
            appetite: Appetite::new(),
            vacant: Bins::new(),
            vacate_from: 0,
            cut: 0,
            cut_bytes: 0,
        }
    }

    /// Takes a run.
    pub(crate) fn take(&mut self, wanted: Wanted, huge: Huge) -> Option<Taken> {
        loop {
            let chosen = wanted.sparse && self.has_dirty(wanted);
            let most_used = self.most_used;
            let (first, kind) = self.cut(wanted, huge)?;
            let Ok(left) = guard::clear(first, wanted.units, wanted.guard) else {
                self.lose(first, wanted.units);
                continue;
            };
            // Sparse blocks have few page faults, and those that replace each other take clean runs all the time.
            let is_dear = kind == Kind::Clean && !(wanted.sparse && self.most_used == most_used);
            let affordable = |page| !is_huge(first, page) && (is_dear || guard::draw());
            let guard = match wanted.guard {
                Some(_) if left => Guard::Left,
                Some(page) if affordable(page) => Guard::Due,
                _ => Guard::Absent,
            };
            return Some(Taken { unit: UnitIndex(first), zero: kind == Kind::Clean, chosen, guard });
        }
    }

    /// Whether there is memory for this that was in use before.
    pub(crate) fn has_dirty(&mut self, wanted: Wanted) -> bool {
        self.find(wanted, &[Kind::Dirty], false).is_some()
    }

    /// Gives up units that a guard lies in for ever: they are nobody's.
    fn lose(&mut self, first: u32, units: usize) {
        self.used_units -= units;
        // The first comes last: a child that is forked in between takes all for a run in use.
        for unit in (first..first + units as u32).rev() {
            // SAFETY: units just taken.
            unsafe { WINDOW.unit(UnitIndex(unit)) }.set_owner(owner::HOLE);
        }
    }

    /// Cuts a run out of a free one of this kind; guards in it are still there.
    fn cut(&mut self, wanted: Wanted, huge: Huge) -> Option<(u32, Kind)> {
        let Wanted { units, align, .. } = wanted;
        let order = if wanted.zero { &[Kind::Clean, Kind::Dirty] } else { &[Kind::Dirty, Kind::Clean] };
        let (mut first, kind) = match self.find(wanted, order, false) {
            Some(found) => found,
            None => {
                // Behind what is hardly touched they would be memory for nothing.
                let huge = if wanted.sparse && huge != Huge::Always { Huge::Never } else { huge };
                if self.grow(units + align - 1, wanted.zone(), huge).is_none() {
                    // What is free may be in pieces only because some are dirty and some clean.
                    self.purge_all();
                }
                self.find(wanted, order, false).or_else(|| self.find(wanted, order, true))?
            }
        };
        let record = run(first);
        let (length, touched, stamp) = (record.units.get() as usize, record.touched.get(), record.stamp.get());
        let behind = self.unlink(first);
        let skip = if wanted.high && kind == Kind::Clean { length - units } else { skip_to(first, align) };
        let before = share_of(touched, length, skip);
        let taken = share_of(touched, length, skip + units) - before;
        let after = touched - before - taken;
        if skip > 0 {
            self.link_behind(behind, first, skip, kind, before, stamp);
        }
        first += skip as u32;
        if length > skip + units {
            self.link_behind(behind, first + units as u32, length - skip - units, kind, after, stamp);
        }
        match kind {
            Kind::Dirty => globals().cached.sub_shared(taken),
            _ => {
                globals().retained.sub_shared((units * UNIT) as u64);
                if !wanted.sparse {
                    self.appetite.miss((units * UNIT) as u64);
                }
            }
        }
        mark(first, units, Kind::Used);
        run(first).touched.set(taken);
        // A child may find what was noted of the run before.
        run(first).mapped.set(0);
        run(first).unclean.set(kind == Kind::Dirty);
        self.count_in_use(units);
        Some((first, kind))
    }

    fn count_in_use(&mut self, units: usize) {
        self.used_units += units;
        self.most_used = self.most_used.max(self.used_units);
    }

    /// A free run that holds what is wanted, of the first kind that has one; in any zone, if need be.
    #[inline(never)]
    fn find(&mut self, wanted: Wanted, order: &[Kind], anywhere: bool) -> Option<(u32, Kind)> {
        let Wanted { units, align, .. } = wanted;
        order.iter().find_map(|&kind| {
            let zones = if anywhere { &ZONES } else { wanted.zones(kind) };
            zones.iter().find_map(|&zone| {
                let bins = self.bins(kind, zone);
                let exact = if align > 1 { bins.find_aligned(units, align) } else { None };
                exact.or_else(|| bins.find(units + align - 1)).map(|unit| (unit, kind))
            })
        })
    }

    /// Gives back a used run, of which at least `touched` bytes may have memory behind them.
    pub(crate) fn give(&mut self, unit: UnitIndex, units: usize, touched: usize, decay_ns: Option<u64>) {
        self.give_since(unit, units, touched, clock::last(), decay_ns);
    }

    fn give_since(&mut self, unit: UnitIndex, units: usize, touched: usize, since: u64, decay_ns: Option<u64>) {
        self.used_units -= units;
        let record = run(unit.0);
        let touched = (touched as u64).max(record.touched.get()).min((units * UNIT) as u64);
        if touched == 0 && !record.unclean.get() {
            globals().retained.add_shared((units * UNIT) as u64);
            self.join(unit.0, units, Kind::Clean, 0, 0);
            self.spent_since = self.spent_since.or(Some(since));
            return self.vacate();
        }
        globals().cached.add_shared(touched);
        let first = self.join(unit.0, units, Kind::Dirty, touched, since);
        // Of more, the caller looks after with `relieve`.
        if decay_ns == Some(0) && units < LARGE {
            self.purge(first);
        }
        self.vacate();
    }

    /// Gives back the run of a large block that was freed at `since`, monotonic ns, and whose units are written down as free.
    pub(crate) fn give_large(&mut self, unit: UnitIndex, since: u64, decay_ns: Option<u64>) {
        self.give_since(unit, run(unit.0).units.get() as usize, 0, since, decay_ns);
    }

    /// Lengthens a used run in place by `more` units, if all of these are free: of either kind.
    pub(crate) fn extend(&mut self, unit: UnitIndex, units: usize, more: usize) -> Option<()> {
        let next = unit.0 + units as u32;
        if WINDOW.is_chunked() {
            self.occupy_behind(next, more)?;
        }
        let mut found = 0;
        while found < more {
            let at = next as usize + found;
            if at >= WINDOW.end().0 as usize {
                return None;
            }
            let neighbour = run(at as u32);
            let is_free = matches!(neighbour.kind.get(), Kind::Dirty | Kind::Clean);
            if !is_free || zone_of(at as u32) != zone_of(unit.0) {
                return None;
            }
            found += neighbour.units.get() as usize;
        }
        guard::clear(next, more, None).ok()?;
        let record = run(unit.0);
        let (mut at, end) = (next, next + more as u32);
        while at < end {
            let neighbour = run(at);
            let (kind, length) = (neighbour.kind.get(), neighbour.units.get());
            let (touched, stamp) = (neighbour.touched.get(), neighbour.stamp.get());
            let taken = length.min(end - at);
            let bytes = u64::from(taken) * UNIT as u64;
            let share = share_of(touched, length as usize, taken as usize);
            let behind = self.unlink(at);
            if length > taken {
                self.link_behind(behind, end, (length - taken) as usize, kind, touched - share, stamp);
            }
            match kind {
                Kind::Dirty => globals().cached.sub_shared(share),
                _ => globals().retained.sub_shared(bytes),
            }
            record.touched.set(record.touched.get() + share);
            record.unclean.set(record.unclean.get() || kind == Kind::Dirty);
            at += taken;
        }
        mark(unit.0, units + more, Kind::Used);
        self.count_in_use(more);
        Some(())
    }

    /// Shortens a used run to `units`, giving back the rest.
    pub(crate) fn shrink(&mut self, unit: UnitIndex, old: usize, units: usize, decay_ns: Option<u64>) {
        let record = run(unit.0);
        let kept = (units * UNIT) as u64;
        let beyond = record.touched.get().saturating_sub(kept);
        record.touched.set(record.touched.get() - beyond);
        mark(unit.0, units, Kind::Used);
        let rest = unit.0 + units as u32;
        mark(rest, old - units, Kind::Used);
        run(rest).touched.set(beyond);
        run(rest).unclean.set(record.unclean.get());
        self.give(UnitIndex(rest), old - units, 0, decay_ns);
    }
}

/// Whether a guard at this page of the run that begins at `first` would keep a huge page from forming that was asked for.
pub(crate) fn is_huge(first: u32, page: usize) -> bool {
    let unit = first + (page / UNIT_PAGES) as u32;
    chunk_of(unit).huge.load(Ordering::Relaxed)
}

/// Whether what has never been touched of the used run that begins with this unit reads as zero.
pub(crate) fn is_blank(unit: UnitIndex) -> bool {
    !run(unit.0).unclean.get()
}

/// So much of the `touched` bytes of a run is taken to lie in its first `units`: where they lie is not written down, and runs that
/// were joined had each their own. Were all thought to lie in front, whoever takes the front would be given more than was ever
/// touched there, and the rest would be counted anew when it is used.
fn share_of(touched: u64, length: usize, units: usize) -> u64 {
    if units == length {
        return touched;
    }
    let pages = touched / os::PAGE as u64 * units as u64;
    pages.checked_div(length as u64).unwrap_or(0) * os::PAGE as u64
}

/// Units from `first` to the next whose address is a multiple of `align` units.
fn skip_to(first: u32, align: usize) -> usize {
    let at = WINDOW.base() / UNIT + first as usize;
    // A power of two.
    at.wrapping_neg() & (align - 1)
}
