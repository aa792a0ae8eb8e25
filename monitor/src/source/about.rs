//! What is known of a process beside its figures: by `/proc`, or by its segment alone.

use super::proc::{self, Present, Proc};
use crate::model::derive::{self, About, Memory};
use crate::model::{Identity, Process, State, Time};
use shm_layout::reader::Reader;

/// A process that shows nothing of its heap.
pub(super) fn closed(proc: &Proc, present: Present, state: State) -> Process {
    derive::without_segment(of_present(proc, present, state), Time::now())
}

/// What `/proc` says about a process; `None` once it has ended.
pub(super) fn of_process(proc: &Proc, state: State) -> Option<About> {
    Some(of_present(proc, proc.present()?, state))
}

fn of_present(proc: &Proc, present: Present, state: State) -> About {
    let mut about = About {
        id: proc.identity(),
        pid: proc.pid,
        ppid: None,
        uid: None,
        namespace_pid: Some(proc.namespace_pid),
        state,
        stopped: None,
        name: String::new(),
        command: String::new(),
        executable: None,
        start_time: Some(proc.start_time),
        memory: Memory::default(),
        replaced_by: None,
        cgroup: None,
        children: Vec::new(),
        unread: Vec::new(),
    };
    update(&mut about, proc, present, None);
    about
}

/// Takes over what is new of a living process.
pub(super) fn update(about: &mut About, proc: &Proc, present: Present, resident: Option<(u64, f64)>) {
    about.ppid = Some(present.ppid);
    about.uid = Some(present.uid);
    about.stopped = Some(present.stopped);
    about.name = present.name;
    about.command = present.command;
    about.executable = present.executable.or(about.executable.take());
    about.start_time = Some(proc.start_time);
    about.memory = Memory { resident, ..present.memory };
}

/// What the segment alone says: all there is to know about the dead.
pub(super) fn of_segment(reader: &Reader<'_>, (id, pid): (Identity, u32)) -> About {
    let identity = reader.identity();
    let executable = String::from_utf8_lossy(identity.executable).into_owned();
    let basename = || executable.rsplit('/').next().unwrap_or_default().to_owned();
    let name = derive::main_threads_name(reader).unwrap_or_else(basename);
    let started = match identity.start_ticks {
        0 => Time(identity.created_realtime_ns),
        ticks => proc::start_time(ticks),
    };
    About {
        id,
        pid,
        ppid: Some(identity.parent).filter(|&parent| parent != 0),
        uid: Some(identity.uid),
        namespace_pid: Some(identity.pid),
        state: State::Live,
        stopped: None,
        command: if executable.is_empty() { "?".into() } else { executable.clone() },
        name: if name.is_empty() { "?".into() } else { name },
        executable: Some(executable).filter(|path| !path.is_empty()),
        replaced_by: None,
        cgroup: None,
        children: Vec::new(),
        unread: Vec::new(),
        start_time: Some(started),
        memory: Memory::default(),
    }
}

/// What could not be read of a living process, and why.
pub(super) fn unread(about: &About, proc: &Proc) -> Vec<String> {
    let mut unread = Vec::new();
    if about.memory.resident.is_none() {
        unread.push(format!("the heap's resident memory: /proc/{}/pagemap and smaps may not be read", proc.pid));
    }
    if proc.pid != proc.namespace_pid {
        unread.push("present names of threads: they have other IDs in the process's PID namespace".to_owned());
    }
    unread
}
