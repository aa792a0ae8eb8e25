//! Which callers have been warned about, so that each is once.

use core::sync::atomic::{AtomicUsize, Ordering};

/// Callers remembered; of more none is told of any more.
const MOST: usize = 256;

/// A set of return addresses that only grows.
pub(super) struct Callers([AtomicUsize; MOST]);

impl Callers {
    pub(super) const fn new() -> Self {
        Self([const { AtomicUsize::new(0) }; MOST])
    }

    /// Whether `caller` is not in it.
    pub(super) fn is_new(&self, caller: usize) -> bool {
        let known = |place: &AtomicUsize| matches!(place.load(Ordering::Relaxed), taken if taken == caller);
        !self.0.iter().take_while(|place| place.load(Ordering::Relaxed) != 0).any(known)
            && self.0.last().is_some_and(|last| last.load(Ordering::Relaxed) == 0)
    }

    /// Adds `caller`; false if it was there, or there is no room.
    pub(super) fn add(&self, caller: usize) -> bool {
        for place in &self.0 {
            match place.compare_exchange(0, caller, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(taken) if taken == caller => return false,
                Err(_) => {}
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_is_new_once_until_there_is_no_room() {
        let callers = Callers::new();
        for caller in 1..=MOST {
            assert!(callers.is_new(caller) && callers.add(caller));
            assert!(!callers.is_new(caller) && !callers.add(caller));
        }
        assert!(!callers.is_new(MOST + 1) && !callers.add(MOST + 1));
    }
}
