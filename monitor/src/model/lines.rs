//! What a figure by size belongs to: a size class, or a bucket of large blocks.

use serde::Serialize;
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

/// What the threads of one row did with blocks of one size. Cumulative over every thread that had the row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct ThreadLine {
    /// Which size.
    #[serde(flatten)]
    pub(crate) line: Line,
    /// Blocks handed out.
    pub(crate) allocations: u64,
    /// Blocks given back.
    pub(crate) frees: u64,
    /// Bytes requested.
    pub(crate) allocated_by_bytes: u64,
    /// Requested bytes of the blocks given back.
    pub(crate) freed_by_bytes: u64,
}
