//! Commands with a deadline, and the handshake with a test program.
//!
//! A test program writes one line when it has come to a point of interest and waits for one byte to go on
//! (`programs/handshake.h`), so that neither waits for a time.

use crate::artefacts::library;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything may take unless it says otherwise: only a hang should ever reach it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// What the tests do with a [`Command`].
pub trait Run {
    /// Runs it with our library instead of the C library's allocator.
    fn preload(&mut self) -> &mut Self;
    /// Starts it, with pipes at all three ends.
    fn begin(&mut self) -> Running;
    /// As `begin`, killed after `deadline`.
    fn begin_within(&mut self, deadline: Duration) -> Running;
    /// Runs it to its end, with `/dev/null` as its input.
    fn finish(&mut self) -> Finished;
    /// As `finish`, killed after `deadline`.
    fn finish_within(&mut self, deadline: Duration) -> Finished;
}

impl Run for Command {
    fn preload(&mut self) -> &mut Self {
        self.env("LD_PRELOAD", library())
    }

    fn begin(&mut self) -> Running {
        self.begin_within(DEADLINE)
    }

    fn begin_within(&mut self, deadline: Duration) -> Running {
        self.stdin(Stdio::piped());
        Running::start(self, deadline)
    }

    fn finish(&mut self) -> Finished {
        self.finish_within(DEADLINE)
    }

    fn finish_within(&mut self, deadline: Duration) -> Finished {
        self.stdin(Stdio::null());
        Running::start(self, deadline).finish()
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Finished {
    /// The exit code; panics if a signal ended the program.
    #[track_caller]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| panic!("{}: {}", self.status, self.err()))
    }

    /// The signal that ended it, if one did.
    pub fn signal(&self) -> Option<i32> {
        self.status.signal()
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Itself, if it ended with 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "{}\nstdout: {}\nstderr: {}", self.status, self.out(), self.err());
        self
    }
}

/// A running program; killed, with its process group, when dropped or late.
pub struct Running {
    child: Child,
    name: String,
    input: Option<ChildStdin>,
    output: Option<ChildStdout>,
    errors: Arc<Mutex<Vec<u8>>>,
    errors_end: Option<JoinHandle<()>>,
    /// Dropping it calls the watchdog off.
    watchdog: Option<Sender<()>>,
    late: Arc<AtomicBool>,
    reaped: bool,
}

impl Running {
    fn start(command: &mut Command, deadline: Duration) -> Self {
        for (name, _) in std::env::vars_os() {
            // The surroundings' options are not the test's.
            if name.to_string_lossy().starts_with("STATSALLOC_") && !command.get_envs().any(|(set, _)| set == name) {
                command.env_remove(name);
            }
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        if !command.get_envs().any(|(name, _)| name == "LC_ALL") {
            command.env("LC_ALL", "C.UTF-8");
        }
        // What `nohup` has the tests ignore, programs would ignore, too.
        // SAFETY: one call, which is allowed between fork and exec.
        unsafe {
            command.pre_exec(|| match libc::signal(libc::SIGHUP, libc::SIG_DFL) {
                libc::SIG_ERR => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let errors = Arc::new(Mutex::new(Vec::new()));
        let errors_end = drain(child.stderr.take().expect("stderr is a pipe"), Arc::clone(&errors));
        let (watchdog, called_off) = channel();
        let late = Arc::new(AtomicBool::new(false));
        watch(child.id(), deadline, called_off, Arc::clone(&late));
        Self {
            input: child.stdin.take(),
            output: child.stdout.take(),
            child,
            name,
            errors,
            errors_end: Some(errors_end),
            watchdog: Some(watchdog),
            late,
            reaped: false,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the program's next line, without its newline.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.next_line().unwrap_or_else(|| {
            let end = self.child.wait();
            self.reaped = true;
            self.join_errors();
            panic!("{} ended early: {end:?}{}\nstderr: {}", self.name, self.lateness(), self.errors())
        })
    }

    /// The next line, or nothing at the end of the output.
    pub fn next_line(&mut self) -> Option<String> {
        let output = self.output.as_mut().expect("the output is still read");
        let mut line = Vec::new();
        let mut byte = [0];
        loop {
            match output.read(&mut byte) {
                Ok(1) if byte[0] == b'\n' => break,
                Ok(1) => line.push(byte[0]),
                _ if line.is_empty() => return None,
                _ => break,
            }
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    /// Lets a test program go on.
    #[track_caller]
    pub fn go(&mut self) {
        self.send(b"g");
    }

    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.try_send(bytes) {
            panic!("{} takes no more input: {error}{}\nstderr: {}", self.name, self.lateness(), self.errors());
        }
    }

    /// Sends to a program that may have ended meanwhile.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let input = self.input.as_mut().expect("the input is still open");
        input.write_all(bytes).and_then(|()| input.flush())
    }

    /// What it has written to stderr so far.
    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner())).into_owned()
    }

    /// Ends its input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        assert!(!self.reaped, "{} has ended", self.name);
        // SAFETY: no pointers; the PID is our child's and not reaped, so it cannot be anyone else's.
        unsafe { libc::kill(self.child.id().cast_signed(), signal) };
    }

    /// Waits until it is stopped by a signal.
    pub fn wait_stopped(&self) {
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let stopped = unsafe { libc::waitpid(self.child.id().cast_signed(), &raw mut status, libc::WUNTRACED) };
        assert!(stopped > 0 && libc::WIFSTOPPED(status), "{} did not stop: {status:#x}", self.name);
    }

    /// Closes its input, reads what it still writes and waits for its end.
    #[track_caller]
    pub fn finish(self) -> Finished {
        let name = self.name.clone();
        let (finished, late) = self.end();
        assert!(!late, "{name} hung and was killed: {finished:?}");
        finished
    }

    /// As `finish`; also whether it hung and had to be killed.
    pub fn end(mut self) -> (Finished, bool) {
        self.input = None;
        let mut stdout = Vec::new();
        if let Some(mut output) = self.output.take() {
            // A pipe of ours does not fail; an interrupted read is retried inside.
            let _ = output.read_to_end(&mut stdout);
        }
        self.join_errors();
        let status = self.child.wait().expect("waiting for a child");
        self.reaped = true;
        let stderr = std::mem::take(&mut *self.errors.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        (Finished { status, stdout, stderr }, self.late.load(Ordering::Relaxed))
    }

    fn join_errors(&mut self) {
        if let Some(end) = self.errors_end.take() {
            // The thread only reads; it cannot panic.
            let _ = end.join();
        }
    }

    fn lateness(&self) -> &'static str {
        if self.late.load(Ordering::Relaxed) { " (killed at its deadline)" } else { "" }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watchdog = None;
        if !self.reaped {
            kill_group(self.child.id());
            // Reaping our own child; it was just killed.
            let _ = self.child.wait();
        }
    }
}

fn drain(mut pipe: impl Read + Send + 'static, into: Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            into.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).extend_from_slice(&buffer[..count]);
        }
    })
}

fn watch(pid: u32, deadline: Duration, called_off: Receiver<()>, late: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        if called_off.recv_timeout(deadline) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            late.store(true, Ordering::Relaxed);
            kill_group(pid);
        }
    });
}

/// Kills the group that `pid`, a child of ours, leads.
fn kill_group(pid: u32) {
    // SAFETY: no pointers. Every child leads a group of its own, see `start`.
    unsafe { libc::kill(-pid.cast_signed(), libc::SIGKILL) };
}
