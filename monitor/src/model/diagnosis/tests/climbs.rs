//! What climbs for minutes and longer: batches, caches, stairs, each also as those see it who watch from the start.

use super::*;

/// The leading verdict at each of the `times`, in seconds, to who looks for the first time, and to who has looked at all.
fn verdicts(times: impl Iterator<Item = u64>, curve: impl Fn(f64) -> f64) -> Vec<(u64, [Finding; 2])> {
    let mut said = Said::new();
    times
        .map(|time| {
            let process = grown(time, &curve);
            let watched = examine(&process, &said);
            said = watched.iter().map(|finding| (finding.kind, finding.since)).collect();
            (time, [examine(&process, &Said::new()).swap_remove(0), watched.into_iter().next().unwrap()])
        })
        .collect()
}

/// Those among the verdicts that are of a kind, by their times.
fn times_of(kind: Kind, verdicts: &[(u64, [Finding; 2])], looker: usize) -> Vec<u64> {
    verdicts.iter().filter(|(_, found)| found[looker].kind == kind).map(|(time, _)| *time).collect()
}

/// How much of a period a climb takes, and the whole period, both from 0 to 1.
type Shape = (f64, fn(f64) -> f64);

#[test]
fn a_batch_that_has_come_back_is_no_leak_the_next_time() {
    let tooth = |at: f64| mib(20.0 + 300.0 * at);
    // Freed at once; after a rest; as slowly as it came.
    let shapes: [Shape; 3] = [
        (1.0, |at| at),
        (0.6, |at| if at < 0.6 { at / 0.6 } else { 1.0 }),
        (0.5, |at| if at < 0.5 { 2.0 * at } else { 2.0 - 2.0 * at }),
    ];
    for (climbs_for, shape) in shapes {
        for period in [420, 610, 900, 1500, 2400] {
            let curve = |second: f64| tooth(shape(second / period as f64 % 1.0));
            let found = verdicts((period + 5..4 * period).step_by(5), curve);
            for looker in [0, 1] {
                for kind in [Kind::LeakSuspected, Kind::WarmingUp] {
                    assert_eq!(times_of(kind, &found, looker), [0; 0], "period {period}, looker {looker}");
                }
            }
            let again = found.iter().filter(|(_, [fresh, _])| fresh.numbers.high_bytes >= Some(mib(250.0) as u64));
            let long = climbs_for * period as f64 > 400.0;
            assert!(!long || again.filter(|(_, [fresh, _])| fresh.kind == Kind::Growing).count() > 3, "{period} s");
        }
    }
}

#[test]
fn what_climbs_further_than_what_came_back_is_a_leak_again() {
    let batch = |second: f64| if second < 600.0 { 100.0 * second / 600.0 } else { 0.0 };
    let found = verdicts((605..2400).step_by(5), |second| mib(20.0 + batch(second) + (second - 600.0).max(0.0) / 6.0));
    let told = times_of(Kind::LeakSuspected, &found, 1);
    // As high as before 600 s later, and two minutes' growth above that.
    assert!((1200..=1400).contains(&told[0]), "{told:?}");
    assert!(told.windows(2).all(|pair| pair[1] == pair[0] + 5), "{told:?}");
    // A spike while it started, which took no time, says nothing of a climb that takes ten minutes.
    let spike = |second: f64| if (20.0..40.0).contains(&second) { 1000.0 } else { 0.0 };
    let found = verdicts((60..2400).step_by(20), |second| mib(20.0 + spike(second) + second / 6.0));
    assert!(times_of(Kind::LeakSuspected, &found, 0)[0] <= 400);
}

#[test]
fn a_climb_that_is_over_is_called_a_leak_for_minutes_and_not_for_a_third_of_its_time() {
    for (lasts, at_most) in [(420, 190), (1200, 230), (3600, 280), (7000, 400)] {
        let found = verdicts((lasts - 100..lasts + 1200).step_by(5), |second| {
            // What moves about within a minute is neither growth nor an end of it.
            mib(20.0 + second.min(lasts as f64) / 10.0 + (second as u64 * 7919 % 10) as f64 / 5.0)
        });
        for looker in [0, 1] {
            let told = times_of(Kind::LeakSuspected, &found, looker);
            assert!(told.contains(&lasts), "{lasts} s: {told:?}");
            let once = told.windows(2).all(|pair| pair[1] == pair[0] + 5);
            assert!(once || looker == 0, "{lasts} s: {told:?}");
            assert!(*told.last().unwrap() < lasts + at_most, "{lasts} s: {:?}", told.last());
            assert_eq!(times_of(Kind::WarmingUp, &found, looker), [0; 0], "{lasts} s");
        }
    }
}

#[test]
fn a_leak_that_comes_in_wide_steps_is_seen_after_a_few() {
    for apart in [70, 100, 130, 290] {
        let stairs = |second: f64| mib(20.0 + 20.0 * (second / f64::from(apart)).floor());
        let found = verdicts((10..40 * u64::try_from(apart).unwrap()).step_by(5), stairs);
        for looker in [0, 1] {
            let told = times_of(Kind::LeakSuspected, &found, looker);
            assert!(told[0] <= (7 * apart as u64).max(420), "{apart} s apart: {told:?}");
            let gaps: Vec<_> = told.windows(2).filter(|pair| pair[1] != pair[0] + 5).collect();
            assert!(looker == 0 || gaps.is_empty(), "{apart} s apart: {gaps:?}");
        }
    }
    // Two thirds of what comes goes again: that is no stairs.
    let up_and_down = |second: f64| mib(100.0 + second / 60.0 + (second / 60.0).floor() % 3.0 * 20.0);
    assert_eq!(times_of(Kind::LeakSuspected, &verdicts((300..900).step_by(5), up_and_down), 0), [0; 0]);
}

#[test]
fn a_late_leak_that_slackens_a_little_is_not_called_a_warming_up() {
    // To four fifths of its rate in 18 minutes, after 100 of peace.
    let late = |second: f64| {
        let leaked = (second - 6000.0).max(0.0);
        mib(50.0 + (leaked - leaked * leaked / 11_000.0) / 10.0)
    };
    let found = verdicts((6030..7100).step_by(5), late);
    for looker in [0, 1] {
        let told = times_of(Kind::LeakSuspected, &found, looker);
        assert!(told[0] <= 6700 && told.contains(&7095), "{told:?}");
        assert_eq!(times_of(Kind::WarmingUp, &found, looker), [0; 0]);
    }
}
