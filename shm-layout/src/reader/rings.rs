//! The history rings and the records of misuse: slots that may be half written, old, or nonsense.

use super::Reader;
use super::bytes::{u32_at, u64_at};
use crate::class::LINES;
use crate::layout::*;
use core::mem::offset_of;

/// One of the totals rings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ring {
    /// One slot a second.
    Seconds,
    /// One slot a minute.
    Minutes,
    /// One slot an hour.
    Hours,
}

impl Ring {
    /// Slots of the ring.
    pub const fn slots(self) -> usize {
        match self {
            Self::Seconds => SECONDS,
            Self::Minutes => MINUTES,
            Self::Hours => HOURS,
        }
    }

    /// Length of one period in seconds.
    pub const fn period_seconds(self) -> u64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3600,
        }
    }

    const fn offset(self) -> usize {
        let before = match self {
            Self::Seconds => 0,
            Self::Minutes => SECONDS,
            Self::Hours => SECONDS + MINUTES,
        };
        TOTALS_OFFSET + before * size_of::<TotalsSlot>()
    }

    /// Where the slot of a stamp lies. The stamp is not 0.
    const fn slot(self, stamp: u64) -> usize {
        self.offset() + self.index(stamp) * size_of::<TotalsSlot>()
    }

    const fn index(self, stamp: u64) -> usize {
        (stamp.wrapping_sub(1) % self.slots() as u64) as usize
    }
}

/// Totals at the end of one period; see [`TotalsSlot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TotalsCopy {
    /// Live bytes the program asked for.
    pub requested: u64,
    /// Live bytes of the blocks that hold them.
    pub allocated: u64,
    /// Carved bytes that are not live, in slabs in use.
    pub pinned: u64,
    /// Touched bytes of free slabs and spans.
    pub cached: u64,
    /// Allocations since the start.
    pub allocations: u64,
    /// Frees since the start.
    pub frees: u64,
    /// Bytes requested since the start.
    pub cumulative_requested: u64,
}

/// One misuse event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misuse<'a> {
    /// Number of the event, counted from 1.
    pub number: u64,
    /// What it was.
    pub kind: MisuseKind,
    /// The call that found it, one of [`CALLS`]; `"?"` where this version knows no such call.
    pub call: &'static str,
    /// The pointer that was given.
    pub address: u64,
    /// Return address of the call.
    pub caller: u64,
    /// Where the caller's code is from, if that is known.
    pub module: Option<ModuleCopy<'a>>,
    /// Size of the block it meant, in bytes.
    pub block_size: Option<u64>,
    /// Bytes requested for that block.
    pub requested: Option<u64>,
    /// When: nanoseconds on `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// Calling thread, in the process's PID namespace.
    pub tid: u32,
}

/// Somebody who gives the heap other allocators' blocks; see [`ForeignSlot`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForeignCaller<'a> {
    /// Number of the caller, counted from 1.
    pub number: u64,
    /// The call, as in [`Misuse`].
    pub call: &'static str,
    /// The pointer that was given first.
    pub address: u64,
    /// Return address of the calls.
    pub caller: u64,
    /// Such pointers from there so far.
    pub frees: u64,
    /// Where the caller's code is from, if that is known.
    pub module: Option<ModuleCopy<'a>>,
    /// When the first came: nanoseconds on `CLOCK_MONOTONIC`.
    pub time_ns: u64,
    /// The thread that gave it, in the process's PID namespace.
    pub tid: u32,
}

/// A place in a file of code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ModuleCopy<'a> {
    /// The file's path, or the end of it: any bytes, at most [`MODULE_BYTES`].
    pub path: &'a [u8],
    /// Whether that is only the end.
    pub is_cut: bool,
    /// The address in the file's own terms.
    pub offset: u64,
}

impl<'a> Reader<'a> {
    /// The complete slots of a ring with their period numbers, oldest first. A period without a slot holds the value
    /// of the one before it.
    pub fn totals_ring(&self, ring: Ring) -> impl Iterator<Item = (u64, TotalsCopy)> + use<'a> {
        let reader = *self;
        reader.stamps(ring).map(move |stamp| (stamp - 1, reader.totals_slot(ring.slot(stamp))))
    }

    /// Allocated and pinned bytes of one line at the end of each minute that the minutes ring has, oldest first.
    pub fn class_minutes(&self, line: usize) -> impl Iterator<Item = (u64, u64, u64)> + use<'a> {
        let reader = *self;
        reader.stamps(Ring::Minutes).filter(move |_| line < LINES).map(move |stamp| {
            let entry = Ring::Minutes.index(stamp) * LINES + line;
            let start = CLASS_RING_OFFSET + entry * size_of::<ClassSlot>();
            let copy = reader.settled(Ring::Minutes.slot(stamp));
            let allocated = u64_at(copy, start + offset_of!(ClassSlot, allocated));
            let pinned = u64_at(copy, start + offset_of!(ClassSlot, pinned));
            (stamp - 1, allocated, pinned)
        })
    }

    /// The recorded misuse events, oldest first.
    pub fn misuses(&self) -> impl Iterator<Item = Misuse<'a>> + use<'a> {
        let reader = *self;
        let newest = (0..MISUSES)
            .map(|slot| (slot, u64_at(reader.second, misuse_offset(slot))))
            .filter(|&(slot, number)| number % MISUSES as u64 == slot as u64)
            .map(|(_, number)| number)
            .max()
            .unwrap_or(0);
        (0..MISUSES as u64)
            .rev()
            .filter_map(move |age| newest.checked_sub(age).filter(|&number| number != 0))
            .filter_map(move |number| reader.misuse(number))
    }

    /// The recorded callers of foreign frees, oldest first; one that was being written is left out until the next look.
    pub fn foreign_callers(&self) -> impl Iterator<Item = ForeignCaller<'a>> + use<'a> {
        let reader = *self;
        // Numbers are not without gaps: one that found its slot being written was given up for another.
        let mut numbers: [u64; FOREIGNERS] = core::array::from_fn(|slot| reader.foreign_number(slot).unwrap_or(0));
        numbers.sort_unstable();
        numbers.into_iter().filter(|&number| number != 0).filter_map(move |number| reader.foreign_caller(number))
    }

    /// Whose a slot was, all the time from before the first copy of it was taken until it was begun to take the second.
    fn foreign_number(&self, slot: usize) -> Option<u64> {
        let stamp = |copy| u64_at(copy, foreign_offset(slot) + offset_of!(ForeignSlot, stamp));
        let number = stamp(self.second);
        let is_whole = number == stamp(self.first) && number & ForeignSlot::WRITING == 0;
        (is_whole && number % FOREIGNERS as u64 == slot as u64).then_some(number)
    }

    fn foreign_caller(&self, number: u64) -> Option<ForeignCaller<'a>> {
        let slot = (number % FOREIGNERS as u64) as usize;
        if self.foreign_number(slot) != Some(number) {
            return None;
        }
        let start = foreign_offset(slot);
        let word = |offset| u64_at(self.first, start + offset);
        let half = |offset| u32_at(self.first, start + offset);
        let frees = |copy| ForeignSlot::frees_of(number, u64_at(copy, start + offset_of!(ForeignSlot, frees)));
        let length = half(offset_of!(ForeignSlot, module_len));
        let path = start + offset_of!(ForeignSlot, module);
        Some(ForeignCaller {
            number,
            call: call_name(half(offset_of!(ForeignSlot, call))),
            address: word(offset_of!(ForeignSlot, address)),
            caller: word(offset_of!(ForeignSlot, caller)),
            frees: frees(self.second).or(frees(self.first)).unwrap_or(0),
            module: module(self.first, path, length, word(offset_of!(ForeignSlot, module_offset))),
            time_ns: word(offset_of!(ForeignSlot, time_ns)),
            tid: half(offset_of!(ForeignSlot, tid)),
        })
    }

    /// Stamps of a ring's complete slots, ascending: at most as many as the ring is long, back from the newest.
    fn stamps(&self, ring: Ring) -> impl Iterator<Item = u64> + use<'a> {
        let segment = self.second;
        let stamp_in = move |slot: usize| u64_at(segment, ring.offset() + slot * size_of::<TotalsSlot>());
        let newest = (0..ring.slots())
            .map(stamp_in)
            .enumerate()
            .filter(|&(slot, stamp)| stamp != 0 && ring.index(stamp) == slot)
            .map(|(_, stamp)| stamp)
            .max()
            .unwrap_or(0);
        (0..ring.slots() as u64)
            .rev()
            .filter_map(move |age| newest.checked_sub(age).filter(|&stamp| stamp != 0))
            .filter(move |&stamp| stamp_in(ring.index(stamp)) == stamp)
    }

    /// The copy in which a slot is whole. With the same stamp in both, nobody began to write the slot while the first copy was
    /// taken, but somebody may have during the second; with a new stamp, the second has all that goes with it. The slot of a
    /// period that runs is written again under its stamp, 50 ms later at the earliest: a first copy that meets with that may
    /// have some of its figures from before and some from after.
    fn settled(&self, stamp_offset: usize) -> &'a [u8] {
        let same = u64_at(self.first, stamp_offset) == u64_at(self.second, stamp_offset);
        if same { self.first } else { self.second }
    }

    fn totals_slot(&self, start: usize) -> TotalsCopy {
        let copy = self.settled(start);
        let word = |offset| u64_at(copy, start + offset);
        TotalsCopy {
            requested: word(offset_of!(TotalsSlot, requested)),
            allocated: word(offset_of!(TotalsSlot, allocated)),
            pinned: word(offset_of!(TotalsSlot, pinned)),
            cached: word(offset_of!(TotalsSlot, cached)),
            allocations: word(offset_of!(TotalsSlot, allocations)),
            frees: word(offset_of!(TotalsSlot, frees)),
            cumulative_requested: word(offset_of!(TotalsSlot, cumulative_requested)),
        }
    }

    fn misuse(&self, number: u64) -> Option<Misuse<'a>> {
        let slot = (number % MISUSES as u64) as usize;
        let start = misuse_offset(slot);
        if u64_at(self.second, start + offset_of!(MisuseSlot, stamp)) != number {
            return None;
        }
        let copy = self.settled(start);
        let word = |offset| u64_at(copy, start + offset);
        let half = |offset| u32_at(copy, start + offset);
        let from = MODULES_OFFSET + slot * size_of::<MisuseModule>();
        let length = u32_at(copy, from + offset_of!(MisuseModule, len));
        let offset = u64_at(copy, from + offset_of!(MisuseModule, offset));
        Some(Misuse {
            number,
            kind: kind_of(half(offset_of!(MisuseSlot, kind)))?,
            call: call_name(half(offset_of!(MisuseSlot, call))),
            address: word(offset_of!(MisuseSlot, address)),
            caller: word(offset_of!(MisuseSlot, caller)),
            module: module(copy, from + offset_of!(MisuseModule, path), length, offset),
            block_size: Some(word(offset_of!(MisuseSlot, block_size))).filter(|&size| size != 0),
            requested: word(offset_of!(MisuseSlot, requested_plus_one)).checked_sub(1),
            time_ns: word(offset_of!(MisuseSlot, time_ns)),
            tid: half(offset_of!(MisuseSlot, tid)),
        })
    }
}

const fn misuse_offset(slot: usize) -> usize {
    GLOBALS_OFFSET + offset_of!(Globals, misuse) + slot * size_of::<MisuseSlot>()
}

const fn foreign_offset(slot: usize) -> usize {
    FOREIGN_OFFSET + slot * size_of::<ForeignSlot>()
}

/// The module whose path begins at `path`; `None` if it has no length.
fn module(copy: &[u8], path: usize, length: u32, offset: u64) -> Option<ModuleCopy<'_>> {
    let length = length as usize;
    let path = copy.get(path..path + length.min(MODULE_BYTES)).unwrap_or_default();
    (length != 0).then_some(ModuleCopy { path, is_cut: length > MODULE_BYTES, offset })
}

fn call_name(call: u32) -> &'static str {
    CALLS.get(call as usize).copied().unwrap_or("?")
}

fn kind_of(kind: u32) -> Option<MisuseKind> {
    use MisuseKind::*;
    [DoubleFree, InteriorFree, NeverAllocated, Foreign, CorruptFreeList, Overrun, WrittenAfterFree, WrongSize]
        .into_iter()
        .find(|&known| known as u32 == kind)
}
