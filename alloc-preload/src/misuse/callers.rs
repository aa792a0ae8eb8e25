//! Who gives the heap other allocators' blocks: each caller is told of once, and has its frees counted.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Callers remembered; of more none is told of or counted any more.
const MOST: usize = 256;

/// One of them.
pub(super) struct Caller {
    /// Its return address; 0: nobody yet.
    address: AtomicUsize,
    /// Other allocators' blocks from it.
    frees: AtomicU64,
    /// What has become of its record: [`Self::UNRECORDED`], [`Self::BEING_RECORDED`], or the record's number.
    record: AtomicU64,
}

impl Caller {
    const UNRECORDED: u64 = 0;
    const BEING_RECORDED: u64 = u64::MAX;

    const fn nobody() -> Self {
        Self { address: AtomicUsize::new(0), frees: AtomicU64::new(0), record: AtomicU64::new(Self::UNRECORDED) }
    }

    /// Counts one more.
    pub(super) fn count(&self) {
        self.frees.fetch_add(1, Ordering::SeqCst);
    }

    /// All so far.
    pub(super) fn frees(&self) -> u64 {
        self.frees.load(Ordering::SeqCst)
    }

    /// Whether nobody has begun to record it.
    pub(super) fn is_unrecorded(&self) -> bool {
        self.record.load(Ordering::SeqCst) == Self::UNRECORDED
    }

    /// The number of its record, once that is there.
    ///
    /// Whoever counts looks for the record afterwards, and whoever records looks at the count afterwards: one of the two
    /// sees the other.
    pub(super) fn record(&self) -> Option<u64> {
        let record = self.record.load(Ordering::SeqCst);
        (record != Self::UNRECORDED && record != Self::BEING_RECORDED).then_some(record)
    }

    /// Whether the calling thread is to record it, and to say so by [`Self::end_recording`].
    pub(super) fn begin_recording(&self) -> bool {
        let (from, to) = (Self::UNRECORDED, Self::BEING_RECORDED);
        self.record.compare_exchange(from, to, Ordering::SeqCst, Ordering::Relaxed).is_ok()
    }

    /// It is recorded under that number; or, for `None`, is to be recorded another time.
    pub(super) fn end_recording(&self, number: Option<u64>) {
        self.record.store(number.unwrap_or(Self::UNRECORDED), Ordering::SeqCst);
    }
}

/// A set of callers that only grows.
pub(super) struct Callers([Caller; MOST]);

impl Callers {
    pub(super) const fn new() -> Self {
        Self([const { Caller::nobody() }; MOST])
    }

    /// The caller of that address, if it is in the set.
    pub(super) fn find(&self, address: usize) -> Option<&Caller> {
        let mut known = self.0.iter().take_while(|caller| caller.address.load(Ordering::Relaxed) != 0);
        known.find(|caller| caller.address.load(Ordering::Relaxed) == address)
    }

    /// Whether no other caller has room in it.
    pub(super) fn is_full(&self) -> bool {
        self.0.last().is_some_and(|last| last.address.load(Ordering::Relaxed) != 0)
    }

    /// The caller of that address, and whether it is new; `None` if there is no room, or the address is not known.
    pub(super) fn add(&self, address: usize) -> Option<(&Caller, bool)> {
        if address == 0 {
            return None;
        }
        for caller in &self.0 {
            match caller.address.compare_exchange(0, address, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((caller, true)),
                Err(taken) if taken == address => return Some((caller, false)),
                Err(_) => {}
            }
        }
        None
    }

    /// In a forked child, which has recorded nothing yet: whoever was told of stays so.
    pub(super) fn start_anew(&self) {
        for caller in &self.0 {
            caller.frees.store(0, Ordering::Relaxed);
            caller.record.store(Caller::UNRECORDED, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_is_new_once_until_there_is_no_room() {
        let callers = Callers::new();
        let is_new = |address| callers.add(address).map(|(_, new)| new);
        assert_eq!(is_new(0), None);
        for address in 1..=MOST {
            assert!(!callers.is_full() && callers.find(address).is_none());
            assert_eq!((is_new(address), is_new(address)), (Some(true), Some(false)));
            assert!(callers.find(address).is_some());
        }
        assert!(callers.is_full() && callers.find(MOST + 1).is_none());
        assert_eq!(is_new(MOST + 1), None);
    }

    #[test]
    fn one_records_and_a_child_starts_anew() {
        let callers = Callers::new();
        let (caller, _) = callers.add(7).unwrap();
        caller.count();
        assert!(caller.is_unrecorded() && caller.begin_recording() && !caller.begin_recording());
        assert_eq!((caller.is_unrecorded(), caller.record()), (false, None));
        caller.end_recording(None);
        assert!(caller.begin_recording());
        caller.end_recording(Some(3));
        assert_eq!((caller.record(), caller.frees()), (Some(3), 1));
        callers.start_anew();
        assert_eq!((caller.is_unrecorded(), caller.frees()), (true, 0));
        assert_eq!(callers.add(7).map(|(_, new)| new), Some(false));
    }
}
