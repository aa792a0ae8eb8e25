//! `statsmon`: shows the heap of running programs that `libstatsalloc.so` is preloaded into.
//!
//! ```text
//! cli     what the user asks for
//! source  /dev/shm and /proc        (I/O)
//! model   what is known             (pure)
//! view    text, JSON, CSV, screen   (of the model alone)
//! run     starts a program with the library
//! error   what went wrong, what to do, exit codes
//! ```
#![deny(unsafe_code)]

mod error;
mod model;
mod run;
mod source;
mod view;

fn main() {}
