//! Large blocks by size, and the free memory that is kept for more of them.

use super::app::App;
use super::table::{self, Column, Look, Mode, TREND, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::LargeClass;
use crate::view::format::{bytes, count, duration};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Large blocks of similar size.
pub(super) struct Row {
    bucket: LargeClass,
}

/// Sorted at first by size.
pub(super) const SORT: (usize, bool) = (0, false);

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 10] = [
    Column {
        descending: false,
        ..number("UP TO", 9, 0, |row| Value::Bytes(Some(row.bucket.up_to_bytes.unwrap_or(u64::MAX))))
    },
    number("LIVE", 6, 0, |row| Value::Count(Some(row.bucket.live_blocks))),
    Column { mode: Mode::Amounts, ..number("REQUESTED", 10, 50, |row| Value::Bytes(Some(row.bucket.requested_bytes))) },
    number("ALLOCATED", 10, 0, |row| Value::Bytes(Some(row.bucket.allocated_bytes))),
    number("GROWTH/S", 9, 40, |row| Value::Growth(row.bucket.growth_bytes_per_second)),
    Column { mode: Mode::Rates, ..number("ALLOC/S", 8, 0, |row| Value::Rate(row.bucket.allocations_per_second)) },
    Column { mode: Mode::Rates, ..number("FREE/S", 8, 50, |row| Value::Rate(row.bucket.frees_per_second)) },
    number("ALLOCS", 7, 60, |row| Value::Count(Some(row.bucket.allocations))),
    number("FREES", 7, 68, |row| Value::Count(Some(row.bucket.frees))),
    Column { right: false, ..number("TREND", TREND, 78, |row| Value::Trend(row.bucket.recent_bytes.clone())) },
];

/// The buckets that were ever used (all, where unused ones are wanted), arranged.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let large = app.shown().and_then(|process| process.large.as_ref());
    let buckets = large.map(|large| large.classes.as_slice()).unwrap_or_default();
    let used = buckets.iter().filter(|bucket| app.unused || bucket.allocations != 0);
    let rows = used.map(|bucket| Row { bucket: bucket.clone() }).collect();
    table::arrange(rows, &COLUMNS, app.tables.get(TableId::Large), key)
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.bucket.up_to_bytes.unwrap_or(u64::MAX)
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.bucket.live_blocks == 0 { Look::Faint } else { Look::Plain }
}

/// Rows above the table.
pub(super) const ABOVE: u16 = 3;

/// Draws the sums.
pub(super) fn draw_above(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let Some((process, large)) = app.shown().and_then(|process| Some((process, process.large.as_ref()?))) else {
        return;
    };
    let known = |figure: Option<u64>| figure.map_or("-".to_owned(), bytes);
    let decay = match process.decay_seconds {
        Some(seconds) => format!("returns after {}, at a later free", duration(seconds)),
        None => "never returns".to_owned(),
    };
    let lines = [
        format!(
            "{} {} live: {} requested, {} allocated; {} page moves",
            count(large.live_blocks),
            if large.live_blocks == 1 { "large block" } else { "large blocks" },
            bytes(large.requested_bytes),
            bytes(large.allocated_bytes),
            count(large.page_moves),
        ),
        format!("{} cached in free spans and slabs; {decay}", known(process.totals.cached_bytes)),
        format!(
            "{} purges gave {} back; {} retained without memory",
            count(large.purges),
            known(process.totals.purged_bytes),
            known(process.totals.retained_bytes),
        ),
    ];
    for (row, text) in area.rows().zip(&lines) {
        put(buffer, (row.x, row.y), row.width, text, false, Style::new(), theme);
    }
}
