//! What a segment says about wrong frees.

use super::Clock;
use crate::model::{Misuse, MisuseEvent};
use shm_layout::layout::MisuseKind;
use shm_layout::reader::{ForeignCaller, ModuleCopy, Reader};

pub(super) fn misuse(reader: &Reader<'_>, clock: &Clock) -> Misuse {
    let globals = reader.globals();
    let events = reader.misuses().map(|event| MisuseEvent {
        number: event.number,
        kind: kind_name(event.kind),
        call: event.call,
        address: format!("{:#x}", event.address),
        caller: format!("{:#x}", event.caller),
        module: event.module.map(path),
        module_offset: event.module.map(offset),
        frees: None,
        block_size: event.block_size,
        requested_bytes: event.requested,
        tid: event.tid,
        time: clock.time_of_day(event.time_ns),
    });
    let mut last: Vec<_> = events.chain(reader.foreign_callers().map(|caller| foreign(&caller, clock))).collect();
    last.sort_by_key(|event| event.time);
    Misuse {
        foreign_frees: globals.foreign_frees,
        double_frees: globals.double_frees,
        invalid_frees: globals.invalid_frees,
        corruptions: globals.corruptions,
        last,
    }
}

fn foreign(caller: &ForeignCaller<'_>, clock: &Clock) -> MisuseEvent {
    MisuseEvent {
        number: caller.number,
        kind: kind_name(MisuseKind::Foreign),
        call: caller.call,
        address: format!("{:#x}", caller.address),
        caller: format!("{:#x}", caller.caller),
        module: caller.module.map(path),
        module_offset: caller.module.map(offset),
        frees: Some(caller.frees),
        block_size: None,
        requested_bytes: None,
        tid: caller.tid,
        time: clock.time_of_day(caller.time_ns),
    }
}

fn path(module: ModuleCopy<'_>) -> String {
    let path = String::from_utf8_lossy(module.path);
    if module.is_cut { format!("…{path}") } else { path.into_owned() }
}

fn offset(module: ModuleCopy<'_>) -> String {
    format!("{:#x}", module.offset)
}

fn kind_name(kind: MisuseKind) -> &'static str {
    match kind {
        MisuseKind::DoubleFree => "double_free",
        MisuseKind::InteriorFree => "interior_free",
        MisuseKind::NeverAllocated => "never_allocated",
        MisuseKind::Foreign => "foreign",
        MisuseKind::CorruptFreeList => "corrupt_free_list",
        MisuseKind::Overrun => "overrun",
        MisuseKind::WrittenAfterFree => "written_after_free",
        MisuseKind::WrongSize => "wrong_size",
    }
}
