//! What can go wrong, what to do about it, and the exit code that says so.

use shm_layout::LAYOUT_VERSION;
use shm_layout::reader::ReadError;
use std::fmt;
use std::io::{self, Write};

/// An error with its advice.
#[derive(Debug)]
pub(crate) enum Error {
    /// The system refused something.
    Io { what: String, cause: io::Error },
    /// A segment holds nonsense.
    Unreadable { pid: u32, cause: ReadError },
    /// No process has this PID.
    NoSuchPid(u32),
    /// No preloaded process has this name.
    NoSuchName(String),
    /// What was asked for does not go together.
    Usage(&'static str),
    /// Several processes have this name; all of them are dead, or all alive. `ways` name one each: PIDs and segments.
    Ambiguous { name: String, ways: Vec<String>, dead: bool },
    /// Several processes of other PID namespaces had this PID there: their segments and programs.
    AmbiguousPid { pid: u32, segments: Vec<(String, String)> },
    /// The process is dead, and its segment has been removed.
    Removed,
    /// The process runs without the library.
    NotPreloaded { pid: u32, name: String },
    /// The library is in the process, but there is no segment, or none any more.
    Unpublished { pid: u32, removed: bool },
    /// The segment belongs to another user.
    NotPermitted { pid: u32 },
    /// The segment has another version.
    Version { pid: u32, found: u32 },
    /// The process has become a program without the library; its state before that was shown.
    Replaced { pid: u32, name: String },
    /// The process is dead; its last state was shown.
    Dead { pid: u32 },
    /// The program cannot be started with the library.
    CannotRun { exit_code: u8, message: String },
}

impl Error {
    /// Wraps a system error with what was tried.
    pub(crate) fn io(what: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Io { what: what.into(), cause: cause.into() }
    }

    /// An error of a segment's content.
    pub(crate) fn unreadable(pid: u32, cause: ReadError) -> Self {
        match cause {
            ReadError::Version { found } => Self::Version { pid, found },
            cause => Self::Unreadable { pid, cause },
        }
    }

    /// Whether this says no more than that a process has just come or gone.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::NoSuchPid(_) | Self::Unreadable { cause: ReadError::NotReady, .. })
    }

    /// The exit code: part of the command's contract.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Io { .. } | Self::Unreadable { .. } => 1,
            Self::Usage(_) | Self::Ambiguous { .. } | Self::AmbiguousPid { .. } => 2,
            Self::NoSuchPid(_) | Self::NoSuchName(_) | Self::Removed => 3,
            Self::NotPreloaded { .. } | Self::Unpublished { .. } | Self::Replaced { .. } => 4,
            Self::NotPermitted { .. } => 5,
            Self::Version { .. } => 6,
            Self::Dead { .. } => 7,
            Self::CannotRun { exit_code, .. } => *exit_code,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { what, cause } => write!(out, "{what}: {cause}"),
            Self::Usage(message) => out.write_str(message),
            Self::Unreadable { pid, cause } => {
                write!(
                    out,
                    "process {pid}: its statistics cannot be read: {cause}; if it runs and this lasts, restart it"
                )
            }
            Self::NoSuchPid(pid) => {
                write!(out, "no process {pid}; `statsmon --once` lists those that can be shown")
            }
            Self::NoSuchName(name) => {
                write!(
                    out,
                    "no preloaded process is called \"{}\"; `statsmon --once` lists those that can be shown",
                    name.escape_debug()
                )
            }
            Self::Ambiguous { name, ways, dead } => {
                let are_pids = ways.iter().all(|way| way.parse::<u32>().is_ok());
                write!(
                    out,
                    "several processes are called \"{}\"{}: name one by its {}: {}",
                    name.escape_debug(),
                    if *dead { ", all of them dead" } else { "" },
                    if are_pids { "PID" } else { "PID or segment" },
                    ways.join(", ")
                )
            }
            Self::AmbiguousPid { pid, segments } => {
                let segments =
                    segments.iter().map(|(segment, program)| format!("{segment} ({})", program.escape_debug()));
                let segments: Vec<String> = segments.collect();
                write!(
                    out,
                    "no process {pid} with the library is here, but several segments have this PID: name one: {}",
                    segments.join(", ")
                )
            }
            Self::Removed => out.write_str(
                "the process is dead, and its segment has been removed; `statsmon --once` lists what is left",
            ),
            Self::NotPreloaded { pid, name } => write!(
                out,
                "process {pid} ({}) runs without the library; start it with `statsmon run -- {}`",
                name.escape_debug(),
                name.escape_debug()
            ),
            Self::Unpublished { pid, removed: true } => write!(
                out,
                "process {pid} published its statistics, but its object in /dev/shm has been removed while it runs; only \
                 a restart of the program brings it back"
            ),
            Self::Unpublished { pid, removed: false } => write!(
                out,
                "process {pid} has the library but publishes nothing: it has an allocator of its own, it has not called \
                 this one since it was forked, /dev/shm was full or missing when it started, or STATSALLOC_PUBLISH=0 was \
                 set; STATSALLOC_VERBOSE=1 makes it say why"
            ),
            Self::NotPermitted { pid } => {
                write!(out, "process {pid} belongs to another user; run statsmon as that user or as root")
            }
            Self::Version { pid, found } => write!(
                out,
                "process {pid} publishes layout version {found}, this statsmon reads {LAYOUT_VERSION}; use the statsmon \
                 that came with the program's library, or restart the program"
            ),
            Self::Replaced { pid, name } => write!(
                out,
                "process {pid} has become a program without the library ({}); this was its state before",
                name.escape_debug()
            ),
            Self::Dead { pid } => write!(out, "process {pid} is dead; this was its last state"),
            Self::CannotRun { message, .. } => out.write_str(message),
        }
    }
}

impl std::error::Error for Error {}

/// Tells the user, on stderr.
pub(crate) fn report(error: &Error) {
    tell(&error.to_string());
}

/// As [`report`], what is no error by itself.
pub(crate) fn tell(message: &str) {
    // Where even that fails, the exit code still says it.
    let _ = writeln!(io::stderr(), "statsmon: {message}");
}
