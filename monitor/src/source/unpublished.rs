//! Processes that have the library but no segment here: none at all, or one in a `/dev/shm` of their own.

use super::Context;
use super::about;
use super::attached::Attached;
use super::proc::{Library, Proc, all_pids};
use crate::model::{Process, State};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Looking for the library reads every process's mappings: far too much for every look.
const EVERY: Duration = Duration::from_secs(10);

/// Finds them, now and then.
#[derive(Default)]
pub(crate) struct Unpublished {
    found: BTreeMap<u32, Proc>,
    due: Option<Instant>,
}

/// What was found of them.
#[derive(Default)]
pub(crate) struct Unseen {
    /// Without figures.
    pub(crate) processes: Vec<Process>,
    /// With a segment elsewhere; each is handed out once.
    pub(crate) attached: Vec<Attached>,
}

impl Unpublished {
    /// Those there are, apart from the ones that are `known` otherwise.
    pub(crate) fn look(&mut self, known: &[u32], context: &mut Context) -> Unseen {
        let mut unseen = Unseen::default();
        if self.due.is_none_or(|due| Instant::now() >= due) {
            let unknown = all_pids().filter(|pid| !known.contains(pid) && *pid != std::process::id());
            self.found.clear();
            for proc in unknown.filter_map(Proc::find) {
                if matches!(proc.library(), None | Some(Library::Absent)) {
                    continue;
                }
                match Attached::inside(&proc, context) {
                    Some(attached) => unseen.attached.push(attached),
                    None => drop(self.found.insert(proc.pid, proc)),
                }
            }
            self.due = Some(Instant::now() + EVERY);
        }
        self.found.retain(|pid, proc| {
            let present = proc.present().filter(|_| !known.contains(pid));
            let found = present.map(|present| about::closed(proc, present, State::Unpublished));
            let is_there = found.is_some();
            unseen.processes.extend(found);
            is_there
        });
        unseen
    }
}
