//! The JSON contract: the fields it began with, their types, and how derived figures fit together.

use serde_json::Value;
use std::process::Command;
use tests::{Run, Running, program, statsmon};

/// What a field of the contract holds.
#[derive(Clone, Copy, Debug)]
enum Type {
    Text,
    /// A number that is no byte count.
    Number,
    Integer,
    /// Bytes, which may be unknown.
    Bytes,
    /// Bytes that may be negative.
    Signed,
    /// A number, or null.
    MaybeNumber,
    /// RFC 3339, UTC.
    Time,
    List,
}

fn holds(kind: Type, value: &Value) -> bool {
    match kind {
        Type::Text => value.is_string(),
        Type::Number => value.is_number(),
        Type::Integer => value.is_u64(),
        Type::Bytes => value.is_u64() || value.is_null(),
        Type::Signed => value.is_i64() || value.is_u64() || value.is_null(),
        Type::MaybeNumber => value.is_number() || value.is_null(),
        Type::Time => value.as_str().is_some_and(is_time),
        Type::List => value.is_array(),
    }
}

/// `2026-01-31T12:00:00.123Z`
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    matches!(shape.as_str(), "0000-00-00T00:00:00.000Z" | "0000-00-00T00:00:00Z")
}

const PROCESS: [(&str, Type); 66] = [
    ("/pid", Type::Integer),
    ("/ppid", Type::Integer),
    ("/uid", Type::Integer),
    ("/namespace_pid", Type::Integer),
    ("/state", Type::Text),
    ("/command", Type::Text),
    ("/executable", Type::Text),
    ("/start_time", Type::Time),
    ("/uptime_seconds", Type::Number),
    ("/totals/requested_bytes", Type::Integer),
    ("/totals/allocated_bytes", Type::Integer),
    ("/totals/pinned_bytes", Type::Integer),
    ("/totals/cached_bytes", Type::Integer),
    ("/totals/metadata_bytes", Type::Integer),
    ("/totals/other_bytes", Type::Signed),
    ("/totals/resident_bytes", Type::Bytes),
    ("/totals/rss_bytes", Type::Integer),
    ("/totals/swap_bytes", Type::Bytes),
    ("/totals/active_bytes", Type::Integer),
    ("/totals/committed_bytes", Type::Integer),
    ("/totals/retained_bytes", Type::Bytes),
    ("/totals/purged_bytes", Type::Integer),
    ("/totals/internal_fragmentation_bytes", Type::Integer),
    ("/totals/external_fragmentation_bytes", Type::Integer),
    ("/totals/peak_requested_bytes", Type::Integer),
    ("/totals/peak_allocated_bytes", Type::Integer),
    ("/totals/peak_error_bytes", Type::Integer),
    ("/totals/peak_rss_bytes", Type::Bytes),
    ("/totals/cumulative_requested_bytes", Type::Integer),
    ("/totals/cumulative_allocated_bytes", Type::Integer),
    ("/totals/live_blocks", Type::Integer),
    ("/totals/allocations", Type::Integer),
    ("/totals/frees", Type::Integer),
    ("/totals/reallocations", Type::Integer),
    ("/totals/remote_frees", Type::Integer),
    ("/rates/allocations_per_second", Type::MaybeNumber),
    ("/rates/frees_per_second", Type::MaybeNumber),
    ("/rates/requested_growth_bytes_per_second", Type::MaybeNumber),
    ("/misuse/foreign_frees", Type::Integer),
    ("/misuse/double_frees", Type::Integer),
    ("/misuse/invalid_frees", Type::Integer),
    ("/misuse/last", Type::List),
    ("/threads/live", Type::Integer),
    ("/threads/started", Type::Integer),
    ("/threads/ended", Type::Integer),
    ("/threads/stranded_bytes", Type::Integer),
    ("/threads/rows", Type::List),
    ("/threads/rows/0/tid", Type::Integer),
    ("/threads/rows/0/name", Type::Text),
    ("/threads/rows/0/state", Type::Text),
    ("/threads/rows/0/allocations", Type::Integer),
    ("/threads/rows/0/frees", Type::Integer),
    ("/threads/rows/0/allocated_by_bytes", Type::Integer),
    ("/threads/rows/0/freed_by_bytes", Type::Integer),
    ("/size_classes", Type::List),
    ("/large/live_blocks", Type::Integer),
    ("/large/requested_bytes", Type::Integer),
    ("/large/allocated_bytes", Type::Integer),
    ("/large/classes", Type::List),
    ("/large/classes/0/up_to_bytes", Type::Bytes),
    ("/large/classes/0/live_blocks", Type::Integer),
    ("/large/classes/0/requested_bytes", Type::Integer),
    ("/history/seconds", Type::List),
    ("/history/minutes", Type::List),
    ("/history/hours", Type::List),
    ("/resident_age_seconds", Type::MaybeNumber),
];

const CLASS: [&str; 9] = [
    "block_size",
    "live_blocks",
    "free_list_length",
    "requested_bytes",
    "allocated_bytes",
    "pinned_bytes",
    "allocations",
    "frees",
    "slabs",
];

#[test]
fn json_has_every_field_of_the_contract() {
    // Some small and some large blocks, so that every table has a line.
    let mut running = Command::new(program("ballast.c")).preload().begin();
    running.line();
    let mut look = Command::new(statsmon());
    let finished = look.args(["--json", &running.pid().to_string()]).finish().success();
    let text = finished.out();
    assert_eq!(text.lines().count(), 1, "one object, one line");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert!(holds(Type::Time, &document["timestamp"]), "{}", document["timestamp"]);
    let process = &document["processes"][0];
    for (path, kind) in PROCESS {
        // The residency's age may stand in either place.
        let place = process.pointer(path).or_else(|| process.pointer(&format!("/totals{path}")));
        let value = place.unwrap_or_else(|| panic!("no {path} in {process}"));
        assert!(holds(kind, value), "{path} should be {kind:?}, not {value}");
    }
    for class in process["size_classes"].as_array().unwrap() {
        for field in CLASS {
            assert!(class[field].is_u64(), "{field} in {class}");
        }
        let number = |field: &str| class[field].as_u64().unwrap();
        assert_eq!(number("pinned_bytes"), number("free_list_length") * number("block_size"), "{class}");
    }
    assert_eq!(process["command"].as_str().unwrap(), running_command(&running));
    running.go();
    running.finish().success();
}

fn running_command(running: &Running) -> String {
    let line = std::fs::read(format!("/proc/{}/cmdline", running.pid())).unwrap();
    String::from_utf8_lossy(&line).trim_end_matches('\0').replace('\0', " ")
}

#[test]
fn derived_figures_of_one_snapshot_fit_together() {
    let mut running = Command::new(program("ballast.c")).preload().begin();
    running.line();
    let seen = tests::snapshot(running.pid());
    let total = |name: &str| seen.total(name);
    assert_eq!(total("active_bytes"), total("allocated_bytes") + total("pinned_bytes"));
    assert_eq!(total("internal_fragmentation_bytes"), total("allocated_bytes") - total("requested_bytes"));
    assert_eq!(total("external_fragmentation_bytes"), total("pinned_bytes"));
    let accounted =
        ["allocated_bytes", "pinned_bytes", "cached_bytes", "metadata_bytes"].map(total).iter().sum::<i64>();
    if !seen.0["totals"]["resident_bytes"].is_null() {
        assert_eq!(total("other_bytes"), total("resident_bytes") - accounted);
        // All of the ballast was touched.
        assert!(total("resident_bytes") >= total("requested_bytes"), "{}", seen.0["totals"]);
    }
    let pinned: i64 = seen.list("/size_classes").iter().map(|class| class["pinned_bytes"].as_i64().unwrap()).sum();
    assert_eq!(pinned, total("pinned_bytes"));
    assert!(total("rss_bytes") > 0 && total("peak_rss_bytes") >= total("rss_bytes") / 2);
    assert!(total("committed_bytes") >= total("allocated_bytes"));
    running.go();
    running.finish().success();
}
