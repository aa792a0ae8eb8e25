//! Two processes, or a process and what it was, side by side.

use super::app::App;
use super::table::{self, Column, Look, Mode, Value};
use super::tables::TableId;
use crate::model::Comparison;
use crate::view::verdict;

/// One figure on both sides.
pub(super) struct Row {
    number: u64,
    name: String,
    left: Option<i64>,
    right: Option<i64>,
    difference: Option<i64>,
    is_bytes: bool,
}

/// At first in the order of the figures, then the sizes by how far they differ.
pub(super) const SORT: (usize, bool) = (usize::MAX, false);

const fn column(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 5] = [
    Column { right: false, descending: false, ..column("FIGURE", 14, 0, |row| Value::Text(row.name.clone())) },
    column("LEFT", 12, 0, |row| row.figure(row.left)),
    column("RIGHT", 12, 0, |row| row.figure(row.right)),
    // Sorted by how far they differ: a fall says as much as a climb.
    column("DIFFERENCE", 13, 0, |row| match row.is_bytes {
        true => Value::Distance(row.difference),
        false => Value::CountDistance(row.difference),
    }),
    column("CHANGE", 8, 64, |row| Value::ShareOfChange(row.change())),
];

impl Row {
    /// The difference as a share of the left figure; of nothing, and of less than nothing, there is none.
    fn change(&self) -> Option<f64> {
        let left = self.left.filter(|&left| left > 0)?;
        Some(self.difference? as f64 / left as f64)
    }

    fn figure(&self, figure: Option<i64>) -> Value {
        match self.is_bytes {
            true => Value::Signed(figure),
            false => Value::Count(figure.map(i64::unsigned_abs)),
        }
    }
}

/// The totals, then the sizes, or as the user sorts them.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let rows = app.comparison().map(rows_of).unwrap_or_default();
    table::arrange(rows, &COLUMNS, app.tables.get(TableId::Compare), key)
}

fn rows_of(comparison: &Comparison) -> Vec<Row> {
    let totals = comparison.totals.iter().map(|total| Row {
        number: 0,
        is_bytes: total.name.ends_with("_bytes"),
        name: total
            .name
            .trim_end_matches("_bytes")
            .replace("internal_fragmentation", "rounding")
            .replace("rss", "RSS")
            .replace('_', " "),
        left: total.left,
        right: total.right,
        difference: total.difference,
    });
    let mut classes: Vec<_> = comparison.classes.iter().collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.difference_bytes.unsigned_abs()));
    let classes = classes.into_iter().map(|class| Row {
        number: 0,
        name: verdict::line(class.line),
        left: Some(class.left_bytes),
        right: Some(class.right_bytes),
        difference: Some(class.difference_bytes),
        is_bytes: true,
    });
    let mut rows: Vec<Row> = totals.chain(classes).collect();
    for (number, row) in (0..).zip(&mut rows) {
        row.number = number;
    }
    rows
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.number
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.difference == Some(0) { Look::Faint } else { Look::Plain }
}
