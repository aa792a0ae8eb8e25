//! The counters of a parent, as a child takes them over.

use crate::segment::{self, Segment};
use crate::thread;
use core::cell::UnsafeCell;
use shm_layout::class::{CLASSES, LINES, SizeClass};
use shm_layout::counter::Counter;
use shm_layout::layout::{ClassCounters, Globals, Row};
use shm_layout::tally::{Counts, Scale, Tally, Way};

/// The counters of a process, summed over its rows.
pub(super) struct Sums {
    /// The parent was forked by `fork`, and this was taken just before.
    pub(super) taken: bool,
    /// One thread at that time, and this was taken just before: while no other begins to use a heap, the sums are exact.
    pub(super) exact: bool,
    /// See `thread::uses`.
    uses: u64,
    pub(super) lines: [LineSums; LINES],
    pub(super) reallocations: u64,
    pub(super) remote_frees: u64,
    /// Bytes of the parent's segment, which are part of its metadata and not of the child's.
    pub(super) segment_bytes: u64,
    /// The process-wide counters a child goes on with, see `carried`.
    pub(super) globals: [u64; CARRIED],
}

pub(super) struct Snapshot(UnsafeCell<Sums>);

// SAFETY: written by the `prepare` handler of one fork at a time, read by the one thread of a child that `recover` is
// run by.
unsafe impl Sync for Snapshot {}

pub(super) static SNAPSHOT: Snapshot = Snapshot(UnsafeCell::new(Sums {
    taken: false,
    exact: false,
    uses: 0,
    lines: [LineSums::ZERO; LINES],
    reallocations: 0,
    remote_frees: 0,
    segment_bytes: 0,
    globals: [0; CARRIED],
}));

const CARRIED: usize = 9;

pub(super) fn carried(globals: &Globals) -> [&Counter; CARRIED] {
    [
        &globals.committed,
        &globals.metadata,
        &globals.cached,
        &globals.purged,
        &globals.purges,
        &globals.retained,
        &globals.stranded,
        &globals.adopted,
        &globals.page_moves,
    ]
}

impl Snapshot {
    /// The sums.
    ///
    /// # Safety
    /// The caller is in a fork's handler, or the thread of a child that runs `recover`.
    #[expect(clippy::mut_from_ref, reason = "one user at a time, as the caller promises")]
    pub(super) unsafe fn sums(&self) -> &mut Sums {
        // SAFETY: the caller's.
        unsafe { &mut *self.0.get() }
    }
}

impl Sums {
    /// Sums up the segment just before a fork.
    pub(super) fn take_before(&mut self, segment: Segment) {
        self.uses = thread::uses();
        let globals = segment.globals();
        let threads = globals.threads_started.get().saturating_sub(globals.threads_ended.get());
        self.take(segment);
        self.exact = threads <= 1;
    }

    /// Whether they are what the parent had counted when the child was made.
    pub(super) fn are_exact(&self) -> bool {
        self.taken && self.exact && self.uses == thread::uses()
    }

    /// Sums up the segment, in which the parent may have gone on counting.
    pub(super) fn take(&mut self, segment: Segment) {
        let globals = segment.globals();
        self.exact = false;
        self.lines = [LineSums::ZERO; LINES];
        (self.reallocations, self.remote_frees, self.globals) = (0, 0, [0; CARRIED]);
        for row in segment.rows() {
            self.add_row(row, Tally::get);
        }
        self.add_globals(globals);
        self.segment_bytes = segment::memory_bytes() as u64;
        self.taken = true;
    }

    /// Adds what the rest of a call has counted in these rows of a segment that began at zero. The parent's part of that call may
    /// have loaded what is stored there: a sum is not among it, but a base may be.
    pub(super) fn add(&mut self, segment: Segment, rows: impl Iterator<Item = u32>) {
        for row in rows.filter_map(|i| segment.row_in_use(i as usize)) {
            self.add_row(row, Tally::get_first);
        }
        self.add_globals(segment.globals());
    }

    fn add_row(&mut self, row: &Row, get: Get) {
        for (i, (sums, line)) in self.lines.iter_mut().zip(&row.lines).enumerate() {
            sums.add(i, line, get);
        }
        self.reallocations += row.reallocations.get();
        self.remote_frees += row.remote_frees.get();
    }

    fn add_globals(&mut self, globals: &Globals) {
        for (sum, counter) in self.globals.iter_mut().zip(carried(globals)) {
            *sum = sum.wrapping_add(counter.get());
        }
    }
}

/// How a tally is read.
type Get = fn(&Tally, Scale, Way) -> Counts;

/// The counters of one size class or bucket, summed over rows.
#[derive(Clone, Copy)]
pub(super) struct LineSums {
    pub(super) freed: Counts,
    pub(super) allocated: Counts,
    pub(super) capacity_in: u64,
    pub(super) capacity_out: u64,
    pub(super) slabs_in: u64,
    pub(super) slabs_out: u64,
}

impl LineSums {
    pub(super) const ZERO: Self = {
        let none = Counts { calls: 0, requested: 0 };
        Self { freed: none, allocated: none, capacity_in: 0, capacity_out: 0, slabs_in: 0, slabs_out: 0 }
    };

    /// Adds a row's counters for line number `i`.
    fn add(&mut self, i: usize, line: &ClassCounters, get: Get) {
        let scale = Scale::line(i);
        for (sum, more) in [
            (&mut self.freed, get(&line.freed, scale, Way::Out)),
            (&mut self.allocated, get(&line.allocated, scale, Way::In)),
        ] {
            sum.calls = sum.calls.wrapping_add(more.calls);
            sum.requested = sum.requested.wrapping_add(more.requested);
        }
        for (sum, counter) in [
            (&mut self.capacity_in, &line.capacity_in),
            (&mut self.capacity_out, &line.capacity_out),
            (&mut self.slabs_in, &line.slabs_in),
            (&mut self.slabs_out, &line.slabs_out),
        ] {
            *sum = sum.wrapping_add(counter.get());
        }
    }

    /// Has a row go on from here, on line number `i`.
    pub(super) fn publish(&self, i: usize, line: &ClassCounters) {
        let scale = Scale::line(i);
        line.freed.set(scale, Way::Out, self.freed);
        line.allocated.set(scale, Way::In, self.allocated);
        line.capacity_in.set(self.capacity_in);
        line.capacity_out.set(self.capacity_out);
        line.slabs_in.set(self.slabs_in);
        line.slabs_out.set(self.slabs_out);
    }
}

/// Live requested and allocated bytes of these sums.
pub(super) fn live(lines: &[LineSums; LINES]) -> (u64, u64) {
    let (mut requested, mut allocated) = (0, 0);
    for (i, line) in lines.iter().enumerate() {
        requested += line.allocated.requested.saturating_sub(line.freed.requested);
        allocated += if i < CLASSES {
            line.allocated.calls.saturating_sub(line.freed.calls) * SizeClass(i as u8).block_size() as u64
        } else {
            line.capacity_in.saturating_sub(line.capacity_out)
        };
    }
    (requested, allocated)
}
