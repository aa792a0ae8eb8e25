//! What watching costs the watched: `cargo bench -p tests --bench watching -- [OPTIONS]`
//!
//! One process of eight threads that only allocate and free, with and without the screen on it, in turn, a second each.
//! The two seconds beside each other are compared, by the processor time that an operation takes and by the operations
//! done in the time: whole runs after each other differ by more than what is looked for. The second figure also has the
//! processor time that the screen takes away, where there are no more cores than threads.

mod compile;
mod stats;

use clap::Parser;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use stats::{Interval, geometric, median};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

/// Measures what the screen costs the program that is watched.
#[derive(Debug, Parser)]
#[command(name = "watching")]
struct Options {
    /// Seconds with the screen, and as many without
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..))]
    pairs: u32,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "0.1")]
    interval: String,
    /// Threads of the program
    #[arg(long, value_name = "N", default_value_t = 8)]
    threads: u32,
    /// Ratios that earlier runs have left here count as well; those of this run are added
    #[arg(long, value_name = "FILE")]
    readings: Option<PathBuf>,
    /// Short stretches, to see that it runs
    #[arg(long)]
    quick: bool,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watching: {error}");
            ExitCode::from(2)
        }
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn run(options: &Options) -> Outcome<()> {
    let stretch = Duration::from_millis(if options.quick { 100 } else { 1000 });
    let mut watched = Watched::start(options.threads)?;
    let mut ratios = options.readings.as_deref().map_or(Ok(Vec::new()), earlier)?;
    for pair in 0..options.pairs {
        // In turn, so that what drifts cancels out.
        let with_first = pair % 2 == 0;
        let first = measure(&mut watched, with_first, stretch, options)?;
        let second = measure(&mut watched, !with_first, stretch, options)?;
        let (with, without) = if with_first { (first, second) } else { (second, first) };
        let [processor, wall] = [with[0] / without[0], with[1] / without[1]];
        ratios.push([processor, wall]);
        if let Some(path) = &options.readings {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            writeln!(file, "{processor} {wall}")?;
        }
    }
    println!("{} pairs, {} threads, a look each {} s", ratios.len(), options.threads, options.interval);
    for (at, name) in ["processor time of an operation", "time of an operation"].into_iter().enumerate() {
        let column: Vec<f64> = ratios.iter().map(|ratio| ratio[at]).collect();
        let Interval { mean, low, high } = geometric(&column);
        let [median, mean, low, high] = [median(&column), mean, low, high].map(|ratio| (ratio - 1.0) * 100.0);
        println!("{name:<30}  mean {mean:+.2} % [{low:+.2}, {high:+.2}]  median {median:+.2} %");
    }
    Ok(())
}

/// What earlier runs have left.
fn earlier(path: &Path) -> Outcome<Vec<[f64; 2]>> {
    let lines = if path.exists() { std::fs::read_to_string(path)? } else { String::new() };
    let ratios = lines.lines().map(|line| {
        let (processor, wall) = line.split_once(' ').ok_or("a file of readings has two figures in each line")?;
        Ok([processor.parse()?, wall.parse()?])
    });
    ratios.collect()
}

/// Nanoseconds of processor and of wall time that an operation takes, watched or not.
fn measure(watched: &mut Watched, with: bool, stretch: Duration, options: &Options) -> Outcome<[f64; 2]> {
    let screen = with.then(|| Screen::open(watched.process.0.id(), &options.interval)).transpose()?;
    let before = watched.reading()?;
    std::thread::sleep(stretch);
    let after = watched.reading()?;
    if let Some(screen) = screen {
        screen.close()?;
    }
    let [operations, processor, wall] = std::array::from_fn(|at| (after[at] - before[at]) as f64);
    Ok([processor / operations, wall / operations])
}

/// A process of ours that ends when dropped.
struct Ours(Child);

impl Drop for Ours {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program that is watched.
struct Watched {
    process: Ours,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Watched {
    fn start(threads: u32) -> Outcome<Self> {
        let mut command = Command::new(compile::program("watched.c")?);
        command.arg(threads.to_string()).env("LD_PRELOAD", tests::library());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut watched = Self { process: Ours(child), input, output };
        // Once it answers, it can be watched.
        watched.reading()?;
        Ok(watched)
    }

    /// Operations, and nanoseconds of processor and of wall time.
    fn reading(&mut self) -> Outcome<[u64; 3]> {
        self.input.write_all(b"?")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let figures: Result<Vec<u64>, _> = line.split_whitespace().map(str::parse).collect();
        Ok(figures?.try_into().map_err(|_| "the program has ended")?)
    }
}

/// A word of the overview.
const SHOWN: &[u8] = b"rounding";

/// `statsmon` in a terminal of its own.
struct Screen {
    process: Ours,
    terminal: File,
    /// Takes what is drawn.
    reader: JoinHandle<()>,
}

impl Screen {
    /// Opens it, and waits until the process is shown.
    fn open(pid: u32, interval: &str) -> Outcome<Self> {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&terminal)?;
        unlockpt(&terminal)?;
        tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
        let other_end = ptsname(&terminal, Vec::new())?;
        let other_end = OpenOptions::new().read(true).write(true).open(other_end.to_str()?)?;
        let mut command = Command::new(tests::statsmon());
        command.args(["-d", interval, &pid.to_string()]).env("TERM", "xterm-256color");
        command.stdin(other_end.try_clone()?).stdout(other_end.try_clone()?).stderr(other_end);
        let process = Ours(command.process_group(0).spawn()?);
        drop(command);
        let terminal = File::from(terminal);
        let mut drawn = terminal.try_clone()?;
        let (shown, is_shown) = std::sync::mpsc::channel();
        let reader = std::thread::spawn(move || {
            let (mut seen, mut part) = (Vec::new(), [0; 1 << 14]);
            // At the end of its last user a terminal fails to read.
            while let Ok(count @ 1..) = drawn.read(&mut part) {
                if seen.len() < 1 << 16 {
                    seen.extend_from_slice(&part[..count]);
                    // It stands where nothing has been before, so that no part of it is left out.
                    if seen.windows(SHOWN.len()).any(|word| word == SHOWN) {
                        seen = vec![0; 1 << 16];
                        let _ = shown.send(());
                    }
                }
            }
        });
        is_shown.recv_timeout(Duration::from_secs(30)).map_err(|error| format!("the screen does not open: {error}"))?;
        Ok(Self { process, terminal, reader })
    }

    fn close(mut self) -> Outcome<()> {
        self.terminal.write_all(b"q")?;
        let status = self.process.0.wait()?;
        self.reader.join().map_err(|_| "the terminal's reader has failed")?;
        if status.success() { Ok(()) } else { Err(format!("statsmon: {status}").into()) }
    }
}
