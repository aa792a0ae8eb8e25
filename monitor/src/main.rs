//! `statsmon`: shows the heap of running programs that `libstatsalloc.so` is preloaded into.
//!
//! ```text
//! cli     what the user asks for
//! source  /dev/shm and /proc        (I/O)
//! model   what is known             (pure)
//! view    text, JSON, CSV, screen   (of the model alone)
//! print   snapshots on stdout
//! run     starts a program with the library
//! error   what went wrong, what to do, exit codes
//! ```
#![deny(unsafe_code)]

mod cli;
mod error;
mod model;
mod print;
mod run;
mod source;
mod view;

use clap::Parser;
use cli::{Cli, Command, Plan};
use std::io::IsTerminal;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    let outcome = match cli.command {
        Some(Command::Run(run)) => run::run(run),
        None => match cli.look.plan(std::io::stdout().is_terminal()) {
            Plan::Screen { selection, interval } => view::tui::run(view::tui::Options { selection, interval }),
            Plan::Print { selection, form, snapshots, interval } => {
                print::snapshots(selection, form, snapshots, interval)
            }
        },
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        error::report(&error);
        error.exit_code()
    }))
}
