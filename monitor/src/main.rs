//! `statsmon`: shows the heap of running programs that `libstatsalloc.so` is preloaded into.
//!
//! ```text
//! cli     what the user asks for
//! source  /dev/shm and /proc        (I/O)
//! model   what is known             (pure)
//! view    text, JSON, CSV, screen   (of the model alone)
//! print   snapshots on stdout
//! run     starts a program with the library
//! manual  the manual pages
//! error   what went wrong, what to do, exit codes
//! ```
#![deny(unsafe_code)]

mod cli;
mod error;
mod manual;
mod model;
mod print;
mod run;
mod source;
mod view;

use clap::Parser;
use cli::{Cli, Command, Plan};
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::refuse(&error),
    };
    let printed =
        |result: std::io::Result<()>| result.map(|()| 0).map_err(|cause| error::Error::io("writing to stdout", cause));
    let outcome = match cli.command {
        Some(Command::Run(run)) => run::run(run),
        Some(Command::Man { page }) => printed(manual::page(page).and_then(|text| cli::print(&text))),
        Some(Command::Completions { shell }) => printed(cli::print_completions(shell)),
        None => match cli.look.plan(view::tui::is_possible()) {
            Plan::Screen { selection, interval, against, terminal } => {
                view::tui::run(view::tui::Options { selection, interval, against, terminal })
            }
            Plan::Print(print) => print::snapshots(print),
        },
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        error::report(&error);
        error.exit_code()
    }))
}
