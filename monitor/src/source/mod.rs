//! Where the figures come from: `/dev/shm` and `/proc`. Hands out [`crate::model`] types only.

use crate::error::Error;
use crate::model::{Process, Snapshot};

/// One process as the user names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// By PID.
    Pid(u32),
    /// By `comm` or the last part of the executable's path; must be unique among the preloaded processes.
    Name(String),
}

/// Which processes to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Selection {
    /// All that publish, also those that this user may not read, and dead ones whose segment is still there.
    All,
    /// These, in this order.
    Targets(Vec<Target>),
}

/// One look at the selected processes.
#[derive(Debug)]
pub(crate) struct Look {
    /// What could be seen.
    pub(crate) snapshot: Snapshot,
    /// What could not, or only with reservations (a dead process is shown *and* listed here), in the order asked for.
    pub(crate) problems: Vec<Error>,
}

/// Keeps what is needed to look at the same processes again and again: mappings stay attached, costs stay bounded.
pub(crate) struct Watcher {
    selection: Selection,
}

impl Watcher {
    /// A watcher of `selection`. Touches nothing yet.
    pub(crate) fn new(selection: Selection) -> Self {
        Self { selection }
    }

    /// Looks at every selected process: new ones appear, and ended ones stay for one look in their last state.
    pub(crate) fn look(&mut self) -> Result<Look, Error> {
        let _ = &self.selection;
        Err(Error::Usage("not yet".into()))
    }

    /// Looks at one process, selected or not: the cheap way to follow one of many.
    pub(crate) fn look_at(&mut self, pid: u32) -> Result<Process, Error> {
        Attached::open(pid)?.refresh()
    }
}

/// One process whose segment is mapped.
pub(crate) struct Attached {
    pid: u32,
}

impl Attached {
    /// Attaches to the process that has `pid` here.
    pub(crate) fn open(pid: u32) -> Result<Self, Error> {
        Ok(Self { pid })
    }

    /// Reads the process's present state; the last one where it has ended, however often asked.
    pub(crate) fn refresh(&mut self) -> Result<Process, Error> {
        Err(Error::NoSuchPid(self.pid))
    }
}
