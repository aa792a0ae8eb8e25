//! Other allocators' blocks that were given to this one: counted, and their callers recorded in the segment.
//!
//! A caller is recorded once, at its first such block, so the ring holds the last callers that came, whatever one of
//! them does a million times. Only the count in a record changes afterwards. Nobody waits for anybody: a slot that
//! another thread is writing is left alone, and the caller recorded at its next block.

use super::Event;
use super::callers::{Caller, Callers};
use super::place::{self, Module};
use crate::clock;
use crate::options::{MisuseAction, options};
use crate::segment;
use crate::stats::globals;
use core::sync::atomic::{Ordering, fence};
use shm_layout::layout::{FOREIGNERS, ForeignSlot};

static CALLERS: Callers = Callers::new();

/// The ring in the segment.
type Slots = [ForeignSlot; FOREIGNERS];

/// Counts the block of `event` if there is nothing to find out about it and nobody to tell: the caller is known, and the
/// memory. False if it is to be looked up and recorded.
pub(super) fn is_more_of_the_same(event: &Event) -> bool {
    if options().misuse.foreign == MisuseAction::Abort || !place::is_known_foreign(event.address) {
        return false;
    }
    let caller = CALLERS.find(event.caller);
    match caller {
        Some(caller) if caller.is_unrecorded() => return false,
        None if !CALLERS.is_full() => return false,
        _ => {}
    }
    globals().foreign_frees.add_shared(1);
    if let (Some(caller), Some(slots)) = (caller, segment::foreign_slots()) {
        count(slots, caller);
    }
    true
}

/// Counts the block of `event`, and records its caller. Whether the caller is new.
pub(super) fn record(event: &Event, module: Option<&Module>) -> bool {
    globals().foreign_frees.add_shared(1);
    let Some((caller, is_new)) = CALLERS.add(event.caller) else { return false };
    let Some(slots) = segment::foreign_slots() else { return is_new };
    count(slots, caller);
    if caller.begin_recording() {
        let number = globals().foreign_callers.add_shared(1);
        let recorded = write(slots, number, event, module);
        caller.end_recording(recorded.then_some(number));
        bring_up_to_date(slots, caller);
    }
    is_new
}

/// In a forked child, which has a segment of its own.
pub(super) fn start_anew() {
    CALLERS.start_anew();
}

fn count(slots: &Slots, caller: &Caller) {
    caller.count();
    bring_up_to_date(slots, caller);
}

/// Brings the caller's count to its record, if that is still there.
fn bring_up_to_date(slots: &Slots, caller: &Caller) {
    let Some(number) = caller.record() else { return };
    let Some(slot) = slot(slots, number) else { return };
    let frees = caller.frees();
    loop {
        let word = slot.frees.get();
        match ForeignSlot::frees_of(number, word) {
            Some(before) if before < frees => {}
            _ => return,
        }
        if slot.frees.elect(word, ForeignSlot::frees_word(number, frees)) {
            return;
        }
    }
}

/// Writes record `number`. False if somebody is still writing an older one in its slot; where there is a newer one
/// already, this one has had its time.
fn write(slots: &Slots, number: u64, event: &Event, module: Option<&Module>) -> bool {
    let Some(slot) = slot(slots, number) else { return false };
    // Numbers only grow, so it comes to an end.
    loop {
        let stamp = slot.stamp.get();
        if stamp & !ForeignSlot::WRITING > number {
            return true;
        }
        if stamp & ForeignSlot::WRITING != 0 {
            return false;
        }
        if slot.stamp.elect(stamp, number | ForeignSlot::WRITING) {
            break;
        }
    }
    fence(Ordering::Release);
    slot.address.set(event.address as u64);
    slot.caller.set(event.caller as u64);
    slot.frees.set(ForeignSlot::frees_word(number, 0));
    slot.time_ns.set(clock::ask(libc::CLOCK_MONOTONIC));
    slot.tid.store(segment::thread_number(), Ordering::Relaxed);
    slot.call.store(event.call as u32, Ordering::Relaxed);
    slot.module_offset.set(module.map_or(0, |module| module.offset as u64));
    slot.module_len.store(module.map_or(0, |module| module.path.len() as u32), Ordering::Relaxed);
    let path = module.map_or(&[][..], |module| module.path.end());
    for (place, &byte) in slot.module.iter().zip(path) {
        place.store(byte, Ordering::Relaxed);
    }
    slot.stamp.set(number);
    true
}

fn slot(slots: &Slots, number: u64) -> Option<&ForeignSlot> {
    slots.get((number % FOREIGNERS as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::Call;
    use super::*;
    use shm_layout::layout::MisuseKind;

    fn empty() -> Slots {
        // SAFETY: atomics, which may all be zero.
        unsafe { core::mem::zeroed() }
    }

    fn event(caller: usize) -> Event {
        let kind = MisuseKind::Foreign;
        Event {
            kind,
            call: Call::Realloc,
            address: caller << 8,
            caller,
            block: None,
            enclosing_start: None,
            said: None,
        }
    }

    #[test]
    fn a_newer_record_stays_and_an_unfinished_one_is_not_touched() {
        let slots = empty();
        assert!(write(&slots, 17, &event(5), None));
        assert!(write(&slots, 1, &event(6), None));
        assert_eq!((slots[1].stamp.get(), slots[1].caller.get()), (17, 5));
        slots[1].stamp.set(17 | ForeignSlot::WRITING);
        assert!(!write(&slots, 33, &event(7), None));
        assert!(write(&slots, 1, &event(6), None));
        assert_eq!((slots[1].stamp.get(), slots[1].caller.get()), (17 | ForeignSlot::WRITING, 5));
    }

    #[test]
    fn counts_reach_their_own_record_only() {
        let (slots, callers) = (empty(), Callers::new());
        let (caller, _) = callers.add(5).unwrap();
        count(&slots, caller);
        assert!(caller.begin_recording() && write(&slots, 3, &event(5), None));
        count(&slots, caller);
        caller.end_recording(Some(3));
        bring_up_to_date(&slots, caller);
        assert_eq!(ForeignSlot::frees_of(3, slots[3].frees.get()), Some(2));
        assert!(write(&slots, 19, &event(6), None));
        count(&slots, caller);
        assert_eq!(ForeignSlot::frees_of(19, slots[3].frees.get()), Some(0));
        assert_eq!(ForeignSlot::frees_of(3, slots[3].frees.get()), None);
    }

    /// Threads that record and count at the same time, as many callers as there is no room for in the ring.
    #[test]
    fn racing_writers_leave_whole_records_with_exact_counts() {
        const EACH: u64 = 2000;
        let (slots, callers) = (empty(), Callers::new());
        let next = shm_layout::counter::Counter::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        for address in 1..=20 {
                            let (caller, _) = callers.add(address).unwrap();
                            count(&slots, caller);
                            if caller.begin_recording() {
                                let number = next.add_shared(1);
                                let recorded = write(&slots, number, &event(address), None);
                                caller.end_recording(recorded.then_some(number));
                                bring_up_to_date(&slots, caller);
                            }
                        }
                    }
                });
            }
        });
        let mut seen = std::vec::Vec::new();
        for slot in &slots {
            let (number, caller) = (slot.stamp.get(), slot.caller.get());
            assert_eq!(slot.address.get(), caller << 8, "of one writer");
            assert_eq!(callers.find(caller as usize).unwrap().record(), Some(number));
            assert_eq!(ForeignSlot::frees_of(number, slot.frees.get()), Some(4 * EACH));
            seen.push(number);
        }
        seen.sort_unstable();
        // A number that found its slot being written was given up, and another drawn for the caller.
        let newest = next.get();
        assert!(newest >= 20 && seen.last() == Some(&newest), "{seen:?} of {newest}");
    }
}
