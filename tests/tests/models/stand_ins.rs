//! What the models need of the modules that they do without.

pub(crate) mod account {
    pub(crate) struct Account;
}

pub(crate) mod background {
    pub(crate) struct Background;

    pub(crate) fn is_on() -> bool {
        false
    }

    pub(crate) fn freed() {}

    pub(crate) fn is_borrowed() -> bool {
        false
    }
}

pub(crate) mod boot {
    use crate::segment::Segment;

    pub(crate) fn segment() -> Option<Segment> {
        Some(Segment)
    }
}

pub(crate) mod cancel {
    /// Nobody is cancelled.
    pub(crate) struct Shelter;

    impl Shelter {
        pub(crate) fn enter() -> Self {
            Self
        }
    }
}

pub(crate) mod clock {
    use std::sync::atomic::{AtomicU64, Ordering};

    pub(crate) fn last() -> u64 {
        0
    }

    /// Never stands still.
    pub(crate) fn read() -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(1);
        NOW.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) mod fork {
    pub(crate) fn is_child() -> bool {
        false
    }
}

pub(crate) mod options {
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Huge {
        Never,
        Always,
    }

    pub(crate) struct Options {
        pub(crate) harden: bool,
        pub(crate) huge: Huge,
        pub(crate) decay_ms: Option<u32>,
    }

    pub(crate) fn options() -> &'static Options {
        &Options { harden: false, huge: Huge::Never, decay_ms: None }
    }
}

pub(crate) mod misuse {
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Clone, Copy)]
    pub(crate) enum Call {
        Free,
    }

    static TOLD: AtomicUsize = AtomicUsize::new(0);

    pub(crate) fn freed_twice_or_overwritten(_: usize, _: Option<usize>) {
        TOLD.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn written_after_free(_: usize, _: usize, _: Call) {
        unreachable!("nothing is hardened");
    }

    /// Of the calling thread: stack pointer and thread pointer.
    pub(crate) fn pointers() -> (usize, usize) {
        (0, 0)
    }

    /// Misuses told since this was asked last.
    pub(crate) fn told() -> usize {
        TOLD.swap(0, Ordering::Relaxed)
    }
}

pub(crate) mod os {
    use crate::sync::AtomicU32;
    use core::cell::Cell;
    use loom::sync::{Condvar, Mutex};

    pub(crate) const PAGE: usize = 4096;
    pub(crate) type Result<T> = core::result::Result<T, ()>;

    loom::lazy_static! {
        static ref SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    /// Sleeps until woken, unless the word has another value: looking and falling asleep are one step.
    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32) {
        let guard = SLEEPERS.0.lock().unwrap();
        if word.last() == expected {
            drop(SLEEPERS.1.wait(guard).unwrap());
        }
    }

    pub(crate) fn futex_wake(_: &AtomicU32) {
        let _guard = SLEEPERS.0.lock().unwrap();
        SLEEPERS.1.notify_one();
    }

    pub(crate) mod thread {
        /// Nothing in the models takes long: nobody gives way.
        pub(crate) fn sleep(_: u64) {}
    }

    loom::thread_local! {
        /// The thread as the kernel knows it; 0 as long as nobody has said.
        pub(crate) static TID: Cell<u32> = Cell::new(0);
    }

    pub(crate) fn tid() -> u32 {
        TID.with(Cell::get)
    }

    pub(crate) fn tid_by_library() -> u32 {
        TID.with(Cell::get)
    }

    pub(crate) unsafe fn wipe_on_fork(_: *mut u8, _: usize) -> Result<()> {
        Ok(())
    }

    pub(crate) unsafe fn unmap(_: *mut u8, _: usize) -> Result<()> {
        unreachable!("no program limits itself")
    }

    pub(crate) unsafe fn purge(_: *mut u8, _: usize) -> Result<()> {
        unreachable!("nothing decays")
    }
}

pub(crate) mod span {
    use crate::options::Huge;
    use crate::window::{SLAB_UNITS, UNITS, UnitIndex};

    pub(crate) fn is_blank(_: UnitIndex) -> bool {
        false
    }

    /// Address space is not scarce.
    pub(crate) fn hold_slab(_: UnitIndex, _: impl FnOnce()) -> bool {
        true
    }

    pub(crate) fn settle_slab(_: UnitIndex, _: usize) {}

    pub(crate) fn share_a_zone(_: usize, _: usize) -> bool {
        true
    }

    pub(crate) const LOOKS: u64 = 1;

    /// The models have no large blocks.
    pub(crate) struct Parked;

    pub(crate) struct Place<'a>(&'a Parked);

    pub(crate) struct Fit;

    pub(crate) struct Run {
        pub(crate) units: std::cell::Cell<u32>,
    }

    impl Run {
        pub(crate) fn parked_bytes(&self) -> u64 {
            unreachable!("no large blocks")
        }
    }

    impl Place<'_> {
        pub(crate) fn put(self, _: UnitIndex, _: &Run, _: Fit) {
            unreachable!("no large blocks")
        }
    }

    impl Parked {
        pub(crate) fn place_for(&self, _: usize) -> Option<Place<'_>> {
            unreachable!("no large blocks")
        }

        pub(crate) fn take_same(&self, _: usize) -> Option<UnitIndex> {
            unreachable!("no large blocks")
        }

        pub(crate) fn take(&self, _: Wanted) -> Option<Taken> {
            unreachable!("no large blocks")
        }

        pub(crate) fn take_all(&self, _: impl FnMut(UnitIndex, u64)) {}

        pub(crate) fn take_aged(&self, _: impl FnMut(UnitIndex)) {}

        pub(crate) fn each(&self, _: impl FnMut(UnitIndex)) {}
    }

    pub(crate) fn parked_bytes(_: UnitIndex) -> u64 {
        unreachable!("no large blocks")
    }

    pub(crate) fn parked_units(_: UnitIndex) -> usize {
        unreachable!("no large blocks")
    }

    pub(crate) fn untouch(_: UnitIndex, _: usize) {
        unreachable!("nothing decays")
    }

    pub(crate) fn free_units(_: UnitIndex, _: usize) {
        unreachable!("no large blocks")
    }

    pub(crate) fn purge_older(_: u64, _: usize) -> bool {
        unreachable!("nothing decays")
    }

    pub(crate) fn relieve(_: usize, _: Option<u64>) {
        unreachable!("no large blocks")
    }

    /// Which of the places for slabs in the window are free.
    pub(crate) struct Spans([bool; UNITS / SLAB_UNITS]);

    #[derive(Clone, Copy)]
    pub(crate) struct Wanted(usize);

    impl Wanted {
        pub(crate) const fn slab(units: usize, _: usize) -> Self {
            Self(units)
        }
    }

    pub(crate) struct Taken {
        pub(crate) unit: UnitIndex,
    }

    impl Spans {
        pub(crate) const fn new() -> Self {
            Self([true; UNITS / SLAB_UNITS])
        }

        pub(crate) fn take(&mut self, wanted: Wanted, _: Huge) -> Option<Taken> {
            assert_eq!(wanted.0, SLAB_UNITS, "the models use slabs of one size");
            let place = self.0.iter().position(|&free| free)?;
            self.0[place] = false;
            Some(Taken { unit: UnitIndex((place * SLAB_UNITS) as u32) })
        }

        pub(crate) fn has_dirty(&mut self, _: Wanted) -> bool {
            false
        }

        pub(crate) fn give(&mut self, unit: UnitIndex, _: usize, _: usize, _: Option<u64>) {
            assert!(!core::mem::replace(&mut self.0[unit.0 as usize / SLAB_UNITS], true), "given back twice");
        }

        pub(crate) fn give_large(&mut self, _: UnitIndex, _: u64, _: Option<u64>) {
            unreachable!("no large blocks")
        }

        pub(crate) fn give_if_cut(&mut self, _: UnitIndex) -> bool {
            false
        }

        pub(crate) fn rebuild(&mut self) {
            unreachable!("nothing forks");
        }

        pub(crate) fn is_free(&self, unit: UnitIndex) -> bool {
            self.0[unit.0 as usize / SLAB_UNITS]
        }
    }
}
