//! The screen on a terminal of 80 by 24: it opens, answers its keys, and leaves the terminal as it was.

use std::process::Command;
use tests::terminal::Terminal;
use tests::{Run, Running, missing, statsmon};

/// A shell that runs `statsmon` with `arguments`, then says how it ended and how the terminal is set.
fn open(arguments: &str) -> Terminal {
    open_with(&statsmon().display().to_string(), arguments)
}

fn open_with(statsmon: &str, arguments: &str) -> Terminal {
    let script = format!("{statsmon} {arguments}; echo \"code=$?\"; stty -a; read -r x");
    Terminal::open(&["sh", "-c", &script])
}

fn cat() -> Running {
    let mut cat = Command::new("cat").preload().begin();
    cat.send(b"ready\n");
    cat.line();
    cat
}

#[track_caller]
fn is_sane_after(terminal: &Terminal, code: &str) {
    let screen = terminal.wait("the end", |screen| screen.contains("code=") && screen.contains("icanon"));
    assert!(screen.contains(&format!("code={code}\n")), "{screen}");
    let set = |name: &str| screen.split(|c: char| c.is_whitespace() || c == ';').any(|word| word == name);
    assert!(set("icanon") && set("echo") && set("isig") && set("opost") && set("icrnl"), "{screen}");
    assert_eq!(terminal.ask("#{alternate_on} #{cursor_flag} #{mouse_any_flag}"), "0 1 0", "{screen}");
    assert!(!screen.contains("panicked"), "{screen}");
}

#[test]
fn it_opens_on_a_process_and_closes_on_q() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let terminal = open(&pid);
    let first = terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("cat"));
    assert_eq!(terminal.ask("#{alternate_on}"), "1", "it has a screen of its own:\n{first}");
    assert!(first.lines().all(|line| line.chars().count() <= 80));
    let lower = first.to_lowercase();
    assert!(lower.contains("requested") && lower.contains("allocated"), "{first}");
    terminal.keys(&["Tab"]);
    terminal.wait("another view after Tab", |screen| screen != first && !screen.contains("code="));
    terminal.keys(&["?"]);
    terminal.wait("help", |screen| screen.to_lowercase().contains("quit"));
    terminal.keys(&["?"]);
    for key in ["Down", "Up", "Left", "Right", "Tab", "Tab", "PageDown", "End", "Home"] {
        terminal.keys(&[key]);
    }
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn without_arguments_it_lists_the_processes() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let terminal = open("");
    terminal.wait("a list", |screen| screen.contains("PID") || screen.contains("cat"));
    drop(cat);
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn it_survives_every_size() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let terminal = open(&pid);
    terminal.wait("the process", |screen| screen.contains(&pid));
    for (columns, rows) in [(200, 60), (40, 10), (20, 5), (10, 3), (2, 1), (1, 1), (300, 4), (12, 100)] {
        terminal.resize(columns, rows);
        terminal.keys(&["Tab"]);
    }
    terminal.resize(80, 24);
    terminal.wait("the process again", |screen| screen.contains(&pid));
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn ctrl_z_gives_the_terminal_back_and_fg_takes_it_again() {
    if missing(&["tmux", "bash"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let script = format!(
        "set -m; {} {pid}; echo \"stopped=$?\"; stty -a; read -r x; fg; echo \"code=$?\"; stty -a; read -r x",
        statsmon().display()
    );
    let terminal = Terminal::open(&["bash", "-c", &script]);
    let is_there = |screen: &str| screen.contains(&pid) && screen.contains("LIVE");
    terminal.wait("the process", is_there);
    terminal.keys(&["C-z"]);
    let screen = terminal.wait("the shell", |screen| screen.contains("stopped=") && screen.contains("icanon"));
    let stopped = [libc::SIGSTOP, libc::SIGTSTP].map(|signal| format!("stopped={}\n", 128 + signal));
    assert!(stopped.iter().any(|line| screen.contains(line)), "{screen}");
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
    assert_eq!(terminal.ask("#{alternate_on} #{cursor_flag}"), "0 1", "{screen}");
    terminal.keys(&["Enter"]);
    terminal.wait("the process again", is_there);
    assert_eq!(terminal.ask("#{alternate_on}"), "1");
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn signals_restore_the_terminal() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    for (signal, number) in [("TERM", 15), ("HUP", 1), ("INT", 2)] {
        let terminal = open(&pid);
        terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("cat"));
        let statsmon = tests::visible::child_of(terminal.pid());
        Command::new("kill").args(["-s", signal, &statsmon.to_string()]).finish().success();
        let screen = terminal.wait("the end", |screen| screen.contains("code="));
        let code = ["0".to_owned(), (128 + number).to_string()];
        let code = code.iter().find(|code| screen.contains(&format!("code={code}\n")));
        is_sane_after(&terminal, code.unwrap_or_else(|| panic!("{signal}: {screen}")));
    }
}

/// `timeout` puts itself, and what it starts, into the background; its SIGTERM comes with a SIGCONT.
#[test]
fn a_screen_that_waits_in_the_background_for_the_terminal_can_be_ended() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    for input in ["", "< /dev/null"] {
        let terminal = open_with(&format!("timeout 0.5 {}", statsmon().display()), &format!("{} {input}", cat.pid()));
        is_sane_after(&terminal, "124");
    }
}

#[test]
fn a_process_that_ends_stays_on_the_screen() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let terminal = open(&pid);
    terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("live"));
    cat.finish().success();
    let ended = |screen: &str| ["exited", "ended", "dead", "crashed"].iter().any(|word| screen.contains(word));
    terminal.wait("its end", |screen| ended(screen) && screen.contains(&pid));
    terminal.keys(&["q"]);
    let screen = terminal.wait("the end", |screen| screen.contains("code="));
    assert!(!screen.contains("panicked"), "{screen}");
}

#[test]
fn a_watched_program_runs_beside_the_screen() {
    if missing(&["tmux"]) {
        return;
    }
    // The log file goes to a folder of the test's own.
    let folder = tests::artefacts::Folder::new();
    let statsmon = format!("env TMPDIR={} {}", folder.path().display(), statsmon().display());
    let terminal = open_with(&statsmon, "run --watch -- sh -c 'echo hidden; sleep 1000'");
    let screen = terminal.wait("the program", |screen| screen.contains("sh") && screen.contains("live"));
    assert!(!screen.lines().any(|line| line.trim() == "hidden"), "its output goes to a log file:\n{screen}");
    let statsmon = tests::visible::child_of(terminal.pid());
    let watched = tests::visible::child_of(statsmon);
    terminal.keys(&["q"]);
    terminal.wait("a question", |screen| screen.contains("still running"));
    terminal.keys(&["e"]);
    terminal.wait("the end", |screen| screen.contains("code="));
    assert!(!std::fs::exists(format!("/proc/{watched}")).unwrap(), "it was to be ended");
}

#[test]
fn a_watched_program_that_becomes_one_without_the_library_is_not_said_to_have_ended() {
    if missing(&["tmux"]) {
        return;
    }
    let folder = tests::artefacts::Folder::new();
    let mut gate = tests::gate::Gate::new();
    let script = format!("#!/bin/sh\n{}\nunset LD_PRELOAD\nexec /bin/sh \"$0.next\"\n", gate.script());
    let path = folder.path().join("first");
    std::fs::write(&path, script).unwrap();
    std::fs::write(folder.path().join("first.next"), format!("{}\n", gate.script())).unwrap();
    let statsmon = format!("env TMPDIR={} {}", folder.path().display(), statsmon().display());
    let terminal = open_with(&statsmon, &format!("run --watch -d 0.1 -- sh {}", path.display()));
    gate.wait(tests::process::DEADLINE);
    terminal.wait("the program", |screen| screen.contains("LIVE"));
    gate.open();
    gate.wait(tests::process::DEADLINE);
    let screen = terminal.wait("what became of it", |screen| screen.contains("REPLACED  has become sh"));
    assert!(!screen.contains("ended"), "{screen}");
    gate.open();
    let screen = terminal.wait("its end", |screen| screen.contains("EXITED  it had become sh"));
    assert!(!screen.contains("CRASHED"), "{screen}");
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

/// Presses keys and waits until the screen shows a text.
#[track_caller]
fn after(terminal: &Terminal, keys: &[&str], text: &str) -> String {
    terminal.keys(keys);
    terminal.wait(text, |screen| screen.contains(text))
}

#[test]
fn every_view_can_be_reached_and_left() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let folder = tests::artefacts::Folder::new();
    let statsmon = format!("cd {} && {}", folder.path().display(), statsmon().display());
    let terminal = open_with(&statsmon, &format!("-d 0.2 {pid}"));
    terminal.wait("the chain of bytes", |screen| screen.contains("= RSS") && screen.contains("since mark"));
    after(&terminal, &["2"], "FREE");
    after(&terminal, &["a"], "ALLOC/S");
    after(&terminal, &["a"], "SLABS");
    after(&terminal, &["p"], "AT THE PEAK");
    after(&terminal, &["p", "/"], "/_");
    after(&terminal, &["1024", "Enter"], "/1024");
    let filtered = after(&terminal, &["Enter"], "Size class 1024");
    assert!(filtered.contains("ALLOC BY"), "{filtered}");
    terminal.keys(&["Escape"]);
    terminal.wait("the classes", |screen| screen.contains("SLABS"));
    // Esc and a digit sent at once would be Alt and the digit.
    terminal.keys(&["Escape"]);
    terminal.wait("all classes", |screen| !screen.contains("/1024"));
    after(&terminal, &["3"], "R.OUT");
    after(&terminal, &["4"], "purges gave");
    after(&terminal, &["5"], "misuse: 0 double");
    after(&terminal, &["6"], "watched from here on");
    after(&terminal, &["1", "M"], "marked");
    after(&terminal, &["]"], "window 10m");
    after(&terminal, &["["], "window 2m");
    after(&terminal, &["Space"], "FROZEN");
    terminal.keys(&["Space"]);
    terminal.wait("going on", |screen| !screen.contains("FROZEN"));
    after(&terminal, &["s"], "saved to");
    let saved = std::fs::read_dir(folder.path()).unwrap().flatten().next().expect("a file");
    let saved = std::fs::read(saved.path()).unwrap();
    let saved: serde_json::Value = serde_json::from_slice(&saved).unwrap();
    assert_eq!(saved["processes"][0]["pid"].to_string(), pid);
    after(&terminal, &["?"], "freeze the screen");
    terminal.keys(&["?"]);
    terminal.wait("the overview", |screen| screen.contains("= RSS"));
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn a_full_disk_is_told_of_when_saving_and_nothing_is_left_of_the_file() {
    if missing(&["tmux", "unshare"]) || tests::missing_privilege() {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let folder = tests::artefacts::Folder::new();
    // Room for one page, which is less than a snapshot; and how much of it is left is what the list shows afterwards.
    let place = folder.path().display();
    let script = format!(
        "mount -t tmpfs -o size=4k none {place} && cd {place} && {} -d 0.1 {pid}; echo \"code=$?\"; ls | wc -l; \
         stty -a; read -r x",
        statsmon().display()
    );
    let terminal = Terminal::open(&["unshare", "--mount", "sh", "-c", &script]);
    terminal.wait("the process", |screen| screen.contains("= RSS"));
    let screen = after(&terminal, &["s"], "not saved");
    assert!(screen.contains("! not saved: No space left on device"), "{screen}");
    // It goes on: the next key has its answer in the place of the old one.
    let screen = after(&terminal, &["M"], "marked");
    assert!(!screen.contains("not saved") && screen.contains("LIVE"), "{screen}");
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
    assert!(terminal.screen().contains("code=0\n0\n"), "a part of the file is left:\n{}", terminal.screen());
}

#[test]
fn the_mouse_is_left_alone_unless_it_is_wanted_and_given_back() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    for (option, mouse) in [("", "0"), ("--mouse", "1")] {
        let terminal = open(&format!("{option} {pid}"));
        terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("= RSS"));
        assert_eq!(terminal.ask("#{mouse_any_flag}"), mouse);
        terminal.keys(&["q"]);
        is_sane_after(&terminal, "0");
    }
}

#[test]
fn ascii_and_monochrome_screens_hold_nothing_else() {
    if missing(&["tmux"]) {
        return;
    }
    let cat = cat();
    let pid = cat.pid().to_string();
    let terminal = open(&format!("--ascii --no-color {pid}"));
    let screen = terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("= RSS"));
    assert!(screen.is_ascii(), "{screen}");
    let styled = terminal.styled();
    let colours = (30..=38).chain(40..=48).chain(90..=107);
    for code in colours {
        assert!(!styled.contains(&format!("[{code}m")) && !styled.contains(&format!("[{code};")), "{styled:?}");
    }
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn a_crash_keeps_the_last_frame_and_names_the_likely_cause() {
    if missing(&["tmux"]) {
        return;
    }
    let mut victim = Command::new(tests::program("misuse.c")).args(["double", "pause"]).preload().begin();
    victim.line();
    while victim.next_line().is_none_or(|line| line != "before") {}
    let pid = victim.pid().to_string();
    let terminal = open(&format!("-d 0.1 {pid}"));
    terminal.wait("the process", |screen| screen.contains(&pid) && screen.contains("LIVE"));
    victim.go();
    let screen = terminal.wait("its end", |screen| screen.contains("CRASHED  likely cause"));
    assert!(screen.contains("double free") && screen.contains("= allocated"), "{screen}");
    after(&terminal, &["6"], "ended without a word");
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn a_process_that_becomes_another_program_is_followed() {
    if missing(&["tmux"]) {
        return;
    }
    let mut shell = Command::new("bash").args(["-c", "read -r line; exec cat"]).preload().begin();
    let pid = shell.pid();
    tests::visible(pid, "bash");
    let terminal = open(&format!("-d 0.1 {pid}"));
    terminal.wait("the shell", |screen| screen.contains(&format!("bash {pid}")) && screen.contains("LIVE"));
    shell.send(b"go\nready\n");
    assert_eq!(shell.line(), "ready");
    terminal.wait("the other program", |screen| screen.contains(&format!("cat {pid}")) && screen.contains("LIVE"));
    terminal.wait("what happened", |screen| screen.contains("exec: bash became cat"));
    after(&terminal, &["6"], "watched from here on");
    terminal.wait("what happened, in the log", |screen| screen.contains("exec: bash became cat"));
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}

#[test]
fn two_processes_open_side_by_side() {
    if missing(&["tmux"]) {
        return;
    }
    let (one, other) = (cat(), cat());
    let terminal = open(&format!("{} {}", one.pid(), other.pid()));
    let screen = terminal.wait("the comparison", |screen| screen.contains("DIFFERENCE"));
    assert!(screen.contains("LEFT cat") && screen.contains("RIGHT cat"), "{screen}");
    terminal.keys(&["Escape"]);
    terminal.wait("the list", |screen| screen.contains("PID") && screen.contains("DIAGNOSIS"));
    after(&terminal, &["Enter"], "= RSS");
    terminal.keys(&["q"]);
    is_sane_after(&terminal, "0");
}
