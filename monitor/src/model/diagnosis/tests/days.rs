//! What the hours tell: leaks that take days, and what only comes and goes with the day.

use super::*;

/// A process that is days old, whose allocated bytes have followed `curve`, by hours since its start.
fn aged(hours: u64, curve: impl Fn(f64) -> f64) -> Process {
    let mut process = grown(hours * 60 * MINUTES, |second| curve(second / 3600.0));
    let history = process.history.as_mut().unwrap();
    let model = history.minutes[0];
    let point = |hour: u64| Point {
        time: CREATED.plus_seconds(hour * 3600),
        allocated_bytes: curve(hour as f64) as u64,
        ..model
    };
    history.hours = (1..=hours).map(point).collect();
    process
}

#[test]
fn a_leak_that_takes_days_is_seen_though_hours_show_nothing() {
    // Two percent of it an hour: nothing in two hours.
    let leak = examine(&aged(48, |hour| mib(10_000.0 + 200.0 * hour)), &Vec::new()).swap_remove(0);
    assert_eq!((leak.kind, leak.numbers.seconds), (Kind::LeakSuspected, Some(172_800.0)));
    let per_hour = leak.numbers.bytes_per_second.unwrap() * 3600.0;
    assert!((mib(190.0)..mib(210.0)).contains(&per_hour), "{per_hour}");
    assert_eq!(kind(&aged(48, |hour| mib(10_000.0 + 5.0 * hour))), Some(Kind::Stable));
}

#[test]
fn a_leak_of_days_that_is_over_is_called_so_for_hours_and_not_for_a_third_of_its_time() {
    let mut said = Said::new();
    let mut told = Vec::new();
    for age in 40..80 {
        let process = aged(age, |hour| mib(10_000.0 + 200.0 * hour.min(48.0)));
        let found = examine(&process, &said);
        said = found.iter().map(|finding| (finding.kind, finding.since)).collect();
        told.extend(found.iter().filter(|finding| finding.kind == Kind::LeakSuspected).map(|_| age));
    }
    assert!(told.contains(&48) && *told.last().unwrap() <= 53, "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1] == pair[0] + 1), "{told:?}");
}

#[test]
fn what_comes_and_goes_with_the_day_is_no_leak() {
    let day = |hour: f64| (hour / 24.0 * std::f64::consts::TAU).cos();
    for age in 24..120 {
        let found = kind(&aged(age, |hour| mib(1000.0 - 50.0 * day(hour))));
        assert_ne!(found, Some(Kind::LeakSuspected), "after {age} hours");
    }
}
