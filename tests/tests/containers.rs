//! Processes in mount and PID namespaces of their own, seen from outside.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::process::DEADLINE;
use tests::sandbox::{Sandbox, Shm};
use tests::{Run, Running, missing_privilege, program, snapshot, statsmon};

/// A worker in a container of the simplest kind: PID 1, with a `/proc` and a `/dev/shm` of its own; and its PID here.
/// `prepare` is done inside before it starts.
fn contained(prepare: &str) -> (Running, u32) {
    begun(&format!("{prepare} && export LD_PRELOAD=\"$1\" && exec \"$0\" pause"), "ready")
}

/// The same, doing something else inside (the worker is `$0`, the library `$1`) until it has said `word`.
fn begun(inside: &str, word: &str) -> (Running, u32) {
    let script = format!("mount -t proc none /proc && mount -t tmpfs none /dev/shm && {inside}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", &script]);
    let mut running = command.arg(program("worker.c")).arg(tests::library()).begin();
    assert_eq!(running.line(), word);
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let inside = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    (running, inside)
}

fn let_go(mut running: Running) {
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}

#[test]
fn a_container_is_shown_under_its_pid_outside() {
    if missing_privilege() {
        return;
    }
    let (running, pid) = contained("true");
    let seen = snapshot(pid);
    assert_eq!((seen.text("/state"), seen.number("/namespace_pid")), ("live", 1));
    assert!(seen.total("allocations") > 0 && seen.total("rss_bytes") > 0, "{}", seen.0["totals"]);
    assert!(seen.text("/executable").ends_with("worker_c"), "{}", seen.0["executable"]);
    let_go(running);
}

#[test]
fn containers_are_listed_with_the_others() {
    if missing_privilege() {
        return;
    }
    let (one, first) = contained("true");
    let (other, second) = contained("true");
    let finished = Command::new(statsmon()).args(["--once", "--json"]).finish();
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    for pid in [first, second] {
        let listed = document["processes"].as_array().unwrap().iter().filter(|process| process["pid"] == pid);
        let states: Vec<_> = listed.map(|process| process["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["live"], "{pid}");
    }
    let_go(one);
    let_go(other);
}

#[test]
fn a_containers_end_is_seen_while_it_is_watched() {
    if missing_privilege() {
        return;
    }
    let (running, pid) = contained("true");
    let mut watch = Command::new(statsmon());
    let mut watch = watch.args(["--json", "-n", "1000", "-d", "0.05"]).arg(pid.to_string()).begin();
    let state = |line: String| serde_json::from_str::<Value>(&line).unwrap()["processes"][0]["state"].clone();
    assert_eq!(state(watch.line()), "live");
    running.signal(libc::SIGKILL);
    let last = std::iter::repeat_with(|| state(watch.line())).find(|state| state != "live");
    assert_eq!(last.unwrap(), "crashed");
    drop(running);
}

/// In a time namespace of its own a process reads another start of itself than everybody else does.
#[test]
fn a_process_with_a_time_of_its_own_is_live_and_not_unpublished() {
    if missing_privilege() {
        return;
    }
    let mut command = Command::new("unshare");
    let inside = "export LD_PRELOAD=\"$1\" && exec \"$0\" pause";
    command.args(["--time", "--boottime", "1000", "--fork", "--kill-child", "--", "sh", "-c", inside]);
    let mut running = command.arg(program("worker.c")).arg(tests::library()).begin();
    assert_eq!(running.line(), "ready");
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    let inside: u32 = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
    let seen = snapshot(inside);
    assert_eq!(seen.text("/state"), "live");
    assert!(seen.total("allocations") > 0, "{}", seen.0["totals"]);
    let finished = Command::new(statsmon()).args(["--once", "--json"]).finish();
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let listed = document["processes"].as_array().unwrap().iter().filter(|process| process["pid"] == inside);
    assert_eq!(listed.map(|process| process["state"].as_str().unwrap()).collect::<Vec<_>>(), ["live"]);
    let_go(running);
}

/// Whoever is root inside may lay out the names as they like; statsmon never follows them out.
#[test]
fn a_container_cannot_lead_statsmon_out_of_its_root() {
    if missing_privilege() {
        return;
    }
    let victim = tests::artefacts::Folder::new();
    std::fs::write(victim.path().join("statsalloc.1"), vec![0x41; 1 << 20]).unwrap();
    let victim: PathBuf = victim.path().to_owned();
    for prepare in [
        format!("umount /dev/shm && mount -t tmpfs none /dev && ln -s {} /dev/shm", victim.display()),
        "ln -s /proc/1/mem /dev/shm/statsalloc.1.7".into(),
        "mkfifo /dev/shm/statsalloc.1.7".into(),
        "mkdir /dev/shm/statsalloc.1.7".into(),
        "head -c 3000000 /dev/urandom > /dev/shm/statsalloc.1.7".into(),
        "truncate -s 900G /dev/shm/statsalloc.1.7".into(),
    ] {
        let (running, pid) = contained(&prepare);
        let finished = Command::new(statsmon()).arg("--once").arg(pid.to_string()).finish();
        assert!(matches!(finished.code(), 0 | 4), "{prepare}: {finished:?}");
        assert!(!finished.err().contains("panicked"), "{prepare}: {finished:?}");
        let_go(running);
    }
}

#[test]
fn a_user_without_the_rights_is_told_so() {
    if missing_privilege() {
        return;
    }
    // The monitor may lie where others cannot reach it.
    use std::os::unix::fs::PermissionsExt;
    let folder = tests::artefacts::Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let monitor = folder.copy(statsmon(), "statsmon");
    let (running, pid) = contained("true");
    let finished = Command::new(&monitor).args(["--once"]).arg(pid.to_string()).as_user(65534).finish();
    assert!(matches!(finished.code(), 3..=5), "{finished:?}");
    assert_eq!(finished.err().lines().count(), 1, "{finished:?}");
    let_go(running);
}

#[test]
fn a_containers_process_that_execs_is_one_and_live_in_the_list() {
    if missing_privilege() {
        return;
    }
    let (mut running, pid) =
        begun("export LD_PRELOAD=\"$1\" && exec sh -c 'echo shell; read -r line; exec \"$0\" pause' \"$0\"", "shell");
    let mut watching = Command::new(statsmon()).args(["--json", "-n", "1000", "-d", "0.05"]).begin();
    let mut name = String::new();
    while name != "worker_c" {
        let document: Value = serde_json::from_str(&watching.line()).unwrap();
        let listed = document["processes"].as_array().unwrap().iter().filter(|process| process["pid"] == pid);
        let listed: Vec<_> = listed.map(|process| [&process["state"], &process["name"]]).collect();
        let [[state, now]] = listed[..] else { panic!("{listed:?}") };
        assert_eq!(state, "live");
        if name.is_empty() {
            running.send(b"\n");
            assert_eq!(running.line(), "ready");
        }
        name = now.as_str().unwrap().to_owned();
    }
    watching.signal(libc::SIGTERM);
    watching.finish();
    let_go(running);
}

/// The paths of a private `/dev/shm`, as process `pid` sees it, that are not known yet: one.
fn new_object(shm: &Path, known: &mut Vec<PathBuf>) -> PathBuf {
    let found = std::fs::read_dir(shm).unwrap().map(|entry| entry.unwrap().path());
    let new: Vec<PathBuf> = found.filter(|path| !known.contains(path)).collect();
    known.extend(new.iter().cloned());
    let [path] = &new[..] else { panic!("one new object: {new:?}") };
    path.clone()
}

/// One that is read when its process has ended already, and that a sweeper has the lock of in this moment, looks alive.
#[test]
fn a_containers_dead_process_that_somebody_sweeps_is_not_taken_for_alive_until_the_report() {
    if missing_privilege() {
        return;
    }
    let inside = "echo; while read -r line; do \"$0\" -c 'kill -KILL $$'; echo; done";
    let mut command = Command::new(statsmon());
    command.args([
        "run",
        "--report",
        "--",
        "unshare",
        "--pid",
        "--fork",
        "--kill-child",
        "--",
        "sh",
        "-c",
        inside,
        "sh",
    ]);
    let mut running = command.with_shm(Shm::Private).begin();
    assert_eq!(running.line(), "");
    let shm = PathBuf::from(format!("/proc/{}/root/dev/shm", running.pid()));
    let mut known: Vec<PathBuf> = std::fs::read_dir(&shm).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut die = |running: &mut Running| {
        running.signal(libc::SIGSTOP);
        running.wait_stopped();
        running.send(b"line\n");
        assert_eq!(running.line(), "");
        let dead = new_object(&shm, &mut known);
        (std::fs::File::open(&dead).unwrap(), dead)
    };
    let (file, swept) = die(&mut running);
    file.lock().unwrap();
    running.signal(libc::SIGCONT);
    // The next one is read and removed: so the first has been looked at.
    let (_, other) = die(&mut running);
    running.signal(libc::SIGCONT);
    wait_until_gone(&other);
    assert!(swept.exists(), "what somebody sweeps is not removed");
    drop(file);
    wait_until_gone(&swept);
    let text = running.finish().success().err();
    assert_eq!(text.lines().filter(|line| line.contains("KILL")).count(), 2, "{text}");
}

#[track_caller]
fn wait_until_gone(path: &Path) {
    let events = inotify::init(CreateFlags::CLOEXEC).unwrap();
    inotify::add_watch(&events, path.parent().unwrap(), WatchFlags::DELETE).unwrap();
    let patience = Timespec { tv_sec: DEADLINE.as_secs().cast_signed(), tv_nsec: 0 };
    while path.exists() {
        let ready = poll(&mut [PollFd::new(&events, PollFlags::IN)], Some(&patience)).unwrap();
        assert!(ready > 0, "{} is still there", path.display());
        rustix::io::read(&events, &mut [0_u8; 4096]).unwrap();
    }
}
