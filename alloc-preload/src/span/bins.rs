//! Free runs by length.

use super::{NO_UNIT, run, skip_to};

/// Bins of one unit each up to here, then four a doubling.
const EXACT: usize = 64;
const BINS: usize = EXACT + 64;
/// Runs of a bin that a search looks at.
const LOOKED_AT: usize = 16;

/// Free runs by length.
pub(super) struct Bins {
    heads: [u32; BINS],
    filled: u128,
}

impl Bins {
    pub(super) const fn new() -> Self {
        Self { heads: [NO_UNIT; BINS], filled: 0 }
    }

    /// The bin that runs of this length lie in.
    fn index(units: usize) -> usize {
        if units <= EXACT {
            return units - 1;
        }
        let doubling = units.ilog2() as usize;
        let quarter = (units >> (doubling - 2)) & 3;
        (EXACT + (doubling - EXACT.ilog2() as usize) * 4 + quarter).min(BINS - 1)
    }

    /// A run of at least `units`, without taking it out.
    pub(super) fn find(&self, units: usize) -> Option<u32> {
        let own = Self::index(units);
        if units > EXACT {
            let mut unit = *self.heads.get(own)?;
            for _ in 0..LOOKED_AT {
                if unit == NO_UNIT {
                    break;
                }
                if run(unit).units.get() as usize >= units {
                    return Some(unit);
                }
                unit = run(unit).next.get();
            }
        }
        let from = if units > EXACT { own + 1 } else { own };
        let filled = self.filled & u128::MAX.checked_shl(from as u32).unwrap_or(0);
        if filled == 0 {
            return None;
        }
        self.heads.get(filled.trailing_zeros() as usize).copied().filter(|&unit| unit != NO_UNIT)
    }

    /// A run that holds `units` units from a multiple of `align`, among the first few of each bin.
    #[inline(never)]
    pub(super) fn find_aligned(&self, units: usize, align: usize) -> Option<u32> {
        self.heads.iter().skip(Self::index(units)).find_map(|&head| {
            let next = |&unit: &u32| Some(run(unit).next.get()).filter(|&next| next != NO_UNIT);
            core::iter::successors(Some(head).filter(|&head| head != NO_UNIT), next)
                .take(LOOKED_AT)
                .find(|&unit| skip_to(unit, align) + units <= run(unit).units.get() as usize)
        })
    }

    /// Shows all runs.
    pub(super) fn each(&self, mut show: impl FnMut(u32)) {
        for &head in &self.heads {
            let mut unit = head;
            while unit != NO_UNIT {
                show(unit);
                unit = run(unit).next.get();
            }
        }
    }

    /// One of the longest runs.
    pub(super) fn longest(&self) -> Option<u32> {
        self.heads.get(self.filled.checked_ilog2()? as usize).copied()
    }

    pub(super) fn push(&mut self, first: u32, units: usize) {
        let bin = Self::index(units);
        let Some(head) = self.heads.get_mut(bin) else { return };
        let record = run(first);
        record.previous.set(NO_UNIT);
        record.next.set(*head);
        if *head != NO_UNIT {
            run(*head).previous.set(first);
        }
        *head = first;
        self.filled |= 1 << bin;
    }

    pub(super) fn remove(&mut self, first: u32) {
        let record = run(first);
        let bin = Self::index(record.units.get() as usize);
        let (next, previous) = (record.next.get(), record.previous.get());
        if next != NO_UNIT {
            run(next).previous.set(previous);
        }
        if previous != NO_UNIT {
            run(previous).next.set(next);
            return;
        }
        let Some(head) = self.heads.get_mut(bin) else { return };
        *head = next;
        if next == NO_UNIT {
            self.filled &= !(1 << bin);
        }
    }
}
