//! A Redis server under load. What is timed is `redis-benchmark`, which runs without a preload on the same machine; the
//! processor time and the peak RSS are the server's.

use crate::allocators::Allocator;
use crate::cases::{Case, Outcome, Reading};
use crate::compile;
use crate::launch::Launched;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;
use std::time::Instant;
use tests::artefacts::Folder;

/// The commands sent, with pipelining, over a Unix socket; random keys and values of two sizes.
const LOADS: [&[&str]; 2] =
    [&["-t", "set,get,incr,lpush,rpop,sadd,hset,zadd", "-d", "50"], &["-t", "set,get,mset", "-d", "900"]];

pub(crate) fn run(case: &Case, allocator: &Allocator, requests: u32) -> Outcome {
    let folder = Folder::new();
    let socket = folder.path().join("socket").to_string_lossy().into_owned();
    let mut server = case.clone();
    server.arguments.extend(["--unixsocket", &socket].map(str::to_owned));
    let mut launched = Launched::start(&server, allocator)?;
    let mut output = BufReader::new(launched.launcher.stdout.take().ok_or("no output")?);
    if !until_ready(&mut output) {
        return Err(launched.finish().err().unwrap_or_else(|| "the server ended early".to_owned()));
    }
    // Read on, so that the server never waits for its log.
    let log = std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
    let start = Instant::now();
    let load = LOADS.iter().try_for_each(|load| {
        let requests = requests.to_string();
        let mut client = Command::new("redis-benchmark");
        client
            .env_remove("LD_PRELOAD")
            .args(["-q", "-c", "20", "-P", "16", "-r", "100000", "-n", &requests, "-s", &socket])
            .args(*load);
        compile::succeeds(&mut client).map(drop)
    });
    let wall = start.elapsed().as_secs_f64() * 1e3;
    // Also after a failure: the server must not stay.
    let end = compile::succeeds(Command::new("redis-cli").args(["-s", &socket, "shutdown", "nosave"]));
    if end.is_err() {
        end_launcher(&launched);
    }
    let (measured, _) = launched.finish()?;
    let _ = log.join();
    load?;
    end?;
    Ok(Reading { figure: wall, processor: measured.processor, resident: measured.resident })
}

/// Reads the server's log up to the line that says it listens.
fn until_ready(log: &mut impl BufRead) -> bool {
    log.lines().map_while(Result::ok).any(|line| line.contains("ready to accept connections"))
}

/// Tells the launcher to end what it started.
fn end_launcher(launched: &Launched) {
    // SAFETY: no pointers; the launcher is our child and not reaped yet.
    unsafe { libc::kill(launched.launcher.id().cast_signed(), libc::SIGTERM) };
}
