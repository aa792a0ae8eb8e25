//! A clock for slow paths: a system call at most every few milliseconds, judged by the processor's counter.

use crate::os;
use core::sync::atomic::{AtomicU64, Ordering};

static NOW: AtomicU64 = AtomicU64::new(0);
static READ_AT: AtomicU64 = AtomicU64::new(0);

/// Counter steps between two readings: 10 ms at 3 GHz.
const STEPS: u64 = 30_000_000;

/// `CLOCK_MONOTONIC` in nanoseconds, some milliseconds old at most; `None` if it was read a moment ago.
pub(crate) fn moved() -> Option<u64> {
    // SAFETY: every x86-64 processor has the counter.
    let counter = unsafe { core::arch::x86_64::_rdtsc() };
    if counter.wrapping_sub(READ_AT.load(Ordering::Relaxed)) < STEPS {
        return None;
    }
    READ_AT.store(counter, Ordering::Relaxed);
    Some(read())
}

/// `CLOCK_MONOTONIC` in nanoseconds, read now.
pub(crate) fn read() -> u64 {
    let now = os::clock_ns(libc::CLOCK_MONOTONIC);
    NOW.store(now, Ordering::Relaxed);
    now
}

/// The last reading.
pub(crate) fn last() -> u64 {
    NOW.load(Ordering::Relaxed)
}
