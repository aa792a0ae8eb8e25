//! The command line.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Whole programs: wall time, processor time and peak RSS
    Suite,
    /// One operation alone and warm, in nanoseconds
    Micro,
    /// Starting a small program, and its RSS
    Startup,
    /// 1 to 64 threads; threads that share cache lines; a thread's start and end
    Scaling,
    /// The cost of an operation while 1 MiB to 8 GiB are live
    Heap,
    /// Memory that stays resident after it was freed
    Giveback,
    /// What the statistics and checks cost, against a build without them
    Price,
}

impl Mode {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Suite => "Whole programs",
            Self::Micro => "One operation",
            Self::Startup => "Starting a small program",
            Self::Scaling => "Scaling with threads",
            Self::Heap => "Cost by size of the live heap",
            Self::Giveback => "Memory that stays after it was freed",
            Self::Price => "Price of the statistics and checks",
        }
    }

    /// How often everything is run where nothing is said: what is short and noisy often, what is long or no time seldom.
    fn rounds(self) -> u32 {
        match self {
            Self::Suite | Self::Micro | Self::Scaling | Self::Price => 15,
            Self::Startup => 300,
            Self::Heap => 3,
            Self::Giveback => 1,
        }
    }
}

/// Compares libstatsalloc.so with other allocators.
#[derive(Debug, Parser)]
#[command(name = "peers")]
pub(crate) struct Options {
    /// What to measure, one after the other; whole programs unless said otherwise
    #[arg(value_name = "MODE")]
    modes: Vec<Mode>,
    /// Measure in all modes
    #[arg(long, conflicts_with = "modes")]
    all: bool,
    /// How often everything is run, interleaved in random order [default: suite, micro, scaling and price 15,
    /// startup 300, heap 3, giveback 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Only what has this in its name; may be repeated
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Only this group of programs: single, multi or real; of price real, bound or micro; may be repeated
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Only these allocators, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) allocators: Vec<String>,
    /// Another build of the library in place of this workspace's; may be repeated
    #[arg(long, value_name = "[LABEL=]PATH")]
    pub(crate) library: Vec<String>,
    /// Everything small and once, to see that it runs
    #[arg(long)]
    pub(crate) quick: bool,
    /// Write every reading to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the tables as a dated Markdown page to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) page: Option<PathBuf>,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn modes(&self) -> Vec<Mode> {
        match self.modes.as_slice() {
            _ if self.all => Mode::value_variants().to_vec(),
            [] => vec![Mode::Suite],
            modes => modes.to_vec(),
        }
    }

    pub(crate) fn rounds(&self, mode: Mode) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { mode.rounds() })
    }

    /// Whether a case of this group and name is asked for.
    pub(crate) fn wants(&self, group: &str, name: &str) -> bool {
        (self.group.is_empty() || self.group.iter().any(|wanted| wanted == group))
            && (self.only.is_empty() || self.only.iter().any(|pattern| name.contains(pattern.as_str())))
    }

    /// The other builds, each with its label: its path where none is given.
    pub(crate) fn libraries(&self) -> Vec<(String, PathBuf)> {
        let labelled = |given: &String| match given.split_once('=') {
            Some((label, path)) => (label.to_owned(), PathBuf::from(path)),
            None => (given.clone(), PathBuf::from(given)),
        };
        self.library.iter().map(labelled).collect()
    }
}
