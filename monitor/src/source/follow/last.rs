//! What a segment says about its process, at the start and at the end.

use super::{Member, Who};
use crate::model::derive::{self, Detail, Look};
use crate::model::{Identity, Process, State, Time};
use crate::source::proc::{self, Origin};
use crate::source::segment::{Copies, Segment};
use crate::source::{about, attached};
use std::collections::BTreeMap;

/// Where its process is from.
pub(super) struct Header {
    /// Its PID namespace, if that is not ours.
    pub(super) namespace: Option<u64>,
    /// Its parent in there, and its start.
    pub(super) origin: Option<Origin>,
}

impl Header {
    /// `None` as long as it is not written.
    pub(super) fn read(segment: &Segment) -> Option<Self> {
        let mut copies = Copies::default();
        segment.read(0, &mut copies).ok()?;
        let (reader, _) = copies.readers(0).ok()?;
        let identity = reader.identity();
        Some(Self {
            namespace: Some(identity.pid_namespace).filter(|_| attached::is_elsewhere(&identity)),
            origin: Some(Origin { parent: identity.parent, start_ticks: identity.start_ticks })
                .filter(|origin| origin.parent != 0),
        })
    }
}

/// Whether its process has ended in an orderly way.
pub(super) fn has_ended(segment: &Segment) -> bool {
    let mut copies = Copies::default();
    segment.read(0, &mut copies).is_ok() && copies.readers(0).is_ok_and(|(reader, _)| reader.globals().ended != 0)
}

/// The last state of a process; `None` where its segment was never completed.
pub(super) fn state(who: Who, member: &Member) -> Option<Process> {
    let Member { segment, here, was_orphaned, .. } = member;
    // A child that was forked past libc may have inherited the lock.
    let orphaned = *was_orphaned || segment.is_orphaned() || here.handle.is_some() && proc::is_gone(here.pid);
    let mut copies = Copies::default();
    segment.read(who.pid, &mut copies).ok()?;
    let (reader, floor) = copies.readers(who.pid).ok()?;
    let id = match who.namespace {
        None => Identity::Process { pid: who.pid, start_ticks: reader.identity().start_ticks },
        Some(_) => segment.id.identity(),
    };
    let mut about = here.about.clone().unwrap_or_else(|| about::of_segment(&reader, (id, who.pid)));
    about.state = match orphaned {
        false => State::Live,
        true if reader.globals().ended != 0 => State::Exited,
        true if here.replaced_by.is_none() => State::Crashed,
        true if here.proc().is_some() => State::Replaced,
        true => State::Exited,
    };
    about.replaced_by = here.replaced_by.clone().filter(|_| orphaned);
    let look = Look {
        now: Time::now(),
        seen_alive: None,
        thread_names: &BTreeMap::new(),
        earlier: &[],
        detail: Detail::Line,
        class_history: None,
    };
    let mut process = derive::with_segment(&reader, &floor, about, &look);
    // Thousands of them may be kept: only what a report shows.
    process.history = None;
    process.size_classes = None;
    process.threads.as_mut().map(|threads| std::mem::take(&mut threads.rows));
    Some(process)
}
