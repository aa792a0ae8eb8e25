//! The JSON of `statsmon --once --json`, and the figures in it that must be exact.

use crate::artefacts::statsmon;
use crate::process::Run;
use crate::sandbox::Sandbox;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ops::Sub;
use std::process::Command;

/// One process in one snapshot.
#[derive(Clone, Debug)]
pub struct Snapshot(pub Value);

/// A snapshot of process `pid`, which must be alive and published.
#[track_caller]
pub fn snapshot(pid: u32) -> Snapshot {
    take(pid, 0, &mut Command::new(statsmon()))
}

/// As [`snapshot`], seen from the mount namespace of the process.
#[track_caller]
pub fn snapshot_beside(pid: u32) -> Snapshot {
    take(pid, 0, Command::new(statsmon()).beside(pid))
}

/// A snapshot by `command`, a `statsmon` without arguments yet, which must end with `code`.
#[track_caller]
pub fn take(pid: u32, code: i32, command: &mut Command) -> Snapshot {
    let finished = command.args(["--once", "--json"]).arg(pid.to_string()).finish();
    assert_eq!(finished.code(), code, "statsmon on {pid}: {}", finished.err());
    let document: Value = serde_json::from_slice(&finished.stdout)
        .unwrap_or_else(|error| panic!("not JSON, {error}: {}{}", finished.out(), finished.err()));
    let processes = document["processes"].as_array().expect("a list of processes");
    assert_eq!(processes.len(), 1, "one process was asked for: {document}");
    assert_eq!(processes[0]["pid"], pid, "another process was shown: {document}");
    Snapshot(processes[0].clone())
}

impl Snapshot {
    /// The integer at `path`, a JSON pointer (`/totals/frees`); may be negative only in `other_bytes`.
    #[track_caller]
    pub fn number(&self, path: &str) -> i64 {
        integer(self.0.pointer(path).unwrap_or_else(|| panic!("no {path} in {}", self.0)))
    }

    /// A figure among `totals`.
    #[track_caller]
    pub fn total(&self, name: &str) -> i64 {
        self.number(&format!("/totals/{name}"))
    }

    /// A text at `path`.
    #[track_caller]
    pub fn text(&self, path: &str) -> &str {
        let value = self.0.pointer(path).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no text {path} in {}", self.0))
    }

    /// The list at `path`.
    #[track_caller]
    pub fn list(&self, path: &str) -> &[Value] {
        let value = self.0.pointer(path).and_then(Value::as_array);
        value.unwrap_or_else(|| panic!("no list {path} in {}", self.0))
    }

    /// Everything that a program can count itself.
    #[track_caller]
    pub fn figures(&self) -> Figures {
        let mut figures = Figures {
            requested: self.total("requested_bytes"),
            allocated: self.total("allocated_bytes"),
            live_blocks: self.total("live_blocks"),
            allocations: self.total("allocations"),
            frees: self.total("frees"),
            reallocations: self.total("reallocations"),
            cumulative_requested: self.total("cumulative_requested_bytes"),
            cumulative_allocated: self.total("cumulative_allocated_bytes"),
            classes: BTreeMap::new(),
            buckets: BTreeMap::new(),
        };
        for class in self.list("/size_classes") {
            let line = Line {
                live_blocks: integer(&class["live_blocks"]),
                requested: integer(&class["requested_bytes"]),
                allocations: integer(&class["allocations"]),
                frees: integer(&class["frees"]),
            };
            let size = integer(&class["block_size"]);
            assert_eq!(integer(&class["allocated_bytes"]), size * line.live_blocks, "{class}");
            assert_eq!(line.allocations - line.frees, line.live_blocks, "{class}");
            assert!(figures.classes.insert(size, line).is_none(), "class {size} is there twice");
        }
        for bucket in self.list("/large/classes") {
            // The last bucket has no limit: null.
            let limit = bucket["up_to_bytes"].as_i64().unwrap_or(i64::MAX);
            let line = (integer(&bucket["live_blocks"]), integer(&bucket["requested_bytes"]));
            assert!(figures.buckets.insert(limit, line).is_none(), "bucket {limit} is there twice");
        }
        self.check_sums(&figures);
        figures
    }

    /// What must hold within one snapshot.
    fn check_sums(&self, figures: &Figures) {
        let all = &self.0;
        assert_eq!(figures.allocations - figures.frees, figures.live_blocks, "{all}");
        let classes = figures.classes.values();
        let large = |name: &str| self.number(&format!("/large/{name}"));
        let small_requested: i64 = classes.clone().map(|line| line.requested).sum();
        assert_eq!(small_requested + large("requested_bytes"), figures.requested, "{all}");
        let small_blocks: i64 = classes.clone().map(|line| line.live_blocks).sum();
        assert_eq!(small_blocks + large("live_blocks"), figures.live_blocks, "{all}");
        let small_allocated: i64 = figures.classes.iter().map(|(size, line)| size * line.live_blocks).sum();
        assert_eq!(small_allocated + large("allocated_bytes"), figures.allocated, "{all}");
        let buckets = figures.buckets.values();
        assert_eq!(buckets.clone().map(|line| line.0).sum::<i64>(), large("live_blocks"), "{all}");
        assert_eq!(buckets.map(|line| line.1).sum::<i64>(), large("requested_bytes"), "{all}");
        let peaks = [("peak_requested_bytes", figures.requested), ("peak_allocated_bytes", figures.allocated)];
        for (peak, live) in peaks {
            assert!(self.total(peak) >= live - self.total("peak_error_bytes"), "{peak} is below what is live: {all}");
        }
        assert_eq!(
            self.total("internal_fragmentation_bytes"),
            figures.allocated - figures.requested,
            "internal fragmentation: {all}"
        );
    }
}

#[track_caller]
fn integer(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("not an integer: {value}"))
}

/// Counts of one process, or the difference of two such counts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Figures {
    pub requested: i64,
    pub allocated: i64,
    pub live_blocks: i64,
    pub allocations: i64,
    pub frees: i64,
    pub reallocations: i64,
    pub cumulative_requested: i64,
    pub cumulative_allocated: i64,
    /// By block size. Lines of zeros are left out of differences.
    pub classes: BTreeMap<i64, Line>,
    /// Live blocks and requested bytes by the largest block counted there; `i64::MAX` for the last.
    pub buckets: BTreeMap<i64, (i64, i64)>,
}

/// Counts of one size class.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Line {
    pub live_blocks: i64,
    pub requested: i64,
    pub allocations: i64,
    pub frees: i64,
}

impl Sub for &Figures {
    type Output = Figures;

    fn sub(self, before: Self) -> Figures {
        let mut classes = BTreeMap::new();
        for size in self.classes.keys().chain(before.classes.keys()) {
            let (now, then) = (line(&self.classes, size), line(&before.classes, size));
            let change = Line {
                live_blocks: now.live_blocks - then.live_blocks,
                requested: now.requested - then.requested,
                allocations: now.allocations - then.allocations,
                frees: now.frees - then.frees,
            };
            if change != Line::default() {
                classes.insert(*size, change);
            }
        }
        let mut buckets = BTreeMap::new();
        for limit in self.buckets.keys().chain(before.buckets.keys()) {
            let (now, then) = (line(&self.buckets, limit), line(&before.buckets, limit));
            let change = (now.0 - then.0, now.1 - then.1);
            if change != (0, 0) {
                buckets.insert(*limit, change);
            }
        }
        Figures {
            requested: self.requested - before.requested,
            allocated: self.allocated - before.allocated,
            live_blocks: self.live_blocks - before.live_blocks,
            allocations: self.allocations - before.allocations,
            frees: self.frees - before.frees,
            reallocations: self.reallocations - before.reallocations,
            cumulative_requested: self.cumulative_requested - before.cumulative_requested,
            cumulative_allocated: self.cumulative_allocated - before.cumulative_allocated,
            classes,
            buckets,
        }
    }
}

fn line<T: Copy + Default>(lines: &BTreeMap<i64, T>, key: &i64) -> T {
    lines.get(key).copied().unwrap_or_default()
}
