//! Is it a leak, fragmentation, cache or churn, and where? A few rules over the history; their figures are in
//! [`rules`].
//!
//! What was said before is taken back later than it is said (see [`rules::threshold`]), so that a headline does not
//! flicker.

mod blame;
mod checks;
mod growth;
pub(crate) mod rules;
mod series;
#[cfg(test)]
mod tests;

use super::lines::Line;
use super::{Point, Process, Time};
pub(crate) use blame::Baseline;
use rules::{Material, Rules};
use serde::Serialize;
use series::Series;

/// What can be said about a heap. The first that applies leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The memory is not the heap's.
    NotHeap,
    /// The floor rises evenly. A cache that fills looks the same.
    LeakSuspected,
    /// The floor rises ever more slowly.
    WarmingUp,
    /// The floor rises, but not for long enough to say more.
    Growing,
    /// What was allocated before comes into use: its memory becomes resident.
    Filling,
    /// Free blocks lie pinned between live ones.
    Fragmentation,
    /// Blocks are larger than what was asked for.
    Rounding,
    /// Free memory is kept for reuse.
    Cache,
    /// As much is freed and allocated as the heap holds, every second.
    Churn,
    /// Threads come and go.
    ThreadChurn,
    /// Ended threads left slabs that nobody has taken over.
    Stranded,
    /// Nothing moves.
    Stable,
    /// It goes up and down.
    Varying,
}

impl Kind {
    /// As in the JSON.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotHeap => "not_heap",
            Self::LeakSuspected => "leak_suspected",
            Self::WarmingUp => "warming_up",
            Self::Growing => "growing",
            Self::Filling => "filling",
            Self::Fragmentation => "fragmentation",
            Self::Rounding => "rounding",
            Self::Cache => "cache",
            Self::Churn => "churn",
            Self::ThreadChurn => "thread_churn",
            Self::Stranded => "stranded",
            Self::Stable => "stable",
            Self::Varying => "varying",
        }
    }

    /// Whether it is nothing to act upon.
    pub(crate) fn is_calm(self) -> bool {
        matches!(self, Self::Stable | Self::Varying)
    }
}

/// What leads, and what is to be said besides.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// What leads.
    #[serde(flatten)]
    pub(crate) finding: Finding,
    /// What is true as well.
    pub(crate) also: Option<Finding>,
}

impl Diagnosis {
    /// Bytes a second by which the heap grows, where that is one of the findings.
    pub(crate) fn growth(&self) -> Option<f64> {
        let findings = std::iter::once(&self.finding).chain(&self.also);
        let growing = |kind| matches!(kind, Kind::LeakSuspected | Kind::WarmingUp | Kind::Growing);
        findings.filter(|finding| growing(finding.kind)).find_map(|finding| finding.numbers.bytes_per_second)
    }
}

/// One thing that is true of a heap.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct Finding {
    /// What it is.
    pub(crate) kind: Kind,
    /// Since when, as far as the history tells.
    pub(crate) since: Option<Time>,
    /// The figures behind it.
    pub(crate) numbers: Numbers,
    /// The sizes it comes from, the largest part first.
    pub(crate) classes: Vec<ClassShare>,
    /// The threads that allocated blocks of these sizes, by their bytes.
    pub(crate) threads: Vec<ThreadShare>,
}

/// The figures behind a finding: those that belong to its kind.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize)]
pub(crate) struct Numbers {
    /// How much it is, or has grown by.
    pub(crate) bytes: Option<u64>,
    /// Its share of the heap (of the RSS where it is not the heap; of what was allocated where it is rounding).
    pub(crate) share: Option<f64>,
    /// By how much it grows; how much is freed.
    pub(crate) bytes_per_second: Option<f64>,
    /// How long it has been seen; how long the cache is kept.
    pub(crate) seconds: Option<f64>,
    /// Least of the allocated bytes.
    pub(crate) low_bytes: Option<u64>,
    /// Most of them; of growth, what an earlier climb like it had reached when it came back.
    pub(crate) high_bytes: Option<u64>,
    /// Blocks handed out.
    pub(crate) allocations_per_second: Option<f64>,
    /// Threads that ended.
    pub(crate) thread_ends_per_second: Option<f64>,
    /// Of the first class: blocks in the program's hands,
    pub(crate) live_blocks: Option<u64>,
    /// of so many that were carved,
    pub(crate) carved_blocks: Option<u64>,
    /// in so many slabs.
    pub(crate) slabs: Option<u64>,
    /// Resident bytes of mapped files and shared memory.
    pub(crate) file_bytes: Option<u64>,
}

/// A size and its part in a finding.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct ClassShare {
    /// The size.
    #[serde(flatten)]
    pub(crate) line: Line,
    /// Its part, from 0 to 1.
    pub(crate) share: f64,
    /// The same in bytes.
    pub(crate) bytes: u64,
}

/// A thread and its part of what was allocated.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub(crate) struct ThreadShare {
    /// Unknown for the shared row, and for all who had rows before the threads that have them now.
    pub(crate) tid: Option<u32>,
    /// Its name; `ended threads` (of a forked process `ended or parent's threads`) for all of those.
    pub(crate) name: String,
    /// Its part, from 0 to 1: at most, where it may have been it or one before it in its row.
    pub(crate) share: f64,
    /// At least.
    pub(crate) certain_share: f64,
    /// Bytes allocated by it, at most.
    pub(crate) allocated_by_bytes: u64,
}

/// What was said the last time, and since when it holds.
pub(crate) type Said = Vec<(Kind, Option<Time>)>;

/// RSS, resident heap, and what that has to hold, at one time.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Footprint {
    /// When.
    pub(crate) time: Time,
    /// Of the process.
    pub(crate) rss: u64,
    /// Of its heap.
    pub(crate) heap: u64,
    /// Allocated, pinned and cached bytes.
    pub(crate) held: u64,
}

impl Footprint {
    /// A process as it is `now`, where its memory is known.
    pub(crate) fn of(process: &Process, now: Time) -> Option<Self> {
        let totals = &process.totals;
        let held = [totals.allocated_bytes, totals.pinned_bytes, totals.cached_bytes].into_iter().flatten();
        Some(Self {
            time: now,
            rss: totals.rss_bytes?,
            heap: totals.resident_bytes?,
            held: held.fold(0, u64::saturating_add),
        })
    }

    /// What is not the heap's.
    pub(crate) fn bytes(&self) -> f64 {
        self.rss as f64 - self.heap as f64
    }
}

/// The earliest footprint of the last minutes, where that is half a minute ago or more.
pub(crate) fn earliest<'a>(looks: &'a [Footprint], now: Time, rules: &Rules) -> Option<&'a Footprint> {
    let recent = |time: Time| now.seconds_since(time) <= rules::SHORTEST_LEAK * rules.minute;
    looks.iter().find(|look| recent(look.time)).filter(|look| now.seconds_since(look.time) >= rules.minute / 2.0)
}

/// What a diagnosis goes by besides the process itself.
#[derive(Clone, Copy)]
pub(crate) struct Evidence<'a> {
    /// The present.
    pub(crate) now: Time,
    /// What was said the last time.
    pub(crate) said: &'a Said,
    /// Earlier footprints, oldest first: the rings do not know it.
    pub(crate) footprints: &'a [Footprint],
    /// Earlier figures by size and thread.
    pub(crate) baseline: &'a Baseline,
    /// How long a minute is.
    pub(crate) rules: Rules,
}

/// A process's case, prepared for the rules.
struct Case<'a> {
    process: &'a Process,
    evidence: &'a Evidence<'a>,
    series: Series,
    material: Material,
}

impl Case<'_> {
    fn said(&self, kind: Kind) -> bool {
        self.evidence.said.iter().any(|(said, _)| *said == kind)
    }

    /// The rules' minute: what is called W.
    fn recent(&self) -> &[Point] {
        series::last(&self.series.all, self.evidence.rules.minute)
    }

    fn now(&self) -> Time {
        self.evidence.now
    }
}

/// What is true of a process: the leading finding first. Empty where too little is known.
pub(crate) fn findings(process: &Process, evidence: &Evidence<'_>) -> Vec<Finding> {
    let Some(series) = Series::of(process, evidence.now).filter(|series| series.all.len() > 1) else {
        return Vec::new();
    };
    let totals = &process.totals;
    let allocated = totals.allocated_bytes.unwrap_or(0) as f64;
    let free = [totals.pinned_bytes, totals.cached_bytes, totals.metadata_bytes].into_iter().flatten();
    let counted = free.fold(allocated, |sum, bytes| sum + bytes as f64);
    let heap = totals.resident_bytes.map_or(counted, |bytes| bytes as f64);
    let case = Case { process, evidence, series, material: Material { heap, allocated } };
    let rules: [fn(&Case<'_>) -> Option<Finding>; 10] = [
        checks::not_heap,
        growth::growth,
        checks::filling,
        checks::fragmentation,
        checks::rounding,
        checks::cache,
        checks::churn,
        checks::thread_churn,
        checks::stranded,
        checks::range,
    ];
    let mut findings: Vec<Finding> = rules.iter().filter_map(|rule| rule(&case)).collect();
    // What stands is no reason not to speak of what grows.
    if let [outside, leak, ..] = &mut findings[..]
        && (outside.kind, leak.kind) == (Kind::NotHeap, Kind::LeakSuspected)
        && outside.numbers.bytes_per_second.is_none()
        && heap >= rules::LEADING_SHARE * totals.rss_bytes.unwrap_or(0) as f64
    {
        std::mem::swap(outside, leak);
    }
    // That nothing moves, or that all does, is worth a word only where there is no other.
    if findings.len() > 1 {
        findings.retain(|finding| !finding.kind.is_calm());
    }
    for finding in &mut findings {
        let known = evidence.said.iter().find(|(said, _)| *said == finding.kind).and_then(|(_, since)| *since);
        finding.since = match (finding.since, known) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other).or(Some(evidence.now)),
        };
    }
    findings
}

/// The first finding and the second.
pub(crate) fn diagnosis(mut findings: Vec<Finding>) -> Option<Diagnosis> {
    findings.truncate(2);
    let also = if findings.len() > 1 { findings.pop() } else { None };
    Some(Diagnosis { finding: findings.pop()?, also })
}
