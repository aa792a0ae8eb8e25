//! What becomes of dirty runs: they stand in a queue, oldest first, and are purged when their time has come, or before if
//! too many lie about.

use super::zone::zone_of;
use super::{Kind, LARGE, NO_UNIT, Spans, mark, run, share_of};
use crate::central::central;
use crate::clock;
use crate::ledger;
use crate::os::{self, Errno, PAGE};
use crate::segment;
use crate::stats::globals;
use crate::window::{SHARERS, UNIT_GRANULES, UnitIndex, WINDOW, owner};
use shm_layout::class::UNIT;

/// Bytes that may always lie about.
pub(super) const CACHE: u64 = 4 << 20;
/// The same while a large block is given memory that was not in use before: what lies about does not serve it.
const UNFIT: u64 = 1 << 20;
/// Runs purged then at most.
const UNFIT_RUNS: usize = 16;
/// Units purged at once, while others wait for the central lock: 16 MiB, half a millisecond.
const PIECE: usize = (16 << 20) / UNIT;
/// Who has had the lock for so long lets others have it, in ns.
const LONG: u64 = 100_000;
/// The appetite halves in this time, in ns.
const HALVES: u64 = 250_000_000;

/// So many times the appetite may lie about before a freed run has others purged: who misses some of it is about to miss
/// more, and what was let go in vain is faulted in page by page.
const HELPINGS: u64 = 4;

/// The part of what was in use at most by which that and what lies about may be more.
const SHARE: usize = 2;

/// How much more may lie about: what was purged before its time and then wanted back tells. A program that replaces large
/// blocks would otherwise fault their pages in again and again; one that frees a large block for good does not keep it.
pub(super) struct Appetite {
    bytes: u64,
    /// Bytes purged before their time of which nobody has wanted any back yet.
    purged_early: u64,
    /// When both were last halved, monotonic ns; zero before the first look at the clock.
    halved_at: u64,
}

impl Appetite {
    pub(super) const fn new() -> Self {
        Self { bytes: 0, purged_early: 0, halved_at: 0 }
    }

    /// Bytes are taken that have no memory behind them.
    pub(super) fn miss(&mut self, bytes: u64) {
        let back = bytes.min(self.purged_early);
        self.purged_early -= back;
        self.bytes += back;
    }

    fn fade(&mut self, now: u64) {
        if self.halved_at == 0 {
            self.halved_at = now;
        } else if now.saturating_sub(self.halved_at) >= HALVES {
            self.halved_at = now;
            self.bytes /= 2;
            self.purged_early /= 2;
        }
    }
}

/// Does piece after piece under the central lock, which others may have in between, until `work` says that there is no more to do.
fn by_piece(mut work: impl FnMut(&mut Spans) -> bool) {
    loop {
        let (mut central, since) = (central(), clock::read());
        if !work(&mut central.spans) {
            return;
        }
        if clock::read().saturating_sub(since) > LONG {
            central.give_way();
        }
    }
}

/// Purges what became free before `before`, oldest first, at most `limit` runs or pieces of them. True if something is left to do.
#[inline(never)]
pub(crate) fn purge_older(before: u64, limit: usize) -> bool {
    let (mut more, mut left) = (true, limit);
    by_piece(|spans| {
        more = spans.purge_oldest(before);
        left = left.saturating_sub(1);
        more && left > 0
    });
    more
}

/// After a run of so many units has been freed: purges the oldest ones until no more than enough lie about. At most a
/// piece, or twice as many units: who frees much does that, and not who frees little beside it.
pub(crate) fn relieve(units: usize, decay_ns: Option<u64>) {
    let Some(decay) = decay_ns.filter(|_| units >= LARGE) else { return };
    let mut left = PIECE.max(2 * units);
    by_piece(|spans| {
        let Some(purged) = spans.purge_surplus(decay, left) else { return false };
        left -= purged;
        left > 0
    });
}

/// Gives as many units back as a large block has just been given that were not in use before.
pub(crate) fn purge_unfit(units: usize) {
    let (mut left, mut runs) = (units, UNFIT_RUNS);
    by_piece(|spans| {
        let Some(purged) = spans.purge_unfit(left) else { return false };
        (left, runs) = (left - purged, runs - 1);
        left > 0 && runs > 0
    });
}

impl Spans {
    /// Purges all dirty runs, for who needs memory and has none.
    #[cold]
    #[inline(never)]
    pub(super) fn purge_all(&mut self) {
        // What the kernel refuses is as if it became free in a moment: by a later time it would have its turn again, and again.
        let before = clock::last();
        while self.purge_oldest(before) {}
    }

    /// Purges a piece of the oldest run, if that became free before `before`. True if there is more to do.
    pub(crate) fn purge_oldest(&mut self, before: u64) -> bool {
        self.appetite.fade(clock::last());
        if self.spent_since.is_some_and(|since| since <= before) {
            self.purge_ledgers();
        }
        let is_due = |spans: &Self| spans.oldest_stamp().is_some_and(|since| since <= before);
        if is_due(self) {
            self.purge_last(self.oldest, PIECE);
        }
        is_due(self)
    }

    fn purge_surplus(&mut self, decay: u64, units: usize) -> Option<usize> {
        let enough = if decay > 0 { CACHE + self.helping(HELPINGS) } else { 0 };
        self.purge_early(enough, units)
    }

    fn purge_unfit(&mut self, units: usize) -> Option<usize> {
        self.purge_early(UNFIT + self.helping(1), units)
    }

    /// So many times the appetite, in bytes, but with what is in use no more than [`SHARE`] beyond the most that ever was:
    /// blocks of two sizes in turn would otherwise each leave the other's memory lying about.
    fn helping(&self, times: u64) -> u64 {
        let most = self.most_used + self.most_used / SHARE;
        (times * self.appetite.bytes).min((most.saturating_sub(self.used_units) * UNIT) as u64)
    }

    /// Purges a piece of the oldest run before its time, at most `most` units, if more than `enough` bytes lie about.
    fn purge_early(&mut self, enough: u64, most: usize) -> Option<usize> {
        let before = globals().cached.get();
        if before <= enough || self.oldest == NO_UNIT {
            return None;
        }
        let purged = self.purge_last(self.oldest, most.min(PIECE))?;
        self.appetite.purged_early += before - globals().cached.get();
        Some(purged)
    }

    /// Since when the oldest dirty run is free, monotonic ns.
    fn oldest_stamp(&self) -> Option<u64> {
        (self.oldest != NO_UNIT).then(|| run(self.oldest).stamp.get())
    }

    /// Since when there is something that [`purge_oldest`](Self::purge_oldest) will have to do, monotonic ns.
    pub(crate) fn oldest_since(&self) -> Option<u64> {
        self.oldest_stamp().into_iter().chain(self.spent_since).min()
    }

    /// Gives back what the ledger says of former blocks in clean runs.
    #[inline(never)]
    fn purge_ledgers(&mut self) {
        self.spent_since = None;
        for zone in &self.zones {
            zone.clean.each(|first| purge_ledger(first as usize, first as usize + run(first).units.get() as usize));
        }
    }

    /// Makes a dirty run clean, if the kernel does not refuse.
    pub(super) fn purge(&mut self, first: u32) {
        self.purge_last(first, usize::MAX);
    }

    /// Makes the last units of a dirty run clean, at most so many: how many, or `None` if the kernel refuses.
    fn purge_last(&mut self, first: u32, most: usize) -> Option<usize> {
        let record = run(first);
        let (length, all) = (record.units.get() as usize, record.touched.get());
        let kept = length.saturating_sub(most);
        let units = length - kept;
        let (part, touched) = (first + kept as u32, all - share_of(all, length, kept));
        if give_back(UnitIndex(part), units * UNIT).is_err() {
            // It stays dirty, at the end of the queue and as if it became free in a moment, so that
            // the others have their turn.
            self.unlink(first);
            self.link(first, length, Kind::Dirty, all, clock::read() + 1);
            return None;
        }
        if kept == 0 {
            self.unlink(first);
        } else {
            // What is left keeps its place in the queue.
            self.bins(Kind::Dirty, zone_of(first)).remove(first);
            mark(first, kept, Kind::Dirty);
            record.touched.set(all - touched);
            self.bins(Kind::Dirty, zone_of(first)).push(first, kept);
        }
        globals().cached.sub_shared(touched);
        globals().purged.add_shared(touched);
        globals().purges.add_shared(1);
        globals().retained.add_shared((units * UNIT) as u64);
        mark(part, units, Kind::Used);
        let start = self.join(part, units, Kind::Clean, 0, 0) as usize;
        let end = start + run(start as u32).units.get() as usize;
        // Units that were clean before may have waited for those that share pages of the ledger with them.
        let (first, last) = (part as usize / SHARERS * SHARERS, (part as usize + units).next_multiple_of(SHARERS));
        purge_ledger(first.max(start), last.min(end));
        Some(units.min(most))
    }

    /// Puts a dirty run where its stamp belongs, looking from behind this one on, or, for `NO_UNIT`, from before the oldest.
    pub(super) fn enqueue(&mut self, first: u32, behind: u32) {
        let stamp = run(first).stamp.get();
        // Of several that became free at the same time, the last one stays the newest.
        let is_oldest =
            self.oldest != NO_UNIT && run(self.oldest).stamp.get() >= stamp && run(self.newest).stamp.get() > stamp;
        let mut older = if is_oldest { NO_UNIT } else { behind };
        while older != NO_UNIT && run(older).stamp.get() > stamp {
            older = run(older).older.get();
        }
        let next = |older: u32, oldest| if older == NO_UNIT { oldest } else { run(older).newer.get() };
        let mut newer = next(older, self.oldest);
        while newer != NO_UNIT && run(newer).stamp.get() < stamp {
            older = newer;
            newer = next(older, self.oldest);
        }
        run(first).older.set(older);
        run(first).newer.set(newer);
        if older == NO_UNIT {
            self.oldest = first
        } else {
            run(older).newer.set(first)
        }
        if newer == NO_UNIT { self.newest = first } else { run(newer).older.set(first) }
    }

    /// Takes a run out of the queue.
    pub(super) fn dequeue(&mut self, first: u32) {
        let record = run(first);
        let (older, newer) = (record.older.get(), record.newer.get());
        if older == NO_UNIT {
            self.oldest = newer
        } else {
            run(older).newer.set(newer)
        }
        if newer == NO_UNIT { self.newest = older } else { run(newer).older.set(older) }
    }
}

/// Gives back memory of a free run, also where it is locked: nobody would unlock it any more. A filter of system calls may not
/// know that advice, and end the process.
fn give_back(first: UnitIndex, bytes: usize) -> os::Result<()> {
    let address = WINDOW.address(first);
    // SAFETY: a part of a free run, which nobody uses.
    match unsafe { os::purge(address, bytes) } {
        // SAFETY: as above.
        Err(Errno(libc::EINVAL)) if !segment::is_filtered() => unsafe { os::purge_locked(address, bytes) },
        given => given,
    }
}

/// Units of a group.
const GROUP: usize = ledger::GROUP / UNIT_GRANULES;

/// Gives back the pages of the ledger that hold entries of former blocks in these units of a clean run, and of no others.
fn purge_ledger(first: usize, end: usize) {
    let mut unit = first.next_multiple_of(SHARERS);
    let end = end / SHARERS * SHARERS;
    while unit < end {
        let next = end.min((unit + 1).next_multiple_of(GROUP));
        purge_in_group(unit as u32, next as u32);
        unit = next;
    }
}

/// As [`purge_ledger`], for units of one group that share their pages with no others.
fn purge_in_group(first: u32, end: u32) {
    let pages = || (first..end).step_by(SHARERS).map(UnitIndex);
    // SAFETY: units of a free run lie below the committed end.
    let chunk = unsafe { WINDOW.chunk(UnitIndex(first)) };
    for area in 0..ledger::AREAS {
        let written = pages().filter(|&unit| chunk.written(unit) >> area & 1 != 0).count();
        if written == 0 {
            continue;
        }
        let bytes = pages().count() * PAGE;
        // SAFETY: pages of the ledger of free units, side by side.
        if unsafe { os::purge(WINDOW.ledger_part(UnitIndex(first), area), bytes) }.is_err() {
            return;
        }
        pages().for_each(|unit| chunk.forget_ledger(unit, area));
        globals().metadata.sub_shared((written * PAGE) as u64);
    }
    // SAFETY: units of a free run.
    for unit in unsafe { WINDOW.units(UnitIndex(first), (end - first) as usize) } {
        if unit.state() != owner::CLEAN {
            unit.set_free(owner::CLEAN, unit.guard());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const START: u64 = 10 * HALVES;

    fn missed(bytes: u64) -> Appetite {
        let mut appetite = Appetite::new();
        appetite.purged_early = bytes;
        appetite.miss(bytes / 2 + 1);
        appetite.miss(bytes / 2 + 1);
        assert_eq!((appetite.bytes, appetite.purged_early), (bytes, 0), "no more is missed than was purged");
        appetite.fade(START);
        appetite
    }

    #[test]
    fn what_was_missed_is_forgotten_by_halves_from_the_first_look_on() {
        let mut appetite = missed(100);
        appetite.fade(START + HALVES - 1);
        assert_eq!(appetite.bytes, 100);
        appetite.fade(START + HALVES);
        assert_eq!(appetite.bytes, 50);
    }
}
