//! Compares the preload library with other allocators: `cargo bench -p tests --bench peers -- [OPTIONS] [MODE]...`
//!
//! | module | subject |
//! |---|---|
//! | [`options`]    | the command line |
//! | [`allocators`] | who is compared |
//! | [`shims`]      | peers that are built from the sources in their crates |
//! | [`compile`]    | the workload programs in `programs/`, each built once |
//! | [`cases`]      | one thing to measure, and what a measurement gave |
//! | [`suite`]      | whole programs of our own |
//! | [`real`]       | real programs, and in [`inputs`] what they are given |
//! | [`micro`]      | one operation alone, in nanoseconds |
//! | [`price`]      | what the statistics and checks cost |
//! | [`probes`]     | start-up, scaling, cost by live heap, memory given back |
//! | [`launch`]     | one run of one program: wall time, processor time, peak RSS |
//! | [`redis`]      | one run of a server under load |
//! | [`rounds`]     | all cases under all allocators, interleaved in random order |
//! | [`stats`]      | medians, geometric means of paired ratios and their intervals |
//! | [`report`]     | tables, curves; text, Markdown, JSON |

mod allocators;
mod cases;
mod compile;
mod inputs;
mod launch;
mod micro;
mod options;
mod price;
mod probes;
mod real;
mod redis;
mod report;
mod rounds;
mod shims;
mod stats;
mod suite;

use allocators::Allocator;
use cases::Case;
use clap::Parser;
use options::{Mode, Options};
use rounds::Results;
use std::path::Path;
use std::process::ExitCode;

/// 0: all went well. 1: a program failed under some allocator. 2: nothing could be measured.
fn main() -> ExitCode {
    // Cargo starts benchmarks in their package's folder; paths are meant relative to where the command was given.
    if let Some(folder) = std::env::var_os("PWD") {
        let _ = std::env::set_current_dir(folder);
    }
    match run(&Options::parse()) {
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
    let mut measured = Vec::new();
    for mode in options.modes() {
        let compared = if mode == Mode::Price { price::allocators(&allocators)? } else { allocators.clone() };
        let results = rounds::measure(mode, cases(mode, options)?, &compared, options)?;
        println!("\n== {}", mode.title());
        report::tables(mode, &results).iter().for_each(|table| print!("{}", table.text()));
        measured.push((mode, results));
        // After every mode: what has been measured is not lost with what comes.
        write_all(options, &allocators, &measured)?;
    }
    Ok(measured.iter().all(|(_, results)| results.failures().next().is_none()))
}

/// Writes the files that were asked for.
fn write_all(options: &Options, allocators: &[Allocator], measured: &[(Mode, Results)]) -> Result<(), String> {
    if let Some(file) = &options.json {
        write(file, &format!("{:#}\n", report::json::document(allocators, measured)))?;
    }
    if let Some(file) = &options.page {
        let sections: Vec<_> = measured.iter().map(|(mode, results)| (*mode, report::tables(*mode, results))).collect();
        write(file, &report::page::markdown(allocators, &sections))?;
    }
    Ok(())
}

/// What there is to measure in `mode`, as far as it is asked for.
fn cases(mode: Mode, options: &Options) -> Result<Vec<Case>, String> {
    let all = match mode {
        Mode::Suite => [suite::cases(options)?, real::cases(options)?].concat(),
        Mode::Micro => micro::cases(options)?,
        Mode::Startup => probes::startup(options)?,
        Mode::Scaling => probes::scaling(options)?,
        Mode::Heap => probes::heap(options)?,
        Mode::Giveback => probes::giveback(options)?,
        Mode::Price => price::cases(options)?,
    };
    Ok(all.into_iter().filter(|case| options.wants(case.group, &case.name)).collect())
}

fn write(file: &Path, text: &str) -> Result<(), String> {
    let folder = file.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| std::fs::write(file, text)).map_err(|error| format!("{}: {error}", file.display()))
}
