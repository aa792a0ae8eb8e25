//! Totals over all rows. The owners of the rows go on counting meanwhile: whatever could only fall is read first, so
//! that no difference is ever negative, and each counter is exact as of the moment it was read.

use super::Segment;
use crate::sync::{Ordering, fence};
use shm_layout::class::{CLASSES, LINES, SizeClass};
use shm_layout::layout::ClassCounters;
use shm_layout::tally::{Counts, Scale, Way};

/// One size class or bucket, over all threads.
#[derive(Clone, Copy, Default)]
pub(crate) struct LineSum {
    /// Bytes of a block; 0 for a bucket.
    pub(crate) block_size: u64,
    scale: Scale,
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    pub(crate) requested_in: u64,
    pub(crate) requested_out: u64,
    capacity_in: u64,
    capacity_out: u64,
}

impl LineSum {
    pub(crate) fn live_blocks(&self) -> u64 {
        self.allocations.saturating_sub(self.frees)
    }

    /// Live bytes the program asked for.
    pub(crate) fn requested(&self) -> u64 {
        self.requested_in.saturating_sub(self.requested_out)
    }

    /// Live bytes of blocks.
    pub(crate) fn allocated(&self) -> u64 {
        match self.block_size {
            0 => self.capacity_in.saturating_sub(self.capacity_out),
            size => self.live_blocks().wrapping_mul(size),
        }
    }

    /// Carved blocks that are not live, in slabs in use.
    pub(crate) fn free_blocks(&self) -> u64 {
        match self.block_size {
            0 => 0,
            _ => self.capacity_in.saturating_sub(self.capacity_out).saturating_sub(self.live_blocks()),
        }
    }

    /// The bytes of these.
    pub(crate) fn pinned(&self) -> u64 {
        self.free_blocks().wrapping_mul(self.block_size)
    }

    #[inline(never)]
    fn add_outgoing(&mut self, counters: &ClassCounters) {
        let Counts { calls, requested } = counters.freed.get(self.scale, Way::Out);
        self.frees = self.frees.wrapping_add(calls);
        self.requested_out = self.requested_out.wrapping_add(requested);
        self.capacity_out = self.capacity_out.wrapping_add(counters.capacity_out.get());
    }

    #[inline(never)]
    fn add_incoming(&mut self, counters: &ClassCounters) {
        let Counts { calls, requested } = counters.allocated.get(self.scale, Way::In);
        self.allocations = self.allocations.wrapping_add(calls);
        self.requested_in = self.requested_in.wrapping_add(requested);
        self.capacity_in = self.capacity_in.wrapping_add(counters.capacity_in.get());
    }
}

/// Totals over all lines and rows, in bytes, blocks or calls. The words are those of the layout.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sums {
    pub(crate) requested: u64,
    pub(crate) allocated: u64,
    pub(crate) pinned: u64,
    pub(crate) cached: u64,
    pub(crate) metadata: u64,
    pub(crate) committed: u64,
    pub(crate) retained: u64,
    pub(crate) purged: u64,
    pub(crate) stranded: u64,
    pub(crate) live_blocks: u64,
    /// Carved blocks that are not live, in slabs in use.
    pub(crate) free_blocks: u64,
    /// Live blocks that are spans of their own, and their allocated bytes.
    pub(crate) large_blocks: u64,
    pub(crate) large_allocated: u64,
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
    pub(crate) reallocations: u64,
    pub(crate) remote_frees: u64,
    pub(crate) cumulative_requested: u64,
    pub(crate) peak_requested: u64,
    pub(crate) peak_allocated: u64,
}

/// Lines summed up in one go over the rows: with thousands of rows, one line at a time would miss the TLB each time.
const TOGETHER: usize = 8;

/// The sums of lines `first..first + TOGETHER`, as far as there are so many.
pub(crate) fn lines(segment: Segment, first: usize) -> [LineSum; TOGETHER] {
    let mut sums = [LineSum::default(); TOGETHER];
    for (line, sum) in (first..).zip(&mut sums) {
        if line < CLASSES {
            sum.block_size = SizeClass(line as u8).block_size() as u64;
        }
        sum.scale = Scale::line(line);
    }
    for row in segment.rows() {
        row.lines.iter().skip(first).zip(&mut sums).for_each(|(counters, sum)| sum.add_outgoing(counters));
    }
    fence(Ordering::Acquire);
    for row in segment.rows() {
        row.lines.iter().skip(first).zip(&mut sums).for_each(|(counters, sum)| sum.add_incoming(counters));
    }
    sums
}

/// Sums everything up, and shows each line to `each` on the way.
pub(crate) fn collect(segment: Segment, mut each: impl FnMut(usize, &LineSum)) -> Sums {
    let mut sums = Sums::default();
    for first in (0..LINES).step_by(TOGETHER) {
        for (line, sum) in (first..LINES).zip(&lines(segment, first)) {
            sums.requested += sum.requested();
            sums.allocated += sum.allocated();
            sums.pinned += sum.pinned();
            sums.live_blocks += sum.live_blocks();
            sums.free_blocks += sum.free_blocks();
            sums.allocations += sum.allocations;
            sums.frees += sum.frees;
            sums.cumulative_requested += sum.requested_in;
            if line >= CLASSES {
                sums.large_blocks += sum.live_blocks();
                sums.large_allocated += sum.allocated();
            }
            each(line, sum);
        }
    }
    for row in segment.rows() {
        sums.reallocations += row.reallocations.get();
        sums.remote_frees += row.remote_frees.get();
        sums.cached += row.kept.get();
    }
    let globals = segment.globals();
    sums.cached += globals.cached.get();
    sums.metadata = globals.metadata.get();
    sums.committed = globals.committed.get();
    sums.retained = globals.retained.get();
    sums.purged = globals.purged.get();
    sums.stranded = globals.stranded.get();
    // With several threads a peak is stored now and then: what is live now may be higher.
    sums.peak_requested = globals.peak_requested.get().max(sums.requested);
    sums.peak_allocated = globals.peak_allocated.get().max(sums.allocated);
    sums
}
