//! The benchmarks judge by means and intervals; these must be right.

#[path = "../benches/stats.rs"]
mod stats;

use stats::{geometric, median, student};

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() < 1e-3 * right.abs()
}

#[test]
fn one_outlier_does_not_move_the_median() {
    assert_eq!(median(&[3.0, 1.0, 1000.0]), 3.0);
    assert_eq!(median(&[4.0, 1.0, 1000.0, 2.0]), 3.0);
    assert!(median(&[]).is_nan());
}

#[test]
fn a_ratio_and_its_inverse_cancel() {
    let even = geometric(&[0.5, 2.0]);
    assert!(close(even.mean, 1.0), "{even:?}");
    // Mean 0, deviation ln 2 x sqrt 2, two values: half = 12.706 x ln 2.
    assert!(close(even.high, (12.706 * 2f64.ln()).exp()), "{even:?}");
    assert!(close(even.low * even.high, 1.0), "{even:?}");
}

#[test]
fn equal_ratios_leave_no_doubt_and_one_alone_leaves_all() {
    let sure = geometric(&[0.7; 15]);
    assert!(close(sure.low, 0.7) && close(sure.high, 0.7), "{sure:?}");
    let single = geometric(&[0.7]);
    assert!(close(single.mean, 0.7) && single.low.is_nan() && single.high.is_nan(), "{single:?}");
}

#[test]
fn more_runs_narrow_the_interval() {
    let few = geometric(&[0.8, 0.9, 1.0]);
    let many = geometric(&[0.8, 0.9, 1.0].repeat(5));
    assert!(close(few.mean, many.mean));
    assert!(few.low < many.low && many.high < few.high);
}

#[test]
fn the_table_of_quantiles_only_falls() {
    let all: Vec<f64> = (1..200).map(student).collect();
    assert!(all.windows(2).all(|pair| pair[1] <= pair[0]));
}
