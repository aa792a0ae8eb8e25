//! Real programs do under the library what they do without it, and can be seen while they run.

use std::process::Command;
use std::time::{Duration, Instant};
use tests::artefacts::Folder;
use tests::gate::Gate;
use tests::process::DEADLINE;
use tests::require::python;
use tests::terminal::Terminal;
use tests::visible::child_of;
use tests::{Finished, Run, library, missing, visible};

/// Runs `command` twice, without the library and with it; it says "ready" and waits for a line when `name` is to be
/// looked at. All else that it writes must be the same.
#[track_caller]
fn compare(name: &str, mut command: impl FnMut() -> Command) {
    let run = |mut command: Command, look: bool| -> Finished {
        let mut running = command.begin();
        assert_eq!(running.line(), "ready", "{name}");
        if look {
            visible(running.pid(), name);
        }
        running.send(b"go\n");
        running.finish()
    };
    let plain = run(command(), false).success();
    let mut preloaded = command();
    preloaded.preload();
    let ours = run(preloaded, true);
    assert_eq!(ours.status, plain.status, "{name}: {}", ours.err());
    assert_eq!(ours.out(), plain.out(), "{name}");
    assert_eq!(ours.err(), plain.err(), "{name}");
    assert!(!plain.stdout.is_empty(), "{name} has said nothing to compare");
}

const BASH: &str = r#"
echo ready; read -r line
declare -A counts
for i in {1..20000}; do (( counts[$(( i % 97 ))] += i )); done
for key in "${!counts[@]}"; do echo "$key ${counts[$key]}"; done | sort -n
text=$(printf 'x%.0s' {1..5000}); echo ${#text} "${text//x/yz}" | wc -c
diff <(seq 100 | sort) <(seq 100 | sort -r | sort) && echo same
for i in 1 2 3; do ( echo "sub $i" ) & wait; done
ls -la / > /dev/null | cat; echo "$line" | tr a-z A-Z | sed 's/G/J/'
"#;

#[test]
fn bash() {
    if missing(&["bash"]) {
        return;
    }
    compare("bash", || {
        let mut command = Command::new("bash");
        command.args(["-c", BASH]);
        command
    });
}

const PERL: &str = r#"
$| = 1; print "ready\n"; <STDIN>;
my %words; my @list;
for my $i (1..60000) { my $w = "w" . ($i * 7919 % 3001); $words{$w}++; push @list, $w if $i % 3; }
print join(",", map { "$_=$words{$_}" } sort keys %words), "\n";
my $text = join " ", @list; $text =~ s/w(\d+)/<$1>/g; print length($text), "\n";
my $pid = fork(); if (!$pid) { my @x = (1..10000); print "child ", scalar(@x), "\n"; exit 3 } waitpid $pid, 0;
print $? >> 8, "\n"; print `echo from a shell`;
"#;

#[test]
fn perl() {
    if missing(&["perl"]) {
        return;
    }
    compare("perl", || {
        let mut command = Command::new("perl");
        command.args(["-e", PERL]).env("PERL_HASH_SEED", "0");
        command
    });
}

const PYTHON: &str = r#"
import sys, threading, multiprocessing, queue, zlib, hashlib, json, subprocess
def work(n):
    rows = [{"n": i, "text": "x" * (i % 200), "list": list(range(i % 50))} for i in range(n)]
    text = json.dumps(rows)
    return hashlib.sha256(zlib.compress(text.encode())).hexdigest()
if __name__ == "__main__":
    print("ready", flush=True); sys.stdin.readline()
    print(sum(len(str(i)) for i in range(10**6)))
    found, q = {}, queue.Queue()
    def thread(k):
        found[k] = work(300 + k); q.put(bytearray(100000))
    for round in range(5):
        threads = [threading.Thread(target=thread, args=(k,)) for k in range(8)]
        [t.start() for t in threads]; [t.join() for t in threads]
        while not q.empty(): q.get()
    print(sorted(found.items()))
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(4) as pool:
            print(method, pool.map(work, range(100, 140)))
    print(subprocess.run(["sh", "-c", "echo sub; exit 3"], capture_output=True))
"#;

#[test]
fn python_with_threads_and_multiprocessing() {
    let Some(python) = python() else {
        assert!(missing(&["python3"]));
        return;
    };
    let folder = Folder::new();
    let script = folder.path().join("work.py");
    std::fs::write(&script, PYTHON).unwrap();
    for allocator in ["malloc", "pymalloc"] {
        compare("python3", || {
            let mut command = Command::new(&python);
            command.arg(&script).env("PYTHONMALLOC", allocator).env("PYTHONHASHSEED", "0");
            command
        });
    }
}

#[test]
fn pythons_worker_processes_are_seen_one_by_one() {
    let Some(python) = python() else {
        assert!(missing(&["python3"]));
        return;
    };
    let script = "
import multiprocessing, sys
def wait(pair):
    pair.send('here'); pair.recv()
if __name__ == '__main__':
    pairs = [multiprocessing.Pipe() for _ in range(3)]
    workers = [multiprocessing.Process(target=wait, args=(b,)) for a, b in pairs]
    [w.start() for w in workers]; [a.recv() for a, b in pairs]
    print(*[w.pid for w in workers], flush=True); sys.stdin.readline()
    [a.send('go') for a, b in pairs]; [w.join() for w in workers]
    print([w.exitcode for w in workers])";
    let mut running = Command::new(python).args(["-c", script]).preload().begin();
    let workers: Vec<u32> = running.line().split(' ').map(|pid| pid.parse().unwrap()).collect();
    for worker in workers {
        let seen = visible(worker, "python3");
        assert_eq!(seen.number("/ppid"), i64::from(running.pid()));
    }
    visible(running.pid(), "python3");
    running.send(b"go\n");
    assert_eq!(running.finish().success().out(), "[0, 0, 0]\n");
}

#[test]
fn less_in_a_terminal() {
    if missing(&["tmux", "less"]) {
        return;
    }
    let folder = Folder::new();
    let file = folder.path().join("text");
    let lines: Vec<String> = (1..=3000).map(|i| format!("line {i} {}", "word ".repeat(i % 12))).collect();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let screens = [false, true].map(|preload| {
        let preloaded = if preload { format!("LD_PRELOAD={}", library().display()) } else { String::new() };
        let script = format!("env {preloaded} LESS=-M less {}; echo status=$?; read -r x", file.display());
        let terminal = Terminal::open(&["sh", "-c", &script]);
        // The prompt comes last: what is above it is complete then.
        let mut screens = vec![terminal.wait("the first page", |screen| screen.contains(" lines 1-23/3000"))];
        if preload {
            visible(child_of(terminal.pid()), "less");
        }
        terminal.keys(&["/line 1777", "Enter"]);
        screens.push(terminal.wait("what was searched", |screen| screen.contains(" lines 1777-1799/3000")));
        terminal.keys(&["G"]);
        screens.push(terminal.wait("the end", |screen| screen.contains("line 3000") && screen.contains("(END)")));
        terminal.keys(&["q"]);
        screens.push(terminal.wait("its end", |screen| screen.contains("status=0")));
        screens
    });
    assert_eq!(screens[0], screens[1]);
}

#[test]
fn git_clone_of_a_local_repository() {
    if missing(&["git"]) {
        return;
    }
    let folder = Folder::new();
    let origin = folder.path().join("origin");
    let make = "git init -q -b main . && git config user.email a@example.org && git config user.name A &&
        i=0; while [ $i -lt 150 ]; do mkdir -p d$((i % 7)); seq $i $((i * 20 + 5)) > d$((i % 7))/f$i; i=$((i + 1));
        if [ $((i % 10)) = 0 ]; then git add . && GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' \
        GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' git commit -qm \"c $i\"; fi; done; git gc -q";
    std::fs::create_dir(&origin).unwrap();
    Command::new("sh").args(["-c", make]).current_dir(&origin).finish().success();
    let mut gate = Gate::new();
    folder.executable("template/hooks/post-checkout", format!("#!/bin/sh\n{}\n", gate.script()));
    let mut outputs = Vec::new();
    for (name, preload) in [("plain", false), ("ours", true)] {
        let clone = folder.path().join(name);
        let mut command = Command::new(tests::require::find("git").unwrap());
        command.args(["clone", "--quiet", "--template"]).arg(folder.path().join("template"));
        command.arg(format!("file://{}", origin.display())).arg(&clone);
        if preload {
            command.preload();
        }
        let mut running = command.begin();
        gate.wait(DEADLINE);
        if preload {
            visible(running.pid(), "git");
        }
        gate.open();
        running.close_input();
        let finished = running.finish().success();
        assert_eq!(finished.err(), "");
        let mut check = Command::new("sh");
        check.args(["-c", "git fsck 2>&1; git status --short; git log; git ls-files -s; cat d*/*"]).current_dir(clone);
        if preload {
            check.preload();
        }
        outputs.push(check.finish().success().out());
    }
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[0].len() > 100_000);
}

const C_PROGRAM: &str = "#include <stdio.h>\n#include <string.h>\n\
    static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }\n\
    int main(void) { char text[20]; strcpy(text, \"fib\"); printf(\"%s %d\\n\", text, fib(20)); return 0; }\n";

#[test]
fn gcc_compiling_and_linking() {
    if missing(&["gcc"]) {
        return;
    }
    let folder = Folder::new();
    let binaries = [false, true].map(|preload| {
        let binary = folder.path().join("fib");
        let mut command = Command::new("gcc");
        command.args(["-O2", "-flto", "-Wall", "-frandom-seed=1", "-x", "c", "-", "-o"]).arg(&binary);
        if preload {
            command.preload();
        }
        // The compiler proper waits for the source on its standard input.
        let mut running = command.begin();
        if preload {
            visible(running.pid(), "gcc");
            visible(child_of(running.pid()), "cc1");
        }
        running.send(C_PROGRAM.as_bytes());
        let finished = running.finish().success();
        assert_eq!((finished.out(), finished.err()), (String::new(), String::new()));
        assert_eq!(Command::new(&binary).finish().success().out(), "fib 6765\n");
        std::fs::read(&binary).unwrap()
    });
    assert_eq!(binaries[0].len(), binaries[1].len());
}

#[test]
fn gxx_with_templates_makes_the_same_assembly() {
    if missing(&["g++"]) {
        return;
    }
    let source = "#include <map>\n#include <regex>\n#include <string>\n#include <iostream>\n\
        int main() { std::map<std::string, std::regex> m; m[\"a\"] = std::regex(\"x+\"); std::cout << m.size(); }\n";
    let outputs = [false, true].map(|preload| {
        let mut command = Command::new("g++");
        command.args(["-O1", "-frandom-seed=1", "-x", "c++", "-", "-S", "-o", "-"]);
        if preload {
            command.preload();
        }
        let mut running = command.begin();
        running.send(source.as_bytes());
        running.finish().success().out()
    });
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[0].len() > 100_000);
}

const SQL: &str = "create table t(a integer primary key, b text, c real);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 60000)
insert into t select i, 'text ' || (i * 7919 % 1009), i / 3.0 from n;
create index tb on t(b);
select b, count(*), round(sum(c), 3) from t group by b order by b;
select group_concat(a) from t where b = 'text 500';
delete from t where a % 3 = 0; vacuum; pragma integrity_check; select count(*), max(a) from t;\n";

#[test]
fn sqlite3() {
    if missing(&["sqlite3"]) {
        return;
    }
    let outputs = [false, true].map(|preload| {
        let folder = Folder::new();
        let mut command = Command::new("sqlite3");
        command.arg(folder.path().join("db"));
        if preload {
            command.preload();
        }
        let mut running = command.begin();
        if preload {
            visible(running.pid(), "sqlite3");
        }
        running.send(SQL.as_bytes());
        let finished = running.finish().success();
        assert_eq!(finished.err(), "");
        finished.out()
    });
    assert_eq!(outputs[0], outputs[1]);
    assert!(outputs[0].contains("ok\n40000|59999\n"), "{}", &outputs[0][outputs[0].len() - 100..]);
}

#[test]
fn redis_under_its_benchmark() {
    if missing(&["redis-server", "redis-benchmark", "redis-cli"]) {
        return;
    }
    let folder = Folder::new();
    let socket = folder.path().join("redis");
    let mut server = Command::new("redis-server");
    server.args(["--port", "0", "--save", "", "--daemonize", "no", "--io-threads", "2"]);
    server.args(["--enable-debug-command", "yes", "--unixsocket"]).arg(&socket).arg("--dir").arg(folder.path());
    let server = server.preload().begin();
    let client = |arguments: &[&str]| {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(&socket).args(arguments).preload().finish()
    };
    let start = Instant::now();
    while client(&["ping"]).out() != "PONG\n" {
        assert!(start.elapsed() < Duration::from_secs(60), "{}", server.errors());
    }
    visible(server.pid(), "redis-server");
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.arg("-s").arg(&socket).args(["-q", "--csv", "-n", "30000", "-r", "5000", "-d", "200", "-P", "4"]);
    benchmark.args(["--threads", "2", "-t", "set,get,incr,lpush,lpop,sadd,hset,spop,zadd,lrange_100,mset"]);
    let finished = benchmark.preload().finish().success();
    assert!(finished.out().lines().count() >= 11, "{}", finished.out());
    let seen = visible(server.pid(), "redis-server");
    assert!(seen.total("allocations") > 100_000, "{}", seen.0["totals"]);
    // A child of fork writes the data, and the server reads them again.
    let size = client(&["dbsize"]).out();
    assert_eq!(client(&["save"]).out(), "OK\n");
    assert_eq!(client(&["bgsave"]).out(), "Background saving started\n");
    assert_eq!(client(&["debug", "reload"]).out(), "OK\n");
    assert_eq!(client(&["dbsize"]).out(), size);
    assert_eq!(
        client(&["eval", "local t = {} for i = 1, 10000 do t[i] = tostring(i) end return #t", "0"]).out(),
        "10000\n"
    );
    client(&["flushall"]);
    assert!(client(&["memory", "doctor"]).success().out().lines().count() > 0);
    client(&["shutdown", "nosave"]);
    let finished = server.finish();
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    assert_eq!(finished.err(), "");
}

/// `java -version` ends by itself in a moment, unless nobody takes what it writes: its stderr is a pipe that is full.
#[test]
fn java_says_its_version() {
    use std::io::{Read, Write};
    if missing(&["java"]) {
        return;
    }
    let plain = Command::new("java").arg("-version").finish().success();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    // As much as a pipe holds: what Linux gives one unless told otherwise.
    let filler = vec![b'.'; 65536];
    writer.write_all(&filler).unwrap();
    let mut command = Command::new("java");
    command.arg("-version").preload().stderr(writer).stdout(std::process::Stdio::null());
    let mut child = command.spawn().unwrap();
    // Nothing else shall keep the pipe open.
    drop(command);
    visible(child.id(), "java");
    let mut text = Vec::new();
    reader.read_to_end(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(String::from_utf8_lossy(&text[filler.len()..]), plain.err());
}
