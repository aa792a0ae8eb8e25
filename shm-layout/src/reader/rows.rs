//! Counters per thread, and their sums per size class.

use super::Reader;
use super::bytes::{u32_at, u64_at};
use crate::class::{CLASSES, LINES};
use crate::counter::Counter;
use crate::layout::{CLASSES_OFFSET, ClassCounters, ClassInfo, ROWS_OFFSET, Row};
use crate::tally::{Scale, Tally, Way};
use core::mem::offset_of;
use core::ops::Range;

/// Counters of one size class or bucket: summed over all threads, or of one thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LineTotals {
    /// Size class: bytes of a block. Bucket: largest block counted in it (`u64::MAX`: no limit).
    pub block_size: u64,
    /// Size class: blocks of one slab. Bucket: 0.
    pub slab_blocks: u32,
    /// Size class: bytes of one slab. Bucket: 0.
    pub slab_bytes: u32,
    /// A bucket of large blocks, not a size class.
    pub is_bucket: bool,
    /// Blocks allocated.
    pub allocations: u64,
    /// Blocks freed.
    pub frees: u64,
    /// Bytes requested for the blocks allocated.
    pub requested_in: u64,
    /// Bytes requested for the blocks freed.
    pub requested_out: u64,
    /// Size class: blocks carved or taken back into use. Bucket: bytes allocated.
    pub capacity_in: u64,
    /// Size class: carved blocks of slabs that became wholly free, and blocks whose pages were given back. Bucket:
    /// allocated bytes freed.
    pub capacity_out: u64,
    /// Slabs taken into use.
    pub slabs_in: u64,
    /// Slabs that became wholly free.
    pub slabs_out: u64,
}

impl LineTotals {
    /// Blocks in the program's hands. (Of one thread alone it says little: others free its blocks.)
    pub fn live_blocks(&self) -> u64 {
        self.allocations.saturating_sub(self.frees)
    }

    /// Live bytes the program asked for.
    pub fn requested(&self) -> u64 {
        self.requested_in.saturating_sub(self.requested_out)
    }

    /// Live bytes of the blocks that hold them.
    pub fn allocated(&self) -> u64 {
        if self.is_bucket { self.capacity() } else { self.live_blocks().saturating_mul(self.block_size) }
    }

    /// Blocks carved and not live, in slabs in use; 0 for a bucket.
    pub fn free_list_length(&self) -> u64 {
        if self.is_bucket { 0 } else { self.capacity().saturating_sub(self.live_blocks()) }
    }

    /// Bytes of these.
    pub fn pinned(&self) -> u64 {
        self.free_list_length().saturating_mul(self.block_size)
    }

    /// Slabs in use: with a live block, or current.
    pub fn slabs(&self) -> u64 {
        self.slabs_in.saturating_sub(self.slabs_out)
    }

    fn capacity(&self) -> u64 {
        self.capacity_in.saturating_sub(self.capacity_out)
    }
}

/// One thread's row. Cumulative counters cover every thread that had the row; `base` is what the present one found.
///
/// All counters are of the first copy, so that with [`RowView::is_settled`] none of them is a later thread's.
#[derive(Clone, Copy)]
pub struct RowView<'a> {
    /// Index of the row.
    pub index: usize,
    /// Whether it is certain whose row it is. Else another thread was about to take it: the one before has ended, and
    /// what is said of a thread here may be partly the one's and partly the other's.
    pub is_settled: bool,
    /// One of [`crate::layout::row_state`]; any number in a hostile segment.
    pub state: u32,
    /// The thread, in the process's PID namespace.
    pub tid: u32,
    /// Threads that have had this row.
    pub generation: u64,
    /// Thread name, NUL-padded; any bytes.
    pub name: [u8; 16],
    /// When the thread first used the heap, nanoseconds on `CLOCK_MONOTONIC`.
    pub started_ns: u64,
    /// When it ended; 0 while it lives.
    pub ended_ns: u64,
    /// Reallocations of live blocks.
    pub reallocations: u64,
    /// Blocks freed that another thread's heap owns.
    pub remote_frees: u64,
    /// Blocks of its heap that others had freed and it took back.
    pub remote_collected: u64,
    /// Bytes of slabs left behind at its end.
    pub abandoned: u64,
    /// Bytes of such slabs taken over.
    pub adopted: u64,
    /// `allocations`, `frees`, `requested_in`, `requested_out`, `reallocations`, `remote_frees` when the present
    /// thread took the row.
    pub base: [u64; 6],
    /// Blocks allocated, over all lines.
    pub allocations: u64,
    /// Blocks freed, over all lines.
    pub frees: u64,
    /// Bytes requested for the blocks allocated, over all lines.
    pub requested_in: u64,
    /// Bytes requested for the blocks freed, over all lines.
    pub requested_out: u64,
    reader: Reader<'a>,
}

impl RowView<'_> {
    /// This row's counters for one size class or bucket; all zero beyond the last.
    pub fn line(&self, line: usize) -> LineTotals {
        let mut totals = self.reader.line_info(line);
        if line < LINES {
            self.reader.add_line(&mut totals, self.index, line);
        }
        totals
    }
}

impl<'a> Reader<'a> {
    /// Every size class, then every bucket, summed over all rows.
    pub fn lines(&self) -> impl Iterator<Item = LineTotals> + use<'a> {
        let reader = *self;
        (0..LINES).map(move |line| {
            let mut totals = reader.line_info(line);
            for row in 0..reader.rows {
                reader.add_line(&mut totals, row, line);
            }
            totals
        })
    }

    /// Every row in use; the first is the shared one.
    pub fn rows(&self) -> impl Iterator<Item = RowView<'a>> + use<'a> {
        let reader = *self;
        (0..reader.rows).map(move |row| reader.row(row))
    }

    /// Bytes that the row's heap keeps.
    pub(super) fn kept(&self, index: usize) -> u64 {
        u64_at(self.second, row_offset(index) + offset_of!(Row, kept))
    }

    fn row(&self, index: usize) -> RowView<'a> {
        let start = row_offset(index);
        let counted = Reader { second: self.first, ..*self };
        let word = |offset| u64_at(self.first, start + offset);
        let mut name = [0; 16];
        for (at, half) in name.chunks_exact_mut(8).enumerate() {
            half.copy_from_slice(&word(offset_of!(Row, name) + at * size_of::<Counter>()).to_le_bytes());
        }
        let mut sums = LineTotals::default();
        for line in 0..LINES {
            counted.add_line(&mut sums, index, line);
        }
        RowView {
            index,
            is_settled: self.is_settled(start),
            state: u32_at(self.second, start + offset_of!(Row, state)),
            tid: u32_at(self.first, start + offset_of!(Row, tid)),
            generation: word(offset_of!(Row, generation)),
            name,
            started_ns: word(offset_of!(Row, started_ns)),
            ended_ns: u64_at(self.second, start + offset_of!(Row, ended_ns)),
            reallocations: word(offset_of!(Row, reallocations)),
            remote_frees: word(offset_of!(Row, remote_frees)),
            remote_collected: word(offset_of!(Row, remote_collected)),
            abandoned: word(offset_of!(Row, abandoned)),
            adopted: word(offset_of!(Row, adopted)),
            base: core::array::from_fn(|i| word(offset_of!(Row, base) + i * size_of::<Counter>())),
            allocations: sums.allocations,
            frees: sums.frees,
            requested_in: sums.requested_in,
            requested_out: sums.requested_out,
            reader: counted,
        }
    }

    /// Whether the row that starts there belonged to one thread from some point of the first copy to some point of the
    /// second: the copies agree on whose it is, and nobody has begun to take it.
    ///
    /// Had the first copy anything of a thread that takes the row, the second would have its `taken`, which was stored
    /// earlier; and the second has all of the thread whose `generation` the first has. So what both have alike is that
    /// thread's, in whatever order a copy was made.
    fn is_settled(&self, start: usize) -> bool {
        const WHOSE: [Range<usize>; 2] =
            [offset_of!(Row, tid)..offset_of!(Row, ended_ns), offset_of!(Row, taken)..offset_of!(Row, stack_pointer)];
        let word = |offset| u64_at(self.second, start + offset);
        let taken = word(offset_of!(Row, taken));
        let alike = |part: &Range<usize>| {
            let part = start + part.start..start + part.end;
            self.first.get(part.clone()) == self.second.get(part)
        };
        WHOSE.iter().all(alike) && (taken == word(offset_of!(Row, generation)) || taken == 0)
    }

    /// What the class table says about a line, with no counts yet.
    fn line_info(&self, line: usize) -> LineTotals {
        if line >= LINES {
            return LineTotals::default();
        }
        let start = CLASSES_OFFSET + line * size_of::<ClassInfo>();
        LineTotals {
            block_size: u64_at(self.second, start + offset_of!(ClassInfo, block_size)),
            slab_blocks: u32_at(self.second, start + offset_of!(ClassInfo, slab_blocks)),
            slab_bytes: u32_at(self.second, start + offset_of!(ClassInfo, slab_bytes)),
            is_bucket: line >= CLASSES,
            ..LineTotals::default()
        }
    }

    /// Adds one row's counters. A row that the first copy does not reach was unused then: nothing had left it.
    fn add_line(&self, totals: &mut LineTotals, row: usize, line: usize) {
        let start = row_offset(row) + offset_of!(Row, lines) + line * size_of::<ClassCounters>();
        let before = |sum: &mut u64, offset| *sum = sum.wrapping_add(u64_at(self.first, start + offset));
        let after = |sum: &mut u64, offset| *sum = sum.wrapping_add(u64_at(self.second, start + offset));
        let scale = Scale::line(line);
        let counts = |copy, way, tally| {
            let word = |field| u64_at(copy, start + tally + field);
            scale.unpack(way, [word(offset_of!(Tally, sum)), word(offset_of!(Tally, base))])
        };
        let freed = counts(self.first, Way::Out, offset_of!(ClassCounters, freed));
        let allocated = counts(self.second, Way::In, offset_of!(ClassCounters, allocated));
        totals.frees = totals.frees.wrapping_add(freed.calls);
        totals.requested_out = totals.requested_out.wrapping_add(freed.requested);
        totals.allocations = totals.allocations.wrapping_add(allocated.calls);
        totals.requested_in = totals.requested_in.wrapping_add(allocated.requested);
        before(&mut totals.capacity_out, offset_of!(ClassCounters, capacity_out));
        before(&mut totals.slabs_out, offset_of!(ClassCounters, slabs_out));
        after(&mut totals.capacity_in, offset_of!(ClassCounters, capacity_in));
        after(&mut totals.slabs_in, offset_of!(ClassCounters, slabs_in));
    }
}

/// Where a row starts. Rows are below [`crate::layout::ROWS`], so this stays far from overflow.
fn row_offset(row: usize) -> usize {
    ROWS_OFFSET + row * size_of::<Row>()
}
