//! Where something is missing or full, the program runs on as if nothing were.

use std::process::Command;
use tests::sandbox::{Sandbox, Shm};
use tests::{Finished, Run, missing_privilege, program, statsmon};

/// The standard piece of work, and what it prints.
fn worker() -> Command {
    Command::new(program("worker.c"))
}

#[track_caller]
fn check(finished: Finished) {
    let finished = finished.success();
    assert_eq!(finished.out(), "worked\n");
    assert_eq!(finished.err(), "");
}

#[test]
fn without_preload_the_worker_works() {
    check(worker().finish());
}

#[test]
fn without_dev_shm_the_program_runs_on() {
    if missing_privilege() {
        return;
    }
    for shm in [Shm::Absent, Shm::ReadOnly] {
        check(worker().with_shm(shm).preload().finish());
    }
}

#[test]
fn with_a_full_dev_shm_the_program_runs_on() {
    if missing_privilege() {
        return;
    }
    for bytes in [4096, 8192, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 1 << 20] {
        check(worker().with_shm(Shm::Small(bytes)).preload().finish());
    }
}

#[test]
fn a_dev_shm_that_fills_up_later_does_not_end_the_program() {
    if missing_privilege() {
        return;
    }
    let mut command = worker();
    let mut running = command.arg("pause").with_shm(Shm::Small(4 << 20)).preload().begin();
    running.line();
    let filler = format!("/proc/{}/root/dev/shm/filler", running.pid());
    let filled = std::fs::write(&filler, vec![1; 8 << 20]);
    assert!(filled.is_err(), "there was room for 8 MiB");
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}

#[test]
fn without_any_descriptor_the_program_runs_on() {
    let mut command = Command::new("bash");
    let script = "for fd in /proc/self/fd/*; do fd=${fd##*/}; eval \"exec $fd>&-\"; done; exec \"$0\" closed";
    let finished = command.args(["-c", script]).arg(program("worker.c")).preload().finish();
    assert_eq!(finished.status.code(), Some(42), "{finished:?}");
}

#[test]
fn without_a_descriptor_to_be_had_the_program_runs_on() {
    for limit in [0, 3, 4] {
        let mut command = Command::new("bash");
        let script = format!("ulimit -n {limit}; exec \"$0\"");
        let finished = command.args(["-c", &script]).arg(program("worker.c")).preload().finish();
        if finished.status.code() == Some(127) {
            // The loader could not open the C library, with us or without.
            assert!(finished.err().contains("error while loading shared libraries"), "{finished:?}");
            continue;
        }
        assert_eq!(finished.success().out(), "worked\n", "with {limit} descriptors");
    }
}

#[test]
fn a_file_size_limit_neither_kills_nor_is_overstepped() {
    for bytes in [0, 1, 4096, 65536, 1 << 20] {
        check(worker().limit(libc::RLIMIT_FSIZE, bytes).preload().finish());
    }
}

#[test]
fn a_locked_memory_limit_does_not_stop_the_program() {
    check(worker().limit(libc::RLIMIT_MEMLOCK, 0).preload().finish());
    check(worker().limit(libc::RLIMIT_DATA, 128 << 20).preload().finish());
}

#[test]
fn another_users_program_runs() {
    if missing_privilege() {
        return;
    }
    // The test's folders may be closed to others: the worker and the library lie in one of their own.
    use std::os::unix::fs::PermissionsExt;
    let folder = tests::artefacts::Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (binary, library) = (folder.path().join("worker"), folder.path().join("libstatsalloc.so"));
    std::fs::copy(program("worker.c"), &binary).unwrap();
    std::fs::copy(tests::library(), &library).unwrap();
    let mut running = Command::new(&binary).arg("pause").as_user(65534).env("LD_PRELOAD", &library).begin();
    running.line();
    assert_eq!(tests::snapshot(running.pid()).number("/uid"), 65534);
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}

#[test]
fn a_bad_option_is_one_line_and_the_default() {
    for value in ["banana", "", "ABORT!", "count ", "aborted"] {
        let finished = worker().env("STATSALLOC_MISUSE", value).preload().finish().success();
        assert_eq!(finished.out(), "worked\n");
        let lines: Vec<_> = finished.err().lines().map(str::to_owned).collect();
        if value.is_empty() {
            // Set to nothing is not set.
            assert!(lines.len() <= 1, "{lines:?}");
            continue;
        }
        assert_eq!(lines.len(), 1, "{value:?}: {lines:?}");
        assert!(lines[0].contains("STATSALLOC_MISUSE") && lines[0].contains(value), "{lines:?}");
    }
    let mut command = Command::new(program("misuse.c"));
    let finished = command.arg("double").env("STATSALLOC_MISUSE", "banana").preload().finish();
    assert_eq!(finished.signal(), Some(libc::SIGABRT), "abort is the default: {finished:?}");
}

#[test]
fn a_strange_environment_is_survived() {
    let long = "x".repeat(100_000);
    for value in ["\u{1b}[31mred", "%s%n", &long] {
        let finished = worker().env("STATSALLOC_MISUSE", value).preload().finish().success();
        assert_eq!(finished.out(), "worked\n");
        assert!(!finished.err().contains('\u{1b}'), "an escape sequence was passed on");
        assert!(finished.stderr.len() < 4096 && finished.err().lines().count() == 1, "{}", finished.err());
    }
    // env -i leaves nothing but the preload.
    let finished = worker().env_clear().env("LD_PRELOAD", tests::library()).finish();
    assert_eq!(finished.success().out(), "worked\n");
}

#[test]
fn a_strange_object_in_our_place_is_left_alone() {
    if missing_privilege() {
        return;
    }
    // A shell that makes something of its own PID's name, then becomes the worker.
    for (make, keeps) in [
        ("mkdir $name", "-d"),
        ("ln -s /tmp/victim-$$ $name", "-h"),
        ("mkfifo $name", "-p"),
        ("echo garbage > $name", "-e"),
    ] {
        let script = format!(
            "name=/dev/shm/statsalloc.$$; rm -f $name; {make} || exit 9; env LD_PRELOAD=$1 $0 || exit 8; \
             test {keeps} $name && test ! -e /tmp/victim-$$ || exit 7; export LD_PRELOAD=$1; exec $0"
        );
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(program("worker.c")).arg(tests::library());
        let finished = command.with_shm(Shm::Private).finish();
        let finished = finished.success();
        assert!(finished.out().ends_with("worked\n"), "{make}: {finished:?}");
    }
}

#[test]
fn the_monitor_says_why_an_unpublished_program_cannot_be_shown() {
    if missing_privilege() {
        return;
    }
    let mut command = worker();
    let mut running = command.arg("pause").with_shm(Shm::ReadOnly).preload().begin();
    running.line();
    let mut look = Command::new(statsmon());
    let finished = look.args(["--once"]).arg(running.pid().to_string()).beside(running.pid()).finish();
    assert!(finished.code() != 0 && !finished.err().is_empty(), "{finished:?}");
    assert!(!finished.err().contains("panicked"), "{finished:?}");
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}
