//! What others do to a segment while its process lives, and what is left of it afterwards.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tests::artefacts::Folder;
use tests::sandbox::{Sandbox, Shm, objects_of};
use tests::snapshot::{snapshot_beside, take};
use tests::{Run, Running, missing_privilege, program, statsmon};

/// A shell that keeps a `/dev/shm` of its own alive; the test works beside it.
fn keeper() -> Running {
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", "echo ready; read line"]).with_shm(Shm::Private).begin();
    running.line();
    running
}

fn paused_worker(keeper: &Running) -> Running {
    let mut command = Command::new(program("worker.c"));
    let mut running = command.arg("pause").beside(keeper.pid()).preload().begin();
    assert_eq!(running.line(), "ready");
    running
}

fn let_go(mut running: Running) {
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}

/// The worker and the library where every user can reach them.
fn for_everybody() -> Folder {
    let folder = Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder.copy(&program("worker.c"), "worker");
    std::fs::copy(tests::library(), folder.path().join("libstatsalloc.so")).unwrap();
    folder
}

/// The worker, become another user by `exec`, under the library from the first program on.
fn as_nobody(folder: &Folder) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    command.arg(folder.path().join("worker")).env("LD_PRELOAD", folder.path().join("libstatsalloc.so"));
    command
}

#[test]
fn an_object_removed_while_its_process_lives_leaves_it_unpublished() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper();
    let running = paused_worker(&keeper);
    let pid = running.pid();
    assert_eq!(snapshot_beside(pid).text("/state"), "live");
    std::fs::remove_file(format!("/proc/{pid}/root/dev/shm/statsalloc.{pid}")).unwrap();
    let finished = Command::new(statsmon()).arg("--once").arg(pid.to_string()).beside(keeper.pid()).finish();
    assert_eq!(finished.code(), 4, "{finished:?}");
    assert!(finished.err().contains("removed"), "says what happened: {}", finished.err());
    // Among all it is listed, with what the system knows of it.
    let finished = Command::new(statsmon()).arg("--json").beside(keeper.pid()).finish().success();
    let document: serde_json::Value = serde_json::from_slice(&finished.stdout).unwrap();
    let listed = document["processes"].as_array().unwrap().iter().find(|process| process["pid"] == pid).unwrap();
    assert_eq!((listed["state"].as_str(), listed["name"].as_str()), (Some("unpublished"), Some("worker_c")));
    assert!(listed["totals"]["rss_bytes"].as_u64() > Some(0) && listed["totals"]["requested_bytes"].is_null());
    let_go(running);
    assert_eq!(objects_of(keeper.pid()), [] as [&str; 0]);
}

#[test]
fn who_watches_keeps_seeing_a_process_whose_object_was_removed() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper();
    let running = paused_worker(&keeper);
    let pid = running.pid();
    let mut watch = Command::new(statsmon());
    let mut watch =
        watch.args(["--json", "-n", "1000", "-d", "0.05"]).arg(pid.to_string()).beside(keeper.pid()).begin();
    let state = |line: String| {
        let document: serde_json::Value = serde_json::from_str(&line).unwrap();
        document["processes"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(watch.line()), "live");
    std::fs::remove_file(format!("/proc/{pid}/root/dev/shm/statsalloc.{pid}")).unwrap();
    for _ in 0..5 {
        assert_eq!(state(watch.line()), "live");
    }
    let_go(running);
    let last = std::iter::repeat_with(|| state(watch.line())).find(|state| state != "live");
    assert_eq!(last.unwrap(), "exited");
}

#[test]
fn another_file_in_the_place_of_the_object_is_not_taken_for_it() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper();
    let running = paused_worker(&keeper);
    let pid = running.pid();
    let path = format!("/proc/{pid}/root/dev/shm/statsalloc.{pid}");
    let copy = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    // A copy of itself, which nobody holds: what a dead process of this PID would have left.
    std::fs::write(&path, &copy).unwrap();
    let finished = Command::new(statsmon()).arg("--once").arg(pid.to_string()).beside(keeper.pid()).finish();
    assert!(matches!(finished.code(), 4 | 7), "{finished:?}");
    std::fs::write(&path, "nonsense").unwrap();
    let finished = Command::new(statsmon()).arg("--once").arg(pid.to_string()).beside(keeper.pid()).finish();
    assert_ne!(finished.code(), 0, "{finished:?}");
    assert!(!finished.err().contains("panicked"), "{finished:?}");
    let_go(running);
}

#[test]
fn a_dead_process_of_the_same_pid_does_not_hide_the_next() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper();
    // PID 1 of a namespace each time, in the same folder.
    let first = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--", "sh", "-c"]);
        command.arg("export LD_PRELOAD=\"$1\"; exec \"$0\" pause").arg(program("worker.c")).arg(tests::library());
        let mut running = command.beside(keeper.pid()).begin();
        assert_eq!(running.line(), "ready");
        let children = format!("/proc/{0}/task/{0}/children", running.pid());
        let inside: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        (running, inside)
    };
    for _ in 0..3 {
        let (killed, _) = first();
        drop(killed);
    }
    let (running, pid) = first();
    let seen = take(pid, 0, Command::new(statsmon()).beside(keeper.pid()));
    assert_eq!((seen.text("/state"), seen.number("/namespace_pid")), ("live", 1));
    let_go(running);
    let left = objects_of(keeper.pid());
    assert!(left.len() <= 3, "{left:?}");
}

#[test]
fn processes_that_became_another_user_push_out_no_crashed_one() {
    if missing_privilege() || tests::missing(&["perl"]) {
        return;
    }
    let keeper = keeper();
    let running = paused_worker(&keeper);
    let crashed = format!("statsalloc.{}", running.pid());
    drop(running);
    for _ in 0..20 {
        let mut command = Command::new("perl");
        command
            .args(["-MPOSIX", "-e", "POSIX::setuid(65534) or die"])
            .beside(keeper.pid())
            .preload()
            .finish()
            .success();
    }
    let left = objects_of(keeper.pid());
    assert!(left.contains(&crashed) && left.len() <= 2, "{crashed} of {left:?}");
}

#[test]
fn a_folder_that_this_user_may_not_write_costs_publication_only() {
    if missing_privilege() || tests::missing(&["setpriv"]) {
        return;
    }
    let (keeper, folder) = (keeper(), for_everybody());
    let shm = format!("/proc/{}/root/dev/shm", keeper.pid());
    std::fs::set_permissions(shm, std::fs::Permissions::from_mode(0o755)).unwrap();
    let finished = as_nobody(&folder).env("STATSALLOC_VERBOSE", "1").beside(keeper.pid()).finish().success();
    assert_eq!(finished.out(), "worked\n");
    assert!(finished.err().contains("statsmon cannot see this process"), "{finished:?}");
}

#[test]
fn programs_that_change_their_user_leave_no_more_than_a_few_objects() {
    if missing_privilege() || tests::missing(&["setpriv"]) {
        return;
    }
    let (keeper, folder) = (keeper(), for_everybody());
    for _ in 0..40 {
        as_nobody(&folder).beside(keeper.pid()).finish().success();
    }
    Command::new(statsmon()).arg("--once").beside(keeper.pid()).finish();
    let left = objects_of(keeper.pid());
    assert!(left.len() <= 16, "{}: {left:?}", left.len());
}

#[test]
fn a_filtered_process_is_swept_like_a_crashed_one() {
    if missing_privilege() {
        return;
    }
    let keeper = keeper();
    let binary = tests::artefacts::program("hazards/filters.c");
    for _ in 0..40 {
        let mut command = Command::new(&binary);
        command.arg("anything_unusual_kills").beside(keeper.pid()).preload().finish().success();
    }
    Command::new(statsmon()).arg("--once").beside(keeper.pid()).finish();
    let left = objects_of(keeper.pid());
    assert!(left.len() <= 16, "{}: {left:?}", left.len());
}
