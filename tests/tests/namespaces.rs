//! Containers that share `/dev/shm`: processes of several PID namespaces have the same PID.

use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use tests::artefacts::Folder;
use tests::process::DEADLINE;
use tests::sandbox::{Sandbox, Shm, objects_of};
use tests::terminal::Terminal;
use tests::{
    Finished, LAST_PID, Run, Running, library, missing, missing_last_pid, missing_privilege, program, statsmon,
};

/// A shell with a `/dev/shm` of its own, and copies of `sleep` with names of their own.
struct Shared {
    folder: Folder,
    shell: Running,
}

impl Shared {
    /// Other tests' processes are listed as well: the names are each test's own.
    fn new(names: &[&str]) -> Self {
        let folder = Folder::new();
        for name in names {
            let copy = Command::new("cp").arg("/bin/sleep").arg(folder.path().join(name)).status();
            assert!(copy.unwrap().success());
        }
        let script = "echo ready; while read -r line; do eval \"$line\"; done";
        let mut shell = Command::new("sh").args(["-c", script]).with_shm(Shm::Private).begin();
        assert_eq!(shell.line(), "ready");
        Self { folder, shell }
    }

    /// The command that runs one of the copies under the library.
    fn command(&self, name: &str) -> String {
        format!("env LD_PRELOAD={} {} 600", library().display(), self.folder.path().join(name).display())
    }

    fn begin(&mut self, command: &str) {
        self.shell.send(format!("{command} &\n").as_bytes());
    }

    /// Runs a copy as PID 1 of a container.
    fn contain(&mut self, name: &str) -> u32 {
        self.begin(&format!("unshare --pid --fork --kill-child --mount-proc {}", self.command(name)));
        self.awaited(name, "live")
    }

    fn ask(&self, arguments: &[&str]) -> Finished {
        Command::new(statsmon()).args(arguments).beside(self.shell.pid()).finish()
    }

    /// The PID under which a program is listed once it has this state.
    fn awaited(&self, name: &str, state: &str) -> u32 {
        let start = Instant::now();
        let command = format!("/{name}");
        loop {
            let list = self.ask(&["--once"]).out();
            let lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let mut found = lines.filter(|words| words.get(1) == Some(&state));
            if let Some(words) = found.find(|words| words.iter().any(|word| word.ends_with(&command))) {
                return words[0].parse().unwrap();
            }
            assert!(start.elapsed() < DEADLINE, "{name} is not {state}: {list}");
        }
    }

    /// Kills a process here; the PID under which it is listed then.
    fn crash(&self, name: &str, pid: u32) -> u32 {
        assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
        // Until its parent has taken note, it is found by its PID here.
        let start = Instant::now();
        while Path::new(&format!("/proc/{pid}")).exists() {
            assert!(start.elapsed() < DEADLINE, "{name} does not end");
        }
        self.awaited(name, "crashed")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.shell.send(b"kill $(jobs -p)\n");
    }
}

/// The processes that an answer as CSV is about: their names.
fn names(finished: &Finished) -> Vec<String> {
    let out = finished.out();
    let mut rows = out.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let titles = rows.next().unwrap_or_default();
    let column = titles.iter().position(|&title| title == "name").unwrap();
    rows.map(|row| row[column].trim_matches('"').to_owned()).collect()
}

#[track_caller]
fn shows(finished: &Finished, name: &str) {
    assert_eq!((finished.code(), names(finished)), (7, vec![name.to_owned()]), "{finished:?}");
}

#[test]
fn crashed_containers_with_one_inner_pid_are_told_apart() {
    if missing_privilege() || missing(&["unshare", "nsenter", "tmux"]) {
        return;
    }
    const NAMES: [&str; 2] = ["first", "second"];
    let mut shared = Shared::new(&NAMES);
    for name in NAMES {
        let pid = shared.contain(name);
        assert_ne!(pid, 1);
    }
    for name in NAMES {
        let pid = shared.awaited(name, "live");
        assert_eq!(shared.crash(name, pid), 1);
    }
    for name in NAMES {
        shows(&shared.ask(&["--csv", name]), name);
    }
    let finished = shared.ask(&["--csv", "1"]);
    assert_eq!(finished.code(), 2, "{finished:?}");
    let segments = ["statsalloc.1", "statsalloc.1.1"];
    for (segment, name) in segments.into_iter().zip(NAMES) {
        assert!(finished.err().contains(&format!("{segment} ({name})")), "{finished:?}");
        shows(&shared.ask(&["--csv", segment]), name);
    }
    let monitor = format!("nsenter -t {} -m {} -d 0.2", shared.shell.pid(), statsmon().display());
    for name in NAMES {
        let terminal = Terminal::open(&["sh", "-c", &monitor]);
        // Other programs beside this test are listed as well, and may push these off the screen.
        terminal.wait("the list", |screen| screen.contains("processes") && screen.contains("/ filter"));
        terminal.keys(&["/"]);
        terminal.keys(&[&format!("/{name}"), "Enter"]);
        terminal.wait("its row", |screen| screen.matches("CRASHED").count() == 1);
        terminal.keys(&["Enter"]);
        terminal.wait("the process", |screen| screen.contains(&format!("{name} 1 ")));
        terminal.keys(&["q"]);
    }
}

#[test]
fn a_number_means_a_leftover_where_the_process_here_has_no_library() {
    if missing_privilege() || missing(&["unshare"]) {
        return;
    }
    let mut shared = Shared::new(&["lonely"]);
    let pid = shared.contain("lonely");
    let refused = shared.ask(&["--csv", "1"]);
    assert_eq!(refused.code(), 4, "a living container's inner PID is no PID here: {refused:?}");
    assert_eq!(shared.crash("lonely", pid), 1);
    shows(&shared.ask(&["--csv", "1"]), "lonely");
}

#[test]
fn a_crashed_containers_process_is_not_taken_for_the_living_one_with_its_number() {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    if missing_privilege() || missing(&["unshare"]) {
        return;
    }
    if std::fs::metadata(LAST).is_err() {
        tests::require::skipped("the kernel does not let a PID be chosen");
        return;
    }
    let mut shared = Shared::new(&["outer", "inner"]);
    let command = shared.command("outer");
    shared.begin(&command);
    let number = shared.awaited("outer", "live");
    let command = shared.command("inner");
    shared.begin(&format!(
        "unshare --pid --fork --kill-child --mount-proc sh -c 'echo {} > {LAST}; {command} & wait'",
        number - 1
    ));
    let pid = shared.awaited("inner", "live");
    assert_eq!(shared.crash("inner", pid), number);
    shows(&shared.ask(&["--csv", "inner"]), "inner");
    let finished = shared.ask(&["--csv", &number.to_string()]).success();
    assert_eq!(names(&finished), ["outer"], "the living one comes first");
}

#[test]
fn a_refused_segment_of_a_container_is_not_put_down_to_process_1_here() {
    if missing_privilege() || missing(&["unshare"]) {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let monitor = folder.copy(statsmon(), "statsmon");
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "env"]);
    command.arg(format!("LD_PRELOAD={}", library().display()));
    let mut running = command.arg(program("worker.c")).arg("pause").begin();
    assert_eq!(running.line(), "ready");
    let inside = u64::from(tests::visible::child_of(running.pid()));
    let finished = Command::new(&monitor).arg("--json").as_user(65534).finish().success();
    let document: Value = serde_json::from_slice(&finished.stdout).unwrap();
    let state = |pid: u64| {
        let mut processes = document["processes"].as_array().unwrap().iter();
        processes.find(|process| process["pid"] == pid).map(|process| process["state"].as_str().unwrap().to_owned())
    };
    assert_eq!((state(1), state(inside).as_deref()), (None, Some("no_access")));
    let finished = Command::new(&monitor).args(["--once", "1"]).as_user(65534).finish();
    assert_ne!(finished.code(), 5, "{finished:?}");
    running.go();
    assert_eq!(running.line(), "worked");
    running.finish().success();
}

#[test]
fn a_report_names_descendants_in_other_pid_namespaces_and_leaves_nothing() {
    if missing_privilege() || missing(&["unshare"]) {
        return;
    }
    let script = "\"$0\" run --report -- unshare --pid --fork --kill-child --mount-proc \
                  sh -c 'env true; seq 3; read -r line'; ls /dev/shm; echo end";
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", script]).arg(statsmon()).with_shm(Shm::Private).begin();
    for number in ["1", "2", "3"] {
        assert_eq!(running.line(), number);
    }
    // What has ended is read while the others run.
    let start = Instant::now();
    let ended = |name: &String| name == "statsalloc.2" || name == "statsalloc.3";
    while objects_of(running.pid()).iter().any(ended) {
        assert!(start.elapsed() < DEADLINE, "what has ended is not read");
    }
    running.send(b"\n");
    assert_eq!(running.line(), "end", "no segment is left");
    let text = running.finish().success().err();
    let descendants: Vec<&str> = text.split("descendants\n").nth(1).unwrap_or_default().lines().skip(1).collect();
    assert!(descendants.len() == 3 && descendants.iter().all(|line| line.contains(" exited ")), "{text}");
    for (line, name) in descendants.iter().zip(["sh", "true", "seq"]) {
        assert!(line.contains(name), "{name} is not in {line}");
    }
}

#[test]
fn a_containers_process_that_becomes_a_program_without_the_library_is_replaced() {
    if missing_privilege() || missing(&["unshare"]) {
        return;
    }
    let mut shared = Shared::new(&[]);
    let shell = shared.folder.path().join("early");
    assert!(Command::new("cp").arg("/bin/sh").arg(&shell).status().unwrap().success());
    shared.begin(&format!(
        "unshare --pid --fork --kill-child --mount-proc env LD_PRELOAD={} {} -c 'unset LD_PRELOAD; exec sleep 600'",
        library().display(),
        shell.display()
    ));
    let pid = shared.awaited("early", "replaced");
    assert_ne!(pid, 1, "it is listed under its PID here");
    for target in ["early".to_owned(), pid.to_string()] {
        let finished = shared.ask(&["--csv", &target]);
        assert_eq!((finished.code(), names(&finished)), (4, vec!["early".to_owned()]), "{finished:?}");
    }
    assert_eq!(shared.crash("early", pid), 1);
    shows(&shared.ask(&["--csv", "1"]), "early");
}

/// Waits until the statsmon that this shell has started has a file open whose path ends so.
fn await_opening(shell: u32, name: &str) {
    let start = Instant::now();
    let is_open = || {
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        children.split_whitespace().any(|child| {
            let files = std::fs::read_dir(format!("/proc/{child}/fd")).into_iter().flatten().flatten();
            files
                .filter_map(|file| std::fs::read_link(file.path()).ok())
                .any(|path| path.to_string_lossy().ends_with(name))
        })
    };
    while !is_open() {
        assert!(start.elapsed() < DEADLINE, "{name} is not opened");
    }
}

#[test]
fn a_report_does_not_give_a_containers_figures_from_before_an_exec_for_the_final_ones() {
    if missing_privilege() || missing(&["unshare"]) {
        return;
    }
    let script = "\"$0\" run --report -- unshare --pid --fork --kill-child --mount-proc \
                  sh -c 'echo ready; read -r line; unset LD_PRELOAD; exec cat'; ls /dev/shm; echo end";
    let mut command = Command::new("sh");
    let mut running = command.args(["-c", script]).arg(statsmon()).with_shm(Shm::Private).begin();
    assert_eq!(running.line(), "ready");
    // Of a container that is gone before it was seen nobody can tell whose it was.
    await_opening(running.pid(), "/statsalloc.1");
    running.send(b"go\nline\n");
    assert_eq!(running.line(), "line");
    running.close_input();
    assert_eq!(running.line(), "end", "no segment is left");
    let text = running.finish().success().err();
    let descendant = text.lines().skip_while(|line| *line != "descendants").nth(2).unwrap_or_default();
    // Whether it is seen in time depends on who is faster.
    assert!(descendant.contains("became cat") || descendant.contains("killed, or exec"), "{text}");
}

#[test]
fn a_watched_programs_descendants_in_other_pid_namespaces_leave_nothing() {
    if missing_privilege() || missing(&["unshare", "nsenter", "tmux"]) {
        return;
    }
    let shared = Shared::new(&[]);
    let shell = shared.shell.pid();
    let script = format!(
        "nsenter -t {shell} -m env TMPDIR={} {} run --watch -d 3600 -- \
         unshare --pid --fork --kill-child --mount-proc sh -c 'env true; seq 3'; echo \"code=$?\"; read -r x",
        shared.folder.path().display(),
        statsmon().display()
    );
    let terminal = Terminal::open(&["sh", "-c", &script]);
    terminal
        .wait("the end of the program", |screen| screen.contains("EXITED") && screen.contains("the program has ended"));
    assert!(!objects_of(shell).is_empty(), "the last state is there while it is shown");
    terminal.keys(&["q"]);
    terminal.wait("the end", |screen| screen.contains("code=0"));
    assert_eq!(objects_of(shell), [""; 0]);
}

#[test]
fn a_report_leaves_out_a_stranger_that_has_the_pid_of_one_that_has_ended() {
    if missing_privilege() || missing(&["unshare", "mkfifo"]) || missing_last_pid() {
        return;
    }
    let folder = Folder::new();
    // The kernel counts starts in ticks of some ms: the stranger's is a later one.
    let script = format!(
        "cd {}; mkfifo ended go; began='cut -d\" \" -f22'; \
         \"$0\" run --report -- \
         sh -c 'sh -c \"env true; cat /proc/\\$\\$/stat > stat; echo \\$\\$ > pid\"; echo > ended; read -r line < go' \
         2> report & \
         read -r line < ended; read -r pid < pid; \
         until [ $(eval $began /proc/self/stat) -gt $(eval $began stat) ]; do :; done; \
         echo $((pid - 1)) > {LAST_PID}; \
         LD_PRELOAD={} sleep 600 & [ $! = $pid ] && echo reused; \
         until \"$0\" --once $pid > shown; do :; done; echo > go; wait %1; kill $pid",
        folder.path().display(),
        library().display()
    );
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script]).arg(statsmon());
    let finished = command.with_shm(Shm::Private).finish().success();
    assert_eq!(finished.out(), "reused\n", "{finished:?}");
    let report = std::fs::read_to_string(folder.path().join("report")).unwrap();
    assert!(report.contains("sh -c env true") && !report.contains("sleep 600"), "{report}");
}

#[test]
fn a_report_in_a_container_does_not_miss_what_is_none_of_its_own() {
    if missing_privilege() || missing(&["unshare", "mkfifo"]) {
        return;
    }
    let mut shared = Shared::new(&["stranger"]);
    let folder = shared.folder.path().display().to_string();
    shared.shell.send(format!("mkfifo {folder}/go\n").as_bytes());
    shared.begin(&format!(
        "(unshare --pid --fork --kill-child --mount-proc {} run --report -- \
         sh -c 'echo begun; read -r line < {folder}/go' 2> {folder}/report; echo reported)",
        statsmon().display()
    ));
    assert_eq!(shared.shell.line(), "begun");
    shared.begin(&shared.command("stranger"));
    shared.awaited("stranger", "live");
    std::fs::write(format!("{folder}/go"), "\n").unwrap();
    assert_eq!(shared.shell.line(), "reported");
    let report = std::fs::read_to_string(format!("{folder}/report")).unwrap();
    assert!(report.contains("misuse") && !report.contains("came and went"), "{report}");
}
