//! Every rule with a case for it, and the cases in which a simpler rule was wrong.

mod blame;
mod climbs;
mod days;
mod rows;
mod watched;

use super::rules::Rules;
use super::*;
use crate::model::fake::{CREATED, about, busy};
use crate::model::history::ClassSeries;
use crate::model::{ClassHistory, History, Point, State, Thread, ThreadLine, ThreadState};

const MIB: u64 = 1 << 20;
const MINUTES: u64 = 60;

/// A process whose allocated bytes have followed `curve`, by seconds since its start, for `age` seconds.
fn grown(age: u64, curve: impl Fn(f64) -> f64) -> Process {
    let mut process = busy().process(about(State::Live), 12);
    let point = |second: u64| {
        let bytes = curve(second as f64) as u64;
        Point {
            time: CREATED.plus_seconds(second),
            requested_bytes: bytes - bytes / 50,
            allocated_bytes: bytes,
            pinned_bytes: MIB,
            cached_bytes: MIB,
            allocations: second * 1000,
            frees: second * 900,
            cumulative_requested_bytes: (second * 64_000).saturating_add(bytes),
        }
    };
    let now = point(age);
    process.history = Some(History {
        seconds: (age.saturating_sub(120).max(1)..age).map(point).collect(),
        minutes: ((age / MINUTES).saturating_sub(119).max(1)..=age / MINUTES)
            .map(|minute| point(minute * MINUTES))
            .collect(),
        hours: Vec::new(),
    });
    process.class_history = None;
    process.threads.as_mut().unwrap().ended_lately = 0.0;
    let totals = &mut process.totals;
    totals.requested_bytes = Some(now.requested_bytes);
    totals.allocated_bytes = Some(now.allocated_bytes);
    totals.pinned_bytes = Some(now.pinned_bytes);
    totals.cached_bytes = Some(now.cached_bytes);
    totals.allocations = Some(now.allocations);
    totals.frees = Some(now.frees);
    totals.cumulative_requested_bytes = Some(now.cumulative_requested_bytes);
    totals.resident_bytes = Some(now.allocated_bytes.saturating_add(4 * MIB));
    totals.rss_bytes = Some(now.allocated_bytes.saturating_add(8 * MIB));
    process
}

fn now_of(process: &Process) -> Time {
    let history = process.history.as_ref().unwrap();
    history.seconds.last().map_or(CREATED, |point| point.time).plus_seconds(1)
}

fn examine(process: &Process, said: &Said) -> Vec<Finding> {
    let evidence = Evidence {
        now: now_of(process),
        said,
        footprints: &[],
        baseline: &Baseline::default(),
        rules: Rules::default(),
    };
    findings(process, &evidence)
}

fn kind(process: &Process) -> Option<Kind> {
    examine(process, &Vec::new()).first().map(|finding| finding.kind)
}

fn mib(figure: f64) -> f64 {
    figure * MIB as f64
}

#[test]
fn even_growth_is_a_suspected_leak_only_after_five_minutes() {
    let leak = |second: f64| mib(20.0 + second / 10.0);
    assert_eq!(kind(&grown(290, leak)), Some(Kind::Growing));
    assert_eq!(kind(&grown(310, leak)), Some(Kind::LeakSuspected));
    for age in [15, 30, 60, 119] {
        let process = grown(age * MINUTES, leak);
        let found = &examine(&process, &Vec::new())[0];
        assert_eq!(found.kind, Kind::LeakSuspected, "at {age} min");
        let rate = found.numbers.bytes_per_second.unwrap();
        assert!((0.09..0.11).contains(&(rate / MIB as f64)), "{rate}");
        assert!(found.numbers.seconds.unwrap() >= (age * MINUTES - 1) as f64, "{:?}", found.numbers);
    }
}

#[test]
fn the_rate_of_even_growth_is_right_wherever_the_minutes_fall_in_the_stretches() {
    for age in (301..1200).step_by(7) {
        let found = &examine(&grown(age, |second| mib(20.0 + second / 10.0)), &Vec::new())[0];
        let rate = found.numbers.bytes_per_second.unwrap() / MIB as f64;
        assert!((0.099..0.101).contains(&rate), "{rate} after {age} s: {found:?}");
    }
}

#[test]
fn growth_does_not_seem_to_begin_where_the_seconds_do() {
    // As far as the segment has seconds for who looks only once.
    let looked_at_once = |age: u64, curve: fn(f64) -> f64| {
        let mut process = grown(age, curve);
        process.history.as_mut().unwrap().seconds.drain(..2);
        let found = examine(&process, &Vec::new()).remove(0);
        assert_eq!(found.kind, Kind::Growing);
        let rate = found.numbers.bytes_per_second.unwrap() / MIB as f64;
        assert!((0.099..0.101).contains(&rate), "{rate}");
        found.numbers.seconds.unwrap()
    };
    let even = |second: f64| mib(20.0 + second / 10.0);
    assert_eq!([100, 119, 170, 200, 299].map(|age| looked_at_once(age, even)), [98.0, 117.0, 119.0, 140.0, 239.0]);
    // An hour of peace before it is no part of it.
    let late = |second: f64| mib(20.0 + (second - 3480.0).max(0.0) / 10.0);
    assert_eq!(looked_at_once(3660, late), 180.0);
}

#[test]
fn a_leak_of_one_in_a_hundred_is_seen_however_many_are_freed() {
    let mut process = grown(20 * MINUTES, |second| mib(20.0 + second / 20.0));
    process.totals.frees = process.totals.allocations.map(|allocations| allocations - allocations / 100);
    assert_eq!(kind(&process), Some(Kind::LeakSuspected));
}

#[test]
fn a_sawtooth_hides_no_leak_and_is_none_itself() {
    let tooth = |second: f64| if second as u64 % 10 < 3 { mib(30.0) } else { 0.0 };
    assert_eq!(kind(&grown(40 * MINUTES, |second| mib(50.0) + tooth(second))), Some(Kind::Varying));
    // The seconds see every floor; the minutes see one value of sixty, which stands in the same place of each tooth.
    assert_eq!(
        kind(&grown(40 * MINUTES, |second| mib(50.0 + second / 60.0) + tooth(second))),
        Some(Kind::LeakSuspected)
    );
}

#[test]
fn a_sawtooth_is_no_growth_however_long_its_teeth() {
    for period in [25, 40, 41, 60, 75, 90, 150, 200, 250, 300, 400, 600, 900] {
        let tooth = |second: f64| mib(5.0 + (second as u64 % period) as f64 * 100.0 / period as f64);
        for age in (2 * period + 1..4 * period + 600).step_by(7) {
            let found = &examine(&grown(age, tooth), &Vec::new())[0];
            let is_growth = matches!(found.kind, Kind::LeakSuspected | Kind::WarmingUp | Kind::Growing);
            // Since the last tooth began it does grow; where that lies in the first stretch, or minute, is not known.
            let coarse = |seconds: f64| (seconds / 10.0).max(if seconds > 119.0 { 60.0 } else { 0.0 });
            let begun = (age % period) as f64 + 1.0;
            let alone = found.numbers.seconds.is_some_and(|seconds| seconds - coarse(seconds) <= begun);
            assert!(!is_growth || alone, "{period} s at {age} s: {found:?}");
        }
    }
}

#[test]
fn growth_that_decays_is_warming_up_from_near_and_from_far() {
    for (age, constant) in [(10, 240.0), (20, 400.0), (60, 1000.0), (100, 1500.0)] {
        let process = grown(age * MINUTES, |second| mib(10.0 + 400.0 * (1.0 - (-second / constant).exp())));
        let found = kind(&process);
        assert!(!matches!(found, Some(Kind::LeakSuspected)), "{found:?} at {age} min");
    }
    assert_eq!(kind(&grown(10 * MINUTES, |s| mib(10.0 + 400.0 * (1.0 - (-s / 240.0).exp())))), Some(Kind::WarmingUp));
}

#[test]
fn a_leak_that_begins_after_a_warming_up_is_seen() {
    let curve = |second: f64| mib(if second < 60.0 { 3.0 * second } else { 180.0 + (second - 60.0) / 20.0 });
    let process = grown(60 * MINUTES, curve);
    let found = &examine(&process, &Vec::new())[0];
    assert_eq!(found.kind, Kind::LeakSuspected);
    // Or after hours of peace.
    let late = |second: f64| mib(if second < 5400.0 { 100.0 } else { 100.0 + (second - 5400.0) / 10.0 });
    assert_eq!(kind(&grown(118 * MINUTES, late)), Some(Kind::LeakSuspected));
}

#[test]
fn what_creeps_on_after_a_climb_does_not_grow() {
    // A server that has filled its tables in two seconds, and enlarges one now and then.
    let filled = |second: f64| mib((10.0 * second).min(20.0)) + second * 300.0;
    assert_eq!(kind(&grown(14, filled)), Some(Kind::Varying));
    assert_eq!(kind(&grown(30 * MINUTES, filled)), Some(Kind::Stable));
}

#[test]
fn small_growth_is_no_news() {
    assert_eq!(kind(&grown(60 * MINUTES, |second| mib(20.0) + second * 1000.0)), Some(Kind::Stable));
    // Five per cent of a large heap are needed.
    assert_eq!(kind(&grown(60 * MINUTES, |second| mib(2000.0 + second / 60.0))), Some(Kind::Stable));
}

#[test]
fn what_was_said_is_withdrawn_later_than_it_is_said() {
    // 4.5 MiB in an hour, where 5 % are 5.2.
    let process = grown(60 * MINUTES, |second| mib(100.0 + second / 720.0));
    assert_ne!(kind(&process), Some(Kind::LeakSuspected));
    let since = Some(CREATED);
    let said = vec![(Kind::LeakSuspected, since)];
    let found = &examine(&process, &said)[0];
    assert_eq!((found.kind, found.since), (Kind::LeakSuspected, since));
}

#[test]
fn memory_outside_the_heap_leads_unless_it_stands_and_the_heap_leaks() {
    let mut process = grown(20 * MINUTES, |second| mib(20.0 + second / 20.0));
    process.totals.rss_bytes = Some(300 * MIB);
    let found = examine(&process, &Vec::new());
    assert_eq!((found[0].kind, found[1].kind), (Kind::LeakSuspected, Kind::NotHeap));
    let (now, heap) = (now_of(&process), process.totals.resident_bytes.unwrap());
    let look = Footprint { time: Time(now.0 - 60_000_000_000), rss: 100 * MIB, heap: heap - MIB, held: heap - MIB };
    let evidence = Evidence {
        now,
        said: &Vec::new(),
        footprints: &[look],
        baseline: &Baseline::default(),
        rules: Rules::default(),
    };
    let found = findings(&process, &evidence);
    assert_eq!((found[0].kind, found[1].kind), (Kind::NotHeap, Kind::LeakSuspected));
    let mut flat = grown(20 * MINUTES, |_| mib(20.0));
    flat.totals.rss_bytes = Some(300 * MIB);
    assert_eq!(kind(&flat), Some(Kind::NotHeap));
    // Much of a small process is not heap: that is no news.
    process.totals.rss_bytes = process.totals.resident_bytes.map(|bytes| bytes + 60 * MIB);
    assert_eq!(kind(&process), Some(Kind::LeakSuspected));
}

#[test]
fn growth_outside_the_heap_is_seen_by_those_who_watch() {
    let mut process = grown(20 * MINUTES, |_| mib(100.0));
    process.totals.rss_bytes = Some(150 * MIB);
    let now = now_of(&process);
    let look = |seconds: u64, rss: u64| Footprint {
        time: Time(now.0 - seconds * 1_000_000_000),
        rss,
        heap: 104 * MIB,
        held: 102 * MIB,
    };
    let evidence = Evidence {
        now,
        said: &Vec::new(),
        footprints: &[look(100, 120 * MIB), look(50, 135 * MIB)],
        baseline: &Baseline::default(),
        rules: Rules::default(),
    };
    let found = &findings(&process, &evidence)[0];
    assert_eq!(found.kind, Kind::NotHeap);
    assert_eq!(found.numbers.bytes_per_second, Some(30.0 * MIB as f64 / 100.0));
}

#[test]
fn pinned_memory_is_fragmentation_and_names_its_class() {
    let mut process = grown(10 * MINUTES, |_| mib(20.0));
    let history = process.history.as_mut().unwrap();
    history.seconds.iter_mut().chain(&mut history.minutes).for_each(|point| point.pinned_bytes = 60 * MIB);
    process.totals.pinned_bytes = Some(60 * MIB);
    process.totals.resident_bytes = Some(90 * MIB);
    for class in process.size_classes.iter_mut().flatten() {
        (class.pinned_bytes, class.allocated_bytes) = (0, 0);
        if class.block_size == 4096 {
            (class.live_blocks, class.free_list_length, class.slabs) = (12, 468, 31);
            class.pinned_bytes = 468 * 4096;
        }
    }
    let found = &examine(&process, &Vec::new())[0];
    assert_eq!(found.kind, Kind::Fragmentation);
    let numbers = found.numbers;
    assert_eq!((numbers.live_blocks, numbers.carved_blocks, numbers.slabs), (Some(12), Some(480), Some(31)));
    assert_eq!(found.classes[0].line, Line::class(4096));
    assert_eq!(found.since, Some(CREATED.plus_seconds(60)));
    // One second without it, and it was no more than a moment's.
    let second = process.history.as_mut().unwrap().seconds.last_mut().unwrap();
    second.pinned_bytes = 0;
    assert_ne!(kind(&process), Some(Kind::Fragmentation));
}

#[test]
fn memory_that_was_never_asked_for_is_rounding() {
    let mut process = grown(10 * MINUTES, |_| mib(100.0));
    process.totals.requested_bytes = Some(60 * MIB);
    assert_eq!(kind(&process), Some(Kind::Rounding));
}

#[test]
fn free_memory_is_cache_only_once_it_has_stayed_for_twice_its_time() {
    let mut process = grown(10 * MINUTES, |_| mib(20.0));
    process.decay_seconds = Some(10.0);
    process.totals.cached_bytes = Some(100 * MIB);
    process.totals.resident_bytes = Some(130 * MIB);
    let seconds = &mut process.history.as_mut().unwrap().seconds;
    let many = seconds.len();
    seconds[many - 15..].iter_mut().for_each(|point| point.cached_bytes = 100 * MIB);
    assert_ne!(kind(&process), Some(Kind::Cache));
    process.decay_seconds = Some(5.0);
    assert_eq!(kind(&process), Some(Kind::Cache));
}

#[test]
fn turnover_without_growth_is_churn() {
    let mut process = grown(10 * MINUTES, |_| mib(10.0));
    let churn = |point: &mut Point| {
        let seconds = point.time.seconds_since(CREATED) as u64;
        point.allocations = seconds * 80_000;
        point.frees = point.allocations - 1000;
        point.cumulative_requested_bytes = seconds * 50 * MIB;
    };
    let history = process.history.as_mut().unwrap();
    history.seconds.iter_mut().chain(&mut history.minutes).for_each(churn);
    process.totals.allocations = Some(600 * 80_000);
    process.totals.cumulative_requested_bytes = Some(600 * 50 * MIB);
    assert_eq!(kind(&process), Some(Kind::Churn));
    // The same bytes in a few large blocks are not.
    let history = process.history.as_mut().unwrap();
    history.seconds.iter_mut().chain(&mut history.minutes).for_each(|point| point.allocations /= 100);
    process.totals.allocations = Some(6 * 80_000);
    assert_eq!(kind(&process), Some(Kind::Stable));
}

#[test]
fn threads_that_come_and_go_and_what_they_leave_are_seen() {
    let mut process = grown(10 * MINUTES, |_| mib(50.0));
    let threads = process.threads.as_mut().unwrap();
    (threads.ends_per_second, threads.ended_lately, threads.stranded_bytes) = (Some(12.0), 60.0, 20 * MIB);
    assert_eq!(kind(&process), Some(Kind::ThreadChurn));
    // Twelve workers that end together, in a program one second old.
    process.threads.as_mut().unwrap().ended_lately = 12.0;
    assert_eq!(kind(&process), Some(Kind::Stranded));
    process.threads.as_mut().unwrap().stranded_bytes = 4 * MIB;
    assert_eq!(kind(&process), Some(Kind::Stable));
}

#[test]
fn too_little_history_gives_no_verdict_and_absurd_figures_no_panic() {
    let mut process = grown(1, |_| mib(1.0));
    process.history = Some(History::default());
    assert_eq!(kind(&process), None);
    let mut process = grown(10 * MINUTES, |_| u64::MAX as f64);
    process.totals.allocations = Some(0);
    process.totals.requested_bytes = Some(u64::MAX);
    let history = process.history.as_mut().unwrap();
    history.seconds.iter_mut().for_each(|point| point.pinned_bytes = u64::MAX);
    examine(&process, &Vec::new());
    history_backwards(process);
}

fn history_backwards(mut process: Process) {
    let history = process.history.as_mut().unwrap();
    history.seconds.reverse();
    history.minutes.reverse();
    examine(&process, &Vec::new());
}

#[test]
fn a_heap_of_next_to_nothing_does_not_lead_before_memory_outside_it() {
    let mut process = grown(20 * MINUTES, |second| mib(2.0 + second / 100.0));
    process.totals.rss_bytes = Some(1000 * MIB);
    let found = examine(&process, &Vec::new());
    assert_eq!((found[0].kind, found[1].kind), (Kind::NotHeap, Kind::LeakSuspected));
}

#[test]
fn blocks_that_come_into_use_are_seen_by_those_who_watch() {
    let mut process = grown(20 * MINUTES, |_| mib(1000.0));
    process.totals.resident_bytes = Some(400 * MIB);
    process.totals.rss_bytes = Some(404 * MIB);
    let now = now_of(&process);
    let looked = |process: &Process, heap: u64| {
        let look = Footprint { time: Time(now.0 - 60_000_000_000), rss: heap + 4 * MIB, heap, held: 1002 * MIB };
        let baseline = Baseline::default();
        let evidence =
            Evidence { now, said: &Vec::new(), footprints: &[look], baseline: &baseline, rules: Rules::default() };
        findings(process, &evidence).swap_remove(0)
    };
    let found = looked(&process, 340 * MIB);
    assert_eq!((found.kind, found.numbers.bytes_per_second), (Kind::Filling, Some(MIB as f64)));
    assert_eq!(looked(&process, 390 * MIB).kind, Kind::Stable);
    // What new blocks bring in is none of it.
    let mut growing = grown(20 * MINUTES, |second| mib(1000.0 + (second - 1140.0).max(0.0)));
    growing.totals.resident_bytes = Some(400 * MIB);
    growing.totals.rss_bytes = Some(404 * MIB);
    assert_ne!(looked(&growing, 340 * MIB).kind, Kind::Filling);
}
