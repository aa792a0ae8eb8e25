//! How a block gets its zeros. Where its memory was in use before, it can be cleared by hand, and then all of it has memory
//! behind it; or given back to the kernel, which clears what is touched, at the price of a page fault for each page of that. A
//! buffer that is filled wants the one, a sparse table the other. So it is looked at how much of zeroed blocks their users
//! touch: of those that had no memory behind them when they were handed out, all that has some when they come back.

use super::Large;
use crate::central::decay_ns;
use crate::harden;
use crate::options::{Huge, options};
use crate::os::{self, PAGE};
use crate::segment;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Smaller blocks are cleared by hand: the kernel would not have answered before that is done.
const FROM_LOG2: u32 = 17;
const SIZES: usize = (usize::BITS - FROM_LOG2) as usize;

/// What the users of zeroed blocks of one size, up to the double, do with them.
struct Habit {
    /// How much of one they touch, in 1/[`ALL`], on average of late.
    touched: AtomicU32,
    /// Blocks that came back, of those that had no memory behind them.
    seen: AtomicU32,
    /// Blocks that were cleared by hand.
    cleared: AtomicU32,
}

static HABITS: [Habit; SIZES] = [const { Habit::new() }; SIZES];

const ALL: u32 = 256;
/// So many pages are cleared by hand in the time of a page fault.
const FAULT: u32 = 8;
/// Once this many have been seen, one in so many is enough.
const SEEN: u32 = 4;
/// Of so many blocks that would be cleared by hand one is not, to see.
const TRIAL: u32 = 1024;

impl Habit {
    const fn new() -> Self {
        Self { touched: AtomicU32::new(0), seen: AtomicU32::new(0), cleared: AtomicU32::new(0) }
    }

    fn of(size: usize) -> Option<&'static Self> {
        HABITS.get(size.checked_ilog2()?.checked_sub(FROM_LOG2)? as usize)
    }

    /// How much of a block is touched, in 1/[`ALL`].
    fn touched(&self) -> u32 {
        self.touched.load(Ordering::Relaxed)
    }

    /// Whether the page faults of the next block, of so many pages, are expected to take less time than to clear it.
    fn is_sparse(&self, pages: usize) -> bool {
        let touched = pages.saturating_mul(self.touched() as usize) / ALL as usize;
        touched.saturating_add(1).saturating_mul(FAULT as usize) <= pages
    }

    /// Whether it is time to see whether users have changed.
    fn is_trial(&self) -> bool {
        let is_trial = self.cleared.fetch_add(1, Ordering::Relaxed) % TRIAL == TRIAL - 1;
        if is_trial {
            self.seen.store(0, Ordering::Relaxed);
        }
        is_trial
    }

    /// Whether to look at a block that comes back.
    fn is_curious(&self) -> bool {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        seen < SEEN || seen.is_multiple_of(SEEN)
    }

    fn learn(&self, touched: u32) {
        let before = self.touched();
        self.touched.store((before * 3 + touched) / 4, Ordering::Relaxed);
        if touched < before / 2 {
            // Users have changed, it seems: the next one is looked at as well.
            self.cleared.store(TRIAL - 1, Ordering::Relaxed);
        }
    }
}

/// Whether the kernel may be asked what has memory: a filter of system calls that was in force before the program began may
/// end it for the question.
static MAY_ASK: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const YES: u8 = 1;
const NO: u8 = 2;

fn may_ask() -> bool {
    if segment::is_filtered() {
        return false;
    }
    if MAY_ASK.load(Ordering::Relaxed) == UNKNOWN {
        MAY_ASK.store(if os::is_filtered() { NO } else { YES }, Ordering::Relaxed);
    }
    MAY_ASK.load(Ordering::Relaxed) == YES
}

/// The habit of blocks whose memory may be given back: not what seals lie in, nor what huge pages would be put behind at once.
fn habit_of(size: usize) -> Option<&'static Habit> {
    let habit = Habit::of(size)?;
    (!harden::is_on() && options().huge != Huge::Always && decay_ns().is_some() && may_ask()).then_some(habit)
}

impl Large {
    /// Makes the first `size` bytes of a new block zero, if they do not read as zero already.
    pub(crate) fn make_zero(self, size: usize, reads_zero: bool) {
        let habit = habit_of(size);
        let fresh = reads_zero || habit.is_some_and(|habit| self.is_given_back(habit));
        self.run().fresh.set(fresh && habit.is_some());
        if !fresh {
            // SAFETY: a new block of that size.
            unsafe { core::ptr::write_bytes(self.address(), 0, size) };
        }
    }

    /// Gives the memory of a new block back to the kernel if that is worth it. Not where nearly all is there: whoever filled it
    /// is going to miss it.
    fn is_given_back(self, habit: &Habit) -> bool {
        let is_sparse = || self.resident().is_some_and(|there| there <= ALL / 4 * 3);
        let is_worth = habit.is_sparse(self.allocated() / PAGE) && is_sparse() || habit.is_trial();
        // SAFETY: our block, which nobody has seen yet.
        is_worth && unsafe { os::purge(self.address(), self.allocated()) }.is_ok()
    }

    /// Sees what has been touched of a block that comes back.
    pub(super) fn see(self) {
        if self.run().fresh.replace(false)
            && let Some(habit) = habit_of(self.allocated()).filter(|habit| habit.is_curious())
            && let Some(touched) = self.resident()
        {
            habit.learn(touched);
        }
    }

    /// How much of the block has memory behind it, in 1/[`ALL`]; of a very large one, by samples.
    fn resident(self) -> Option<u32> {
        let pages = self.allocated() / PAGE;
        let (samples, each) = samples(pages);
        let mut there = 0;
        for sample in 0..samples {
            let first = (pages - each) * sample / (samples - 1).max(1);
            let mut resident = [0; MOST];
            let resident = resident.get_mut(..each)?;
            os::are_resident(self.address().wrapping_add(first * PAGE), resident).ok()?;
            there += resident.iter().filter(|&page| page & 1 != 0).count();
        }
        Some((there * ALL as usize).checked_div(samples * each)? as u32)
    }
}

/// Pages asked about at a time.
const MOST: usize = 256;

/// How often to ask about a block of so many pages, and about how many of them each time.
const fn samples(pages: usize) -> (usize, usize) {
    match pages.div_ceil(MOST) {
        1 => (1, pages),
        few @ 2..=4 => (few, MOST),
        _ => (16, MOST / 4),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGES: usize = 128;

    /// What becomes of so many blocks whose users touch this much: how many of them were cleared by hand.
    fn cleared(habit: &Habit, blocks: u32, touched: u32) -> u32 {
        let mut cleared = 0;
        for _ in 0..blocks {
            if !habit.is_sparse(PAGES) && !habit.is_trial() {
                cleared += 1;
            } else if habit.is_curious() {
                habit.learn(touched);
            }
        }
        cleared
    }

    #[test]
    fn sparse_tables_are_never_cleared_by_hand() {
        assert_eq!(cleared(&Habit::new(), 10_000, ALL / 16), 0);
    }

    #[test]
    fn buffers_that_are_filled_are_cleared_by_hand_but_for_a_few() {
        assert!(cleared(&Habit::new(), 10_000, ALL) > 9_980);
    }

    #[test]
    fn users_that_change_are_noticed() {
        let habit = Habit::new();
        cleared(&habit, 10_000, ALL);
        assert!(cleared(&habit, 10_000, ALL / 16) < 2 * TRIAL);
        assert!(cleared(&habit, 10_000, ALL) > 9_900);
    }

    #[test]
    fn small_blocks_have_no_habit() {
        assert!(Habit::of((1 << FROM_LOG2) - 1).is_none() && Habit::of(0).is_none());
        assert!(Habit::of(1 << FROM_LOG2).is_some() && Habit::of(usize::MAX).is_some());
    }

    proptest! {
        #[test]
        fn samples_lie_in_the_block(pages in 32_usize..1 << 40) {
            let (samples, each) = samples(pages);
            prop_assert!(each <= MOST && each <= pages && (samples == 1) == (each == pages));
            prop_assert!(pages <= 4 * MOST || samples * each <= 4 * MOST);
            prop_assert!(samples * each >= pages.min(4 * MOST));
        }
    }
}
