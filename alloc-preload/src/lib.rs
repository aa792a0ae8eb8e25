//! `libstatsalloc.so`: an allocator to preload, with exact statistics that another process can read while the program
//! runs.
//!
//! Layers; each calls only those below it:
//!
//! | layer | modules | subject |
//! |---|---|---|
//! | interface | [`api`], [`operators`], [`limits`], [`names`] | the C and C++ functions and their semantics; who finds them |
//! | fast path | [`fast`]                    | what nearly every call does, without a call |
//! | threads   | [`thread`], [`boot`], [`fork`] | which heap a thread has; the first call; children |
//! | blocks    | [`block`], [`large`]        | one block on the slow path |
//! | heaps     | [`heap`], [`account`], [`hot`] | a thread's slabs, its peaks, its hot record |
//! | shared    | [`central`], [`span`], [`background`] | free runs, abandoned slabs, idle heaps; giving memory back unasked |
//! | slabs     | [`slab`], [`bin`](mod@bin), [`ledger`], [`room`], [`harden`] | blocks of one class; a byte for every granule; what a peak may still rise; seals |
//! | window    | [`window`]                  | the address range and the tables beside it |
//! | told      | [`segment`], [`report`], [`misuse`], [`stats`] | counters published, printed, misuse told |
//! | ground    | [`options`], [`clock`], [`lock`], [`cancel`], [`print`], [`os`], [`sync`], [`bare`], [`beside`] | everything that leaves the process; what threads share; the build that measures; where rows lie |
//!
//! No `std` and no `alloc`: they would call the `malloc` exported here.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    test,
    expect(dead_code, reason = "the C interface, which uses the rest, would replace the test harness's malloc")
)]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu", target_pointer_width = "64")))]
compile_error!("statsalloc runs on x86-64 Linux with glibc; ARCHITECTURE.md says what a port needs");

mod account;
#[cfg(not(test))]
mod api;
mod background;
mod bare;
mod beside;
mod bin;
mod block;
mod boot;
mod cancel;
mod central;
mod clock;
mod fast;
mod fork;
mod harden;
mod heap;
mod hint;
mod hot;
mod large;
mod ledger;
mod limits;
mod lock;
mod misuse;
mod names;
#[cfg(not(test))]
mod operators;
mod options;
mod os;
mod print;
mod report;
mod resident;
mod room;
mod segment;
mod slab;
mod slots;
mod span;
mod stats;
mod sync;
mod thread;
mod window;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    print::fatal("panic")
}

// Without link-time optimisation `core` still asks for the unwinder's hook, which `panic = "abort"` never calls.
#[cfg(all(not(test), debug_assertions))]
core::arch::global_asm!(".globl rust_eh_personality", ".hidden rust_eh_personality", "rust_eh_personality:", "ud2",);
