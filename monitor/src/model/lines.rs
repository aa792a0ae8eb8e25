//! What a figure by size belongs to: a size class, or a bucket of large blocks.

use serde::{Serialize, Serializer};
use shm_layout::class::{BUCKETS, CLASSES, LINES, SizeClass, bucket_limit};

/// A size class (`block_size`), or a bucket of large blocks (`up_to_bytes`; no limit where both are unknown).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize)]
pub(crate) struct Line {
    /// Bytes of a block of the class.
    pub(crate) block_size: Option<u64>,
    /// The largest block that counts in the bucket.
    pub(crate) up_to_bytes: Option<u64>,
}

impl Line {
    /// The size class with blocks of this size.
    pub(crate) const fn class(block_size: u64) -> Self {
        Self { block_size: Some(block_size), up_to_bytes: None }
    }

    /// The bucket of blocks up to this size.
    pub(crate) const fn bucket(up_to_bytes: Option<u64>) -> Self {
        Self { block_size: None, up_to_bytes }
    }

    /// The line at this place of the segment's tables.
    pub(crate) fn at(index: usize) -> Self {
        if index < CLASSES {
            Self::class(SizeClass(index as u8).block_size() as u64)
        } else {
            Self::bucket(Some(bucket_limit((index - CLASSES).min(BUCKETS - 1))).filter(|&limit| limit != u64::MAX))
        }
    }

    /// All of them, in the order of the segment's tables.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..LINES).map(Self::at)
    }
}

/// What a thread did with blocks of one size, and all threads that have had its row, itself included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct ThreadLine {
    /// Which size.
    #[serde(flatten)]
    pub(crate) line: Line,
    /// Blocks handed out.
    pub(crate) allocations: Part,
    /// Blocks given back.
    pub(crate) frees: Part,
    /// Bytes requested.
    pub(crate) allocated_by_bytes: Part,
    /// Requested bytes of the blocks given back.
    pub(crate) freed_by_bytes: Part,
    /// The same of all threads that have had the row.
    pub(crate) row_allocations: u64,
    /// See `row_allocations`.
    pub(crate) row_frees: u64,
    /// See `row_allocations`.
    pub(crate) row_allocated_by_bytes: u64,
    /// See `row_allocations`.
    pub(crate) row_freed_by_bytes: u64,
}

#[cfg(test)]
impl ThreadLine {
    /// Of the first thread of a row: blocks handed out and given back, bytes of both.
    pub(crate) fn whole(line: Line, figures: [u64; 4]) -> Self {
        let [allocations, frees, allocated_by_bytes, freed_by_bytes] = figures.map(|all| Part::of(all, all, 0));
        let [row_allocations, row_frees, row_allocated_by_bytes, row_freed_by_bytes] = figures;
        Self {
            line,
            allocations,
            frees,
            allocated_by_bytes,
            freed_by_bytes,
            row_allocations,
            row_frees,
            row_allocated_by_bytes,
            row_freed_by_bytes,
        }
    }
}

/// A thread's part of a figure of its row, by the bounds in which it lies: by size the segment has only what all threads
/// of the row did. In the JSON a number, or `null` where the bounds differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Part {
    /// At least.
    pub(crate) least: u64,
    /// At most.
    pub(crate) most: u64,
}

impl Part {
    /// The part of `whole` that is due to one who did `own` of the row's figure over all sizes, and others `others`.
    pub(crate) fn of(whole: u64, own: u64, others: u64) -> Self {
        let most = whole.min(own);
        Self { least: whole.saturating_sub(others).min(most), most }
    }

    /// The figure, where it is known.
    pub(crate) fn exact(self) -> Option<u64> {
        (self.least == self.most).then_some(self.most)
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { least: self.least.saturating_add(other.least), most: self.most.saturating_add(other.most) }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.exact().serialize(serializer)
    }
}
