//! Snapshots on stdout.

use crate::cli::Form;
use crate::error::{self, Error};
use crate::source::{Look, Selection, Watcher};
use crate::view::{csv, json, text};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::{Duration, Instant};

/// Prints `snapshots` snapshots, or without end, `interval` apart. Returns the exit code.
pub(crate) fn snapshots(
    selection: Selection,
    form: Form,
    snapshots: Option<u64>,
    interval: Duration,
) -> Result<u8, Error> {
    let all = selection == Selection::All;
    let mut watcher = Watcher::new(selection);
    let mut printed = 0;
    let mut next = Instant::now();
    let mut code = 0;
    let mut told = Vec::new();
    loop {
        let look = watcher.look()?;
        match print(&look, all, form, printed) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
            result => result.map_err(|cause| Error::io("writing to stdout", cause))?,
        }
        printed += 1;
        tell_once(&look.problems, &mut told);
        if !all && code == 0 {
            code = look.problems.first().map_or(0, Error::exit_code);
        }
        let nothing_left = !all && look.snapshot.processes.iter().all(|process| process.state.is_dead());
        if snapshots.is_some_and(|wanted| printed >= wanted) || nothing_left {
            return Ok(code);
        }
        next += interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn print(look: &Look, all: bool, form: Form, printed: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    match form {
        Form::Json => json::write(&look.snapshot, &mut out)?,
        Form::Csv => {
            if printed == 0 {
                csv::write_names(&mut out)?;
            }
            csv::write(&look.snapshot, &mut out)?;
        }
        Form::Text => {
            if printed > 0 {
                writeln!(out)?;
            }
            if all {
                text::write_list(&look.snapshot, &mut out)?;
            } else {
                text::write_details(&look.snapshot, &mut out)?;
            }
        }
    }
    out.flush()
}

/// Reports each problem the first time it occurs.
fn tell_once(problems: &[Error], told: &mut Vec<String>) {
    for problem in problems {
        let message = problem.to_string();
        if !told.contains(&message) {
            error::report(problem);
            told.push(message);
        }
    }
}
