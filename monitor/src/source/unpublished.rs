//! Processes that have the library but no segment here: none at all, or one in a `/dev/shm` of their own.

use super::Context;
use super::attached::{Attached, Found, closed};
use super::proc::{Library, Proc, all_pids};
use crate::error::Error;
use crate::model::{Process, State};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Looking for the library reads every process's mappings: far too much for every look.
const EVERY: Duration = Duration::from_secs(10);

/// Finds them, now and then.
#[derive(Default)]
pub(crate) struct Unpublished {
    /// With whether the segment has lost its name.
    found: BTreeMap<u32, (Proc, bool)>,
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
                let removed = match proc.library() {
                    None | Some(Library::Absent) => continue,
                    Some(library) => library == Library::Nameless,
                };
                match Attached::inside(&proc, context) {
                    Some(attached) => unseen.attached.push(attached),
                    None => drop(self.found.insert(proc.pid, (proc, removed))),
                }
            }
            self.due = Some(Instant::now() + EVERY);
        }
        self.found.retain(|pid, (proc, removed)| {
            let present = proc.present().filter(|_| !known.contains(pid));
            let found = present.map(|present| {
                closed(proc, present, State::Unpublished, Error::Unpublished { pid: *pid, removed: *removed })
            });
            if let Some(Found::Closed(process, _)) = found {
                unseen.processes.push(*process);
                return true;
            }
            false
        });
        unseen
    }
}
