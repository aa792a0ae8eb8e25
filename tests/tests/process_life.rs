//! fork, vfork, clone, exec and every way to end: whose segment is whose, and what is left of it.

use std::process::Command;
use tests::artefacts::Folder;
use tests::sandbox::{Sandbox, Shm, objects_of};
use tests::snapshot::{Line, snapshot_beside, take};
use tests::{Figures, Finished, Run, Running, Snapshot, missing_privilege, program, snapshot, statsmon};

/// `statsmon --once --json PID`, whatever it answers.
fn look(pid: u32) -> Finished {
    Command::new(statsmon()).args(["--once", "--json"]).arg(pid.to_string()).finish()
}

/// What `count` blocks of `size` bytes, in a class of blocks of `block_size`, add.
fn blocks(count: i64, size: i64, block_size: i64) -> Figures {
    let line = Line { live_blocks: count, requested: count * size, allocations: count, frees: 0 };
    Figures {
        requested: count * size,
        allocated: count * block_size,
        live_blocks: count,
        allocations: count,
        cumulative_requested: count * size,
        cumulative_allocated: count * block_size,
        classes: [(block_size, line)].into(),
        ..Figures::default()
    }
}

fn check_child(how: &str, end: &str) {
    let mut running = Command::new(program("forks.c")).args([how, end]).preload().begin();
    running.line();
    let before = snapshot(running.pid()).figures();
    running.go();

    let child: u32 = running.line().parse().unwrap();
    let (parent1, child1) = (snapshot(running.pid()), snapshot(child));
    assert_eq!(parent1.figures(), before, "{how}: the child's calls count in the parent");
    assert_eq!(&child1.figures() - &before, blocks(500, 64, 64), "{how}: the child counts what it did");
    assert_eq!(child1.number("/ppid"), i64::from(running.pid()));
    running.go();

    running.line();
    let (parent2, child2) = (snapshot(running.pid()), snapshot(child));
    assert_eq!(&parent2.figures() - &before, blocks(100, 2000, 2048), "{how}: the parent counts what it did");
    let change = &child2.figures() - &child1.figures();
    assert_eq!(change.frees, 300, "{how}: the child freed its copies: {change:?}");
    assert_eq!((change.live_blocks, change.requested, change.allocations), (-300, -300_000, 0));
    assert_eq!(child2.number("/misuse/invalid_frees") + child2.number("/misuse/double_frees"), 0);
    running.go();

    running.line();
    let parent3 = snapshot(running.pid());
    assert_eq!(&parent3.figures().live_blocks, &before.live_blocks);
    assert_eq!(look(child).code(), if end == "syscall" { 7 } else { 3 }, "{how}, {end}: what is left of the child");
    running.go();
    running.finish().success();
}

#[test]
fn fork_gives_the_child_a_segment_of_its_own() {
    for end in ["return", "exit", "_exit", "quick_exit", "_Exit"] {
        check_child("fork", end);
    }
}

#[test]
fn fork_without_handlers_gives_the_child_a_segment_of_its_own() {
    check_child("_Fork", "return");
    check_child("_Fork", "_exit");
}

#[test]
fn raw_clone_gives_the_child_a_segment_of_its_own() {
    check_child("clone", "_exit");
    check_child("clone", "exit");
}

#[test]
fn a_child_that_leaves_by_a_raw_system_call_leaves_its_last_state_only() {
    check_child("fork", "syscall");
}

#[test]
fn vfork_children_count_in_their_parent_and_do_not_end_it() {
    let mut running = Command::new(program("vforks.c")).preload().begin();
    running.line();
    let before = snapshot(running.pid()).figures();
    running.go();
    running.line();
    let ended = &snapshot(running.pid()).figures() - &before;
    assert_eq!((ended.allocations, ended.frees), (3, 1), "the child's calls are the parent's: {ended:?}");
    assert_eq!(ended.requested, 5000 + 10_000 + 300_000 - 100);
    running.go();
    running.line();
    let executed = &snapshot(running.pid()).figures() - &before;
    assert_eq!((executed.allocations, executed.frees), (3, 2), "{executed:?}");
    running.go();
    running.line();
    let failed = &snapshot(running.pid()).figures() - &before;
    assert_eq!(failed.live_blocks, -1, "all that was allocated is freed again: {failed:?}");
    running.go();
    running.finish().success();
}

#[test]
fn exec_keeps_the_pid_and_starts_a_new_segment() {
    let mut running = Command::new(program("execs.c")).args(["x", "y", "z"]).preload().begin();
    let mut seen: Vec<Snapshot> = Vec::new();
    for _ in 0..4 {
        running.line();
        // A failed exec just before left the segment where it was.
        seen.push(snapshot(running.pid()));
        running.go();
    }
    let counts: Vec<i64> = seen.iter().map(|seen| seen.total("allocations")).collect();
    for (count, arguments) in counts.iter().zip([4, 3, 2, 1]) {
        let own = arguments * 200;
        assert!((own..own + 150).contains(count), "each image counts from nothing: {counts:?}");
    }
    running.finish().success();
}

#[test]
fn exec_of_another_program_shows_that_program() {
    let mut shell = Command::new("sh").args(["-c", "echo; read x; exec cat"]).preload().begin();
    shell.line();
    let before = snapshot(shell.pid());
    shell.send(b"go\nline\n");
    assert_eq!(shell.line(), "line");
    let after = snapshot(shell.pid());
    assert!(before.text("/executable").ends_with("sh"), "{}", before.0["executable"]);
    assert!(after.text("/executable").ends_with("/cat"), "{}", after.0["executable"]);
    assert_eq!(after.text("/command"), "cat");
    shell.finish().success();
}

/// The next snapshot of a statsmon that goes on.
fn next(statsmon: &mut Running) -> Snapshot {
    let document: serde_json::Value = serde_json::from_str(&statsmon.line()).unwrap();
    Snapshot(document["processes"][0].clone())
}

#[test]
fn exec_of_a_program_without_the_library_is_neither_death_nor_crash() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper(Shm::Private);
    let mut command = Command::new("sh");
    command.args(["-c", "echo; read x; unset LD_PRELOAD; exec cat"]);
    let mut shell = command.beside(keeper.pid()).preload().begin();
    shell.line();
    let pid = shell.pid();
    let before = take(pid, 0, Command::new(statsmon()).beside(keeper.pid()));
    let mut watching = Command::new(statsmon());
    let mut watching =
        watching.args(["-n", "1000000", "-d", "0.05", "--json", &pid.to_string()]).beside(keeper.pid()).begin();
    assert_eq!(next(&mut watching).text("/state"), "live");
    shell.send(b"go\nline\n");
    assert_eq!(shell.line(), "line");

    let after = take(pid, 4, Command::new(statsmon()).beside(keeper.pid()));
    assert_eq!((after.text("/state"), after.text("/replaced_by")), ("replaced", "cat"));
    assert!(after.total("allocations") >= before.total("allocations"), "the figures from before are shown");
    assert!(after.0["uptime_seconds"].is_number(), "it lives: {}", after.0["uptime_seconds"]);
    let finished = Command::new(statsmon()).args(["--once", &pid.to_string()]).beside(keeper.pid()).finish();
    let (out, err) = (finished.out(), finished.err());
    assert!(out.contains("has become cat, without the library") && !out.contains("CRASHED"), "{out}");
    assert!(err.contains("has become a program without the library (cat)") && !err.contains("dead"), "{err}");
    let mut metrics = Command::new(statsmon());
    let metrics = metrics.args(["--format", "openmetrics"]).beside(keeper.pid()).finish().success().out();
    assert!(!metrics.contains("malloc_dead_processes{"), "{metrics}");

    while next(&mut watching).text("/state") != "replaced" {}
    shell.finish().success();
    let last = loop {
        let seen = next(&mut watching);
        if seen.text("/state") != "replaced" {
            break seen;
        }
    };
    assert_eq!((last.text("/state"), last.text("/replaced_by")), ("exited", "cat"), "whoever has watched it knows");
    let (finished, _) = watching.end();
    assert_eq!(finished.code(), 4, "{finished:?}");
    let finished = Command::new(statsmon()).args(["--once", &pid.to_string()]).beside(keeper.pid()).finish();
    assert_eq!(finished.code(), 7, "{finished:?}");
    assert!(finished.out().contains("replaced by exec"), "nobody else can tell: {}", finished.out());
}

#[test]
fn a_killed_script_is_found_by_the_name_it_had() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper(Shm::Private);
    let folder = Folder::new();
    let script = folder.executable("orderd2", "#!/bin/sh\necho ready; read x\n");
    let mut running = Command::new(&script).beside(keeper.pid()).preload().begin();
    running.line();
    let pid = running.pid();
    let look = |arguments: &[&str]| Command::new(statsmon()).args(arguments).beside(keeper.pid()).finish();
    let listed = || look(&["--format", "openmetrics"]).success().out();
    assert!(listed().contains("malloc_processes{process=\"orderd2\"} 1"), "{}", listed());
    running.signal(libc::SIGKILL);
    running.finish();
    let finished = look(&["--once", "orderd2"]);
    assert_eq!(finished.code(), 7, "{finished:?}");
    assert!(finished.out().contains(&pid.to_string()), "{}", finished.out());
    let dead = "malloc_dead_processes{process=\"orderd2\",state=\"crashed\"} 1";
    assert!(listed().contains(dead), "{}", listed());
}

/// A shell that keeps a `/dev/shm` of its own alive; the test works beside it.
fn keeper(shm: Shm) -> Running {
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", "echo ready; read line"]).with_shm(shm).begin();
    running.line();
    running
}

#[test]
fn after_sigkill_the_last_state_can_be_read_and_is_then_cleaned() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper(Shm::Private);
    let mut killed = Command::new(program("execs.c")).beside(keeper.pid()).preload().begin();
    killed.line();
    let alive = snapshot_beside(killed.pid());
    assert_eq!(alive.text("/state"), "live");
    let pid = killed.pid();
    killed.signal(libc::SIGKILL);
    assert_eq!(killed.finish().signal(), Some(libc::SIGKILL));
    let dead = take(pid, 7, Command::new(statsmon()).beside(keeper.pid()));
    assert_eq!(dead.text("/state"), "crashed");
    assert_eq!(dead.figures(), alive.figures(), "the last state");
    assert!(dead.0["totals"]["rss_bytes"].is_null(), "a dead process has no RSS: {}", dead.0["totals"]);
    // It stays for a while, whoever comes after, but not for ever: some minutes, and the last few of many.
    Command::new("sh").args(["-c", ":"]).beside(keeper.pid()).preload().finish().success();
    let again = take(pid, 7, Command::new(statsmon()).beside(keeper.pid()));
    assert_eq!(again.figures(), alive.figures(), "the last state, later");
    for _ in 0..40 {
        Command::new("sh").args(["-c", "kill -9 $$"]).beside(keeper.pid()).preload().finish();
    }
    Command::new(statsmon()).arg("--once").beside(keeper.pid()).finish();
    let left = objects_of(keeper.pid());
    assert!(left.len() <= 16, "{}: {left:?}", left.len());
}

#[test]
fn every_end_removes_the_object() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper(Shm::Private);
    let program = program("ends.c");
    for how in ["return", "exit", "_exit", "_Exit", "quick_exit", "pthread_exit", "thread_exit", "daemon"] {
        Command::new(&program).arg(how).beside(keeper.pid()).preload().finish().success();
        assert_eq!(objects_of(keeper.pid()), [] as [&str; 0], "{how}");
    }
    // One program after the other under one PID.
    let mut execs = Command::new(tests::program("execs.c")).args(["x", "y"]).beside(keeper.pid()).preload().begin();
    for _ in 0..3 {
        execs.line();
        execs.go();
    }
    execs.finish().success();
    assert_eq!(objects_of(keeper.pid()), [] as [&str; 0], "exec");
    for shell in ["sh", "bash"] {
        for script in [":", "exit 0", "(exit 0)", "echo $(echo x)", "exec true", "trap 'exit 0' TERM; kill $$"] {
            Command::new(shell).args(["-c", script]).beside(keeper.pid()).preload().finish();
            let left = objects_of(keeper.pid());
            assert!(left.is_empty(), "{shell} -c '{script}' left {left:?}");
        }
    }
}

#[test]
fn ten_thousand_shells_leave_at_most_sixteen_objects() {
    if missing_privilege() {
        return;
    }
    let script = "i=0; while [ $i -lt 10000 ]; do sh -c :; i=$((i + 1)); done; echo done; read line";
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", script]).with_shm(Shm::Private).preload().begin();
    assert_eq!(running.line(), "done");
    let left = objects_of(running.pid());
    assert!(left.len() <= 16, "{}: {left:?}", left.len());
    assert!(left.contains(&format!("statsalloc.{}", running.pid())), "the outer shell's own: {left:?}");
    running.close_input();
    running.finish();
}

#[test]
fn killed_programs_left_overs_do_not_pile_up() {
    if missing_privilege() {
        return;
    }
    let script = "i=0; while [ $i -lt 500 ]; do sh -c 'kill -9 $$'; i=$((i + 1)); done; echo done; read line";
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", script]).with_shm(Shm::Private).preload().begin();
    assert_eq!(running.line(), "done");
    let left = objects_of(running.pid());
    assert!(left.len() <= 32, "{}: {left:?}", left.len());
    running.close_input();
    running.finish();
}

#[test]
fn the_object_is_the_users_own_whatever_the_umask() {
    if missing_privilege() {
        return;
    }
    use std::os::unix::fs::MetadataExt;
    for umask in ["0", "077", "0777"] {
        let mut command = Command::new("sh");
        let script = format!("umask {umask}; exec \"$0\"");
        let mut running = command.args(["-c", &script, "cat"]).with_shm(Shm::Private).preload().begin();
        running.send(b"x\n");
        running.line();
        let object = format!("/proc/{0}/root/dev/shm/statsalloc.{0}", running.pid());
        let metadata = std::fs::metadata(&object).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600, "under umask {umask}");
        running.finish().success();
    }
}

#[test]
fn a_pid_namespace_that_shares_the_folder_gets_another_name() {
    if missing_privilege() {
        return;
    }
    // Two processes with PID 1 in two namespaces, one /dev/shm.
    let keeper = keeper(Shm::Private);
    let start = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--", "sh", "-c"]);
        command.arg("export LD_PRELOAD=\"$0\"; exec cat").arg(tests::library());
        let mut running = command.beside(keeper.pid()).begin();
        running.send(b"x\n");
        running.line();
        running
    };
    let (first, second) = (start(), start());
    let named: Vec<_> = objects_of(keeper.pid()).into_iter().filter(|name| name.starts_with("statsalloc.1")).collect();
    assert_eq!(named.len(), 2, "{:?}", objects_of(keeper.pid()));
    for running in [&first, &second] {
        let children = format!("/proc/{0}/task/{0}/children", running.pid());
        let outside: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let seen = take(outside, 0, Command::new(statsmon()).beside(keeper.pid()));
        assert_eq!(seen.number("/namespace_pid"), 1);
        assert_eq!(seen.text("/state"), "live");
    }
    first.finish().success();
    second.finish().success();
}
