//! Which process a target means. That is decided once; from then on its identity is followed.

use super::attached::Attached;
use super::directory;
use super::proc::Proc;
use super::segment;
use super::{Seen, Target, Watcher};
use crate::error::Error;
use crate::model::derive::Detail;
use crate::model::{Identity, Process};

impl Watcher {
    /// A process as the user named it.
    pub(super) fn look_at_target(&mut self, target: &Target) -> Result<Seen, Error> {
        let seen = match (self.resolved.get(target), target) {
            (Some(&id), _) => return self.look_closely(id),
            (None, Target::Pid(pid)) => self.look_at_pid(*pid)?,
            (None, Target::Name(name)) => {
                let id = self.resolve_name(name)?;
                self.look_closely(id)?
            }
        };
        self.resolved.insert(target.clone(), seen.0.id);
        Ok(seen)
    }

    /// The living process of this PID here; where there is none, what a dead one left; where that one has no library,
    /// what one of another PID namespace left.
    fn look_at_pid(&mut self, pid: u32) -> Result<Seen, Error> {
        let here = Proc::find(pid).map(|proc| proc.identity());
        let refused = match here.map(|id| self.look_closely(id)) {
            None => None,
            Some(Err(error @ (Error::NotPreloaded { .. } | Error::NoSuchPid(_)))) => Some(error),
            Some(seen) => return seen,
        };
        let is_taken = matches!(refused, Some(Error::NotPreloaded { .. }));
        match (self.left_under(pid, is_taken), refused) {
            (Ok(id), _) => self.look_closely(id),
            (Err(error @ Error::AmbiguousPid { .. }), _) | (Err(error), None) => Err(error),
            (Err(_), Some(refused)) => Err(refused),
        }
    }

    /// The one segment that is listed under this PID; if only `foreign` ones count, of the dead of other PID namespaces.
    fn left_under(&mut self, pid: u32, foreign: bool) -> Result<Identity, Error> {
        let mut refused = Error::NoSuchPid(pid);
        self.notice_ends();
        for entry in directory::entries()?.iter().filter(|entry| entry.pid == pid) {
            if segment::id_of(&entry.name).is_some_and(|id| self.attached.contains_key(&id)) {
                continue;
            }
            match Attached::find(entry, &mut self.context, Detail::Full) {
                Ok(attached) => drop(self.attached.insert(attached.id(), attached)),
                Err(Error::NoSuchPid(_)) => {}
                Err(error) => refused = error,
            }
        }
        self.leave_the_last_of_each();
        // An earlier process here that had the number of a living one is not meant.
        let may_be_meant = |attached: &Attached| !foreign || attached.is_elsewhere() && attached.is_orphaned();
        let listed = |attached: &&Attached| attached.pid() == pid && may_be_meant(attached);
        let found: Vec<&Attached> = self.attached.values().filter(listed).collect();
        match found[..] {
            [] => Err(refused),
            [one] => Ok(one.identity()),
            _ => {
                let mut segments: Vec<(String, String)> =
                    found.iter().map(|attached| (attached.name.clone(), attached.program().to_owned())).collect();
                segments.sort();
                Err(Error::AmbiguousPid { pid, segments })
            }
        }
    }

    /// The one process of this name, one that still has its heap if there is any; or the one whose segment has it.
    fn resolve_name(&mut self, name: &str) -> Result<Identity, Error> {
        let (processes, _) = self.look_at_all()?;
        if directory::entry(name.as_bytes()).is_some()
            && let Some(attached) = segment::id_of(name).and_then(|id| self.attached.get(&id))
        {
            return Ok(attached.identity());
        }
        let basename = |process: &Process| {
            process.executable.as_deref().and_then(|path| path.rsplit('/').next()).map(str::to_owned)
        };
        let named = |process: &&Process| process.name == *name || basename(process).as_deref() == Some(name);
        let mut matching: Vec<&Process> = processes.iter().filter(named).collect();
        let dead = matching.iter().all(|process| process.state.is_dead());
        if matching.iter().any(|process| !process.state.is_past()) {
            matching.retain(|process| !process.state.is_past());
        }
        match matching[..] {
            [] => Err(Error::NoSuchName(name.to_owned())),
            [process] => Ok(process.id),
            _ => {
                let ways = matching.iter().map(|process| self.way_to(process, &processes)).collect();
                Err(Error::Ambiguous { name: name.to_owned(), ways, dead })
            }
        }
    }

    /// What names a process and no other: its PID if it can, else its segment.
    fn way_to(&self, process: &Process, all: &[Process]) -> String {
        let alone = all.iter().filter(|other| other.pid == process.pid).count() == 1;
        let is_here = matches!(process.id, Identity::Process { .. }) && !process.state.is_dead();
        let segment = || self.attached.values().find(|attached| attached.identity() == process.id);
        match segment().filter(|attached| !alone && !is_here && attached.is_named()) {
            Some(attached) => attached.name.clone(),
            None => process.pid.to_string(),
        }
    }
}
