//! As `exact`, where several threads count, or while they do.

use shm_layout::class::SMALL_MAX;
use std::process::Command;
use tests::script::{Random, Script};
use tests::{Run, program, snapshot};

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
    holds_what_sleepers_have(1000);
}

#[test]
fn a_peak_of_large_blocks_has_what_sleeping_threads_hold() {
    [40_000, 200_000].into_iter().for_each(holds_what_sleepers_have);
}

fn holds_what_sleepers_have(size: u32) {
    let mut running = Command::new(program("peaks.c")).arg(size.to_string()).preload().begin();
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
