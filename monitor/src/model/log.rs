//! What has happened to a process, as far as looks at it tell.

use super::diagnosis::Kind;
use super::{MisuseEvent, Process, State, Time};
use serde::Serialize;
use std::collections::{BTreeSet, VecDeque};

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Entry {
    /// When, or when it was noticed.
    pub(crate) time: Time,
    /// What.
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// The program began to publish.
    Started { name: String },
    /// It was forked from another, with its heap.
    ForkedFrom { pid: u32 },
    /// It has a new child.
    Forked { child: u32 },
    /// It has replaced itself by another program.
    Exec { before: String, name: String },
    /// It was seen for the first time.
    Attached,
    /// Its state changed.
    State { state: State },
    /// More is allocated than ever before.
    Peak { allocated_bytes: u64, requested_bytes: u64 },
    /// Another verdict leads.
    Diagnosis { before: Option<Kind>, kind: Kind },
    /// A wrong free, as the record has it.
    Misuse {
        number: u64,
        kind: &'static str,
        call: &'static str,
        address: String,
        caller: String,
        /// Where the caller's code is from, as in the record.
        module: Option<String>,
        module_offset: Option<String>,
        tid: u32,
    },
}

/// Entries kept.
const MOST: usize = 200;
/// Peaks that follow one another this closely, in seconds, are one climb: the entry moves along.
const ONE_CLIMB: f64 = 60.0;

/// The entries, oldest first, and what tells new from known.
#[derive(Default)]
pub(crate) struct Log {
    entries: VecDeque<Entry>,
    state: Option<State>,
    peak: Option<u64>,
    kind: Option<Kind>,
    misuses: u64,
    foreign_callers: u64,
    children: BTreeSet<u32>,
}

impl Log {
    /// Goes on with the log of the program that this one has replaced.
    pub(crate) fn after_exec(before: Self, old_name: &str, name: &str, now: Time) -> Self {
        let mut log = Self { entries: before.entries, ..Self::default() };
        log.push(now, Event::Exec { before: old_name.to_owned(), name: name.to_owned() });
        log
    }

    /// Takes note of a look. What a dead process did before its end is dated by that, and stands before it.
    pub(crate) fn take(&mut self, process: &Process, now: Time) {
        if self.state.is_none() {
            self.begin(process, now);
        }
        self.take_doings(process, process.end.map_or(now, |end| end.min(now)));
        if self.state.replace(process.state).is_some_and(|before| before != process.state) {
            self.push(now, Event::State { state: process.state });
        }
    }

    fn take_doings(&mut self, process: &Process, now: Time) {
        let new_children: Vec<u32> =
            process.children.iter().copied().filter(|&pid| self.children.insert(pid)).collect();
        for child in new_children {
            self.push(now, Event::Forked { child });
        }
        self.children.retain(|pid| process.children.contains(pid));
        for event in process.misuse.iter().flat_map(|misuse| &misuse.last) {
            let known = if event.frees.is_some() { &mut self.foreign_callers } else { &mut self.misuses };
            if event.number > *known {
                *known = event.number;
                self.push(event.time, misuse(event));
            }
        }
        self.take_peak(process, now);
        if let Some(kind) = process.diagnosis.as_ref().map(|diagnosis| diagnosis.finding.kind)
            && self.kind != Some(kind)
        {
            let before = self.kind.replace(kind);
            self.push(now, Event::Diagnosis { before, kind });
        }
    }

    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.iter().cloned().collect()
    }

    fn begin(&mut self, process: &Process, now: Time) {
        if self.entries.is_empty() {
            let started = process.start_time.unwrap_or(now);
            match process.forked_from {
                Some(pid) => self.push(started, Event::ForkedFrom { pid }),
                None => self.push(started, Event::Started { name: process.name.clone() }),
            }
            self.push(now, Event::Attached);
        }
        self.state = Some(State::Live);
        self.peak = process.totals.peak_allocated_bytes;
        self.children = process.children.iter().copied().collect();
    }

    fn take_peak(&mut self, process: &Process, now: Time) {
        let totals = &process.totals;
        let (Some(peak), Some(requested)) = (totals.peak_allocated_bytes, totals.peak_requested_bytes) else { return };
        // A peak with an error wavers by it.
        let known = self.peak.unwrap_or(0).saturating_add(totals.peak_error_bytes.unwrap_or(0));
        if peak <= known {
            return;
        }
        self.peak = Some(peak);
        let is_peak =
            |entry: &Entry| matches!(entry.event, Event::Peak { .. }) && now.seconds_since(entry.time) < ONE_CLIMB;
        if self.entries.back().is_some_and(is_peak) {
            self.entries.pop_back();
        }
        self.push(now, Event::Peak { allocated_bytes: peak, requested_bytes: requested });
    }

    /// Entries stand in the order of their times.
    fn push(&mut self, time: Time, event: Event) {
        let at = self.entries.partition_point(|entry| entry.time <= time);
        self.entries.insert(at, Entry { time, event });
        if self.entries.len() > MOST {
            self.entries.pop_front();
        }
    }
}

fn misuse(event: &MisuseEvent) -> Event {
    Event::Misuse {
        number: event.number,
        kind: event.kind,
        call: event.call,
        address: event.address.clone(),
        caller: event.caller.clone(),
        module: event.module.clone(),
        module_offset: event.module_offset.clone(),
        tid: event.tid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fake::{CREATED, about, busy};

    fn process(change: impl FnOnce(&mut Process)) -> Process {
        let mut process = busy().process(about(State::Live), 12);
        change(&mut process);
        process
    }

    fn later(seconds: u64) -> Time {
        CREATED.plus_seconds(100 + seconds)
    }

    #[test]
    fn what_is_known_at_the_first_look_is_told_once() {
        let mut log = Log::default();
        log.take(&process(|_| {}), later(0));
        log.take(&process(|_| {}), later(1));
        let events: Vec<Event> = log.entries().into_iter().map(|entry| entry.event).collect();
        assert_eq!(events.len(), 4, "{events:?}");
        assert_eq!(events[0], Event::Started { name: "less".into() });
        assert!(matches!(&events[1], Event::Misuse { number: 1, kind: "foreign", module: Some(_), .. }), "{events:?}");
        assert!(matches!(events[2], Event::Misuse { number: 1, kind: "double_free", .. }), "{events:?}");
        assert_eq!(events[3], Event::Attached);
    }

    #[test]
    fn a_climb_is_one_peak_and_states_children_and_verdicts_are_told() {
        let mut log = Log::default();
        log.take(&process(|_| {}), later(0));
        for second in 1..5 {
            log.take(&process(|process| process.totals.peak_allocated_bytes = Some(second << 20)), later(second));
        }
        log.take(&process(|process| process.totals.peak_allocated_bytes = Some(90 << 20)), later(200));
        log.take(&process(|process| process.children = vec![77]), later(201));
        log.take(&process(|process| process.state = State::Crashed), later(202));
        let told: Vec<Event> = log.entries().into_iter().map(|entry| entry.event).skip(4).collect();
        let peak = |allocated_bytes| Event::Peak { allocated_bytes, requested_bytes: 150_000 };
        let expected =
            [peak(4 << 20), peak(90 << 20), Event::Forked { child: 77 }, Event::State { state: State::Crashed }];
        assert_eq!(told, expected);
    }

    #[test]
    fn an_exec_goes_on_with_the_log_and_old_entries_are_dropped() {
        let mut log = Log::default();
        for second in 0..1000 {
            let state = if second % 2 == 0 { State::Live } else { State::NoAccess };
            log.take(&process(|process| process.state = state), later(second));
        }
        assert_eq!(log.entries().len(), MOST);
        let log = Log::after_exec(log, "sh", "less", later(2000));
        let last = log.entries().pop().unwrap();
        assert_eq!(last.event, Event::Exec { before: "sh".into(), name: "less".into() });
    }
}
