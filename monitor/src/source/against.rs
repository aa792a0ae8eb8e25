//! An earlier `--json`, to compare a process with.

use super::Selection;
use crate::error::Error;
use crate::model::Process;
use crate::model::compare::Side;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Bytes of the longest file that is read: more than a snapshot of thousands of threads takes, or an hour of smaller ones.
const LONGEST: u64 = 256 << 20;

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Against {
    path: PathBuf,
    text: String,
}

impl Against {
    /// Reads the file, which may be a pipe, to compare the one process selected. What does not end is refused.
    pub(crate) fn read(path: &Path, selection: &Selection) -> Result<Self, Error> {
        if !matches!(selection, Selection::Targets(targets) if targets.len() == 1) {
            return Err(Error::Usage("--against compares one process with what it was"));
        }
        let reading = |cause| Error::io(format!("reading {}", path.display()), cause);
        let mut text = String::new();
        let read =
            File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text)).map_err(reading)?;
        if read as u64 > LONGEST {
            return Err(reading(io::Error::other("it is too long to be a snapshot")));
        }
        Ok(Self { path: path.to_owned(), text })
    }

    /// What it says of this process; else of the last of its name, else of the last there is.
    pub(crate) fn side(&self, process: &Process) -> Result<Side, Error> {
        let understanding = format!("understanding {}", self.path.display());
        Side::from_json(&self.text, process.pid, &process.name)
            .map_err(|why| Error::io(understanding, io::Error::other(why)))
    }
}
