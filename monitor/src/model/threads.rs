//! The threads of a process: what each allocated and freed, never what it owns.

use super::{ThreadLine, Time};
use serde::Serialize;

/// Seconds over which rates by size and thread are taken.
pub(crate) const RATE_AGE: f64 = 5.0;

/// Threads that used the heap.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Threads {
    /// Started and not ended.
    pub(crate) live: u64,
    /// Since the start.
    pub(crate) started: u64,
    /// Since the start.
    pub(crate) ended: u64,
    /// Threads that found every row taken and count in the shared one, since the start.
    pub(crate) without_row: u64,
    /// Bytes of slabs that ended threads left and nobody has taken over.
    pub(crate) stranded_bytes: u64,
    /// Bytes of such slabs that were taken over, since the start.
    pub(crate) adopted_bytes: u64,
    /// Threads that came, over the last few seconds.
    pub(crate) starts_per_second: Option<f64>,
    /// Threads that ended, likewise.
    pub(crate) ends_per_second: Option<f64>,
    /// Threads that ended in the last [`RATE_AGE`] seconds, or in as many of them as were watched.
    #[serde(skip)]
    pub(crate) ended_lately: f64,
    /// One row per live thread, and ended ones whose row no other has continued.
    pub(crate) rows: Vec<Thread>,
    /// Threads that were seen in earlier looks, and whose rows others have continued: as they were seen last.
    pub(crate) gone: Vec<Thread>,
}

impl Threads {
    /// What threads are called, all together, that had their rows before the ones that have them now. A forked child's
    /// row goes on from its parent's figures.
    pub(crate) fn earlier(is_forked: bool) -> &'static str {
        if is_forked { "ended or parent's threads" } else { "ended threads" }
    }
}

/// One thread. Its figures are cumulative, and its own.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Thread {
    /// In the process's PID namespace; unknown for the shared row.
    pub(crate) tid: Option<u32>,
    /// `comm`, present or at the start.
    pub(crate) name: String,
    /// Of the row.
    pub(crate) state: ThreadState,
    /// Blocks it was handed.
    pub(crate) allocations: u64,
    /// Blocks it gave back, whoever allocated them.
    pub(crate) frees: u64,
    /// Bytes its calls requested.
    pub(crate) allocated_by_bytes: u64,
    /// Requested bytes of the blocks it gave back.
    pub(crate) freed_by_bytes: u64,
    /// Reallocations of live blocks.
    pub(crate) reallocations: u64,
    /// Blocks it gave back that another thread owns.
    pub(crate) remote_frees: u64,
    /// When it first used the heap.
    pub(crate) start_time: Option<Time>,
    /// When it ended.
    pub(crate) end_time: Option<Time>,
    /// Blocks it was handed, over the last few seconds.
    pub(crate) allocations_per_second: Option<f64>,
    /// Blocks it gave back, likewise.
    pub(crate) frees_per_second: Option<f64>,
    /// Which row of the segment it has.
    pub(crate) row: usize,
    /// Threads that have had this row, itself included.
    pub(crate) row_generation: u64,
    /// Blocks of its heap that others gave back and it collected; unknown where an earlier thread of the row may have.
    pub(crate) remote_collected: Option<u64>,
    /// Bytes of slabs left behind at the end; unknown likewise.
    pub(crate) abandoned_bytes: Option<u64>,
    /// Bytes of such slabs taken over; unknown likewise.
    pub(crate) adopted_bytes: Option<u64>,
    /// As `remote_collected`, of all threads that have had the row.
    pub(crate) row_remote_collected: u64,
    /// As `abandoned_bytes`, likewise.
    pub(crate) row_abandoned_bytes: u64,
    /// As `adopted_bytes`, likewise.
    pub(crate) row_adopted_bytes: u64,
    /// By size, those that any thread of the row has used. The sums of what is known are at most the figures above;
    /// unknown is how much of a row's figure (`row_…`) is of its earlier threads.
    pub(crate) classes: Vec<ThreadLine>,
}

/// State of a thread's row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ThreadState {
    /// It runs.
    Live,
    /// It has ended; the next thread continues its row.
    Ended,
    /// The row of all threads without one of their own.
    Shared,
}

impl ThreadState {
    /// As in the JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Shared => "shared",
        }
    }
}
