//! What the end-to-end tests share.
//!
//! | module | subject |
//! |---|---|
//! | [`artefacts`] | `statsmon`, `libstatsalloc.so` and the test programs, each built once |
//! | [`process`]   | commands with a deadline, and the handshake with a test program |
//! | [`sandbox`]   | mount namespaces of their own, limits |
//! | [`require`]   | tools a test needs |
//! | [`snapshot`]  | the JSON of `statsmon`, and the figures that must be exact |
//! | [`script`]    | allocation sequences, played by a test program and by a naive model |
//! | [`steps`]     | a program's instructions one by one, by `ptrace` |

pub mod artefacts;
pub mod process;
pub mod require;
pub mod sandbox;
pub mod script;
pub mod snapshot;
pub mod steps;

pub use artefacts::{library, program, statsmon};
pub use process::{Finished, Run, Running};
pub use require::{missing, missing_privilege};
pub use snapshot::{Figures, Snapshot, snapshot};
