//! What `/proc` says about a process.

use crate::model::derive::Memory;
use crate::model::time::NANOS;
use crate::model::{Identity, Time};
use procfs::process::{Process, Stat, Status};
use procfs::{FromBufRead, ProcError, ProcResult};
use rustix::time::{ClockId, clock_gettime};
use shm_layout::name::{DIRECTORY, SegmentName};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// File name of the library, as it appears among a process's mappings.
pub(crate) const LIBRARY: &str = "libstatsalloc.so";

/// A process that was alive when it was found. Its directory is held open, so a reused PID is never mistaken for it.
pub(crate) struct Proc {
    process: Process,
    /// PID as this monitor sees it.
    pub(crate) pid: u32,
    /// Its start in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// When it started.
    pub(crate) start_time: Time,
    /// Its PID in its own PID namespace.
    pub(crate) namespace_pid: u32,
    /// What it was when it was last asked in full, and when to ask again.
    known: Option<(Present, Instant)>,
}

/// What a process's mappings say about the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Library {
    /// It is not there.
    Absent,
    /// It is.
    Loaded,
    /// It is, and the segment that it made has lost its name since.
    Nameless,
}

/// What may change while it runs: its program too.
#[derive(Clone)]
pub(crate) struct Present {
    pub(crate) ppid: u32,
    pub(crate) uid: u32,
    /// Whether a signal or a debugger has stopped it.
    pub(crate) stopped: bool,
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) executable: Option<String>,
    pub(crate) memory: Memory,
}

impl Proc {
    /// The process with this PID, if there is one that has not ended.
    pub(crate) fn find(pid: u32) -> Option<Self> {
        let process = Process::new(i32::try_from(pid).ok()?).ok()?;
        let stat = process.stat().ok().filter(|stat| !has_ended(stat))?;
        let namespace_pid = status(&process)?.nspid.and_then(|pids| pids.last().copied()).unwrap_or(stat.pid);
        Some(Self {
            process,
            pid,
            start_ticks: stat.starttime,
            start_time: start_time(stat.starttime),
            namespace_pid: u32::try_from(namespace_pid).ok()?,
            known: None,
        })
    }

    /// What tells it from all others.
    pub(crate) fn identity(&self) -> Identity {
        Identity::Process { pid: self.pid, start_ticks: self.start_ticks }
    }

    /// What it is at present; `None` once it has ended.
    pub(crate) fn present(&self) -> Option<Present> {
        let stat = self.process.stat().ok().filter(|stat| !has_ended(stat))?;
        let status = status(&self.process)?;
        let kib = |figure: Option<u64>| figure.map(|kib| kib.saturating_mul(1024));
        let resident_pages = self.process.statm().ok().map(|statm| statm.resident);
        Some(Present {
            ppid: u32::try_from(stat.ppid).unwrap_or(0),
            uid: status.euid,
            stopped: is_stopped(&stat),
            command: self.command().unwrap_or_else(|| stat.comm.clone()),
            name: stat.comm,
            executable: self.process.exe().ok().map(|path| path.to_string_lossy().into_owned()),
            memory: Memory {
                rss: resident_pages.map(|pages| pages.saturating_mul(rustix::param::page_size() as u64)),
                rss_files: kib(status.rssfile).zip(kib(status.rssshmem)).map(|(files, shared)| files + shared),
                peak_rss: kib(status.vmhwm),
                swap: kib(status.vmswap),
                resident: None,
            },
        })
    }

    /// As [`Self::present`], at a fifth of the cost: RSS, name and whether it is stopped are new, the rest is a few seconds old.
    pub(crate) fn present_in_short(&mut self) -> Option<Present> {
        const EVERY: Duration = Duration::from_secs(10);
        let stat = self.process.stat().ok().filter(|stat| !has_ended(stat))?;
        let known = self.known.take().filter(|(known, due)| known.name == stat.comm && Instant::now() < *due);
        let (mut present, due) = match known {
            Some(known) => known,
            None => (self.present()?, Instant::now() + EVERY),
        };
        present.stopped = is_stopped(&stat);
        present.memory.rss = Some(stat.rss.saturating_mul(rustix::param::page_size() as u64));
        self.known = Some((present.clone(), due));
        Some(present)
    }

    /// Its name, as long as it has memory: one that is ending has none any more.
    pub(crate) fn running(&self) -> Option<String> {
        let status = status(&self.process)?;
        status.vmhwm.map(|_| status.name)
    }

    /// The user IDs it has or may take back, if it still runs.
    pub(crate) fn users(&self) -> Option<[u32; 3]> {
        status(&self.process).map(|status| [status.ruid, status.euid, status.suid])
    }

    /// Its arguments with blanks between; `None` where it has none.
    fn command(&self) -> Option<String> {
        const LONGEST: u64 = 64 << 10;
        let mut bytes = Vec::new();
        self.process.open_relative("cmdline").ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        let end = bytes.iter().rposition(|&byte| byte != 0)? + 1;
        bytes[..end].iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
        Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
    }

    /// Inode of its PID namespace, if it may be known.
    pub(crate) fn pid_namespace(&self) -> Option<u64> {
        std::fs::metadata(format!("/proc/{}/ns/pid", self.pid)).ok().map(|about| about.ino())
    }

    /// Whether it counts time since boot otherwise than we do: it is in a time namespace of its own.
    pub(crate) fn has_other_time(&self) -> bool {
        let inode = |pid: &str| std::fs::metadata(format!("/proc/{pid}/ns/time")).ok().map(|about| about.ino());
        matches!((inode(&self.pid.to_string()), inode("self")), (Some(its), Some(ours)) if its != ours)
    }

    /// Names of its threads, by their IDs here, and the processes they have started. `limit` threads at most: reading
    /// one takes about 20 microseconds.
    pub(crate) fn tasks(&self, limit: usize) -> (BTreeMap<u32, String>, Vec<u32>) {
        let (mut names, mut children) = (BTreeMap::new(), Vec::new());
        let Ok(tasks) = self.process.tasks() else { return (names, children) };
        let read = |tid: i32, what: &str, most: u64| {
            let mut bytes = Vec::new();
            let file = self.process.open_relative(format!("task/{tid}/{what}")).ok()?;
            file.take(most).read_to_end(&mut bytes).ok()?;
            Some(String::from_utf8_lossy(bytes.trim_ascii_end()).into_owned())
        };
        for task in tasks.flatten().take(limit) {
            if let (Ok(tid), Some(name)) = (u32::try_from(task.tid), read(task.tid, "comm", 64)) {
                names.insert(tid, name);
            }
            // Not every kernel tells.
            let list = read(task.tid, "children", 4096).unwrap_or_default();
            children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        (names, children)
    }

    /// The paths of its control group: in the unified hierarchy, and in that of the memory controller.
    pub(crate) fn cgroups(&self) -> (Option<String>, Option<String>) {
        let Ok(groups) = self.process.cgroups() else { return (None, None) };
        let path = |wanted: &dyn Fn(&procfs::ProcessCGroup) -> bool| {
            groups.0.iter().find(|group| wanted(group)).map(|group| group.pathname.clone())
        };
        let unified = path(&|group| group.hierarchy == 0);
        (unified, path(&|group| group.controllers.iter().any(|controller| controller == "memory")))
    }

    /// What its mappings say about the library; `None` where that may not be known.
    pub(crate) fn library(&self) -> Option<Library> {
        let maps = match self.process.open_relative("maps") {
            Err(ProcError::PermissionDenied(_)) => return None,
            opened => opened.ok()?,
        };
        let mut maps = BufReader::with_capacity(64 << 10, maps);
        let mut line = Vec::new();
        let (mut loaded, mut removed) = (false, false);
        while maps.read_until(b'\n', &mut line).ok()? > 0 {
            let mapped = line.trim_ascii_end();
            let path = mapped.strip_suffix(b" (deleted)").unwrap_or(mapped);
            loaded |= path.ends_with(LIBRARY.as_bytes());
            let name = path.iter().rposition(|&byte| byte == b'/').map(|slash| path.split_at(slash + 1));
            let is_segment = name.is_some_and(|(folder, name)| {
                folder.ends_with(DIRECTORY.as_bytes()) && SegmentName::parse(name).is_some()
            });
            removed |= is_segment && path.len() < mapped.len();
            line.clear();
        }
        Some(match (loaded, removed) {
            (false, _) => Library::Absent,
            (true, false) => Library::Loaded,
            (true, true) => Library::Nameless,
        })
    }

    /// Its page tables.
    pub(crate) fn pagemap(&self) -> ProcResult<File> {
        self.process.open_relative("pagemap")
    }

    /// Its mappings with the memory behind them, as text.
    pub(crate) fn smaps(&self) -> ProcResult<impl BufRead + use<>> {
        Ok(BufReader::with_capacity(64 << 10, self.process.open_relative("smaps")?))
    }
}

/// Whose child a process is, and when it started.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) parent: u32,
    /// In clock ticks since boot.
    pub(crate) start_ticks: u64,
}

/// The origin of a process, a zombie included.
pub(crate) fn origin(pid: u32) -> Option<Origin> {
    let stat = stat(pid)?;
    Some(Origin { parent: u32::try_from(stat.ppid).ok()?, start_ticks: stat.starttime })
}

/// Identity of a process, a zombie included.
pub(crate) fn identity(pid: u32) -> Option<Identity> {
    origin(pid).map(|origin| Identity::Process { pid, start_ticks: origin.start_ticks })
}

fn stat(pid: u32) -> Option<Stat> {
    Process::new(i32::try_from(pid).ok()?).ok()?.stat().ok()
}

/// Whether no process here has this PID, or one that has ended; false where that may not be known.
pub(crate) fn is_gone(pid: u32) -> bool {
    match i32::try_from(pid).map(Process::new) {
        Ok(Ok(process)) => process.stat().is_ok_and(|stat| has_ended(&stat)),
        Ok(Err(ProcError::NotFound(_))) => stat(std::process::id()).is_some(),
        _ => false,
    }
}

/// All PIDs here.
pub(crate) fn all_pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Inodes of the PID namespaces that a process is in, and its children will be in; unknown where that may not be known.
pub(crate) fn pid_namespaces(pid: u32) -> [Option<u64>; 2] {
    ["pid", "pid_for_children"].map(|which| {
        // One that has no process yet has no inode to show.
        std::fs::metadata(format!("/proc/{pid}/ns/{which}")).ok().map(|about| about.ino())
    })
}

/// Inode of our own PID namespace.
pub(crate) fn own_pid_namespace() -> Option<u64> {
    std::fs::metadata("/proc/self/ns/pid").ok().map(|about| about.ino())
}

/// The time of day at `ticks` after boot.
pub(crate) fn start_time(ticks: u64) -> Time {
    let uptime = clock_gettime(ClockId::Boottime);
    let uptime = (uptime.tv_sec as u64).saturating_mul(NANOS).saturating_add(uptime.tv_nsec as u64);
    let booted = Time::now().0.saturating_sub(uptime);
    let nanoseconds_per_tick = NANOS / rustix::param::clock_ticks_per_second().max(1);
    Time(booted.saturating_add(ticks.saturating_mul(nanoseconds_per_tick)))
}

/// What the kernel says of it line by line. The first line is its name, which any bytes may be in, if only since the kernel
/// cuts it after the fifteenth.
fn status(process: &Process) -> Option<Status> {
    let mut bytes = Vec::new();
    process.open_relative("status").ok()?.read_to_end(&mut bytes).ok()?;
    Status::from_buf_read(String::from_utf8_lossy(&bytes).as_bytes()).ok()
}

fn is_stopped(stat: &Stat) -> bool {
    matches!(stat.state, 'T' | 't')
}

/// A process whose first thread has ended looks like a zombie, but lives on in the others.
fn has_ended(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x') && stat.num_threads <= 1
}
