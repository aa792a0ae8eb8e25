//! The monitor's promises to scripts: exit codes, JSON, text without escapes, one line an object.

use serde_json::Value;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use tests::artefacts::Folder;
use tests::sandbox::{Sandbox, Shm};
use tests::{Finished, Run, Running, missing_privilege, program, statsmon};

fn ask(arguments: &[&str]) -> Finished {
    Command::new(statsmon()).args(arguments).finish()
}

/// A preloaded program that waits: `cat`, under another name if need be.
fn waiting(binary: impl AsRef<std::ffi::OsStr>) -> Running {
    let mut running = Command::new(binary).preload().begin();
    running.send(b"ready\n");
    assert_eq!(running.line(), "ready");
    running
}

/// A copy of `cat` by that name.
fn cat_called(folder: &Folder, name: &str) -> PathBuf {
    let copy = folder.path().join(name);
    // Not by this process: a child that another test is starting would hold the copy open for writing, and it could not be run.
    assert!(Command::new("cp").arg("/bin/cat").arg(&copy).status().unwrap().success());
    copy
}

/// An ended process's PID.
fn nobody() -> String {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id().to_string()
}

#[track_caller]
fn refuses(finished: &Finished, code: i32) {
    assert_eq!(finished.code(), code, "{finished:?}");
    let text = finished.err();
    assert!(!text.is_empty() && text.ends_with('\n') && !text.contains("panicked"), "{text:?}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn fine_is_0_and_goes_to_stdout_alone() {
    let cat = waiting("cat");
    for arguments in [&["--once"][..], &["--json"], &["--csv"], &[], &["--once", &cat.pid().to_string()]] {
        let finished = ask(arguments);
        assert_eq!(finished.code(), 0, "{arguments:?}");
        // Of another test's process that has just come or gone something may be said.
        assert!(arguments.len() < 2 || finished.stderr.is_empty(), "{arguments:?}: {}", finished.err());
        assert!(finished.out().contains(&cat.pid().to_string()), "{arguments:?}: {}", finished.out());
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        let finished = ask(arguments).success();
        assert!(!finished.stdout.is_empty() && finished.stderr.is_empty());
    }
}

#[test]
fn a_program_that_has_not_allocated_yet_is_listed() {
    let mut idle = Command::new(program("idle.c")).preload().begin();
    assert_eq!(idle.line(), "ready");
    let finished = ask(&["--once"]);
    assert!(finished.out().contains(&idle.pid().to_string()), "{}", finished.out());
    idle.go();
    idle.finish().success();
}

#[test]
fn a_process_that_is_stopped_is_told_from_one_that_does_nothing() {
    let cat = waiting("cat");
    let pid = cat.pid().to_string();
    let seen = || {
        let json: Value = serde_json::from_str(&ask(&["--json", &pid]).success().out()).unwrap();
        json["processes"][0]["stopped"].as_bool()
    };
    assert_eq!(seen(), Some(false));
    cat.signal(libc::SIGSTOP);
    cat.wait_stopped();
    assert_eq!(seen(), Some(true));
    let once = ask(&["--once", &pid]).success().out();
    assert!(once.starts_with(&format!("{pid} live, stopped, up ")), "{once}");
    let listed = ask(&["--once"]).out();
    let line = listed.lines().find(|line| line.split_whitespace().next() == Some(&pid)).unwrap_or_default();
    assert_eq!(line.split_whitespace().nth(1), Some("stopped"), "{listed}");
    cat.signal(libc::SIGCONT);
}

#[test]
fn output_that_cannot_be_written_is_1() {
    let cat = waiting("cat");
    let pid = cat.pid().to_string();
    for form in ["--once", "--json", "--csv", "--format=openmetrics", "--help", "man"] {
        for which in [&[pid.as_str()][..], &[]] {
            let which = if form.starts_with("--") && form != "--help" { which } else { &[] };
            let mut command = Command::new("sh");
            command.args(["-c", "exec \"$0\" \"$@\" > /dev/full"]).arg(statsmon());
            refuses(&command.arg(form).args(which).finish(), 1);
        }
    }
}

#[test]
fn usage_errors_are_2() {
    for arguments in [
        &["--nonsense"][..],
        &["-n", "0"],
        &["-n", "x"],
        &["-d", "x"],
        &["-d", "-1"],
        &["--json", "--csv"],
        &["--once", "0"],
        &["run"],
        &["run", "--nonsense", "--", "true"],
    ] {
        let finished = ask(arguments);
        // What concerns `run` itself is statsmon's own failure.
        let accepted: &[i32] = if arguments[0] == "run" { &[2, 125] } else { &[2] };
        assert!(accepted.contains(&finished.code()), "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.is_empty() && finished.stdout.is_empty());
    }
}

#[test]
fn what_does_not_end_is_no_snapshot_to_compare_with() {
    let cat = waiting("cat");
    let finished = ask(&["--once", &cat.pid().to_string(), "--against", "/dev/zero"]);
    refuses(&finished, 1);
    assert!(finished.err().contains("/dev/zero: it is too long"), "{}", finished.err());
}

#[test]
fn no_such_process_is_3() {
    refuses(&ask(&["--once", &nobody()]), 3);
    refuses(&ask(&["--json", "4194303"]), 3);
    refuses(&ask(&["--once", "no-program-is-called-this"]), 3);
}

#[test]
fn a_process_without_the_library_is_4() {
    let mut plain = Command::new("cat").begin();
    plain.send(b"ready\n");
    plain.line();
    let finished = ask(&["--once", &plain.pid().to_string()]);
    refuses(&finished, 4);
    assert!(finished.err().contains("statsmon run"), "it says what to do: {}", finished.err());
}

#[test]
fn a_name_that_the_kernel_cuts_inside_a_letter_hides_nothing() {
    let folder = Folder::new();
    // Of the first `ö` fifteen bytes hold but a half.
    let binary = cat_called(&folder, "buchhaltung-größe");
    let cat = waiting(&binary);
    let seen = tests::snapshot(cat.pid());
    assert!(seen.total("rss_bytes") > 0 && seen.total("peak_rss_bytes") > 0, "{}", seen.0["totals"]);
    assert_eq!(seen.text("/command"), binary.to_str().unwrap());
    assert!(seen.number("/ppid") > 0 && seen.list("/unread").is_empty(), "{}", seen.0);
    let named = ask(&["--once", "buchhaltung-größe"]).success();
    assert!(named.out().contains(&cat.pid().to_string()), "{}", named.out());
    let mut plain = Command::new(&binary).begin();
    plain.send(b"ready\n");
    plain.line();
    refuses(&ask(&["--once", &plain.pid().to_string()]), 4);
}

/// A copy of `statsmon` and its library that every user may reach.
fn for_everyone() -> (Folder, PathBuf) {
    let folder = Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    for file in [statsmon().to_owned(), tests::library()] {
        folder.copy(&file, file.file_name().unwrap().to_str().unwrap());
    }
    let binary = folder.path().join("statsmon");
    (folder, binary)
}

#[test]
fn another_users_process_is_5() {
    if missing_privilege() {
        return;
    }
    let (_folder, statsmon) = for_everyone();
    let cat = waiting("cat");
    let finished = Command::new(&statsmon).args(["--once", &cat.pid().to_string()]).as_user(65534).finish();
    refuses(&finished, 5);
    // Among all, it is no failure.
    let finished = Command::new(&statsmon).arg("--json").as_user(65534).finish();
    assert_eq!(finished.code(), 0, "{finished:?}");
}

/// The segment of a living process with a `/dev/shm` of its own, to be damaged.
fn segment_of(pid: u32) -> std::fs::File {
    let path = format!("/proc/{pid}/root/dev/shm/statsalloc.{pid}");
    std::fs::OpenOptions::new().write(true).open(path).unwrap()
}

#[test]
fn an_unknown_layout_version_is_6() {
    if missing_privilege() {
        return;
    }
    let mut cat = Command::new("cat").with_shm(Shm::Private).preload().begin();
    cat.send(b"ready\n");
    cat.line();
    segment_of(cat.pid()).write_all_at(&77_u32.to_ne_bytes(), 8).unwrap();
    let mut look = Command::new(statsmon());
    let finished = look.args(["--once", &cat.pid().to_string()]).beside(cat.pid()).finish();
    refuses(&finished, 6);
    assert!(finished.err().contains("77"), "{}", finished.err());
}

#[test]
fn a_dead_process_is_7_and_its_last_state_is_shown() {
    if missing_privilege() {
        return;
    }
    let mut keeper = Command::new("cat").with_shm(Shm::Private).begin();
    keeper.send(b"ready\n");
    keeper.line();
    let mut cat = Command::new("cat").beside(keeper.pid()).preload().begin();
    cat.send(b"ready\n");
    cat.line();
    let pid = cat.pid().to_string();
    cat.signal(libc::SIGKILL);
    cat.finish();
    let finished = Command::new(statsmon()).args(["--once", &pid]).beside(keeper.pid()).finish();
    refuses(&finished, 7);
    assert!(finished.out().contains(&pid) && finished.out().contains("cat"), "{}", finished.out());
}

#[test]
fn of_several_all_are_shown_and_the_first_failure_is_returned() {
    let (first, second) = (waiting("cat"), waiting("cat"));
    let mut plain = Command::new("cat").begin();
    plain.send(b"ready\n");
    plain.line();
    let [first_pid, second_pid, plain_pid] = [first.pid(), second.pid(), plain.pid()].map(|pid| pid.to_string());
    let nobody = nobody();
    let finished = ask(&["--json", &first_pid, &second_pid]).success();
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(document["processes"].as_array().unwrap().len(), 2);
    for (order, code) in
        [([&first_pid, &plain_pid, &nobody, &second_pid], 4), ([&nobody, &first_pid, &plain_pid, &second_pid], 3)]
    {
        let mut arguments = vec!["--json"];
        arguments.extend(order.map(String::as_str));
        let finished = ask(&arguments);
        refuses(&finished, code);
        let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
        let shown: Vec<String> =
            document["processes"].as_array().unwrap().iter().map(|process| process["pid"].to_string()).collect();
        assert!(shown.contains(&first_pid) && shown.contains(&second_pid), "{shown:?}");
        assert!(finished.err().contains(&nobody) && finished.err().contains(&plain_pid), "{}", finished.err());
    }
}

#[test]
fn a_name_must_be_unique() {
    let folder = Folder::new();
    let name = format!("cat{}", std::process::id());
    let binary = cat_called(&folder, &name);
    let first = waiting(&binary);
    let finished = ask(&["--once", &name]).success();
    assert!(finished.out().contains(&first.pid().to_string()));
    let second = waiting(&binary);
    let finished = ask(&["--once", &name]);
    refuses(&finished, 2);
    for pid in [first.pid(), second.pid()] {
        assert!(finished.err().contains(&pid.to_string()), "{}", finished.err());
    }
}

#[test]
fn every_snapshot_is_a_line_of_json() {
    let cat = waiting("cat");
    let pid = cat.pid().to_string();
    let finished = ask(&["-n", "3", "-d", "0.1", "--json", &pid]).success();
    let lines: Vec<Value> = finished.out().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!((&line["schema_version"], &line["processes"][0]["pid"]), (&Value::from(1), &Value::from(cat.pid())));
    }
    let times: Vec<&str> = lines.iter().map(|line| line["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times[0] < times[2], "{times:?}");
    assert!(lines[2]["processes"][0]["rates"]["allocations_per_second"].is_number(), "known from the one before");
}

#[test]
fn without_processes_the_list_is_empty() {
    if missing_privilege() {
        return;
    }
    // Unpublished programs are found without a segment, so it needs PIDs of its own as well.
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(statsmon()).arg("--json").with_shm(Shm::Private);
    let finished = command.finish().success();
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    assert_eq!(document["processes"], Value::Array(Vec::new()));
    for shm in [Shm::Private, Shm::Absent] {
        let finished = Command::new(statsmon()).arg("--once").with_shm(shm).finish();
        assert!(finished.status.code().is_some_and(|code| code <= 1), "{shm:?}: {finished:?}");
    }
}

#[test]
fn text_and_csv_hold_no_escape_whatever_a_process_is_called() {
    let folder = Folder::new();
    let nasty = cat_called(&folder, "a\u{1b}[31m\nb,\"c\u{7}");
    let cat = waiting(&nasty);
    let pid = cat.pid().to_string();
    for arguments in [&["--once", &pid][..], &["--once"], &["--csv", &pid], &["--csv"], &["-n", "2", "-d", "0.1", &pid]]
    {
        let mut command = Command::new(statsmon());
        command.args(arguments).env("TERM", "xterm-256color").env("CLICOLOR_FORCE", "1");
        let out = command.finish().success().out();
        let control = out.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(control, None, "{arguments:?}: {out:?}");
    }
    let lines = ask(&["--csv", &pid]).success().out();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let document: Value = serde_json::from_slice(&ask(&["--json", &pid]).success().stdout).unwrap();
    assert!(document["processes"][0]["executable"].as_str().unwrap().contains('\u{1b}'), "JSON keeps it, escaped");
}

#[test]
fn without_a_pid_there_is_one_line_a_process() {
    let (first, second) = (waiting("cat"), waiting("cat"));
    let out = ask(&["--once"]).success().out();
    for pid in [first.pid(), second.pid()] {
        let own = pid.to_string();
        let lines = out.lines().filter(|line| line.split_whitespace().any(|word| word == own)).count();
        assert_eq!(lines, 1, "{pid} in {out}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let cat = waiting("cat");
    for form in ["--json", "--csv", "--once"] {
        let mut command = Command::new("bash");
        let script = "\"$0\" $1 -n 500 -d 0.05 $2 | head -1; echo ${PIPESTATUS[0]}";
        let finished = command.args(["-c", script]).arg(statsmon()).args([form, &cat.pid().to_string()]).finish();
        let out = finished.out();
        assert_eq!(finished.err(), "", "{form}");
        let code = out.lines().last().unwrap();
        assert!(matches!(code, "0" | "141"), "{form}: ended with {code}");
    }
}

#[test]
fn a_damaged_segment_never_breaks_the_monitor() {
    if missing_privilege() {
        return;
    }
    let mut random = tests::script::Random::new(5);
    let mut running = Command::new(program("ballast.c")).with_shm(Shm::Private).preload().begin();
    running.line();
    let pid = running.pid();
    let segment = segment_of(pid);
    let look = |arguments: &[&str]| {
        let finished = Command::new(statsmon()).args(arguments).beside(pid).finish();
        assert!(finished.status.code().is_some_and(|code| code <= 7), "{arguments:?}: {finished:?}");
        assert!(!finished.err().contains("panicked"), "{finished:?}");
        finished
    };
    for round in 0..60 {
        // The identity is left alone at first; later all of the header and the counters may be damaged.
        let (from, to) = [(1024, 4096), (8192, 40_000), (225_000, 400_000), (4096, 8192), (16, 440)][round / 12];
        for _ in 0..40 {
            let value = [0, u64::MAX, 1 << 63, random.below(1 << 48)][random.below(4) as usize];
            segment.write_all_at(&value.to_ne_bytes(), (from + random.below(to - from)) & !7).unwrap();
        }
        let finished = look(&["--json", &pid.to_string()]);
        if finished.status.success() {
            serde_json::from_slice::<Value>(&finished.stdout).unwrap();
        }
        look(&["--once", &pid.to_string()]);
        look(&["--csv"]);
    }
    // Cut off under the reader.
    for length in [100_000, 4096, 100, 0] {
        segment.set_len(length).unwrap();
        let finished = look(&["--once", &pid.to_string()]);
        assert!(!finished.err().contains("os error"), "{length} bytes: {}", finished.err());
    }
    running.signal(libc::SIGKILL);
    running.finish();
}
