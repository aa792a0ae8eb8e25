//! One run of one program, by way of `programs/launch.c`.

use crate::allocators::Allocator;
use crate::cases::{Case, Figure, Outcome, Reading};
use crate::compile;
use std::io::{PipeReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Seconds after which a run counts as hung.
const DEADLINE: u32 = 300;

/// What the loader says of a library that it does not preload.
const NOT_PRELOADED: &str = "ERROR: ld.so: object";

/// Runs `case` once under `allocator` and returns what it printed, too.
///
/// # Errors
///
/// The program cannot be started, hangs, ends badly, or prints no figure where it should.
pub(crate) fn run(case: &Case, allocator: &Allocator) -> Result<(Reading, Vec<u8>), String> {
    let launched = Launched::start(case, allocator)?;
    let (measured, output) = launched.finish()?;
    let printed = || {
        let text = String::from_utf8_lossy(&output);
        text.trim().parse().map_err(|_| format!("printed {text:?} where a number was expected"))
    };
    let figure = match case.figure {
        Figure::Nanoseconds | Figure::Kibibytes => printed()?,
        Figure::Wall => measured.wall,
    };
    Ok((Reading { figure, processor: measured.processor, resident: measured.resident }, output))
}

/// What the launcher tells: milliseconds and KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) wall: f64,
    pub(crate) processor: f64,
    pub(crate) resident: f64,
}

/// A program that was started.
pub(crate) struct Launched {
    pub(crate) launcher: Child,
    results: PipeReader,
}

impl Launched {
    pub(crate) fn start(case: &Case, allocator: &Allocator) -> Result<Self, String> {
        let (results, report) = std::io::pipe().map_err(|error| error.to_string())?;
        let mut command = Command::new(compile::program("launch.c")?);
        command.arg(report.as_raw_fd().to_string()).arg(DEADLINE.to_string());
        command.arg(allocator.preload_for(&case.program)).arg(&case.program).args(&case.arguments);
        command.env_remove("LD_PRELOAD").env("LC_ALL", "C.UTF-8").envs(case.environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let descriptor = report.as_raw_fd();
        // SAFETY: `fcntl` may be called between fork and exec, and the descriptor is open there.
        unsafe {
            command.pre_exec(move || match libc::fcntl(descriptor, libc::F_SETFD, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let launcher = command.spawn().map_err(|error| format!("{}: {error}", case.program.display()))?;
        Ok(Self { launcher, results })
    }

    /// Waits for its end; returns what was measured and what it printed.
    pub(crate) fn finish(mut self) -> Result<(Measured, Vec<u8>), String> {
        let output = self.launcher.wait_with_output().map_err(|error| error.to_string())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let errors = errors.trim();
        let mut line = String::new();
        self.results.read_to_string(&mut line).map_err(|error| error.to_string())?;
        let fields: Vec<f64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        let &[wall, user, system, resident, status] = fields.as_slice() else {
            return Err(format!("the launcher failed: {errors}"));
        };
        let status = ExitStatus::from_raw(status as i32);
        if !status.success() {
            return Err(format!("{status}: {errors}"));
        }
        // The loader goes on without what it cannot preload.
        if let Some(refused) = errors.lines().find(|line| line.contains(NOT_PRELOADED)) {
            return Err(refused.to_owned());
        }
        Ok((Measured { wall: wall * 1e-6, processor: (user + system) * 1e-3, resident }, output.stdout))
    }
}

/// Runs `case` once; its output must equal `expected` where there is something to expect.
pub(crate) fn checked(case: &Case, allocator: &Allocator, expected: Option<&[u8]>) -> Outcome {
    let (reading, output) = run(case, allocator)?;
    match expected {
        Some(expected) if expected != output => Err(format!("printed {:?}", excerpt(&output))),
        _ => Ok(reading),
    }
}

/// The beginning of an output.
fn excerpt(output: &[u8]) -> String {
    String::from_utf8_lossy(&output[..output.len().min(80)]).into_owned()
}
