//! Thirteen programs with a trouble each, or none: the diagnosis names it, by those who watch and by those who come late.
//! And no leak where there is none.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tests::{Run, missing, program, statsmon};

/// The rules' minute, in seconds: five of them are twenty.
const MINUTE: u64 = 4;
/// Within so long every case must be recognised.
const PATIENCE: Duration = Duration::from_secs(60);
/// So many looks, a second apart, for what may never be said: more than the shortest time of a leak.
const LOOKS: usize = 6 * MINUTE as usize;

/// What a case is, and which size and thread are to be named.
struct Case {
    name: &'static str,
    kind: &'static str,
    class: Option<u64>,
    thread: Option<&'static str>,
}

const fn case(name: &'static str, kind: &'static str, class: Option<u64>, thread: Option<&'static str>) -> Case {
    Case { name, kind, class, thread }
}

const CASES: [Case; 13] = [
    case("leak", "leak_suspected", Some(64), Some("culprit")),
    case("survivors", "leak_suspected", Some(64), Some("culprit")),
    case("sawtooth", "leak_suspected", Some(64), Some("culprit")),
    case("heirs", "leak_suspected", Some(1024), Some("ended threads")),
    case("warmup", "warming_up", Some(512), Some("culprit")),
    case("pinned", "fragmentation", Some(1024), Some("culprit")),
    case("cached", "cache", None, None),
    case("churn", "churn", Some(320), Some("culprit")),
    case("threads", "thread_churn", None, None),
    case("stranded", "stranded", Some(960), Some("testator")),
    case("outside", "not_heap", None, None),
    case("steady", "stable", None, None),
    case("idle", "stable", None, None),
];

/// A `statsmon --json` that looks once a second; killed when dropped.
struct Watch(Child);

impl Watch {
    fn start(pid: u32) -> (Self, impl Iterator<Item = Value>) {
        let mut command = Command::new(statsmon());
        command.args(["--json", "-d", "1", &pid.to_string()]).env("STATSMON_MINUTE_SECONDS", MINUTE.to_string());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("statsmon can be started");
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        let looks = lines.map(|line| serde_json::from_str(&line.expect("lines of text")).expect("a line is JSON"));
        (Self(child), looks)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Our own child; it may have ended with its process.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn look(pid: u32) -> Value {
    let mut command = Command::new(statsmon());
    command.args(["--json", &pid.to_string()]).env("STATSMON_MINUTE_SECONDS", MINUTE.to_string());
    serde_json::from_slice(&command.finish().success().stdout).expect("JSON")
}

fn diagnosis(look: &Value) -> &Value {
    &look["processes"][0]["diagnosis"]
}

fn says(look: &Value, case: &Case) -> bool {
    let said = diagnosis(look);
    let class = case.class.is_none_or(|class| said["classes"][0]["block_size"] == class);
    said["kind"] == case.kind && class && case.thread.is_none_or(|thread| said["threads"][0]["name"] == thread)
}

fn recognised(case: &Case) {
    let start = Instant::now();
    let mut running = Command::new(program("cases.c")).arg(case.name).preload().begin();
    assert_eq!(running.line(), "ready");
    let (_watch, mut looks) = Watch::start(running.pid());
    let may_leak = case.kind == "leak_suspected";
    let mut seen = 0;
    let mut recognised_after = None;
    while recognised_after.is_none() || (!may_leak && seen < LOOKS) {
        let look = looks.next().unwrap_or_else(|| panic!("{}: statsmon or the program has ended", case.name));
        seen += 1;
        assert!(may_leak || diagnosis(&look)["kind"] != "leak_suspected", "{}: {}", case.name, diagnosis(&look));
        if recognised_after.is_none() && says(&look, case) {
            recognised_after = Some(start.elapsed());
            // Who comes late sees it at once, from the rings.
            let late = self::look(running.pid());
            assert!(says(&late, case), "{}, seen late: {}", case.name, diagnosis(&late));
        }
        assert!(start.elapsed() < PATIENCE, "{}: {}", case.name, diagnosis(&look));
    }
    let after = recognised_after.unwrap_or_default().as_secs_f64();
    // For the record: `cargo test --test diagnoses -- --nocapture`.
    let _ = writeln!(std::io::stderr(), "{}: {} after {after:.1} s", case.name, case.kind);
    running.close_input();
}

#[test]
fn every_trouble_is_recognised_within_a_minute_and_by_those_who_come_late_at_once() {
    // Building is not part of the time that a case has.
    statsmon();
    program("cases.c");
    std::thread::scope(|scope| {
        for case in &CASES {
            scope.spawn(|| recognised(case));
        }
    });
}

/// Watches a real program, and no look may say that it leaks.
fn never_leaks(pid: u32, name: &str) {
    let (_watch, looks) = Watch::start(pid);
    let looks: Vec<Value> = looks.take(LOOKS).collect();
    let kinds: Vec<&str> = looks.iter().map(|look| diagnosis(look)["kind"].as_str().unwrap_or("-")).collect();
    assert!(!kinds.contains(&"leak_suspected"), "{name}: {kinds:?}");
}

#[test]
fn a_server_under_steady_load_does_not_leak() {
    if missing(&["redis-server", "redis-benchmark", "redis-cli"]) {
        return;
    }
    let folder = tests::artefacts::Folder::new();
    let socket = folder.path().join("redis");
    let mut server = Command::new("redis-server");
    server.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket);
    let mut server = server.preload().begin();
    while !server.line().contains("eady to accept") {}
    let mut load = Command::new("redis-benchmark");
    load.arg("-s").arg(&socket).args([
        "-q",
        "-t",
        "set,get",
        "-r",
        "20000",
        "-n",
        "1000000000",
        "-d",
        "100",
        "-P",
        "4",
    ]);
    let load = load.begin();
    never_leaks(server.pid(), "redis-server");
    drop(load);
}

#[test]
fn a_starting_interpreter_does_not_leak() {
    let Some(python) = tests::require::python() else {
        assert!(missing(&["python3"]));
        return;
    };
    let script = "import json, decimal, unittest, email, http.client, sys; print('up', flush=True); sys.stdin.read()";
    let mut python = Command::new(python);
    let mut python = python.args(["-c", script]).env("PYTHONMALLOC", "malloc").preload().begin();
    assert_eq!(python.line(), "up");
    never_leaks(python.pid(), "python3");
    python.close_input();
}

#[test]
fn an_idle_window_does_not_leak() {
    if missing(&["xvfb-run", "gtk3-widget-factory"]) {
        return;
    }
    let library = tests::library();
    let mut window = Command::new("xvfb-run");
    window.args(["-a", "sh", "-c", "LD_PRELOAD=$0 exec gtk3-widget-factory"]).arg(library);
    let window = window.begin();
    let pid = descendant(window.pid(), "gtk3-widget-fac");
    tests::visible(pid, "gtk3-widget-factory");
    never_leaks(pid, "gtk3-widget-factory");
}

/// The process of this name below `pid`, waited for.
fn descendant(pid: u32, name: &str) -> u32 {
    let start = Instant::now();
    loop {
        let mut found = vec![pid];
        while let Some(pid) = found.pop() {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if comm.trim_end() == name {
                return pid;
            }
            let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
        assert!(start.elapsed() < PATIENCE, "{name} does not start");
        std::thread::yield_now();
    }
}
