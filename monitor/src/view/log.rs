//! What has happened, in words.

use super::format::{bytes, harmless};
use super::verdict;
use crate::model::State;
use crate::model::log::Event;

/// One event in words.
pub(crate) fn words(event: &Event) -> String {
    match event {
        Event::Started { name } => format!("{} started", harmless(name)),
        Event::ForkedFrom { pid } => format!("forked from {pid}, with its heap"),
        Event::Forked { child } => format!("started the process {child}"),
        Event::Exec { before, name } => format!("exec: {} became {}", harmless(before), harmless(name)),
        Event::Attached => "watched from here on".to_owned(),
        Event::State { state } => match state {
            State::Live => "lives".to_owned(),
            State::Exited => "ended".to_owned(),
            State::Replaced => "became a program without the library".to_owned(),
            State::Crashed => "ended without a word: killed, crashed, or unseen after an exec".to_owned(),
            State::NoAccess => "may no longer be read".to_owned(),
            State::Unpublished => "publishes nothing".to_owned(),
        },
        Event::Peak { allocated_bytes, requested_bytes } => {
            format!("new peak: {} allocated, {} requested", bytes(*allocated_bytes), bytes(*requested_bytes))
        }
        Event::Diagnosis { before: None, kind } => format!("diagnosis: {}", verdict::title(*kind)),
        Event::Diagnosis { before: Some(before), kind } => {
            format!("diagnosis: {}, was {}", verdict::title(*kind), verdict::title(*before))
        }
        Event::Misuse { number, kind, call, address, caller, module, module_offset, tid } => format!(
            "misuse {number}: {} in {call}({}) from {}, thread {tid}",
            kind.replace('_', " "),
            harmless(address),
            verdict::code(caller, module.as_deref(), module_offset.as_deref()),
        ),
    }
}

/// Whether it is something that should not happen.
pub(crate) fn alarms(event: &Event) -> bool {
    use crate::model::diagnosis::Kind;
    match event {
        Event::Misuse { kind, .. } => *kind != "foreign",
        Event::State { state } => *state == State::Crashed,
        Event::Diagnosis { kind, .. } => matches!(kind, Kind::LeakSuspected | Kind::NotHeap),
        _ => false,
    }
}
