//! `run --watch`: the program in the background, the screen in front.

use super::program::Program;
use super::{exit_code, failure};
use crate::cli::TerminalArgs;
use crate::error::Error;
use crate::model::Identity;
use crate::source::follow::{Follower, KEEP, Task};
use crate::source::identity_of;
use crate::view::tui;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A program that runs while the screen is open on it; its output goes to a log file.
pub(crate) struct Watched {
    child: Child,
    /// What tells it from all others, also once it has ended.
    pub(crate) id: Identity,
    /// Removes the segments that are kept on its account.
    follower: Option<Follower>,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// What was started.
    pub(crate) command: String,
}

impl Watched {
    /// Its PID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, once it has ended. Does not wait.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().map_err(|cause| Error::io("waiting for the program", cause))
    }

    /// Asks it to end (SIGTERM to its process group), waits until it has, and insists (SIGKILL) after five seconds.
    /// Returns the exit code to end with.
    pub(crate) fn end(mut self) -> Result<u8, Error> {
        const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };
        let waiting = |cause: std::io::Error| Error::io("waiting for the program", cause);
        if self.ended()?.is_none() {
            let group = Pid::from_child(&self.child);
            let handle = pidfd_open(group, PidfdFlags::empty());
            // It may end on its own at any time: a signal that finds nobody is no error.
            let _ = kill_process_group(group, Signal::TERM);
            let gone = handle.is_ok_and(|handle| {
                poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&PATIENCE)).is_ok_and(|ready| ready > 0)
            });
            if !gone {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
        Ok(exit_code(self.child.wait().map_err(waiting)?))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.follower.take().map(Follower::finish);
    }
}

/// Starts the program and shows the screen on it. Returns the exit code.
pub(crate) fn run(
    mut command: Command,
    program: &Program,
    interval: Duration,
    terminal: TerminalArgs,
) -> Result<u8, Error> {
    if !tui::is_possible() {
        return Err(failure("--watch needs a terminal for its screen; elsewhere use --report"));
    }
    let (log, path) = create_log(&program.name())?;
    let errors = log.try_clone().map_err(|cause| Error::io("duplicating the log file", cause))?;
    // A group of its own: what the user types is for the screen, and leaving it lets the program run on.
    command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
    // However short its life, its last state is shown. It is not kept where nobody could clear it away, and not cleared
    // away where the user wants it kept.
    let wanted = std::env::var_os(KEEP.0).is_some_and(|value| value == KEEP.1);
    let follower = if wanted { None } else { Follower::start(std::process::id(), Task::TidyUp).ok() };
    if follower.is_some() {
        command.env(KEEP.0, KEEP.1);
    }
    let child = command.spawn().map_err(|cause| program.cannot_start(&cause))?;
    let id = identity_of(child.id());
    let watched = Watched { child, id, follower, log: path.clone(), command: program.line() };
    let code = tui::watch(watched, interval, terminal);
    eprintln!("statsmon: the output of {} is in {}", program.name(), path.display());
    code
}

/// A new file that only this user may read.
fn create_log(name: &str) -> Result<(File, PathBuf), Error> {
    let directory = std::env::temp_dir();
    for number in 0..1000 {
        let path = directory.join(format!("statsmon-{name}-{}.{number}.log", std::process::id()));
        match OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => return Ok((file, path)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failure(format!("creating {}: {error}", path.display()))),
        }
    }
    Err(failure(format!("no free name for a log file in {}", directory.display())))
}
