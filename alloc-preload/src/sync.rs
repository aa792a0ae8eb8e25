//! What threads share without owning it together: atomics, and cells that pass from hand to hand with a lock or an atomic.
//!
//! The files that take these from here also run under loom, whose versions then stand in their place: see the models in
//! `tests/tests/models`.

pub(crate) use core::cell::{Cell, UnsafeCell};
pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicUsize, Ordering, fence};

/// How often a thread looks at a lock that is held before it sleeps.
pub(crate) const LOOKS: u32 = 30;
