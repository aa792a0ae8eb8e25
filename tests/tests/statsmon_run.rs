//! `statsmon run` adds nothing to a program but the library.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::artefacts::{Folder, compiled};
use tests::sandbox::{Sandbox, Shm};
use tests::{Finished, Run, library, missing_privilege, program, snapshot, statsmon};

fn run(arguments: &[&str]) -> Finished {
    Command::new(statsmon()).arg("run").args(arguments).finish()
}

#[test]
fn output_and_status_are_the_programs_own() {
    let finished = run(&["--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((finished.code(), finished.out().as_str(), finished.err().as_str()), (3, "out\n", "err\n"));
    let finished = run(&["--", "sh", "-c", "kill -TERM $$"]);
    assert_eq!(finished.signal(), Some(libc::SIGTERM));
    let mut command = Command::new(statsmon());
    let mut running = command.args(["run", "--", "cat", "-"]).begin();
    running.send(b"through\n");
    assert_eq!(running.line(), "through");
    assert_eq!(snapshot(running.pid()).text("/command"), "cat -", "statsmon became the program");
    running.finish().success();
}

#[test]
fn arguments_reach_the_program_unchanged() {
    let odd = ["", " ", "--json", "-n", "--", "ä\n\"'$(x)*"];
    let finished = run(&[&["--", "printf", "[%s]"], &odd[..]].concat());
    assert_eq!(finished.success().out(), odd.map(|word| format!("[{word}]")).concat());
}

#[test]
fn what_was_preloaded_before_stays() {
    let mut command = Command::new(statsmon());
    command.args(["run", "--", "sh", "-c", "echo \"$LD_PRELOAD\"; cat /proc/self/maps"]);
    let finished = command.env("LD_PRELOAD", "libm.so.6").finish().success();
    let out = finished.out();
    let first = out.lines().next().unwrap();
    assert!(first.contains("libstatsalloc.so") && first.contains("libm.so.6"), "{first}");
    assert!(out.contains("/libm.so.6") && out.contains("/libstatsalloc.so"), "both are in the program");
}

#[test]
fn programs_that_cannot_be_started_give_126_and_127() {
    let folder = Folder::new();
    let text = folder.path().join("text");
    std::fs::write(&text, "no program").unwrap();
    for (what, code) in [
        (folder.path().join("nothing"), 127),
        (PathBuf::from("no-program-is-called-this"), 127),
        (text, 126),
        (folder.path().to_owned(), 126),
    ] {
        for report in [false, true] {
            let mut command = Command::new(statsmon());
            command.arg("run").args(report.then_some("--report")).arg("--").arg(&what);
            let finished = command.finish();
            assert_eq!(finished.code(), code, "{what:?}: {finished:?}");
            assert!(!finished.stderr.is_empty() && finished.stdout.is_empty(), "{finished:?}");
        }
    }
}

#[test]
fn scripts_run() {
    let folder = Folder::new();
    let script = folder.executable("script", "#!/bin/sh\necho \"$LD_PRELOAD\" \"$1\"\nexit 4\n");
    let finished = run(&["--", script.to_str().unwrap(), "word"]);
    assert_eq!(finished.code(), 4, "{finished:?}");
    assert_eq!(finished.out(), format!("{} word\n", library().display()));
}

/// What cannot be preloaded is refused, and the message says why.
fn refused(command: &mut Command, reason: &[&str]) {
    let finished = command.finish();
    assert_eq!(finished.code(), 125, "{finished:?}");
    assert_eq!(finished.out(), "", "it did not run");
    let text = finished.err().to_lowercase();
    assert!(reason.iter().any(|word| text.contains(word)), "{reason:?} is not in {text:?}");
}

#[test]
fn static_programs_are_refused() {
    let program = compiled("execs.c", &["-static"]);
    for mode in [None, Some("--report")] {
        refused(Command::new(statsmon()).arg("run").args(mode).arg("--").arg(&program), &["static"]);
    }
}

#[test]
fn other_architectures_are_refused() {
    let folder = Folder::new();
    let mut bytes = std::fs::read("/bin/true").unwrap();
    // The ELF header's machine: AArch64. Then a 32-bit program.
    bytes[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let program = folder.executable("foreign", &bytes);
    refused(Command::new(statsmon()).args(["run", "--"]).arg(&program), &["architecture", "aarch64", "machine"]);
    bytes[4] = 1;
    bytes[18..20].copy_from_slice(&3_u16.to_le_bytes());
    let program = folder.executable("foreign", &bytes);
    refused(Command::new(statsmon()).args(["run", "--"]).arg(&program), &["architecture", "32", "machine"]);
}

#[test]
fn programs_that_change_the_user_are_refused() {
    if missing_privilege() {
        return;
    }
    let folder = Folder::new();
    let program = folder.copy("/bin/true".as_ref(), "true");
    std::os::unix::fs::chown(&program, Some(65534), None).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    refused(Command::new(statsmon()).args(["run", "--"]).arg(&program), &["setuid", "set-user-id", "set-uid"]);
}

#[test]
fn a_missing_library_is_125_and_the_message_says_where_it_looked() {
    let folder = Folder::new();
    let alone = folder.copy(statsmon(), "bin/statsmon");
    let finished = Command::new(&alone).args(["run", "--", "true"]).finish();
    assert_eq!(finished.code(), 125, "{finished:?}");
    let text = finished.err();
    let folder_text = folder.path().to_str().unwrap();
    assert!(text.contains(folder_text) && text.contains("lib/statsmon") && text.contains("STATSMON_PRELOAD"), "{text}");
    // There it is found.
    std::fs::create_dir_all(folder.path().join("lib/statsmon")).unwrap();
    std::fs::copy(library(), folder.path().join("lib/statsmon/libstatsalloc.so")).unwrap();
    let show = ["run", "--", "sh", "-c", "echo $LD_PRELOAD"];
    let finished = Command::new(&alone).args(show).finish().success();
    assert!(finished.out().ends_with("lib/statsmon/libstatsalloc.so\n"), "{}", finished.out());
    // And by its variable.
    std::fs::rename(folder.path().join("lib"), folder.path().join("elsewhere")).unwrap();
    let elsewhere = folder.path().join("elsewhere/statsmon/libstatsalloc.so");
    let finished = Command::new(&alone).args(show).env("STATSMON_PRELOAD", &elsewhere).finish().success();
    assert_eq!(finished.out(), format!("{}\n", elsewhere.display()));
    let mut nowhere = Command::new(&alone);
    let finished = nowhere.args(show).env("STATSMON_PRELOAD", folder.path().join("nothing.so")).finish();
    assert_eq!(finished.code(), 125, "{finished:?}");
    assert!(finished.err().contains("nothing.so"), "{}", finished.err());
}

#[test]
fn a_preload_variable_that_names_another_file_is_125_and_one_line() {
    let folder = Folder::new();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library\n").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc =
        maps.lines().filter_map(|line| line.find('/').map(|start| &line[start..])).find(|path| path.contains("libc"));
    for other in [text.as_path(), Path::new(libc.unwrap()), statsmon()] {
        let other = other.canonicalize().unwrap();
        let finished = Command::new(statsmon()).args(["run", "--", "true"]).env("STATSMON_PRELOAD", &other).finish();
        assert_eq!((finished.code(), finished.out().as_str()), (125, ""), "{finished:?}");
        let said = finished.err();
        assert!(said.contains(&format!("{} is not libstatsalloc.so", other.display())), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_report_keeps_the_status_and_goes_to_stderr() {
    let finished = run(&["--report", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((finished.code(), finished.out().as_str()), (3, "out\n"), "{finished:?}");
    let text = finished.err().to_lowercase();
    assert!(text.starts_with("err\n"), "{text}");
    for word in ["peak", "requested", "allocated", "allocations", "live"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert!(!text.contains('\u{1b}'));
    assert_eq!(run(&["--report", "--", "sh", "-c", "kill -KILL $$"]).code(), 128 + 9);
    assert_eq!(run(&["--report", "--", "sh", "-c", "kill -SEGV $$"]).code(), 128 + 11);
    assert_eq!(run(&["--report", "--", "true"]).code(), 0);
}

#[test]
fn a_program_runs_under_a_report_that_nobody_can_publish_for() {
    if missing_privilege() {
        return;
    }
    for shm in [Shm::Absent, Shm::Small(8 << 10)] {
        let mut command = Command::new(statsmon());
        command.args(["run", "--report", "--", "sh", "-c", "echo out; exit 3"]).env("STATSALLOC_VERBOSE", "1");
        let finished = command.with_shm(shm).finish();
        assert_eq!((finished.code(), finished.out().as_str()), (3, "out\n"), "{finished:?}");
        assert!(finished.err().contains("no statistics: it published none"), "{finished:?}");
        // The number that the kernel has for a full file system there is that of a bad address.
        assert!(!finished.err().contains("(error 14)"), "{finished:?}");
    }
}

#[test]
fn a_report_shows_the_final_counts() {
    // What lives at the end: 2,666 of 4,000 blocks, and a few of the C library's own.
    let mut command = Command::new(statsmon());
    let mut running = command.args(["run", "--report", "--"]).arg(program("ballast.c")).begin();
    running.line();
    let child = tests::visible::child_of(running.pid());
    let last = snapshot(child).figures();
    running.go();
    let text = running.finish().success().err();
    let digits: String = text.chars().filter(|c| !matches!(c, ',' | '_' | '\'' | ' ' | '\u{202f}')).collect();
    for number in [last.allocations, last.live_blocks] {
        assert!(digits.contains(&number.to_string()), "{number} is not in {text}");
    }
}

#[test]
fn a_report_names_every_descendant() {
    let finished = run(&["--report", "--", "sh", "-c", "sort < /dev/null; env true; seq 3 | tr 1 2 > /dev/null; :"]);
    let text = finished.success().err();
    for name in ["sort", "true", "seq", "tr"] {
        assert!(text.lines().any(|line| line.contains(name)), "{name} is not in {text}");
    }
}

#[test]
fn a_report_removes_what_it_has_read_while_others_look_at_it() {
    for _ in 0..10 {
        let mut running =
            Command::new(statsmon()).args(["run", "--report", "--", "sh", "-c", "echo; read -r line"]).begin();
        assert_eq!(running.line(), "");
        let segment = format!("/dev/shm/statsalloc.{}", tests::visible::child_of(running.pid()));
        // As who sweeps does, when the program has ended, only for longer.
        let file = std::fs::File::open(&segment).unwrap();
        let looking = std::thread::spawn(move || file.lock_shared().map(|()| file));
        running.send(b"line\n");
        running.finish().success();
        let _file = looking.join().unwrap().unwrap();
        assert!(!std::path::Path::new(&segment).exists(), "{segment} was left");
    }
}

#[test]
fn a_report_does_not_give_the_figures_from_before_an_exec_for_the_final_ones() {
    // Whether it is seen in time depends on who is faster; that the program became another is said in either case.
    let mut command = Command::new(statsmon());
    let mut running = command.args(["run", "--report", "--", "sh", "-c", "unset LD_PRELOAD; exec cat"]).begin();
    running.send(b"line\n");
    assert_eq!(running.line(), "line");
    let text = running.finish().success().err();
    let second = text.lines().nth(1).unwrap();
    assert!(second.contains("become cat,") || second.contains("it became a program without the library"), "{text}");

    let script = "echo; (unset LD_PRELOAD; exec cat); :";
    let mut running = Command::new(statsmon()).args(["run", "--report", "--", "sh", "-c", script]).begin();
    assert_eq!(running.line(), "");
    running.send(b"line\n");
    assert_eq!(running.line(), "line");
    let text = running.finish().success().err();
    let descendant = text.lines().skip_while(|line| *line != "descendants").nth(2).unwrap_or_default();
    assert!(descendant.contains("became cat") || descendant.contains("killed, or exec"), "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("  peak requested"), "the shell itself became nothing: {text}");
}

#[test]
fn a_reporting_statsmon_forwards_signals() {
    for (name, signal) in [("TERM", libc::SIGTERM), ("HUP", libc::SIGHUP), ("USR1", libc::SIGUSR1)] {
        let script =
            format!("trap 'echo got {name}; exit 9' {name}; echo ready; while read -r line; do :; done; exit 8");
        let mut command = Command::new(statsmon());
        let mut running = command.args(["run", "--report", "--", "sh", "-c", &script]).begin();
        assert_eq!(running.line(), "ready");
        running.signal(signal);
        // A signal just before `read` waits for its line; one within it ends the shell, which then takes no line.
        match running.try_send(b"line\n") {
            Ok(()) => (),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe),
        }
        assert_eq!(running.line(), format!("got {name}"));
        assert_eq!(running.finish().code(), 9);
    }
}
