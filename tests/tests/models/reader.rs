//! The monitor's reader before two copies of the rows. Within a copy nothing comes before anything else, which is less than
//! the kernel does; only between the copies there is an order.

#[path = "../../../shm-layout/src/reader/bytes.rs"]
mod bytes;
#[path = "../../../shm-layout/src/reader/rows.rs"]
mod rows;

pub(crate) use rows::{LineTotals, RowView};

use crate::sync::{Ordering, fence};
use crate::world;
use core::mem::offset_of;
use shm_layout::layout::{ClassCounters, ROWS_OFFSET, Row};

/// As the layout's own.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    first: &'a [u8],
    second: &'a [u8],
    rows: usize,
}

/// Two copies, one after the other.
pub(crate) struct Copies([Vec<u8>; 2]);

impl Copies {
    /// Of rows `1..end`.
    pub(crate) fn take(end: usize) -> Self {
        let first = copy(end);
        fence(Ordering::Acquire);
        Self([first, copy(end)])
    }

    pub(crate) fn reader(&self) -> Reader<'_> {
        let [first, second] = &self.0;
        Reader { first, second, rows: (first.len() - ROWS_OFFSET) / size_of::<Row>() }
    }

    /// The line of the models' blocks, over all rows.
    pub(crate) fn line(&self) -> LineTotals {
        self.reader().lines().nth(world::class().0 as usize).unwrap()
    }
}

/// What the models look at of every row; all else stays zero.
fn copy(end: usize) -> Vec<u8> {
    let mut bytes = vec![0; ROWS_OFFSET + end * size_of::<Row>()];
    for id in 1..end {
        let row = world::row(id as u32);
        let start = ROWS_OFFSET + id * size_of::<Row>();
        let mut put = |offset: usize, value: &[u8]| bytes[start + offset..][..value.len()].copy_from_slice(value);
        put(offset_of!(Row, tid), &row.tid.load(Ordering::Relaxed).to_le_bytes());
        let class = world::class().0 as usize;
        let line = offset_of!(Row, lines) + class * size_of::<ClassCounters>();
        let counters = &row.lines[class];
        for (offset, counter) in [
            (offset_of!(Row, generation), &row.generation),
            (offset_of!(Row, taken), &row.taken),
            (offset_of!(Row, base), &row.base[0]),
            (line + offset_of!(ClassCounters, freed.sum), &counters.freed.sum),
            (line + offset_of!(ClassCounters, freed.base), &counters.freed.base),
            (line + offset_of!(ClassCounters, allocated.sum), &counters.allocated.sum),
            (line + offset_of!(ClassCounters, allocated.base), &counters.allocated.base),
        ] {
            put(offset, &counter.get().to_le_bytes());
        }
    }
    bytes
}
