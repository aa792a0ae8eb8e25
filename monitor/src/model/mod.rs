//! What is known about the watched processes: plain data, derived by pure functions, shared by all views.
//!
//! The names of the fields are those of the JSON: a contract. A field may be added, none renamed or removed.
//! Unknown is `None` (`null`), never 0.

pub(crate) mod chain;
pub(crate) mod compare;
pub(crate) mod derive;
pub(crate) mod diagnosis;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod following;
pub(crate) mod history;
mod identity;
pub(crate) mod limits;
pub(crate) mod lines;
pub(crate) mod log;
pub(crate) mod rates;
#[cfg(test)]
mod tests;
pub(crate) mod threads;
pub(crate) mod time;

pub(crate) use chain::Chain;
pub(crate) use compare::Comparison;
pub(crate) use diagnosis::Diagnosis;
pub(crate) use history::{ClassHistory, History, Point};
pub(crate) use identity::Identity;
pub(crate) use limits::Limits;
pub(crate) use lines::{Line, Part, ThreadLine};
use serde::Serialize;
pub(crate) use threads::{Thread, ThreadState, Threads};
pub(crate) use time::Time;

/// Version of the JSON.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// One look at some processes.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Snapshot {
    /// [`SCHEMA_VERSION`].
    pub(crate) schema_version: u32,
    /// When it was taken.
    pub(crate) timestamp: Time,
    /// The processes, in the order asked for, else by PID.
    pub(crate) processes: Vec<Process>,
    /// Two of them side by side, or one and what it was: where that was asked for.
    pub(crate) comparison: Option<Comparison>,
}

impl Snapshot {
    /// A look at these processes.
    pub(crate) fn of(timestamp: Time, processes: Vec<Process>) -> Self {
        Self { schema_version: SCHEMA_VERSION, timestamp, processes, comparison: None }
    }
}

/// One process and its heap. All counters come from one read of its segment.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Process {
    /// What tells it from all others.
    #[serde(skip)]
    pub(crate) id: Identity,
    /// PID as this monitor sees it.
    pub(crate) pid: u32,
    /// Its parent.
    pub(crate) ppid: Option<u32>,
    /// Its effective user.
    pub(crate) uid: Option<u32>,
    /// PID in its own PID namespace.
    pub(crate) namespace_pid: Option<u32>,
    /// Whether it lives, and whether we may look.
    pub(crate) state: State,
    /// Whether it stands still, by a signal (`SIGSTOP`) or a debugger; unknown for the dead.
    pub(crate) stopped: Option<bool>,
    /// Short name: `comm`, else the executable's last part.
    pub(crate) name: String,
    /// Command line with blanks between the arguments; the short name where that is not known.
    pub(crate) command: String,
    /// Path of the program.
    pub(crate) executable: Option<String>,
    /// When the process started.
    pub(crate) start_time: Option<Time>,
    /// Since then; unknown for the dead.
    pub(crate) uptime_seconds: Option<f64>,
    /// Short name of the program without the library that it has become, where that was seen: its heap's figures are
    /// those from before.
    pub(crate) replaced_by: Option<String>,
    /// The process it was forked from with its heap, in its own PID namespace.
    pub(crate) forked_from: Option<u32>,
    /// Sums over the whole heap.
    pub(crate) totals: Totals,
    /// Change per second.
    pub(crate) rates: Rates,
    /// Wrong frees.
    pub(crate) misuse: Option<Misuse>,
    /// Threads that used the heap.
    pub(crate) threads: Option<Threads>,
    /// Every size class, smallest first, also unused ones.
    pub(crate) size_classes: Option<Vec<SizeClass>>,
    /// Blocks above the largest size class.
    pub(crate) large: Option<Large>,
    /// Totals over time.
    pub(crate) history: Option<History>,
    /// What is to be said of the heap.
    pub(crate) diagnosis: Option<Diagnosis>,
    /// How the chain of bytes has changed over the last minute.
    pub(crate) last_minute: Option<Chain>,
    /// The memory limit it runs under.
    pub(crate) limits: Option<Limits>,
    /// How long freed memory is kept; never given back where unknown.
    pub(crate) decay_seconds: Option<f64>,
    /// Bytes of every size over time.
    pub(crate) class_history: Option<ClassHistory>,
    /// What has happened to it, oldest first.
    pub(crate) log: Vec<log::Entry>,
    /// What could not be read, and why.
    pub(crate) unread: Vec<String>,
    /// Where it is dead, the last time at which it was known to live: everything said of it is as of then.
    #[serde(skip)]
    pub(crate) end: Option<Time>,
    /// Its children at present, where known.
    #[serde(skip)]
    pub(crate) children: Vec<u32>,
}

impl Process {
    /// Whether its heap is that of a process which stands still.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state == State::Live && self.stopped == Some(true)
    }

    /// Takes note that it has ended by itself: what was taken for a crash was none.
    pub(crate) fn has_exited(&mut self) {
        let states = self.log.iter_mut().filter_map(|entry| match &mut entry.event {
            log::Event::State { state } => Some(state),
            _ => None,
        });
        for state in states.chain([&mut self.state]).filter(|state| **state == State::Crashed) {
            *state = State::Exited;
        }
    }
}

/// What can be said about a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It runs and publishes.
    Live,
    /// It lives, but as a program without a segment, by which it has replaced itself.
    Replaced,
    /// It has ended in an orderly way, or as a program without a segment.
    Exited,
    /// It has ended without saying so: a signal, a crash, or unseen as a program without a segment.
    Crashed,
    /// It publishes, but not to this user.
    NoAccess,
    /// The library is in it, but no segment could be made.
    Unpublished,
}

impl State {
    /// As in the JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replaced => "replaced",
            Self::Exited => "exited",
            Self::Crashed => "crashed",
            Self::NoAccess => "no_access",
            Self::Unpublished => "unpublished",
        }
    }

    /// Whether the process has ended.
    pub(crate) fn is_dead(self) -> bool {
        matches!(self, Self::Exited | Self::Crashed)
    }

    /// Whether its heap is gone, so that its figures are its last.
    pub(crate) fn is_past(self) -> bool {
        self == Self::Replaced || self.is_dead()
    }
}

/// Sums over the whole heap. Bytes, unless the name says otherwise.
///
/// `active = allocated + pinned`, `internal_fragmentation = allocated - requested`,
/// `external_fragmentation = pinned`, `other = resident - (allocated + pinned + cached + metadata)`,
/// `allocations - frees = live_blocks`.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Totals {
    /// Live bytes the program asked for.
    pub(crate) requested_bytes: Option<u64>,
    /// Live bytes of the blocks that hold them.
    pub(crate) allocated_bytes: Option<u64>,
    /// Carved blocks that are not live, in slabs with at least one that is.
    pub(crate) pinned_bytes: Option<u64>,
    /// Touched, unpurged bytes of wholly free slabs and spans.
    pub(crate) cached_bytes: Option<u64>,
    /// The allocator's own tables.
    pub(crate) metadata_bytes: Option<u64>,
    /// Resident bytes that none of these explains; the only figure that may be negative.
    pub(crate) other_bytes: Option<i64>,
    /// Resident bytes of the heap and its tables.
    pub(crate) resident_bytes: Option<u64>,
    /// How old that measurement is.
    pub(crate) resident_age_seconds: Option<f64>,
    /// Resident bytes of the whole process.
    pub(crate) rss_bytes: Option<u64>,
    /// Of these, mapped files and shared memory. The diagnosis says it where it matters.
    #[serde(skip)]
    pub(crate) rss_file_bytes: Option<u64>,
    /// Swapped-out bytes of the whole process.
    pub(crate) swap_bytes: Option<u64>,
    /// Allocated and pinned bytes.
    pub(crate) active_bytes: Option<u64>,
    /// Accessible bytes of the window.
    pub(crate) committed_bytes: Option<u64>,
    /// Accessible bytes with no memory behind them.
    pub(crate) retained_bytes: Option<u64>,
    /// Bytes handed back to the system since the start.
    pub(crate) purged_bytes: Option<u64>,
    /// Rounding.
    pub(crate) internal_fragmentation_bytes: Option<u64>,
    /// Pinned bytes.
    pub(crate) external_fragmentation_bytes: Option<u64>,
    /// Highest `requested_bytes` ever.
    pub(crate) peak_requested_bytes: Option<u64>,
    /// Highest `allocated_bytes` ever.
    pub(crate) peak_allocated_bytes: Option<u64>,
    /// How far the peaks may be from the truth; 0 while only one thread ever ran.
    pub(crate) peak_error_bytes: Option<u64>,
    /// Highest resident bytes of the process ever.
    pub(crate) peak_rss_bytes: Option<u64>,
    /// Bytes requested since the start.
    pub(crate) cumulative_requested_bytes: Option<u64>,
    /// Bytes allocated since the start.
    pub(crate) cumulative_allocated_bytes: Option<u64>,
    /// Blocks.
    pub(crate) live_blocks: Option<u64>,
    /// Blocks handed out since the start.
    pub(crate) allocations: Option<u64>,
    /// Blocks taken back since the start.
    pub(crate) frees: Option<u64>,
    /// Reallocations of live blocks since the start.
    pub(crate) reallocations: Option<u64>,
    /// Frees by another thread than the block's owner, since the start.
    pub(crate) remote_frees: Option<u64>,
}

/// Change per second, over the last few seconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Rates {
    /// Blocks handed out.
    pub(crate) allocations_per_second: Option<f64>,
    /// Blocks taken back.
    pub(crate) frees_per_second: Option<f64>,
    /// Change of `requested_bytes`; negative where it shrinks.
    pub(crate) requested_growth_bytes_per_second: Option<f64>,
}

/// Wrong frees since the start.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Misuse {
    /// Other allocators' blocks.
    pub(crate) foreign_frees: u64,
    /// Blocks freed twice.
    pub(crate) double_frees: u64,
    /// Pointers at which no live block starts, and frees with a wrong size.
    pub(crate) invalid_frees: u64,
    /// Memory found overwritten.
    pub(crate) corruptions: u64,
    /// The last events, and the last callers of foreign frees, oldest first.
    pub(crate) last: Vec<MisuseEvent>,
}

/// One wrong free, or a caller of foreign frees at its first.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct MisuseEvent {
    /// Counted from 1; foreign callers are counted for themselves.
    pub(crate) number: u64,
    /// `double_free`, `interior_free`, `never_allocated`, `foreign`, `corrupt_free_list`, `overrun`,
    /// `written_after_free`, `wrong_size` or `unknown`.
    pub(crate) kind: &'static str,
    /// The function that was called.
    pub(crate) call: &'static str,
    /// The pointer, in hexadecimal.
    pub(crate) address: String,
    /// Return address of the call, in hexadecimal.
    pub(crate) caller: String,
    /// Of a foreign caller, the path of the file its code is from, or `…` and the end of it.
    pub(crate) module: Option<String>,
    /// The return address in that file's own terms, as symbolisers take it, in hexadecimal.
    pub(crate) module_offset: Option<String>,
    /// Foreign frees of this caller so far.
    pub(crate) frees: Option<u64>,
    /// Size of the block it meant.
    pub(crate) block_size: Option<u64>,
    /// Bytes requested for that block.
    pub(crate) requested_bytes: Option<u64>,
    /// Calling thread, in the process's PID namespace.
    pub(crate) tid: u32,
    /// When.
    pub(crate) time: Time,
}

/// Small blocks of one size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct SizeClass {
    /// Bytes of a block.
    pub(crate) block_size: u64,
    /// Blocks in the program's hands.
    pub(crate) live_blocks: u64,
    /// Blocks carved and not live.
    pub(crate) free_list_length: u64,
    /// Live bytes the program asked for.
    pub(crate) requested_bytes: u64,
    /// `live_blocks * block_size`.
    pub(crate) allocated_bytes: u64,
    /// `free_list_length * block_size`.
    pub(crate) pinned_bytes: u64,
    /// Blocks handed out since the start.
    pub(crate) allocations: u64,
    /// Blocks taken back since the start.
    pub(crate) frees: u64,
    /// Slabs in use.
    pub(crate) slabs: u64,
    /// Bytes of one slab.
    pub(crate) slab_bytes: u64,
    /// Bytes requested since the start.
    pub(crate) cumulative_requested_bytes: u64,
    /// Blocks handed out, over the last few seconds.
    pub(crate) allocations_per_second: Option<f64>,
    /// Blocks taken back, likewise.
    pub(crate) frees_per_second: Option<f64>,
    /// Change of `allocated_bytes`, likewise.
    pub(crate) growth_bytes_per_second: Option<f64>,
    /// Its `allocated_bytes` at the looks of the last minute, oldest first.
    #[serde(skip)]
    pub(crate) recent_bytes: Vec<u64>,
}

impl SizeClass {
    /// What the blocks have beyond what was asked for, and what is free among them.
    pub(crate) fn waste_bytes(&self) -> u64 {
        self.allocated_bytes.saturating_sub(self.requested_bytes).saturating_add(self.pinned_bytes)
    }
}

/// Blocks above the largest size class.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Large {
    /// Blocks in the program's hands.
    pub(crate) live_blocks: u64,
    /// Live bytes the program asked for.
    pub(crate) requested_bytes: u64,
    /// Live bytes of the spans that hold them.
    pub(crate) allocated_bytes: u64,
    /// Blocks whose pages were moved instead of copied, since the start.
    pub(crate) page_moves: u64,
    /// Times that free memory was handed back to the system, since the start.
    pub(crate) purges: u64,
    /// By size, smallest first, also unused ones.
    pub(crate) classes: Vec<LargeClass>,
}

/// Large blocks of similar size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct LargeClass {
    /// The largest that counts here; the last has no limit.
    pub(crate) up_to_bytes: Option<u64>,
    /// Blocks in the program's hands.
    pub(crate) live_blocks: u64,
    /// Live bytes the program asked for.
    pub(crate) requested_bytes: u64,
    /// Live bytes of the spans that hold them.
    pub(crate) allocated_bytes: u64,
    /// Blocks handed out since the start.
    pub(crate) allocations: u64,
    /// Blocks taken back since the start.
    pub(crate) frees: u64,
    /// Blocks handed out, over the last few seconds.
    pub(crate) allocations_per_second: Option<f64>,
    /// Blocks taken back, likewise.
    pub(crate) frees_per_second: Option<f64>,
    /// Change of `allocated_bytes`, likewise.
    pub(crate) growth_bytes_per_second: Option<f64>,
    /// Its `allocated_bytes` at the looks of the last minute, oldest first.
    #[serde(skip)]
    pub(crate) recent_bytes: Vec<u64>,
}
