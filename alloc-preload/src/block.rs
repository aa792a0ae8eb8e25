//! Slow paths on one block: whatever the fast path does not do itself.
//!
//! Taking and giving are apart from counting, because a `realloc` that moves has to take the new block before it
//! gives the old one, but counts them the other way round: no peak ever includes both.

use crate::account;
use crate::heap::Heap;
use crate::hot::{self, Hot};
use crate::large::{self, Large};
use crate::ledger::{self, Entry};
use crate::misuse::{self, Call, Event};
use crate::slab::{Slab, belongs, link};
use crate::window::{UnitIndex, WINDOW, Window, owner};
use shm_layout::class::{GRANULE, SizeClass};
use shm_layout::layout::MisuseKind;

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
    /// In a slab of this class, whose first unit this is.
    Small(SizeClass, UnitIndex),
    Large(Large),
}

impl Block {
    /// The block that starts at `pointer`, or what is wrong with it.
    pub(crate) fn at(pointer: *mut u8) -> Result<Self, Wrong> {
        let granule = WINDOW.granule_of(pointer).ok_or(Wrong::NoGranule)?;
        // SAFETY: `granule_of` answers for the granule.
        let (entry, unit) = unsafe { (WINDOW.entry(granule), WINDOW.unit(Window::unit_of_granule(granule))) };
        let tag = entry.get();
        // SAFETY: the ledger is committed there.
        let slack = unsafe { entry.slack(tag) }.ok_or(Wrong::NotLive(tag))?;
        // SAFETY: the unit of a live block has a head.
        let head = WINDOW.unit_of(unsafe { &*unit.head() });
        let kind = if unit.owner() == owner::SPAN {
            Kind::Large(Large { unit: head })
        } else {
            // SAFETY: the head unit of a live block's slab is committed.
            Kind::Small(unsafe { WINDOW.remote(head) }.size_class(), head)
        };
        let size = match kind {
            Kind::Small(class, _) => class.block_size(),
            Kind::Large(block) => block.allocated(),
        };
        Ok(Self { kind, requested: size.saturating_sub(slack), tag, granule, entry })
    }

    /// Bytes of the block.
    pub(crate) fn size(&self) -> usize {
        match self.kind {
            Kind::Small(class, _) => class.block_size(),
            Kind::Large(block) => block.allocated(),
        }
    }

    fn address(&self) -> *mut u8 {
        (WINDOW.base() + self.granule * GRANULE) as *mut u8
    }

    /// Counts the block as freed by this heap's thread.
    fn count_out(&self, hot: &Hot, heap: &Heap, size: usize) {
        match self.kind {
            Kind::Small(class, _) => {
                // SAFETY: the heap is ready, and a class has a line.
                hot::count_out(unsafe { hot.line(class.0 as usize) }, self.requested);
                account::credit(hot, heap, self.requested, size);
            }
            Kind::Large(_) => large::count_out(hot, heap, self.requested, size),
        }
    }

    /// Gives the block back, uncounted. False if another thread has freed it meanwhile.
    fn give(&self, hot: &Hot, heap: &Heap) -> bool {
        let head = match self.kind {
            Kind::Large(block) => {
                if !large::claim(block.unit, self.tag) {
                    return false;
                }
                block.give();
                return true;
            }
            Kind::Small(_, head) => head,
        };
        // SAFETY: the head of a live block's slab is committed.
        let (slab, unit) = unsafe { (WINDOW.slab(head), WINDOW.unit(head)) };
        if unit.owner() == owner::ABANDONED {
            heap.adopt(hot, slab);
        }
        if !belongs(unit.owner(), hot.name()) {
            if !self.entry.exchange_if(self.tag, ledger::PENDING) {
                return false;
            }
            if let Some(row) = heap.row() {
                row.remote_frees.add_owned(1);
            }
            // SAFETY: the exchange made this call the only one to free the block.
            unsafe { heap.free_remote(head, self.address()) };
            return true;
        }
        self.entry.set(ledger::FREE);
        // SAFETY: a block of our slab, no longer live.
        unsafe { slab.push(self.address()) };
        slab.used.set(slab.used.get() - 1);
        heap.relist(hot, slab);
        true
    }
}

/// Why a pointer is not a live block.
#[derive(Clone, Copy)]
pub(crate) enum Wrong {
    /// Outside the window, or not on a granule.
    NoGranule,
    /// The ledger says this instead.
    NotLive(u8),
}

/// Reports a pointer that is not a live block.
#[cold]
#[inline(never)]
pub(crate) fn report(pointer: *mut u8, wrong: Wrong, call: Call, caller: usize) {
    let address = pointer as usize;
    let (base, bytes) = WINDOW.range();
    let outside = address.wrapping_sub(base) >= bytes || WINDOW.is_hole(address);
    let mut event = Event { kind: MisuseKind::Foreign, call, address, caller, block: None, enclosing_start: None };
    if !outside {
        let freed = matches!(wrong, Wrong::NotLive(ledger::FREE | ledger::PENDING));
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
    if !unit.is_used() || unit.head().is_null() {
        return None;
    }
    // SAFETY: not null, so it was set to a slab record.
    let slab = unsafe { &*unit.head() };
    let head = WINDOW.unit_of(slab);
    let start = WINDOW.address(head) as usize;
    let start = if unit.owner() == owner::SPAN {
        start
    } else {
        // SAFETY: a committed unit.
        let size = unsafe { WINDOW.remote(head) }.size_class().block_size();
        start + (address - start).checked_div(size)? * size
    };
    Block::at(start as *mut u8).ok().filter(|block| address < start + block.size())
}

/// Size of the block that was once live at `address`, if it lies in a slab still.
fn freed_size(address: usize) -> Option<usize> {
    let granule = WINDOW.granule_of(address as *const u8)?;
    // SAFETY: `granule_of` answers for the unit.
    let unit = unsafe { WINDOW.unit(Window::unit_of_granule(granule)) };
    if !unit.is_used() || unit.owner() == owner::SPAN || unit.head().is_null() {
        return None;
    }
    // SAFETY: a slab's units are committed.
    Some(unsafe { WINDOW.remote(WINDOW.unit_of(&*unit.head())) }.size_class().block_size())
}

// ---- what the C interface asks for -----------------------------------------------------------------------------

/// Takes a block of `size` bytes in this class, live but not counted. Null when memory is exhausted.
fn take_small(hot: &Hot, heap: &Heap, class: SizeClass, size: usize) -> *mut u8 {
    loop {
        let slab = hot.current(class);
        let block = slab.free.get();
        if block.is_null() {
            if heap.refill(hot, class).is_none() {
                return core::ptr::null_mut();
            }
            continue;
        }
        let granule = slab.granule_of(block);
        // SAFETY: `granule < extent`
        if granule >= slab.extent.get() || !ledger::is_free(unsafe { slab.entry(granule) }.get()) {
            drop_list(slab, block as usize);
            continue;
        }
        // SAFETY: a free block of our slab, which now becomes the caller's.
        unsafe {
            slab.free.set(link(block));
            slab.entry(granule).set_live(class.block_size() - size);
        }
        slab.used.set(slab.used.get() + 1);
        return block;
    }
}

/// A free list that does not hold together is reported, and its blocks are never handed out again.
#[cold]
fn drop_list(slab: &Slab, address: usize) {
    slab.free.set(core::ptr::null_mut());
    misuse::corrupt_list(address, slab.block_size.get() as usize);
}

/// A new block, counted; null when memory is exhausted or the size is impossible.
pub(crate) fn allocate(hot: &Hot, heap: &Heap, size: usize, align: usize) -> *mut u8 {
    let block = try_allocate(hot, heap, size, align);
    if !block.is_null() || size > isize::MAX as usize {
        return block;
    }
    // What this heap keeps for later may be enough.
    heap.trim(hot);
    try_allocate(hot, heap, size, align)
}

fn try_allocate(hot: &Hot, heap: &Heap, size: usize, align: usize) -> *mut u8 {
    if let Some(class) = class_for(size, align) {
        let block = take_small(hot, heap, class, size);
        if !block.is_null() {
            count_small(hot, heap, class, size);
        }
        return block;
    }
    let Some((block, _)) = Large::take(size, align, 0, false) else { return core::ptr::null_mut() };
    large::count_in(hot, heap, size, block.allocated());
    block.address()
}

/// As `allocate` for a large block that must read as zero.
pub(crate) fn allocate_zeroed_large(hot: &Hot, heap: &Heap, size: usize) -> *mut u8 {
    let Some((block, zero)) = Large::take(size, 1, 0, true) else { return core::ptr::null_mut() };
    if !zero {
        // SAFETY: a fresh block of that size.
        unsafe { core::ptr::write_bytes(block.address(), 0, size) };
    }
    large::count_in(hot, heap, size, block.allocated());
    block.address()
}

fn class_for(size: usize, align: usize) -> Option<SizeClass> {
    if align <= GRANULE { SizeClass::of(size) } else { SizeClass::of_aligned(size, align) }
}

fn count_small(hot: &Hot, heap: &Heap, class: SizeClass, size: usize) {
    // SAFETY: the heap is ready, and a class has a line.
    hot::count_in(unsafe { hot.line(class.0 as usize) }, size);
    account::charge(hot, heap, size, class.block_size());
}

/// Frees a block. `Err` if the pointer is no live block.
pub(crate) fn free(hot: &Hot, heap: &Heap, pointer: *mut u8) -> Result<(), Wrong> {
    let block = Block::at(pointer)?;
    // Read first: once given back, a span's record is anybody's.
    let size = block.size();
    if !block.give(hot, heap) {
        return Err(Wrong::NotLive(ledger::FREE));
    }
    block.count_out(hot, heap, size);
    Ok(())
}

/// Resizes a live block, in place where its class or span allows. `Err` if the pointer is no live block; null, with
/// the old block as it was, when memory is exhausted.
pub(crate) fn resize(hot: &Hot, heap: &Heap, pointer: *mut u8, size: usize) -> Result<*mut u8, Wrong> {
    let block = Block::at(pointer)?;
    let (old, old_size) = (block.requested, block.size());
    let class = SizeClass::of(size);
    let counted = |new_block: *mut u8| {
        if let Some(row) = heap.row() {
            row.reallocations.add_owned(1);
        }
        Ok(new_block)
    };
    match (block.kind, class) {
        (Kind::Small(from, _), Some(to)) if from == to => {
            // SAFETY: a live block, which only its holder, our caller, uses.
            unsafe { block.entry.set_live(from.block_size() - size) };
            // SAFETY: the heap is ready, and a class has a line.
            let line = unsafe { hot.line(from.0 as usize) };
            hot::count_out(line, old);
            hot::count_in(line, size);
            if hot.recharge(old, size) {
                account::settle(hot, heap);
            }
            return counted(pointer);
        }
        (Kind::Large(large), None) => {
            if large.resize(size) {
                large::count_out(hot, heap, old, old_size);
                large::count_in(hot, heap, size, large.allocated());
                return counted(pointer);
            }
            let Some(new) = large.grow_elsewhere(size) else { return Ok(core::ptr::null_mut()) };
            if large::claim(large.unit, block.tag) {
                large.give();
            }
            large::count_out(hot, heap, old, old_size);
            large::count_in(hot, heap, size, new.allocated());
            return counted(new.address());
        }
        _ => {}
    }
    let (new, new_large) = match class {
        Some(class) => (take_small(hot, heap, class, size), None),
        None => Large::take(size, 1, 0, false)
            .map_or((core::ptr::null_mut(), None), |(block, _)| (block.address(), Some(block))),
    };
    if new.is_null() {
        return Ok(new);
    }
    // All of the old block, not only what was requested: programs use what `malloc_usable_size` says.
    // SAFETY: two different live blocks of at least that many bytes.
    unsafe { core::ptr::copy_nonoverlapping(pointer, new, old_size.min(size)) };
    block.count_out(hot, heap, old_size);
    block.give(hot, heap);
    match (class, new_large) {
        (Some(class), _) => count_small(hot, heap, class, size),
        (None, Some(large)) => large::count_in(hot, heap, size, large.allocated()),
        (None, None) => {}
    }
    counted(new)
}
