//! What is said of a process after its death: the same at every look, and the same as at its end.

use super::*;
use crate::model::diagnosis::Diagnosis;
use crate::model::log::{Entry, Event};
use crate::model::{Chain, Time};

const GROWTH: u64 = 5 << 20;
/// What is told of a death.
const CRASHED: Event = Event::State { state: State::Crashed };

/// A program that has allocated 5 MiB in each of its first `seconds`, and nothing since.
fn grown(seconds: u64) -> Fake {
    let mut fake = Fake::new(1234, 1);
    let blocks = seconds * GROWTH / 64;
    fake.line(0, 3, [0, 0, blocks, blocks * 64, blocks, 0, 1, 0]);
    for second in 0..seconds {
        fake.second(second, (second + 1) * GROWTH, (second + 1) * GROWTH / 64);
        fake.minute(second / 60, 3, (second + 1) * GROWTH, 0);
    }
    fake
}

fn at(seconds: u64) -> Time {
    CREATED.plus_seconds(seconds)
}

fn look(following: &mut Following, mut process: Process, seconds: u64) -> Process {
    following.take(&mut process, at(seconds), Detail::Full);
    process
}

/// What a first look makes of it, so many seconds after its start.
fn once(fake: &Fake, seconds: u64) -> (Option<Diagnosis>, Option<Chain>, Option<History>) {
    let mut following = Following::new(Rules::default());
    let process = look(&mut following, fake.process(about(State::Crashed), seconds), seconds);
    (process.diagnosis, process.last_minute, process.history)
}

fn kind_and_seconds(process: &Process) -> (Kind, f64) {
    let finding = &process.diagnosis.as_ref().unwrap().finding;
    (finding.kind, finding.numbers.seconds.unwrap())
}

#[test]
fn the_verdict_on_a_dead_process_does_not_age() {
    for lived in [45, 100] {
        let fake = grown(lived);
        let first = once(&fake, lived);
        let finding = &first.0.as_ref().unwrap().finding;
        assert_eq!((finding.kind, finding.numbers.seconds), (Kind::Growing, Some(lived as f64)));
        assert_eq!(first.1.map(|change| change.requested_bytes), (lived > 60).then_some(Some(60 * GROWTH as i64)));
        for later in [1, 20, 50, 75, 120, 300, 7200] {
            assert_eq!(once(&fake, lived + later), first, "{later} s after its death");
        }
    }
}

#[test]
fn looks_at_the_dead_within_the_second_of_their_death_say_the_same() {
    let fake = grown(45);
    assert_eq!(once(&fake, 44), once(&fake, 45));
}

#[test]
fn a_screen_that_is_left_open_tells_the_end_and_no_more() {
    let mut following = Following::new(Rules::default());
    for second in 1..45 {
        look(&mut following, grown(second).process(about(State::Live), second), second);
    }
    let fake = grown(45);
    let mut dead =
        |second: u64| look(&mut following, fake.process_seen(about(State::Crashed), Some(44), second), second);
    let first = dead(46);
    assert_eq!(kind_and_seconds(&first), (Kind::Growing, 45.0));
    assert_eq!(first.log.last().map(|entry| (entry.time, &entry.event)), Some((at(46), &CRASHED)));
    assert!(first.log.iter().filter(|entry| entry.time > at(45)).count() == 1, "{:?}", first.log);
    // Long enough for looks at the dead to push out all that was noted of the living.
    for second in 47..700 {
        assert_eq!(dead(second), first, "at {second} s");
    }
}

#[test]
fn what_was_seen_idle_long_before_its_death_is_judged_as_it_was_seen() {
    let fake = grown(40);
    let mut following = Following::new(Rules::default());
    let alive = look(&mut following, fake.process(about(State::Live), 600), 600);
    let first = look(&mut following, fake.process_seen(about(State::Crashed), Some(600), 601), 601);
    assert_eq!(kind_and_seconds(&alive).0, Kind::Stable);
    assert_eq!((&first.diagnosis, first.last_minute), (&alive.diagnosis, alive.last_minute));
    let later = look(&mut following, fake.process_seen(about(State::Crashed), Some(600), 5000), 5000);
    assert_eq!(later, first);
    // Who comes after its death knows of no time but that in which it wrote.
    assert_eq!(once(&fake, 700).0.unwrap().finding.kind, Kind::Growing);
}

#[test]
fn a_death_before_the_history_was_due_gives_a_verdict_only_to_those_who_saw_it_alive() {
    let mut fake = Fake::new(77, 1);
    fake.line(0, 3, [0, 0, 100, 5_000, 102_400, 0, 1, 0]);
    for seconds in [0, 1, 400] {
        assert_eq!(once(&fake, seconds), (None, None, Some(History::default())));
    }
    let mut following = Following::new(Rules::default());
    let alive = look(&mut following, fake.process(about(State::Live), 400), 400);
    let dead = look(&mut following, fake.process_seen(about(State::Crashed), Some(400), 900), 900);
    assert_eq!(kind_and_seconds(&alive).0, Kind::Stable);
    assert_eq!((dead.diagnosis, dead.history), (alive.diagnosis, alive.history));
}

#[test]
fn what_happened_between_the_last_look_and_the_end_is_judged_and_told_before_it() {
    let mut following = Following::new(Rules::default());
    look(&mut following, Fake::new(1234, 1).process(about(State::Live), 2), 2);
    let dead = look(&mut following, grown(45).process_seen(about(State::Crashed), Some(2), 600), 600);
    assert_eq!(kind_and_seconds(&dead), (Kind::Growing, 45.0));
    let told: Vec<&Entry> = dead.log.iter().rev().take(2).collect();
    assert_eq!((told[0].time, &told[0].event), (at(600), &CRASHED));
    assert!(matches!(told[1].event, Event::Diagnosis { kind: Kind::Growing, .. }), "{:?}", dead.log);
    assert_eq!(told[1].time, at(45));
}

#[test]
fn a_second_look_at_the_dead_needs_no_less_than_the_first() {
    // Growth that began late shows in the last minute; in the whole time only to those who have said so before.
    let mut fake = grown(100);
    for second in 0..100 {
        fake.second(second, second.saturating_sub(25) * GROWTH, second);
    }
    let mut following = Following::new(Rules::default());
    let mut dead = |second: u64| look(&mut following, fake.process(about(State::Crashed), second), second);
    let first = dead(101);
    assert_eq!(kind_and_seconds(&first), (Kind::Growing, 60.0));
    assert_eq!(dead(102), first);
}

#[test]
fn threads_that_came_and_went_to_the_end_are_not_forgotten_with_it() {
    let fake = grown(1200);
    let mut following = Following::new(Rules::default());
    let mut churning = |mut process: Process, second: u64| {
        let threads = process.threads.as_mut().unwrap();
        (threads.ended, threads.ended_lately) = (12 * (second.min(1200) - 1190), 0.1);
        look(&mut following, process, second)
    };
    let says = |process: &Process| process.diagnosis.as_ref().and_then(|said| said.also.clone()).map(|also| also.kind);
    let alive = (1190..1200).map(|second| churning(fake.process(about(State::Live), second), second)).last().unwrap();
    assert_eq!(says(&alive), Some(Kind::ThreadChurn));
    for second in [1201, 1300] {
        let dead = churning(fake.process_seen(about(State::Crashed), Some(1199), second), second);
        assert_eq!(says(&dead), says(&alive));
        assert_eq!(dead.threads.unwrap().ends_per_second, None, "it is dead");
    }
}

#[test]
fn a_process_without_its_heap_grows_older_all_the_same() {
    let at = |seconds| busy().process_seen(about(State::Replaced), Some(12), seconds).uptime_seconds;
    assert_eq!([20, 3600].map(at), [Some(20.0), Some(3600.0)]);
}
