//! Whatever lies in `/dev/shm`, whatever processes are called and however many there are, statsmon goes on.

use serde_json::Value;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tests::sandbox::{Sandbox, Shm};
use tests::script::Random;
use tests::terminal::Terminal;
use tests::{Finished, Run, Running, missing, missing_privilege, program, statsmon};

/// How long damage is done to a live segment.
fn fuzzing_time() -> Duration {
    tests::long_run().unwrap_or(Duration::from_secs(4))
}

#[track_caller]
fn is_whole(finished: &Finished) {
    assert!(ended_well(finished), "{finished:?}");
}

/// With a code of its own that is no complaint about the command line, and no panic.
fn ended_well(finished: &Finished) -> bool {
    finished.status.code().is_some_and(|code| code <= 7 && code != 2) && !finished.err().contains("panicked")
}

/// A program in a `/dev/shm` of its own, and its segment.
fn published() -> (Running, std::fs::File) {
    let mut running = Command::new(program("ballast.c")).with_shm(Shm::Private).preload().begin();
    running.line();
    let path = format!("/proc/{0}/root/dev/shm/statsalloc.{0}", running.pid());
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    (running, file)
}

/// Writes nonsense into `segment`, and cuts it off and restores it if `shrinks`, until `over`.
fn scribble(segment: &std::fs::File, seed: u64, shrinks: bool, over: &AtomicBool) {
    let mut random = Random::new(seed);
    let mut whole = vec![0; 600 << 10];
    segment.read_exact_at(&mut whole, 0).unwrap();
    let full = segment.metadata().unwrap().len();
    while !over.load(Ordering::Relaxed) {
        let (from, to) =
            [(0, 440), (1024, 4096), (8192, 40_000), (225_000, 600_000), (4096, 8192)][random.below(5) as usize];
        for _ in 0..20 {
            let value = [0, 1, u64::MAX, 1 << 63, random.below(1 << 48)][random.below(5) as usize];
            segment.write_all_at(&value.to_ne_bytes(), (from + random.below(to - from)) & !7).unwrap();
        }
        if shrinks && random.below(4) == 0 {
            segment.set_len([0, 100, 4096, 100_000, 300_000][random.below(5) as usize]).unwrap();
            segment.set_len(full).unwrap();
        }
        if random.below(8) == 0 {
            // A whole one again: else every look ends at the first field.
            segment.write_all_at(&whole, 0).unwrap();
        }
    }
}

fn watched_while_scribbled(shrinks: bool) {
    if missing_privilege() {
        return;
    }
    let (running, segment) = published();
    let pid = running.pid().to_string();
    let over = AtomicBool::new(false);
    let mut shown = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| scribble(&segment, 7, shrinks, &over));
        let start = Instant::now();
        // Every way of looking: one that attaches anew, one that stays, and all.
        while start.elapsed() < fuzzing_time() {
            for arguments in
                [&["--json", "-n", "10", "-d", "0.05", &pid][..], &["--once", &pid], &["--csv"], &["--json"]]
            {
                let finished = Command::new(statsmon()).args(arguments).beside(running.pid()).finish();
                if !ended_well(&finished) {
                    over.store(true, Ordering::Relaxed);
                }
                is_whole(&finished);
                if arguments[0] == "--json" {
                    for line in finished.out().lines().filter(|line| line.starts_with('{') && line.ends_with('}')) {
                        let document: Value = serde_json::from_str(line).unwrap();
                        shown += document["processes"].as_array().unwrap().len();
                    }
                }
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(shown > 0, "no look ever showed the process");
    running.signal(libc::SIGKILL);
    running.finish();
}

#[test]
fn a_segment_that_never_stands_still_never_breaks_the_monitor() {
    watched_while_scribbled(false);
}

#[test]
fn a_segment_that_shrinks_and_grows_never_breaks_the_monitor() {
    watched_while_scribbled(true);
}

#[test]
fn the_screen_survives_a_segment_that_never_stands_still() {
    if missing_privilege() || missing(&["tmux", "nsenter"]) {
        return;
    }
    let (running, segment) = published();
    let pid = running.pid().to_string();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let terminal = Terminal::open(&[
            "sh",
            "-c",
            &format!("nsenter -t {pid} -m {} -d 0.1 {pid}; echo \"code=$?\"; read -r x", statsmon().display()),
        ]);
        terminal.wait("the process", |screen| screen.contains(&pid));
        scope.spawn(|| scribble(&segment, 11, true, &over));
        let start = Instant::now();
        while start.elapsed() < fuzzing_time() {
            for key in ["Tab", "Down", "End", "<", "I", "Left", "PageUp"] {
                terminal.keys(&[key]);
            }
            if terminal.screen().contains("code=") {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        terminal.keys(&["q"]);
        let screen = terminal.wait("the end", |screen| screen.contains("code="));
        assert!(!screen.contains("panicked"), "{screen}");
        let code = screen.rsplit("code=").next().and_then(|rest| rest.lines().next()).unwrap().trim().to_owned();
        assert!(code.parse::<i32>().is_ok_and(|code| code <= 7), "{screen}");
    });
    running.signal(libc::SIGKILL);
    running.finish();
}

#[test]
fn names_that_are_terminal_commands_are_shown_and_not_obeyed() {
    if missing(&["tmux"]) {
        return;
    }
    let mut named = Command::new(program("named.c")).preload().begin();
    named.send(b"x");
    assert_eq!(named.line(), "ready");
    let pid = named.pid().to_string();
    for arguments in [&["--once", &pid][..], &["--csv", &pid], &["--once"], &["--csv"]] {
        let out = Command::new(statsmon()).args(arguments).finish().success().out();
        let control = out.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{arguments:?}: {out:?}");
    }
    let terminal =
        Terminal::open(&["sh", "-c", &format!("{} {pid}; echo \"code=$?\"; read -r x", statsmon().display())]);
    let title = terminal.ask("#{pane_title}");
    // All views, one after the other, the threads' names among them.
    for _ in 0..8 {
        let screen = terminal.wait("the process", |screen| screen.contains(&pid));
        assert!(!screen.chars().any(|c| c.is_control() && c != '\n'), "{screen:?}");
        terminal.keys(&["Tab"]);
    }
    assert_eq!(terminal.ask("#{pane_title}"), title, "a name was obeyed");
    terminal.keys(&["q"]);
    terminal.wait("the end", |screen| screen.contains("code=0"));
    named.go();
    named.finish().success();
}

/// The last lines of a file system that is full are the writer's error, not a panic.
#[test]
fn a_full_disk_is_an_error_with_a_name() {
    if missing_privilege() {
        return;
    }
    let script =
        "head -c 600000 /dev/zero > /dev/shm/filler; \"$0\" --json -n 500 -d 0.05 $$ > /dev/shm/out; echo code=$?";
    let mut command = Command::new("sh");
    let finished = command.args(["-c", script]).arg(statsmon()).with_shm(Shm::Small(1 << 20)).preload().finish();
    assert!(finished.out().contains("code=1"), "{finished:?}");
    assert!(finished.err().contains("statsmon: ") && !finished.err().contains("panicked"), "{finished:?}");
}

/// Killed at any moment, whatever it was counting then, and whatever was being read.
#[test]
fn a_folder_full_of_strange_files_is_told_in_a_few_lines() {
    if missing_privilege() {
        return;
    }
    const FILES: usize = 1000;
    let script =
        format!("for i in $(seq {FILES}); do echo x > /dev/shm/statsalloc.$((100000 + i)); done; exec \"$0\" --once");
    let mut command = Command::new("bash");
    let finished = command.args(["-c", &script]).arg(statsmon()).with_shm(Shm::Private).finish();
    let lines: Vec<_> = finished.err().lines().map(str::to_owned).collect();
    assert!(lines.len() == 21 && lines.iter().all(|line| line.starts_with("statsmon: ")), "{}", finished.err());
    assert_eq!(lines[20], format!("statsmon: {} more problems like these", FILES - 20));
}

#[test]
fn a_process_that_dies_in_the_middle_of_a_look_is_shown_as_it_was_last() {
    if missing_privilege() {
        return;
    }
    let folder = tests::artefacts::Folder::new();
    let mut random = Random::new(3);
    for round in 0..12 {
        let mut command = Command::new(program("hammer.c"));
        let mut running = command.arg(folder.path().join(round.to_string())).with_shm(Shm::Private).preload().begin();
        assert_eq!(running.line(), "ready");
        let pid = running.pid().to_string();
        let mut watch = Command::new(statsmon());
        let mut watch = watch.args(["--json", "-n", "100000", "-d", "0.05", &pid]).beside(running.pid()).begin();
        let mut look = || {
            let document: Value = serde_json::from_str(&watch.line()).unwrap();
            document["processes"][0].clone()
        };
        let mut before = look();
        running.go();
        for _ in 0..random.below(8) {
            before = look();
            assert_eq!(before["state"], "live");
        }
        running.signal(libc::SIGKILL);
        let mut last = look();
        while last["state"] == "live" {
            last = look();
        }
        assert_eq!(last["state"], "crashed");
        for (name, value) in last["totals"].as_object().unwrap() {
            assert!(name == "other_bytes" || value.as_f64() >= Some(0.0) || value.is_null(), "{name} is {value}");
        }
        for name in ["allocations", "frees", "cumulative_requested_bytes"] {
            let of = |look: &Value| look["totals"][name].as_u64().unwrap();
            assert!(of(&last) >= of(&before), "{name} fell");
        }
        let ended = watch.finish();
        assert_eq!((ended.code(), ended.err().contains("panicked")), (7, false), "{ended:?}");
        running.finish();
    }
}

#[test]
fn processes_that_come_and_go_under_every_look_are_no_error() {
    if missing_privilege() {
        return;
    }
    let script = "echo ready; while :; do sh -c : & sh -c 'kill -9 $$' & cat /dev/null; wait; done";
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", script]).with_shm(Shm::Private).preload().begin();
    assert_eq!(running.line(), "ready");
    let mut watch = Command::new(statsmon());
    let watch = watch.args(["--json", "-n", "60", "-d", "0.05"]).beside(running.pid()).finish();
    is_whole(&watch);
    assert_eq!(watch.out().lines().count(), 60, "{watch:?}");
    for line in watch.out().lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
    running.signal(libc::SIGKILL);
    drop(running);
}
