//! What those say who look once a second: a verdict that stands does not flicker.

use super::*;

/// Longest time that a program is watched, in seconds: less than a leak takes.
const WATCHED: f64 = 290.0;

/// A program that takes a block every so many seconds.
#[derive(Clone, Copy, Debug)]
struct Program {
    mib_before: f64,
    mib_per_second: f64,
    seconds_apart: f64,
    stops_after: f64,
}

impl Program {
    fn bytes(&self, second: f64) -> f64 {
        let blocks = (second.min(self.stops_after) / self.seconds_apart).floor();
        mib(self.mib_before + blocks * self.mib_per_second * self.seconds_apart)
    }

    /// As it is that long after its start. A slot of its history was last written some time before its end.
    fn at(&self, time: f64, known: &Process) -> (Process, Time) {
        let mut process = known.clone();
        let point = |time: Time, second: f64| {
            let bytes = self.bytes(second) as u64;
            let totals = &process.totals;
            Point { time, requested_bytes: bytes, allocated_bytes: bytes, ..Point::of(totals, time).unwrap() }
        };
        let slot = |second: u64| {
            let unwritten = (second * 7919 % 50) as f64 / 1000.0;
            point(CREATED.plus_seconds(second), second as f64 - unwritten)
        };
        let (whole, now) = (time as u64, Time(CREATED.0 + (time * 1e9) as u64));
        let history = History {
            seconds: (whole.saturating_sub(119).max(1)..=whole).map(slot).collect(),
            minutes: (1..=whole / MINUTES).map(|minute| slot(minute * MINUTES)).collect(),
            hours: Vec::new(),
        };
        let present = point(now, time);
        process.history = Some(history);
        process.totals.requested_bytes = Some(present.requested_bytes);
        process.totals.allocated_bytes = Some(present.allocated_bytes);
        process.totals.resident_bytes = Some(present.allocated_bytes + 4 * MIB);
        process.totals.rss_bytes = Some(present.allocated_bytes + 8 * MIB);
        (process, now)
    }

    /// The leading verdicts, one after the other, each with the second from which it stood.
    fn verdicts(&self, first_look: f64) -> Vec<(f64, Kind)> {
        let known = grown(2, |_| mib(1.0));
        let (mut said, mut verdicts) = (Said::new(), Vec::<(f64, Kind)>::new());
        for second in (0..).map(|look| first_look + f64::from(look)).take_while(|&second| second < WATCHED) {
            let (process, now) = self.at(second, &known);
            let found = findings(
                &process,
                &Evidence {
                    now,
                    said: &said,
                    footprints: &[],
                    baseline: &Baseline::default(),
                    rules: Rules::default(),
                },
            );
            said = found.iter().map(|finding| (finding.kind, finding.since)).collect();
            let kind = found.first().map(|finding| finding.kind);
            verdicts.extend(
                kind.filter(|&kind| verdicts.last().is_none_or(|last| last.1 != kind)).map(|kind| (second, kind)),
            );
        }
        verdicts
    }
}

#[test]
fn steady_growth_that_has_been_seen_is_not_taken_back_and_said_again() {
    for seconds_apart in [0.05, 0.9, 1.2, 1.4, 1.7, 2.5, 3.5, 4.3] {
        // Near the 4 MiB and near the 5 % that growth takes, and far above.
        for (mib_before, mib_per_second) in [(1.0, 0.07), (3.0, 0.3), (90.0, 0.1), (250.0, 1.2), (20.0, 6.0)] {
            let program = Program { mib_before, mib_per_second, seconds_apart, stops_after: f64::INFINITY };
            for first_look in [1.01, 1.57] {
                let verdicts = program.verdicts(first_look);
                let growing = verdicts.iter().filter(|(_, kind)| *kind == Kind::Growing).count();
                assert!(
                    growing == 1 && verdicts.last().is_some_and(|last| last.1 == Kind::Growing),
                    "{program:?}, first look after {first_look} s: {verdicts:?}"
                );
            }
        }
    }
}

#[test]
fn growth_that_has_stopped_is_taken_back_once_and_soon() {
    for seconds_apart in [0.05, 1.2, 1.7, 3.5] {
        for stops_after in [45.0, 120.0] {
            let program = Program { mib_before: 5.0, mib_per_second: 1.0, seconds_apart, stops_after };
            let verdicts = program.verdicts(1.3);
            let told: Vec<Kind> = verdicts.iter().map(|verdict| verdict.1).skip_while(|kind| kind.is_calm()).collect();
            assert!(
                told[0] == Kind::Growing && told[1..].iter().all(|kind| kind.is_calm()),
                "{program:?}: {verdicts:?}"
            );
            let taken_back = verdicts.iter().skip_while(|verdict| verdict.1 != Kind::Growing).nth(1).unwrap().0;
            assert!((stops_after..1.7 * stops_after).contains(&taken_back), "{program:?}: {verdicts:?}");
        }
    }
}
