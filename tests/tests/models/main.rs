//! Models of what threads share without a lock. The allocator's own sources, taken in below by their paths, run here with
//! loom's atomics and cells in the place of `sync`'s; loom goes through the interleavings of the threads, and through what
//! each load may see in the language's memory model, which is weaker than the processor's. What lies in a slab's record or
//! in a freed block is watched as well: two threads that touch it without an order between them fail the model.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p tests --release --test models --target-dir target/loom`
//!
//! | module | subject |
//! |---|---|
//! | [`sync`]       | loom's types behind the names and the layout that the sources expect |
//! | [`world`]      | a heap made of these for every interleaving; what threads do to it |
//! | [`window`], [`stand_ins`] | the little that stands in for memory, runs of units and the kernel |
//! | [`segment`], [`reader`] | the rows of the segment, and the monitor's reader before copies of them |
//! | [`locks`], [`tallies`], [`remote`], [`abandoned`], [`warm`], [`owners`] | the models |
#![cfg(loom)]
#![allow(dead_code, unused_imports, reason = "the sources have more in them than the models use")]
#![allow(unexpected_cfgs, reason = "features of the allocator's")]
#![allow(unreachable_pub, private_interfaces, reason = "shm-layout is a crate of its own elsewhere")]

extern crate self as shm_layout;

#[path = "../../../shm-layout/src/class.rs"]
pub mod class;
#[path = "../../../shm-layout/src/counter.rs"]
pub mod counter;
#[path = "../../../shm-layout/src/layout/mod.rs"]
pub mod layout;
#[path = "../../../shm-layout/src/tally.rs"]
pub mod tally;

#[path = "../../../alloc-preload/src/bare.rs"]
mod bare;
#[path = "../../../alloc-preload/src/beside.rs"]
mod beside;
#[path = "../../../alloc-preload/src/bin.rs"]
mod bin;
#[path = "../../../alloc-preload/src/central.rs"]
mod central;
#[path = "../../../alloc-preload/src/harden.rs"]
mod harden;
#[path = "../../../alloc-preload/src/heap/mod.rs"]
mod heap;
#[path = "../../../alloc-preload/src/hint.rs"]
mod hint;
#[path = "../../../alloc-preload/src/hot.rs"]
mod hot;
#[path = "../../../alloc-preload/src/ledger/mod.rs"]
mod ledger;
#[path = "../../../alloc-preload/src/lock.rs"]
mod lock;
#[path = "../../../alloc-preload/src/room.rs"]
mod room;
#[path = "../../../alloc-preload/src/thread/rows.rs"]
mod rows;
#[path = "../../../alloc-preload/src/slab/mod.rs"]
mod slab;
#[path = "../../../alloc-preload/src/slots.rs"]
mod slots;
#[path = "../../../alloc-preload/src/stats.rs"]
mod stats;

mod reader;
mod segment;
mod stand_ins;
mod sync;
mod window;
mod world;

use stand_ins::{account, background, boot, cancel, clock, fork, misuse, options, os, span};

mod abandoned;
mod locks;
mod owners;
mod remote;
mod tallies;
mod warm;
