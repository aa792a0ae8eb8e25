//! Whole programs of our own: each is one pattern of allocation that the field knows, told at the top of its source.

use crate::cases::Case;
use crate::compile;
use crate::options::Options;

/// Name, source, arguments of a full run, arguments of a quick one.
type Row = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const SINGLE: [Row; 13] = [
    ("mixed", "mixed.c", &["1", "4000000"], &["1", "20000"]),
    ("batch-fifo", "batch.c", &["fifo", "200"], &["fifo", "2"]),
    ("batch-lifo", "batch.c", &["lifo", "200"], &["lifo", "2"]),
    ("batch-random", "batch.c", &["random", "200"], &["random", "2"]),
    ("trees", "trees.cc", &["19"], &["10"]),
    ("map-ordered", "maps.cc", &["ordered", "1500000"], &["ordered", "20000"]),
    ("map-hashed", "maps.cc", &["hashed", "6000000"], &["hashed", "20000"]),
    ("strings", "strings.cc", &["50000"], &["500"]),
    ("vectors", "vectors.cc", &["250"], &["2"]),
    ("aging", "aging.c", &["25"], &["2"]),
    ("growth", "growth.c", &["100"], &["2"]),
    ("large", "large.c", &["6000"], &["200"]),
    ("zeroed", "zeroed.c", &["1000000"], &["10000"]),
];

const MULTI: [Row; 9] = [
    ("server", "server.c", &["8", "100"], &["8", "2"]),
    ("mixed-2", "mixed.c", &["2", "6000000"], &["2", "20000"]),
    ("pipeline", "pipeline.c", &["1", "1000000"], &["1", "10000"]),
    ("pipelines-4", "pipeline.c", &["4", "800000"], &["4", "5000"]),
    ("exchange-2", "exchange.c", &["2", "1500000"], &["2", "20000"]),
    ("exchange-16", "exchange.c", &["16", "1500000"], &["16", "20000"]),
    ("threads", "threads.c", &["8000"], &["100"]),
    ("neighbours", "sharing.c", &["neighbours", "2", "4000000"], &["neighbours", "2", "20000"]),
    ("passed", "sharing.c", &["passed", "2", "4000000"], &["passed", "2", "20000"]),
];

/// The programs of both groups.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn cases(options: &Options) -> Result<Vec<Case>, String> {
    let single = SINGLE.into_iter().map(|row| ("single", row));
    let multi = MULTI.into_iter().map(|row| ("multi", row));
    single
        .chain(multi)
        .filter(|(group, (name, ..))| options.wants(group, name))
        .map(|(group, row)| case(group, row, options))
        .collect()
}

/// Those of these names.
///
/// # Errors
///
/// The compiler is missing.
pub(crate) fn named(names: &[&str], options: &Options) -> Result<Vec<Case>, String> {
    let rows = SINGLE.into_iter().chain(MULTI).filter(|(name, ..)| names.contains(name));
    rows.map(|row| case("", row, options)).collect()
}

fn case(group: &'static str, (name, source, full, quick): Row, options: &Options) -> Result<Case, String> {
    let arguments = if options.quick { quick } else { full };
    Ok(Case::new(name, group, compile::program(source)?, arguments))
}
