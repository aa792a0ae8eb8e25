//! Which sizes and which threads something comes from.

use super::rules::{BLAMED_SHARE, MOST_BLAMED};
use super::{Case, ClassShare, ThreadShare};
use crate::model::derive::Detail;
use crate::model::lines::{Line, Part};
use crate::model::{ClassHistory, Process, Thread, Threads, Time};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Figures by size and thread at earlier looks.
#[derive(Default)]
pub(crate) struct Baseline {
    looks: VecDeque<Look>,
}

struct Look {
    time: Time,
    allocated: Vec<(Line, u64)>,
    /// Of the segment's rows by their places; not of a look that left the sizes out.
    rows: Option<Rows>,
}

type Rows = BTreeMap<usize, Row>;

struct Row {
    /// Which of its threads had it.
    generation: u64,
    /// By size: bytes allocated by all of them.
    allocated: BTreeMap<Line, u64>,
}

impl Row {
    fn of(thread: &Thread) -> Self {
        let classes = thread.classes.iter().map(|class| (class.line, class.row_allocated_by_bytes));
        Self { generation: thread.row_generation, allocated: classes.collect() }
    }
}

/// So many times the growth may be there since the start, for all of it to count as grown: the most of it has.
const START_TOLERANCE: f64 = 2.0;
/// Time between two looks that are kept, in seconds, and how many are.
const APART: f64 = 30.0;
const KEPT: usize = 16;

impl Baseline {
    /// Takes note of a look.
    pub(crate) fn take(&mut self, process: &Process, now: Time, detail: Detail) {
        let recent = self.looks.back().is_some_and(|last| now.seconds_since(last.time) < APART);
        if recent {
            return;
        }
        let rows = process.threads.as_ref().map(|threads| threads.rows.as_slice()).unwrap_or_default();
        let rows = || rows.iter().map(|thread| (thread.row, Row::of(thread))).collect();
        let rows = (detail == Detail::Full).then(rows);
        self.looks.push_back(Look { time: now, allocated: allocated(process), rows });
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
    }

    /// The rows at the last look before `time` that has them, else at the earliest.
    fn rows(&self, time: Time) -> Option<(Time, &Rows)> {
        let mut looks = self.looks.iter().filter_map(|look| Some((look.time, look.rows.as_ref()?)));
        let earliest = looks.next()?;
        Some(looks.take_while(|look| look.0 <= time).last().unwrap_or(earliest))
    }
}

/// Allocated bytes of every size in use.
pub(super) fn allocated(process: &Process) -> Vec<(Line, u64)> {
    let classes = process.size_classes.iter().flatten();
    let classes = classes.map(|class| (Line::class(class.block_size), class.allocated_bytes));
    let buckets = process.large.iter().flat_map(|large| &large.classes);
    let buckets = buckets.map(|bucket| (Line::bucket(bucket.up_to_bytes), bucket.allocated_bytes));
    classes.chain(buckets).filter(|(_, bytes)| *bytes != 0).collect()
}

/// One end of a rise: its floor, and the stretch that has it.
#[derive(Clone, Copy)]
pub(super) struct End {
    pub(super) begin: Time,
    pub(super) end: Time,
    /// Allocated bytes.
    pub(super) bytes: f64,
}

/// So much of a rise may lie above its last floor at present, for the present to stand for that.
const ABOVE_FLOOR: f64 = 0.2;

/// By how much each size has grown from one end of a rise to the other: what was there before is no growth, nor is what only
/// comes and goes. Where the first end is not known, since the start, if that is mostly the `whole` growth; else nothing.
pub(super) fn change_by_line(case: &Case<'_>, from: End, to: End, whole: f64) -> Vec<(Line, u64)> {
    let now = allocated(case.process);
    let settled = case.material.allocated <= to.bytes + ABOVE_FLOOR * whole;
    let after = if settled { None } else { sizes_at(case, to) }.filter(|sizes| sum(sizes) <= sum(&now)).unwrap_or(now);
    let earliest = || {
        let history = case.process.class_history.as_ref().filter(|history| !history.times.is_empty())?;
        Some(sizes_of(history, 0))
    };
    let known = sizes_at(case, from).or_else(earliest);
    let is_known = known.is_some() || sum(&after) <= whole * START_TOLERANCE;
    let before: BTreeMap<Line, u64> = known.into_iter().flatten().collect();
    let change =
        after.into_iter().map(|(line, bytes)| (line, bytes.saturating_sub(before.get(&line).copied().unwrap_or(0))));
    if is_known { change.collect() } else { Vec::new() }
}

/// The sizes at one end of a rise: of the looks and minutes in its stretch, the last ones before it, and the next ones behind
/// it where it has none, those that held as much as the floor, or nearly. A wave's top is no floor.
fn sizes_at(case: &Case<'_>, at: End) -> Option<Vec<(Line, u64)>> {
    let looks = &case.evidence.baseline.looks;
    let behind = looks.partition_point(|look| look.time <= at.end);
    let inside = looks.partition_point(|look| look.time < at.begin);
    let looks = near(inside, behind, looks.len()).map(|place| looks[place].allocated.clone());
    let minutes = case.process.class_history.iter().flat_map(|history| {
        let behind = history.at(at.end).map_or(0, |last| last + 1);
        let inside = history.times.partition_point(|time| *time < at.begin);
        near(inside, behind, history.times.len()).map(|place| sizes_of(history, place))
    });
    let off = |sizes: &[(Line, u64)]| (sum(sizes) - at.bytes).abs();
    looks.chain(minutes).min_by(|one, other| off(one).total_cmp(&off(other)))
}

/// The places from the first one `inside` a stretch to those `behind` it, with the last one before it, and the next one behind
/// it where it has none; none where all are behind it.
fn near(inside: usize, behind: usize, all: usize) -> Range<usize> {
    let next = usize::from(behind > 0 && inside == behind);
    inside.saturating_sub(1)..if behind == 0 { 0 } else { (behind + next).min(all) }
}

fn sizes_of(history: &ClassHistory, at: usize) -> Vec<(Line, u64)> {
    history.classes.iter().filter_map(|series| Some((series.line, *series.allocated_bytes.get(at)?))).collect()
}

fn sum(sizes: &[(Line, u64)]) -> f64 {
    sizes.iter().map(|(_, bytes)| *bytes as f64).sum()
}

/// The fewest sizes that make up most of the whole.
pub(super) fn fewest(mut parts: Vec<(Line, u64)>) -> Vec<ClassShare> {
    let whole = parts.iter().fold(0u64, |sum, (_, bytes)| sum.saturating_add(*bytes)) as f64;
    parts.sort_by_key(|(line, bytes)| (std::cmp::Reverse(*bytes), *line));
    let mut covered = 0.0;
    let mut blamed = Vec::new();
    for (line, bytes) in parts.into_iter().filter(|(_, bytes)| *bytes != 0).take(MOST_BLAMED) {
        if covered >= BLAMED_SHARE {
            break;
        }
        let share = bytes as f64 / whole;
        covered += share;
        blamed.push(ClassShare { line, share, bytes });
    }
    blamed
}

/// Over which time threads are asked what they allocated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Since the start: what is there now may be old.
    All,
    /// Since this time, or the earliest look that is known: what goes on now.
    Since(Time),
}

/// Who allocated blocks of these sizes: the largest shares. What a row's earlier threads may have allocated is not the
/// present one's: all of them are named together.
pub(super) fn threads(case: &Case<'_>, classes: &[ClassShare], over: Over) -> Vec<ThreadShare> {
    let rows = case.process.threads.as_ref().map(|threads| threads.rows.as_slice()).unwrap_or_default();
    // A minute's worth of looks says more than all that ever was; a moment's says nothing.
    let baseline = match over {
        Over::All => None,
        Over::Since(time) => case.evidence.baseline.rows(time),
    };
    let baseline = baseline.filter(|(time, _)| case.now().seconds_since(*time) >= case.evidence.rules.minute);
    let mut whole = 0u64;
    let mut ended = Part::default();
    let mut parts = Vec::new();
    for thread in rows {
        let grown = Grown::of(thread, baseline.and_then(|(_, rows)| rows.get(&thread.row)), classes);
        whole = whole.saturating_add(grown.blamed);
        ended = ended.plus(Part::of(grown.blamed, grown.others, grown.own));
        parts.push((thread.tid, thread.name.as_str(), Part::of(grown.blamed, grown.own, grown.others)));
    }
    parts.push((None, Threads::earlier(case.process.forked_from.is_some()), ended));
    parts.sort_by_key(|(tid, _, part)| (std::cmp::Reverse((part.most, part.least)), *tid));
    parts.truncate(MOST_BLAMED);
    let share = |bytes: u64| bytes as f64 / whole.max(1) as f64;
    // Those with a share worth naming.
    parts.retain(|(.., part)| share(part.most) >= 0.01);
    let named = parts.into_iter().map(|(tid, name, part)| ThreadShare {
        tid,
        name: name.to_owned(),
        share: share(part.most),
        certain_share: share(part.least),
        allocated_by_bytes: part.most,
    });
    named.collect()
}

/// By how much a row's allocated bytes have grown.
struct Grown {
    /// In the sizes that are to blame.
    blamed: u64,
    /// In all sizes by the thread that has it now,
    own: u64,
    /// and by those before it.
    others: u64,
}

impl Grown {
    /// Since `then`, or since the start where that is not known.
    fn of(thread: &Thread, then: Option<&Row>, classes: &[ClassShare]) -> Self {
        let (mut blamed, mut all) = (0u64, 0u64);
        for class in &thread.classes {
            let before = then.and_then(|row| row.allocated.get(&class.line).copied()).unwrap_or(0);
            let bytes = class.row_allocated_by_bytes.saturating_sub(before);
            all = all.saturating_add(bytes);
            if classes.iter().any(|blamed| blamed.line == class.line) {
                blamed = blamed.saturating_add(bytes);
            }
        }
        let had_it = then.is_some_and(|row| row.generation == thread.row_generation);
        let own = if had_it { all } else { thread.allocated_by_bytes.min(all) };
        Self { blamed, own, others: all - own }
    }
}
