//! The table of threads. Figures are of calls made by the thread: allocated by it, freed by it, never owned by it.

use super::app::App;
use super::table::{self, Column, Value};
use super::theme::Theme;
use crate::model::{Thread, ThreadState};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// One thread.
pub(super) struct Row {
    index: u64,
    thread: Thread,
    allocations_per_second: Option<f64>,
}

/// Sorted by this column at first: bytes allocated by the thread.
pub(super) const DEFAULT_SORT: usize = 3;

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, descending: true, value }
}

/// The columns.
pub(super) const COLUMNS: [Column<Row>; 10] = [
    Column { descending: false, ..number("TID", 7, 0, |row| Value::Id(row.thread.tid.map(u64::from))) },
    Column {
        title: "STATE",
        width: 6,
        right: false,
        from_width: 46,
        descending: false,
        value: |row| Value::Text(row.thread.state.as_str().to_uppercase()),
    },
    Column {
        title: "NAME",
        width: 8,
        right: false,
        from_width: 0,
        descending: false,
        value: |row| Value::Text(row.thread.name.clone()),
    },
    number("ALLOC BY", 10, 0, |row| Value::Bytes(Some(row.thread.allocated_by_bytes))),
    number("FREED BY", 10, 0, |row| Value::Bytes(Some(row.thread.freed_by_bytes))),
    number("ALLOC/S", 8, 76, |row| Value::Rate(row.allocations_per_second)),
    number("ALLOCS", 8, 56, |row| Value::Count(Some(row.thread.allocations))),
    number("FREES", 8, 64, |row| Value::Count(Some(row.thread.frees))),
    number("REALLOCS", 9, 104, |row| Value::Count(Some(row.thread.reallocations))),
    number("REMOTE", 8, 96, |row| Value::Count(Some(row.thread.remote_frees))),
];

/// The threads, sorted.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let threads = app.shown().and_then(|process| process.threads.as_ref());
    let threads = threads.map(|threads| threads.rows.as_slice()).unwrap_or_default();
    let earlier = app.earlier().and_then(|(process, seconds)| Some((process.threads.as_ref()?, seconds)));
    let rate = |thread: &Thread| {
        let (earlier, seconds) = earlier?;
        let same = |before: &&Thread| before.tid == thread.tid && before.start_time == thread.start_time;
        let before = earlier.rows.iter().find(same)?;
        Some(thread.allocations.saturating_sub(before.allocations) as f64 / seconds)
    };
    let row =
        |(index, thread): (u64, &Thread)| Row { index, allocations_per_second: rate(thread), thread: thread.clone() };
    let mut rows: Vec<Row> = (0..).zip(threads).map(row).collect();
    table::sort(&mut rows, &COLUMNS, &app.threads, key);
    rows
}

/// Identity of a row: its thread, or its place where that has no number.
pub(super) fn key(row: &Row) -> u64 {
    row.thread.tid.map_or(u64::MAX - row.index, u64::from)
}

/// Draws the table.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let ended = |row: &Row| row.thread.state == ThreadState::Ended;
    table::draw(buffer, area, &COLUMNS, &rows(app), &app.threads, theme, ended);
}
