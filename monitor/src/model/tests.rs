//! What is made of a made-up segment.

mod ended;

use super::derive::{Detail, main_threads_name};
use super::diagnosis::Kind;
use super::diagnosis::rules::Rules;
use super::fake::{CREATED, Fake, about, busy, taken_over};
use super::following::Following;
use super::{History, Line, Point, Process, State};
use shm_layout::class::{BUCKETS, CLASSES};
use shm_layout::layout::{CLASSES_OFFSET, GLOBALS_OFFSET, Globals, Row, row_state};
use shm_layout::reader::Reader;
use std::mem::offset_of;

#[test]
fn figures_are_derived_as_they_are_defined() {
    let process = busy().process(about(State::Live), 12);
    let totals = &process.totals;
    let requested = (5_000 + 1_000 - 500 - 2_000) + 100_000;
    let allocated = 70 * 64 + 102_400;
    let pinned = (1_024 - 70) * 64;
    assert_eq!(totals.requested_bytes, Some(requested));
    assert_eq!(totals.allocated_bytes, Some(allocated));
    assert_eq!(totals.pinned_bytes, Some(pinned));
    assert_eq!(totals.active_bytes, Some(allocated + pinned));
    assert_eq!(totals.internal_fragmentation_bytes, Some(allocated - requested));
    assert_eq!(totals.other_bytes, Some((1 << 20) - (allocated + pinned + 131_072 + 65_536) as i64));
    assert_eq!(totals.live_blocks, Some(71));
    assert_eq!((totals.allocations, totals.frees), (Some(129), Some(58)));
    assert_eq!(totals.cumulative_requested_bytes, Some(206_070));
    assert_eq!(totals.cumulative_allocated_bytes, Some(120 * 64 + 7 * 16 + 204_800));
    // One peak was stored, the other is the present.
    assert_eq!((totals.peak_requested_bytes, totals.peak_allocated_bytes), (Some(150_000), Some(allocated)));
    assert_eq!((totals.reallocations, totals.remote_frees), (Some(3), Some(40)));

    let classes = process.size_classes.as_deref().unwrap();
    assert_eq!(classes.len(), CLASSES);
    assert_eq!((classes[3].free_list_length, classes[3].slabs, classes[0].slabs), (954, 1, 0));
    let large = process.large.as_ref().unwrap();
    assert_eq!((large.classes.len(), large.live_blocks, large.allocated_bytes), (BUCKETS, 1, 102_400));
    assert_eq!((large.classes[1].up_to_bytes, large.classes[BUCKETS - 1].up_to_bytes), (Some(131_072), None));
}

/// Ten blocks a second, at once: each slot has what there was before those of its second.
#[test]
fn a_program_that_works_in_bursts_has_the_rate_of_its_bursts() {
    let mut fake = busy();
    (0..12).for_each(|second| fake.second(second, 1_000 * second, 10 * second));
    let rates = fake.process(about(State::Live), 12).rates;
    assert_eq!(rates.allocations_per_second, Some(10.0));
    assert_eq!(rates.requested_growth_bytes_per_second, Some(1_000.0));
}

#[test]
fn a_thread_shows_only_what_it_did_itself() {
    let process = busy().process(about(State::Live), 12);
    let threads = process.threads.unwrap();
    assert_eq!((threads.live, threads.rows.len()), (2, 3));
    let second = &threads.rows[1];
    assert_eq!((second.tid, second.frees, second.freed_by_bytes), (Some(1235), 10, 500));
    assert_eq!((second.allocations, second.allocated_by_bytes), (20, 1_000));
}

#[test]
fn figures_by_size_of_a_row_that_was_taken_over_do_not_exceed_the_threads_own() {
    let process = taken_over().process(about(State::Live), 12);
    let thread = &process.threads.as_ref().unwrap().rows[0];
    assert_eq!((thread.allocations, thread.allocated_by_bytes), (2, 32));
    let bounds: Vec<(u64, u64)> =
        thread.classes.iter().map(|class| (class.allocated_by_bytes.least, class.allocated_by_bytes.most)).collect();
    assert_eq!(bounds, [(0, 32), (0, 32)]);
    let json = serde_json::to_value(thread).unwrap();
    assert_eq!(json["classes"][1]["allocated_by_bytes"], serde_json::Value::Null);
    assert_eq!(json["classes"][1]["row_allocated_by_bytes"], 60_000);
    // What a first thread did is known.
    let mut first = taken_over();
    (0..4).for_each(|at| first.row_word(1, offset_of!(Row, base) + 8 * at, 0));
    let process = first.process(about(State::Live), 12);
    let thread = &process.threads.as_ref().unwrap().rows[0];
    let known: Option<u64> = thread.classes.iter().map(|class| class.allocated_by_bytes.exact()).sum();
    assert_eq!(known, Some(thread.allocated_by_bytes));
}

#[test]
fn what_a_rows_earlier_threads_left_and_took_over_is_not_its_present_threads() {
    let process = taken_over().process(about(State::Live), 12);
    let thread = &process.threads.as_ref().unwrap().rows[0];
    assert_eq!((thread.remote_collected, thread.abandoned_bytes), (None, None));
    assert_eq!((thread.row_remote_collected, thread.row_abandoned_bytes), (9, 10 << 20));
    // Where no thread of the row did it, this one did not either.
    assert_eq!(thread.adopted_bytes, Some(0));
    // The first thread of a row has the row's figures; but not in a forked child, where they are the parent's as well.
    let mut first = taken_over();
    [offset_of!(Row, generation), offset_of!(Row, taken)].into_iter().for_each(|field| first.row_word(1, field, 1));
    let left = |fake: &Fake| fake.process(about(State::Live), 12).threads.unwrap().rows[0].abandoned_bytes;
    assert_eq!(left(&first), None);
    (0..4).for_each(|at| first.row_word(1, offset_of!(Row, base) + 8 * at, 0));
    assert_eq!(left(&first), Some(10 << 20));
}

#[test]
fn the_history_of_the_dead_ends_with_their_last_sign() {
    let mut fake = busy();
    // Of a minute that had not ended.
    fake.minute(0, 3, 100, 7);
    let live = fake.process(about(State::Live), 12).history.unwrap();
    let dead = fake.process(about(State::Crashed), 12);
    assert_eq!(live.seconds.len(), 12);
    let dead_history = dead.history.unwrap();
    assert_eq!(dead_history.seconds.len(), 8);
    assert_eq!(dead_history.seconds[2].requested_bytes, 1_000);
    // What came after the last slot was written has been since its end.
    let requested = |seconds: &[Point]| seconds[6..].iter().map(|point| point.requested_bytes).collect::<Vec<_>>();
    assert_eq!(requested(&dead_history.seconds), [60_000, 103_500]);
    assert_eq!(requested(&live.seconds), [60_000, 103_500, 103_500, 103_500, 103_500, 103_500]);
    assert_eq!((dead.uptime_seconds, dead.rates.allocations_per_second), (None, None));
}

#[test]
fn a_program_that_freed_all_and_went_idle_has_a_cache_although_its_last_slot_says_otherwise() {
    let mut fake = Fake::new(77, 1);
    fake.line(0, 3, [1_000_000, 64_000_000, 1_000_000, 64_000_000, 64_000_000, 64_000_000, 1, 1]);
    fake.global(offset_of!(Globals, cached), 64_000_000);
    (1..=40).for_each(|second| fake.second(second, 64_000_000, 1_000_000));
    let mut process = fake.process(about(State::Live), 60);
    process.totals.resident_bytes = Some(70_000_000);
    process.decay_seconds = Some(1.0);
    let mut following = Following::new(Rules::default());
    following.take(&mut process, CREATED.plus_seconds(60), Detail::Full);
    assert_eq!(process.diagnosis.unwrap().finding.kind, Kind::Cache);
}

#[test]
fn a_program_idle_since_its_first_moments_has_been_what_it_is() {
    let mut fake = Fake::new(77, 1);
    fake.line(0, 3, [0, 0, 100, 5_000, 102_400, 0, 1, 0]);
    let process = fake.process(about(State::Live), 400);
    let history = process.history.as_ref().unwrap();
    assert_eq!((history.seconds.len(), history.minutes.len(), history.hours.len()), (120, 6, 0));
    assert!(history.seconds.iter().all(|point| (point.requested_bytes, point.allocations) == (5_000, 100)));
    // How evenly it came to that, nobody knows: a program of few calls comes by the rings as seldom.
    assert_eq!(process.rates.allocations_per_second, None);
    let mut following = Following::new(Rules::default());
    let said = |mut process: Process, following: &mut Following| {
        following.take(&mut process, CREATED.plus_seconds(400), Detail::Full);
        process.diagnosis.map(|diagnosis| diagnosis.finding.kind)
    };
    assert_eq!(said(process, &mut following), Some(Kind::Stable));
    // Where slots were due and there was no memory for them, nobody knows.
    fake.global(offset_of!(Globals, last_second), 391);
    let process = fake.process(about(State::Live), 400);
    assert_eq!(process.history, Some(History::default()));
    assert_eq!(said(process, &mut following), None);
}

#[test]
fn the_minutes_of_a_class_hold_their_values_and_leave_out_the_one_that_is_written() {
    let mut fake = busy();
    for (minute, allocated) in [(1, 100), (2, 200), (5, 500), (6, 999)] {
        fake.minute(minute, 3, allocated, 7);
    }
    let history = fake.process(about(State::Live), 400).class_history.unwrap();
    let series = history.of(Line::class(64)).unwrap();
    assert_eq!(series.allocated_bytes, [100, 200, 200, 200, 500]);
    assert_eq!(series.pinned_bytes, [7; 5]);
    assert_eq!((history.classes.len(), history.times[0]), (1, CREATED.plus_seconds(120)));
    assert_eq!((history.highest(), history.at(CREATED.plus_seconds(190))), (Some(4), Some(1)));
    // Whatever a slot claims, there are no more minutes than slots.
    fake.minute(u64::MAX - 1, 3, 1, 1);
    let history = fake.process(about(State::Live), 400).class_history.unwrap();
    assert!(history.times.len() <= 120 && history.classes.iter().all(|one| one.pinned_bytes.len() <= 120));
}

#[test]
fn hostile_counters_are_only_wrong_numbers() {
    let mut fake = Fake::new(u32::MAX, 3);
    let used = fake.bytes.len();
    fake.bytes[GLOBALS_OFFSET..CLASSES_OFFSET].fill(0xff);
    fake.bytes[CLASSES_OFFSET..used].fill(0xff);
    let process = fake.process(about(State::Live), u64::MAX);
    assert!(crate::view::format::bytes(process.totals.committed_bytes.unwrap()).ends_with("EiB"));
}

#[test]
fn a_row_that_a_thread_is_taking_is_in_the_totals_and_not_in_the_list() {
    let tids = |process: &Process| {
        process.threads.iter().flat_map(|threads| &threads.rows).filter_map(|row| row.tid).collect()
    };
    let (all, mut taken) = (busy().process(about(State::Live), 12), busy());
    taken.row_word(1, offset_of!(Row, taken), 9);
    let taken = taken.process(about(State::Live), 12);
    let (all_tids, taken_tids): (Vec<u32>, Vec<u32>) = (tids(&all), tids(&taken));
    assert_eq!((all_tids, taken_tids), (vec![1234, 1235, 1236], vec![1235, 1236]));
    assert_eq!(all.totals.allocations, taken.totals.allocations);
}

#[test]
fn only_the_main_threads_own_row_names_the_process() {
    let name = |fill: &dyn Fn(&mut Fake)| {
        let mut fake = Fake::new(1234, 4);
        fill(&mut fake);
        main_threads_name(&Reader::new(&fake.bytes, &fake.bytes).unwrap())
    };
    assert_eq!(name(&|_| {}), None);
    assert_eq!(name(&|fake| fake.thread(0, row_state::SHARED, 1234, b"shared")), None);
    assert_eq!(name(&|fake| fake.thread(1, row_state::LIVE, 1235, b"worker")), None);
    assert_eq!(name(&|fake| fake.thread(1, row_state::LIVE, 1234, b"")), None);
    let both = |fake: &mut Fake| {
        fake.thread(1, row_state::LIVE, 1235, b"worker");
        fake.thread(2, row_state::ENDED, 1234, b"orderd2\0rubbish");
    };
    assert_eq!(name(&both).as_deref(), Some("orderd2"));
    let whole = name(&|fake| fake.thread(3, row_state::LIVE, 1234, b"0123456789abcde\xc3"));
    assert_eq!(whole.as_deref(), Some("0123456789abcde\u{fffd}"), "no NUL need be in it, and no text");
}

#[test]
fn a_program_with_a_status_has_not_crashed() {
    let mut following = Following::new(Rules::default());
    let mut process = busy().process(about(State::Crashed), 12);
    following.take(&mut process, CREATED.plus_seconds(12), Detail::Full);
    process.has_exited();
    let log = format!("{:?}", process.log);
    assert_eq!((process.state, log.contains("Crashed"), log.contains("Exited")), (State::Exited, false, true), "{log}");
    let mut process = busy().process(about(State::Live), 12);
    process.has_exited();
    assert_eq!(process.state, State::Live);
}
