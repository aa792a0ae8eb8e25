//! The published figures equal a program's own count, as differences between two snapshots.

use shm_layout::class::{CLASSES, SMALL_MAX, SizeClass};
use std::process::Command;
use tests::script::{Do, Random, Script, TOO_MUCH};
use tests::{Run, program, snapshot};

#[test]
fn a_block_of_every_size_class_counts_in_its_class() {
    let mut script = Script::new();
    script.pause();
    let sizes = (0..CLASSES).flat_map(|class| {
        let size = SizeClass(class as u8).block_size() as u64;
        [size - 15, size - 1, size]
    });
    let sizes: Vec<u64> = sizes.collect();
    for (slot, size) in sizes.iter().enumerate() {
        script.malloc(slot as u32, *size);
    }
    script.pause();
    for slot in (0..sizes.len() as u32).step_by(2) {
        script.free(slot);
    }
    script.pause();
    for slot in (1..sizes.len() as u32).step_by(2) {
        script.free(slot);
    }
    script.pause();
    script.check();
}

#[test]
fn many_blocks_of_one_class_over_several_slabs_are_exact() {
    let mut script = Script::new();
    script.pause();
    for slot in 0..20_000 {
        script.malloc(slot, u64::from(slot % 64));
    }
    script.pause();
    for slot in 0..20_000 {
        // Every third slab or so empties, the others stay.
        if (slot / 1000) % 3 == 0 || slot % 7 == 0 {
            script.free(slot);
        }
    }
    script.pause();
    for slot in 0..20_000 {
        if (slot / 1000) % 3 == 0 || slot % 7 == 0 {
            script.malloc(slot, 50);
        }
    }
    script.pause();
    script.check();
}

#[test]
fn large_blocks_count_whole_pages_in_their_buckets() {
    let sizes = [
        SMALL_MAX as u64 + 1,
        36 << 10,
        64 << 10,
        (64 << 10) + 1,
        100_000,
        128 << 10,
        (1 << 20) - 1,
        1 << 20,
        (1 << 20) + 1,
        5_000_000,
        64 << 20,
        (64 << 20) + 4097,
    ];
    let mut script = Script::new();
    script.pause();
    for (slot, size) in (0..).zip(sizes) {
        script.malloc(slot, size).calloc(slot + 100, size, 1).posix_memalign(slot + 200, 1 << 21, size);
    }
    script.pause();
    for slot in 0..sizes.len() as u32 {
        script.free(slot).free(slot + 200);
    }
    script.pause();
    for slot in 0..sizes.len() as u32 {
        script.free(slot + 100);
    }
    script.pause();
    script.check();
}

/// Such a block has the run of the one before as it stands.
#[test]
fn large_blocks_one_after_the_other_count_what_each_asked_for() {
    let mut script = Script::new();
    script.pause();
    let sizes = [100_000, 98_305, 102_400, 99_999, 40_000, 100_001, 36_865, 1 << 20, (1 << 20) - 4000, 98_304];
    for (slot, size) in (0..).zip(sizes) {
        for turn in 0..3 {
            script.malloc(slot, size - turn).free(slot).malloc(slot, size).realloc(slot, size - 7 * turn).free(slot);
        }
    }
    script.pause().malloc(20, 100_000).malloc(21, 40_000).pause().check();
    // A new peak, by one that fits the run of another.
    let mut script = Script::new();
    script.malloc(0, 98_400).free(0).malloc(0, 98_400).pause();
    script.malloc(1, 2 << 20).free(0).malloc(0, 102_400).pause().free(0).free(1).pause();
    let seen = script.check();
    assert_eq!(seen[1].total("peak_requested_bytes"), seen[1].total("requested_bytes"));
    assert_eq!(seen[2].total("peak_requested_bytes"), seen[1].total("requested_bytes"));
}

#[test]
fn blocks_of_no_bytes_are_blocks() {
    let mut script = Script::new();
    script.pause().malloc(0, 0).calloc(1, 0, 8).calloc(2, 8, 0).posix_memalign(3, 64, 0).realloc(4, 0).pause();
    for slot in 0..5 {
        script.free(slot);
    }
    script.pause().check();
}

#[test]
fn calloc_requests_count_times_size() {
    let mut script = Script::new();
    script.pause().calloc(0, 7, 13).calloc(1, 1, 1000).calloc(2, 333, 333).calloc(3, 12_345, 67).pause().check();
}

#[test]
fn aligned_blocks_count_their_own_class() {
    let mut script = Script::new();
    script.pause();
    let mut slot = 0;
    for shift in 3..=20 {
        for size in [0, 1, 24, 100, 1000, 4097, 32_768, 40_000] {
            script.posix_memalign(slot, 1 << shift, size).aligned_alloc(slot + 1, 1 << shift, size);
            slot += 2;
        }
    }
    script.pause();
    for slot in 0..slot {
        script.free(slot);
    }
    script.pause().check();
}

#[test]
fn realloc_counts_one_reallocation_a_free_and_an_allocation() {
    let mut script = Script::new();
    script.pause();
    // Nothing there yet: an allocation and nothing else.
    script.realloc(0, 100).pause();
    // In place, then to another class, then to a large block.
    script.realloc(0, 110).realloc(0, 97).realloc(0, 112).pause();
    script.realloc(0, 113).realloc(0, 5000).pause();
    script.realloc(0, 50_000).pause();
    script.reallocarray(0, 1000, 60).pause();
    script.free(0).pause();
    script.check();
}

#[test]
fn a_growing_block_is_exact_and_no_peak_holds_both_copies() {
    let mut script = Script::new();
    script.pause().malloc(0, 1);
    let mut size = 1;
    while size < 64 << 20 {
        size += size / 3 + 1;
        script.realloc(0, size);
        if size % 5 == 0 {
            // Something behind it, so that it cannot always grow where it is.
            script.malloc(size as u32 % 1000 + 1, 10_000 + size % 100_000);
            script.free(size as u32 % 1000 + 1);
        }
    }
    script.pause().free(0).pause();
    script.check();
}

#[test]
fn shrinking_requests_less_whatever_the_block_does() {
    let mut script = Script::new();
    script.pause().malloc(0, 30_000).malloc(1, 3 << 20).pause();
    script.realloc(0, 100).realloc(1, 100_000).pause();
    let mut player = script.start(|_| {});
    let mut seen = Vec::new();
    for _ in 0..3 {
        player.line();
        seen.push(snapshot(player.pid()).figures());
        player.go();
    }
    let change = &seen[2] - &seen[1];
    assert_eq!(change.requested, 100 + 100_000 - 30_000 - (3 << 20));
    assert_eq!((change.allocations, change.frees, change.reallocations), (2, 2, 2));
    assert_eq!(change.cumulative_requested, 100_100);
    let whole = &seen[2] - &seen[0];
    assert!(whole.allocated >= 100 + 100_000, "a block is at least as large as what it holds: {whole:?}");
    player.finish().success();
}

#[test]
fn null_frees_and_failed_calls_count_nothing() {
    let mut script = Script::new();
    script.malloc(0, 1000).malloc(1, 100_000).pause();
    script.step(Do::FreeNull, 0, 0, 0);
    script.step(Do::FailMalloc, 2, TOO_MUCH, 0).step(Do::FailMalloc, 2, u64::MAX, 0);
    script.step(Do::FailCalloc, 2, 1 << 40, 1 << 40).step(Do::FailCalloc, 2, TOO_MUCH, 1);
    script.step(Do::FailRealloc, 0, TOO_MUCH, 0).step(Do::FailRealloc, 1, u64::MAX, 0);
    script.step(Do::FailMemalign, 2, 64, TOO_MUCH).step(Do::FailMemalign, 2, 3, 100);
    script.step(Do::FreeNull, 0, 0, 0).pause();
    let seen = script.check();
    assert_eq!(seen[0].figures(), seen[1].figures());
    for peak in ["peak_requested_bytes", "peak_allocated_bytes"] {
        assert_eq!(seen[0].total(peak), seen[1].total(peak), "a failed call raised a peak");
    }
}

#[test]
fn a_peak_between_two_snapshots_is_kept() {
    let mut script = Script::new();
    script.pause();
    for slot in 0..100 {
        script.malloc(slot, 10_000);
    }
    script.malloc(100, 20 << 20).free(100).free(99).malloc(99, 9_000);
    for slot in 0..100 {
        script.free(slot);
    }
    script.pause().malloc(0, 1).pause();
    let seen = script.check();
    assert!(seen[1].total("peak_requested_bytes") - seen[0].total("requested_bytes") == (20 << 20) + 1_000_000);
}

#[test]
fn threads_are_exact_after_a_barrier() {
    let mut script = Script::new();
    script.on(7).pause();
    let mut random = Random::new(7);
    for round in 0..3 {
        for thread in 0..8 {
            script.on(thread);
            for slot in 0..400 {
                let slot = u32::from(thread) * 1000 + slot;
                if round > 0 {
                    script.free(slot);
                }
                script.malloc(slot, random.size());
            }
        }
        script.pause();
    }
    let seen = script.check();
    let last = seen.last().unwrap();
    let error = last.total("peak_error_bytes");
    let peak = last.total("peak_requested_bytes");
    // Nine threads.
    assert!(error <= (64 << 10).max(peak / 128) + 9 * (2 << 10), "the peak may be wrong by {error} of {peak}");
    assert!(peak + error >= seen.iter().map(|s| s.total("requested_bytes")).max().unwrap());
}

#[test]
fn a_peak_has_what_sleeping_threads_hold() {
    let mut running = Command::new(program("peaks.c")).preload().begin();
    let truth: i64 = running.line().parse().unwrap();
    let seen = snapshot(running.pid());
    let (peak, error) = (seen.total("peak_requested_bytes"), seen.total("peak_error_bytes"));
    assert!(error <= (64 << 10).max(truth / 128) + 9 * (2 << 10), "the peak may be wrong by {error} of {truth}");
    // Some KiB are the threads' own.
    assert!((truth - error..truth + error + (8 << 10)).contains(&peak), "{peak} within {error} of {truth}?");
    running.go();
    running.finish().success();
}

/// A tally's sum alone tells a million calls apart.
#[test]
fn millions_of_calls_off_the_slow_path_are_exact() {
    const CALLS: i64 = 2_500_000;
    const HANDED: i64 = 600 + 6_000_000 + 3 * 6_000_000 / 100;
    let mut running = Command::new(program("manycalls.c")).preload().begin();
    assert_eq!(running.line(), "0");
    let mut before = snapshot(running.pid()).figures();
    // Allocations, frees and reallocations of each stage.
    for (stage, calls, reallocations) in [("pairs", 4 * CALLS, 0), ("resizes", CALLS + 1, CALLS), ("remote", HANDED, 0)]
    {
        running.go();
        let requested: i64 = running.line().parse().unwrap();
        let now = snapshot(running.pid()).figures();
        let change = &now - &before;
        assert_eq!((change.allocations, change.frees, change.reallocations), (calls, calls, reallocations), "{stage}");
        assert_eq!((change.cumulative_requested, change.requested, change.live_blocks), (requested, 0, 0), "{stage}");
        before = now;
    }
    running.go();
    running.finish().success();
}

/// A size with a class: large blocks belong to no thread, so that none of their frees is remote.
fn small(random: &mut Random) -> u64 {
    random.size().min(SMALL_MAX as u64)
}

#[test]
fn remote_frees_are_exact_and_counted() {
    let mut script = Script::new();
    let blocks = 3000;
    script.on(3).pause();
    let mut random = Random::new(3);
    for slot in 0..blocks {
        script.on((slot % 4) as u8).malloc(slot, small(&mut random));
    }
    script.pause();
    // Everyone frees its neighbour's blocks, while allocating itself.
    for slot in 0..blocks {
        let other = ((slot + 1) % 4) as u8;
        script.on(other).free(slot);
        if slot % 3 == 0 {
            script.on(other).malloc(slot, small(&mut random));
        }
    }
    script.pause();
    // And what is left dies at home.
    for slot in (0..blocks).step_by(3) {
        script.on(((slot + 1) % 4) as u8).free(slot);
    }
    script.pause();
    let seen = script.check();
    assert_eq!(seen[1].total("remote_frees"), seen[0].total("remote_frees"), "nobody freed anything yet");
    let remote = seen[2].total("remote_frees") - seen[1].total("remote_frees");
    assert_eq!(remote, i64::from(blocks), "every block was freed by another thread");
    assert_eq!(seen[3].total("remote_frees"), seen[2].total("remote_frees"), "the last ones were freed at home");
}

/// From some instruction on the block is its owner's, who hands it out again with another slack.
#[test]
fn a_remote_free_counts_what_it_freed_whatever_its_owner_does_meanwhile() {
    let mut met = 0;
    for step in 1.. {
        let mut command = Command::new(program("between.c"));
        let said = command.args([step.to_string().as_str(), "7900", "7300"]).preload().finish().success().out();
        let [is_reached, is_met, difference] = said.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{said}")
        };
        assert_eq!(difference, "0", "step {step}: {said}");
        met += u32::from(is_reached == "1" && is_met == "1");
        if is_reached == "0" {
            break;
        }
    }
    assert!(met >= 10, "the owner had the block back before the end of the call {met} times");
}

#[test]
fn remote_reallocs_are_exact() {
    let mut script = Script::new();
    script.on(1).pause();
    let mut random = Random::new(11);
    let sizes: Vec<u64> = (0..1000).map(|_| random.size() + 1).collect();
    for (slot, size) in (0..).zip(&sizes) {
        script.on(0).malloc(slot, *size);
    }
    script.pause();
    for (slot, size) in (0..).zip(&sizes) {
        script.on(1).realloc(slot, size * 3 + 17);
    }
    script.pause();
    for slot in 0..sizes.len() as u32 {
        script.on((slot % 2) as u8).free(slot);
    }
    script.pause().check();
}

#[test]
fn a_snapshot_in_the_middle_of_a_run_is_exact_to_the_call() {
    let counts = tests::artefacts::Folder::new();
    let path = counts.path().join("counts");
    let mut running = Command::new(program("hammer.c")).arg(&path).preload().begin();
    running.line();
    let base = snapshot(running.pid()).figures();
    running.go();
    for _ in 0..25 {
        // Waits until it has gone on by itself, so that every look is at another point of the run.
        let seen = own_counts(&path)[1];
        while own_counts(&path)[1] == seen {
            std::thread::yield_now();
        }
        running.signal(libc::SIGSTOP);
        running.wait_stopped();
        let own = own_counts(&path);
        let change = &snapshot(running.pid()).figures() - &base;
        let [begun, ended, requested_begun, requested_ended, frees_begun, frees_ended] = own;
        assert!(ended <= change.allocations && change.allocations <= begun, "{own:?}: {change:?}");
        assert!(begun - ended <= 1 && frees_begun - frees_ended <= 1, "{own:?}");
        let requested = change.cumulative_requested;
        assert!(requested_ended <= requested && requested <= requested_begun, "{own:?}: {change:?}");
        assert!(frees_ended <= change.frees && change.frees <= frees_begun, "{own:?}: {change:?}");
        running.signal(libc::SIGCONT);
    }
    running.close_input();
}

/// Six counts that `hammer.c` keeps in a file it has mapped.
fn own_counts(path: &std::path::Path) -> [i64; 6] {
    let bytes = std::fs::read(path).unwrap();
    std::array::from_fn(|i| i64::from_ne_bytes(bytes[i * 8..i * 8 + 8].try_into().unwrap()))
}

#[test]
fn a_threads_row_shows_what_it_did_itself() {
    let mut script = Script::new();
    script.on(1).pause();
    script.on(0).malloc(0, 1000).malloc(1, 500);
    script.on(1).malloc(2, 70_000).barrier();
    script.on(1).free(0).pause();
    let seen = script.check();
    let row = |at: usize, tid: i64, name: &str| -> i64 {
        let rows = seen[at].list("/threads/rows");
        let row = rows.iter().find(|row| row["tid"] == tid).unwrap_or_else(|| panic!("no thread {tid}: {rows:?}"));
        row[name].as_i64().unwrap()
    };
    let main = seen[0].number("/pid");
    let live = |row: &&serde_json::Value| row["state"] == "live" && row["tid"] != main;
    let others: Vec<_> = seen[1].list("/threads/rows").iter().filter(live).collect();
    assert_eq!(others.len(), 1, "one other thread: {others:?}");
    let other = others[0]["tid"].as_i64().unwrap();
    let change = |tid, name| {
        let before = seen[0].list("/threads/rows").iter().any(|row| row["tid"] == tid);
        row(1, tid, name) - if before { row(0, tid, name) } else { 0 }
    };
    let names = ["allocations", "frees", "allocated_by_bytes", "freed_by_bytes"];
    assert_eq!(names.map(|name| change(main, name)), [2, 0, 1500, 0]);
    assert_eq!(names.map(|name| change(other, name)), [1, 1, 70_000, 1000]);
}
