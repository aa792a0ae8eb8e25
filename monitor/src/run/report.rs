//! `run --report`: stays the program's parent and prints its final statistics.

use super::program::Program;
use super::signals::Caught;
use super::{FAILED, failure};
use crate::error::Error;
use crate::source::cgroup::OomKills;
use crate::source::follow::{Follower, KEEP, Task};
use crate::source::raise_descriptor_limit;
use crate::view::report::{self, Ending, OutOfMemory};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process, pidfd_open, waitpid};
use signal_hook::low_level::signal_name;
use std::io::{self, BufWriter, Write};
use std::process::Command;
use std::time::Instant;

/// Starts the program, waits for its end and reports. Returns its exit code.
pub(crate) fn run(mut command: Command, program: &Program) -> Result<u8, Error> {
    let caught = Caught::start()?;
    // Where nothing is published, the program runs all the same.
    let follower =
        Follower::start(std::process::id(), Task::Report).inspect_err(|error| eprintln!("statsmon: {error}")).ok();
    command.env(KEEP.0, KEEP.1);
    let (started, kills) = (Instant::now(), OomKills::count());
    let mut child = command.spawn().map_err(|cause| program.cannot_start(&cause))?;
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|cause| {
        // It would run on without anybody who waits for it.
        let _ = child.kill().and_then(|()| child.wait());
        failure(format!("following the program: {cause}"))
    })?;
    caught.forward_to(handle);
    // The program has its own limit by now.
    raise_descriptor_limit();
    let status = wait(pid)?;
    let seconds = started.elapsed().as_secs_f64();
    let followed = follower.map(Follower::finish).unwrap_or_default();
    let ending = Ending {
        command: program.line(),
        how: describe(status),
        by_signal: status.signaled(),
        was_verbose: std::env::var_os("STATSALLOC_VERBOSE").is_some_and(|value| value == "1"),
        out_of_memory: out_of_memory(status, OomKills::count().since(kills)),
        seconds,
        pid: child.id(),
    };
    // The report says of the program itself whether it was read, and a process may have been missed and then read.
    let read = |pid: u32| pid == ending.pid || followed.processes.iter().any(|process| process.pid == pid);
    let missed = followed.missed.iter().filter(|&&pid| !read(pid)).count() as u64;
    let mut out = BufWriter::new(io::stderr().lock());
    // A report that nobody reads is no reason to change the program's status.
    let _ = report::write(&ending, &followed.processes, missed, &mut out).and_then(|()| out.flush());
    Ok(code(status))
}

/// Waits for the program's end. Stops with it, and goes on when it does, as the shell expects of a job.
fn wait(pid: Pid) -> Result<WaitStatus, Error> {
    loop {
        match waitpid(Some(pid), WaitOptions::UNTRACED) {
            Ok(Some((_, status))) if status.stopped() => {
                kill_process(getpid(), Signal::STOP).map_err(|cause| Error::io("stopping with the program", cause))?;
            }
            Ok(Some((_, status))) => return Ok(status),
            Ok(None) | Err(Errno::INTR) => {}
            Err(cause) => return Err(Error::io("waiting for the program", cause)),
        }
    }
}

fn code(status: WaitStatus) -> u8 {
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

/// Where the kernel has killed processes for want of memory that the program may have been one of.
fn out_of_memory(status: WaitStatus, (in_group, on_system): (u64, u64)) -> Option<OutOfMemory> {
    let was_killed = status.terminating_signal() == Some(Signal::KILL.as_raw());
    match (in_group, on_system) {
        (kills @ 1.., _) => Some(OutOfMemory::Group { kills, was_killed }),
        (_, kills @ 1..) if was_killed => Some(OutOfMemory::System { kills }),
        _ => None,
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => "ended".into(),
        (Some(code), _) => format!("ended with status {code}"),
        (_, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("was ended by signal {signal} ({name})"),
            None => format!("was ended by signal {signal}"),
        },
        _ => "ended".into(),
    }
}
