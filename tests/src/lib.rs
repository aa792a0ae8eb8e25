//! What the end-to-end tests share.
//!
//! | module | subject |
//! |---|---|
//! | [`artefacts`] | `statsmon`, `libstatsalloc.so` and the test programs, each built once |
//! | [`process`]   | commands with a deadline, and the handshake with a test program |
//! | [`hazard`]    | one hazard in a process of its own, under any allocator, and what became of it |
//! | [`gate`]      | where a shell script in the middle of something waits for the test |
//! | [`terminal`]  | a screen of 80 by 24 characters |
//! | [`sandbox`]   | mount namespaces of their own, limits |
//! | [`require`]   | tools a test needs |
//! | [`snapshot`]  | the JSON of `statsmon`, and the figures that must be exact |
//! | [`script`]    | allocation sequences, played by a test program and by a naive model |
//! | [`steps`]     | a program's instructions one by one, by `ptrace` |
//! | [`visible`]   | whether a running program can be seen |

pub mod artefacts;
pub mod gate;
pub mod hazard;
pub mod process;
pub mod require;
pub mod sandbox;
pub mod script;
pub mod snapshot;
pub mod steps;
pub mod terminal;
pub mod visible;

pub use artefacts::{library, program, statsmon};
pub use process::{Finished, Run, Running};
pub use require::{LAST_PID, find, long_run, missing, missing_guards, missing_last_pid, missing_privilege};
pub use snapshot::{Figures, Snapshot, snapshot};
pub use visible::visible;
