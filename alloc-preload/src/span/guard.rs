//! Guards: pages behind large blocks, which fault when something is written beyond the end.
//!
//! The cheap kind is a mark in the page table (`MADV_GUARD_INSTALL`, Linux 6.13). On older kernels it is an inaccessible
//! page, which splits a mapping in three: there are few of these, behind the largest blocks only.
//!
//! A guard stays when its block is freed, also where the memory around it is purged, and the record of its unit says so:
//! the same run handed out again has it already. Invariant: no unit in use has a guard but the one that its large block's
//! record names. It holds because units become used in `Spans::take` and `Spans::extend` only, and both [`clear`] them.

use crate::clock;
use crate::os::{self, Errno, PAGE};
use crate::segment;
use crate::window::{UNIT_PAGES, Unit, UnitIndex, WINDOW};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Inaccessible pages at a time.
const PAGES: u32 = 256;
/// Smaller blocks have no inaccessible page behind them: it takes as long as two page faults.
const PAGES_FROM: usize = 1 << 20;

/// Units looked at together for guards.
const LOOKED_AT: usize = 8;

/// What guards are made of; known once one has been tried.
static KIND: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const MARK: u8 = 1;
const PAGE_OF_NONE: u8 = 2;

/// Inaccessible pages that may still be made.
static PAGES_LEFT: AtomicU32 = AtomicU32::new(PAGES);
/// The kernel has refused to make more.
static OFF: AtomicBool = AtomicBool::new(false);

/// Whether no more guards are made. A filter of system calls may not know the advice.
fn is_off() -> bool {
    OFF.load(Ordering::Relaxed) || segment::is_filtered()
}

/// Whether a block of so many bytes is to have room for a guard behind it.
pub(crate) fn is_wanted(bytes: usize) -> bool {
    let left = || bytes >= PAGES_FROM && PAGES_LEFT.load(Ordering::Relaxed) > 0;
    !is_off() && (KIND.load(Ordering::Relaxed) != PAGE_OF_NONE || left())
}

/// Makes a page a guard; false where that cannot be.
///
/// # Safety
/// The page is committed memory of ours whose contents nobody needs.
pub(crate) unsafe fn install(page: *mut u8) -> bool {
    if is_off() {
        return false;
    }
    let kind = KIND.load(Ordering::Relaxed);
    if kind == PAGE_OF_NONE {
        // SAFETY: the caller's.
        return unsafe { close(page) };
    }
    // SAFETY: the caller's.
    match unsafe { os::guard(page, PAGE) } {
        Ok(()) => match KIND.compare_exchange(UNKNOWN, MARK, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) | Err(MARK) => true,
            // Another thread's page was refused just now, and kinds are never mixed. One that stays is for `remove`.
            // SAFETY: the caller's.
            Err(_) => unsafe { os::unguard(page, PAGE).or_else(|_| os::map_over(page, PAGE)) }.is_err(),
        },
        Err(Errno(libc::ENOMEM)) => false,
        Err(_) => {
            // Kinds are never mixed. A kernel that knew the advice refuses it for memory that was locked since.
            let tried = KIND.compare_exchange(UNKNOWN, PAGE_OF_NONE, Ordering::Relaxed, Ordering::Relaxed);
            OFF.store(tried.is_err(), Ordering::Relaxed);
            // SAFETY: the caller's.
            tried.is_ok() && unsafe { close(page) }
        }
    }
}

/// As [`install`], by protection.
unsafe fn close(page: *mut u8) -> bool {
    let left = |left: u32| left.checked_sub(1);
    if PAGES_LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_err() {
        return false;
    }
    // SAFETY: the caller's.
    let closed = unsafe { os::make_inaccessible(page, PAGE) }.is_ok();
    if !closed {
        PAGES_LEFT.fetch_add(1, Ordering::Relaxed);
        OFF.store(true, Ordering::Relaxed);
    }
    closed
}

/// Makes a guard a page like any other, whose contents are not known. Fails where the kernel refuses all ways.
///
/// # Safety
/// The page is a guard that [`install`] made, in memory of ours.
pub(crate) unsafe fn remove(page: *mut u8) -> os::Result<()> {
    let closed = KIND.load(Ordering::Relaxed) == PAGE_OF_NONE;
    // SAFETY: the caller's.
    let opened = unsafe {
        match (closed, segment::is_filtered()) {
            (true, _) => os::make_accessible(page, PAGE),
            (false, false) => os::unguard(page, PAGE),
            (false, true) => Err(Errno(libc::EPERM)),
        }
        .or_else(|_| os::map_over(page, PAGE))
    };
    if opened.is_ok() {
        is_gone();
    }
    opened
}

/// A guard is none any more.
pub(super) fn is_gone() {
    if KIND.load(Ordering::Relaxed) == PAGE_OF_NONE {
        PAGES_LEFT.fetch_add(1, Ordering::Relaxed);
    }
}

/// Guards behind memory that was in use before, where one costs as much as some page faults, and the block may cost none:
/// so many at a time, over the whole process. Behind other memory every block has one, but of sparse ones (see `Spans::take`).
const AT_A_TIME: u64 = 8;
/// When there may be another one, in ns. Each takes about 10 us, a thousandth of this: to be made, to be removed again, for the
/// pages that have to be found anew, and for other processors that have to forget them.
const EVERY: u64 = 10_000_000;

/// When there may be as many as ever again, in monotonic ns.
static FULL_AT: AtomicU64 = AtomicU64::new(0);

/// Whether there may be another guard behind memory that was in use before.
pub(super) fn draw() -> bool {
    let now = clock::last();
    FULL_AT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| after_one(full_at, now)).is_ok()
}

/// Whether there may be one now.
pub(super) fn is_due() -> bool {
    after_one(FULL_AT.load(Ordering::Relaxed), clock::last()).is_some()
}

/// When there may be as many as ever again after another one; `None` if there is none.
fn after_one(full_at: u64, now: u64) -> Option<u64> {
    let full_at = full_at.max(now).saturating_add(EVERY);
    (full_at <= now.saturating_add(AT_A_TIME * EVERY)).then_some(full_at)
}

/// Removes the guards from free units that are about to be used, but for the one at page `keep` of them. Tells whether
/// that is there; fails, with some left, where one cannot be removed. Under the central lock.
pub(super) fn clear(first: u32, units: usize, keep: Option<usize>) -> os::Result<bool> {
    let mut kept = false;
    // SAFETY: committed units.
    let units = unsafe { WINDOW.units(UnitIndex(first), units) };
    for (row, units) in units.chunks(LOOKED_AT).enumerate() {
        // Nearly all have none.
        if !Unit::any_guarded(units) {
            continue;
        }
        for (i, unit) in units.iter().enumerate() {
            let Some(page) = unit.guard() else { continue };
            let index = row * LOOKED_AT + i;
            if keep == Some(index * UNIT_PAGES + page) {
                kept = true;
                continue;
            }
            // SAFETY: the record says that there is a guard.
            unsafe { remove(WINDOW.address(UnitIndex(first + index as u32)).add(page * PAGE)) }?;
            // Afterwards: what a fork in between says twice is removed twice.
            unit.set_owner(unit.state());
        }
    }
    Ok(kept)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn guards_over_used_memory_come_a_few_at_once_and_then_one_by_one() {
        let (mut full_at, mut made) = (0, 0);
        let start = 5 * EVERY;
        for step in 0..=1000 {
            let now = start + step * EVERY / 10;
            while let Some(next) = after_one(full_at, now) {
                (full_at, made) = (next, made + 1);
            }
            assert_eq!(made, AT_A_TIME + step / 10);
        }
        let rested = start + 1000 * EVERY;
        assert!((0..AT_A_TIME).all(|_| after_one(full_at, rested).inspect(|&next| full_at = next).is_some()));
        assert_eq!(after_one(full_at, rested), None);
    }
}
