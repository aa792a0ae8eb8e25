//! What is shown, written to a file beside the user: the same JSON as `--json`.

use crate::model::{Process, Snapshot, Time};
use crate::view::json;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;

/// Saves a snapshot in the working directory. Returns what to tell the user.
pub(super) fn save(time: Time, processes: Vec<Process>) -> String {
    let name = file_name(time, &processes);
    match write(&name, &Snapshot::of(time, processes)) {
        Ok(()) => format!("saved to {name}; compare with: statsmon PID --against {name}"),
        // The reason first: the line may be short.
        Err(error) => format!("! not saved: {error}: {name}"),
    }
}

fn write(name: &str, snapshot: &Snapshot) -> io::Result<()> {
    // Never over anything, and for this user alone.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(name)?;
    let filled = fill(file, snapshot);
    if filled.is_err() {
        // Half a snapshot is of no use, and takes the room that is wanting.
        let _ = std::fs::remove_file(name);
    }
    filled
}

fn fill(file: File, snapshot: &Snapshot) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    json::write(snapshot, &mut out)?;
    out.flush()
}

/// `statsmon-4711-20260131-120000.123.json`.
fn file_name(time: Time, processes: &[Process]) -> String {
    let whose = match processes {
        [process] => process.pid.to_string(),
        _ => "all".to_owned(),
    };
    let stamp: String =
        time.to_string().replace('T', "-").chars().filter(|c| c.is_ascii_digit() || ".-".contains(*c)).collect();
    let (date, clock) = stamp.split_at(stamp.rfind('-').unwrap_or(0));
    format!("statsmon-{whose}-{}{clock}.json", date.replace('-', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_called_after_process_and_time() {
        assert_eq!(file_name(Time(1_769_860_800_123_000_000), &[]), "statsmon-all-20260131-120000.123.json");
    }
}
