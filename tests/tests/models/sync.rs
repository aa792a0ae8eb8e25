//! Loom's atomics and cells. Like the plain ones they can be made in a constant, and all zeroes are a valid state; in
//! every interleaving they start anew from that.

use core::cell;
use std::any::Any;
use std::sync::Mutex;
use std::sync::atomic;

pub(crate) use loom::hint::spin_loop;
pub(crate) use loom::sync::atomic::{Ordering, fence};

/// Once is enough to try both ways.
pub(crate) const LOOKS: u32 = 1;

/// The number of the interleaving, and what was made in it.
static NOW: atomic::AtomicU64 = atomic::AtomicU64::new(0);
static MADE: Mutex<Vec<Box<Made>>> = Mutex::new(Vec::new());

struct Made(Box<dyn Any>);
// SAFETY: loom's threads are taken turns with by one.
unsafe impl Send for Made {}

/// Begins the next interleaving.
pub(crate) fn begin() {
    NOW.fetch_add(1, atomic::Ordering::Relaxed);
    MADE.lock().unwrap().clear();
}

/// Something of loom's, made when this interleaving first uses it.
struct Slot<T> {
    since: cell::Cell<u64>,
    at: cell::Cell<*const T>,
}

impl<T: 'static> Slot<T> {
    const fn new() -> Self {
        Self { since: cell::Cell::new(0), at: cell::Cell::new(core::ptr::null()) }
    }

    fn get(&self, make: impl FnOnce() -> T) -> &T {
        let now = NOW.load(atomic::Ordering::Relaxed);
        if self.since.get() != now {
            let made = Box::new(make());
            self.at.set(&raw const *made);
            self.since.set(now);
            MADE.lock().unwrap().push(Box::new(Made(made)));
        }
        // SAFETY: made in this interleaving, and kept to its end.
        unsafe { &*self.at.get() }
    }
}

/// Loom remembers the last access alone. A thread that loads and then stores would hide that another has loaded before, and
/// the orders of those two would not be tried. So loads are counted, which gives them an order among themselves.
struct Watched<T> {
    real: T,
    loads: loom::sync::atomic::AtomicUsize,
}

macro_rules! atomic {
    ($name:ident $(<$t:ident>)?, $value:ty, $zero:expr) => {
        pub(crate) struct $name $(<$t: 'static>)? {
            first: $value,
            real: Slot<Watched<loom::sync::atomic::$name $(<$t>)?>>,
        }

        // SAFETY: loom's threads are taken turns with by one.
        unsafe impl $(<$t>)? Sync for $name $(<$t>)? {}
        // SAFETY: as above.
        unsafe impl $(<$t>)? Send for $name $(<$t>)? {}

        impl $(<$t>)? Default for $name $(<$t>)? {
            fn default() -> Self {
                Self::new($zero)
            }
        }

        impl $(<$t>)? $name $(<$t>)? {
            pub(crate) const fn new(first: $value) -> Self {
                Self { first, real: Slot::new() }
            }

            fn watched(&self) -> &Watched<loom::sync::atomic::$name $(<$t>)?> {
                self.real.get(|| Watched {
                    real: loom::sync::atomic::$name::new(self.first),
                    loads: loom::sync::atomic::AtomicUsize::new(0),
                })
            }

            fn real(&self) -> &loom::sync::atomic::$name $(<$t>)? {
                &self.watched().real
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                let watched = self.watched();
                watched.loads.fetch_add(1, Ordering::Relaxed);
                watched.real.load(order)
            }

            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                self.real().swap(value, order)
            }

            pub(crate) fn compare_exchange(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.real().compare_exchange(old, new, success, failure)
            }

            /// Never fails by mistake: that would only repeat a loop.
            pub(crate) fn compare_exchange_weak(
                &self,
                old: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                self.real().compare_exchange(old, new, success, failure)
            }
        }
    };
}

macro_rules! stores {
    ($name:ident $(<$t:ident>)?, $value:ty) => {
        impl $(<$t>)? $name $(<$t>)? {
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                self.real().store(value, order);
            }
        }
    };
}

atomic!(AtomicU8, u8, 0);
atomic!(AtomicU32, u32, 0);
atomic!(AtomicU64, u64, 0);
atomic!(AtomicUsize, usize, 0);
atomic!(AtomicPtr<T>, *mut T, core::ptr::null_mut());

stores!(AtomicU32, u32);
stores!(AtomicU64, u64);
stores!(AtomicUsize, usize);
stores!(AtomicPtr<T>, *mut T);

impl AtomicU8 {
    /// An exchange, which keeps its place among the others: loom would let a plain store end up before an exchange that
    /// has read what the store overwrites, and the language does not.
    pub(crate) fn store(&self, value: u8, order: Ordering) {
        self.real().swap(value, order);
    }
}

impl AtomicU64 {
    pub(crate) fn fetch_add(&self, n: u64, order: Ordering) -> u64 {
        self.real().fetch_add(n, order)
    }

    pub(crate) fn fetch_sub(&self, n: u64, order: Ordering) -> u64 {
        self.real().fetch_sub(n, order)
    }

    pub(crate) fn fetch_max(&self, n: u64, order: Ordering) -> u64 {
        self.real().fetch_max(n, order)
    }
}

impl AtomicU32 {
    /// What the kernel sees: the last value.
    pub(crate) fn last(&self) -> u32 {
        self.real().fetch_add(0, Ordering::Relaxed)
    }
}

/// A cell that must not be read and written at the same time.
pub(crate) struct Cell<T> {
    value: cell::Cell<T>,
    watch: Slot<loom::cell::UnsafeCell<()>>,
}

// SAFETY: loom's threads are taken turns with by one.
unsafe impl<T> Sync for Cell<T> {}

impl<T: Copy> Cell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: cell::Cell::new(value), watch: Slot::new() }
    }

    fn watch(&self) -> &loom::cell::UnsafeCell<()> {
        self.watch.get(|| loom::cell::UnsafeCell::new(()))
    }

    #[track_caller]
    pub(crate) fn get(&self) -> T {
        self.watch().with(|_| self.value.get())
    }

    #[track_caller]
    pub(crate) fn set(&self, value: T) {
        self.replace(value);
    }

    #[track_caller]
    pub(crate) fn replace(&self, value: T) -> T {
        self.watch().with_mut(|_| self.value.replace(value))
    }
}

/// What an order between the threads has to guard: whoever asks for its address uses it.
pub(crate) struct UnsafeCell<T> {
    value: cell::UnsafeCell<T>,
    watch: Slot<loom::cell::UnsafeCell<()>>,
}

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { value: cell::UnsafeCell::new(value), watch: Slot::new() }
    }

    #[track_caller]
    pub(crate) fn get(&self) -> *mut T {
        self.watch.get(|| loom::cell::UnsafeCell::new(())).with_mut(|_| self.value.get())
    }
}
