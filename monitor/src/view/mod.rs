//! Views of the model. None of them reads anything else.

pub(crate) mod comparison;
pub(crate) mod csv;
pub(crate) mod format;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod openmetrics;
pub(crate) mod report;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod tui;
pub(crate) mod verdict;
