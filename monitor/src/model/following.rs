//! What is remembered of a process from look to look, and what that adds to the present look. Pure: it is told the
//! time, and knows nothing of where looks come from.

use super::chain::{self, Chain};
use super::derive::Detail;
use super::diagnosis::rules::Rules;
use super::diagnosis::{self, Baseline, Evidence, Footprint, Said};
use super::limits::Growth;
use super::lines::Line;
use super::log::Log;
use super::threads::RATE_AGE;
use super::{Limits, Process, Thread, ThreadState, Time};
use std::collections::{HashMap, VecDeque};

/// Looks older than this, in seconds, say nothing about the present rate.
const RATE_OLDEST: f64 = 15.0;
/// Footprints: so far apart, in the rules' minutes, and so many.
const FOOTPRINTS_APART: f64 = 0.1;
const FOOTPRINTS_KEPT: usize = 64;
/// Ended threads that are remembered when others have taken their rows, and for so long, in seconds.
const GONE_KEPT: usize = 64;
const GONE_FOR: f64 = 300.0;
/// Looks whose bytes by size are shown, the present one among them.
const RECENT_KEPT: usize = 60;

/// What is remembered of one process.
#[derive(Default)]
pub(crate) struct Following {
    rules: Rules,
    said: Said,
    baseline: Baseline,
    footprints: Vec<Footprint>,
    counts: VecDeque<Counts>,
    chains: VecDeque<(Time, Chain)>,
    recent: VecDeque<HashMap<Line, u64>>,
    threads: Vec<Thread>,
    gone: VecDeque<(Time, Thread)>,
    log: Log,
}

/// Counters at one look.
struct Counts {
    time: Time,
    /// By size: blocks handed out and taken back, allocated bytes.
    lines: HashMap<Line, [u64; 3]>,
    /// By thread (ID and start): blocks handed out and taken back.
    threads: HashMap<(Option<u32>, Option<Time>), [u64; 2]>,
    started: u64,
    ended: u64,
}

impl Following {
    /// Nothing known yet.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// Goes on after the process has replaced its program.
    pub(crate) fn after_exec(before: Self, old_name: &str, name: &str, now: Time) -> Self {
        Self { rules: before.rules, log: Log::after_exec(before.log, old_name, name, now), ..Self::default() }
    }

    /// Takes note of a look, and completes it: rates by size and thread, changes, diagnosis, log.
    ///
    /// A dead process is judged as of its end, and by what was known while it lived: else the next look at it would
    /// say something else.
    pub(crate) fn take(&mut self, process: &mut Process, now: Time, detail: Detail) {
        let judged = process.end.unwrap_or(now);
        self.rates(process, judged);
        if detail == Detail::Full {
            self.recent(process);
        }
        self.remember_threads(process, judged);
        self.changes(process, judged);
        self.diagnose(process, judged);
        if process.state.is_past() {
            forget_thread_rates(process);
        } else {
            self.note(process, now, detail);
        }
        let growth = Growth::of(process, self.growth_outside(process, judged));
        process.limits =
            process.limits.map(|known| Limits::at_growth(known.cgroup_limit_bytes, known.cgroup_used_bytes, &growth));
        self.log.take(process, now);
        process.log = self.log.entries();
    }

    /// Keeps what later looks are compared with.
    fn note(&mut self, process: &Process, now: Time, detail: Detail) {
        let is_past = |last: Time, apart: f64| now.seconds_since(last) >= apart;
        if self.counts.back().is_none_or(|last| is_past(last.time, 0.5)) {
            self.counts.push_back(Counts::of(process, now));
        }
        if self.chains.back().is_none_or(|(last, _)| is_past(*last, 0.9)) {
            self.chains.push_back((now, Chain::of(&process.totals)));
        }
        self.baseline.take(process, now, detail);
        let due = self.footprints.last().is_none_or(|last| is_past(last.time, FOOTPRINTS_APART * self.rules.minute));
        if let Some(look) = Footprint::of(process, now).filter(|_| due) {
            self.footprints.push(look);
            if self.footprints.len() > FOOTPRINTS_KEPT {
                self.footprints.remove(0);
            }
        }
    }

    /// Bytes a second by which the memory outside the heap has grown, where it was watched for half a minute or more.
    fn growth_outside(&self, process: &Process, now: Time) -> Option<f64> {
        let present = Footprint::of(process, now)?;
        let first = diagnosis::earliest(&self.footprints, now, &self.rules)?;
        Some((present.bytes() - first.bytes()) / now.seconds_since(first.time))
    }

    fn diagnose(&mut self, process: &mut Process, now: Time) {
        let evidence = Evidence {
            now,
            said: &self.said,
            footprints: &self.footprints,
            baseline: &self.baseline,
            rules: self.rules,
        };
        let findings = diagnosis::findings(process, &evidence);
        if !process.state.is_past() {
            self.said = findings.iter().map(|finding| (finding.kind, finding.since)).collect();
        }
        process.diagnosis = diagnosis::diagnosis(findings);
    }

    /// Rates by size and thread, from the look that is about five seconds old.
    fn rates(&mut self, process: &mut Process, now: Time) {
        while self.counts.len() > 1 && now.seconds_since(self.counts[1].time) >= RATE_AGE {
            self.counts.pop_front();
        }
        let then = self.counts.front().filter(|then| (0.05..=RATE_OLDEST).contains(&now.seconds_since(then.time)));
        if let Some(then) = then {
            let per_second = PerSecond(now.seconds_since(then.time));
            rates_of_threads(process, then, &per_second);
            if !process.state.is_past() {
                rates_of_sizes(process, then, &per_second);
            }
        } else {
            growth_since_the_last_minute(process, now);
        }
    }

    /// Bytes by size at the last looks.
    fn recent(&mut self, process: &mut Process) {
        let classes = process.size_classes.iter().flatten().filter(|class| class.allocations != 0);
        let classes = classes.map(|class| (Line::class(class.block_size), class.allocated_bytes));
        let buckets = process.large.iter().flat_map(|large| &large.classes);
        let buckets = buckets.map(|bucket| (Line::bucket(bucket.up_to_bytes), bucket.allocated_bytes));
        let present: HashMap<Line, u64> = classes.chain(buckets).collect();
        let looks = self.recent.iter().chain(std::iter::once(&present));
        let series = |line: Line| looks.clone().filter_map(|look| look.get(&line).copied()).collect();
        for class in process.size_classes.iter_mut().flatten().filter(|class| class.allocations != 0) {
            class.recent_bytes = series(Line::class(class.block_size));
        }
        for bucket in process.large.iter_mut().flat_map(|large| &mut large.classes) {
            bucket.recent_bytes = series(Line::bucket(bucket.up_to_bytes));
        }
        if !process.state.is_past() {
            self.recent.push_back(present);
            if self.recent.len() >= RECENT_KEPT {
                self.recent.pop_front();
            }
        }
    }

    /// Keeps threads that have ended and whose row another has taken.
    fn remember_threads(&mut self, process: &mut Process, now: Time) {
        let Some(threads) = &mut process.threads else { return };
        let same = |one: &Thread, other: &Thread| one.tid == other.tid && one.start_time == other.start_time;
        for known in std::mem::take(&mut self.threads) {
            if !threads.rows.iter().any(|row| same(row, &known)) && known.state != ThreadState::Shared {
                let end_time = known.end_time.or(Some(now));
                self.gone.push_back((now, Thread { state: ThreadState::Ended, end_time, ..known }));
            }
        }
        while self.gone.len() > GONE_KEPT
            || self.gone.front().is_some_and(|(noticed, _)| now.seconds_since(*noticed) > GONE_FOR)
        {
            self.gone.pop_front();
        }
        self.threads = threads.rows.iter().map(|row| Thread { classes: Vec::new(), ..row.clone() }).collect();
        threads.gone = self.gone.iter().map(|(_, thread)| thread.clone()).collect();
    }

    /// How the chain of bytes has changed over the last minute.
    fn changes(&mut self, process: &mut Process, now: Time) {
        let present = Chain::of(&process.totals);
        let minute = Time(now.0.saturating_sub(60_000_000_000));
        let seen = self.chains.iter().rev().find(|(time, _)| *time <= minute).map(|(_, chain)| *chain);
        let known = chain::in_history(process, minute);
        let before = known.map(|known| known.or(&seen.unwrap_or_default())).or(seen);
        process.last_minute = before.map(|before| present.since(&before));
        while self.chains.get(1).is_some_and(|(time, _)| *time <= minute) {
            self.chains.pop_front();
        }
    }
}

/// The seconds that a change took.
struct PerSecond(f64);

impl PerSecond {
    fn of(&self, now: u64, then: u64) -> Option<f64> {
        Some((now as f64 - then as f64) / self.0)
    }
}

/// The rates of each size, and of each thread's calls.
fn rates_of_sizes(process: &mut Process, then: &Counts, per_second: &PerSecond) {
    for class in process.size_classes.iter_mut().flatten() {
        let before = then.lines.get(&Line::class(class.block_size)).copied().unwrap_or_default();
        class.allocations_per_second = per_second.of(class.allocations, before[0]);
        class.frees_per_second = per_second.of(class.frees, before[1]);
        class.growth_bytes_per_second = per_second.of(class.allocated_bytes, before[2]);
    }
    for bucket in process.large.iter_mut().flat_map(|large| &mut large.classes) {
        let before = then.lines.get(&Line::bucket(bucket.up_to_bytes)).copied().unwrap_or_default();
        bucket.allocations_per_second = per_second.of(bucket.allocations, before[0]);
        bucket.frees_per_second = per_second.of(bucket.frees, before[1]);
        bucket.growth_bytes_per_second = per_second.of(bucket.allocated_bytes, before[2]);
    }
    for row in process.threads.iter_mut().flat_map(|threads| &mut threads.rows) {
        let before = then.threads.get(&(row.tid, row.start_time)).copied().unwrap_or_default();
        row.allocations_per_second = per_second.of(row.allocations, before[0]);
        row.frees_per_second = per_second.of(row.frees, before[1]);
    }
}

/// How fast threads come and go, also in the last seconds of a dead process: the diagnosis goes by it.
fn rates_of_threads(process: &mut Process, then: &Counts, per_second: &PerSecond) {
    let Some(threads) = &mut process.threads else { return };
    threads.starts_per_second = per_second.of(threads.started, then.started);
    threads.ends_per_second = per_second.of(threads.ended, then.ended);
    let seconds = per_second.0;
    let watched = threads.ends_per_second.unwrap_or(0.0) * seconds.min(RATE_AGE);
    // Until it has been watched for so long, the look by itself may know of more.
    threads.ended_lately = if seconds < RATE_AGE { watched.max(threads.ended_lately) } else { watched };
}

/// A dead process does nothing any more: like its other rates, these are unknown.
fn forget_thread_rates(process: &mut Process) {
    if let Some(threads) = &mut process.threads {
        (threads.starts_per_second, threads.ends_per_second) = (None, None);
    }
}

/// The growth of the classes at the first look: since the end of the last minute in the history.
fn growth_since_the_last_minute(process: &mut Process, now: Time) {
    let Some(history) = process.class_history.as_ref().filter(|_| !process.state.is_past()) else { return };
    let Some(&then) = history.times.last() else { return };
    let seconds = now.seconds_since(then).max(1.0);
    for class in process.size_classes.iter_mut().flatten().filter(|class| class.allocations != 0) {
        let series = history.of(Line::class(class.block_size));
        let before = series.and_then(|series| series.allocated_bytes.last().copied()).unwrap_or(0);
        class.growth_bytes_per_second = Some((class.allocated_bytes as f64 - before as f64) / seconds);
    }
}

impl Counts {
    fn of(process: &Process, time: Time) -> Self {
        let classes = process
            .size_classes
            .iter()
            .flatten()
            .map(|class| (Line::class(class.block_size), [class.allocations, class.frees, class.allocated_bytes]));
        let buckets = process.large.iter().flat_map(|large| &large.classes).map(|bucket| {
            (Line::bucket(bucket.up_to_bytes), [bucket.allocations, bucket.frees, bucket.allocated_bytes])
        });
        let threads = process.threads.as_ref();
        let rows = threads.iter().flat_map(|threads| &threads.rows);
        Self {
            time,
            lines: classes.chain(buckets).filter(|(_, counts)| counts[0] != 0).collect(),
            threads: rows.map(|row| ((row.tid, row.start_time), [row.allocations, row.frees])).collect(),
            started: threads.map_or(0, |threads| threads.started),
            ended: threads.map_or(0, |threads| threads.ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;
    use crate::model::fake::{CREATED, about, busy};

    fn look(change: impl FnOnce(&mut Process)) -> Process {
        let mut process = busy().process(about(State::Live), 12);
        change(&mut process);
        process
    }

    #[test]
    fn rates_by_size_and_thread_are_taken_over_five_seconds() {
        let mut following = Following::new(Rules::default());
        let mut last = look(|_| {});
        for second in 0..=20 {
            last = look(|process| {
                process.size_classes.as_mut().unwrap()[3].allocations += 30 * second;
                let threads = process.threads.as_mut().unwrap();
                threads.ended += 12 * second;
                threads.rows[0].frees += 7 * second;
            });
            following.take(&mut last, CREATED.plus_seconds(20 + second), Detail::Full);
        }
        let class = &last.size_classes.as_ref().unwrap()[3];
        assert_eq!((class.allocations_per_second, class.frees_per_second), (Some(30.0), Some(0.0)));
        let threads = last.threads.unwrap();
        assert_eq!((threads.ends_per_second, threads.rows[0].frees_per_second), (Some(12.0), Some(7.0)));
        assert_eq!(threads.ended_lately, 60.0);
    }

    #[test]
    fn what_a_first_look_says_of_ended_threads_holds_until_enough_was_watched() {
        let mut following = Following::new(Rules::default());
        let lately: Vec<f64> = (0..=6)
            .map(|second| {
                let mut process = look(|process| {
                    let threads = process.threads.as_mut().unwrap();
                    threads.ended += 15 * second;
                    threads.ended_lately = 70.0;
                });
                following.take(&mut process, CREATED.plus_seconds(20 + second), Detail::Full);
                process.threads.unwrap().ended_lately
            })
            .collect();
        assert_eq!(lately, [70.0, 70.0, 70.0, 70.0, 70.0, 75.0, 75.0]);
    }

    #[test]
    fn a_thread_whose_row_was_taken_over_is_remembered_as_ended() {
        let mut following = Following::new(Rules::default());
        following.take(&mut look(|_| {}), CREATED.plus_seconds(20), Detail::Full);
        let mut later = look(|process| {
            let row = &mut process.threads.as_mut().unwrap().rows[1];
            (row.tid, row.start_time) = (Some(4444), Some(CREATED.plus_seconds(21)));
        });
        following.take(&mut later, CREATED.plus_seconds(22), Detail::Full);
        let gone = &later.threads.unwrap().gone;
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].tid, gone[0].state), (Some(1235), ThreadState::Ended));
        assert_eq!(gone[0].end_time, Some(CREATED.plus_seconds(22)));
    }

    #[test]
    fn changes_come_from_the_history_and_else_from_earlier_looks() {
        let mut following = Following::new(Rules::default());
        let mut process = look(|_| {});
        following.take(&mut process, CREATED.plus_seconds(12), Detail::Full);
        assert_eq!(process.last_minute, None);
        let mut process = look(|process| process.totals.rss_bytes = Some(5 << 20));
        following.take(&mut process, CREATED.plus_seconds(80), Detail::Full);
        let change = process.last_minute.unwrap();
        assert_eq!(change.rss_bytes, Some(2 << 20));
        // From the ring: nothing was written after the eighth second, so it has been what it is since its end.
        assert_eq!(change.requested_bytes, Some(0));
    }
}
