//! The command line.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// One operation alone and warm, in nanoseconds.
    Micro,
}

/// Compares libstatsalloc.so with other allocators.
#[derive(Debug, Parser)]
#[command(name = "peers")]
pub(crate) struct Options {
    /// What to measure
    #[arg(value_name = "MODE")]
    modes: Vec<Mode>,
    /// How often everything is run, interleaved in random order
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only cases whose name contains this; may be repeated
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Only these allocators, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) allocators: Vec<String>,
    /// Another build of the library in place of this workspace's; may be repeated
    #[arg(long, value_name = "[LABEL=]PATH")]
    pub(crate) library: Vec<String>,
    /// Everything small and once, to see that it runs
    #[arg(long)]
    pub(crate) quick: bool,
    /// What cargo says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn modes(&self) -> Vec<Mode> {
        if self.modes.is_empty() { vec![Mode::Micro] } else { self.modes.clone() }
    }

    pub(crate) fn rounds(&self) -> u32 {
        if self.quick { 1 } else { self.rounds }
    }

    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|pattern| name.contains(pattern.as_str()))
    }

    /// The other builds, each with its label: the file's folder where none is given.
    pub(crate) fn libraries(&self) -> Vec<(String, PathBuf)> {
        self.library
            .iter()
            .map(|given| match given.split_once('=') {
                Some((label, path)) => (label.to_owned(), PathBuf::from(path)),
                None => (given.clone(), PathBuf::from(given)),
            })
            .collect()
    }
}
