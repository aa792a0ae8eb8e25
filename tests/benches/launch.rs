//! One run of one program, by way of `programs/launch.c`.

use crate::allocators::Allocator;
use crate::cases::{Case, Figure, Outcome, Reading};
use crate::compile;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

/// Seconds after which a run counts as hung.
const DEADLINE: u32 = 300;

/// Runs `case` once under `allocator`.
pub(crate) fn run(case: &Case, allocator: &Allocator) -> Outcome {
    let launcher = compile::program("launch.c")?;
    let (mut results, report) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut command = Command::new(launcher);
    command.arg(report.as_raw_fd().to_string()).arg(DEADLINE.to_string());
    command.arg(allocator.preload.as_deref().unwrap_or("".as_ref())).arg(&case.program).args(&case.arguments);
    command.env_remove("LD_PRELOAD").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    let descriptor = report.as_raw_fd();
    // SAFETY: `fcntl` may be called between fork and exec, and the descriptor is open there.
    unsafe {
        command.pre_exec(move || match libc::fcntl(descriptor, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let output = command.output().map_err(|error| format!("{}: {error}", case.program.display()))?;
    drop(report);
    let mut line = String::new();
    results.read_to_string(&mut line).map_err(|error| error.to_string())?;
    let measured = Measured::parse(&line).ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    if !measured.status.success() {
        return Err(format!("{}: {}", measured.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    let figure = match case.figure {
        Figure::Printed => {
            let text = String::from_utf8_lossy(&output.stdout);
            text.trim().parse().map_err(|_| format!("printed {text:?}"))?
        }
    };
    Ok(Reading { figure })
}

/// What the launcher tells.
struct Measured {
    status: ExitStatus,
}

impl Measured {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<f64> = line.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let &[_wall, _user, _system, _resident, status] = fields.as_slice() else { return None };
        Some(Self { status: ExitStatus::from_raw(status as i32) })
    }
}
