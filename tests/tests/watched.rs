//! `statsmon run --watch` on programs that do not wait to be looked at.

use std::process::Command;
use std::time::{Duration, Instant};
use tests::artefacts::Folder;
use tests::terminal::Terminal;
use tests::visible::child_of;
use tests::{Run, missing, statsmon};

/// One look at the start, and none for longer than any test waits, unless something happens.
const ONE_LOOK: &str = "-d 3600";

/// A shell that watches `program`, then says how that ended. Log files go to a folder of the test's own.
fn watch(environment: &str, program: &str, folder: &Folder) -> Terminal {
    let (place, statsmon) = (folder.path().display(), statsmon().display());
    let script = format!(
        "env TMPDIR={place} {environment} {statsmon} run --watch {ONE_LOOK} -- {program}; echo \"code=$?\"; read -r x"
    );
    Terminal::open(&["sh", "-c", &script])
}

/// The PID behind the program's name, in the first line.
#[track_caller]
fn pid_in(screen: &str, name: &str) -> u32 {
    let mut words = screen.split_whitespace().skip_while(|&word| word != name).skip(1);
    words.next().and_then(|pid| pid.parse().ok()).unwrap_or_else(|| panic!("no PID of {name} in\n{screen}"))
}

/// Leaves the screen, and says what follows.
#[track_caller]
fn quit(terminal: &Terminal) -> String {
    terminal.keys(&["q"]);
    terminal.wait("the end", |screen| screen.contains("code="))
}

#[track_caller]
fn shows_the_last_state(terminal: &Terminal) -> String {
    terminal.wait("the last state", |screen| {
        screen.contains("EXITED") && screen.contains("= allocated") && screen.contains("the program has ended")
    })
}

fn object(pid: u32) -> String {
    format!("/dev/shm/statsalloc.{pid}")
}

fn is_left(pid: u32) -> bool {
    std::fs::exists(object(pid)).unwrap()
}

/// Takes away what should be left.
#[track_caller]
fn take_away(pid: u32) {
    std::fs::remove_file(object(pid)).expect("the last state is there");
}

#[track_caller]
fn await_that(what: &str, happens: impl Fn() -> bool) {
    let start = Instant::now();
    while !happens() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_ends_between_two_looks_shows_its_last_state_and_leaves_nothing() {
    if missing(&["tmux"]) {
        return;
    }
    let programs = [("sleep 0.9", "sleep", 0), ("/bin/true", "true", 0), ("sh -c 'exit 3'", "sh", 3)];
    for (program, name, code) in programs {
        let folder = Folder::new();
        let terminal = watch("", program, &folder);
        let screen = shows_the_last_state(&terminal);
        assert!(screen.contains(&format!("exit status {code}")) && !screen.contains("statsmon --once"), "{screen}");
        // What a shell is called depends on the system.
        let name = if name == "sh" { screen.split_whitespace().nth(1).unwrap() } else { name };
        let pid = pid_in(&screen, name);
        let left = quit(&terminal);
        assert!(left.contains(&format!("code={code}\n")), "{left}");
        assert!(!is_left(pid), "{program}");
    }
}

#[test]
fn an_interrupted_statsmon_leaves_no_last_state_of_a_program_that_has_ended() {
    if missing(&["tmux"]) {
        return;
    }
    for signal in ["TERM", "HUP", "INT"] {
        let folder = Folder::new();
        let terminal = watch("", "/bin/true", &folder);
        let pid = pid_in(&shows_the_last_state(&terminal), "true");
        assert!(is_left(pid), "it is there while it is shown");
        Command::new("kill").args(["-s", signal, &child_of(terminal.pid()).to_string()]).finish().success();
        terminal.wait("the end", |screen| screen.contains("code="));
        assert!(!is_left(pid), "{signal}");
    }
}

#[test]
fn a_last_state_that_the_user_wants_kept_is_kept() {
    if missing(&["tmux"]) {
        return;
    }
    let folder = Folder::new();
    let terminal = watch("STATSALLOC_KEEP=1", "/bin/true", &folder);
    let pid = pid_in(&shows_the_last_state(&terminal), "true");
    quit(&terminal);
    take_away(pid);
}

#[test]
fn descendants_leave_what_they_leave_without_statsmon() {
    if missing(&["tmux"]) {
        return;
    }
    let folder = Folder::new();
    let file = |name: &str| folder.path().join(name);
    let place = folder.path().display();
    let text = format!(
        "#!/bin/sh\n\
         sh -c 'echo $$ > {place}/ended; exit 1'\n\
         sh -c 'echo $$ > {place}/killed; kill -KILL $$'\n\
         echo > {place}/ready\nexec sleep 1000\n"
    );
    let script = folder.executable("script", text);
    let terminal = watch("", &script.display().to_string(), &folder);
    await_that("the descendants do not end", || file("ready").exists());
    let pid = |name: &str| std::fs::read_to_string(file(name)).unwrap().trim().parse::<u32>().unwrap();
    let (program, ended, killed) = (child_of(child_of(terminal.pid())), pid("ended"), pid("killed"));
    await_that("an ended descendant's segment stays", || !is_left(ended));
    terminal.keys(&["q"]);
    terminal.wait("a question", |screen| screen.contains("still running"));
    terminal.keys(&["e"]);
    terminal.wait("the end", |screen| screen.contains("code="));
    // Of what a signal has ended the last state stays, the program's own too.
    take_away(killed);
    take_away(program);
}

#[test]
fn a_program_that_ends_unpublished_is_not_waited_for_and_the_words_are_true() {
    if missing(&["tmux"]) {
        return;
    }
    let folder = Folder::new();
    let terminal = watch("STATSALLOC_PUBLISH=0", "/bin/true", &folder);
    let screen = terminal.wait("that it has ended", |screen| {
        screen.contains("it ended before it could be looked at") && screen.contains("it left no statistics")
    });
    for untrue in ["yet", "statsmon --once", "without the library"] {
        assert!(!screen.contains(untrue), "{untrue}:\n{screen}");
    }
    assert!(quit(&terminal).contains("code=0\n"));
}
