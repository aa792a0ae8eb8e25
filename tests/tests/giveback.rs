//! What a program has freed goes back to the system: at its next slow path after the decay time, and of an idle program by
//! the thread that `STATSALLOC_BACKGROUND` asks for. Resident memory is as the kernel counts it.

use std::process::Command;
use std::time::{Duration, Instant};
use tests::{Run, Running, missing_privilege, program, snapshot};

/// The blocks that the program takes, in KiB.
const TAKEN: i64 = 320 << 10;
/// Decay time in these tests, and how long the programs wait to be beyond it; milliseconds.
const DECAY: &str = "100";
const BEYOND: &str = "150";

fn start(freed: &str, next: &str, background: bool) -> Running {
    let mut command = Command::new(program("returns.c"));
    command.args([freed, next]).preload().env("STATSALLOC_DECAY_MS", DECAY);
    if background {
        command.env("STATSALLOC_BACKGROUND", "1");
    } else {
        command.arg(BEYOND);
    }
    let mut running = command.begin();
    assert_eq!(running.line(), "ready");
    running
}

/// Resident KiB.
fn resident(pid: u32) -> i64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The process that speaks, and the KiB that it has live.
fn told(running: &mut Running) -> (u32, i64) {
    let line = running.line();
    let (pid, live) = line.split_once(' ').unwrap();
    (pid.parse().unwrap(), live.parse::<i64>().unwrap() / 1024)
}

/// How much may be resident: a quarter more than what is live. What is live when all was freed is next to nothing; then a
/// quarter of a tenth of what was taken.
fn enough(start: i64, live: i64) -> i64 {
    start + live + live.max(TAKEN / 10) / 4
}

/// After `next`, beyond the decay time, little more is resident than is live.
fn goes_back(freed: &str, next: &str) {
    let mut running = start(freed, next, false);
    let before = resident(running.pid());
    running.go();
    let (pid, live) = told(&mut running);
    assert!(freed == "all" || live > TAKEN / 12, "{live} KiB are live");
    let now = resident(pid);
    eprintln!("{freed}, {next}: {before} KiB at the start, {live} live, {now} resident");
    assert!(now <= enough(before, live), "{now} KiB are resident, {live} live, {before} at the start");
    running.go();
    running.finish().success();
}

#[test]
fn one_slow_path_after_the_decay_time_gives_everything_back() {
    goes_back("all", "one");
}

#[test]
fn one_slow_path_after_the_decay_time_gives_nine_tenths_back() {
    goes_back("most", "one");
}

#[test]
fn a_loop_that_allocates_and_frees_comes_to_a_slow_path() {
    goes_back("most", "pairs");
}

/// Much time may lie between two of them.
#[test]
fn a_few_large_blocks_that_come_and_go_lead_to_a_slow_path() {
    goes_back("all", "large");
}

#[test]
fn a_loop_that_only_resizes_comes_to_a_slow_path() {
    goes_back("most", "resizes");
}

#[test]
fn what_is_written_down_of_slabs_that_go_back_one_by_one_goes_back_with_them() {
    let mut command = Command::new(program("returns.c"));
    let mut running = command.args(["all", "one"]).preload().env("STATSALLOC_DECAY_MS", "0").begin();
    assert_eq!(running.line(), "ready");
    let metadata = |pid: u32| snapshot(pid).total("metadata_bytes") >> 10;
    let before = metadata(running.pid());
    running.go();
    let (pid, _) = told(&mut running);
    let after = metadata(pid);
    // The records of units stay, 140 bytes for every 32 KiB; the ledger's sixteenth and less does not.
    eprintln!("{before} KiB of metadata, then {after}");
    assert!(after - before < TAKEN / 150, "{before} KiB of metadata, then {after}");
    running.go();
    running.finish().success();
}

/// An idle program is to have given back what it freed within a second after the decay time. The rest is for what else the machine
/// has to do.
const SOON: Duration = Duration::from_secs(3);

/// Waits until `now` is at most `enough`.
fn falls(what: &str, enough: i64, now: impl Fn() -> i64) {
    let deadline = Instant::now() + SOON;
    while now() > enough {
        assert!(Instant::now() < deadline, "{what} stays at {}, {enough} would be enough", now());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn idles(freed: &str) {
    let mut running = start(freed, "idle", true);
    let before = resident(running.pid());
    running.go();
    let (pid, live) = told(&mut running);
    falls("resident KiB", enough(before, live), || resident(pid));
    falls("cached bytes", 0, || snapshot(pid).total("cached_bytes"));
    let seen = snapshot(pid);
    assert_eq!(seen.total("peak_error_bytes"), 0, "the program has one thread: {}", seen.0["totals"]);
    assert_eq!(seen.number("/threads/live"), 1);
    running.go();
    running.finish().success();
}

#[test]
fn an_idle_program_that_freed_everything_does_not_keep_it() {
    idles("all");
}

#[test]
fn an_idle_program_that_freed_nine_tenths_does_not_keep_them() {
    idles("most");
}

/// The threads of a process by name, but for the first.
fn threads(pid: u32) -> Vec<(u32, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let ids = tasks.map(|task| task.unwrap().file_name().into_string().unwrap().parse().unwrap());
    let name = |id: u32| std::fs::read_to_string(format!("/proc/{pid}/task/{id}/comm")).unwrap().trim().to_owned();
    ids.filter(|&id: &u32| id != pid).map(|id| (id, name(id))).collect()
}

#[test]
fn a_forked_child_gets_a_thread_of_its_own() {
    let mut running = start("all", "child", true);
    let before = resident(running.pid());
    running.go();
    let (child, live) = told(&mut running);
    assert_ne!(child, running.pid());
    falls("resident KiB", enough(before, live), || resident(child));
    let names: Vec<_> = threads(child).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["statsalloc"]);
    running.go();
    running.finish().success();
}

#[test]
fn the_thread_is_named_takes_no_signals_and_is_there_only_when_asked_for() {
    for asked in [true, false] {
        let mut running = start("all", "idle", asked);
        running.go();
        let (pid, _) = told(&mut running);
        let others = threads(pid);
        if asked {
            let [(id, name)] = others.as_slice() else { panic!("{others:?}") };
            assert_eq!(name, "statsalloc");
            let status = std::fs::read_to_string(format!("/proc/{pid}/task/{id}/status")).unwrap();
            let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
            // All but SIGKILL and SIGSTOP, which cannot be.
            assert_eq!(blocked, "fffffffffffbfeff", "{status}");
        } else {
            assert_eq!(others, []);
        }
        running.go();
        running.finish().success();
    }
}

#[test]
fn the_thread_does_not_keep_a_program_that_ends_without_its_main_thread() {
    let mut running = start("all", "leave", true);
    running.go();
    assert_eq!(running.line(), "the main thread has ended");
    running.go();
    running.finish().success();
}

#[test]
fn a_program_that_filters_its_system_calls_is_not_ended_by_the_thread() {
    let mut filtered = Command::new(program("hazards/filters.c"));
    filtered.arg("anything_unusual_kills").preload().env("STATSALLOC_BACKGROUND", "1");
    assert_eq!(filtered.finish().success().out(), "survived\n");
}

#[test]
fn forking_in_the_middle_of_a_purge_leaves_the_child_whole() {
    let mut storm = Command::new(program("forkstorm.c"));
    storm.arg("200").preload().env("STATSALLOC_BACKGROUND", "1").env("STATSALLOC_DECAY_MS", "1");
    let finished = storm.finish().success();
    assert_eq!((finished.out().as_str(), finished.err().as_str()), ("200 children\n", ""));
}

#[test]
fn a_handler_that_forks_in_the_middle_of_a_call_does_not_wait_for_the_thread_for_ever() {
    let mut command = Command::new(program("handlerforks.c"));
    command.arg("1000").preload().env("STATSALLOC_BACKGROUND", "1").env("STATSALLOC_DECAY_MS", "4");
    command.finish().success();
}

#[test]
fn a_thread_that_frees_little_does_not_give_back_all_that_others_have_freed() {
    const MIB: i64 = 1 << 20;
    let mut running = Command::new(program("surplus.c")).preload().env("STATSALLOC_DECAY_MS", "1000000").begin();
    let [freed, one, all] = ["freed", "one more", "all"].map(|stage| {
        assert_eq!(running.line(), stage);
        let seen = snapshot(running.pid());
        running.go();
        (seen.total("cached_bytes"), seen.total("purged_bytes"))
    });
    running.finish().success();
    assert!(freed.0 > 150 * MIB, "{} MiB lie about", freed.0 / MIB);
    let purged = one.1 - freed.1;
    assert!(purged > MIB && purged <= 17 * MIB, "{} MiB were given back for one", purged / MIB);
    assert!(all.0 < 16 * MIB, "{} MiB still lie about", all.0 / MIB);
}

#[test]
fn memory_that_is_locked_goes_back_as_all_else_does() {
    let mut running = Command::new(program("mlocked.c")).preload().begin();
    let line = running.line();
    let Ok(locked) = line.parse::<u64>() else {
        assert!(missing_privilege(), "{line}");
        return;
    };
    let seen = snapshot(running.pid());
    let (kept, purged) = (seen.total("cached_bytes"), seen.total("purged_bytes"));
    assert!(kept < 2 << 20 && purged as u64 >= locked, "{}", seen.0["totals"]);
    running.go();
    running.finish().success();
}

/// What the kernel refuses to take goes to the end of the queue, where those who look through all of it must not meet it again.
#[test]
fn who_looks_for_memory_in_all_that_lies_about_comes_to_an_end() {
    let finished = Command::new(program("denied.c")).preload().finish_within(Duration::from_secs(60)).success();
    assert_eq!(finished.out(), "refused\n");
}

#[test]
fn a_vfork_child_that_frees_starts_no_thread_of_its_own() {
    let mut running = Command::new(program("vforks.c")).preload().env("STATSALLOC_BACKGROUND", "1").begin();
    while running.next_line().is_some() {
        running.go();
    }
    running.finish().success();
}

#[test]
fn the_thread_does_not_keep_a_cloned_child_that_leaves_its_only_thread() {
    for how in ["clone", "_Fork"] {
        let mut command = Command::new(program("forks.c"));
        let mut running = command.args([how, "leave"]).preload().env("STATSALLOC_BACKGROUND", "1").begin();
        while running.next_line().is_some() {
            running.go();
        }
        running.finish().success();
    }
}
