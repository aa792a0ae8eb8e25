//! One thing to measure, and what a measurement gave.

use std::path::PathBuf;

/// What a case's figure is. Less is better in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// The program prints it: nanoseconds per operation.
    Nanoseconds,
    /// The program prints it: KiB.
    Kibibytes,
    /// Wall time of the whole process, milliseconds. The program's output must be the same under every allocator.
    Wall,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Kibibytes => "KiB",
            Self::Wall => "ms",
        }
    }
}

/// How a case is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The program is started and ends by itself.
    Alone,
    /// The program is a Redis server, driven by `redis-benchmark` with this many requests of each kind.
    Redis { requests: u32 },
}

/// One program with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Cases of one group have a common mean.
    pub(crate) group: &'static str,
    pub(crate) figure: Figure,
    pub(crate) way: Way,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, &'static str)>,
}

impl Case {
    /// A program alone, judged by its wall time.
    pub(crate) fn new(name: &str, group: &'static str, program: PathBuf, arguments: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            group,
            figure: Figure::Wall,
            way: Way::Alone,
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
        }
    }

    /// Whether the program is there; if not, that is said on standard error.
    pub(crate) fn installed(&self) -> bool {
        let there = self.program.is_file();
        if !there {
            eprintln!("without {}: {} is not installed", self.name, self.program.display());
        }
        there
    }

    pub(crate) fn figure(self, figure: Figure) -> Self {
        Self { figure, ..self }
    }
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// In the unit of the case's [`Figure`].
    pub(crate) figure: f64,
    /// User and system time, milliseconds.
    pub(crate) processor: f64,
    /// Peak resident set size of the largest process, KiB.
    pub(crate) resident: f64,
}

/// A reading, or why there is none.
pub(crate) type Outcome = Result<Reading, String>;
