//! What the program did wrong: a ring of events, and a ring of those who free other allocators' blocks.

use crate::counter::Counter;
use crate::sync::{AtomicU8, AtomicU32};

/// What a misuse event was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum MisuseKind {
    /// The block had been freed before.
    DoubleFree = 1,
    /// The pointer lies inside a live block.
    InteriorFree = 2,
    /// No block ever started there, or its memory has long been given back.
    NeverAllocated = 3,
    /// The block is another allocator's.
    Foreign = 4,
    /// A freed block on its way to its owner had been overwritten, by a write after free or an overflow.
    CorruptFreeList = 5,
    /// A block was written to beyond its end (hardened heaps).
    Overrun = 6,
    /// A block was written to after it was freed (hardened heaps).
    WrittenAfterFree = 7,
    /// The block was freed with another size than it was asked for with.
    WrongSize = 8,
}

/// One misuse event. `stamp` is zeroed before and set after the others are written.
#[repr(C)]
pub struct MisuseSlot {
    /// Number of the event, counted from 1; 0 while it is written.
    pub stamp: Counter,
    /// A [`MisuseKind`].
    pub kind: AtomicU32,
    /// Index into [`CALLS`].
    pub call: AtomicU32,
    /// The pointer that was given.
    pub address: Counter,
    /// Return address of the call.
    pub caller: Counter,
    /// Size of the block it meant, in bytes; 0 if unknown.
    pub block_size: Counter,
    /// Bytes requested for that block, plus one; 0 if unknown.
    pub requested_plus_one: Counter,
    /// When: nanoseconds on `CLOCK_MONOTONIC`.
    pub time_ns: Counter,
    /// Calling thread, in the process's PID namespace.
    pub tid: AtomicU32,
    /// Reserved, zero.
    pub reserved: AtomicU32,
}

/// Names of the calls that [`MisuseSlot::call`] indexes.
pub const CALLS: [&str; 7] =
    ["free", "realloc", "malloc_usable_size", "malloc", "reallocarray", "free_sized", "operator delete"];

/// Bytes kept of a module's path: its last.
pub const MODULE_BYTES: usize = 96;

/// Where the caller of a misuse event is from, if that is known. Written together with the event's slot, under its stamp.
#[repr(C)]
pub struct MisuseModule {
    /// The caller's address in the terms of the module's file, as symbolisers take it.
    pub offset: Counter,
    /// Length of the module's path in bytes; 0 if the module is not known.
    pub len: AtomicU32,
    /// Reserved, zero.
    pub reserved: AtomicU32,
    /// The path, or where it is longer its end; any bytes.
    pub path: [AtomicU8; MODULE_BYTES],
}

/// Somebody who gives the heap pointers that it did not hand out. Each is recorded once, at the first such pointer, and
/// only `frees` changes afterwards. A writer first takes the slot, by storing its number with [`Self::WRITING`] set;
/// where another is still writing, or has come later, it leaves the slot alone.
#[repr(C)]
pub struct ForeignSlot {
    /// Number of the caller, counted from 1; [`Self::WRITING`] is set while the slot is written. 0: never written.
    pub stamp: Counter,
    /// The pointer that was given first.
    pub address: Counter,
    /// Return address of the calls.
    pub caller: Counter,
    /// The same address in the terms of the module's file, as symbolisers take it.
    pub module_offset: Counter,
    /// Such pointers from this caller so far, with the caller's number above them: see [`Self::frees_word`].
    pub frees: Counter,
    /// When the first came: nanoseconds on `CLOCK_MONOTONIC`.
    pub time_ns: Counter,
    /// The thread that gave it, in the process's PID namespace.
    pub tid: AtomicU32,
    /// Index into [`CALLS`].
    pub call: AtomicU32,
    /// Length of the module's path in bytes; 0 if the module is not known.
    pub module_len: AtomicU32,
    /// Reserved, zero.
    pub reserved: AtomicU32,
    /// The path, or where it is longer its end; any bytes.
    pub module: [AtomicU8; MODULE_BYTES],
}

impl ForeignSlot {
    /// In `stamp`: the slot is being written.
    pub const WRITING: u64 = 1 << 63;
    /// Bits of `frees` that count.
    const COUNT_BITS: u32 = 48;

    /// The value of `frees` for caller `number`. The number keeps who still counts in a slot that has become another
    /// caller's from spoiling it.
    pub const fn frees_word(number: u64, frees: u64) -> u64 {
        let most = (1 << Self::COUNT_BITS) - 1;
        number << Self::COUNT_BITS | if frees < most { frees } else { most }
    }

    /// The count in `word`; `None` if it is another caller's.
    pub const fn frees_of(number: u64, word: u64) -> Option<u64> {
        let frees = word & ((1 << Self::COUNT_BITS) - 1);
        if Self::frees_word(number, frees) == word { Some(frees) } else { None }
    }
}
