//! The shared-memory segment that `libstatsalloc.so` writes and `statsmon` reads.
//!
//! Layers, each using only those above it:
//!
//! | module | subject |
//! |---|---|
//! | [`counter`] | one `u64` with one writer, and the memory orders it needs |
//! | [`class`]   | size classes and large-block buckets |
//! | [`tally`]   | calls and their bytes, counted by one addition |
//! | [`layout`]  | the segment's types, offsets and version |
//! | [`name`]    | what a segment is called in `/dev/shm` |
//! | [`reader`]  | untrusted bytes in, a checked snapshot or a precise error out |
//!
//! The crate does no I/O, allocates nothing and depends on nothing.
#![no_std]
#![warn(missing_docs)]

#[cfg(test)]
extern crate std;

pub mod class;
pub mod counter;
pub mod layout;
pub mod name;
pub mod reader;
pub mod tally;

/// What the segment is made of; loom's in its place where the allocator's models run.
mod sync {
    pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
}

pub use layout::{LAYOUT_VERSION, MAGIC};
