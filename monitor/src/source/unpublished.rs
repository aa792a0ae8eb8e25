//! Processes that have the library but no segment.

use super::attached::{Found, closed};
use super::proc::{Proc, all_pids};
use crate::error::Error;
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

impl Unpublished {
    /// Those there are, apart from the ones that are `known` otherwise.
    pub(crate) fn look(&mut self, known: &[u32]) -> Vec<Process> {
        if self.due.is_none_or(|due| Instant::now() >= due) {
            let unknown = all_pids().filter(|pid| !known.contains(pid) && *pid != std::process::id());
            let found = unknown.filter_map(Proc::find).filter(|proc| proc.has_library() == Some(true));
            self.found = found.map(|proc| (proc.pid, proc)).collect();
            self.due = Some(Instant::now() + EVERY);
        }
        let mut processes = Vec::new();
        self.found.retain(|pid, proc| {
            let present = proc.present().filter(|_| !known.contains(pid));
            let found =
                present.map(|present| closed(proc, present, State::Unpublished, Error::Unpublished { pid: *pid }));
            if let Some(Found::Closed(process, _)) = found {
                processes.push(*process);
                return true;
            }
            false
        });
        processes
    }
}
