//! Misuse of the heap: counted, recorded in the segment, and told or ended as the program's user chose.

use crate::options::{MisuseAction, options};
use crate::os;
use crate::print::Line;
use crate::stats::globals;
use core::sync::atomic::{Ordering, fence};
use shm_layout::layout::{CALLS, Globals, MISUSES, MisuseKind};

/// The call that was given a bad pointer, or that met the damage: an index into [`CALLS`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Call {
    Free = 0,
    Realloc = 1,
    UsableSize = 2,
    Malloc = 3,
    Reallocarray = 4,
    FreeSized = 5,
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

/// Counts and records `event`, then does what the options say. Returns unless that is to end the program, which
/// foreign pointers never do: they may be another allocator's.
#[cold]
#[inline(never)]
pub(crate) fn report(event: &Event) {
    record(globals(), event);
    match options().misuse {
        MisuseAction::Count => {}
        MisuseAction::Abort if event.kind == MisuseKind::Foreign => {}
        MisuseAction::Warn => event.describe().print(),
        MisuseAction::Abort => {
            event.describe().print();
            abort();
        }
    }
}

/// A free list led to `address`, which is no free block, in a slab of `block_size`.
#[cold]
#[inline(never)]
pub(crate) fn corrupt_list(address: usize, block_size: usize) {
    report(&Event {
        kind: MisuseKind::CorruptFreeList,
        call: Call::Malloc,
        address,
        caller: 0,
        block: Some((block_size, None)),
        enclosing_start: None,
    });
}

/// A block that was to return to its slab is not pending: freed twice at the same time, or written to after it was freed.
#[cold]
#[inline(never)]
pub(crate) fn freed_twice_or_overwritten(address: usize) {
    corrupt_list(address, 0);
}

fn record(globals: &Globals, event: &Event) {
    let counter = match event.kind {
        MisuseKind::DoubleFree => &globals.double_frees,
        MisuseKind::InteriorFree | MisuseKind::NeverAllocated => &globals.invalid_frees,
        MisuseKind::Foreign => &globals.foreign_frees,
        MisuseKind::CorruptFreeList => &globals.corruptions,
    };
    counter.add_shared(1);
    let number = globals.misuse_events.add_shared(1);
    let Some(slot) = globals.misuse.get((number % MISUSES as u64) as usize) else { return };
    slot.stamp.set(0);
    fence(Ordering::Release);
    slot.kind.store(event.kind as u32, Ordering::Relaxed);
    slot.call.store(event.call as u32, Ordering::Relaxed);
    slot.address.set(event.address as u64);
    slot.caller.set(event.caller as u64);
    slot.block_size.set(event.block.map_or(0, |(size, _)| size as u64));
    slot.requested_plus_one.set(event.block.and_then(|(_, requested)| requested).map_or(0, |bytes| bytes as u64 + 1));
    slot.time_ns.set(os::clock_ns(libc::CLOCK_MONOTONIC));
    slot.tid.store(os::tid(), Ordering::Relaxed);
    slot.stamp.set_release(number);
}

impl Event {
    /// One line: what happened, the call, the block, where it was called from and by which thread.
    fn describe(&self) -> Line {
        let title = match (self.kind, self.call) {
            (MisuseKind::DoubleFree, Call::Free | Call::FreeSized) => "double free",
            (MisuseKind::DoubleFree, _) => "use after free",
            (MisuseKind::InteriorFree | MisuseKind::NeverAllocated, _) => "invalid pointer",
            (MisuseKind::Foreign, _) => "foreign pointer",
            (MisuseKind::CorruptFreeList, _) => "corrupted free list",
        };
        let call = CALLS.get(self.call as usize).copied().unwrap_or_default();
        let line = Line::new().text("statsalloc: ").text(title).text(": ").text(call);
        let line = match self.kind {
            MisuseKind::CorruptFreeList => line.text(" met ").hex(self.address as u64).text(", which is no free block"),
            _ => line.text("(").hex(self.address as u64).text(")"),
        };
        let line = match self.kind {
            MisuseKind::DoubleFree => self.block(line, " of a freed"),
            MisuseKind::InteriorFree => {
                let line = self.block(line, " points into a live");
                match self.enclosing_start {
                    Some(start) => line.text(" that begins at ").hex(start as u64),
                    None => line,
                }
            }
            MisuseKind::NeverAllocated => line.text(", where no block begins"),
            MisuseKind::Foreign => line.text(", which is not from this heap and was left alone"),
            MisuseKind::CorruptFreeList => {
                self.block(line, ", on the list of a").text(": written to after it was freed, or overrun")
            }
        };
        let line = match self.caller {
            0 => line,
            caller => line.text(", called from ").hex(caller as u64),
        };
        let mut line = line.text(", thread ").number(os::tid().into()).text(" (");
        for &byte in os::thread_name().iter().take_while(|&&byte| byte != 0) {
            line.push(&[if byte.is_ascii_control() { b'?' } else { byte }]);
        }
        line.text(")")
    }

    /// ` of a freed 64-byte block (40 requested)`, as far as known.
    fn block(&self, line: Line, before: &str) -> Line {
        let line = line.text(before);
        let Some((size, requested)) = self.block else { return line.text(" block") };
        let line = line.text(" ").number(size as u64).text("-byte block");
        match requested {
            Some(bytes) => line.text(" (").number(bytes as u64).text(" requested)"),
            None => line,
        }
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
    use std::string::String;

    const EVENT: Event = Event {
        kind: MisuseKind::DoubleFree,
        call: Call::Free,
        address: 0x7f00_0040,
        caller: 0x55aa,
        block: Some((64, Some(40))),
        enclosing_start: None,
    };

    fn text(event: &Event) -> String {
        String::from_utf8(event.describe().bytes().to_vec()).unwrap()
    }

    fn assert_starts(event: &Event, wanted: &str) {
        let got = text(event);
        assert!(got.starts_with(wanted), "{got}");
        assert!(got.contains(", called from 0x55aa, thread "), "{got}");
        assert!(got.len() < 300);
    }

    #[test]
    fn every_kind_says_what_happened() {
        assert_starts(
            &EVENT,
            "statsalloc: double free: free(0x7f000040) of a freed 64-byte block (40 requested), called",
        );
        assert_starts(
            &Event { call: Call::Realloc, block: None, ..EVENT },
            "statsalloc: use after free: realloc(0x7f000040) of a freed block, called",
        );
        assert_starts(
            &Event { kind: MisuseKind::InteriorFree, enclosing_start: Some(0x7f00_0000), ..EVENT },
            "statsalloc: invalid pointer: free(0x7f000040) points into a live 64-byte block (40 requested) that begins \
             at 0x7f000000, called",
        );
        assert_starts(
            &Event { kind: MisuseKind::NeverAllocated, call: Call::UsableSize, ..EVENT },
            "statsalloc: invalid pointer: malloc_usable_size(0x7f000040), where no block begins, called",
        );
        assert_starts(
            &Event { kind: MisuseKind::Foreign, ..EVENT },
            "statsalloc: foreign pointer: free(0x7f000040), which is not from this heap and was left alone, called",
        );
        assert_starts(
            &Event { kind: MisuseKind::CorruptFreeList, call: Call::Malloc, block: Some((64, None)), ..EVENT },
            "statsalloc: corrupted free list: malloc met 0x7f000040, which is no free block, on the list of a 64-byte \
             block: written to after it was freed, or overrun, called",
        );
    }

    #[test]
    fn every_call_has_its_name() {
        for (call, name) in [
            (Call::Free, "free"),
            (Call::Realloc, "realloc"),
            (Call::UsableSize, "malloc_usable_size"),
            (Call::Malloc, "malloc"),
            (Call::Reallocarray, "reallocarray"),
            (Call::FreeSized, "free_sized"),
        ] {
            assert_eq!(CALLS[call as usize], name);
        }
    }
}
