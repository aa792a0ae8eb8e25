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

pub(crate) use foreign::start_anew;
pub(crate) use place::pointers;

use crate::options::{MisuseAction, options};
use crate::os;
use crate::stats::globals;
use core::sync::atomic::{Ordering, fence};
use message::Told;
use shm_layout::layout::{Globals, MISUSES, MisuseKind};

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
    record(globals(), event, kind);
    let actions = options().misuse;
    let action = match kind {
        MisuseKind::DoubleFree => actions.double,
        MisuseKind::InteriorFree | MisuseKind::WrongSize => actions.interior,
        MisuseKind::NeverAllocated => actions.wild,
        MisuseKind::Foreign => actions.foreign,
        MisuseKind::CorruptFreeList | MisuseKind::Overrun | MisuseKind::WrittenAfterFree => actions.list,
    };
    if action == MisuseAction::Count || (action == MisuseAction::Warn && was_told) {
        return;
    }
    if place.is_none() {
        module = place::look_up(event.address, event.caller).1;
    }
    Told { event, place, module: module.as_ref() }.describe().print();
    if action == MisuseAction::Abort {
        abort();
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
    });
}

/// A free block was written to, as the call found that takes it out of quarantine or hands it out (see `harden`).
#[cold]
#[inline(never)]
pub(crate) fn written_after_free(address: usize, block_size: usize, call: Call) {
    let kind = MisuseKind::WrittenAfterFree;
    report(&Event { kind, call, address, caller: 0, block: Some((block_size, None)), enclosing_start: None });
}

/// Counts and records all but foreign pointers, which have a record of their own.
fn record(globals: &Globals, event: &Event, kind: MisuseKind) {
    let counter = match kind {
        MisuseKind::DoubleFree => &globals.double_frees,
        MisuseKind::InteriorFree | MisuseKind::NeverAllocated | MisuseKind::WrongSize => &globals.invalid_frees,
        MisuseKind::Foreign => return,
        MisuseKind::CorruptFreeList | MisuseKind::Overrun | MisuseKind::WrittenAfterFree => &globals.corruptions,
    };
    counter.add_shared(1);
    let number = globals.misuse_events.add_shared(1);
    let Some(slot) = globals.misuse.get((number % MISUSES as u64) as usize) else { return };
    slot.stamp.set(0);
    fence(Ordering::Release);
    slot.kind.store(kind as u32, Ordering::Relaxed);
    slot.call.store(event.call as u32, Ordering::Relaxed);
    slot.address.set(event.address as u64);
    slot.caller.set(event.caller as u64);
    slot.block_size.set(event.block.map_or(0, |(size, _)| size as u64));
    slot.requested_plus_one.set(event.block.and_then(|(_, requested)| requested).map_or(0, |bytes| bytes as u64 + 1));
    slot.time_ns.set(os::clock_ns(libc::CLOCK_MONOTONIC));
    slot.tid.store(os::tid(), Ordering::Relaxed);
    slot.stamp.set(number);
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
