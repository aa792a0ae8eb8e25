//! The screen as it is drawn, and as it answers to keys.

mod answers;
mod any_keys;
mod fixture;
mod panics;
mod pictures;
