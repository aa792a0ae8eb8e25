//! How a block gets its zeros whose memory was in use before. Cleared by `memset`, every page of it is resident from then on.
//! Given back to the kernel, those pages are that the user touches, at the price of a page fault each. Which of them is cheaper
//! depends on how much that is: it is estimated from blocks that had no memory behind them when they were handed out. When one
//! comes back, what is resident of it is what its user has touched; where that is little, it goes back there and then, and the
//! next such block finds memory that reads as zero. Where much is resident that others will fill again, only that is cleared:
//! what is not there reads as zero.

use super::Large;
use crate::central::decay_ns;
use crate::harden;
use crate::hint::opaque;
use crate::options::{Huge, options};
use crate::os::{self, PAGE};
use crate::resident;
use crate::stats::globals;
use crate::window::UNIT_PAGES;
use core::sync::atomic::{AtomicU32, Ordering};

/// Smaller blocks are always cleared: that takes less time than the system calls and the first page faults, and little memory is
/// at stake.
const FROM_LOG2: u32 = 18;
/// From here on memory that was in use before comes first also where little will be touched.
const LARGE_TO_CLEAR: usize = 1 << 20;
const SIZES: usize = (usize::BITS - FROM_LOG2) as usize;

/// What the users of zeroed blocks of one size, up to the double, do with them.
struct Habit {
    /// The part of a block that they touch, in 1/[`ALL`], on average of late.
    touched: AtomicU32,
    /// The part of what was given back that others have filled by the time it is to be zero again, likewise.
    filled: AtomicU32,
    /// Blocks that came back, of those that had no memory behind them.
    returned: AtomicU32,
    /// Blocks that were cleared.
    cleared: AtomicU32,
}

static HABITS: [Habit; SIZES] = [const { Habit::new() }; SIZES];

const ALL: u32 = 256;

/// How a block gets its zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// All its memory is given back.
    Kernel,
    /// What is resident is cleared, the rest given back.
    Resident,
    /// It is cleared.
    Clear,
}

/// So many pages are cleared in the time of a page fault: 8 on one virtual machine (Sapphire Rapids), on another (Zen 5) 15, or 55
/// where they lie in a cache near by. Memory counts as well: nearer the least.
const FAULT: usize = 12;
/// Of a block with more than this resident, that is cleared in any case: somebody has filled it once.
const MUCH: u32 = ALL / 2;
/// Where others fill more than this again and again, clearing what is resident is cheaper than their page faults, and a block
/// with more than that resident is cleared.
const OFTEN: u32 = ALL / FAULT as u32;
/// Once so many blocks have been looked at, one in so many is enough.
const SAMPLE: u32 = 4;
/// Of so many blocks that would be cleared one is not, to see whether users have changed.
const TRIAL: u32 = 1024;
/// Blocks from one trial to the next, if it finds less than was expected.
const SOON: u32 = 32;

impl Habit {
    const fn new() -> Self {
        Self {
            touched: AtomicU32::new(0),
            filled: AtomicU32::new(0),
            returned: AtomicU32::new(0),
            cleared: AtomicU32::new(0),
        }
    }

    fn of(allocated: usize) -> Option<&'static Self> {
        HABITS.get(allocated.checked_ilog2()?.checked_sub(FROM_LOG2)? as usize)
    }

    /// The way for the next block: so many pages, of which this part is `resident` still, maybe since others have filled
    /// what was given back for the last one in this place.
    fn way(&self, pages: usize, was_unbacked: bool, resident: impl FnOnce() -> Option<u32>) -> Way {
        let resident = if self.is_sparse(pages) { resident() } else { None };
        if was_unbacked && let Some(resident) = resident {
            self.learn_filled(resident.saturating_sub(self.touched.load(Ordering::Relaxed)));
        }
        let much = if self.filled.load(Ordering::Relaxed) > OFTEN { OFTEN } else { MUCH };
        if resident.is_some_and(|resident| resident <= much) || self.is_trial() {
            return Way::Kernel;
        }
        // Where much is resident, whoever filled it would fault it in anew.
        if resident.is_some() { Way::Resident } else { Way::Clear }
    }

    /// How many of so many pages users touch.
    fn touched(&self, pages: usize) -> usize {
        pages.saturating_mul(self.touched.load(Ordering::Relaxed) as usize) / ALL as usize
    }

    /// Whether the page faults of a block of so many pages take less time than clearing it.
    fn is_sparse(&self, pages: usize) -> bool {
        self.touched(pages).saturating_add(1).saturating_mul(FAULT) <= pages
    }

    fn is_trial(&self) -> bool {
        let is_trial = self.cleared.fetch_add(1, Ordering::Relaxed) % TRIAL == TRIAL - 1;
        if is_trial {
            // What comes of it must not be missed.
            self.returned.store(0, Ordering::Relaxed);
        }
        is_trial
    }

    /// Whether to look at a block that comes back.
    fn should_sample(&self) -> bool {
        let returned = self.returned.fetch_add(1, Ordering::Relaxed);
        returned < SAMPLE || returned.is_multiple_of(SAMPLE)
    }

    /// Others have filled this part of what was given back.
    fn learn_filled(&self, part: u32) {
        let before = self.filled.load(Ordering::Relaxed);
        let now = if part < before { before.midpoint(part) } else { (before * 7 + part).div_ceil(8) };
        self.filled.store(now, Ordering::Relaxed);
    }

    /// A user has touched this part of a block.
    fn learn(&self, touched: u32) {
        let before = self.touched.load(Ordering::Relaxed);
        // A block too many that is given back costs more than one too many that is cleared.
        let now = if touched > before { before.midpoint(touched) } else { (before * 7 + touched) / 8 };
        self.touched.store(now, Ordering::Relaxed);
        if touched < before / 2 {
            // Users may have changed: the next trial comes soon.
            self.cleared.store(TRIAL - SOON, Ordering::Relaxed);
        }
    }
}

#[inline(never)]
fn may_give_back() -> bool {
    !harden::is_on() && options().huge != Huge::Always && decay_ns().is_some() && resident::may_ask()
}

/// Whether a zeroed block of so many bytes rather takes memory that has none behind it: a small one if users touch little of such
/// blocks, a large one if none could be given back and all would be cleared. Else memory that was in use before comes first: of a
/// buffer that is filled every page would be faulted in, and beside a large block that memory would lie about. And whether little
/// will be touched of it, as far as has been seen.
pub(super) fn rather_clean(allocated: usize) -> (bool, bool) {
    if allocated >= LARGE_TO_CLEAR {
        return (!may_give_back(), false);
    }
    let Some(habit) = Habit::of(allocated).filter(|habit| habit.is_sparse(allocated / PAGE) && may_give_back()) else {
        return (false, false);
    };
    (true, habit.returned.load(Ordering::Relaxed) != 0)
}

impl Large {
    /// Makes the first `size` bytes of a new block zero, if they do not read as zero already.
    pub(crate) fn make_zero(self, size: usize, reads_zero: bool) {
        let (run, pages) = (self.run(), self.allocated() / PAGE);
        let habit = if reads_zero { None } else { self.habit() };
        let way = match habit {
            _ if reads_zero => Way::Kernel,
            Some(habit) => habit.way(pages, run.was_unbacked.get(), || self.resident()),
            None => Way::Clear,
        };
        let unbacked = way == Way::Kernel && (reads_zero || self.give_back(0, pages));
        run.unbacked.set(unbacked);
        run.was_unbacked.set(unbacked);
        if unbacked {
            return;
        }
        let cleared = if way == Way::Resident { self.clear_resident() } else { 0 };
        if cleared < size {
            // SAFETY: a new block of that size.
            unsafe { core::ptr::write_bytes(self.address().add(cleared), 0, size - cleared) };
        }
    }

    /// Clears what is resident, and gives the rest back: what was swapped out is not resident, and not zero. Returns how many
    /// bytes read as zero now, from the first on: all, unless the kernel refuses.
    fn clear_resident(self) -> usize {
        let pages = self.allocated() / PAGE;
        let mut done = 0;
        while done < pages {
            let mut resident = [0; MOST];
            let piece = MOST.min(pages - done);
            let Some(resident) = resident.get_mut(..piece) else { break };
            if os::residency(self.address().wrapping_add(done * PAGE), resident).is_err() {
                break;
            }
            let mut pages = resident.iter().map(|page| page & 1 != 0).peekable();
            while let Some(is_resident) = pages.next() {
                let mut stretch = 1;
                while pages.next_if_eq(&is_resident).is_some() {
                    stretch += 1;
                }
                if is_resident {
                    // SAFETY: pages of our block.
                    unsafe { core::ptr::write_bytes(self.address().add(done * PAGE), 0, stretch * PAGE) };
                } else if !self.give_back(done, stretch) {
                    return done * PAGE;
                }
                done += stretch;
            }
        }
        done * PAGE
    }

    /// Looks at what has been touched of a block that comes back. Where that is little it goes back at once, so that all of the run
    /// is known to read as zero: whether it has.
    pub(super) fn observe(self) -> bool {
        let run = self.run();
        if !run.unbacked.replace(false) {
            return false;
        }
        let (Some(habit), pages) = (self.habit(), self.allocated() / PAGE) else { return false };
        if habit.should_sample() {
            // Where that cannot be told, all may be.
            habit.learn(self.resident().unwrap_or(ALL));
        }
        if !habit.is_sparse(pages) {
            return false;
        }
        self.hold();
        // What has been cut off is somebody else's.
        if run.is_cut() || !self.give_back(0, run.units.get() as usize * UNIT_PAGES) {
            return false;
        }
        globals().purged.add_shared((habit.touched(pages) * PAGE) as u64);
        globals().purges.add_shared(1);
        run.touched.set(0);
        run.unclean.set(false);
        true
    }

    /// What users of such blocks do, if the block's memory may be given back: not what seals lie in, nor what the kernel would put
    /// huge pages behind at once.
    fn habit(self) -> Option<&'static Habit> {
        Habit::of(self.allocated()).filter(|_| may_give_back())
    }

    /// Gives back so many pages from number `first` on; false if the kernel refuses.
    fn give_back(self, first: usize, pages: usize) -> bool {
        // SAFETY: pages of our block, which nobody has seen yet, or has freed.
        unsafe { os::purge(self.address().add(first * PAGE), pages * PAGE) }.is_ok()
    }

    /// The part of the block that is resident, in 1/[`ALL`]; of a very large one, by samples.
    #[inline(never)]
    fn resident(self) -> Option<u32> {
        let pages = self.allocated() / PAGE;
        let (samples, each) = samples(pages);
        let mut there = 0;
        for sample in 0..samples {
            let first = (pages - each) * sample / (samples - 1).max(1);
            let mut resident = [0; MOST];
            let resident = resident.get_mut(..each)?;
            os::residency(self.address().wrapping_add(first * PAGE), resident).ok()?;
            // One by one: the compiler would write half a page of code for this.
            there += resident.iter().map(|page| opaque(usize::from(page & 1))).sum::<usize>();
        }
        Some((there * ALL as usize).checked_div(samples * each)? as u32)
    }
}

/// Pages asked about at a time.
const MOST: usize = 256;

/// How often to ask about a block of so many pages, and about how many of them each time.
const fn samples(pages: usize) -> (usize, usize) {
    match pages.div_ceil(MOST) {
        0 | 1 => (1, pages),
        few @ 2..=4 => (few, MOST),
        _ => (16, MOST / 4),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGES: usize = 128;

    /// What becomes of so many blocks, this part of which is resident when they are handed out, and whose users touch that
    /// much: of how many not all is given back.
    fn cleared(habit: &Habit, blocks: u32, resident: u32, touched: u32) -> u32 {
        let mut cleared = 0;
        for _ in 0..blocks {
            if habit.way(PAGES, false, || Some(resident)) != Way::Kernel {
                cleared += 1;
            } else if habit.should_sample() {
                habit.learn(touched);
            }
        }
        cleared
    }

    #[test]
    fn sparse_tables_are_never_cleared() {
        assert_eq!(cleared(&Habit::new(), 10_000, ALL / 3, ALL / 16), 0);
    }

    #[test]
    fn buffers_that_are_filled_in_part_are_cleared_but_for_a_few() {
        for touched in [ALL / 5, ALL / 2, ALL] {
            assert!(cleared(&Habit::new(), 10_000, ALL / 5, touched) > 9_980, "{touched}");
        }
    }

    #[test]
    fn what_others_have_filled_is_left_to_them_but_for_a_few() {
        let habit = Habit::new();
        assert!(cleared(&habit, 10_000, ALL / 4 * 3, ALL / 16) > 9_980);
        assert_eq!(habit.way(PAGES, false, || Some(ALL / 4 * 3)), Way::Resident);
    }

    #[test]
    fn what_others_fill_a_little_of_again_and_again_is_left_to_them_until_they_are_gone() {
        let habit = Habit::new();
        let ways = |part: u32| core::array::from_fn(|_| habit.way(PAGES, true, || Some(part))) as [Way; 16];
        assert_eq!(ways(ALL / 5)[0], Way::Kernel);
        assert_eq!(ways(ALL / 5), [Way::Resident; 16]);
        assert_eq!(ways(0), [Way::Kernel; 16]);
        assert_eq!(ways(ALL / 5)[0], Way::Kernel);
    }

    #[test]
    fn what_others_fill_less_of_than_clearing_costs_is_given_back() {
        let habit = Habit::new();
        assert!((0..100).all(|_| habit.way(PAGES, true, || Some(ALL / 13)) == Way::Kernel));
    }

    #[test]
    fn a_buffer_among_many_sparse_tables_is_not_outvoted() {
        let habit = Habit::new();
        (0..5).for_each(|_| habit.learn(ALL / 100));
        habit.learn(ALL / 4 * 3);
        (0..5).for_each(|_| habit.learn(ALL / 100));
        assert_eq!(habit.way(PAGES, false, || Some(0)), Way::Clear);
    }

    #[test]
    fn users_that_change_are_noticed() {
        let habit = Habit::new();
        cleared(&habit, 10_000, ALL / 3, ALL);
        assert!(cleared(&habit, 10_000, ALL / 3, ALL / 32) < 2 * TRIAL);
        assert!(cleared(&habit, 10_000, ALL / 3, ALL) > 9_980);
    }

    #[test]
    fn small_blocks_have_no_habit() {
        assert!(Habit::of((1 << FROM_LOG2) - 1).is_none() && Habit::of(0).is_none());
        assert!(Habit::of(1 << FROM_LOG2).is_some() && Habit::of(usize::MAX).is_some());
    }

    proptest! {
        #[test]
        fn samples_lie_in_the_block(pages in 0_usize..1 << 40) {
            let (samples, each) = samples(pages);
            prop_assert!(samples >= 1 && each <= MOST && each <= pages && (samples == 1) == (each == pages));
            prop_assert_eq!(samples * each >= pages, pages <= 4 * MOST);
        }
    }
}
