//! A clock for slow paths: a system call at most every few milliseconds, judged by the processor's counter.

use crate::os;
use core::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};

static NOW: AtomicU64 = AtomicU64::new(0);
static READ_AT: AtomicU64 = AtomicU64::new(0);

/// Counter steps between two readings: 10 ms at 3 GHz.
const STEPS: u64 = 30_000_000;
/// The same in nanoseconds, where the counter may not be read.
const PAUSE: u64 = 10_000_000;

/// How the time is told.
static MEANS: AtomicU8 = AtomicU8::new(COUNTER);
const COUNTER: u8 = 0;
/// The counter may not be read by some thread, which would end the program (`PR_SET_TSC`).
const CALLS: u8 = 1;
/// Nor may the kernel be asked (`SECCOMP_MODE_STRICT`): time stands still.
const NOTHING: u8 = 2;

/// Where the kernel's own function for the time lies, which makes no system call; 0 for nowhere. The C library's leads to it,
/// but others wrap that one.
static LENT: AtomicUsize = AtomicUsize::new(0);
type Lent = extern "C" fn(libc::clockid_t, *mut libc::timespec) -> core::ffi::c_int;

/// From now on this function tells the time: no system call is made for it, which a program may filter. `None` changes nothing.
///
/// # Safety
/// It does what `clock_gettime` does.
pub(crate) unsafe fn spare_the_kernel(function: Option<usize>) {
    if let Some(function) = function {
        LENT.store(function, Ordering::Relaxed);
    }
}

/// Nanoseconds on a clock that can be read without a system call.
pub(crate) fn ask(clock: libc::clockid_t) -> u64 {
    let lent = LENT.load(Ordering::Relaxed);
    // It may read the processor's counter.
    if lent == 0 || MEANS.load(Ordering::Relaxed) != COUNTER {
        return os::clock_ns(clock);
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: as `spare_the_kernel` was told.
    let lent = unsafe { core::mem::transmute::<usize, Lent>(lent) };
    match lent(clock, &raw mut time) {
        0 => time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64,
        _ => 0,
    }
}

fn now() -> u64 {
    ask(libc::CLOCK_MONOTONIC)
}

/// Does what forbids the processor's counter, and every way to tell the time if `strict`, for good unless it fails.
pub(crate) fn without_counter<T>(strict: bool, forbid: impl FnOnce() -> os::Result<T>) -> os::Result<T> {
    let before = MEANS.fetch_max(if strict { NOTHING } else { CALLS }, Ordering::Relaxed);
    forbid().inspect_err(|_| MEANS.store(before, Ordering::Relaxed))
}

/// Whether [`moved`] may tell something now.
#[inline(always)]
pub(crate) fn may_have_moved() -> bool {
    MEANS.load(Ordering::Relaxed) != COUNTER || counter().wrapping_sub(READ_AT.load(Ordering::Relaxed)) >= STEPS
}

#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every x86-64 processor has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// `CLOCK_MONOTONIC` in nanoseconds, some milliseconds old at most; `None` if it was read a moment ago.
pub(crate) fn moved() -> Option<u64> {
    if MEANS.load(Ordering::Relaxed) != COUNTER {
        return moved_uncounted();
    }
    let counter = counter();
    if counter.wrapping_sub(READ_AT.load(Ordering::Relaxed)) < STEPS {
        return None;
    }
    READ_AT.store(counter, Ordering::Relaxed);
    Some(read())
}

/// As `moved`, without the counter.
#[cold]
#[inline(never)]
fn moved_uncounted() -> Option<u64> {
    let before = last();
    if MEANS.load(Ordering::Relaxed) == NOTHING {
        return None;
    }
    let now = now();
    (now.saturating_sub(before) >= PAUSE).then(|| {
        NOW.store(now, Ordering::Relaxed);
        now
    })
}

/// `CLOCK_MONOTONIC` in nanoseconds, read now.
pub(crate) fn read() -> u64 {
    if MEANS.load(Ordering::Relaxed) == NOTHING {
        return last();
    }
    let now = now();
    NOW.store(now, Ordering::Relaxed);
    now
}

/// The last reading.
pub(crate) fn last() -> u64 {
    NOW.load(Ordering::Relaxed)
}
