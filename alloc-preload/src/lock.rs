//! A futex lock that a fork cannot leave locked: its words live in memory that a child finds zeroed.

use crate::os;
use crate::sync::{AtomicU32, LOOKS, Ordering, spin_loop};

const FREE: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// Zero is unlocked.
#[repr(transparent)]
pub(crate) struct Lock(AtomicU32);

impl Lock {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(FREE))
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        if self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            self.wait();
        }
        Guard(self)
    }

    /// Whether a thread sleeps until it is free.
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CONTENDED
    }

    #[inline(never)]
    fn wait(&self) {
        for _ in 0..LOOKS {
            spin_loop();
            // Looks first: to try takes the line from the processor that holds the lock.
            if self.0.load(Ordering::Relaxed) == FREE
                && self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return;
            }
        }
        while self.0.swap(CONTENDED, Ordering::Acquire) != FREE {
            os::futex_wait(&self.0, CONTENDED);
        }
    }
}

/// Holds the lock until dropped.
pub(crate) struct Guard<'a>(&'a Lock);

impl Drop for Guard<'_> {
    #[inline(never)]
    fn drop(&mut self) {
        if self.0.0.swap(FREE, Ordering::Release) == CONTENDED {
            os::futex_wake(&self.0.0);
        }
    }
}
