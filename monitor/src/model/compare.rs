//! Two processes, or a process and an earlier snapshot, side by side.
//!
//! Both sides are taken from their JSON, so that a file and a living process are the same thing.

use super::lines::Line;
use super::{Process, Time};
use serde::Serialize;
use serde_json::Value;

/// Two sides and their differences.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Comparison {
    /// What the differences are taken from.
    pub(crate) left: Name,
    /// What they lead to: `difference = right - left`.
    pub(crate) right: Name,
    /// The figures of the totals, and the number of threads.
    pub(crate) totals: Vec<Total>,
    /// Allocated bytes and live blocks by size, where either side has any.
    pub(crate) classes: Vec<Class>,
}

/// What a side is.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Name {
    /// The process's.
    pub(crate) pid: Option<u64>,
    /// The program's.
    pub(crate) name: String,
    /// When the figures were taken.
    pub(crate) time: Option<String>,
}

/// One figure of the totals.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Total {
    /// As in the JSON.
    pub(crate) name: String,
    /// One side's,
    pub(crate) left: Option<i64>,
    /// and the other's.
    pub(crate) right: Option<i64>,
    /// Unknown where either is.
    pub(crate) difference: Option<i64>,
}

/// One size.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Class {
    /// Which.
    #[serde(flatten)]
    pub(crate) line: Line,
    /// Allocated bytes,
    pub(crate) left_bytes: i64,
    /// on both sides.
    pub(crate) right_bytes: i64,
    /// The second less the first.
    pub(crate) difference_bytes: i64,
    /// Live blocks,
    pub(crate) left_blocks: i64,
    /// likewise.
    pub(crate) right_blocks: i64,
    /// The second less the first.
    pub(crate) difference_blocks: i64,
}

/// One side of a comparison.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Side {
    time: Option<String>,
    process: Value,
}

impl Side {
    /// A process as it was seen then.
    pub(crate) fn of(process: &Process, time: Time) -> Self {
        let part = |part: serde_json::Result<Value>| part.unwrap_or(Value::Null);
        let process = serde_json::json!({
            "pid": process.pid,
            "name": process.name,
            "totals": part(serde_json::to_value(&process.totals)),
            "threads": { "live": process.threads.as_ref().map(|threads| threads.live) },
            "size_classes": part(serde_json::to_value(&process.size_classes)),
            "large": part(serde_json::to_value(&process.large)),
        });
        Self { time: Some(time.to_string()), process }
    }

    /// A process in an earlier `--json`: the last that has this name, of those with this PID if there is one; else the
    /// last with this PID, else the last there is. Several snapshots, one a line, are fine.
    pub(crate) fn from_json(text: &str, pid: u32, name: &str) -> Result<Self, String> {
        let mut found: Option<Self> = None;
        let mut any = false;
        let likeness = |process: &Value| (process["name"].as_str() == Some(name), process["pid"] == pid);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let snapshot: Value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
            let time = snapshot["timestamp"].as_str().map(str::to_owned);
            let processes =
                snapshot["processes"].as_array().ok_or("not a snapshot of statsmon's: it has no processes")?;
            for process in processes {
                any = true;
                if found.as_ref().is_none_or(|found| likeness(process) >= likeness(&found.process)) {
                    found = Some(Self { time: time.clone(), process: process.clone() });
                }
            }
        }
        found.ok_or(if any { "no process in it" } else { "no snapshot in it" }.to_owned())
    }

    fn name(&self) -> Name {
        Name {
            pid: self.process["pid"].as_u64(),
            name: self.process["name"].as_str().unwrap_or("?").to_owned(),
            time: self.time.clone(),
        }
    }

    fn total(&self, name: &str) -> Option<i64> {
        let value = if name == "threads" { &self.process["threads"]["live"] } else { &self.process["totals"][name] };
        value.as_i64()
    }

    /// Allocated bytes and live blocks by size.
    fn lines(&self) -> Vec<(Line, i64, i64)> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let figures =
            |of: &Value| (of["allocated_bytes"].as_i64().unwrap_or(0), of["live_blocks"].as_i64().unwrap_or(0));
        let classes = list(&self.process["size_classes"]).into_iter().filter_map(|class| {
            let (bytes, blocks) = figures(&class);
            Some((Line::class(class["block_size"].as_u64()?), bytes, blocks))
        });
        let buckets = list(&self.process["large"]["classes"]).into_iter().map(|bucket| {
            let (bytes, blocks) = figures(&bucket);
            (Line::bucket(bucket["up_to_bytes"].as_u64()), bytes, blocks)
        });
        classes.chain(buckets).collect()
    }
}

/// The totals that are compared, in order.
const TOTALS: [&str; 18] = [
    "requested_bytes",
    "allocated_bytes",
    "internal_fragmentation_bytes",
    "pinned_bytes",
    "cached_bytes",
    "metadata_bytes",
    "other_bytes",
    "resident_bytes",
    "rss_bytes",
    "swap_bytes",
    "committed_bytes",
    "peak_requested_bytes",
    "peak_allocated_bytes",
    "peak_rss_bytes",
    "live_blocks",
    "allocations",
    "frees",
    "threads",
];

/// Compares two sides.
pub(crate) fn compare(left: &Side, right: &Side) -> Comparison {
    let totals = TOTALS.iter().map(|&name| {
        let (one, other) = (left.total(name), right.total(name));
        let difference = one.zip(other).map(|(one, other)| other.saturating_sub(one));
        Total { name: name.to_owned(), left: one, right: other, difference }
    });
    let (lines, others) = (left.lines(), right.lines());
    let figures = |of: &[(Line, i64, i64)], line: Line| {
        of.iter().find(|(known, ..)| *known == line).map_or((0, 0), |(_, bytes, blocks)| (*bytes, *blocks))
    };
    let classes = Line::all().filter_map(|line| {
        let ((left_bytes, left_blocks), (right_bytes, right_blocks)) = (figures(&lines, line), figures(&others, line));
        let used = left_bytes != 0 || right_bytes != 0 || left_blocks != 0 || right_blocks != 0;
        used.then(|| Class {
            line,
            left_bytes,
            right_bytes,
            difference_bytes: right_bytes.saturating_sub(left_bytes),
            left_blocks,
            right_blocks,
            difference_blocks: right_blocks.saturating_sub(left_blocks),
        })
    });
    Comparison { left: left.name(), right: right.name(), totals: totals.collect(), classes: classes.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;
    use crate::model::fake::{CREATED, about, busy};

    #[test]
    fn a_process_and_its_earlier_json_differ_by_what_has_changed() {
        let before = busy().process(about(State::Live), 12);
        let snapshot = crate::model::Snapshot::of(CREATED, vec![before.clone()]);
        let json = serde_json::to_string(&snapshot).unwrap();
        let mut after = before;
        after.totals.requested_bytes = after.totals.requested_bytes.map(|bytes| bytes + 1000);
        if let Some(class) = after.size_classes.iter_mut().flatten().find(|class| class.block_size == 64) {
            class.live_blocks += 10;
            class.allocated_bytes += 640;
        }
        let earlier = Side::from_json(&format!("{json}\n{json}\n"), 1234, "less").unwrap();
        let comparison = compare(&earlier, &Side::of(&after, CREATED.plus_seconds(5)));
        assert_eq!(comparison.totals[0].difference, Some(1000));
        assert_eq!(comparison.totals[1].difference, Some(0));
        let changed: Vec<&Class> = comparison.classes.iter().filter(|class| class.difference_bytes != 0).collect();
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].line, changed[0].difference_blocks), (Line::class(64), 10));
        assert_eq!(comparison.left.time.as_deref(), Some("2026-01-31T12:00:00.000Z"));
    }

    #[test]
    fn of_several_of_one_name_the_process_itself_is_taken() {
        let named = |pid: u32, name: &str| format!("{{\"pid\":{pid},\"name\":\"{name}\"}}");
        let all = [named(7, "less"), named(8, "less"), named(9, "less"), named(10, "more")].join(",");
        let taken = |pid, name| Side::from_json(&format!("{{\"processes\":[{all}]}}\n"), pid, name).unwrap().name().pid;
        assert_eq!(taken(8, "less"), Some(8));
        // One that has been started anew, one that has another name now, and a stranger.
        assert_eq!(taken(11, "less"), Some(9));
        assert_eq!(taken(8, "renamed"), Some(8));
        assert_eq!(taken(11, "renamed"), Some(10));
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        for (text, reason) in [("", "no snapshot"), ("{}", "no processes"), ("x", "not JSON")] {
            let refused = Side::from_json(text, 1234, "less").unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        assert!(Side::from_json("{\"processes\":[]}", 1234, "less").is_err());
    }
}
