//! What tells one process from all others.

use std::fmt;

/// What tells one process from all others, from look to look. PIDs do not: containers that share `/dev/shm` have the
/// same ones, and they are used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Identity {
    /// A process that was found here: its PID here, and its start in clock ticks since boot. An exec keeps both.
    Process { pid: u32, start_ticks: u64 },
    /// The segment of a process that was not: it had ended before, or is hidden from us.
    Segment { device: u64, inode: u64 },
}

impl Identity {
    /// As one number, for tables. Devices have fewer than 63 bits.
    pub(crate) fn number(self) -> u128 {
        let (kind, high, low) = match self {
            Self::Process { pid, start_ticks } => (0, u64::from(pid), start_ticks),
            Self::Segment { device, inode } => (1 << 127, device, inode),
        };
        kind | u128::from(high) << 64 | u128::from(low)
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, .. } => write!(out, "process {pid}"),
            Self::Segment { .. } => out.write_str("a dead process"),
        }
    }
}
