//! Views of the model. None of them reads anything else.

pub(crate) mod format;
pub(crate) mod tui;
