//! Every hazard of `programs/hazards/`, each in a process of its own.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tests::Finished;
use tests::hazard::{Allocator, Case, GROUPS, Outcome, cases};

/// Runs the cases of `group` and requires of each what the group requires.
fn require(group: &str) {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.group == group).collect();
    assert!(!cases.is_empty(), "no case of {group}");
    let root = unprivileged_skip(&cases);
    let ours = Allocator::ours();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if case.needs_root() && !root {
                        continue;
                    }
                    let (outcome, finished) = case.run(&ours);
                    if let Err(why) = judge(case, outcome, &finished) {
                        wrong.lock().unwrap().push(format!("{}: {why}: {finished:?}", case.name));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Whether this is root; says so if it is not and a case needs it.
fn unprivileged_skip(cases: &[Case]) -> bool {
    !cases.iter().any(Case::needs_root) || !tests::missing_privilege()
}

fn judge(case: &Case, outcome: Outcome, finished: &Finished) -> Result<(), String> {
    let bar = case.bar();
    if !outcome.meets(bar) {
        return Err(outcome.word().to_owned());
    }
    let errors = finished.err();
    let one_line = errors.lines().count() == 1 && errors.starts_with("statsalloc: ") && errors.contains(", thread ");
    if outcome == Outcome::Detected && !one_line {
        return Err("not one clear line".to_owned());
    }
    Ok(())
}

#[test]
fn every_double_free_is_detected() {
    require("double");
}

#[test]
fn every_interior_free_is_detected() {
    require("interior");
}

#[test]
fn every_wild_free_is_detected() {
    require("wild");
}

#[test]
fn foreign_blocks_are_left_alone() {
    require("foreign");
}

#[test]
fn writes_after_free_choose_no_address() {
    require("overwritten");
}

#[test]
fn processes_and_threads_live_and_end_as_they_like() {
    require("life");
}

#[test]
fn limits_and_faults_are_survived() {
    require("limits");
}

#[test]
fn every_group_is_required() {
    let source = include_str!("hazard_suite.rs");
    for (group, ..) in GROUPS {
        assert!(source.contains(&format!("require(\"{group}\")")), "{group}");
    }
}
