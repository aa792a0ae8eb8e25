//! One thing to measure, and what a measurement gave.

use std::path::PathBuf;

/// What a case's figure is. Less is better in all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    /// What the program prints: nanoseconds per operation.
    Printed,
}

impl Figure {
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Printed => "ns",
        }
    }
}

/// One program with its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) figure: Figure,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// What one run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// In the unit of the case's [`Figure`].
    pub(crate) figure: f64,
}

/// A reading, or why there is none.
pub(crate) type Outcome = Result<Reading, String>;
