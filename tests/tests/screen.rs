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
