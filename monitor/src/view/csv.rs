//! Snapshots as CSV (RFC 4180): one line per process, and the names first. Unknown is empty, and
//! control characters are visible escapes.

use super::format::harmless;
use crate::model::{Process, Snapshot};
use serde_json::Value;
use std::io::{self, Write};

/// What stands before the totals.
const IDENTITY: [&str; 9] =
    ["timestamp", "pid", "ppid", "uid", "namespace_pid", "state", "name", "command", "uptime_seconds"];
/// What stands behind the rates.
const COUNTS: [&str; 13] = [
    "foreign_frees",
    "double_frees",
    "invalid_frees",
    "corruptions",
    "threads_live",
    "threads_started",
    "threads_ended",
    "stranded_bytes",
    "thread_ends_per_second",
    "cgroup_limit_bytes",
    "cgroup_used_bytes",
    "diagnosis",
    "diagnosis_also",
];

/// Writes the line of names: those of the JSON's totals and rates, with the parts of its other objects around them.
pub(crate) fn write_names(out: &mut impl Write) -> io::Result<()> {
    let totals = fields(&crate::model::Totals::default())?;
    let rates = fields(&crate::model::Rates::default())?;
    let names = totals.iter().chain(&rates).map(|(name, _)| name.as_str());
    let names: Vec<&str> = IDENTITY.into_iter().chain(names).chain(COUNTS).collect();
    writeln!(out, "{}", names.join(","))
}

/// Writes one line per process.
pub(crate) fn write(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    for process in &snapshot.processes {
        let mut cells = vec![snapshot.timestamp.to_string()];
        cells.extend(identity(process));
        let figures = [fields(&process.totals)?, fields(&process.rates)?].concat();
        cells.extend(figures.into_iter().map(|(_, value)| figure(&value)));
        cells.extend(counts(process));
        writeln!(out, "{}", cells.join(","))?;
    }
    Ok(())
}

fn identity(process: &Process) -> [String; IDENTITY.len() - 1] {
    [
        process.pid.to_string(),
        known(process.ppid),
        known(process.uid),
        known(process.namespace_pid),
        process.state.as_str().into(),
        quoted(&process.name),
        quoted(&process.command),
        known(process.uptime_seconds),
    ]
}

fn counts(process: &Process) -> [String; COUNTS.len()] {
    let (misuse, threads) = (process.misuse.as_ref(), process.threads.as_ref());
    [
        known(misuse.map(|misuse| misuse.foreign_frees)),
        known(misuse.map(|misuse| misuse.double_frees)),
        known(misuse.map(|misuse| misuse.invalid_frees)),
        known(misuse.map(|misuse| misuse.corruptions)),
        known(threads.map(|threads| threads.live)),
        known(threads.map(|threads| threads.started)),
        known(threads.map(|threads| threads.ended)),
        known(threads.map(|threads| threads.stranded_bytes)),
        known(threads.and_then(|threads| threads.ends_per_second)),
        known(process.limits.map(|limits| limits.cgroup_limit_bytes)),
        known(process.limits.map(|limits| limits.cgroup_used_bytes)),
        known(process.diagnosis.as_ref().map(|diagnosis| diagnosis.finding.kind.as_str())),
        known(process.diagnosis.as_ref().and_then(|diagnosis| Some(diagnosis.also.as_ref()?.kind.as_str()))),
    ]
}

/// The fields of a flat struct, in the order of their declaration.
fn fields(flat: &impl serde::Serialize) -> io::Result<Vec<(String, Value)>> {
    match serde_json::to_value(flat)? {
        Value::Object(fields) => Ok(fields.into_iter().collect()),
        _ => Ok(Vec::new()),
    }
}

/// Without an exponent, which not everybody reads.
fn figure(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(number) if number.is_f64() => known(number.as_f64()),
        other => other.to_string(),
    }
}

fn known(figure: Option<impl ToString>) -> String {
    figure.map_or(String::new(), |figure| figure.to_string())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", harmless(text).replace('"', "\"\""))
}
