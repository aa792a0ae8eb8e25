//! The last states of a process's descendants, itself included: their segments vanish with them, so they are opened as
//! soon as they appear.
//!
//! [`KEEP`] in their environment lets the segments stay until they have been read. One is missed if it is swept before
//! that (where more than sixteen dead ones lie about), if its process replaces itself at once by another program, and if
//! it is in a PID namespace that was gone before it was known whose that was.
//!
//! A process that becomes a program without the library closes its segment and lives on: that is seen unless it ends at
//! once.

mod last;
mod namespaces;

use super::about;
use super::directory::{self, Entry};
use super::proc::{Origin, Proc, origin};
use super::segment::{Segment, open_object};
use crate::error::Error;
use crate::model::derive::About;
use crate::model::{Process, State};
use last::Header;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, setpriority_process};
use shm_layout::name::DIRECTORY;
use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeWriter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Tells the library to leave the name of a segment when its process ends in an orderly way.
pub(crate) const KEEP: (&str, &str) = ("STATSALLOC_KEEP", "1");

/// The thread's nice value, where that is permitted.
const FAST: i32 = -15;

/// What becomes of the segments of those that have ended.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Task {
    /// All are read, then removed.
    #[default]
    Report,
    /// Those are removed, unread, that would not be there without [`KEEP`]; of children of the root, which somebody else
    /// reads, at the end.
    TidyUp,
}

/// Follows the descendants of a process in a thread of its own.
pub(crate) struct Follower {
    thread: JoinHandle<Followed>,
    /// Closed to end it.
    stop: PipeWriter,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    /// The last state of each, in the order in which they first published. One that became another program counts as
    /// that.
    pub(crate) processes: Vec<Process>,
    /// PIDs of those whose segment was gone, or whose process was, before it was known whose they were.
    pub(crate) missed: BTreeSet<u32>,
}

impl Follower {
    /// Follows everything that descends from `root` and publishes from now on.
    pub(crate) fn start(root: u32, task: Task) -> Result<Self, Error> {
        let watching = |cause: std::io::Error| Error::io(format!("watching {DIRECTORY}"), cause);
        let events =
            inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(|cause| watching(cause.into()))?;
        inotify::add_watch(&events, DIRECTORY, WatchFlags::CREATE | WatchFlags::CLOSE_WRITE)
            .map_err(|cause| watching(cause.into()))?;
        let (stopped, stop) = std::io::pipe().map_err(watching)?;
        let thread = std::thread::spawn(move || {
            // Whoever may be faster is: a shell's `:` lives for less than a millisecond.
            let _ = setpriority_process(None, FAST);
            let mut family = Family { task, root, ..Family::default() };
            family.know(root);
            while family.wait(&events, &stopped) {
                family.welcome(&events);
                family.take_in();
                family.bury();
            }
            family.welcome(&events);
            family.take_in();
            family.finish()
        });
        Ok(Self { thread, stop })
    }

    /// Does what is left to do. Hands out the last states, those of the living included, if they were to be read.
    pub(crate) fn finish(self) -> Followed {
        drop(self.stop);
        self.thread.join().unwrap_or_default()
    }
}

/// The processes followed.
#[derive(Default)]
struct Family {
    task: Task,
    root: u32,
    /// PIDs here and starts of all that ever belonged to it: PIDs are used again.
    known: BTreeSet<(u32, u64)>,
    /// PID namespaces that are its own.
    namespaces: BTreeSet<u64>,
    /// PID namespaces that are others'.
    foreign: BTreeSet<u64>,
    /// Segments whose header is not written yet, oldest first.
    coming: Vec<Coming>,
    living: BTreeMap<Who, Member>,
    ended: BTreeMap<Who, Process>,
    /// In the order of their first segment.
    order: Vec<Who>,
    missed: BTreeSet<u32>,
    /// Children of the root that have ended, and whose segments somebody else may still read.
    unread: Vec<Member>,
    /// Inode of each one's last segment.
    seen: BTreeMap<Who, u64>,
}

/// A process, whatever program it becomes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    /// Its PID namespace, if that is not ours.
    namespace: Option<u64>,
    /// PID in there.
    pid: u32,
    start_ticks: u64,
}

/// A segment that has appeared. What bears its number here is noted at once, and is its process if the header turns out
/// to name our PID namespace.
struct Coming {
    entry: Entry,
    segment: Segment,
    since: Instant,
    /// Of what bears its number here.
    origin: Option<Origin>,
    here: Option<Here>,
}

struct Member {
    entry: Entry,
    /// Of the root.
    is_child: bool,
    segment: Segment,
    here: Here,
    /// Nobody had the lock: a sweeper that has it a moment later does not make it live.
    was_orphaned: bool,
}

/// A process as it is found here.
#[derive(Default)]
struct Here {
    pid: u32,
    about: Option<About>,
    /// The program without the library that it has become.
    replaced_by: Option<String>,
    /// Readable once the process has ended; `None` where it had ended before.
    handle: Option<OwnedFd>,
}

impl Here {
    /// `describes`: with what is to be reported of it.
    fn find(pid: u32, describes: bool) -> Self {
        let about = Proc::find(pid).filter(|_| describes).and_then(|proc| about::of_process(&proc, State::Live));
        let handle = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        Self { pid, about, replaced_by: None, handle: handle.and_then(Result::ok) }
    }

    /// The process that was found, if it has not ended.
    fn proc(&self) -> Option<Proc> {
        let id = self.about.as_ref()?.id;
        Proc::find(self.pid).filter(|proc| proc.identity() == id)
    }
}

impl Family {
    /// Waits until something happens; false once it is time to stop.
    fn wait(&self, events: &OwnedFd, stopped: &impl AsFd) -> bool {
        // A header is written within a moment of the object's making, and nothing tells when.
        const SOON: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000 };
        // Nor when one ends whose process is not found here.
        const LATER: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let watched = [events.as_fd(), stopped.as_fd()];
        let handles = self.living.values().filter_map(|member| Some(member.here.handle.as_ref()?.as_fd()));
        let mut polled: Vec<PollFd<'_>> =
            watched.into_iter().chain(handles).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let is_unseen = || self.living.values().any(|member| member.here.handle.is_none());
        let patience = if !self.coming.is_empty() { Some(&SOON) } else { is_unseen().then_some(&LATER) };
        match poll(&mut polled, patience) {
            Ok(_) => polled[1].revents().is_empty(),
            Err(error) => error == Errno::INTR,
        }
    }

    /// Opens the segments that have appeared. All of them first: every moment counts, and the rest can wait.
    fn welcome(&mut self, events: &OwnedFd) {
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = inotify::Reader::new(events, &mut buffer);
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        while let Ok(event) = reader.next() {
            let Some(entry) = event.file_name().and_then(|name| directory::entry(name.to_bytes())) else { continue };
            if event.events().contains(ReadFlags::CLOSE_WRITE) {
                self.notice_exec(&entry);
                closed.push(entry);
            } else {
                opened.push((open_object(&entry.name).ok(), origin(entry.pid), entry));
            }
        }
        for (file, origin, entry) in opened {
            let here = self.descends(entry.pid, origin);
            match (file.and_then(|file| Segment::from_file(file).ok()), here) {
                (Some(segment), here) => {
                    let here = here.filter(|&here| here).map(|_| self.find(entry.pid));
                    let start = origin.filter(|_| here.is_some()).map(|origin| origin.start_ticks);
                    self.known.extend(start.map(|start| (entry.pid, start)));
                    self.coming.push(Coming { entry, segment, since: Instant::now(), origin, here });
                }
                (None, Some(false)) => {}
                (None, _) => drop(self.missed.insert(entry.pid)),
            }
        }
        self.note_namespaces();
        closed.iter().for_each(|entry| self.notice_exec(entry));
    }

    /// Takes note of what those have become whose segment is called so.
    fn notice_exec(&mut self, entry: &Entry) {
        self.living.values_mut().filter(|member| member.entry == *entry).for_each(Member::notice_exec);
    }

    fn find(&self, pid: u32) -> Here {
        Here::find(pid, self.task == Task::Report)
    }

    /// Takes in those whose header says whose they are, and those that will never say it.
    fn take_in(&mut self) {
        // Whether its maker has died does not help: between making and locking it looks dead.
        const PATIENCE: Duration = Duration::from_millis(200);
        for coming in std::mem::take(&mut self.coming) {
            let header = Header::read(&coming.segment);
            match header {
                None if coming.since.elapsed() < PATIENCE => self.coming.push(coming),
                Some(Header { namespace: Some(namespace), origin }) => {
                    self.take_in_elsewhere(coming, namespace, origin);
                }
                _ => self.take_in_here(coming, header.and_then(|header| header.origin)),
            }
        }
    }

    fn take_in_here(&mut self, coming: Coming, in_header: Option<Origin>) {
        let Coming { entry, segment, origin, here, .. } = coming;
        let origin = origin.or(in_header);
        let start_ticks = origin.map_or(0, |origin| origin.start_ticks);
        let who = Who { namespace: None, pid: entry.pid, start_ticks };
        match self.descends(entry.pid, origin) {
            Some(true) => {
                self.known.insert((entry.pid, start_ticks));
                let here = here.unwrap_or_else(|| self.find(entry.pid));
                let is_child = origin.is_some_and(|origin| origin.parent == self.root);
                self.adopt(who, Member { entry, is_child, segment, here, was_orphaned: false });
            }
            Some(false) => {}
            None => drop(self.missed.insert(entry.pid)),
        }
    }

    /// Takes note of a process here as one of the family.
    fn know(&mut self, pid: u32) {
        self.known.extend(origin(pid).map(|origin| (pid, origin.start_ticks)));
    }

    /// Whether this process, where its start is known, or else any of its PID, has been found to be of the family.
    fn is_known(&self, pid: u32, origin: Option<Origin>) -> bool {
        let started = origin.filter(|origin| origin.start_ticks != 0);
        let (from, to) = started.map_or((0, u64::MAX), |origin| (origin.start_ticks, origin.start_ticks));
        self.known.range((pid, from)..=(pid, to)).next().is_some()
    }

    /// Whether a process is of the family; `None` where it has ended too soon to tell.
    fn descends(&self, pid: u32, its_origin: Option<Origin>) -> Option<bool> {
        const DEEPEST: usize = 64;
        let (mut pid, mut known_of_it) = (pid, its_origin);
        for _ in 0..DEEPEST {
            if self.is_known(pid, known_of_it) {
                return Some(true);
            }
            if pid <= 1 {
                return Some(false);
            }
            pid = known_of_it?.parent;
            known_of_it = origin(pid);
        }
        Some(false)
    }

    fn adopt(&mut self, who: Who, mut member: Member) {
        // A name may be taken over between its first event and our look: then both events lead to the second object.
        let inode = member.segment.id.inode;
        match self.seen.insert(who, inode) {
            Some(last) if last == inode => return,
            None if self.task == Task::Report => self.order.push(who),
            _ => {}
        }
        // It may have done so before it was known whose it is.
        member.notice_exec();
        // One elsewhere may live and yet not be found here.
        let ended = member.here.handle.is_none() && (who.namespace.is_none() || member.is_orphaned());
        // The same process with an older segment has become this program.
        self.living.insert(who, member);
        if ended {
            self.conclude(who);
        }
    }

    /// Reads the last state of those that have ended.
    fn bury(&mut self) {
        let handles = self.living.iter().filter_map(|(who, member)| Some((*who, member.here.handle.as_ref()?)));
        let handles: Vec<(Who, &OwnedFd)> = handles.collect();
        let mut polled: Vec<PollFd<'_>> =
            handles.iter().map(|(_, handle)| PollFd::new(*handle, PollFlags::IN)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Where that fails, there is nothing to be seen of any of them.
        let _ = poll(&mut polled, Some(&now));
        let ended = handles.iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        let mut ended: Vec<Who> = ended.map(|((who, _), _)| *who).collect();
        // One that had ended may have looked alive, because a sweeper had its lock for a moment.
        let unseen = self.living.iter_mut().filter(|(_, member)| member.here.handle.is_none());
        ended.extend(unseen.filter_map(|(who, member)| member.is_orphaned().then_some(*who)));
        for who in ended {
            self.conclude(who);
        }
    }

    fn conclude(&mut self, who: Who) {
        let Some(member) = self.living.remove(&who) else { return };
        match self.task {
            Task::Report => self.read(who, &member),
            Task::TidyUp if member.is_child => self.unread.push(member),
            Task::TidyUp => member.tidy_up(),
        }
    }

    fn read(&mut self, who: Who, member: &Member) {
        let inode = member.segment.id.inode;
        match last::state(who, member) {
            // Whoever sweeps at this moment holds its lock, and would keep it from being removed by that.
            Some(process) if process.state != State::Live => {
                self.ended.insert(who, process);
                return member.entry.remove(inode);
            }
            Some(process) => drop(self.ended.insert(who, process)),
            // Its segment was never completed. What it was before it became that program still counts.
            None if self.ended.contains_key(&who) => {}
            None => drop(self.missed.insert(who.pid)),
        }
        member.entry.remove_dead(inode);
    }

    fn finish(mut self) -> Followed {
        let living: Vec<Who> = self.living.keys().copied().collect();
        for who in living {
            self.living.get_mut(&who).map(Member::notice_exec);
            self.conclude(who);
        }
        self.unread.iter().for_each(Member::tidy_up);
        self.missed.extend(self.coming.iter().filter(|coming| coming.here.is_some()).map(|coming| coming.entry.pid));
        let processes = self.order.iter().filter_map(|who| self.ended.remove(who)).collect();
        Followed { processes, missed: self.missed }
    }
}

impl Member {
    /// Whether nobody has, or had once, the segment's lock.
    fn is_orphaned(&mut self) -> bool {
        self.was_orphaned |= self.segment.is_orphaned();
        self.was_orphaned
    }

    /// Takes note of the program that its process has become, if the segment is nobody's and the process lives.
    fn notice_exec(&mut self) {
        if self.here.replaced_by.is_none() && self.segment.is_orphaned() {
            self.here.replaced_by = self.here.proc().and_then(|proc| proc.running());
        }
    }

    /// Removes the segment where its process has ended in an orderly way. What a crash leaves behind stays, as ever.
    fn tidy_up(&self) {
        if last::has_ended(&self.segment) {
            self.entry.remove(self.segment.id.inode);
        }
    }
}
