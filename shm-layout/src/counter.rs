//! Counters: a `u64` in shared memory. The method's name says who else may write.
//!
//! Every store releases: whoever has seen a counter's new value, and then reads others with an order before that, sees all
//! that its writer had counted before. On x86-64 that is what a store does anyway.

use crate::sync::{AtomicU64, Ordering};

/// A `u64` that any process may read at any time without a lock.
#[repr(transparent)]
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter that starts at `value`.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// The present value.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Overwrites the value. Only for a counter's one writer.
    #[inline(always)]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Adds `n` where the caller is the only writer: no locked instruction. Returns the new value.
    #[inline(always)]
    pub fn add_owned(&self, n: u64) -> u64 {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(n);
        self.0.store(sum, Ordering::Release);
        sum
    }

    /// Adds `n` where several threads write. Returns the new value.
    #[inline]
    pub fn add_shared(&self, n: u64) -> u64 {
        self.0.fetch_add(n, Ordering::Release).wrapping_add(n)
    }

    /// Subtracts `n` where several threads write.
    #[inline]
    pub fn sub_shared(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Release);
    }

    /// Raises the value to at least `n`, whoever else writes.
    #[inline]
    pub fn raise_shared(&self, n: u64) {
        // Even an exchange that changes nothing would take the line away from the others.
        if self.get() < n {
            self.0.fetch_max(n, Ordering::Release);
        }
    }

    /// Stores `new` if the value is still `old`: elects one writer among several.
    #[inline]
    pub fn elect(&self, old: u64, new: u64) -> bool {
        self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}
