//! How a process and its segment are found, and which belong together.

use super::{Attached, Life, Tasks, is_elsewhere};
use crate::error::Error;
use crate::model::derive::Detail;
use crate::model::following::Following;
use crate::model::{Identity, Process, State};
use crate::source::Context;
use crate::source::about;
use crate::source::cgroup::Cgroup;
use crate::source::container;
use crate::source::directory::{self, Entry};
use crate::source::locks::Locks;
use crate::source::proc::{self, Library, Present, Proc};
use crate::source::residency::Residency;
use crate::source::segment::Segment;
use shm_layout::reader::Identity as Header;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Instant;

/// What is found where a process is looked for.
pub(crate) enum Found {
    /// Its segment.
    Attached(Box<Attached>),
    /// A process without figures, and why there are none.
    Closed(Box<Process>, Error),
}

impl Found {
    fn closed(proc: &Proc, present: Present, state: State, why: Error) -> Self {
        Self::Closed(Box::new(about::closed(proc, present, state)), why)
    }
}

impl Attached {
    /// Attaches to a living process. Where it has become a program without the library, or ends meanwhile, to what it left.
    pub(crate) fn open(proc: &Proc, context: &mut Context) -> Result<Found, Error> {
        let (pid, entries) = (proc.pid, directory::entries()?);
        let (mut refused, mut replaced) = (None, None);
        for entry in entries.iter().filter(|entry| entry.pid == proc.namespace_pid) {
            match Self::at(entry, Proc::find(pid), context, Detail::Full) {
                Ok(attached) if attached.proc.is_none() => {}
                Ok(attached) if attached.is_orphaned() => replaced = Some(attached),
                Ok(attached) => return Ok(Found::Attached(Box::new(attached))),
                // Processes of other namespaces have the same number.
                Err(error) if refused.is_none() && Locks::read().may_be_of(entry, pid) => refused = Some(error),
                Err(_) => {}
            }
        }
        let Some(present) = proc.present() else { return Self::left_by(pid, proc.start_ticks, context) };
        match refused {
            Some(error @ Error::NotPermitted { .. }) => Ok(Found::closed(proc, present, State::NoAccess, error)),
            Some(error) => Err(error),
            None if let Some(library @ (Library::Loaded | Library::Nameless)) = proc.library() => {
                if let Some(attached) = Self::inside(proc, context) {
                    return Ok(Found::Attached(Box::new(attached)));
                }
                let why = Error::Unpublished { pid, removed: library == Library::Nameless };
                Ok(Found::closed(proc, present, State::Unpublished, why))
            }
            None => match replaced {
                Some(attached) => Ok(Found::Attached(Box::new(attached))),
                None => Err(Error::NotPreloaded { pid, name: present.name }),
            },
        }
    }

    /// Attaches to what a process of our PID namespace has left, by its PID and start.
    pub(crate) fn left_by(pid: u32, start_ticks: u64, context: &mut Context) -> Result<Found, Error> {
        let mut last: Option<Self> = None;
        for entry in directory::entries()?.iter().filter(|entry| entry.pid == pid) {
            let Ok(attached) = Self::at(entry, None, context, Detail::Full) else { continue };
            let (reader, _) = context.copies.readers(pid)?;
            let is_its = reader.identity().start_ticks == start_ticks && !attached.elsewhere;
            if is_its && last.as_ref().is_none_or(|last| attached.follows(last)) {
                last = Some(attached);
            }
        }
        let mut last = last.ok_or(Error::NoSuchPid(pid))?;
        last.about.id = Identity::Process { pid, start_ticks };
        Ok(Found::Attached(Box::new(last)))
    }

    /// Attaches to the segment of this name. It keeps `proc` only if the segment is that process's.
    pub(crate) fn at(entry: &Entry, proc: Option<Proc>, context: &mut Context, detail: Detail) -> Result<Self, Error> {
        let pid = proc.as_ref().map_or(entry.pid, |proc| proc.pid);
        let open = if detail == Detail::Full { Segment::open } else { Segment::open_file };
        let segment = open(&entry.name).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => Error::NoSuchPid(pid),
            ErrorKind::PermissionDenied => Error::NotPermitted { pid },
            _ => Error::io(format!("opening the segment {}", entry.name), cause),
        })?;
        Self::new(segment, entry, proc, (pid, context))
    }

    /// Attaches to the segment that a process has in a `/dev/shm` of its own, if there is one and we may see it.
    pub(crate) fn inside(proc: &Proc, context: &mut Context) -> Option<Self> {
        let attach = |(entry, file)| {
            let segment = Segment::from_file(file).ok()?;
            let mut attached = Self::new(segment, &entry, Proc::find(proc.pid), (proc.pid, &mut *context)).ok()?;
            attached.here = false;
            Some(attached)
        };
        let all = container::objects(proc).into_iter().filter_map(attach).filter(|attached| attached.proc.is_some());
        all.reduce(|last, attached| if attached.follows(&last) { attached } else { last })
    }

    /// Attaches to the segment that its process has in a `/dev/shm` of its own since it has become another program.
    pub(crate) fn next_inside(&self, context: &mut Context) -> Option<Self> {
        let proc = self.proc.as_ref().filter(|_| !self.here && self.is_orphaned() && !self.is_dead())?;
        Self::inside(proc, context).filter(|next| next.id() != self.id())
    }

    fn new(
        segment: Segment,
        entry: &Entry,
        proc: Option<Proc>,
        (pid, context): (u32, &mut Context),
    ) -> Result<Self, Error> {
        segment.read(pid, &mut context.copies)?;
        let (reader, _) = context.copies.readers(pid)?;
        let identity = reader.identity();
        let proc = proc.filter(|proc| belongs(&identity, &segment, proc));
        let id = proc.as_ref().map_or(segment.id.identity(), Proc::identity);
        let elsewhere = is_elsewhere(&identity);
        let (life, made) = (Life::of(&identity, proc.as_ref()), identity.created_realtime_ns);
        // Its start is told where it was seen in a `/proc`: then it has a PID here for as long as it lives.
        let is_here = identity.start_ticks != 0 && identity.pid_namespace != 0 && !elsewhere;
        let has_ended = segment.is_orphaned() || proc.is_none() && is_here && proc::is_gone(identity.pid);
        let orphaned = has_ended.then(Instant::now);
        let about = about::of_segment(&reader, (id, pid));
        Ok(Self {
            segment,
            name: entry.name.clone(),
            here: true,
            elsewhere,
            life,
            made,
            proc,
            about,
            residency: Residency::default(),
            cgroup: Cgroup::default(),
            tasks: Tasks::default(),
            earlier: VecDeque::new(),
            following: Following::new(context.rules),
            classes: None,
            seen_alive: None,
            orphaned,
            became: None,
            past: None,
        })
    }

    /// Attaches to the segment of this name and finds its process, also in another PID namespace.
    pub(crate) fn find(entry: &Entry, context: &mut Context, detail: Detail) -> Result<Self, Error> {
        let mut attached = Self::at(entry, Proc::find(entry.pid), context, detail)?;
        if attached.proc.is_none() {
            let (reader, _) = context.copies.readers(entry.pid)?;
            let (identity, segment) = (reader.identity(), &attached.segment);
            if attached.elsewhere {
                attached.proc = proc::all_pids().filter_map(Proc::find).find(|proc| belongs(&identity, segment, proc));
            }
        }
        if let Some(proc) = &attached.proc {
            (attached.about.id, attached.about.pid) = (proc.identity(), proc.pid);
        }
        Ok(attached)
    }
}

/// Whether a segment is this process's: same PID, namespace and start, and not planted by another user. Where it does not
/// tell the start, a left-over one may be of an earlier process with that PID. In a time namespace of its own (`unshare -T`) a
/// process reads another start than we do: there it counts that the segment is in use.
fn belongs(identity: &Header<'_>, segment: &Segment, proc: &Proc) -> bool {
    let same_start = match identity.start_ticks {
        0 => !segment.is_orphaned(),
        ticks => ticks == proc.start_ticks || !segment.is_orphaned() && proc.has_other_time(),
    };
    let same_namespace =
        identity.pid_namespace == 0 || proc.pid_namespace().is_none_or(|namespace| namespace == identity.pid_namespace);
    let owner = segment.owner;
    let trusted = owner == 0 || proc.users().is_some_and(|users| users.contains(&owner));
    identity.pid == proc.namespace_pid && same_start && same_namespace && trusted
}
