//! Snapshots on stdout.

use crate::cli::{Form, Print};
use crate::error::{self, Error};
use crate::model::compare::{Side, compare};
use crate::model::{Comparison, Process, Snapshot};
use crate::source::against::Against;
use crate::source::{Look, Selection, Watcher};
use crate::view::{comparison, csv, json, openmetrics, text};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::time::Instant;

/// Prints snapshots. Returns the exit code.
pub(crate) fn snapshots(print: Print) -> Result<u8, Error> {
    let all = print.selection == Selection::All;
    let two = matches!(&print.selection, Selection::Targets(targets) if targets.len() == 2);
    if print.against.is_some() && matches!(print.form, Form::Csv | Form::OpenMetrics) {
        return Err(Error::Usage("--against compares in text and JSON only"));
    }
    let against = print.against.as_deref().map(|path| Against::read(path, &print.selection)).transpose()?;
    let mut watcher = Watcher::new(print.selection.clone());
    let mut printed = 0;
    let mut next = Instant::now();
    let mut code = 0;
    let mut told = Vec::new();
    loop {
        let mut look = watcher.look()?;
        look.snapshot.comparison = compared(&look.snapshot, two, against.as_ref())?;
        match write(&look, all, &print, printed) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(0),
            result => result.map_err(|cause| Error::io("writing to stdout", cause))?,
        }
        printed += 1;
        tell_once(&look.problems, &mut told);
        if !all && code == 0 {
            code = look.problems.first().map_or(0, Error::exit_code);
        }
        let nothing_left = !all && look.snapshot.processes.iter().all(|process| process.state.is_dead());
        if print.snapshots.is_some_and(|wanted| printed >= wanted) || nothing_left {
            return Ok(code);
        }
        next += print.interval;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// The two processes of a snapshot side by side, or one and what it was.
fn compared(snapshot: &Snapshot, two: bool, against: Option<&Against>) -> Result<Option<Comparison>, Error> {
    let side = |process: &Process| Side::of(process, snapshot.timestamp);
    Ok(match (&snapshot.processes[..], against) {
        ([process, ..], Some(against)) => Some(compare(&against.side(process)?, &side(process))),
        ([left, right], None) if two => Some(compare(&side(left), &side(right))),
        _ => None,
    })
}

fn write(look: &Look, all: bool, print: &Print, printed: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, io::stdout().lock());
    match print.form {
        Form::Json => json::write(&look.snapshot, &mut out)?,
        Form::OpenMetrics => openmetrics::write(&look.snapshot, print.label_pid, &mut out)?,
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
            if let Some(compared) = &look.snapshot.comparison {
                comparison::write(compared, &mut out)?;
            }
        }
    }
    out.flush()
}

/// Problems told one by one. How many more there are is told once: anybody may have filled the folder.
const TOLD: usize = 20;

/// Reports each problem the first time it occurs.
fn tell_once(problems: &[Error], told: &mut Vec<String>) {
    for (place, problem) in problems.iter().enumerate() {
        let message = problem.to_string();
        if told.len() > TOLD {
            return;
        }
        if told.contains(&message) {
            continue;
        }
        if told.len() < TOLD {
            error::report(problem);
            told.push(message);
        } else {
            let rest = format!("{} more problems like these", problems.len() - place);
            error::tell(&rest);
            told.push(rest);
        }
    }
}
