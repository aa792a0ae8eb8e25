//! Allocation sequences: built here, played by `programs/player.c`, and counted by a naive model that knows nothing
//! but the rounding rule of `shm_layout`.

use crate::artefacts::program;
use crate::process::{Run, Running};
use crate::snapshot::{Figures, Snapshot, snapshot};
use shm_layout::class::{SMALL_MAX, SizeClass, bucket_limit, bucket_of};
use std::collections::BTreeMap;
use std::process::Command;

/// Sizes no machine has.
pub const TOO_MUCH: u64 = 1 << 62;

/// What the player does; the numbers are those of `player.c`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Do {
    Malloc = 1,
    Calloc = 2,
    Realloc = 3,
    ReallocArray = 4,
    PosixMemalign = 5,
    AlignedAlloc = 6,
    Free = 7,
    FreeNull = 8,
    /// A `malloc` that must fail.
    FailMalloc = 9,
    /// A `calloc` that must fail.
    FailCalloc = 10,
    /// A `realloc` that must fail and leave the block as it was.
    FailRealloc = 11,
    /// A `posix_memalign` that must fail.
    FailMemalign = 12,
    /// All threads wait for each other.
    Barrier = 13,
    /// All threads wait while the test looks.
    Pause = 14,
    /// `realloc` to no bytes, which frees.
    ReallocToNothing = 15,
}

#[derive(Clone, Copy, Debug)]
struct Step {
    what: Do,
    thread: u8,
    slot: u32,
    a: u64,
    b: u64,
}

/// A sequence of allocator calls of one or more threads.
///
/// Between two barriers every thread does its own steps in their order; a slot may change hands at a barrier.
#[derive(Clone, Debug, Default)]
pub struct Script {
    steps: Vec<Step>,
    thread: u8,
    threads: u8,
    slots: u32,
}

impl Script {
    pub fn new() -> Self {
        Self::default()
    }

    /// The steps that follow are done by `thread`; 0 is the first.
    pub fn on(&mut self, thread: u8) -> &mut Self {
        self.thread = thread;
        self
    }

    pub fn malloc(&mut self, slot: u32, size: u64) -> &mut Self {
        self.push(Do::Malloc, slot, size, 0)
    }

    pub fn calloc(&mut self, slot: u32, count: u64, size: u64) -> &mut Self {
        self.push(Do::Calloc, slot, count, size)
    }

    /// `realloc` of what is in `slot`, which may be nothing.
    pub fn realloc(&mut self, slot: u32, size: u64) -> &mut Self {
        self.push(Do::Realloc, slot, size, 0)
    }

    pub fn reallocarray(&mut self, slot: u32, count: u64, size: u64) -> &mut Self {
        self.push(Do::ReallocArray, slot, count, size)
    }

    pub fn posix_memalign(&mut self, slot: u32, align: u64, size: u64) -> &mut Self {
        self.push(Do::PosixMemalign, slot, align, size)
    }

    pub fn aligned_alloc(&mut self, slot: u32, align: u64, size: u64) -> &mut Self {
        self.push(Do::AlignedAlloc, slot, align, size)
    }

    pub fn free(&mut self, slot: u32) -> &mut Self {
        self.push(Do::Free, slot, 0, 0)
    }

    /// Any other step.
    pub fn step(&mut self, what: Do, slot: u32, a: u64, b: u64) -> &mut Self {
        self.push(what, slot, a, b)
    }

    pub fn barrier(&mut self) -> &mut Self {
        self.push(Do::Barrier, 0, 0, 0)
    }

    pub fn pause(&mut self) -> &mut Self {
        self.push(Do::Pause, 0, 0, 0)
    }

    fn push(&mut self, what: Do, slot: u32, a: u64, b: u64) -> &mut Self {
        self.steps.push(Step { what, thread: self.thread, slot, a, b });
        self.threads = self.threads.max(self.thread + 1);
        self.slots = self.slots.max(slot + 1);
        self
    }

    /// The player's input: a header of two `u32` and one `u64`, then 24 bytes a step.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.steps.len() * 24);
        bytes.extend(u32::from(self.threads).to_ne_bytes());
        bytes.extend(self.slots.to_ne_bytes());
        bytes.extend((self.steps.len() as u64).to_ne_bytes());
        for step in &self.steps {
            bytes.extend([step.what as u8, step.thread, 0, 0]);
            bytes.extend(step.slot.to_ne_bytes());
            bytes.extend(step.a.to_ne_bytes());
            bytes.extend(step.b.to_ne_bytes());
        }
        bytes
    }

    /// The model's counts at every pause.
    pub fn model(&self) -> Vec<Counted> {
        let mut model = Model::default();
        let mut pauses = Vec::new();
        for step in &self.steps {
            match step.what {
                Do::Pause => pauses.push(model.counted.clone()),
                _ => model.apply(step),
            }
        }
        pauses
    }

    /// Starts the player under the library; `prepare` may change its surroundings first.
    pub fn start(&self, prepare: impl FnOnce(&mut Command)) -> Running {
        let mut command = Command::new(program("player.c"));
        command.preload();
        prepare(&mut command);
        let mut running = command.begin();
        running.send(&self.bytes());
        running
    }

    /// Plays it, takes a snapshot at every pause and holds the differences to the first one against the model's.
    #[track_caller]
    pub fn check(&self) -> Vec<Snapshot> {
        self.check_with(|_| {})
    }

    /// As [`check`](Self::check), after `prepare` has seen the command.
    #[track_caller]
    pub fn check_with(&self, prepare: impl FnOnce(&mut Command)) -> Vec<Snapshot> {
        let mut player = self.start(prepare);
        let model = self.model();
        let mut seen: Vec<Snapshot> = Vec::new();
        for (pause, expected) in model.iter().enumerate() {
            player.line();
            let now = snapshot(player.pid());
            let first = seen.first().unwrap_or(&now);
            let change = &now.figures() - &first.figures();
            assert_eq!(change, &expected.figures - &model[0].figures, "at pause {pause}");
            if self.threads == 1 {
                check_peaks(&model[0], expected, first, &now);
            }
            seen.push(now);
            player.go();
        }
        player.finish().success();
        seen
    }
}

/// With one thread the peaks are exact: the higher of the old peak and the highest the model saw since then.
#[track_caller]
fn check_peaks(base: &Counted, model: &Counted, first: &Snapshot, now: &Snapshot) {
    let since = [
        ("peak_requested_bytes", "requested_bytes", model.peak_requested - base.figures.requested),
        ("peak_allocated_bytes", "allocated_bytes", model.peak_allocated - base.figures.allocated),
    ];
    for (peak, live, rise) in since {
        let expected = first.total(peak).max(first.total(live) + rise);
        assert_eq!(now.total(peak), expected, "{peak} after a rise of {rise}: {}", now.0);
    }
    assert_eq!(now.total("peak_error_bytes"), 0, "one thread: {}", now.0);
}

/// What the model has counted up to a pause.
#[derive(Clone, Default, Debug)]
pub struct Counted {
    pub figures: Figures,
    /// Highest `requested` since the start.
    pub peak_requested: i64,
    /// Highest `allocated` since the start.
    pub peak_allocated: i64,
}

#[derive(Clone, Copy)]
struct Block {
    requested: i64,
    allocated: i64,
    place: Place,
}

#[derive(Clone, Copy)]
enum Place {
    Class,
    Bucket(i64),
}

/// The naive model: a map of live blocks.
#[derive(Default)]
struct Model {
    blocks: BTreeMap<u32, Block>,
    counted: Counted,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        let Step { slot, a, b, .. } = *step;
        match step.what {
            Do::Malloc => self.allocate(slot, block(a, 16)),
            Do::Calloc => self.allocate(slot, block(a * b, 16)),
            Do::PosixMemalign | Do::AlignedAlloc => self.allocate(slot, block(b, a)),
            Do::Realloc => self.reallocate(slot, a),
            Do::ReallocArray => self.reallocate(slot, a * b),
            Do::Free | Do::ReallocToNothing => self.release(slot),
            // Nothing of this counts.
            Do::FreeNull | Do::FailMalloc | Do::FailCalloc | Do::FailRealloc | Do::FailMemalign => {}
            Do::Barrier | Do::Pause => {}
        }
        let Counted { figures, peak_requested, peak_allocated } = &mut self.counted;
        *peak_requested = figures.requested.max(*peak_requested);
        *peak_allocated = figures.allocated.max(*peak_allocated);
    }

    /// One reallocation, and what free(old) and malloc(new) count; no peak in between.
    fn reallocate(&mut self, slot: u32, size: u64) {
        if self.blocks.contains_key(&slot) {
            self.counted.figures.reallocations += 1;
            self.release(slot);
        }
        self.allocate(slot, block(size, 16));
    }

    fn allocate(&mut self, slot: u32, block: Block) {
        assert!(self.blocks.insert(slot, block).is_none(), "the script loses the block in slot {slot}");
        let figures = &mut self.counted.figures;
        figures.allocations += 1;
        figures.cumulative_requested += block.requested;
        figures.cumulative_allocated += block.allocated;
        count(figures, block, 1);
    }

    fn release(&mut self, slot: u32) {
        let block = self.blocks.remove(&slot).unwrap_or_else(|| panic!("the script frees empty slot {slot}"));
        self.counted.figures.frees += 1;
        count(&mut self.counted.figures, block, -1);
    }
}

/// One block more (`by` 1) or less (-1).
fn count(figures: &mut Figures, block: Block, by: i64) {
    figures.live_blocks += by;
    figures.requested += by * block.requested;
    figures.allocated += by * block.allocated;
    match block.place {
        Place::Class => {
            let line = figures.classes.entry(block.allocated).or_default();
            line.live_blocks += by;
            line.requested += by * block.requested;
            if by > 0 {
                line.allocations += 1;
            } else {
                line.frees += 1;
            }
        }
        Place::Bucket(limit) => {
            let line = figures.buckets.entry(limit).or_default();
            line.0 += by;
            line.1 += by * block.requested;
        }
    }
}

/// The block that holds `size` bytes at a multiple of `align`.
fn block(size: u64, align: u64) -> Block {
    let (requested, size, align) = (size as i64, size as usize, align as usize);
    match SizeClass::of_aligned(size, align.max(16)) {
        Some(class) => Block { requested, allocated: class.block_size() as i64, place: Place::Class },
        None => {
            let allocated = size.max(1).next_multiple_of(4096);
            debug_assert!(size > SMALL_MAX || align > SMALL_MAX);
            let limit = i64::try_from(bucket_limit(bucket_of(allocated))).unwrap_or(i64::MAX);
            Block { requested, allocated: allocated as i64, place: Place::Bucket(limit) }
        }
    }
}

/// A small generator of pseudo-random numbers (xorshift), so that a failing seed can be run again.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// A size such as programs ask for: mostly small, seldom large.
    pub fn size(&mut self) -> u64 {
        let shift = [6, 6, 8, 8, 10, 12, 15, 18][self.below(8) as usize];
        self.below(1 << shift)
    }
}
