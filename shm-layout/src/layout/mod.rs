//! The segment's types. Every field is an atomic with a stated writer; the offset of every table is in the [`Header`],
//! but for what came into reserved space later.
//!
//! ```text
//! 0          Header   identity, sizes and offsets; written once, `magic` last
//! GLOBALS    Globals  process-wide counters, peaks, the misuse ring
//! MODULES    MisuseModule x MISUSES, to the end of their page
//! CLASSES    ClassInfo x LINES, written once
//! FOREIGN    ForeignSlot x FOREIGNERS, to the end of their page
//! TOTALS     TotalsSlot x (seconds, minutes, hours)
//! MINUTES    ClassSlot x LINES x CLASS_MINUTES
//! ROWS       Row x ROWS: row 0 is shared by threads without a row of their own
//! ```
//!
//! Version policy: a field may be added in reserved space without a new version, since unused space reads as zero;
//! anything moved, resized or redefined raises [`LAYOUT_VERSION`], and a reader accepts only the version it knows.

use crate::class::LINES;
use crate::counter::Counter;
use crate::sync::{AtomicU8, AtomicU32};
use crate::tally::Tally;

mod misuse;

pub use misuse::{CALLS, ForeignSlot, MODULE_BYTES, MisuseKind, MisuseModule, MisuseSlot};

/// First eight bytes of a complete segment.
pub const MAGIC: u64 = u64::from_le_bytes(*b"STATHEAP");
/// Version of everything in this file.
pub const LAYOUT_VERSION: u32 = 5;

/// Rows, the shared one included.
pub const ROWS: usize = 4097;
/// The row of threads without one of their own, which they write under a lock.
pub const SHARED_ROW: usize = 0;
/// Slots of the totals ring with one slot a second.
pub const SECONDS: usize = 120;
/// Slots of the totals ring with one slot a minute.
pub const MINUTES: usize = 120;
/// Slots of the totals ring with one slot an hour.
pub const HOURS: usize = 168;
/// Slots of the per-class ring, one a minute.
pub const CLASS_MINUTES: usize = 120;
/// Misuse events kept.
pub const MISUSES: usize = 16;
/// Callers of foreign frees kept.
pub const FOREIGNERS: usize = 16;

/// Offset of [`Globals`].
pub const GLOBALS_OFFSET: usize = 1024;
/// The [`MisuseModule`]s of the misuse events, in the same places.
pub const MODULES_OFFSET: usize = GLOBALS_OFFSET + size_of::<Globals>();
/// Offset of the [`ClassInfo`] table.
pub const CLASSES_OFFSET: usize = 4096;
/// Offset of the [`ForeignSlot`] ring.
pub const FOREIGN_OFFSET: usize = CLASSES_OFFSET + LINES * size_of::<ClassInfo>();
/// Offset of the totals rings: seconds, minutes, hours, one after the other.
pub const TOTALS_OFFSET: usize = 8192;
/// Offset of the per-class ring: `CLASS_MINUTES` slots of `LINES` entries.
pub const CLASS_RING_OFFSET: usize = TOTALS_OFFSET + 7 * 4096;
/// Offset of the rows.
pub const ROWS_OFFSET: usize = CLASS_RING_OFFSET + 38 * 4096;
/// Bytes of a whole segment; sparse, so only what is used takes memory.
pub const SEGMENT_BYTES: usize = (ROWS_OFFSET + ROWS * size_of::<Row>()).next_multiple_of(4096);

/// Who writes the segment, and where its parts lie. Written once; `magic` is stored last, with release.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`] once everything else is in place.
    pub magic: Counter,
    /// [`LAYOUT_VERSION`].
    pub layout_version: AtomicU32,
    /// Size of this header in bytes.
    pub header_bytes: AtomicU32,
    /// Size of the whole segment in bytes.
    pub segment_bytes: Counter,
    /// Offset of [`Globals`] in bytes.
    pub globals_offset: AtomicU32,
    /// Size of [`Globals`] in bytes.
    pub globals_bytes: AtomicU32,
    /// Offset of the class table in bytes.
    pub classes_offset: AtomicU32,
    /// Size classes in the table.
    pub class_count: AtomicU32,
    /// Large-block buckets that follow them.
    pub bucket_count: AtomicU32,
    /// Size of a [`ClassInfo`] in bytes.
    pub class_bytes: AtomicU32,
    /// Offset of the totals rings in bytes.
    pub totals_offset: AtomicU32,
    /// Size of a [`TotalsSlot`] in bytes.
    pub totals_bytes: AtomicU32,
    /// Slots of the three totals rings.
    pub totals_slots: [AtomicU32; 3],
    /// Slots of the per-class ring.
    pub class_ring_slots: AtomicU32,
    /// Offset of the per-class ring in bytes.
    pub class_ring_offset: AtomicU32,
    /// Size of a [`ClassSlot`] in bytes.
    pub class_slot_bytes: AtomicU32,
    /// Offset of the rows in bytes.
    pub rows_offset: Counter,
    /// Size of a [`Row`] in bytes.
    pub row_bytes: AtomicU32,
    /// Rows there is room for.
    pub row_count: AtomicU32,
    /// The process's PID in its own PID namespace.
    pub pid: AtomicU32,
    /// Effective user at the start.
    pub uid: AtomicU32,
    /// Inode of the PID namespace (`/proc/self/ns/pid`); 0 if unknown.
    pub pid_namespace: Counter,
    /// Start time of the process in clock ticks since boot (`/proc/PID/stat`, field 22); 0 if unknown.
    pub start_ticks: Counter,
    /// When the segment was made: `CLOCK_REALTIME`, nanoseconds.
    pub created_realtime_ns: Counter,
    /// When the segment was made: `CLOCK_MONOTONIC`, nanoseconds. All other times in the segment are on this clock.
    pub created_monotonic_ns: Counter,
    /// Address of the window in which all blocks lie.
    pub window_address: Counter,
    /// Size of the window in bytes.
    pub window_bytes: Counter,
    /// Address of the allocator's own tables.
    pub tables_address: Counter,
    /// Address range of the tables in bytes.
    pub tables_bytes: Counter,
    /// PID of the process this one was forked from, with its statistics; 0 for a fresh program.
    pub forked_from: AtomicU32,
    /// Decay time of cached memory in milliseconds.
    pub decay_ms: AtomicU32,
    /// Bytes used of `executable`.
    pub executable_len: AtomicU32,
    /// PID of the parent when the segment was made, in the process's own PID namespace; 0 if it lies outside.
    pub parent: AtomicU32,
    /// Path of the executable, cut at 256 bytes; any bytes but NUL.
    pub executable: [AtomicU8; 256],
}

/// The program has ended in an orderly way, and its last state is to stay readable.
pub const ENDED_KEPT: u64 = 1;
/// The program has ended in an orderly way, and has removed its object's name, or would have: a process that has become
/// another user may not. Who finds it removes it.
pub const ENDED_REMOVED: u64 = 2;

/// Process-wide counters. Written on slow paths by any thread (`*_shared`), unless stated otherwise.
#[repr(C, align(64))]
pub struct Globals {
    /// 0 while the program runs; once it has ended in an orderly way [`ENDED_KEPT`] or [`ENDED_REMOVED`].
    pub ended: Counter,
    /// Highest number of rows ever used, the shared one included: rows beyond are untouched.
    pub rows_used: Counter,
    /// Threads that ever used the heap.
    pub threads_started: Counter,
    /// Threads whose exit was seen.
    pub threads_ended: Counter,
    /// Threads that found no free row and count in the shared one.
    pub threads_without_row: Counter,
    /// Highest `requested` ever seen, in bytes. The true peak is the larger of this and the present sum.
    pub peak_requested: Counter,
    /// Highest `allocated` ever seen, in bytes.
    pub peak_allocated: Counter,
    /// How far the two peaks may lie below (or above) the truth, in bytes; 0 while only one thread ever ran.
    pub peak_error: Counter,
    /// Bytes of the window that are accessible.
    pub committed: Counter,
    /// Bytes of our own tables that have been made accessible and used, segment included.
    pub metadata: Counter,
    /// Touched, unpurged bytes of wholly free slabs and spans, but for those that heaps keep (`Row::kept`).
    pub cached: Counter,
    /// Bytes handed back to the system since the start.
    pub purged: Counter,
    /// Purge calls since the start.
    pub purges: Counter,
    /// Accessible bytes of the window with no memory behind them: never touched, or purged.
    pub retained: Counter,
    /// Bytes (live and free blocks) of slabs whose thread has ended and that no thread has taken over.
    pub stranded: Counter,
    /// Bytes of such slabs that were taken over, since the start.
    pub adopted: Counter,
    /// Times a large block's pages were moved instead of copied.
    pub page_moves: Counter,
    /// Frees and reallocs of other allocators' blocks.
    pub foreign_frees: Counter,
    /// Blocks freed twice.
    pub double_frees: Counter,
    /// Pointers at which no live block starts, in the window or outside, and frees with a wrong size.
    pub invalid_frees: Counter,
    /// Memory found overwritten: blocks on their way to their owner and, in a hardened heap, what lies behind blocks and
    /// in freed ones.
    pub corruptions: Counter,
    /// Misuse events ever recorded, foreign frees not among them; event `n` lies in slot `n % MISUSES`.
    pub misuse_events: Counter,
    /// Live totals flushed by threads (see the allocator's accounting): an approximation within `peak_error`.
    pub flushed_requested: Counter,
    /// As `flushed_requested`, in allocated bytes.
    pub flushed_allocated: Counter,
    /// The second (since `created_monotonic_ns`) in which the rings were written last, or could not be for want of
    /// memory, plus one. 0 while they were never due: then nothing has happened but in the first moments.
    pub last_second: Counter,
    /// Callers of foreign frees ever recorded; caller `n` lies in slot `n % FOREIGNERS`.
    pub foreign_callers: Counter,
    /// Reserved, zero.
    pub reserved: [Counter; 6],
    /// The last misuse events.
    pub misuse: [MisuseSlot; MISUSES],
}

/// One line of the class table.
#[repr(C)]
pub struct ClassInfo {
    /// Size class: bytes of a block. Bucket: largest block counted in it (`u64::MAX`: no limit).
    pub block_size: Counter,
    /// Size class: blocks of one slab. Bucket: 0.
    pub slab_blocks: AtomicU32,
    /// Size class: bytes of one slab. Bucket: 0.
    pub slab_bytes: AtomicU32,
}

/// Totals at the end of a second, a minute or an hour. A slot that is older than its ring is long holds nothing;
/// a skipped one stands for the last value before it.
#[repr(C, align(64))]
pub struct TotalsSlot {
    /// Period number since `created_monotonic_ns`, plus one; 0: never written, or being written.
    pub stamp: Counter,
    /// Live bytes the program asked for.
    pub requested: Counter,
    /// Live bytes of the blocks that hold them.
    pub allocated: Counter,
    /// Carved blocks that are not live, in slabs in use, in bytes.
    pub pinned: Counter,
    /// Touched bytes of free slabs and spans.
    pub cached: Counter,
    /// Allocations since the start.
    pub allocations: Counter,
    /// Frees since the start.
    pub frees: Counter,
    /// Bytes requested since the start.
    pub cumulative_requested: Counter,
}

/// One size class or bucket at the end of a minute. The minute's stamp is that of the same slot in the minutes ring.
#[repr(C)]
pub struct ClassSlot {
    /// Live bytes.
    pub allocated: Counter,
    /// Carved bytes that are not live, in slabs in use.
    pub pinned: Counter,
}

/// One thread's counters for one size class or bucket. What they say is cumulative and never falls.
///
/// Whoever reads frees before allocations never sees a negative number of live blocks.
#[repr(C, align(64))]
pub struct ClassCounters {
    /// Blocks freed by this thread, whoever allocated them.
    pub freed: Tally,
    /// Blocks allocated by this thread.
    pub allocated: Tally,
    /// Size class: blocks carved, plus blocks in slabs taken back into use. Bucket: allocated bytes.
    pub capacity_in: Counter,
    /// Size class: carved blocks of slabs that became wholly free, and blocks whose pages were given back. Bucket:
    /// allocated bytes freed.
    pub capacity_out: Counter,
    /// Slabs taken into use. Bucket: unused.
    pub slabs_in: Counter,
    /// Slabs that became wholly free. Bucket: unused.
    pub slabs_out: Counter,
}

/// States of a row.
pub mod row_state {
    /// Never used.
    pub const UNUSED: u32 = 0;
    /// Belongs to a live thread.
    pub const LIVE: u32 = 1;
    /// Its thread has ended; the next thread may continue it.
    pub const ENDED: u32 = 2;
    /// The shared row.
    pub const SHARED: u32 = 3;
}

/// One thread's counters. A row is never zeroed: a new thread continues the counters of an ended one, and what
/// it found there is its base.
#[repr(C, align(64))]
pub struct Row {
    /// One of [`row_state`].
    pub state: AtomicU32,
    /// The thread, in the process's PID namespace.
    pub tid: AtomicU32,
    /// Threads that have had this row; raised last when one takes it, after everything that says whose it is.
    pub generation: Counter,
    /// Thread name at the start, NUL-padded.
    pub name: [Counter; 2],
    /// When the thread first used the heap: nanoseconds on `CLOCK_MONOTONIC`.
    pub started_ns: Counter,
    /// When it ended; 0 while it lives.
    pub ended_ns: Counter,
    /// Reallocations of live blocks, cumulative over all threads of the row, like all that follows.
    pub reallocations: Counter,
    /// Blocks this thread freed that another thread's heap owns.
    pub remote_frees: Counter,
    /// Blocks of this thread's heap that others had freed and it took back.
    pub remote_collected: Counter,
    /// Bytes of slabs it left behind when it ended.
    pub abandoned: Counter,
    /// Bytes of such slabs it took over.
    pub adopted: Counter,
    /// As `generation`, but raised first. 0: written by a library that had no such counter.
    pub taken: Counter,
    /// `allocations`, `frees`, `requested_in`, `requested_out`, `reallocations`, `remote_frees` (sums over all
    /// lines) when the present thread took the row.
    pub base: [Counter; 6],
    /// Its stack pointer when it first used the heap; 0 if unknown. For the process itself.
    pub stack_pointer: Counter,
    /// Its thread pointer; as `stack_pointer`.
    pub thread_pointer: Counter,
    /// Touched bytes of wholly free slabs and spans that its heap keeps: they are cached, beside what `Globals::cached` has.
    pub kept: Counter,
    /// Reserved, zero.
    pub reserved2: [Counter; 11],
    /// Size classes, then buckets.
    pub lines: [ClassCounters; LINES],
    /// Reserved, zero: a row is two pages, so that the allocator can lay what belongs to one beside it, page by page.
    pub reserved3: [Counter; (8192 - 256 - LINES * 64) / 8],
}

#[cfg(not(loom))]
const _: () = {
    use crate::class::CLASSES;
    assert!(size_of::<Header>() == 440 && size_of::<Header>() <= GLOBALS_OFFSET);
    assert!(size_of::<MisuseSlot>() == 64);
    assert!(size_of::<MisuseModule>() == 112);
    assert!(size_of::<Globals>() == 32 * 8 + MISUSES * 64);
    assert!(MODULES_OFFSET + MISUSES * size_of::<MisuseModule>() <= CLASSES_OFFSET);
    assert!(GLOBALS_OFFSET + size_of::<Globals>() <= CLASSES_OFFSET);
    assert!(size_of::<ClassInfo>() == 16 && size_of::<ForeignSlot>() == 160);
    assert!(FOREIGN_OFFSET + FOREIGNERS * size_of::<ForeignSlot>() <= TOTALS_OFFSET);
    assert!(size_of::<TotalsSlot>() == 64);
    assert!(TOTALS_OFFSET + (SECONDS + MINUTES + HOURS) * 64 <= CLASS_RING_OFFSET);
    assert!(size_of::<ClassSlot>() == 16);
    assert!(CLASS_RING_OFFSET + CLASS_MINUTES * LINES * 16 <= ROWS_OFFSET);
    assert!(size_of::<ClassCounters>() == 64);
    assert!(size_of::<Row>() == 8192 && core::mem::offset_of!(Row, lines) == 256);
    assert!(CLASSES < LINES && ROWS_OFFSET.is_multiple_of(4096));
};
