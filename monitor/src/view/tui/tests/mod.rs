//! The screen as it is drawn, and as it answers to keys.

mod answers;
mod any_keys;
mod compared;
pub(crate) mod everywhere;
mod fixture;
mod panics;
mod pictures;
