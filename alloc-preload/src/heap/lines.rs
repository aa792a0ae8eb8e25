//! Which classes a heap has, and the lines of its row in which these and large blocks are counted.

use super::Heap;
use crate::bare::BARE;
use crate::slab::Slab;
use shm_layout::class::{CLASSES, LINES, SizeClass, bucket_of};
use shm_layout::layout::ClassCounters;
use shm_layout::tally::{Scale, Way};

/// After so many blocks that were freed or came home the tallies keep up.
const MANY: u32 = 1 << 16;

impl Heap {
    /// The classes that it has, or has had: no others have slabs here, blocks in a bin, or counts in the row.
    pub(crate) fn classes(&self) -> impl Iterator<Item = SizeClass> + use<> {
        let mut left = self.classes.get();
        core::iter::from_fn(move || {
            let class = left.trailing_zeros();
            left &= left.wrapping_sub(1);
            (class < u64::BITS).then_some(SizeClass(class as u8))
        })
    }

    /// From now on it has this class.
    pub(super) fn have(&self, class: SizeClass) {
        self.classes.set(self.classes.get() | 1 << class.0);
    }

    /// From now on it has them all, as far as anybody knows: in a child, whose row counts what other threads' heaps have left.
    pub(crate) fn have_all(&self) {
        (0..CLASSES as u8).for_each(|class| self.have(SizeClass(class)));
        self.has_large.set(true);
    }

    /// Numbers of the lines of the row in which anything is counted.
    pub(crate) fn lines(&self) -> impl Iterator<Item = usize> + use<> {
        let buckets = if self.has_large.get() { CLASSES..LINES } else { 0..0 };
        self.classes().map(|class| class.0 as usize).chain(buckets)
    }

    /// Counters of the bucket that a large block of so many bytes falls into.
    #[inline]
    pub(crate) fn large_line(&self, allocated: usize) -> Option<&'static ClassCounters> {
        self.has_large.set(true);
        self.line(CLASSES + bucket_of(allocated))
    }

    /// Counters of a size class, of which the heap may have no block: others' blocks are resized in place, too.
    #[inline]
    pub(crate) fn small_line(&self, class: SizeClass) -> Option<&'static ClassCounters> {
        self.have(class);
        self.line(class.0 as usize)
    }

    /// Counters number `line` of the row: those of a size class, or of a bucket.
    pub(crate) fn line(&self, line: usize) -> Option<&'static ClassCounters> {
        self.row.get().filter(|_| !BARE)?.lines.get(line)
    }

    /// Says that so many blocks of its classes have been freed by its thread, or come home. What the fast path allocates was
    /// among them before, or came into a bin when that was filled, which has the class's tally keep up.
    #[inline]
    pub(crate) fn keep_up_after(&self, freed: u32) {
        let freed = self.freed.get() + freed;
        self.freed.set(if freed < MANY { freed } else { 0 });
        if freed >= MANY {
            self.keep_up();
        }
    }

    /// Has the tallies of all its classes keep up with what the fast paths have counted.
    #[inline(never)]
    fn keep_up(&self) {
        for class in self.classes() {
            if let Some(line) = self.line(class.0 as usize) {
                let scale = Scale::class(class);
                line.freed.keep_up(scale, Way::Out);
                line.allocated.keep_up(scale, Way::In);
            }
        }
    }

    #[inline(never)]
    pub(super) fn count_slab_in(&self, slab: &Slab) {
        if let Some(line) = self.line(slab.class.get() as usize) {
            line.capacity_in.add_owned(u64::from(slab.counted()));
            line.slabs_in.add_owned(1);
        }
    }

    #[inline(never)]
    pub(super) fn count_slab_out(&self, slab: &Slab) {
        if let Some(line) = self.line(slab.class.get() as usize) {
            line.capacity_out.add_owned(u64::from(slab.counted()));
            line.slabs_out.add_owned(1);
        }
    }
}
