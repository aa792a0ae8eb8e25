//! Very many processes, and very many threads, on every way to look at them.

use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};
use tests::artefacts::Folder;
use tests::sandbox::{Sandbox, Shm};
use tests::terminal::Terminal;
use tests::{Run, missing, missing_privilege, program, statsmon};

/// What a form of output says about one process, or all.
fn shown(form: &[&str], beside: Option<u32>) -> String {
    let mut command = Command::new(statsmon());
    command.args(form);
    if let Some(pid) = beside {
        command.beside(pid);
    }
    command.finish().success().out()
}

#[test]
fn five_hundred_processes_are_listed() {
    if missing_privilege() || missing(&["tmux", "nsenter"]) {
        return;
    }
    // A name that no other program has, whoever else looks or is looked at beside this test.
    let name = format!("rests{}", std::process::id());
    let folder = Folder::new();
    let rests = folder.copy(&program("worker.c"), &name);
    let script =
        "exec 3<&0; i=0; while [ $i -lt 500 ]; do \"$0\" pause <&3 >/dev/null & i=$((i + 1)); done; echo ready; wait";
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", script]).arg(&rests).with_shm(Shm::Private).preload().begin();
    assert_eq!(running.line(), "ready");
    let pid = running.pid();
    let look = || {
        let document: Value = serde_json::from_str(&shown(&["--json"], Some(pid))).unwrap();
        let processes = document["processes"].as_array().unwrap();
        processes.iter().filter(|process| process["state"] == "live" && process["name"] == name).count()
    };
    // The last of them may not have begun yet.
    let start = Instant::now();
    let mut count = look();
    while count < 500 && start.elapsed() < Duration::from_secs(60) {
        count = look();
    }
    assert_eq!(count, 500);
    for form in ["--once", "--csv"] {
        let lines =
            shown(&[form], Some(pid)).lines().filter(|line| line.contains(&name) && !line.contains("while")).count();
        assert_eq!(lines, 500, "{form}");
    }
    assert!(
        shown(&["--format=openmetrics"], Some(pid)).contains(&format!("malloc_processes{{process=\"{name}\"}} 500\n"))
    );
    let monitor = format!("nsenter -t {pid} -m {} -d 0.5; echo \"code=$?\"; read -r x", statsmon().display());
    let terminal = Terminal::open(&["sh", "-c", &monitor]);
    // Other programs beside this test are listed as well, and may push these off the screen.
    terminal.wait("the list", |screen| screen.contains("processes") && screen.contains("/ filter"));
    terminal.keys(&["/"]);
    terminal.keys(&[&name, "Enter"]);
    terminal.keys(&["End"]);
    terminal.wait("the last of them and of the shell", |screen| screen.contains("501/501"));
    terminal.keys(&["q"]);
    terminal.wait("the end", |screen| screen.contains("code=0"));
    running.signal(libc::SIGKILL);
    drop(running);
}

#[test]
fn four_thousand_threads_are_shown_by_every_form_and_on_the_screen() {
    if missing(&["tmux"]) {
        return;
    }
    let mut running = Command::new(program("manythreads.c")).arg("4096").preload().begin();
    assert_eq!(running.line(), "ready");
    running.go();
    assert_eq!(running.line(), "held");
    let pid = running.pid().to_string();
    let document: Value = serde_json::from_str(&shown(&["--json", &pid], None)).unwrap();
    let threads = &document["processes"][0]["threads"];
    assert_eq!(threads["live"], 4097);
    let rows = threads["rows"].as_array().unwrap();
    // Some have no row of their own: one is the main thread's.
    let without = threads["without_row"].as_u64().unwrap();
    let live = rows.iter().filter(|row| row["state"] == "live").count() as u64;
    assert_eq!((live + without, without <= 2), (4097, true));
    assert!(rows.iter().filter(|row| row["allocations"] == 3).count() >= 4090);
    let text = shown(&["--once", &pid], None);
    assert!(text.contains("threads: 4097 live") && text.lines().count() < 300, "{text}");
    assert_eq!(shown(&["--csv", &pid], None).lines().count(), 2);
    assert!(shown(&["--format=openmetrics", &pid], None).ends_with("# EOF\n"));
    let terminal =
        Terminal::open(&["sh", "-c", &format!("{} -d 0.5 {pid}; echo \"code=$?\"; read -r x", statsmon().display())]);
    terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("= RSS"));
    terminal.keys(&["3", "End"]);
    terminal.wait("the last of them", |screen| screen.contains("/409") && !screen.contains(" 1/409"));
    terminal.keys(&["q"]);
    terminal.wait("the end", |screen| screen.contains("code=0"));
    running.go();
    assert_eq!(running.line(), "ended");
    running.go();
    running.finish().success();
}
