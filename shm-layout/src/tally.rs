//! Tallies: how many calls there were and how many bytes they were about, counted by one addition.
//!
//! Of a size class, one call adds to a tally's sum what that call also adds to the room of the allocator's accounts:
//!
//! ```text
//! allocation   block << 22  + requested
//! free         1 << 44      - (block << 22) - requested
//! ```
//!
//! The sum wraps. Who knows roughly how many calls there have been, and how many bytes, learns from it both exactly: what the
//! sum is ahead of theirs is a multiple of the part without `requested`, and a rest. So beside the sum stands a *base*: calls
//! in units of 2^18 and the bytes in units of as many blocks, in half a word each. Its writer asks every 2^18 calls at least
//! whether it lies [`AHEAD`] calls behind, and moves it on then, to [`LAG`] calls at least behind the sum: a reader may find it
//! somewhat newer than the sum, or older, and reads the same. Calls of one class by one row are exact up to 2^50; a million in
//! a second take 35 years.
//!
//! Of large blocks the two words are the two numbers.

use crate::class::{CLASSES, SizeClass};
use crate::counter::Counter;
use crate::sync::{Ordering, fence};
use core::hint::black_box;

/// Calls and requested bytes. Beyond 64 bits they wrap.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Calls.
    pub calls: u64,
    /// Bytes that were requested by them, or of the blocks that they freed.
    pub requested: u64,
}

/// Two words in which calls are counted, of one kind and about blocks of one size class or bucket.
#[repr(C)]
#[derive(Default)]
pub struct Tally {
    /// Size class: the sum. Bucket: calls.
    pub sum: Counter,
    /// Size class: the base. Bucket: requested bytes.
    pub base: Counter,
}

/// Which of the two kinds of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// Allocations.
    In,
    /// Frees.
    Out,
}

/// Shift of a block's bytes in a sum.
pub const BLOCK_SHIFT: u32 = 22;
/// What a free adds beside its bytes.
pub const FREE: u64 = 1 << 44;

/// From so many calls on that the sum is ahead of its base, this is moved on: half of what a reader can tell.
const AHEAD: u64 = 1 << 19;
/// Calls that the base is left behind, so that a reader may miss its last move, or see it early.
const LAG: u64 = 1 << 17;
/// Calls in a unit of the base, as a power of two.
const UNIT: u32 = 18;

/// How the calls of a line are counted; by default those of a bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scale {
    /// Bytes of a block; 0: a bucket.
    block: u32,
}

impl Scale {
    /// Of large blocks.
    pub const BUCKET: Self = Self { block: 0 };

    /// Of blocks of this class.
    pub const fn class(class: SizeClass) -> Self {
        Self { block: class.block_size() as u32 }
    }

    /// Of line number `line` of a row.
    pub const fn line(line: usize) -> Self {
        if line < CLASSES { Self::class(SizeClass(line as u8)) } else { Self::BUCKET }
    }

    /// What one call adds to a sum, its requested bytes apart.
    const fn call(self, way: Way) -> u64 {
        let block = (self.block as u64) << BLOCK_SHIFT;
        match way {
            Way::In => block,
            Way::Out => FREE - block,
        }
    }

    /// The sum after these calls.
    const fn sum(self, way: Way, counts: Counts) -> u64 {
        let calls = self.call(way).wrapping_mul(counts.calls);
        match way {
            Way::In => calls.wrapping_add(counts.requested),
            Way::Out => calls.wrapping_sub(counts.requested),
        }
    }

    /// Units of the base's bytes, as a power of two.
    const fn bytes_unit(self) -> u32 {
        UNIT + self.block.ilog2()
    }

    /// What the base says.
    const fn known(self, base: u64) -> Counts {
        Counts { calls: base >> 32 << UNIT, requested: (base & u32::MAX as u64) << self.bytes_unit() }
    }

    /// The two words of a tally that has so much.
    pub const fn pack(self, way: Way, counts: Counts) -> [u64; 2] {
        if self.block == 0 {
            return [counts.calls, counts.requested];
        }
        let calls = counts.calls.saturating_sub(LAG) >> UNIT;
        let bytes = counts.requested.saturating_sub(LAG * self.block as u64) >> self.bytes_unit();
        [self.sum(way, counts), calls << 32 | bytes & u32::MAX as u64]
    }

    /// What the two words of a tally say; any words do.
    pub const fn unpack(self, way: Way, [sum, base]: [u64; 2]) -> Counts {
        if self.block == 0 {
            return Counts { calls: sum, requested: base };
        }
        if sum == 0 && base == 0 {
            return Counts { calls: 0, requested: 0 };
        }
        let (known, call) = (self.known(base), self.call(way));
        let ahead = sum.wrapping_sub(self.sum(way, known));
        // Never `None`, which the compiler does not see.
        let Some(whole) = ahead.checked_div(call) else { return known };
        let rest = ahead.wrapping_sub(whole.wrapping_mul(call));
        let (calls, requested) = match way {
            Way::Out if rest > 0 => (whole.wrapping_add(1), call.wrapping_sub(rest)),
            _ => (whole, rest),
        };
        Counts { calls: known.calls.wrapping_add(calls), requested: known.requested.wrapping_add(requested) }
    }

    /// Whether the base has to be moved on.
    const fn is_behind(self, way: Way, [sum, base]: [u64; 2]) -> bool {
        self.block != 0 && sum.wrapping_sub(self.sum(way, self.known(base))) >= self.call(way) * AHEAD
    }
}

impl Tally {
    /// What has been counted. Others may count on meanwhile.
    #[inline(never)]
    pub fn get(&self, scale: Scale, way: Way) -> Counts {
        loop {
            let base = self.base.get();
            fence(Ordering::Acquire);
            let sum = self.sum.get();
            fence(Ordering::Acquire);
            // A bucket's words are numbers of their own. The base of a class's moves seldom, and is to be the sum's.
            if scale == Scale::BUCKET || base == self.base.get() {
                return scale.unpack(way, [sum, base]);
            }
        }
    }

    /// Makes it have so much. For its one writer, like all that follows.
    pub fn set(&self, scale: Scale, way: Way, counts: Counts) {
        let [sum, base] = scale.pack(way, counts);
        self.sum.set(sum);
        self.base.set(base);
    }

    /// Counts a call. Of large blocks no more bytes are seen than calls.
    #[inline(always)]
    pub fn count(&self, scale: Scale, way: Way, requested: usize) {
        let requested = requested as u64;
        match (scale, way) {
            (Scale::BUCKET, Way::In) => {
                self.sum.add_owned(1);
                self.base.add_owned(requested);
            }
            (Scale::BUCKET, Way::Out) => {
                self.base.add_owned(requested);
                self.sum.add_owned(1);
            }
            _ => self.count_at_once(scale, way, requested),
        }
    }

    #[inline(never)]
    fn count_at_once(&self, scale: Scale, way: Way, requested: u64) {
        // The compiler would add the change's terms to what it has loaded, one after the other: between load and store a fork
        // may come, and its child must not find more in the sum than this call.
        self.add(black_box(scale.sum(way, Counts { calls: 1, requested })));
        self.keep_up(scale, way);
    }

    /// Adds what one call adds to a class's sum. Whoever does sees to it that [`keep_up`](Self::keep_up) is called again and
    /// again, before there were 2^18 calls.
    #[inline(always)]
    pub fn add(&self, change: u64) {
        self.sum.add_owned(change);
    }

    /// Moves the base on where that is due.
    #[inline(never)]
    pub fn keep_up(&self, scale: Scale, way: Way) {
        // In this order: in a child that a fork makes of this call, the base is no newer than the sum, wherever the two come from.
        let old = self.base.get();
        fence(Ordering::Acquire);
        let words = [self.sum.get(), old];
        if scale.is_behind(way, words) {
            let [_, base] = scale.pack(way, scale.unpack(way, words));
            // Such a child, which may go on much later, must not set back what its parent has moved on.
            self.base.elect(old, base);
        }
    }

    /// What has been added to a sum that began at zero, by no more than a call: whatever the base may be.
    pub fn get_first(&self, scale: Scale, way: Way) -> Counts {
        scale.unpack(way, [self.sum.get(), if scale == Scale::BUCKET { self.base.get() } else { 0 }])
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::class::{LINES, SMALL_MAX};
    use proptest::prelude::*;

    fn class_and_slack() -> impl Strategy<Value = (SizeClass, usize)> {
        (0..CLASSES as u8).prop_flat_map(|class| {
            let class = SizeClass(class);
            (Just(class), 0..class.step())
        })
    }

    fn either() -> impl Strategy<Value = Way> {
        prop_oneof![Just(Way::In), Just(Way::Out)]
    }

    proptest! {
        /// The base is as old, or as new, as a reader may find it.
        #[test]
        fn what_was_counted_is_read_with_any_base_of_about_then(
            (class, slack) in class_and_slack(), way in either(),
            calls in 0_u64..1 << 49, spread in 0_u64..=1 << 16, apart in 0_u64..1 << 17, is_newer: bool,
            also in 0_u64..1 << 19,
        ) {
            let scale = Scale::class(class);
            let each = (class.block_size() - slack) as u64;
            // As many bytes as calls of that size have, or of another size of the class for a part of them.
            let counts = |calls: u64| Counts { calls, requested: calls * each + (calls.min(spread)) * slack as u64 };
            let (then, now) = if is_newer { (calls + apart, calls) } else { (calls, calls + apart + also) };
            let [_, base] = scale.pack(way, counts(then));
            let [sum, _] = scale.pack(way, counts(now));
            prop_assert_eq!(scale.unpack(way, [sum, base]), counts(now));
        }

        #[test]
        fn calls_of_any_sizes_are_counted_exactly(
            sizes in prop::collection::vec(0..=SMALL_MAX, 1..200), way in either(), before in 0_u64..1 << 40,
        ) {
            let mut expected = [Counts::default(); CLASSES];
            let tallies: [Tally; CLASSES] = core::array::from_fn(|_| Tally::default());
            for (line, tally) in tallies.iter().enumerate() {
                expected[line] = Counts { calls: before, requested: before * SizeClass(line as u8).block_size() as u64 };
                tally.set(Scale::line(line), way, expected[line]);
            }
            for size in sizes {
                let class = SizeClass::of(size).unwrap();
                let (counts, tally) = (&mut expected[class.0 as usize], &tallies[class.0 as usize]);
                tally.count(Scale::class(class), way, size);
                (counts.calls, counts.requested) = (counts.calls + 1, counts.requested + size as u64);
                prop_assert_eq!(tally.get(Scale::class(class), way), *counts);
            }
        }

        #[test]
        fn any_words_are_read(line in 0..LINES, way in either(), words: [u64; 2]) {
            let scale = Scale::line(line);
            let counts = scale.unpack(way, words);
            if scale == Scale::BUCKET {
                prop_assert_eq!(scale.pack(way, counts), words);
            }
        }
    }

    /// More calls than the sum could tell without its base, for every class.
    #[test]
    fn a_base_keeps_up_with_calls_that_are_only_added_between() {
        const STEP: u64 = 1 << 18;
        for line in 0..CLASSES {
            for way in [Way::In, Way::Out] {
                let (scale, tally) = (Scale::line(line), Tally::default());
                let size = SizeClass(line as u8).block_size() as u64 - 1;
                for step in 1..=64 {
                    tally.add(scale.sum(way, Counts { calls: STEP, requested: STEP * size }));
                    assert_eq!(tally.get(scale, way), Counts { calls: step * STEP, requested: step * STEP * size });
                    tally.keep_up(scale, way);
                }
            }
        }
    }

    #[test]
    fn one_allocation_and_free_add_what_the_accounts_take() {
        let scale = Scale::class(SizeClass::of(100).unwrap());
        let one = Counts { calls: 1, requested: 100 };
        assert_eq!(scale.sum(Way::In, one), (112 << 22) + 100);
        assert_eq!(scale.sum(Way::In, one).wrapping_add(scale.sum(Way::Out, one)), FREE);
    }
}
