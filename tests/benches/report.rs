//! The text table.

use crate::allocators::BASELINE;
use crate::options::Mode;
use crate::rounds::Results;
use crate::stats::{Interval, geometric, median};
use std::fmt::Write;

/// Medians of all rounds, one row for each case and one column for each allocator; the best is marked.
pub(crate) fn text(mode: Mode, results: &Results) -> String {
    let mut out = format!("\n{mode:?}: medians of {} runs\n", results.outcomes[0][0].len());
    let _ = write!(out, "{:24}", "");
    for allocator in &results.allocators {
        let _ = write!(out, "{:>13}", allocator.name);
    }
    out.push('\n');
    for (number, case) in results.cases.iter().enumerate() {
        let _ = write!(out, "{:20}{:>4}", case.name, case.figure.unit());
        let medians: Vec<Option<f64>> = (0..results.allocators.len())
            .map(|allocator| results.readings(number, allocator))
            .map(|readings| Some(median(&readings?.iter().map(|reading| reading.figure).collect::<Vec<_>>())))
            .collect();
        let best = medians.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        for value in medians {
            let cell = match value {
                Some(value) => format!("{}{}", if value == best { "*" } else { "" }, three_digits(value)),
                None => "FAILED".to_owned(),
            };
            let _ = write!(out, "{cell:>13}");
        }
        out.push('\n');
    }
    if let Some(baseline) = results.allocators.iter().position(|allocator| allocator.name == BASELINE) {
        let all: Vec<usize> = (0..results.cases.len()).collect();
        let _ = writeln!(out, "geometric means of the ratios to {BASELINE}, with 95 % intervals:");
        for (number, allocator) in results.allocators.iter().enumerate() {
            let Interval { mean, low, high } = geometric(&results.ratios(&all, number, baseline, |it| it.figure));
            let _ = writeln!(out, "{:24}{mean:>13.3}  {low:.3} .. {high:.3}", allocator.name);
        }
    }
    for (case, allocator, why) in results.failures() {
        let _ = writeln!(out, "FAILED {case} under {allocator}: {why}");
    }
    out
}

/// Three significant digits, more before the point where there are more.
fn three_digits(value: f64) -> String {
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$}")
}
