//! What is left to say when a program has ended.

use super::format::{bytes, count, duration, harmless};
use super::text::{Align, Table};
use crate::model::{Identity, Misuse, Process, State, Totals};
use std::io::{self, Write};

/// How the program ended.
pub(crate) struct Ending {
    /// Its command line.
    pub(crate) command: String,
    /// With which status.
    pub(crate) how: String,
    /// Whether a signal ended it.
    pub(crate) by_signal: bool,
    /// Whether that may have been for want of memory.
    pub(crate) out_of_memory: Option<OutOfMemory>,
    /// Whether it was to say why, if it published nothing.
    pub(crate) was_verbose: bool,
    /// After which time.
    pub(crate) seconds: f64,
    /// What its PID was.
    pub(crate) pid: u32,
}

#[cfg(test)]
impl Ending {
    /// Process 1234, which has ended after a second as it should.
    pub(crate) fn of(command: &str) -> Self {
        Self {
            command: command.into(),
            how: "ended".into(),
            by_signal: false,
            out_of_memory: None,
            was_verbose: false,
            seconds: 1.0,
            pid: 1234,
        }
    }
}

/// Processes that the kernel killed for want of memory while the program ran.
pub(crate) enum OutOfMemory {
    /// In its control group.
    Group {
        /// How many.
        kills: u64,
        /// Whether the program itself was ended by that signal.
        was_killed: bool,
    },
    /// Elsewhere on the system as well, if not there alone; the program itself was ended by that signal.
    System {
        /// How many.
        kills: u64,
    },
}

/// Writes the final statistics of the program, then one line per descendant. `processes` are both.
pub(crate) fn write(ending: &Ending, processes: &[Process], missed: u64, out: &mut impl Write) -> io::Result<()> {
    let command = harmless(&ending.command);
    writeln!(out, "statsmon: {command} {} after {}", ending.how, duration(ending.seconds))?;
    if let Some(out_of_memory) = &ending.out_of_memory {
        writeln!(out, "  {}", killed(out_of_memory))?;
    }
    // One of another PID namespace may have the same number there.
    let is_program = |process: &&Process| matches!(process.id, Identity::Process { pid, .. } if pid == ending.pid);
    match processes.iter().find(is_program) {
        Some(process) => {
            write_reservation(process, ending.by_signal, out)?;
            write_program(process, out)?;
        }
        None if ending.was_verbose => writeln!(out, "  no statistics: it published none")?,
        None => writeln!(out, "  no statistics: it published none; STATSALLOC_VERBOSE=1 makes it say why")?,
    }
    let descendants: Vec<&Process> = processes.iter().filter(|process| !is_program(process)).collect();
    write_descendants(&descendants, out)?;
    match missed {
        0 => Ok(()),
        missed => writeln!(
            out,
            "  {missed} more of this user's came and went too fast to be read, or to tell whose they were"
        ),
    }
}

fn killed(out_of_memory: &OutOfMemory) -> String {
    let processes = |kills: u64| if kills == 1 { "a process".into() } else { format!("{} processes", count(kills)) };
    match *out_of_memory {
        OutOfMemory::Group { kills: 1, was_killed: true } => {
            "out of memory: the kernel killed it, or another process of its control group".into()
        }
        OutOfMemory::Group { kills, .. } => {
            format!("out of memory: the kernel killed {} of its control group meanwhile", processes(kills))
        }
        OutOfMemory::System { kills } => {
            format!("out of memory? the kernel killed {} of this system for want of it meanwhile", processes(kills))
        }
    }
}

/// Says where the figures are not those of the program's end.
fn write_reservation(process: &Process, by_signal: bool, out: &mut impl Write) -> io::Result<()> {
    match &process.replaced_by {
        Some(name) => writeln!(
            out,
            "  it had become {}, a program without the library: the figures are from before that",
            harmless(name)
        ),
        // Who crashes has no status.
        None if process.state == State::Crashed && !by_signal => writeln!(
            out,
            "  it did not say that it ended: if it became a program without the library, the figures are from before that; \
             else it ended by the raw system call, or had given up new privileges or system calls"
        ),
        None => Ok(()),
    }
}

fn write_program(process: &Process, out: &mut impl Write) -> io::Result<()> {
    let totals = &process.totals;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    table.row(vec!["  peak requested".into(), peak(totals.peak_requested_bytes, totals)]);
    table.row(vec!["  peak allocated".into(), peak(totals.peak_allocated_bytes, totals)]);
    table.row(vec!["  in total".into(), turnover(totals)]);
    table.row(vec!["  still live".into(), still_live(totals)]);
    if let Some(threads) = &process.threads {
        table.row(vec!["  threads".into(), format!("{} started", count(threads.started))]);
    }
    if let Some(misuse) = &process.misuse {
        table.row(vec!["  misuse".into(), describe_misuse(misuse).unwrap_or("none".into())]);
    }
    table.write(out)
}

fn write_descendants(descendants: &[&Process], out: &mut impl Write) -> io::Result<()> {
    if descendants.is_empty() {
        return Ok(());
    }
    writeln!(out, "descendants")?;
    let mut table = Table::new(&[
        ("  PID", Align::Right),
        ("STATE", Align::Left),
        ("PEAK", Align::Right),
        ("REQUESTED", Align::Right),
        ("ALLOCATIONS", Align::Right),
        ("STILL LIVE", Align::Right),
        ("COMMAND", Align::Left),
    ]);
    for process in descendants {
        let totals = &process.totals;
        let misuse = process.misuse.as_ref().and_then(describe_misuse);
        let misuse = misuse.map_or(String::new(), |misuse| format!("  (misuse: {misuse})"));
        table.row(vec![
            format!("  {}", process.pid),
            state(process),
            size(totals.peak_requested_bytes),
            size(totals.cumulative_requested_bytes),
            totals.allocations.map_or("-".into(), count),
            size(totals.requested_bytes),
            format!("{}{misuse}{}", harmless(&process.command), elsewhere(process)),
        ]);
    }
    table.write(out)
}

/// Says so where a PID is none of ours.
fn elsewhere(process: &Process) -> &'static str {
    match process.id {
        Identity::Process { .. } => "",
        Identity::Segment { .. } => "  (its PID in another PID namespace)",
    }
}

fn state(process: &Process) -> String {
    match (process.state, &process.replaced_by) {
        (_, Some(name)) => format!("became {}", harmless(name)),
        (State::Live, None) => "still runs".to_owned(),
        (State::Crashed, None) => "killed, or exec".to_owned(),
        (other, None) => other.as_str().to_owned(),
    }
}

fn peak(peak: Option<u64>, totals: &Totals) -> String {
    match totals.peak_error_bytes {
        Some(error) if error > 0 => format!("{} +- {}", exact_size(peak), bytes(error)),
        _ => exact_size(peak),
    }
}

fn turnover(totals: &Totals) -> String {
    let figure = |figure: Option<u64>| figure.map_or("-".into(), count);
    format!(
        "{} requested by {} allocations; {} frees, {} reallocations, {} remote frees",
        size(totals.cumulative_requested_bytes),
        figure(totals.allocations),
        figure(totals.frees),
        figure(totals.reallocations),
        figure(totals.remote_frees),
    )
}

fn still_live(totals: &Totals) -> String {
    let blocks = totals.live_blocks.map_or("-".into(), count);
    format!("{} in {blocks} blocks", exact_size(totals.requested_bytes))
}

/// What was wrong, where anything was.
fn describe_misuse(misuse: &Misuse) -> Option<String> {
    let kinds = [
        (misuse.double_frees, "double frees"),
        (misuse.invalid_frees, "invalid frees"),
        (misuse.foreign_frees, "foreign frees"),
        (misuse.corruptions, "corruptions"),
    ];
    let kinds = kinds.iter().filter(|(number, _)| *number > 0);
    let found: Vec<String> = kinds.map(|(number, kind)| format!("{kind} {}", count(*number))).collect();
    (!found.is_empty()).then(|| found.join(", "))
}

fn size(figure: Option<u64>) -> String {
    figure.map_or("-".into(), bytes)
}

/// As people read it, and to the byte.
fn exact_size(figure: Option<u64>) -> String {
    match figure {
        None => "-".into(),
        Some(small) if small < 1000 => bytes(small),
        Some(figure) => format!("{} ({} bytes)", bytes(figure), count(figure)),
    }
}
