//! Misuse of the heap: counted, recorded in the segment, and told or ended as the program's user chose.
//!
//! | module | subject |
//! |---|---|
//! | [`place`]   | what a pointer outside the heap points into: another allocator's block, or nobody's |
//! | [`maps`]    | `/proc/self/maps` |
//! | [`foreign`] | other allocators' blocks: counted, their callers recorded |
//! | [`callers`] | who these callers are |
//! | [`message`] | the line |

mod callers;
mod foreign;
mod maps;
mod message;
mod place;

pub(crate) use place::pointers;

use crate::clock;
use crate::options::{MisuseAction, options};
use crate::os;
use crate::segment;
use crate::stats::globals;
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use message::Told;
use place::Module;
use shm_layout::layout::{Globals, MISUSES, MisuseKind, MisuseModule};

/// Where the callers of the misuse events are from.
type Modules = [MisuseModule; MISUSES];

/// The call that was given a bad pointer, or that met the damage: an index into `CALLS`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Call {
    Free = 0,
    Realloc = 1,
    UsableSize = 2,
    Malloc = 3,
    Reallocarray = 4,
    FreeSized = 5,
    Delete = 6,
}

/// What happened.
pub(crate) struct Event {
    pub(crate) kind: MisuseKind,
    pub(crate) call: Call,
    /// The pointer that was given, or for a corrupted free list the block found in it.
    pub(crate) address: usize,
    /// Return address of the call; 0 if unknown.
    pub(crate) caller: usize,
    /// Size of the block it meant and, where known, the bytes requested for it.
    pub(crate) block: Option<(usize, Option<usize>)>,
    /// Where the live block begins that `address` points into.
    pub(crate) enclosing_start: Option<usize>,
    /// The size that the caller gave with it, if that is what is wrong.
    pub(crate) said: Option<usize>,
}

/// Counts and records `event`, then does what the options say. Returns unless that is to end the program.
#[cold]
#[inline(never)]
pub(crate) fn report(event: &Event) {
    let (mut kind, mut place, mut module) = (event.kind, None, None);
    let mut was_told = false;
    if kind == MisuseKind::Foreign {
        if foreign::is_more_of_the_same(event) {
            return;
        }
        let (found, caller) = place::look_up(event.address, event.caller);
        if found.may_be_foreign() {
            was_told = !foreign::record(event, caller.as_ref());
        } else {
            kind = MisuseKind::NeverAllocated;
        }
        (place, module) = (Some(found), caller);
    }
    let actions = options().misuse;
    let action = match kind {
        MisuseKind::DoubleFree => actions.double,
        MisuseKind::InteriorFree | MisuseKind::WrongSize => actions.interior,
        MisuseKind::NeverAllocated => actions.wild,
        MisuseKind::Foreign => actions.foreign,
        MisuseKind::CorruptFreeList | MisuseKind::Overrun | MisuseKind::WrittenAfterFree => actions.list,
    };
    let is_silent = action == MisuseAction::Count || (action == MisuseAction::Warn && was_told);
    // To look it up takes a while, and a program that goes on may do the same wrong thing very often.
    if place.is_none() && !(is_silent && is_recorded(globals(), event.caller)) {
        module = place::look_up(event.address, event.caller).1;
    }
    record(globals(), event, kind, module.as_ref());
    if is_silent {
        return;
    }
    Told { event, place, module: module.as_ref(), is_last: action == MisuseAction::Abort }.describe().print();
    if action == MisuseAction::Abort {
        if DEFERRING.load(Ordering::Relaxed) == this_thread() {
            DUE.store(this_thread(), Ordering::Relaxed);
            return;
        }
        abort();
    }
}

/// The thread, by its pointer, whose misuse does not end the program yet; 0 for none.
static DEFERRING: AtomicUsize = AtomicUsize::new(0);
/// The one that ends it as soon as it may.
static DUE: AtomicUsize = AtomicUsize::new(0);

fn this_thread() -> usize {
    pointers().1
}

/// In a forked child, which has a segment of its own, and of its parent's threads one.
pub(crate) fn start_anew() {
    DEFERRING.store(0, Ordering::Relaxed);
    DUE.store(0, Ordering::Relaxed);
    foreign::start_anew();
}

/// While this lives, no misuse ends the program in the calling thread, but does so afterwards: a handler of `SIGABRT` may
/// allocate, for which the thread must not hold what it holds now. One thread at a time.
pub(crate) struct Deferral;

impl Deferral {
    pub(crate) fn begin() -> Self {
        DEFERRING.store(this_thread(), Ordering::Relaxed);
        Self
    }
}

impl Drop for Deferral {
    /// The next thread may have begun.
    fn drop(&mut self) {
        let own = this_thread();
        let _ = DEFERRING.compare_exchange(own, 0, Ordering::Relaxed, Ordering::Relaxed);
        if DUE.compare_exchange(own, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            abort();
        }
    }
}

/// A block that was to return to its slab is not pending: freed twice at the same time, or the chain that led to it was
/// written to after it was freed. `block_size` is that of its slab, if it lies in one.
#[cold]
#[inline(never)]
pub(crate) fn freed_twice_or_overwritten(address: usize, block_size: Option<usize>) {
    report(&Event {
        kind: MisuseKind::CorruptFreeList,
        call: Call::Malloc,
        address,
        caller: 0,
        block: block_size.map(|size| (size, None)),
        enclosing_start: None,
        said: None,
    });
}

/// A free block was written to, as the call found that takes it out of quarantine or hands it out (see `harden`).
#[cold]
#[inline(never)]
pub(crate) fn written_after_free(address: usize, block_size: usize, call: Call) {
    let kind = MisuseKind::WrittenAfterFree;
    report(&Event {
        kind,
        call,
        address,
        caller: 0,
        block: Some((block_size, None)),
        enclosing_start: None,
        said: None,
    });
}

/// Counts and records all but foreign pointers, which have a record of their own.
fn record(globals: &Globals, event: &Event, kind: MisuseKind, module: Option<&Module>) {
    let counter = match kind {
        MisuseKind::DoubleFree => &globals.double_frees,
        MisuseKind::InteriorFree | MisuseKind::NeverAllocated | MisuseKind::WrongSize => &globals.invalid_frees,
        MisuseKind::Foreign => return,
        MisuseKind::CorruptFreeList | MisuseKind::Overrun | MisuseKind::WrittenAfterFree => &globals.corruptions,
    };
    counter.add_shared(1);
    let number = globals.misuse_events.add_shared(1);
    let index = (number % MISUSES as u64) as usize;
    let Some(slot) = globals.misuse.get(index) else { return };
    let modules = segment::misuse_modules();
    let same = modules.and_then(|modules| slot_of(globals, modules, event.caller));
    slot.stamp.set(0);
    fence(Ordering::Release);
    slot.kind.store(kind as u32, Ordering::Relaxed);
    slot.call.store(event.call as u32, Ordering::Relaxed);
    slot.address.set(event.address as u64);
    slot.caller.set(event.caller as u64);
    slot.block_size.set(event.block.map_or(0, |(size, _)| size as u64));
    slot.requested_plus_one.set(event.block.and_then(|(_, requested)| requested).map_or(0, |bytes| bytes as u64 + 1));
    slot.time_ns.set(clock::ask(libc::CLOCK_MONOTONIC));
    slot.tid.store(segment::thread_number(), Ordering::Relaxed);
    if let Some(modules) = modules
        && let Some(from) = modules.get(index)
    {
        match (module, same) {
            (Some(Module { path, offset }), _) => write(from, *offset, path.len() as u32, path.end().iter().copied()),
            (None, Some(same)) if same == index => {}
            (None, Some(same)) => copy(globals, modules, same, from),
            (None, None) => from.len.store(0, Ordering::Relaxed),
        }
    }
    slot.stamp.set(number);
}

/// Whether it is recorded, with an event that is kept, where this caller is from.
fn is_recorded(globals: &Globals, caller: usize) -> bool {
    segment::misuse_modules().is_some_and(|modules| slot_of(globals, modules, caller).is_some())
}

/// The slot of an event from that caller whose module is known.
fn slot_of(globals: &Globals, modules: &Modules, caller: usize) -> Option<usize> {
    let mut slots = globals.misuse.iter().zip(modules);
    slots.position(|(slot, module)| {
        slot.stamp.get() != 0 && slot.caller.get() == caller as u64 && module.len.load(Ordering::Relaxed) != 0
    })
}

/// Copies the module of slot `same`, unless another thread writes to that meanwhile.
fn copy(globals: &Globals, modules: &Modules, same: usize, to: &MisuseModule) {
    let (Some(slot), Some(module)) = (globals.misuse.get(same), modules.get(same)) else { return };
    let stamp = slot.stamp.get();
    fence(Ordering::Acquire);
    let path = module.path.iter().map(|byte| byte.load(Ordering::Relaxed));
    write(to, module.offset.get() as usize, module.len.load(Ordering::Relaxed), path);
    fence(Ordering::Acquire);
    if stamp == 0 || slot.stamp.get() != stamp {
        to.len.store(0, Ordering::Relaxed);
    }
}

fn write(to: &MisuseModule, offset: usize, length: u32, path: impl Iterator<Item = u8>) {
    to.offset.set(offset as u64);
    to.len.store(length, Ordering::Relaxed);
    for (place, byte) in to.path.iter().zip(path) {
        place.store(byte, Ordering::Relaxed);
    }
}

/// Ends the program as `abort(3)` does: a handler of the program's runs first, a blocked or ignored signal does not
/// keep it alive.
fn abort() -> ! {
    os::unblock(libc::SIGABRT);
    os::raise(libc::SIGABRT);
    os::reset_handler(libc::SIGABRT);
    os::unblock(libc::SIGABRT);
    os::raise(libc::SIGABRT);
    os::exit_group(128 + libc::SIGABRT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use shm_layout::layout::CALLS;

    #[test]
    fn every_call_has_its_name() {
        for (call, name) in [
            (Call::Free, "free"),
            (Call::Realloc, "realloc"),
            (Call::UsableSize, "malloc_usable_size"),
            (Call::Malloc, "malloc"),
            (Call::Reallocarray, "reallocarray"),
            (Call::FreeSized, "free_sized"),
            (Call::Delete, "operator delete"),
        ] {
            assert_eq!(CALLS[call as usize], name);
        }
    }
}
