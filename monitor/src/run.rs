//! `statsmon run`: starts a program with the library.

use crate::error::Error;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};

/// A program that runs while the screen is open on it; its output goes to a log file.
pub(crate) struct Watched {
    child: Child,
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

    /// Asks it to end (SIGTERM to its process group) and waits until it has. Returns the exit code to end with.
    pub(crate) fn end(mut self) -> Result<u8, Error> {
        self.child.wait().map_err(|cause| Error::io("waiting for the program", cause))?;
        Ok(0)
    }
}

/// The exit code for a program's status: its own, or 128 and the signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(u8::MAX)
}
