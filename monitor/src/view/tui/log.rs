//! What has happened to the process, the latest on top.

use super::app::App;
use super::table::{self, Column, Look, Mode, Value};
use super::tables::TableId;
use crate::model::log::Entry;
use crate::view::log::{alarms, words};
use crate::view::verdict::clock;

/// One event.
pub(super) struct Row {
    number: u64,
    entry: Entry,
}

/// Sorted at first by time, the latest on top.
pub(super) const SORT: (usize, bool) = (0, true);

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 2] = [
    Column {
        title: "TIME",
        width: 20,
        right: false,
        from_width: 0,
        below_width: u16::MAX,
        mode: Mode::Both,
        descending: true,
        value: |row| Value::Text(format!("{} {}", &row.entry.time.to_string()[..10], clock(row.entry.time))),
    },
    Column {
        title: "EVENT",
        width: 10,
        right: false,
        from_width: 0,
        below_width: u16::MAX,
        mode: Mode::Both,
        descending: false,
        value: |row| Value::Text(words(&row.entry.event)),
    },
];

/// The events, arranged.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let log = app.shown().map(|process| process.log.as_slice()).unwrap_or_default();
    let rows = (0..).zip(log).map(|(number, entry)| Row { number, entry: entry.clone() }).collect();
    let state = app.tables.get(TableId::Log);
    let mut rows = table::arrange(rows, &COLUMNS, state, key);
    if state.sort == SORT.0 && state.descending {
        // Within a second too, the latest stands on top.
        rows.sort_by_key(|row| std::cmp::Reverse(row.number));
    }
    rows
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.number
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if alarms(&row.entry.event) { Look::Alarming } else { Look::Plain }
}
