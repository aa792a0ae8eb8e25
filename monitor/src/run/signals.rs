//! Signals that statsmon gets while it is a program's parent.

use crate::error::Error;
use rustix::process::{Signal, pidfd_send_signal};
use signal_hook::consts::signal::*;
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};
use std::os::fd::OwnedFd;

/// What is handed on.
const FORWARDED: [i32; 9] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP, SIGWINCH];

/// The signals caught so far; none of them ends this process any more.
pub(crate) struct Caught(SignalsInfo<WithOrigin>);

impl Caught {
    /// Starts to catch. A signal that is ignored stays so, here and in the program.
    pub(crate) fn start() -> Result<Self, Error> {
        let ignored = procfs::process::Process::myself().and_then(|own| own.status()).map_or(0, |own| own.sigign);
        let caught = FORWARDED.iter().filter(|&&signal| ignored & (1 << (signal - 1)) == 0);
        SignalsInfo::new(caught).map(Self).map_err(|cause| Error::io("catching signals", cause))
    }

    /// Hands every signal on, in a thread of its own. What the terminal sends (Ctrl-C, a hang-up) has reached the
    /// program already, which is in the same process group.
    pub(crate) fn forward_to(mut self, program: OwnedFd) {
        std::thread::spawn(move || {
            for origin in self.0.forever().filter(is_from_a_process) {
                if let Some(signal) = Signal::from_named_raw(origin.signal) {
                    // Nobody is there to get it once the program has ended.
                    let _ = pidfd_send_signal(&program, signal);
                }
            }
        });
    }
}

fn is_from_a_process(origin: &Origin) -> bool {
    !matches!(origin.cause, Cause::Kernel)
}
