//! The screen.

use crate::error::Error;
use crate::run::Watched;
use crate::source::Selection;
use std::time::Duration;

/// What to show, and how often.
pub(crate) struct Options {
    /// The processes.
    pub(crate) selection: Selection,
    /// Time between two looks.
    pub(crate) interval: Duration,
}

/// Shows the screen until the user leaves it. Returns the exit code.
pub(crate) fn run(_options: Options) -> Result<u8, Error> {
    Err(Error::Usage("there is no screen yet: use --once".into()))
}

/// Shows the screen on a program that this monitor has started, until that ends or the user leaves; on `q` it asks
/// whether to leave the program running or to end it. Returns the exit code.
pub(crate) fn watch(_watched: Watched, _interval: Duration) -> Result<u8, Error> {
    Err(Error::Usage("there is no screen yet: use --report".into()))
}
