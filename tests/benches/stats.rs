//! Medians, geometric means of paired ratios and their intervals.

/// The middle of `values`, or the mean of the two in the middle; not a number if there are none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// A mean with the interval that holds the true one with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The geometric mean of `ratios` and its interval, by Student's t on their logarithms. One ratio alone has no interval:
/// its ends are not numbers.
pub(crate) fn geometric(ratios: &[f64]) -> Interval {
    let logarithms: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let Interval { mean, low, high } = arithmetic(&logarithms);
    Interval { mean: mean.exp(), low: low.exp(), high: high.exp() }
}

/// The mean of `values` and its interval, by Student's t; likewise.
pub(crate) fn arithmetic(values: &[f64]) -> Interval {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let half = student(values.len().saturating_sub(1)) * (squares / (count - 1.0) / count).sqrt();
    Interval { mean, low: mean - half, high: mean + half }
}

/// The 97.5 % quantile of Student's t with `freedom` degrees of freedom. Beyond the table the next smaller one that is
/// in it: an interval is never too narrow.
pub(crate) fn student(freedom: usize) -> f64 {
    const FIRST: [f64; 31] = [
        f64::NAN,
        12.706,
        4.303,
        3.182,
        2.776,
        2.571,
        2.447,
        2.365,
        2.306,
        2.262,
        2.228,
        2.201,
        2.179,
        2.160,
        2.145,
        2.131,
        2.120,
        2.110,
        2.101,
        2.093,
        2.086,
        2.080,
        2.074,
        2.069,
        2.064,
        2.060,
        2.056,
        2.052,
        2.048,
        2.045,
        2.042,
    ];
    match freedom {
        0..=30 => FIRST[freedom],
        31..=59 => 2.042,
        60..=119 => 2.000,
        _ => 1.980,
    }
}
