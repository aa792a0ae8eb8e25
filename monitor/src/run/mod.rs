//! `statsmon run`: starts a program with the library.

mod elf;
mod library;
mod program;
mod report;
mod signals;
mod watch;

use crate::cli::{DEFAULT_INTERVAL, RunArgs};
use crate::error::Error;
use program::Program;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::ExitStatus;
pub(crate) use watch::Watched;

/// Exit code where statsmon itself fails.
pub(crate) const FAILED: u8 = 125;
/// Exit code where the program cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// Exit code where the program is not found.
const NOT_FOUND: u8 = 127;

/// Starts a program with the library. Returns the exit code, unless this process becomes the program.
pub(crate) fn run(arguments: RunArgs) -> Result<u8, Error> {
    start(arguments).map_err(|error| match error {
        error @ Error::CannotRun { .. } => error,
        error => failure(error.to_string()),
    })
}

fn start(arguments: RunArgs) -> Result<u8, Error> {
    let program = Program::find(&arguments.command)?;
    let library = library::find()?;
    let mut command = program.command();
    command.env("LD_PRELOAD", library::preload(&library, std::env::var_os("LD_PRELOAD")));
    if arguments.report {
        report::run(command, &program)
    } else if arguments.watch {
        watch::run(command, &program, arguments.delay.unwrap_or(DEFAULT_INTERVAL), arguments.terminal)
    } else {
        Err(program.cannot_start(&command.exec()))
    }
}

/// The exit code for a program's status: its own, or 128 and the signal's number.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED)
}

fn failure(message: impl Into<String>) -> Error {
    Error::CannotRun { exit_code: FAILED, message: message.into() }
}
