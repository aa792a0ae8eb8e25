//! Compares the preload library with other allocators: `cargo bench -p tests --bench peers -- [OPTIONS] [MODE]...`
//!
//! | module | subject |
//! |---|---|
//! | [`options`]    | the command line |
//! | [`allocators`] | who is compared |
//! | [`compile`]    | the workload programs in `programs/`, each built once |
//! | [`cases`]      | one thing to measure, and what a measurement gave |
//! | [`launch`]     | one run of one program: wall time, processor time, peak RSS |
//! | [`rounds`]     | all cases under all allocators, interleaved in random order |
//! | [`micro`]      | one operation alone, in nanoseconds |
//! | [`stats`]      | medians, geometric means of paired ratios and their intervals |
//! | [`report`]     | the text table |

mod allocators;
mod cases;
mod compile;
mod launch;
mod micro;
mod options;
mod report;
mod rounds;
mod stats;

use clap::Parser;
use options::{Mode, Options};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::from(2)
        }
    }
}

/// `Ok(false)` when a program failed under some allocator.
fn run(options: &Options) -> Result<bool, String> {
    let allocators = allocators::chosen(options)?;
    let mut all_well = true;
    for mode in options.modes() {
        let cases = match mode {
            Mode::Micro => micro::cases(options)?,
        };
        let results = rounds::measure(&cases, &allocators, options)?;
        print!("{}", report::text(mode, &results));
        all_well &= results.failures().next().is_none();
    }
    Ok(all_well)
}
