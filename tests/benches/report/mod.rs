//! What the readings say, as tables; and the tables as text, as a Markdown page and as JSON.

mod curve;
pub(crate) mod json;
pub(crate) mod page;
mod table;

use crate::allocators::{BARE, BASELINE};
use crate::cases::{Case, Figure, Reading};
use crate::options::Mode;
use crate::rounds::Results;
use crate::stats::{Interval, arithmetic, geometric, median};
pub(crate) use table::Table;
use table::three_digits;

/// What of a reading is compared, with its name.
type Aspect = (&'static str, fn(&Reading) -> f64);

const FIGURE: Aspect = ("time", |reading| reading.figure);
const PROCESSOR: Aspect = ("processor time", |reading| reading.processor);
const RESIDENT: Aspect = ("peak RSS", |reading| reading.resident);

/// The tables of one mode.
pub(crate) fn tables(mode: Mode, results: &Results) -> Vec<Table> {
    let mut tables = vec![];
    match mode {
        Mode::Suite => {
            tables.extend([FIGURE, PROCESSOR, RESIDENT].map(|aspect| ratios(results, aspect)));
            tables.extend([FIGURE, PROCESSOR, RESIDENT].map(|aspect| groups(results, aspect)));
            tables.extend([FIGURE, RESIDENT].into_iter().filter_map(|aspect| against_peers(results, aspect)));
        }
        Mode::Micro => {
            tables.extend(medians(results));
            tables.push(groups(results, FIGURE));
        }
        Mode::Startup => tables.extend(startup(results)),
        Mode::Price => {
            tables.extend([FIGURE, PROCESSOR, RESIDENT].map(|aspect| ratios(results, aspect)));
            tables.push(differences(results));
            tables.extend([FIGURE, PROCESSOR, RESIDENT].map(|aspect| groups(results, aspect)));
        }
        Mode::Scaling | Mode::Giveback => tables.extend(medians(results)),
        Mode::Heap => {
            tables.extend(medians(results));
            tables.push(curve::curves(results));
        }
    }
    if results.failures().next().is_some() {
        tables.push(failures(results));
    }
    tables
}

fn runs(results: &Results) -> usize {
    results.outcomes[0][0].len()
}

fn heading(results: &Results, first: &str) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(results.allocators.iter().map(|allocator| allocator.name.clone())).collect()
}

/// Median figures, a table for each unit; the best is marked, and the last column says how the first build of ours compares
/// with the best other, by the means of paired ratios and half the width of their interval.
fn medians(results: &Results) -> Vec<Table> {
    let there = |figure: &Figure| results.cases.iter().any(|case| case.figure == *figure);
    [Figure::Nanoseconds, Figure::Kibibytes, Figure::Wall]
        .into_iter()
        .filter(there)
        .map(|figure| medians_of(results, figure))
        .collect()
}

fn medians_of(results: &Results, figure: Figure) -> Table {
    let title = format!("Medians of {} runs, {}", runs(results), figure.unit());
    let mut table = Table::new(title, heading(results, ""));
    // Of memory, zero may be the best: no ratio then.
    let ours = results.allocators.iter().position(|allocator| allocator.ours);
    let ours = ours.filter(|_| figure != Figure::Kibibytes);
    if ours.is_some() {
        table.heading.push("ours / best other".to_owned());
    }
    for (number, case) in results.cases.iter().enumerate().filter(|(_, case)| case.figure == figure) {
        let middles: Vec<Option<f64>> =
            (0..results.allocators.len()).map(|allocator| middle(results, number, allocator, FIGURE)).collect();
        let best = least(middles.iter().flatten().copied());
        let mut row = vec![case.name.clone()];
        row.extend(middles.iter().map(|value| match value {
            Some(value) => format!("{}{}", if *value == best { "*" } else { "" }, three_digits(*value)),
            None => FAILED.to_owned(),
        }));
        if let Some(ours) = ours {
            let others = middles.iter().enumerate().filter(|&(other, _)| !results.allocators[other].ours);
            let best = others
                .filter_map(|(other, value)| Some((other, (*value)?)))
                .min_by(|(_, left), (_, right)| left.total_cmp(right));
            row.push(match best {
                Some((other, _)) if middles[ours].is_some() => {
                    short(geometric(&results.ratios(&[number], ours, other, FIGURE.1)))
                }
                _ => String::new(),
            });
        }
        table.rows.push(row);
    }
    table
}

const FAILED: &str = "FAILED";

fn middle(results: &Results, case: usize, allocator: usize, (_, value): Aspect) -> Option<f64> {
    let readings = results.readings(case, allocator)?;
    Some(median(&readings.iter().map(value).collect::<Vec<_>>()))
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

/// Where the baseline is among the allocators: the C library's, or the build without statistics.
fn baseline(results: &Results) -> Option<usize> {
    [BASELINE, BARE].iter().find_map(|name| results.allocators.iter().position(|allocator| allocator.name == *name))
}

/// Its name.
fn baseline_name(results: &Results) -> &str {
    baseline(results).map_or(BASELINE, |base| &results.allocators[base].name)
}

/// Each program's ratio to the baseline, with half the width of its interval; of the baseline itself the median.
fn ratios(results: &Results, aspect: Aspect) -> Table {
    let (name, value) = aspect;
    let unit = if name == RESIDENT.0 { "KiB" } else { "ms" };
    let (base, runs) = (baseline_name(results), runs(results));
    let title = format!("{name}: median of {base} ({unit}), others as ratio to it, {runs} runs");
    let mut table = Table::new(title, heading(results, ""));
    let base = baseline(results);
    let whole = |case: &Case| case.figure == Figure::Wall;
    for (number, case) in results.cases.iter().enumerate().filter(|(_, case)| whole(case)) {
        let mut row = vec![case.name.clone()];
        for allocator in 0..results.allocators.len() {
            row.push(match (middle(results, number, allocator, aspect), base) {
                (None, _) => FAILED.to_owned(),
                (Some(absolute), None) => three_digits(absolute),
                (Some(absolute), Some(base)) if base == allocator => three_digits(absolute),
                (Some(_), Some(base)) => short(geometric(&results.ratios(&[number], allocator, base, value))),
            });
        }
        table.rows.push(row);
    }
    table
}

/// A mean and half the width of its interval.
fn short(interval: Interval) -> String {
    let Interval { mean, low, high } = interval;
    match (mean.is_nan(), low.is_nan()) {
        (true, _) => FAILED.to_owned(),
        (_, true) => format!("{mean:.2}"),
        _ => format!("{mean:.2} ±{:.2}", (high - low) / 2.0),
    }
}

/// A mean and its interval.
fn full(interval: Interval) -> String {
    let Interval { mean, low, high } = interval;
    match (mean.is_nan(), low.is_nan()) {
        (true, _) => "-".to_owned(),
        (_, true) => format!("{mean:.3}"),
        _ => format!("{mean:.3} [{low:.3}, {high:.3}]"),
    }
}

/// Single operations: nanoseconds, and how many more than the baseline's of the same round.
fn differences(results: &Results) -> Table {
    let base = baseline(results);
    let title = format!(
        "one operation, ns: median of {} runs (paired difference to {}) [95 % interval]",
        runs(results),
        baseline_name(results)
    );
    let mut table = Table::new(title, heading(results, ""));
    let single = |case: &Case| case.figure == Figure::Nanoseconds;
    for (number, case) in results.cases.iter().enumerate().filter(|(_, case)| single(case)) {
        let mut row = vec![case.name.clone()];
        let values = |allocator: usize| -> Option<Vec<f64>> {
            Some(results.readings(number, allocator)?.iter().map(|reading| reading.figure).collect())
        };
        for allocator in 0..results.allocators.len() {
            let Some(own) = values(allocator) else {
                row.push(FAILED.to_owned());
                continue;
            };
            let mut cell = three_digits(median(&own));
            if let Some(theirs) = base.filter(|&base| base != allocator).and_then(values) {
                let paired: Vec<f64> = own.iter().zip(&theirs).map(|(own, theirs)| own - theirs).collect();
                let Interval { mean, low, high } = arithmetic(&paired);
                cell += &format!(" ({mean:+.2})");
                if !low.is_nan() {
                    cell += &format!(" [{low:+.2}, {high:+.2}]");
                }
            }
            row.push(cell);
        }
        table.rows.push(row);
    }
    table
}

/// The groups with their cases; all cases together last. Single operations have no part in means of whole programs.
fn grouped(results: &Results) -> Vec<(&str, Vec<usize>)> {
    let mut groups: Vec<(&str, Vec<usize>)> = Vec::new();
    let whole = |case: &Case| case.figure == Figure::Wall;
    let any_whole = results.cases.iter().any(whole);
    for (number, case) in results.cases.iter().enumerate().filter(|(_, case)| whole(case) || !any_whole) {
        match groups.iter_mut().find(|(group, _)| *group == case.group) {
            Some((_, cases)) => cases.push(number),
            None => groups.push((case.group, vec![number])),
        }
    }
    if groups.len() > 1 {
        groups.push(("all", groups.iter().flat_map(|(_, cases)| cases.iter().copied()).collect()));
    }
    groups
}

/// Geometric means of the paired ratios to the baseline, one row for each allocator.
fn groups(results: &Results, (name, value): Aspect) -> Table {
    let groups = grouped(results);
    let heading = std::iter::once(String::new()).chain(groups.iter().map(|(group, _)| (*group).to_owned())).collect();
    let mut table = Table::new(
        format!("{name}: geometric mean of the paired ratios to {} [95 % interval]", baseline_name(results)),
        heading,
    );
    if let Some(base) = baseline(results) {
        for number in (0..results.allocators.len()).filter(|&number| number != base) {
            let mut row = vec![results.allocators[number].name.clone()];
            row.extend(groups.iter().map(|(_, cases)| full(geometric(&results.ratios(cases, number, base, value)))));
            table.rows.push(row);
        }
    }
    table
}

/// The same for the builds of ours against each peer, and against each other.
fn against_peers(results: &Results, (name, value): Aspect) -> Option<Table> {
    let groups = grouped(results);
    let heading = std::iter::once(String::new()).chain(groups.iter().map(|(group, _)| (*group).to_owned())).collect();
    let mut table =
        Table::new(format!("{name}: paired ratios of ours to each other allocator [95 % interval]"), heading);
    for (one, ours) in results.allocators.iter().enumerate().filter(|(_, allocator)| allocator.ours) {
        for (other, peer) in results.allocators.iter().enumerate() {
            // Two builds of ours are compared once.
            if one == other || (peer.ours && other > one) {
                continue;
            }
            let mut row = vec![format!("{} / {}", ours.name, peer.name)];
            row.extend(groups.iter().map(|(_, cases)| full(geometric(&results.ratios(cases, one, other, value)))));
            table.rows.push(row);
        }
    }
    (!table.rows.is_empty()).then_some(table)
}

/// Microseconds and KiB, and how much more than the baseline's of the same round, with half the width of the mean's interval.
fn startup(results: &Results) -> Vec<Table> {
    let base = baseline(results);
    let table = |title: &str, scale: f64, (_, value): Aspect| {
        let mut table = Table::new(
            format!("{title}: median of {} runs (paired difference to {BASELINE})", runs(results)),
            heading(results, ""),
        );
        for (number, case) in results.cases.iter().enumerate() {
            let mut row = vec![case.name.clone()];
            let values = |allocator: usize| -> Option<Vec<f64>> {
                Some(results.readings(number, allocator)?.iter().map(|reading| value(reading) * scale).collect())
            };
            for allocator in 0..results.allocators.len() {
                let Some(own) = values(allocator) else {
                    row.push(FAILED.to_owned());
                    continue;
                };
                let mut cell = format!("{:.0}", median(&own));
                if let Some(theirs) = base.filter(|&base| base != allocator).and_then(values) {
                    let differences: Vec<f64> = own.iter().zip(&theirs).map(|(own, theirs)| own - theirs).collect();
                    let Interval { low, high, .. } = arithmetic(&differences);
                    cell += &match (high - low) / 2.0 {
                        half if half.is_nan() => format!(" ({:+.0})", median(&differences)),
                        half => format!(" ({:+.0} ±{half:.0})", median(&differences)),
                    };
                }
                row.push(cell);
            }
            table.rows.push(row);
        }
        table
    };
    vec![table("start to end, µs", 1e3, FIGURE), table("peak RSS, KiB", 1.0, RESIDENT)]
}

/// What failed, and how.
fn failures(results: &Results) -> Table {
    let heading = ["", "allocator", "failure"].map(str::to_owned).to_vec();
    let mut table = Table::new("Failures".to_owned(), heading);
    for (case, allocator, why) in results.failures() {
        table.rows.push([case, allocator, why].map(str::to_owned).to_vec());
    }
    table.rows.dedup();
    table
}
