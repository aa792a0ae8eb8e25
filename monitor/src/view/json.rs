//! One snapshot as one line of JSON. The names are those of the model.

use super::format::is_dangerous;
use crate::model::Snapshot;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// Writes `snapshot` and a line feed.
pub(crate) fn write(snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    snapshot.serialize(&mut Serializer::with_formatter(&mut *out, Harmless))?;
    out.write_all(b"\n")
}

/// Compact, with all that could steer a terminal escaped, where the standard asks for the first 32 characters only.
struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(character) = rest.chars().find(|&character| is_dangerous(character)) {
            let (before, from) = rest.split_at(rest.find(character).unwrap_or(rest.len()));
            out.write_all(before.as_bytes())?;
            // All of them lie in the first plane.
            write!(out, "\\u{:04x}", u32::from(character))?;
            rest = from.strip_prefix(character).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}
