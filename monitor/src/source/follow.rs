//! The last states of a process's descendants, itself included: their segments vanish with them, so they are opened as
//! soon as they appear.
//!
//! [`KEEP`] in their environment lets the segments stay until they have been read. One is missed if it is swept before
//! that (where more than sixteen dead ones lie about), if its process replaces itself at once by another program, and if
//! it lives in another PID namespace.
//!
//! A process that becomes a program without the library closes its segment and lives on: that is seen unless it ends at
//! once.

use super::attached;
use super::directory::{self, Entry};
use super::proc::{Proc, parent};
use super::segment::{Copies, Segment, open_object};
use crate::error::Error;
use crate::model::derive::{self, About, Detail, Look};
use crate::model::{Process, State, Time};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, setpriority_process};
use shm_layout::name::DIRECTORY;
use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeWriter;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

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
    /// Segments that were gone, or whose process was, before it was known whose they were.
    pub(crate) missed: u64,
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
            let mut family = Family { task, root, known: BTreeSet::from([root]), ..Family::default() };
            while family.wait(&events, &stopped) {
                family.welcome(&events);
                family.bury();
            }
            family.welcome(&events);
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
    /// PIDs of all that ever belonged to it.
    known: BTreeSet<u32>,
    living: BTreeMap<u32, Member>,
    ended: BTreeMap<u32, Process>,
    /// PIDs in the order of their first segment.
    order: Vec<u32>,
    missed: u64,
    /// Children of the root that have ended, and whose segments somebody else may still read.
    unread: Vec<Member>,
    /// Inode of each one's last segment.
    seen: BTreeMap<u32, u64>,
}

struct Member {
    entry: Entry,
    /// Of the root.
    is_child: bool,
    segment: Segment,
    about: Option<About>,
    /// The program without the library that it has become.
    replaced_by: Option<String>,
    /// Readable once the process has ended; `None` where it had ended before.
    handle: Option<OwnedFd>,
}

impl Family {
    /// Waits until something happens; false once it is time to stop.
    fn wait(&self, events: &OwnedFd, stopped: &impl AsFd) -> bool {
        let watched = [events.as_fd(), stopped.as_fd()];
        let handles = self.living.values().filter_map(|member| Some(member.handle.as_ref()?.as_fd()));
        let mut polled: Vec<PollFd<'_>> =
            watched.into_iter().chain(handles).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut polled, None) {
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
                self.notice_exec(entry.pid);
                closed.push(entry.pid);
            } else {
                opened.push((open_object(&entry.name).ok(), parent(entry.pid), entry));
            }
        }
        for (file, parent, entry) in opened {
            let segment = file.and_then(|file| Segment::from_file(file).ok());
            let parent = parent.or_else(|| segment.as_ref().and_then(parent_of_the_dead));
            match (segment, self.descends(entry.pid, parent)) {
                (Some(segment), Some(true)) => self.adopt(entry, parent == Some(self.root), segment),
                (_, Some(false)) => {}
                (None, _) | (_, None) => self.missed += 1,
            }
        }
        closed.into_iter().for_each(|pid| self.notice_exec(pid));
    }

    /// Takes note of the program that a process has become, if its segment is nobody's and it lives.
    fn notice_exec(&mut self, pid: u32) {
        if let Some(member) = self.living.get_mut(&pid)
            && member.replaced_by.is_none()
            && member.segment.is_orphaned()
        {
            member.replaced_by = Proc::find(pid).and_then(|proc| proc.running());
        }
    }

    /// Whether a process is of the family; `None` where it has ended too soon to tell.
    fn descends(&self, pid: u32, its_parent: Option<u32>) -> Option<bool> {
        const DEEPEST: usize = 64;
        if self.known.contains(&pid) {
            return Some(true);
        }
        let mut ancestor = its_parent?;
        for _ in 0..DEEPEST {
            if self.known.contains(&ancestor) {
                return Some(true);
            }
            if ancestor <= 1 {
                return Some(false);
            }
            ancestor = parent(ancestor)?;
        }
        Some(false)
    }

    fn adopt(&mut self, entry: Entry, is_child: bool, segment: Segment) {
        let pid = entry.pid;
        // A name may be taken over between its first event and our look: then both events lead to the second object.
        if self.seen.insert(pid, segment.id.inode) == Some(segment.id.inode) {
            return;
        }
        self.known.insert(pid);
        let reads = self.task == Task::Report;
        if reads && !self.order.contains(&pid) {
            self.order.push(pid);
        }
        let about = Proc::find(pid).filter(|_| reads).and_then(|proc| attached::about(&proc, State::Live));
        let handle = i32::try_from(pid).ok().and_then(Pid::from_raw).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        let handle = handle.and_then(Result::ok);
        let ended = handle.is_none();
        // The same process with an older segment has become this program.
        self.living.insert(pid, Member { entry, is_child, segment, about, replaced_by: None, handle });
        if ended {
            self.conclude(pid);
        }
    }

    /// Reads the last state of those that have ended.
    fn bury(&mut self) {
        let handles = self.living.iter().filter_map(|(pid, member)| Some((*pid, member.handle.as_ref()?)));
        let handles: Vec<(u32, &OwnedFd)> = handles.collect();
        let mut polled: Vec<PollFd<'_>> =
            handles.iter().map(|(_, handle)| PollFd::new(*handle, PollFlags::IN)).collect();
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        if !poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0) {
            return;
        }
        let ended = handles.iter().zip(&polled).filter(|(_, polled)| !polled.revents().is_empty());
        let ended: Vec<u32> = ended.map(|((pid, _), _)| *pid).collect();
        for pid in ended {
            self.conclude(pid);
        }
    }

    fn conclude(&mut self, pid: u32) {
        let Some(member) = self.living.remove(&pid) else { return };
        match self.task {
            Task::Report => self.read(pid, member),
            Task::TidyUp if member.is_child => self.unread.push(member),
            Task::TidyUp => member.tidy_up(),
        }
    }

    fn read(&mut self, pid: u32, member: Member) {
        match last_state(pid, &member) {
            Some(process) => drop(self.ended.insert(pid, process)),
            // Its segment was never completed. What it was before it became that program still counts.
            None if self.ended.contains_key(&pid) => {}
            None => self.missed += 1,
        }
        member.entry.remove_dead(member.segment.id.inode);
    }

    fn finish(mut self) -> Followed {
        let living: Vec<u32> = self.living.keys().copied().collect();
        for pid in living {
            self.notice_exec(pid);
            self.conclude(pid);
        }
        self.unread.iter().for_each(Member::tidy_up);
        let processes = self.order.iter().filter_map(|pid| self.ended.remove(pid)).collect();
        Followed { processes, missed: self.missed }
    }
}

impl Member {
    /// Removes the segment where its process has ended in an orderly way. What a crash leaves behind stays, as ever.
    fn tidy_up(&self) {
        let mut copies = Copies::default();
        let pid = self.entry.pid;
        let read = self.segment.read(pid, &mut copies);
        if read.and_then(|()| copies.readers(pid)).is_ok_and(|(reader, _)| reader.globals().ended != 0) {
            self.entry.remove(self.segment.id.inode);
        }
    }
}

/// The parent of a process that `/proc` does not know any more.
fn parent_of_the_dead(segment: &Segment) -> Option<u32> {
    let mut copies = Copies::default();
    segment.read(0, &mut copies).ok()?;
    let (reader, _) = copies.readers(0).ok()?;
    Some(reader.identity().parent).filter(|&parent| parent != 0)
}

fn last_state(pid: u32, member: &Member) -> Option<Process> {
    let orphaned = member.segment.is_orphaned();
    let mut copies = Copies::default();
    member.segment.read(pid, &mut copies).ok()?;
    let (reader, floor) = copies.readers(pid).ok()?;
    let mut about = member.about.clone().unwrap_or_else(|| attached::about_from_segment(&reader, pid));
    about.state = match orphaned {
        false => State::Live,
        true if reader.globals().ended != 0 => State::Exited,
        true if member.replaced_by.is_none() => State::Crashed,
        true if Proc::find(pid).is_some() => State::Replaced,
        true => State::Exited,
    };
    about.replaced_by = member.replaced_by.clone().filter(|_| orphaned);
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
