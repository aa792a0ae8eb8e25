//! Zeroed blocks of memory that was in use before: sparse tables cost what is touched of them, and buffers that are filled no page
//! faults.

use std::process::Command;
use tests::{Run, program, snapshot};

/// How many KiB 16 blocks of 640 KiB on average make resident, and the page faults that one takes.
fn zeros(uses: &[&str]) -> (i64, i64) {
    let mut running = Command::new(program("zeros.c")).args(uses).preload().begin();
    let resident = running.line().parse().unwrap();
    let faults = running.line().parse().unwrap();
    running.go();
    running.finish().success();
    (resident, faults)
}

/// Whether a filter of system calls is in force, under which all are cleared.
fn is_filtered() -> bool {
    !std::fs::read_to_string("/proc/self/status").unwrap().contains("\nSeccomp:\t0\n")
}

#[test]
fn sparse_tables_keep_no_memory_that_is_not_touched() {
    let (resident, faults) = zeros(&["sparse"]);
    if is_filtered() {
        return assert!(resident > 8 << 10, "{resident} KiB for 10 MiB that are cleared");
    }
    assert!(resident < 2 << 10, "{resident} KiB for 10 pages in each of 16 blocks");
    assert!(faults < 30, "{faults} page faults for 10 pages");
}

/// Sparse tables that are freed at once (see `tables.c`): KiB that are resident with them, without them, and how much more metadata
/// there is once the allocator has looked after its memory.
fn tables(decay_ms: &str) -> (i64, i64, i64) {
    let mut running = Command::new(program("tables.c")).preload().env("STATSALLOC_DECAY_MS", decay_ms).begin();
    assert_eq!(running.line(), "ready");
    let metadata = |pid: u32| snapshot(pid).total("metadata_bytes") >> 10;
    let before = metadata(running.pid());
    running.go();
    let told = running.line();
    let (live, freed) = told.split_once(' ').unwrap();
    let (live, freed) = (live.parse().unwrap(), freed.parse().unwrap());
    running.go();
    assert_eq!(running.line(), "done");
    let after = metadata(running.pid());
    running.go();
    running.finish().success();
    (live, freed, after - before)
}

#[test]
fn sparse_tables_go_back_when_they_are_freed_and_so_does_in_time_what_was_written_down_of_them() {
    // Six pages of each table, and one of the ledger.
    let (live, freed, _) = tables("60000");
    eprintln!("{live} KiB with 200 tables, {freed} without");
    assert!(live < 7 << 10 || is_filtered(), "{live} KiB for 1200 pages");
    assert!(freed < 2 << 10 || is_filtered(), "{freed} KiB of {live} stay before the decay time is over");
    let (_, _, metadata) = tables("20");
    assert!(metadata < 600, "{metadata} KiB of metadata more, and 200 pages of the ledger were written");
}

#[test]
fn buffers_that_are_filled_are_not_faulted_in_again_and_again() {
    let (resident, faults) = zeros(&["filled"]);
    assert!(resident < 30 << 10, "{resident} KiB for 10 MiB that are live");
    assert!(faults < 16, "{faults} page faults for 160 pages");
}

/// They once fell into taking what had just been purged for them, each block anew.
#[test]
fn buffers_of_many_sizes_that_are_filled_are_not_faulted_in_again_and_again() {
    let (resident, faults) = zeros(&["varied"]);
    assert!(resident < 14 << 10, "{resident} KiB for 5 MiB that are live on average");
    assert!(faults < 8, "{faults} page faults for 150 pages");
}

#[test]
fn buffers_just_below_a_power_of_two_that_are_filled_in_part_are_not_either() {
    let (_, faults) = zeros(&["most"]);
    assert!(faults < 10, "{faults} page faults for 96 pages");
}

#[test]
fn what_others_fill_is_not_faulted_in_again_for_sparse_tables_beside_it() {
    let (_, faults) = zeros(&["beside"]);
    assert!(faults < 16, "{faults} page faults for 160 pages");
}

#[test]
fn what_others_fill_in_part_is_zero_and_does_not_become_resident_as_a_whole() {
    let (resident, faults) = zeros(&["partly"]);
    assert!(resident < 9 << 10 || is_filtered(), "{resident} KiB for 9600 that are filled to two thirds");
    assert!(faults < 30, "{faults} page faults for 105 pages");
}

#[test]
fn what_others_fill_a_little_of_is_not_faulted_in_again_and_again() {
    let (_, faults) = zeros(&["little"]);
    assert!(faults < 8, "{faults} page faults for 30 pages");
}

#[test]
fn buffers_are_not_faulted_in_again_where_sparse_tables_were() {
    let (_, faults) = zeros(&["sparse", "filled"]);
    assert!(faults < 16, "{faults} page faults for 160 pages");
}

#[test]
fn memory_that_cannot_be_given_back_is_cleared() {
    // The program looks at the page that was locked.
    zeros(&["locked"]);
}

#[test]
fn buffers_are_not_faulted_in_again_where_the_kernel_does_not_tell_what_is_resident() {
    let (_, faults) = zeros(&["refused", "filled"]);
    assert!(faults < 16, "{faults} page faults for 160 pages");
}

#[test]
fn a_filter_from_before_the_program_is_not_tried() {
    let (resident, _) = zeros(&["forbidden", "sparse"]);
    assert!(resident > 8 << 10, "{resident} KiB for 10 MiB that are cleared");
}

#[test]
fn blocks_of_two_sizes_in_turn_do_not_leave_each_others_memory_lying_about() {
    let finished = Command::new(program("uneven.c")).args(["200", "50"]).preload().finish().success();
    let resident: i64 = finished.out().trim().parse().unwrap();
    // Half as much again as the larger, and 4 MiB that always may.
    assert!(resident < 104 << 10, "{resident} KiB, where no more than 64 MiB are in use at one time");
}
