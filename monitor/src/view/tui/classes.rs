//! The table of size classes.

use super::app::App;
use super::table::{self, Column, Value};
use super::theme::Theme;
use crate::model::SizeClass;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// One size class that has been used.
pub(super) struct Row {
    class: SizeClass,
    allocations_per_second: Option<f64>,
}

/// Sorted by this column at first: allocated bytes.
pub(super) const DEFAULT_SORT: usize = 4;

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, descending: true, value }
}

/// The columns.
pub(super) const COLUMNS: [Column<Row>; 11] = [
    Column { descending: false, ..number("SIZE", 6, 0, |row| Value::Id(Some(row.class.block_size))) },
    number("LIVE", 6, 0, |row| Value::Count(Some(row.class.live_blocks))),
    number("FREE LIST", 9, 64, |row| Value::Count(Some(row.class.free_list_length))),
    number("REQUESTED", 10, 52, |row| Value::Bytes(Some(row.class.requested_bytes))),
    number("ALLOCATED", 10, 0, |row| Value::Bytes(Some(row.class.allocated_bytes))),
    number("PINNED", 9, 0, |row| Value::Bytes(Some(row.class.pinned_bytes))),
    number("ALLOC/S", 8, 76, |row| Value::Rate(row.allocations_per_second)),
    number("ALLOCS", 8, 80, |row| Value::Count(Some(row.class.allocations))),
    number("FREES", 8, 104, |row| Value::Count(Some(row.class.frees))),
    number("ROUNDING", 9, 112, |row| {
        Value::Bytes(Some(row.class.allocated_bytes.saturating_sub(row.class.requested_bytes)))
    }),
    number("SLABS", 6, 70, |row| Value::Count(Some(row.class.slabs))),
];

/// The classes that were ever used, sorted.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let classes = app.shown().and_then(|process| process.size_classes.as_deref()).unwrap_or_default();
    let earlier = app.earlier().and_then(|(process, seconds)| Some((process.size_classes.as_deref()?, seconds)));
    let rate = |class: &SizeClass| {
        let (earlier, seconds) = earlier?;
        let before = earlier.iter().find(|before| before.block_size == class.block_size)?;
        Some(class.allocations.saturating_sub(before.allocations) as f64 / seconds)
    };
    let used = classes.iter().filter(|class| class.allocations != 0 || class.slabs != 0);
    let mut rows: Vec<Row> =
        used.map(|class| Row { allocations_per_second: rate(class), class: class.clone() }).collect();
    table::sort(&mut rows, &COLUMNS, &app.classes, key);
    rows
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.class.block_size
}

/// Draws the table.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    table::draw(buffer, area, &COLUMNS, &rows(app), &app.classes, theme, |row| row.class.live_blocks == 0);
}
