//! Whether a running program can be seen.

use crate::artefacts::statsmon;
use crate::process::Run;
use crate::snapshot::{Snapshot, snapshot};
use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until process `pid` has a line in `statsmon --once`, and returns a snapshot of it. The process must be one
/// that waits for the test, and must have misused nothing.
#[track_caller]
pub fn visible(pid: u32, name: &str) -> Snapshot {
    let start = Instant::now();
    loop {
        let list = Command::new(statsmon()).arg("--once").finish();
        let own = pid.to_string();
        let out = list.out();
        if let Some(line) = out.lines().find(|line| line.split_whitespace().any(|word| word == own)) {
            // Between the library's loading and its start it is listed, but has nothing to show.
            if !line.to_lowercase().contains("unpublished") {
                assert!(line.contains(name), "process {pid} should be {name}: {line}");
                break;
            }
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{name}, {pid}, is not in\n{out}{}", list.err());
        assert!(std::fs::exists(format!("/proc/{pid}")).unwrap_or(false), "{name} has ended");
    }
    let seen = snapshot(pid);
    assert_eq!(seen.text("/state"), "live");
    check(&seen, name);
    seen
}

/// A sound program's snapshot: something lives, and nothing was misused.
#[track_caller]
pub fn check(seen: &Snapshot, name: &str) {
    let figures = seen.figures();
    assert!(figures.live_blocks > 0 && figures.requested > 0, "{name}: {figures:?}");
    for misuse in ["foreign_frees", "double_frees", "invalid_frees"] {
        assert_eq!(seen.number(&format!("/misuse/{misuse}")), 0, "{name}: {}", seen.0["misuse"]);
    }
}

/// The first child of process `pid`, waited for.
#[track_caller]
pub fn child_of(pid: u32) -> u32 {
    let start = Instant::now();
    loop {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            return child.parse().expect("a PID");
        }
        assert!(start.elapsed() < Duration::from_secs(60), "process {pid} has no child");
        std::thread::yield_now();
    }
}
