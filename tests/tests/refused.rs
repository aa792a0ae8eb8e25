//! System calls that fail, one after the other and all from one on: what is refused is refused cleanly, and everything
//! else is as if nothing had been. `programs/refused.c` checks the whole state; the library is a build whose calls fail
//! on demand.

use std::process::Command;
use std::time::Duration;
use tests::artefacts::failing_library;
use tests::sandbox::{Sandbox, Shm};
use tests::{Run, program};

/// Every so many calls, all from there on are made to fail: that costs two rounds of the program.
const STEP: u64 = 8;
/// Nothing here takes a second; only a hang should ever reach it.
const DEADLINE: Duration = Duration::from_secs(60);

/// Lets call number 1 fail, number 2 and so on, until the program makes fewer; then all from each `STEP`th on.
/// `prepare` sets up the program; `error`, if not 0, is the error number of all calls.
fn refuse_each(error: i32, prepare: impl Fn(&mut Command)) {
    let mut first = 1;
    while refuse(first, first, error, &["once"], &prepare) >= first {
        first += 1;
    }
    assert!(first > 100, "the program makes only {first} calls that can fail");
    for first in (1..=first).step_by(STEP as usize) {
        refuse(first, u64::MAX, error, &[], &prepare);
    }
}

/// Runs the program with calls `first..=last` failing; the number of calls it made.
fn refuse(first: u64, last: u64, error: i32, arguments: &[&str], prepare: &impl Fn(&mut Command)) -> u64 {
    let mut command = Command::new(program("refused.c"));
    command.args(arguments).env("LD_PRELOAD", failing_library());
    command.env("FAILING_OS", format!("{first}-{last}:{error}"));
    // So that what others leave in /dev/shm does not change the number of calls.
    if !tests::missing_privilege() {
        command.with_shm(Shm::Private);
    }
    prepare(&mut command);
    let finished = command.finish_within(DEADLINE);
    assert!(
        finished.status.success(),
        "calls {first} to {last} failed with {error}: {} {}",
        finished.status,
        finished.err()
    );
    for line in finished.err().lines() {
        assert!(line.starts_with("statsalloc: foreign pointer: "), "calls {first} to {last} failed: {line}");
    }
    finished.out().trim().parse().expect("the number of calls")
}

#[test]
fn a_call_that_fails_costs_one_refusal_at_most() {
    refuse_each(0, |_| {});
}

#[test]
fn a_call_that_is_forbidden_costs_one_refusal_at_most() {
    refuse_each(libc::EPERM, |_| {});
}

#[test]
fn a_call_that_fails_under_a_limit_on_address_space_costs_one_refusal_at_most() {
    refuse_each(0, |command| {
        command.limit(libc::RLIMIT_AS, 1 << 30);
    });
}

#[test]
fn a_call_that_fails_after_the_program_has_limited_itself_leaves_everything_usable() {
    refuse_each(0, |command| {
        command.arg("limiting");
    });
}
