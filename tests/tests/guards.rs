//! The page behind a large block faults, and no page that faults is ever handed out.

use std::process::Command;
use tests::sandbox::Sandbox;
use tests::{Finished, Run, program, snapshot};

/// Runs a case of the program with guards of this kind, for blocks of so many bytes.
fn run(how: &str, what: &str, bytes: usize) -> Finished {
    let mut command = Command::new(program("guards.c"));
    command.args([how, what, &bytes.to_string()]).limit(libc::RLIMIT_CORE, 0).preload().finish()
}

#[track_caller]
fn faults(how: &str, what: &str, bytes: usize) {
    let finished = run(how, what, bytes);
    assert_eq!(finished.signal(), Some(libc::SIGSEGV), "{how} {what} {bytes}: {finished:?}");
}

#[track_caller]
fn goes_on(how: &str, what: &str) {
    let finished = run(how, what, 1 << 20).success();
    assert_eq!(finished.out(), "went on\n", "{how} {what}");
}

#[test]
fn a_byte_behind_a_large_block_faults_however_it_was_allocated() {
    if tests::missing_guards() {
        return;
    }
    // One page more than a slab's block; whole units and not.
    for bytes in [33_000, 65_536, 100_000, 1 << 20, 5_000_000] {
        for what in ["fresh", "zeroed", "aligned", "reused", "reused-smaller", "grown", "purged"] {
            faults("marks", what, bytes);
        }
    }
    faults("marks", "shrunk", 1 << 20);
}

#[test]
fn a_forked_child_has_the_guards_of_its_parent() {
    goes_on("pages", "in-a-child");
    if !tests::missing_guards() {
        goes_on("marks", "in-a-child");
    }
}

#[test]
fn where_the_kernel_has_no_marks_the_largest_blocks_have_an_inaccessible_page() {
    for what in ["fresh", "zeroed", "aligned", "reused", "purged"] {
        faults("pages", what, 1 << 20);
    }
}

#[test]
fn inaccessible_pages_are_few_since_each_splits_a_mapping() {
    goes_on("pages", "many");
}

#[test]
fn no_guard_is_ever_handed_out() {
    goes_on("marks", "churn");
    goes_on("pages", "churn");
}

#[test]
fn guards_go_without_advice_once_system_calls_are_filtered() {
    goes_on("filtered", "churn");
    goes_on("refused", "churn");
}

#[test]
fn memory_can_be_locked_around_guards() {
    if !tests::missing_privilege() {
        goes_on("marks", "locked");
    }
}

#[test]
fn under_a_limit_on_address_space_no_unit_is_spent_on_a_guard() {
    let mut command = Command::new(program("guards.c"));
    command.args(["marks", "churn"]).limit(libc::RLIMIT_AS, 1 << 30).preload().finish().success();
}

#[test]
fn guards_do_not_count_as_resident() {
    let mut command = Command::new(program("guards.c"));
    let mut running = command.args(["marks", "untouched"]).preload().begin();
    assert_eq!(running.line(), "ready");
    let seen = snapshot(running.pid());
    // 4,000 guards would be 16 MiB.
    let blocks = seen.total("resident_bytes") - seen.total("metadata_bytes");
    assert!(blocks < 2 << 20, "{blocks}");
    running.go();
    running.finish().success();
}
