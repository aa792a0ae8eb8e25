//! Whoever attaches late sees what happened before.

use std::process::Command;
use std::time::{Duration, Instant};
use tests::sandbox::{Sandbox, Shm};
use tests::snapshot::take;
use tests::{Run, missing_privilege, program, snapshot, statsmon};

const SECONDS: usize = 4;

#[test]
fn the_seconds_before_the_first_look_are_there() {
    let mut running = Command::new(program("steps.c")).arg(SECONDS.to_string()).preload().begin();
    running.line();
    let seen = snapshot(running.pid());
    let seconds = seen.list("/history/seconds");
    // The second that has not ended yet is not among them, nor need the first be.
    assert!((SECONDS - 1..=SECONDS + 1).contains(&seconds.len()), "{seconds:?}");
    let series = |name: &str| -> Vec<i64> { seconds.iter().map(|slot| slot[name].as_i64().unwrap()).collect() };
    for name in ["requested_bytes", "allocated_bytes", "allocations", "frees"] {
        let values = series(name);
        assert!(values.is_sorted(), "{name}: {values:?}");
        assert!(*values.last().unwrap() <= seen.total(name), "{name}: {values:?}");
    }
    let requested = series("requested_bytes");
    for pair in requested.windows(2) {
        // Ten a second, but slots end when they are noticed.
        assert!((5 << 20..=15 << 20).contains(&(pair[1] - pair[0])), "{requested:?}");
    }
    let times: Vec<&str> = seconds.iter().map(|slot| slot["time"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > seen.text("/start_time"), "{times:?}");
    running.go();
    running.finish().success();
}

#[test]
fn a_program_that_goes_idle_before_its_first_slot_has_been_what_it_is() {
    let mut running = Command::new(program("steps.c")).arg("0").preload().begin();
    running.line();
    let seen = std::iter::repeat_with(|| snapshot(running.pid()))
        .find(|seen| seen.0["uptime_seconds"].as_f64().is_some_and(|seconds| seconds >= 3.0))
        .expect("it grows older");
    let seconds = seen.list("/history/seconds");
    assert!(!seconds.is_empty());
    assert!(seconds.iter().all(|slot| slot["requested_bytes"].as_i64() == Some(seen.total("requested_bytes"))));
    assert_eq!(seen.0["diagnosis"]["kind"], "stable");
    running.go();
    running.finish().success();
}

#[test]
fn the_rest_after_a_burst_is_not_shown_as_the_midst_of_it() {
    const BURSTS: usize = 3;
    let mut running = Command::new(program("bursts.c")).arg(BURSTS.to_string()).preload().begin();
    running.line();
    let seen = snapshot(running.pid());
    let requested = |slot: &serde_json::Value| slot["requested_bytes"].as_i64().unwrap();
    let seconds: Vec<i64> = seen.list("/history/seconds").iter().map(requested).collect();
    assert!(seconds.len() > 2 * BURSTS, "{seconds:?}");
    // Where a second ends within a burst it is.
    let busy = seconds.iter().filter(|&&bytes| bytes > 2 * seen.total("requested_bytes")).count();
    assert!(busy <= BURSTS, "{seconds:?}, {} now", seen.total("requested_bytes"));
    running.go();
    running.finish().success();
}

#[test]
fn rates_come_from_the_history_at_the_first_look() {
    let mut running = Command::new(program("steps.c")).arg(SECONDS.to_string()).preload().begin();
    running.line();
    let seen = snapshot(running.pid());
    let rate = |name: &str| seen.0["rates"][name].as_f64().unwrap_or_else(|| panic!("{}", seen.0["rates"]));
    let growth = rate("requested_growth_bytes_per_second");
    assert!((5e6..20e6).contains(&growth), "{growth} bytes a second, where there were 10 MiB");
    let allocations = rate("allocations_per_second");
    assert!((10_000.0..40_000.0).contains(&allocations), "{allocations} a second, where there were 20,010");
    running.go();
    running.finish().success();
}

/// It comes to a clock every 4,096th call only; that is no rest.
#[test]
fn a_program_that_calls_seldom_has_its_rate_at_the_first_look() {
    let mut running = Command::new(program("seldom.c")).preload().begin();
    running.line();
    let look = || snapshot(running.pid());
    let seconds = |seen: &tests::Snapshot| seen.0["uptime_seconds"].as_f64().unwrap();
    let first = std::iter::repeat_with(look).find(|seen| seconds(seen) >= 10.0).expect("it grows older");
    let mut rates = Vec::new();
    let mut last = first;
    while rates.len() < 8 {
        let seen = look();
        if seconds(&seen) - seconds(&last) >= 0.7 {
            rates.push(seen.0["rates"]["allocations_per_second"].as_f64().unwrap());
            last = seen;
        }
    }
    let true_rate = last.total("allocations") as f64 / seconds(&last);
    let near = rates.iter().all(|rate| (0.4 * true_rate..2.5 * true_rate).contains(rate));
    assert!(near, "{true_rate} calls a second, but {rates:?}");
    running.signal(libc::SIGKILL);
    running.finish();
}

#[test]
fn what_is_said_of_a_killed_program_does_not_age() {
    if missing_privilege() {
        return;
    }
    let mut keeper = Command::new("cat").with_shm(Shm::Private).begin();
    keeper.send(b"ready\n");
    keeper.line();
    let mut running = Command::new(program("steps.c")).arg(SECONDS.to_string()).beside(keeper.pid()).preload().begin();
    running.line();
    let pid = running.pid();
    running.signal(libc::SIGKILL);
    running.finish();
    let killed = Instant::now();
    let look = || take(pid, 7, Command::new(statsmon()).beside(keeper.pid())).0;
    let first = look();
    assert!(first["diagnosis"]["numbers"]["seconds"].is_number(), "{}", first["diagnosis"]);
    while killed.elapsed() < Duration::from_secs(2) {
        let later = look();
        for part in ["diagnosis", "last_minute", "history", "threads", "rates"] {
            assert_eq!(later[part], first[part], "{part}, {:?} after its death", killed.elapsed());
        }
    }
}
