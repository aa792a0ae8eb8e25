//! An earlier `--json`, to compare a process with.

use crate::error::Error;
use crate::model::Process;
use crate::model::compare::Side;
use std::io;
use std::path::{Path, PathBuf};

/// What a file holds.
#[derive(Debug)]
pub(crate) struct Against {
    path: PathBuf,
    text: String,
}

impl Against {
    /// Reads the file.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let reading = |cause| Error::io(format!("reading {}", path.display()), cause);
        Ok(Self { path: path.to_owned(), text: std::fs::read_to_string(path).map_err(reading)? })
    }

    /// What it says of this process; else of the last of its name, else of the last there is.
    pub(crate) fn side(&self, process: &Process) -> Result<Side, Error> {
        let understanding = format!("understanding {}", self.path.display());
        Side::from_json(&self.text, process.pid, &process.name)
            .map_err(|why| Error::io(understanding, io::Error::other(why)))
    }
}
