//! Slow paths on one block: whatever the fast path does not do itself.
//!
//! Taking and giving are apart from counting, because a `realloc` that moves has to take the new block before it
//! gives the old one, but counts them the other way round: no peak ever includes both.

use crate::account;
use crate::harden;
use crate::heap::{self, Heap};
use crate::hot::{self, Hot};
use crate::large::{self, Demand, Large};
use crate::ledger::{self, Entry, out_of_line};
use crate::misuse::{self, Call, Event};
use crate::window::{WINDOW, Window, owner};
use core::ptr::NonNull;
use shm_layout::class::{GRANULE, SizeClass};
use shm_layout::layout::MisuseKind;
use shm_layout::tally::Scale;

/// A live block of ours.
pub(crate) struct Block {
    pub(crate) kind: Kind,
    pub(crate) requested: usize,
    tag: u8,
    granule: usize,
    entry: &'static Entry,
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// In a slab of this class.
    Small(SizeClass),
    Large(Large),
}

impl Block {
    /// The block that starts at `pointer`, or what is wrong with it. In line: the answer would be put together in memory, and read
    /// back by other widths than it was written, for which a processor waits.
    #[inline(always)]
    pub(crate) fn at(pointer: *mut u8) -> Result<Self, Wrong> {
        let granule = WINDOW.granule_of(pointer).ok_or(Wrong::NoGranule)?;
        // SAFETY: `granule_of` answers for the granule.
        let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
        let tag = entry.get();
        // SAFETY: the ledger is committed there.
        let slack = unsafe { out_of_line::slack(entry, tag) }.ok_or(Wrong::NotLive(tag))?;
        let index = Window::unit_of_granule(granule);
        let kind = if unit.owner() == owner::SPAN {
            Kind::Large(Large { unit: index })
        } else {
            // SAFETY: the unit of a live block has a head, whose class stays while one of its blocks lives.
            Kind::Small(unsafe { WINDOW.slab(WINDOW.head(index)) }.size_class())
        };
        let size = match kind {
            Kind::Small(class) => class.block_size(),
            Kind::Large(block) => block.allocated(),
        };
        Ok(Self { kind, requested: size.saturating_sub(slack), tag, granule, entry })
    }

    /// As [`at`](Self::at), for a block that is about to be freed or resized.
    #[inline(always)]
    fn sealed_at(pointer: *mut u8) -> Result<Self, Wrong> {
        let block = Self::at(pointer)?;
        let size = block.size();
        // SAFETY: a live block.
        if harden::is_on() && !unsafe { harden::is_sealed(pointer, block.requested, size) } {
            return Err(Wrong::Overrun(block.requested, size));
        }
        Ok(block)
    }

    /// Bytes of the block.
    pub(crate) fn size(&self) -> usize {
        match self.kind {
            Kind::Small(class) => class.block_size(),
            Kind::Large(block) => block.allocated(),
        }
    }

    fn address(&self) -> *mut u8 {
        (WINDOW.base() + self.granule * GRANULE) as *mut u8
    }

    /// Counts the block as freed by this heap's thread.
    fn count_out(&self, hot: &Hot, heap: &Heap, requested: usize, size: usize) {
        match self.kind {
            Kind::Small(class) => {
                if let Some(line) = heap.small_line(class) {
                    hot::count_out(line, Scale::class(class), requested);
                }
                account::credit(hot, heap, requested, size);
            }
            Kind::Large(_) => large::count_out(hot, heap, requested, size),
        }
    }

    /// Gives the block back, uncounted: what was requested of it. `None` if another thread has freed it meanwhile.
    fn give(&self, heap: &Heap) -> Option<usize> {
        match self.kind {
            Kind::Large(block) => {
                let is_ours = large::claim(block, self.tag);
                if is_ours {
                    block.park(heap);
                }
                is_ours.then_some(self.requested)
            }
            Kind::Small(class) => {
                // SAFETY: a live block as `at` found it, which its holder, our caller, gives back.
                let slack = unsafe { heap.give(self.address(), self.granule, self.tag, class) }?;
                Some(class.block_size().saturating_sub(slack))
            }
        }
    }
}

/// Why a pointer is not a live block.
#[derive(Clone, Copy)]
pub(crate) enum Wrong {
    /// Outside the window, or not on a granule.
    NoGranule,
    /// The ledger says this instead.
    NotLive(u8),
    /// It is one, of so many requested bytes and in all, but its seal is broken (see `harden`).
    Overrun(usize, usize),
    /// It is one, of so many requested bytes and in all, but the caller says another size, the last of these.
    Size(usize, usize, usize),
}

/// Reports a pointer that is not a live block.
#[cold]
#[inline(never)]
pub(crate) fn report(pointer: *mut u8, wrong: Wrong, call: Call, caller: usize) {
    let address = pointer as usize;
    let (base, bytes) = WINDOW.range();
    let outside = address.wrapping_sub(base) >= bytes || WINDOW.is_hole(address);
    let mut event =
        Event { kind: MisuseKind::Foreign, call, address, caller, block: None, enclosing_start: None, said: None };
    if let Wrong::Overrun(requested, size) | Wrong::Size(requested, size, _) = wrong {
        event.kind = MisuseKind::Overrun;
        if let Wrong::Size(.., said) = wrong {
            (event.kind, event.said) = (MisuseKind::WrongSize, Some(said));
        }
        event.block = Some((size, Some(requested)));
    } else if !outside {
        let freed = matches!(wrong, Wrong::NotLive(ledger::FREE | ledger::PENDING | ledger::CONFINED));
        let enclosing = enclosing(address);
        event.kind = match enclosing {
            _ if freed => MisuseKind::DoubleFree,
            Some(_) => MisuseKind::InteriorFree,
            None => MisuseKind::NeverAllocated,
        };
        if let Some(block) = enclosing {
            event.block = Some((block.size(), Some(block.requested)));
            event.enclosing_start = Some(block.address() as usize);
        } else if freed {
            event.block = freed_size(address).map(|size| (size, None));
        }
    }
    misuse::report(&event);
}

/// The live block that `address` points into.
fn enclosing(address: usize) -> Option<Block> {
    let granule = WINDOW.granule_of((address & !(GRANULE - 1)) as *const u8)?;
    let index = Window::unit_of_granule(granule);
    // SAFETY: `granule_of` answers for the unit.
    let unit = unsafe { WINDOW.unit(index) };
    if !unit.is_used() {
        return None;
    }
    // SAFETY: a used unit has a head.
    let head = unsafe { WINDOW.head(index) };
    let start = WINDOW.address(head) as usize;
    let start = if unit.owner() == owner::SPAN {
        start
    } else {
        // SAFETY: a committed unit.
        let size = unsafe { WINDOW.slab(head) }.size_class().block_size();
        start + (address - start).checked_div(size)? * size
    };
    Block::at(start as *mut u8).ok().filter(|block| address < start + block.size())
}

/// Size of the block that was once live at `address`, if it lies in a slab still.
fn freed_size(address: usize) -> Option<usize> {
    let granule = WINDOW.granule_of(address as *const u8)?;
    let index = Window::unit_of_granule(granule);
    // SAFETY: `granule_of` answers for the unit.
    let unit = unsafe { WINDOW.unit(index) };
    if !unit.is_used() || unit.owner() == owner::SPAN {
        return None;
    }
    // SAFETY: a slab's units are committed, and have a head.
    Some(unsafe { WINDOW.slab(WINDOW.head(index)) }.size_class().block_size())
}

// ---- what the C interface asks for -----------------------------------------------------------------------------

/// Takes a block of `size` bytes in this class, live but not counted, and whether it is known to read as zero. `None` when memory is
/// exhausted.
fn take_small(heap: &Heap, class: SizeClass, size: usize) -> Option<(NonNull<u8>, bool)> {
    loop {
        if let Some(block) = heap.bins().bin(class).pop() {
            let mut is_blank = false;
            if let Some(granule) = WINDOW.granule_of(block.as_ptr()) {
                // SAFETY: `granule_of` answers for the granule; a free block of our heap, which now becomes the caller's.
                unsafe {
                    let entry = WINDOW.entry(granule);
                    is_blank = entry.get() == ledger::BLANK && !harden::is_on();
                    if harden::is_on()
                        && entry.get() == ledger::FREE
                        && !harden::is_spoilt(block.as_ptr(), class.block_size())
                    {
                        misuse::written_after_free(block.as_ptr() as usize, class.block_size(), Call::Malloc);
                    }
                    // First of all: a child whose parent's thread vanishes here does not find it among the free.
                    out_of_line::set_live_of(entry, class.block_size(), class.block_size() - size);
                    if harden::is_on() {
                        harden::seal(block.as_ptr(), size, class.block_size());
                    }
                }
            }
            return Some((block, is_blank));
        }
        heap.fill(class)?;
    }
}

/// What `take` gives; where that is nothing, what it gives once all that is kept for later has gone back.
fn take_or_reclaim<T>(heap: &Heap, size: usize, take: impl Fn() -> Option<T>) -> Option<T> {
    take().or_else(|| {
        if size > isize::MAX as usize {
            return None;
        }
        heap.release_quarantine();
        heap::cool(u64::MAX);
        heap.trim();
        heap::give_all_parked(heap);
        take()
    })
}

/// A new block, counted; null when memory is exhausted or the size is impossible.
pub(crate) fn allocate(hot: &Hot, heap: &Heap, size: usize, align: usize) -> *mut u8 {
    if let Some(class) = class_for(size, align) {
        return allocate_small(hot, heap, class, size).map_or(core::ptr::null_mut(), |(block, _)| block.as_ptr());
    }
    let demand = Demand { align, ..Demand::of(size) };
    let Some((block, _)) = take_or_reclaim(heap, size, || Large::take(heap, demand)) else {
        return core::ptr::null_mut();
    };
    large::count_in(hot, heap, size, block.allocated());
    block.address()
}

/// A new block of `size` bytes in this class, counted, and whether it is known to read as zero.
fn allocate_small(hot: &Hot, heap: &Heap, class: SizeClass, size: usize) -> Option<(NonNull<u8>, bool)> {
    let taken = take_or_reclaim(heap, size, || take_small(heap, class, size))?;
    count_small(hot, heap, class, size);
    Some(taken)
}

/// As `allocate` for a small block that must read as zero, in as many bytes as are asked for: beyond them there may lie a seal.
pub(crate) fn allocate_zeroed_small(hot: &Hot, heap: &Heap, class: SizeClass, size: usize) -> *mut u8 {
    let Some((block, is_blank)) = allocate_small(hot, heap, class, size) else { return core::ptr::null_mut() };
    if !is_blank {
        // SAFETY: a new block of at least that many bytes.
        unsafe { block.write_bytes(0, size) };
    }
    block.as_ptr()
}

/// As `allocate` for a large block that must read as zero.
pub(crate) fn allocate_zeroed_large(hot: &Hot, heap: &Heap, size: usize) -> *mut u8 {
    let demand = Demand { zero: true, ..Demand::of(size) };
    let Some((block, zero)) = take_or_reclaim(heap, size, || Large::take(heap, demand)) else {
        return core::ptr::null_mut();
    };
    block.make_zero(size, zero);
    large::count_in(hot, heap, size, block.allocated());
    block.address()
}

fn class_for(size: usize, align: usize) -> Option<SizeClass> {
    if align <= GRANULE { SizeClass::of(size) } else { SizeClass::of_aligned(size, align) }
}

fn count_small(hot: &Hot, heap: &Heap, class: SizeClass, size: usize) {
    if let Some(line) = heap.small_line(class) {
        hot::count_in(line, Scale::class(class), size);
    }
    account::charge(hot, heap, size, class.block_size());
}

/// Another thread has freed the block while a call was at it.
const FREED_MEANWHILE: Wrong = Wrong::NotLive(ledger::FREE);

/// Frees a block. `Err` if the pointer is no live block.
pub(crate) fn free(hot: &Hot, heap: &Heap, pointer: *mut u8) -> Result<(), Wrong> {
    let block = Block::sealed_at(pointer)?;
    // Read first: once given back, a span's record is anybody's.
    let size = block.size();
    let requested = block.give(heap).ok_or(FREED_MEANWHILE)?;
    block.count_out(hot, heap, requested, size);
    Ok(())
}

/// Gives back a live block that was not counted.
#[cold]
fn give_uncounted(heap: &Heap, pointer: *mut u8) {
    if let Ok(block) = Block::at(pointer) {
        block.give(heap);
    }
}

/// Resizes a live block, in place where its class or span allows. `Err` if the pointer is no live block; null, with
/// the old block as it was, when memory is exhausted.
pub(crate) fn resize(hot: &Hot, heap: &Heap, pointer: *mut u8, size: usize) -> Result<*mut u8, Wrong> {
    let block = Block::sealed_at(pointer)?;
    let (old, old_size) = (block.requested, block.size());
    let class = SizeClass::of(size);
    let counted = |new_block: *mut u8| {
        if let Some(row) = heap.row() {
            hot::count(&row.reallocations, 1);
        }
        Ok(new_block)
    };
    match (block.kind, class) {
        (Kind::Small(from), Some(to)) if from == to => {
            // SAFETY: a live block, which only its holder, our caller, uses.
            unsafe {
                out_of_line::set_live_of(block.entry, from.block_size(), from.block_size() - size);
                if harden::is_on() {
                    harden::seal(pointer, size, from.block_size());
                }
            }
            if let Some(line) = heap.small_line(from) {
                hot::count_out(line, Scale::class(from), old);
                hot::count_in(line, Scale::class(from), size);
            }
            account::resize(hot, heap, old, size);
            return counted(pointer);
        }
        (Kind::Large(large), None) => {
            if large.resize(heap, size) {
                large::count_out(hot, heap, old, old_size);
                large::count_in(hot, heap, size, large.allocated());
                return counted(pointer);
            }
            let new = loop {
                let taken = take_or_reclaim(heap, size, || Large::take_grown(heap, old, size));
                let Some((new, fresh)) = taken else { return Ok(core::ptr::null_mut()) };
                // Where that one is lost, pages are moved no more.
                if large.move_to(new, size, fresh) {
                    break new;
                }
            };
            if !large::claim(large, block.tag) {
                give_uncounted(heap, new.address());
                return Err(FREED_MEANWHILE);
            }
            large.give();
            large::count_out(hot, heap, old, old_size);
            large::count_in(hot, heap, size, new.allocated());
            return counted(new.address());
        }
        _ => {}
    }
    let taken = take_or_reclaim(heap, size, || match class {
        Some(class) => take_small(heap, class, size).map(|(block, _)| (block.as_ptr(), None)),
        None => Large::take(heap, Demand::growing(size)).map(|(block, _)| (block.address(), Some(block))),
    });
    let Some((new, new_large)) = taken else { return Ok(core::ptr::null_mut()) };
    // All of the old block, not only what was requested: programs use what `malloc_usable_size` says.
    let used = if harden::is_on() { old } else { old_size };
    // SAFETY: two different live blocks of at least that many bytes.
    unsafe { core::ptr::copy_nonoverlapping(pointer, new, used.min(size)) };
    let Some(requested) = block.give(heap) else {
        give_uncounted(heap, new);
        return Err(FREED_MEANWHILE);
    };
    block.count_out(hot, heap, requested, old_size);
    match (class, new_large) {
        (Some(class), _) => count_small(hot, heap, class, size),
        (None, Some(large)) => large::count_in(hot, heap, size, large.allocated()),
        (None, None) => {}
    }
    counted(new)
}
