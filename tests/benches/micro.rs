//! One operation alone and warm, in nanoseconds: the rows of `programs/micro.c`.

use crate::cases::{Case, Figure};
use crate::compile;
use crate::options::Options;

/// The rows, by the names that `micro.c` knows.
const ROWS: [&str; 14] = [
    "pair-64",
    "random-1k",
    "random-100k",
    "mixed-small",
    "mixed-8k",
    "pair-32k",
    "pair-1m",
    "calloc-64",
    "realloc-doubling",
    "realloc-alone",
    "realloc-steps",
    "across",
    "thread",
    "thread-pinned",
];

/// Best of so many repetitions in a process, each of so many milliseconds.
const REPETITIONS: (&str, &str) = ("7", "15");
const QUICK: (&str, &str) = ("1", "1");

/// All rows.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn cases(options: &Options) -> Result<Vec<Case>, String> {
    ROWS.into_iter().map(|row| case(row, options)).collect()
}

/// The row of this name.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn case(row: &str, options: &Options) -> Result<Case, String> {
    let (repetitions, milliseconds) = if options.quick { QUICK } else { REPETITIONS };
    let case = Case::new(row, "micro", compile::program("micro.c")?, &[row, repetitions, milliseconds]);
    Ok(case.figure(Figure::Nanoseconds))
}
