//! Two processes, or a process and what it was, as text.

use super::format::{count, harmless, signed_bytes, signed_change};
use super::text::{Align, Table};
use super::verdict;
use crate::model::Comparison;
use crate::model::compare::Name;
use std::io::{self, Write};

/// Unknown.
const DASH: &str = "-";

/// Two sides and their differences.
pub(crate) fn write(comparison: &Comparison, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "\ncomparison")?;
    let (left, right) = (side(&comparison.left), side(&comparison.right));
    let mut table =
        Table::new(&[("", Align::Left), (&left, Align::Right), (&right, Align::Right), ("DIFFERENCE", Align::Right)]);
    for total in &comparison.totals {
        let is_bytes = total.name.ends_with("_bytes");
        let show = |figure: i64| if is_bytes { signed_bytes(figure) } else { count(figure.unsigned_abs()) };
        let change = |change: i64| if is_bytes { signed_change(change) } else { counted_change(change) };
        let figure = |figure: Option<i64>| figure.map_or(DASH.into(), show);
        let name = total.name.trim_end_matches("_bytes").replace('_', " ");
        let change = total.difference.map_or(DASH.into(), change);
        table.row(vec![name, figure(total.left), figure(total.right), change]);
    }
    for class in &comparison.classes {
        let change = signed_change(class.difference_bytes);
        let name = verdict::line(class.line);
        table.row(vec![name, signed_bytes(class.left_bytes), signed_bytes(class.right_bytes), change]);
    }
    table.write(out)
}

/// A side's heading.
pub(crate) fn side(name: &Name) -> String {
    let pid = name.pid.map_or(String::new(), |pid| format!(" {pid}"));
    let time = name.time.as_deref().and_then(|time| time.get(11..19)).map_or(String::new(), |time| format!(" {time}Z"));
    format!("{}{pid}{time}", harmless(&name.name))
}

/// A change of a count.
pub(crate) fn counted_change(change: i64) -> String {
    match change {
        0 => "0".to_owned(),
        1.. => format!("+{}", count(change.unsigned_abs())),
        _ => format!("-{}", count(change.unsigned_abs())),
    }
}
