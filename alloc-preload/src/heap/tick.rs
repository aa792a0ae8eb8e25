//! What has to be done now and then, and how long that may take.

use super::{Heap, cool, kept, warm};
use crate::central::decay_ns;
use crate::clock;
use crate::options::{Huge, options};
use crate::segment;
use crate::span;
use crate::window::huge;
use core::ops::RangeInclusive;
use core::sync::atomic::{AtomicU64, Ordering};

/// Dirty runs, or pieces of them, purged in one go: of large ones 1 GiB.
const PURGES: usize = 64;

/// The part of the time that goes into giving memory back, one in so many, and how long that may take at once, in ns: a program
/// that calls seldom has it given back as soon, and one that calls all the time is not slowed down by more.
const SHARE: u64 = 16;
const AT_ONCE: RangeInclusive<u64> = 500_000..=50_000_000;

/// How long memory may be given back at this look at the clock.
fn pace(now: u64) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let passed = now.saturating_sub(LAST.swap(now, Ordering::Relaxed));
    (passed / SHARE).clamp(*AT_ONCE.start(), *AT_ONCE.end())
}

impl Heap {
    /// What has to be done now and then: collect, hand over, trim, purge.
    pub(crate) fn tick(&self, now: u64) {
        self.drain_inbox();
        self.hand_over();
        if options().huge != Huge::Never && !segment::is_filtered() {
            huge::collapse_one(now);
        }
        let cooled = cool(now.saturating_sub(warm::PATIENCE));
        let Some(decay) = decay_ns() else { return };
        if now.saturating_sub(self.trimmed_at.get()) > decay {
            self.trimmed_at.set(now);
            self.trim();
            self.begin_sweep();
        }
        let time = pace(now);
        while self.sweep() && clock::read() < now + time / 2 {}
        kept::give_aged(self, now, decay);
        // What a warm heap held has been free for as long as its thread is gone.
        let before = now.saturating_sub(decay);
        let before = if cooled.is_some_and(|ended| ended < before) { now } else { before };
        while span::purge_older(before, PURGES) && clock::read() < now + time {}
    }
}
