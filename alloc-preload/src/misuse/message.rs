//! The line that tells of a misuse.

use super::place::{Module, Place};
use super::{Call, Event};
use crate::print::Line;
use crate::segment;
use shm_layout::layout::{CALLS, MisuseKind};

/// An event with what was found out about it.
pub(super) struct Told<'a> {
    pub(super) event: &'a Event,
    /// Of a pointer outside the window: what it points into.
    pub(super) place: Option<Place>,
    /// Where the caller's code is from.
    pub(super) module: Option<&'a Module>,
    /// Whether it ends the program.
    pub(super) is_last: bool,
}

impl Told<'_> {
    /// One line: what happened, the call, the block, where it was called from and by which thread.
    pub(super) fn describe(&self) -> Line {
        let Self { event, place, module, is_last } = self;
        let title = match (event.kind, event.call) {
            (MisuseKind::DoubleFree, Call::Free | Call::FreeSized) => "double free",
            (MisuseKind::DoubleFree, _) => "use after free",
            (MisuseKind::InteriorFree | MisuseKind::NeverAllocated, _) => "invalid pointer",
            (MisuseKind::Foreign, _) if place.is_some_and(|place| !place.may_be_foreign()) => "wild pointer",
            (MisuseKind::Foreign, _) => "foreign pointer",
            (MisuseKind::CorruptFreeList, _) => "corrupted free list",
            (MisuseKind::Overrun, _) => "overrun",
            (MisuseKind::WrongSize, _) => "wrong size",
            (MisuseKind::WrittenAfterFree, _) => "write after free",
        };
        let call = CALLS.get(event.call as usize).copied().unwrap_or_default();
        let line = Line::new().text("statsalloc: ").text(title).text(": ").text(call);
        let line = match event.kind {
            MisuseKind::CorruptFreeList => {
                line.text(" met ").hex(event.address as u64).text(", which is no free block")
            }
            MisuseKind::WrittenAfterFree => line.text(" met ").hex(event.address as u64),
            _ => line.text("(").hex(event.address as u64).text(")"),
        };
        let line = match event.kind {
            MisuseKind::DoubleFree => self.block(line, " of a freed"),
            MisuseKind::InteriorFree => {
                let line = self.block(line, " points into a live");
                match event.enclosing_start {
                    Some(start) => line.text(" that begins at ").hex(start as u64),
                    None => line,
                }
            }
            MisuseKind::NeverAllocated => line.text(", where no block begins"),
            MisuseKind::Foreign => {
                let place = place.unwrap_or(Place::Unknown);
                let line = place.describe(line);
                match place.may_be_foreign() && !is_last {
                    true => line.text(": left alone, and not told of again"),
                    false => line,
                }
            }
            MisuseKind::WrongSize => {
                let line = self.block(line, " of a live").text(", by another size");
                match event.said {
                    Some(said) => line.text(" (").number(said as u64).text(")"),
                    None => line,
                }
            }
            MisuseKind::Overrun => self.block(line, " of a live").text(", written to beyond its end"),
            MisuseKind::WrittenAfterFree => self.block(line, ", a freed").text(", written to since"),
            MisuseKind::CorruptFreeList => {
                self.block(line, ", on the list of a").text(": written to after it was freed, or overrun")
            }
        };
        let line = match event.caller {
            0 => line,
            caller => line.text(", called from ").hex(caller as u64),
        };
        let line = match module {
            Some(module) => module.describe(line),
            None => line,
        };
        let mut line = line.text(", thread ").number(segment::thread_number().into()).text(" (");
        for &byte in segment::thread_name().iter().take_while(|&&byte| byte != 0) {
            line.push(&[if byte.is_ascii_control() { b'?' } else { byte }]);
        }
        line.text(")")
    }

    /// ` of a freed 64-byte block (40 requested)`, as far as known.
    fn block(&self, line: Line, before: &str) -> Line {
        let line = line.text(before);
        let Some((size, requested)) = self.event.block else { return line.text(" block") };
        let line = line.text(" ").number(size as u64).text("-byte block");
        match requested {
            Some(bytes) => line.text(" (").number(bytes as u64).text(" requested)"),
            None => line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::look_up;
    use super::*;
    use std::string::String;

    const EVENT: Event = Event {
        kind: MisuseKind::DoubleFree,
        call: Call::Free,
        address: 0x7f00_0040,
        caller: 0x55aa,
        block: Some((64, Some(40))),
        enclosing_start: None,
        said: None,
    };

    fn text(event: &Event) -> String {
        let place = (event.kind == MisuseKind::Foreign).then(|| look_up(event.address, 0).0);
        String::from_utf8(Told { event, place, module: None, is_last: false }.describe().bytes().to_vec()).unwrap()
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
            &Event { kind: MisuseKind::Foreign, address: 0x4141_4141_4141_4140, ..EVENT },
            "statsalloc: wild pointer: free(0x4141414141414140), where nothing is mapped, called",
        );
        let block = std::boxed::Box::new([0u8; 1 << 20]);
        let address = &raw const *block as usize;
        assert_starts(
            &Event { kind: MisuseKind::Foreign, address, ..EVENT },
            &std::format!(
                "statsalloc: foreign pointer: free({address:#x}) points into anonymous memory: left alone, and not told of again, called"
            ),
        );
        assert_starts(
            &Event { kind: MisuseKind::WrongSize, call: Call::FreeSized, said: Some(24), ..EVENT },
            "statsalloc: wrong size: free_sized(0x7f000040) of a live 64-byte block (40 requested), by another size (24), called",
        );
        assert_starts(
            &Event { kind: MisuseKind::Overrun, ..EVENT },
            "statsalloc: overrun: free(0x7f000040) of a live 64-byte block (40 requested), written to beyond its end, called",
        );
        assert_starts(
            &Event { kind: MisuseKind::WrittenAfterFree, call: Call::Malloc, block: Some((64, None)), ..EVENT },
            "statsalloc: write after free: malloc met 0x7f000040, a freed 64-byte block, written to since, called",
        );
        assert_starts(
            &Event { kind: MisuseKind::CorruptFreeList, call: Call::Malloc, block: Some((64, None)), ..EVENT },
            "statsalloc: corrupted free list: malloc met 0x7f000040, which is no free block, on the list of a 64-byte \
             block: written to after it was freed, or overrun, called",
        );
    }
}
