//! Large blocks and slabs that a thread has freed stay with it: nothing of them may be lost, or be missing in what is counted.

use std::ops::RangeInclusive;
use std::process::Command;
use tests::{Run, Running, program, snapshot};

/// KiB of a large block.
const BLOCK: i64 = 400;
/// KiB of a slab for blocks of 16 KiB.
const SLAB: i64 = 128;
const BLOCKS: i64 = 8;
/// So many of them at least: the first chunk may since have become one for slabs.
const MOST: i64 = BLOCKS - 3;

/// What the program says is cached, twice.
fn cached(mode: &str) -> (Running, i64, i64) {
    cached_for(mode, "60000")
}

/// As `cached`, with this decay time in ms.
fn cached_for(mode: &str, decay: &str) -> (Running, i64, i64) {
    let mut running = Command::new(program("kept.c")).arg(mode).env("STATSALLOC_DECAY_MS", decay).preload().begin();
    let mut number = || running.line().parse::<i64>().unwrap();
    let (before, after) = (number(), number());
    (running, before, after)
}

/// What was freed counts as cached, and that many KiB of it no longer once the same is allocated again.
#[track_caller]
fn counts_until_used_again(mode: &str, used: RangeInclusive<i64>) {
    let (mut running, free, live) = cached(mode);
    assert!(used.contains(&(free - live)), "of {free} KiB that were cached {live} are still");
    assert_eq!(snapshot(running.pid()).total("cached_bytes") >> 10, live);
    running.go();
    running.finish().success();
}

#[test]
fn a_freed_block_is_counted_as_cached_until_it_is_handed_out_again() {
    counts_until_used_again("again", BLOCK..=BLOCK);
}

#[test]
fn freed_slabs_are_counted_as_cached_until_they_are_used_again() {
    // Of six slabs one stays current, and one has the blocks that are in the bin.
    counts_until_used_again("slabs", 3 * SLAB..=4 * SLAB);
}

#[test]
fn what_threads_freed_before_they_ended_is_used_again() {
    let (mut running, free, live) = cached("ended");
    assert!(free >= BLOCKS * (BLOCK + SLAB), "{free} KiB are cached");
    assert!(free - live >= MOST * BLOCK, "of {free} KiB that were cached {live} are still");
    running.go();
    running.finish().success();
}

#[test]
fn what_the_parents_threads_had_freed_is_used_in_the_child() {
    let (running, free, live) = cached("vanished");
    assert!(free >= BLOCKS * (BLOCK + SLAB), "{free} KiB are cached");
    assert!(free - live >= MOST * BLOCK, "of {free} KiB that were cached {live} are still");
    running.finish().success();
}

#[test]
fn blocks_that_a_sleeping_thread_has_freed_go_back_while_others_go_on() {
    let (mut running, free, live) = cached_for("asleep", "40");
    assert!(free - live >= BLOCKS * BLOCK, "{free} KiB were cached, {live} are");
    assert!(snapshot(running.pid()).total("purged_bytes") >= (BLOCKS * BLOCK) << 10, "not purged");
    running.go();
    running.finish().success();
}

#[test]
fn a_raw_forks_child_counts_as_cached_what_it_has_not_what_its_parent_has() {
    let (running, before, after) = cached("raw");
    assert!(before >= BLOCK, "{before} KiB are cached");
    assert!((0..before).contains(&after), "{before} KiB were cached, {after} are in the child, which uses them");
    running.finish().success();
}

/// Where no more memory is to be had, this call takes what other threads have freed, and keep.
#[track_caller]
fn takes_what_others_keep(call: &str) {
    let (mut running, free, left) = cached(call);
    assert!(free >= BLOCKS * BLOCK, "{free} KiB are cached");
    assert!(left < BLOCK, "of {free} KiB that were cached {left} still are when the call is refused");
    running.go();
    running.finish().success();
}

#[test]
fn malloc_is_not_refused_while_other_threads_keep_blocks() {
    takes_what_others_keep("malloc");
}

#[test]
fn calloc_is_not_refused_while_other_threads_keep_blocks() {
    takes_what_others_keep("calloc");
}

#[test]
fn realloc_of_a_small_block_is_not_refused_while_other_threads_keep_large_ones() {
    takes_what_others_keep("realloc");
}

#[test]
fn a_large_block_is_not_kept_from_growing_by_what_other_threads_keep() {
    takes_what_others_keep("grow");
}

/// Of 20,000 runs, a look at each of which takes four instructions or more; what is done now and then takes 15,000.
#[test]
fn what_is_cached_does_not_grow_as_large_blocks_are_used_again() {
    let cached = |size: &str, cycles: &str| {
        let mut command = Command::new(program("cycles.c"));
        command.args([size, "500", cycles]).env("STATSALLOC_DECAY_MS", "never");
        let mut running = command.preload().begin();
        running.line();
        let seen = snapshot(running.pid());
        let (cached, resident) = (seen.total("cached_bytes"), seen.total("resident_bytes"));
        assert!(cached <= resident, "{cached} bytes cached of {resident} after {cycles} cycles of {size}");
        running.go();
        running.finish().success();
        cached
    };
    for size in ["33000", "70000", "100000"] {
        let (once, often) = (cached(size, "1"), cached(size, "8"));
        assert!(often <= once + once / 8, "{once} bytes cached, and {often} after eight cycles of {size}");
    }
}

#[test]
fn what_is_left_of_a_free_run_finds_its_place_without_a_look_at_all_that_became_free_later() {
    let finished =
        Command::new(program("scattered.c")).env("STATSALLOC_DECAY_MS", "60000").preload().finish().success();
    let counts: Vec<u64> = finished.out().split_whitespace().map(|count| count.parse().unwrap()).collect();
    let [of_malloc, of_free] = counts[..] else { panic!("{}", finished.out()) };
    assert!((100..30_000).contains(&of_malloc), "malloc: {of_malloc} instructions");
    assert!((100..30_000).contains(&of_free), "free: {of_free} instructions");
}
