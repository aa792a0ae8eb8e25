//! What the statistics and checks cost: the library against a build of the same sources that does without (the feature
//! `bare` of `alloc-preload`). Real programs, programs that do little but allocate, and single operations.

use crate::allocators::Allocator;
use crate::cases::Case;
use crate::compile;
use crate::options::Options;
use crate::{micro, real, suite};

/// Programs of `suite` that spend much of their time in the allocator: which one they have makes a difference of a fifth and more.
const BOUND: [&str; 9] =
    ["mixed", "batch-fifo", "batch-lifo", "batch-random", "trees", "server", "mixed-2", "pipeline", "exchange-2"];

/// Rows of `micro`: a pair in random order, a pair back to back, a replacement.
const OPERATIONS: [&str; 3] = ["random-1k", "pair-64", "mixed-small"];

/// The builds of ours among `chosen`, and the bare one.
///
/// # Errors
///
/// It cannot be built.
pub(crate) fn allocators(chosen: &[Allocator]) -> Result<Vec<Allocator>, String> {
    let mut both: Vec<_> = chosen.iter().filter(|allocator| allocator.ours).cloned().collect();
    let target = compile::directory("bare")?;
    let mut cargo = tests::artefacts::cargo();
    cargo.args(["build", "--release", "--quiet", "--locked", "-p", "alloc-preload", "--features", "bare"]);
    compile::succeeds(cargo.arg("--target-dir").arg(&target))?;
    both.push(Allocator::bare(target.join("release/libstatsalloc.so")));
    Ok(both)
}

/// What is compared.
///
/// # Errors
///
/// The compiler is missing, or an input cannot be written.
pub(crate) fn cases(options: &Options) -> Result<Vec<Case>, String> {
    let bound = suite::named(&BOUND, options)?.into_iter().map(|case| Case { group: "bound", ..case });
    let operations = micro::cases(options)?.into_iter().filter(|case| OPERATIONS.contains(&case.name.as_str()));
    Ok(real::cases(options)?.into_iter().chain(bound).chain(operations).collect())
}
