//! The table of threads. Figures are of calls made by the thread: allocated by it, freed by it, never owned by it.

use super::app::App;
use super::table::{self, Column, Look, Mode, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::{Thread, ThreadState};
use crate::view::format::{bytes, count, short};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// One thread.
pub(super) struct Row {
    index: u64,
    thread: Thread,
}

/// Sorted at first by bytes allocated by the thread.
pub(super) const SORT: (usize, bool) = (3, true);

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

const fn words(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: false, from_width, below_width: u16::MAX, mode: Mode::Both, descending: false, value }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 14] = [
    Column { descending: false, ..number("TID", 7, 0, |row| Value::Id(row.thread.tid.map(u64::from))) },
    words("STATE", 6, 46, |row| Value::Text(row.thread.state.as_str().to_uppercase())),
    words("NAME", 8, 0, |row| Value::Text(row.thread.name.clone())),
    number("ALLOC BY", 9, 0, |row| Value::Bytes(Some(row.thread.allocated_by_bytes))),
    number("FREED BY", 9, 0, |row| Value::Bytes(Some(row.thread.freed_by_bytes))),
    number("R.OUT", 6, 56, |row| Value::Count(Some(row.thread.remote_frees))),
    number("R.IN", 6, 64, |row| Value::Count(row.thread.remote_collected)),
    amount("LEFT", 8, 80, |row| Value::Bytes(row.thread.abandoned_bytes)),
    amount("ADOPTED", 8, 72, |row| Value::Bytes(row.thread.adopted_bytes)),
    rate("ALLOC/S", 8, 72, |row| Value::Rate(row.thread.allocations_per_second)),
    rate("FREE/S", 8, 80, |row| Value::Rate(row.thread.frees_per_second)),
    number("ALLOCS", 7, 92, |row| Value::Count(Some(row.thread.allocations))),
    number("FREES", 7, 100, |row| Value::Count(Some(row.thread.frees))),
    number("REALLOCS", 9, 110, |row| Value::Count(Some(row.thread.reallocations))),
];

const fn amount(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { mode: Mode::Amounts, ..number(title, width, from_width, value) }
}

const fn rate(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { mode: Mode::Rates, ..number(title, width, from_width, value) }
}

/// The threads, also recently ended ones, arranged.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let threads = app.shown().and_then(|process| process.threads.as_ref());
    let all = threads.iter().flat_map(|threads| threads.rows.iter().chain(&threads.gone));
    let rows = (0..).zip(all).map(|(index, thread)| Row { index, thread: thread.clone() });
    table::arrange(rows.collect(), &COLUMNS, app.tables.get(TableId::Threads), key)
}

/// Identity of a row: its thread and when that began, since IDs are used again; or its place where it has none.
pub(super) fn key(row: &Row) -> u64 {
    let began = row.thread.start_time.map_or(0, |time| time.0);
    row.thread.tid.map_or(u64::MAX - row.index, |tid| u64::from(tid) ^ (began << 22))
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.thread.state == ThreadState::Ended { Look::Faint } else { Look::Plain }
}

/// Rows above the table.
pub(super) const ABOVE: u16 = 2;

/// Draws the sums over all threads.
pub(super) fn draw_above(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let Some((process, threads)) = app.shown().and_then(|process| Some((process, process.threads.as_ref()?))) else {
        return;
    };
    let rate = |rate: Option<f64>| rate.map_or("-".to_owned(), |rate| format!("{}/s", short(rate)));
    let remote = process.totals.remote_frees.map_or("-".to_owned(), count);
    let lines = [
        format!(
            "{} live, {} started ({}), {} ended ({})",
            count(threads.live),
            count(threads.started),
            rate(threads.starts_per_second),
            count(threads.ended),
            rate(threads.ends_per_second),
        ),
        format!(
            "stranded {}, adopted {} since the start; {remote} remote frees",
            bytes(threads.stranded_bytes),
            bytes(threads.adopted_bytes),
        ),
    ];
    for (row, text) in area.rows().zip(&lines) {
        put(buffer, (row.x, row.y), row.width, text, false, Style::new(), theme);
    }
}
