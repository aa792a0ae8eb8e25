//! Where the figures come from: `/dev/shm` and `/proc`. Hands out [`crate::model`] types only.

mod about;
pub(crate) mod against;
mod attached;
pub(crate) mod cgroup;
mod container;
mod directory;
pub(crate) mod follow;
mod locks;
mod mapping;
mod pages;
pub(crate) mod proc;
mod residency;
mod resolve;
mod segment;
#[cfg(test)]
mod tests;
mod unpublished;

use crate::error::Error;
use crate::model::derive::Detail;
use crate::model::diagnosis::rules::Rules;
use crate::model::{Identity, Process, Snapshot, State, Time};
use attached::{Attached, Found, Life};
use directory::Entry;
use locks::Locks;
use proc::Proc;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use segment::{Copies, ObjectId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use unpublished::Unpublished;

/// One process as the user names it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Target {
    /// By PID: the living process that has it here, else a dead one that had it in its own PID namespace.
    Pid(u32),
    /// By `comm` or the last part of the executable's path, which must be unique among the preloaded processes; or by the
    /// name of its segment.
    Name(String),
}

/// Which processes to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Selection {
    /// All that publish, also those that this user may not read, and dead ones whose segment is still there.
    All,
    /// These, in this order.
    Targets(Vec<Target>),
}

/// One look at the selected processes.
#[derive(Debug)]
pub(crate) struct Look {
    /// What could be seen.
    pub(crate) snapshot: Snapshot,
    /// What could not, or only with reservations (a dead process is shown *and* listed here), in the order asked for.
    pub(crate) problems: Vec<Error>,
}

/// Keeps what is needed to look at the same processes again and again: mappings stay attached, costs stay bounded.
pub(crate) struct Watcher {
    selection: Selection,
    attached: BTreeMap<ObjectId, Attached>,
    /// What targets turned out to mean.
    resolved: BTreeMap<Target, Identity>,
    unpublished: Unpublished,
    swept: Option<Instant>,
    context: Context,
    /// How much is wanted of a process among all.
    detail: Detail,
}

/// A process, and what is wrong with it.
type Seen = (Process, Option<Error>);

/// What all attached processes share.
pub(crate) struct Context {
    /// Room for the copies of their segments.
    copies: Copies,
    /// Seconds in a minute of the diagnosis's rules.
    rules: Rules,
    /// How many share the time for what is costly.
    among: usize,
}

/// Shortens the minute of the diagnosis's rules, in seconds: for tests that have none to wait.
const MINUTE: &str = "STATSMON_MINUTE_SECONDS";

fn rules() -> Rules {
    let minute = std::env::var(MINUTE).ok().and_then(|value| value.parse().ok());
    minute.filter(|minute| (0.5..=3600.0).contains(minute)).map_or(Rules::default(), |minute| Rules { minute })
}

impl Watcher {
    /// A watcher of `selection`, of which everything is wanted. Touches no process yet.
    pub(crate) fn new(selection: Selection) -> Self {
        Self::with_detail(selection, Detail::Full)
    }

    /// A watcher of `selection`. `detail` is how much is wanted of processes that are not looked at alone.
    pub(crate) fn with_detail(selection: Selection, detail: Detail) -> Self {
        raise_descriptor_limit();
        Self {
            selection,
            context: Context { copies: Copies::default(), rules: rules(), among: 1 },
            detail,
            attached: BTreeMap::new(),
            resolved: BTreeMap::new(),
            unpublished: Unpublished::default(),
            swept: None,
        }
    }

    /// Looks at every selected process. New ones appear; among all, ended ones stay as long as their segment does, and
    /// for one look at least.
    pub(crate) fn look(&mut self) -> Result<Look, Error> {
        let timestamp = Time::now();
        let (processes, problems) = match self.selection.clone() {
            Selection::All => self.look_at_all()?,
            Selection::Targets(targets) => self.look_at_targets(&targets),
        };
        self.sweep();
        Ok(Look { snapshot: Snapshot::of(timestamp, processes), problems })
    }

    /// Looks at one process, selected or not: the cheap way to follow one of many.
    pub(crate) fn look_at(&mut self, id: Identity) -> Result<Process, Error> {
        match self.look_closely(id)? {
            (process, None | Some(Error::Dead { .. } | Error::Replaced { .. })) => Ok(process),
            (_, Some(error)) => Err(error),
        }
    }

    fn look_at_targets(&mut self, targets: &[Target]) -> (Vec<Process>, Vec<Error>) {
        let mut processes: Vec<Process> = Vec::new();
        let mut problems = Vec::new();
        for target in targets {
            match self.look_at_target(target) {
                Ok((process, problem)) => {
                    if !processes.iter().any(|shown| shown.id == process.id) {
                        processes.push(process);
                    }
                    problems.extend(problem);
                }
                Err(error) => problems.push(error),
            }
        }
        (processes, problems)
    }

    fn look_closely(&mut self, id: Identity) -> Result<Seen, Error> {
        let known = self.object_of(id);
        self.context.among = 1;
        // It may have become another program, with another segment.
        if known.and_then(|object| self.attached.get_mut(&object)).is_none_or(Attached::notice_end) {
            match self.find_again(id, known.is_some()) {
                Ok(Found::Attached(attached)) => self.go_on_with(known, *attached),
                Ok(Found::Closed(process, why)) if known.is_none() => return Ok((*process, Some(why))),
                Err(error) if known.is_none() => return Err(error),
                _ => {}
            }
        }
        let object = self.object_of(id).ok_or(Error::Removed)?;
        let attached = self.attached.get_mut(&object).ok_or(Error::Removed)?;
        let process = attached.refresh(&mut self.context, Detail::Full)?;
        let pid = process.pid;
        let problem = match (process.state, &process.replaced_by) {
            (State::Replaced, Some(name)) => Some(Error::Replaced { pid, name: name.clone() }),
            (state, _) => state.is_dead().then_some(Error::Dead { pid }),
        };
        Ok((process, problem))
    }

    fn notice_ends(&mut self) {
        for attached in self.attached.values_mut() {
            attached.notice_end();
        }
    }

    /// Follows a process by this segment from now on, if it is of a later program than the one known.
    fn go_on_with(&mut self, known: Option<ObjectId>, mut attached: Attached) {
        let before = known.and_then(|object| self.attached.get(&object));
        if before.is_some_and(|before| attached.id() == before.id() || !attached.follows(before)) {
            return;
        }
        if let Some(before) = known.and_then(|object| self.attached.remove(&object)) {
            attached.continues(before);
        }
        self.attached.insert(attached.id(), attached);
    }

    /// Of several segments of one process only that of its last program is followed on.
    fn leave_the_last_of_each(&mut self) {
        let mut last: BTreeMap<Life, ObjectId> = BTreeMap::new();
        let lives = self.attached.values().filter_map(|attached| Some((attached.life()?, attached.id())));
        for (life, object) in lives.collect::<Vec<_>>() {
            let Some(other) = last.insert(life, object) else { continue };
            let (Some(one), Some(two)) = (self.attached.get(&object), self.attached.get(&other)) else { continue };
            let (before, after) = match (one.follows(two), two.follows(one)) {
                (true, _) => (other, object),
                (_, true) => (object, other),
                _ => continue,
            };
            if let Some(attached) = self.attached.remove(&after) {
                self.go_on_with(Some(before), attached);
            }
            last.insert(life, after);
        }
    }

    /// The segment that is attached for a process; while an exec is under way there may be two.
    fn object_of(&self, id: Identity) -> Option<ObjectId> {
        let own = || self.attached.values().filter(|attached| attached.identity() == id);
        own().find(|attached| !attached.is_past()).or(own().next()).map(Attached::id)
    }

    fn is_dead(&self, id: Identity) -> bool {
        self.object_of(id).and_then(|object| self.attached.get(&object)).is_some_and(Attached::is_dead)
    }

    fn find_again(&mut self, id: Identity, is_known: bool) -> Result<Found, Error> {
        let Identity::Process { pid, start_ticks } = id else { return Err(Error::Removed) };
        match Proc::find(pid).filter(|proc| proc.identity() == id) {
            Some(proc) => Attached::open(&proc, &mut self.context),
            // What is known to have ended has left nothing new.
            None if is_known && self.is_dead(id) => Err(Error::NoSuchPid(pid)),
            None => Attached::left_by(pid, start_ticks, &mut self.context),
        }
    }

    fn look_at_all(&mut self) -> Result<(Vec<Process>, Vec<Error>), Error> {
        // Before what they may have published since is listed.
        self.notice_ends();
        let entries = directory::entries()?;
        let mut processes = Vec::new();
        let mut problems = Vec::new();
        let mut locks = None;
        for entry in &entries {
            match self.attach_new(entry) {
                Ok(()) => {}
                Err(Error::NotPermitted { .. }) => {
                    let owner = locks.get_or_insert_with(Locks::read).process_of(entry);
                    let present = owner.and_then(|proc| Some((proc.present()?, proc)));
                    processes.extend(present.map(|(present, proc)| about::closed(&proc, present, State::NoAccess)));
                }
                // It went away, or has just been made.
                Err(error) if error.is_passing() => {}
                Err(error) => problems.push(error),
            }
        }
        let inside = self.attached.values().filter_map(|attached| attached.next_inside(&mut self.context));
        let inside: Vec<(ObjectId, Attached)> = inside.map(|attached| (attached.id(), attached)).collect();
        self.attached.extend(inside);
        self.leave_the_last_of_each();
        let mut gone = Vec::new();
        self.context.among = self.attached.len().max(1);
        for (&id, attached) in &mut self.attached {
            match attached.refresh(&mut self.context, self.detail) {
                Ok(process) => processes.push(process),
                Err(error) => problems.push(error),
            }
            // The name may be another's by now.
            if attached.is_dead() && !attached.is_named() {
                gone.push(id);
            }
        }
        gone.iter().for_each(|id| drop(self.attached.remove(id)));
        let here = processes.iter().filter(|process| matches!(process.id, Identity::Process { .. }));
        let known: Vec<u32> = here.map(|process| process.pid).collect();
        let unseen = self.unpublished.look(&known, &mut self.context);
        processes.extend(unseen.processes);
        for mut attached in unseen.attached {
            match attached.refresh(&mut self.context, self.detail) {
                Ok(process) => processes.push(process),
                Err(error) if error.is_passing() => continue,
                Err(error) => problems.push(error),
            }
            self.attached.insert(attached.id(), attached);
        }
        processes.sort_by_key(|process| process.pid);
        Ok((processes, problems))
    }

    fn attach_new(&mut self, entry: &Entry) -> Result<(), Error> {
        if segment::id_of(&entry.name).is_some_and(|id| self.attached.contains_key(&id)) {
            return Ok(());
        }
        let attached = Attached::find(entry, &mut self.context, self.detail)?;
        self.attached.insert(attached.id(), attached);
        Ok(())
    }

    fn sweep(&mut self) {
        const EVERY: Duration = Duration::from_secs(60);
        if self.swept.is_none_or(|swept| swept.elapsed() >= EVERY) {
            self.swept = Some(Instant::now());
            directory::sweep(&directory::entries().unwrap_or_default(), Time::now());
        }
    }
}

/// Identity of a process that has been started, for [`Watcher::look_at`].
pub(crate) fn identity_of(pid: u32) -> Identity {
    proc::identity(pid).unwrap_or(Identity::Process { pid, start_ticks: 0 })
}

/// Every process that is followed takes up to three descriptors.
pub(crate) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, the last of very many processes are missed.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
