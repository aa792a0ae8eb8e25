//! One process whose segment is mapped.

mod opening;

pub(crate) use opening::Found;

use super::Context;
use super::about;
use super::cgroup::Cgroup;
use super::proc::{self, Proc};
use super::residency::Residency;
use super::segment::{ObjectId, Segment, id_of};
use crate::error::Error;
use crate::model::derive::{self, About, Detail, Look};
use crate::model::following::Following;
use crate::model::rates::Sample;
use crate::model::{ClassHistory, Identity, Process, State, Time};
use shm_layout::reader::{Identity as Header, Reader};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

/// One process whose segment is mapped. The mapping, and with it the last state, outlives the process.
pub(crate) struct Attached {
    segment: Segment,
    /// The segment's name.
    pub(crate) name: String,
    here: bool,
    /// Whether its process is of another PID namespace.
    elsewhere: bool,
    life: Option<Life>,
    /// When it was made, in nanoseconds of the time of day.
    made: u64,
    proc: Option<Proc>,
    about: About,
    residency: Residency,
    cgroup: Cgroup,
    tasks: Tasks,
    earlier: VecDeque<Sample>,
    following: Following,
    /// The newest minute in the history, and the classes' minutes up to it.
    classes: Option<(Option<u64>, ClassHistory)>,
    /// The last look that found it alive.
    seen_alive: Option<Time>,
    /// When its segment was found to be nobody's: what is read since is final.
    orphaned: Option<Instant>,
    /// The program that its process runs since then.
    became: Option<String>,
    /// What has become of it, once that is clear.
    past: Option<State>,
}

/// What the segments of one process have in common, whatever programs it has been: its PID namespace, its PID in there,
/// and its start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Life(u64, u32, u64);

impl Life {
    /// `None` where neither the segment nor its process, if that is known, tells.
    fn of(identity: &Header<'_>, proc: Option<&Proc>) -> Option<Self> {
        let start = Some(identity.start_ticks).filter(|&ticks| ticks != 0).or(proc.map(|proc| proc.start_ticks))?;
        let is_known = identity.pid_namespace != 0 || proc.is_some();
        is_known.then_some(Self(identity.pid_namespace, identity.pid, start))
    }
}

impl Attached {
    /// What tells its process from all others.
    pub(crate) fn identity(&self) -> Identity {
        self.about.id
    }

    /// PID as this monitor sees it.
    pub(crate) fn pid(&self) -> u32 {
        self.about.pid
    }

    /// Its object.
    pub(crate) fn id(&self) -> ObjectId {
        self.segment.id
    }

    /// Short name of the program that made it.
    pub(crate) fn program(&self) -> &str {
        &self.about.name
    }

    /// Whether it still has its name, in our own `/dev/shm`.
    pub(crate) fn is_named(&self) -> bool {
        self.here && id_of(&self.name) == Some(self.id())
    }

    /// Whether its process is of another PID namespace.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// What its segment has in common with others of its process.
    pub(crate) fn life(&self) -> Option<Life> {
        self.life
    }

    /// Whether its process had ended, or become another program, when that was last asked.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.orphaned.is_some()
    }

    /// Asks whether that is so. What has published by then instead can be found after that.
    pub(crate) fn notice_end(&mut self) -> bool {
        self.orphaned = self.orphaned.or_else(|| self.segment.is_orphaned().then(Instant::now));
        self.is_orphaned()
    }

    /// Whether this segment, of the same process, is of a later program than the other. Another user may have planted one
    /// that only says so.
    pub(crate) fn follows(&self, other: &Self) -> bool {
        let is_trusted = self.proc.is_some() && other.proc.is_some() || self.segment.owner == other.segment.owner;
        is_trusted && (!self.is_orphaned(), self.made) > (!other.is_orphaned(), other.made)
    }

    /// Whether its heap was gone when it was last looked at.
    pub(crate) fn is_past(&self) -> bool {
        self.past.is_some()
    }

    /// Whether its process had ended when it was last looked at.
    pub(crate) fn is_dead(&self) -> bool {
        self.past.is_some_and(State::is_dead)
    }

    /// Takes over what is known of the same process before it replaced its program.
    pub(crate) fn continues(&mut self, before: Self) {
        self.about.id = before.about.id;
        if !before.is_known() {
            return;
        }
        self.seen_alive = before.seen_alive;
        let known = before.following;
        let name = self.proc.as_ref().and_then(Proc::present).map_or(self.about.name.clone(), |present| present.name);
        self.following = Following::after_exec(known, &before.about.name, &name, Time::now());
    }

    /// Whether it has been looked at.
    fn is_known(&self) -> bool {
        self.seen_alive.is_some() || self.past.is_some()
    }

    /// Reads the process's present state; the last one where it has ended, however often asked. What has become of it since
    /// [`Self::notice_end`] is left for the next time: it may have published something else.
    pub(crate) fn refresh(&mut self, context: &mut Context, detail: Detail) -> Result<Process, Error> {
        let pid = self.pid();
        self.segment.read(pid, &mut context.copies)?;
        if detail == Detail::Full {
            self.read_classes(context)?;
        }
        let (reader, floor) = context.copies.readers(pid)?;
        let now = Time::now();
        if let Some(since) = self.orphaned.filter(|_| !self.is_dead()) {
            self.past = self.fate(reader.globals().ended != 0, since);
        }
        self.about.state = self.past.unwrap_or(State::Live);
        if self.orphaned.is_none() {
            self.seen_alive = Some(now);
        }
        if let (Some(proc), None) = (&mut self.proc, self.past)
            && let Some(present) = if detail == Detail::Full { proc.present() } else { proc.present_in_short() }
            // It may have become another program meanwhile, and that was said of the other one.
            && !self.segment.is_orphaned()
        {
            let (ranges, published) = (heap_ranges(&reader), self.segment.bytes());
            let resident = self.residency.of(proc, &ranges, published, present.memory.rss, context.among);
            about::update(&mut self.about, proc, present, resident);
            if detail == Detail::Full {
                self.about.cgroup = self.cgroup.of(proc);
                self.tasks.update(proc);
                self.about.children.clone_from(&self.tasks.children);
            }
            self.about.unread = about::unread(&self.about, proc);
        } else if let (Some(proc), None) = (&self.proc, self.orphaned)
            && proc::is_gone(proc.pid)
        {
            // A child that was forked past libc has inherited the lock.
            self.orphaned = Some(Instant::now());
        }
        let earlier = self.earlier.make_contiguous();
        let class_history = self.classes.as_ref().map(|(_, classes)| classes).filter(|_| detail == Detail::Full);
        let seen_alive = self.seen_alive;
        let look = Look { now, seen_alive, thread_names: &self.tasks.names, earlier, detail, class_history };
        let mut process = derive::with_segment(&reader, &floor, self.about.clone(), &look);
        self.remember(&process, now);
        self.following.take(&mut process, now, detail);
        if detail == Detail::Line {
            shorten(&mut process);
        }
        Ok(process)
    }

    /// What has become of the process, now that its segment is nobody's; `None` as long as that is not clear.
    fn fate(&mut self, orderly: bool, since: Instant) -> Option<State> {
        // From its exec until it publishes, a program with the library looks like one without.
        const UNTIL_PUBLISHED: Duration = Duration::from_millis(500);
        // The process has memory, but not this segment's: it has become another program.
        let running = self.proc.as_ref().and_then(Proc::running).filter(|_| !orderly);
        let lives = running.is_some();
        self.became = running.or(self.became.take());
        if lives && self.seen_alive.is_some() && self.past.is_none() && since.elapsed() < UNTIL_PUBLISHED {
            return None;
        }
        self.about.replaced_by.clone_from(&self.became);
        Some(match self.became {
            Some(_) if lives => State::Replaced,
            None if !orderly => State::Crashed,
            _ => State::Exited,
        })
    }

    /// Reads the minutes of the classes where another minute has begun: they are many bytes.
    fn read_classes(&mut self, context: &mut Context) -> Result<(), Error> {
        let pid = self.pid();
        let (reader, _) = context.copies.readers(pid)?;
        let minute = derive::newest_minute(&reader);
        if self.classes.as_ref().is_none_or(|(known, _)| *known != minute) {
            self.segment.read_class_ring(pid, &mut context.copies)?;
            let (reader, _) = context.copies.readers(pid)?;
            self.classes = Some((minute, derive::class_history(&reader)));
        }
        Ok(())
    }

    fn remember(&mut self, process: &Process, now: Time) {
        const LONGEST_SECONDS: f64 = 15.0;
        const MOST: usize = 64;
        self.earlier.extend(derive::sample(process, now));
        while self.earlier.len() > MOST
            || self.earlier.front().is_some_and(|sample| now.seconds_since(sample.time) > LONGEST_SECONDS)
        {
            self.earlier.pop_front();
        }
    }
}

/// Leaves what one line among many shows.
fn shorten(process: &mut Process) {
    (process.history, process.size_classes, process.large) = (None, None, None);
    process.log = Vec::new();
    if let Some(threads) = &mut process.threads {
        (threads.rows, threads.gone) = (Vec::new(), Vec::new());
    }
}

/// Whether a segment is of another PID namespace.
pub(crate) fn is_elsewhere(identity: &Header<'_>) -> bool {
    identity.pid_namespace != 0 && Some(identity.pid_namespace) != proc::own_pid_namespace()
}

fn heap_ranges(reader: &Reader<'_>) -> [Range<u64>; 2] {
    let identity = reader.identity();
    let range = |start: u64, bytes: u64| start..start.saturating_add(bytes);
    [range(identity.window_address, identity.window_bytes), range(identity.tables_address, identity.tables_bytes)]
}

/// Names of threads, and the children they have, read now and then.
#[derive(Default)]
struct Tasks {
    names: BTreeMap<u32, String>,
    children: Vec<u32>,
    due: Option<Instant>,
}

impl Tasks {
    fn update(&mut self, proc: &Proc) {
        const EVERY: Duration = Duration::from_secs(2);
        const MOST: usize = 256;
        // In another namespace the segment has other thread IDs than we see.
        if proc.pid == proc.namespace_pid && self.due.is_none_or(|due| Instant::now() >= due) {
            (self.names, self.children) = proc.tasks(MOST);
            self.due = Some(Instant::now() + EVERY);
        }
    }
}
