//! Huge pages come where a heap is filled, cost no memory, and copy nothing that is shared with a child.

use std::process::Command;
use tests::artefacts::Folder;
use tests::require::{missing_privilege, skipped};
use tests::sandbox::Sandbox;
use tests::{Run, Running, program};

/// KiB of small blocks that the program takes.
const TAKEN: i64 = 12 << 10;

/// A line of `smaps_rollup`, in KiB.
fn rollup(pid: u32, name: &str) -> i64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Where the system says whether it has huge pages for all, for those who ask, or for nobody.
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Whether the system gives huge pages to those who ask, and from Linux 6.1 on at once.
fn unavailable() -> bool {
    let enabled = std::fs::read_to_string(ENABLED).unwrap_or_default();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if enabled.is_empty() || enabled.contains("[never]") || version < (6, 1) {
        return skipped("the system gives no huge pages on request");
    }
    false
}

fn dense(mode: &str) -> Command {
    let mut command = Command::new(program("dense.c"));
    command.arg(mode).preload().env("STATSALLOC_DECAY_MS", "50");
    command
}

fn start(mut command: Command) -> Running {
    let mut running = command.begin();
    assert_eq!(running.line(), "filled");
    running
}

#[test]
fn a_filled_heap_gets_huge_pages_and_no_memory_more_and_gives_them_back() {
    if unavailable() {
        return;
    }
    // However long they take on this machine.
    let mut command = dense("alone");
    command.env("STATSALLOC_HUGE", "filled");
    let mut running = start(command);
    let pid = running.pid();
    let before = rollup(pid, "Rss");
    running.go();
    assert_eq!(running.line(), pid.to_string());
    let (huge, after) = (rollup(pid, "AnonHugePages"), rollup(pid, "Rss"));
    eprintln!("{before} KiB before, {after} after, {huge} in huge pages");
    assert!(huge >= TAKEN * 2 / 3, "{huge} KiB of {TAKEN} are in huge pages");
    assert!(after <= before + before / 16, "{before} KiB grew to {after}");
    running.go();
    assert_eq!(running.line(), "freed");
    let freed = rollup(pid, "Rss");
    assert!(freed <= after - TAKEN * 3 / 4, "{freed} KiB stay resident of {after}");
    running.go();
    running.finish().success();
}

/// KiB that a block of 64 MiB of which one page in `pages` is written to takes beside others of the same kind, and how much of
/// them in huge pages.
fn last_pool(pages: &str) -> (i64, i64) {
    let mut command = Command::new(program("pools.c"));
    command.arg(pages).env("STATSALLOC_HUGE", "filled").preload();
    let mut running = command.begin();
    assert_eq!(running.line(), "asked");
    let before = rollup(running.pid(), "Rss");
    running.go();
    assert_eq!(running.line(), "written");
    let (after, huge) = (rollup(running.pid(), "Rss"), rollup(running.pid(), "AnonHugePages"));
    running.go();
    running.finish().success();
    (after - before, huge)
}

#[test]
fn large_blocks_that_are_hardly_touched_get_no_huge_pages_and_filled_ones_do() {
    if unavailable() {
        return;
    }
    let (taken, huge) = last_pool("32");
    // A system may give them to all, whoever asks.
    let unasked = std::fs::read_to_string(ENABLED).unwrap().contains("[always]");
    assert!(unasked || taken < 4 << 10 && huge == 0, "{taken} KiB taken, {huge} in huge pages");
    let (taken, huge) = last_pool("1");
    assert!(taken < 66 << 10 && huge > 32 << 10, "{taken} KiB taken, {huge} in huge pages");
}

#[test]
fn a_child_copies_none_of_its_parents_pages() {
    let mut running = start(dense("forks"));
    running.go();
    let child = running.line().parse().unwrap();
    let copied = rollup(child, "Private_Dirty");
    eprintln!("the child has {copied} KiB of its own");
    assert!(copied < TAKEN / 4, "the child has copied {copied} KiB that it never wrote to");
    running.go();
    assert_eq!(running.line(), "freed");
    running.go();
    running.finish().success();
}

/// Huge pages that come while the program goes on, in KiB.
fn come(command: Command) -> i64 {
    let mut running = start(command);
    running.go();
    running.line();
    rollup(running.pid(), "AnonHugePages")
}

#[test]
fn none_come_where_the_user_wants_none() {
    let mut command = dense("alone");
    command.env("STATSALLOC_HUGE", "never");
    assert_eq!(come(command), 0);
}

#[test]
fn none_come_where_the_administrator_wants_none() {
    if missing_privilege() || unavailable() {
        return;
    }
    let scratch = Folder::new();
    let says = scratch.path().join("enabled");
    std::fs::write(&says, "always madvise [never]\n").unwrap();
    let mut command = dense("alone");
    command.replacing(ENABLED, &says);
    assert_eq!(come(command), 0);
}
