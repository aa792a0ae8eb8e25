//! One snapshot as one line of JSON. The names are those of the model.

use crate::model::Snapshot;
use std::io::{self, Write};

/// Writes `snapshot` and a line feed.
pub(crate) fn write(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, snapshot)?;
    out.write_all(b"\n")
}
