//! What programs do that an allocator easily forgets.

use std::process::Command;
use tests::{Run, Running, missing_privilege, program, snapshot};

fn hazard(name: &str) -> Command {
    let mut command = Command::new(program("hazards.c"));
    command.arg(name).preload();
    command
}

/// Runs to its end, which must be a good one.
fn survives(name: &str) {
    let finished = hazard(name).finish().success();
    assert_eq!(finished.out(), "");
}

/// Runs to its pause; also the PID that it says is to be looked at.
fn paused(name: &str) -> (Running, u32) {
    let mut running = hazard(name).begin();
    let pid = running.line().parse().unwrap();
    (running, pid)
}

#[test]
fn daemons_fork_twice_without_allocating_in_between() {
    survives("daemon");
    survives("daemon-raw");
    survives("daemon-mixed");
}

#[test]
fn a_thread_whose_first_call_comes_in_a_destructor_leaves_nothing() {
    let (mut running, pid) = paused("destructor");
    let seen = snapshot(pid);
    assert_eq!(seen.number("/threads/live"), 1);
    assert_eq!(seen.number("/threads/stranded_bytes"), 0);
    running.go();
    running.finish().success();
}

#[test]
fn a_program_may_limit_its_address_space_itself() {
    survives("own-limit");
}

#[test]
fn a_childs_thread_may_end_before_it_allocates() {
    survives("child-thread");
}

#[test]
fn trimming_locked_memory_ends() {
    survives("locked");
}

#[test]
fn what_comes_after_it_was_to_be_locked_is_locked() {
    if missing_privilege() {
        return;
    }
    survives("locked-later");
}

#[test]
fn locking_everything_does_not_fill_the_reservation() {
    if missing_privilege() {
        return;
    }
    survives("locked-altogether");
}

#[test]
fn aligned_large_blocks_reuse_their_space() {
    let (mut running, pid) = paused("aligned");
    let seen = snapshot(pid);
    assert!(seen.total("rss_bytes") < 64 << 20, "{}", seen.0["totals"]);
    assert!(seen.total("committed_bytes") < 64 << 20, "{}", seen.0["totals"]);
    running.go();
    running.finish().success();
}

#[test]
fn a_handler_of_our_abort_may_allocate() {
    let finished = hazard("handler").finish().success();
    assert_eq!(finished.err().lines().count(), 1, "{}", finished.err());
}

#[test]
fn a_child_of_a_raw_clones_child_counts_its_cache_from_what_is_there() {
    let (mut running, pid) = paused("clone-fork");
    let seen = snapshot(pid);
    for name in ["cached_bytes", "retained_bytes", "committed_bytes"] {
        assert!((0..1 << 30).contains(&seen.total(name)), "{name}: {}", seen.0["totals"]);
    }
    running.go();
    running.finish().success();
}
