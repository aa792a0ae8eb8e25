//! How an operation's cost rises with the live heap: each allocator against itself.

use super::{FIGURE, Table, middle};
use crate::rounds::Results;

/// Heights of the bars.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// One row for each allocator: the cost with every size as a multiple of that with the smallest, drawn and in figures; and
/// the factor for each doubling of the live heap, over the whole range.
pub(super) fn curves(results: &Results) -> Table {
    let sizes = results.cases.iter().map(|case| case.name.clone());
    let heading = [String::new(), "curve".to_owned()].into_iter().chain(sizes).chain(["a doubling".to_owned()]);
    let title = "Cost as a multiple of that with the smallest heap; bars from 0 to the largest multiple of all";
    let mut table = Table::new(title.to_owned(), heading.collect());
    let all: Vec<Vec<f64>> = (0..results.allocators.len()).map(|allocator| multiples(results, allocator)).collect();
    let largest = all.iter().flatten().copied().filter(|value| value.is_finite()).fold(1.0, f64::max);
    for (allocator, multiples) in results.allocators.iter().zip(&all) {
        let mut row = vec![allocator.name.clone(), multiples.iter().map(|value| bar(value / largest)).collect()];
        row.extend(multiples.iter().map(|value| format!("{value:.2}")));
        row.push(
            multiples.last().map_or_else(String::new, |last| format!("{:.3}", last.powf(1.0 / doublings(results)))),
        );
        table.rows.push(row);
    }
    table
}

/// Not a number where a run failed.
fn multiples(results: &Results, allocator: usize) -> Vec<f64> {
    let cost = |case| middle(results, case, allocator, FIGURE).unwrap_or(f64::NAN);
    (0..results.cases.len()).map(|case| cost(case) / cost(0)).collect()
}

/// How often the smallest heap doubles up to the largest, by their names.
fn doublings(results: &Results) -> f64 {
    let size = |name: &str| name.split_whitespace().next().and_then(|number| number.parse::<f64>().ok());
    let ends = results.cases.first().zip(results.cases.last());
    let ratio = ends.and_then(|(first, last)| Some(size(&last.name)? / size(&first.name)?));
    ratio.map_or(f64::NAN, f64::log2)
}

fn bar(share: f64) -> char {
    if share.is_nan() {
        return '?';
    }
    let top = BARS.len() - 1;
    BARS[((share * BARS.len() as f64).ceil() as usize).saturating_sub(1).min(top)]
}
