//! Which sizes and which threads something comes from.

use super::rules::{BLAMED_SHARE, MOST_BLAMED};
use super::{Case, ClassShare, ThreadShare};
use crate::model::lines::{Line, ThreadLine};
use crate::model::{Process, Time};
use std::collections::{BTreeMap, VecDeque};

/// Figures by size and thread at earlier looks.
#[derive(Default)]
pub(crate) struct Baseline {
    looks: VecDeque<Look>,
}

struct Look {
    time: Time,
    allocated: Vec<(Line, u64)>,
    /// By thread and size: bytes allocated.
    threads: BTreeMap<(Option<u32>, Line), u64>,
}

/// Time between two looks that are kept, in seconds, and how many are.
const APART: f64 = 30.0;
const KEPT: usize = 16;

impl Baseline {
    /// Takes note of a look.
    pub(crate) fn take(&mut self, process: &Process, now: Time) {
        let recent = self.looks.back().is_some_and(|last| now.seconds_since(last.time) < APART);
        if recent {
            return;
        }
        let rows = process.threads.as_ref().map(|threads| threads.rows.as_slice()).unwrap_or_default();
        let threads = rows
            .iter()
            .flat_map(|row| row.classes.iter().map(|class| ((row.tid, class.line), class.row_allocated_by_bytes)));
        self.looks.push_back(Look { time: now, allocated: allocated(process), threads: threads.collect() });
        if self.looks.len() > KEPT {
            self.looks.pop_front();
        }
    }

    /// The last look before `time`.
    fn before(&self, time: Time) -> Option<&Look> {
        self.looks.iter().rev().find(|look| look.time <= time)
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

/// By how much each size has grown since then, as far as is known: else since the start.
pub(super) fn change_by_line(case: &Case<'_>, since: Time) -> Vec<(Line, u64)> {
    let before = |line: Line| -> u64 {
        if let Some(look) = case.evidence.baseline.before(since) {
            return look.allocated.iter().find(|(known, _)| *known == line).map_or(0, |(_, bytes)| *bytes);
        }
        let history = case.process.class_history.as_ref();
        let minute = history.and_then(|history| Some((history, history.at(since)?)));
        minute.and_then(|(history, at)| history.of(line)?.allocated_bytes.get(at).copied()).unwrap_or(0)
    };
    allocated(case.process).into_iter().map(|(line, bytes)| (line, bytes.saturating_sub(before(line)))).collect()
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
    /// Since the earliest look that is known: what goes on now.
    Watched,
}

/// Who allocated blocks of these sizes: the largest shares.
pub(super) fn threads(case: &Case<'_>, classes: &[ClassShare], over: Over) -> Vec<ThreadShare> {
    let rows = case.process.threads.as_ref().map(|threads| threads.rows.as_slice()).unwrap_or_default();
    // A minute's worth of looks says more than all that ever was; a moment's says nothing.
    let baseline = case.evidence.baseline.looks.front().filter(|_| over == Over::Watched);
    let baseline = baseline.filter(|look| case.now().seconds_since(look.time) >= case.evidence.rules.minute);
    let ours = |class: &&ThreadLine| classes.iter().any(|blamed| blamed.line == class.line);
    let mut shares: Vec<ThreadShare> = Vec::new();
    for row in rows {
        let bytes = row.classes.iter().filter(ours).map(|class| {
            let before = baseline.and_then(|look| look.threads.get(&(row.tid, class.line)).copied());
            class.row_allocated_by_bytes.saturating_sub(before.unwrap_or(0))
        });
        let bytes = bytes.fold(0, u64::saturating_add);
        shares.push(ThreadShare { tid: row.tid, name: row.name.clone(), share: 0.0, allocated_by_bytes: bytes });
    }
    let whole = shares.iter().fold(0u64, |sum, thread| sum.saturating_add(thread.allocated_by_bytes)) as f64;
    shares.sort_by_key(|thread| (std::cmp::Reverse(thread.allocated_by_bytes), thread.tid));
    shares.truncate(MOST_BLAMED);
    shares.retain(|thread| thread.allocated_by_bytes != 0);
    for thread in &mut shares {
        thread.share = thread.allocated_by_bytes as f64 / whole;
    }
    // Those with a share worth naming.
    shares.retain(|thread| thread.share >= 0.01);
    shares
}
