//! Rows that threads have taken from others: who is to blame for what is counted there.

use super::*;
use crate::model::Threads;
use crate::model::derive::Detail;

/// A thread that did `own` of the bytes that its row's threads allocated, by size.
fn thread(name: &str, generation: u64, own: u64, sizes: &[(u64, u64)]) -> Thread {
    let line = |&(size, bytes): &(u64, u64)| ThreadLine::whole(Line::class(size), [bytes / size, 0, bytes, 0]);
    let some = busy().process(about(State::Live), 12).threads.unwrap().rows.swap_remove(0);
    Thread {
        tid: Some(generation as u32),
        name: name.into(),
        row: 1,
        row_generation: generation,
        allocated_by_bytes: own,
        classes: sizes.iter().map(line).collect(),
        ..some
    }
}

/// A process that grows in class 1024, with this thread alone.
fn leaking(thread: Thread) -> Process {
    with_bytes(thread, 60 * MIB)
}

fn with_bytes(thread: Thread, bytes: u64) -> Process {
    let mut process = grown(20 * MINUTES, |second| mib(20.0 + second / 20.0));
    for class in process.size_classes.iter_mut().flatten() {
        class.allocated_bytes = if class.block_size == 1024 { bytes } else { 0 };
    }
    process.large.as_mut().unwrap().classes.clear();
    process.threads.as_mut().unwrap().rows = vec![thread];
    process
}

/// Who is blamed: names, and hundredths of the whole, at least and at most.
fn blamed(process: &Process, baseline: &Baseline) -> Vec<(String, u64, u64)> {
    let evidence =
        Evidence { now: now_of(process), said: &Vec::new(), footprints: &[], baseline, rules: Rules::default() };
    let hundredths = |share: f64| (share * 100.0).round() as u64;
    let shares = findings(process, &evidence).swap_remove(0).threads;
    let named = shares.into_iter().map(|one| (one.name, hundredths(one.certain_share), hundredths(one.share)));
    named.collect()
}

fn named(name: &str, least: u64, most: u64) -> (String, u64, u64) {
    (name.into(), least, most)
}

/// What was seen of a thread nineteen minutes ago.
fn seen(thread: Thread, detail: Detail) -> Baseline {
    let mut baseline = Baseline::default();
    baseline.take(&with_bytes(thread, 5 * MIB), CREATED.plus_seconds(MINUTES), detail);
    baseline
}

#[test]
fn a_thread_is_not_blamed_for_what_ended_threads_of_its_row_allocated() {
    let innocent = thread("innocent", 201, 2112, &[(16, 2112), (1024, 200 * MIB)]);
    assert_eq!(blamed(&leaking(innocent), &Baseline::default()), [named("ended threads", 100, 100)]);
    // Nor an ended one for those that had its row before.
    let last = Thread { state: ThreadState::Ended, ..thread("leaker", 200, 4 * MIB, &[(1024, 200 * MIB)]) };
    let both = [named("ended threads", 98, 98), named("leaker", 2, 2)];
    assert_eq!(blamed(&leaking(last), &Baseline::default()), both);
}

#[test]
fn a_thread_that_may_be_innocent_is_named_with_the_most_it_can_have_done() {
    // Whoever of the row's threads it was: as much was allocated in the one size as in the other.
    let process = leaking(thread("heir", 2, 80 * MIB, &[(16, 80 * MIB), (1024, 100 * MIB)]));
    assert_eq!(blamed(&process, &Baseline::default()), [named("ended threads", 20, 100), named("heir", 0, 80)]);
    // Of a thread that did nearly all of its row's work as much is known.
    let process = leaking(thread("worker", 2, 1000 * MIB, &[(16, 501 * MIB), (1024, 500 * MIB)]));
    assert_eq!(blamed(&process, &Baseline::default()), [named("worker", 100, 100)]);
}

#[test]
fn of_a_thread_that_was_seen_before_the_difference_is_its_own() {
    let before = |generation| thread("worker", generation, 0, &[(1024, 100 * MIB)]);
    let worker = || leaking(thread("worker", 7, 70 * MIB, &[(16, 60 * MIB), (1024, 110 * MIB)]));
    assert_eq!(blamed(&worker(), &seen(before(7), Detail::Full)), [named("worker", 100, 100)]);
    // Where the row has changed hands since, nobody knows whose the 10 MiB are; what was before is of no matter.
    let heir = leaking(thread("heir", 8, MIB, &[(1024, 110 * MIB)]));
    let shares = [named("ended threads", 90, 90), named("heir", 10, 10)];
    assert_eq!(blamed(&heir, &seen(before(7), Detail::Full)), shares);
}

#[test]
fn what_was_allocated_before_the_growth_began_is_not_to_blame_for_it() {
    let at = |minute: u64, loaded: u64| {
        let leaked = minute.saturating_sub(15) * 60 * MIB;
        let mut process = with_bytes(thread("leaker", 1, leaked, &[(1024, leaked)]), loaded + leaked);
        let history = grown(minute * MINUTES, |second| mib(1000.0 + (second - 900.0).max(0.0)));
        (process.history, process.totals) = (history.history, history.totals);
        let loader = Thread { row: 0, ..thread("loader", 1, loaded, &[(1024, loaded)]) };
        process.threads.as_mut().unwrap().rows.push(loader);
        process
    };
    let mut baseline = Baseline::default();
    for (minute, loaded) in [(1, MIB), (14, 1000 * MIB), (18, 1000 * MIB)] {
        baseline.take(&at(minute, loaded), CREATED.plus_seconds(minute * MINUTES), Detail::Full);
    }
    assert_eq!(blamed(&at(20, 1000 * MIB), &baseline), [named("leaker", 100, 100)]);
}

#[test]
fn a_look_without_sizes_is_no_baseline() {
    let before = thread("worker", 7, 30 * MIB, &[]);
    let worker = leaking(thread("worker", 7, 30 * MIB, &[(1024, 110 * MIB)]));
    let shares = [named("ended threads", 73, 73), named("worker", 27, 27)];
    assert_eq!(blamed(&worker, &seen(before, Detail::Line)), shares);
}

#[test]
fn a_forked_child_is_not_blamed_for_its_parent() {
    let mut process = leaking(thread("child", 1, MIB, &[(1024, 200 * MIB)]));
    process.forked_from = Some(1);
    assert_eq!(blamed(&process, &Baseline::default()), [named(Threads::earlier(true), 100, 100)]);
}
