//! The table of size classes: as they are, or as they were at the peak.

use super::app::App;
use super::table::{self, Column, Look, Mode, TREND, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::{Line, Process, SizeClass};
use crate::view::verdict::clock;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// One size class.
pub(super) struct Row {
    class: SizeClass,
    trend: Vec<u64>,
    /// Only its bytes are known: those at the peak.
    bytes_only: bool,
}

/// Sorted at first by allocated bytes, the most on top.
pub(super) const SORT: (usize, bool) = (4, true);

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

const fn amount(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { mode: Mode::Amounts, ..number(title, width, from_width, value) }
}

const fn rate(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { mode: Mode::Rates, ..number(title, width, from_width, value) }
}

impl Row {
    fn unless_past(&self, figure: u64) -> Option<u64> {
        (!self.bytes_only).then_some(figure)
    }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 13] = [
    Column { descending: false, ..number("SIZE", 6, 0, |row| Value::Id(Some(row.class.block_size))) },
    number("LIVE", 6, 0, |row| Value::Count(row.unless_past(row.class.live_blocks))),
    amount("FREE", 6, 60, |row| Value::Count(row.unless_past(row.class.free_list_length))),
    amount("REQUESTED", 10, 50, |row| Value::Bytes(row.unless_past(row.class.requested_bytes))),
    number("ALLOCATED", 10, 0, |row| Value::Bytes(Some(row.class.allocated_bytes))),
    amount("WASTE", 8, 0, |row| Value::Bytes(Some(row.class.waste_bytes()))),
    rate("ALLOC/S", 8, 0, |row| Value::Rate(row.class.allocations_per_second)),
    rate("FREE/S", 8, 50, |row| Value::Rate(row.class.frees_per_second)),
    rate("ALLOCS", 8, 60, |row| Value::Count(row.unless_past(row.class.allocations))),
    rate("FREES", 8, 70, |row| Value::Count(row.unless_past(row.class.frees))),
    number("GROWTH/S", 9, 70, |row| Value::Growth(row.class.growth_bytes_per_second)),
    amount("SLABS", 6, 80, |row| Value::Count(row.unless_past(row.class.slabs))),
    Column { right: false, ..number("TREND", TREND, 80, |row| Value::Trend(row.trend.clone())) },
];

/// The classes, arranged.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let Some(process) = app.shown() else { return Vec::new() };
    let classes = process.size_classes.as_deref().unwrap_or_default();
    let used = classes.iter().filter(|class| app.unused || class.allocations != 0 || class.slabs != 0);
    let peak = app.at_peak.then(|| peak(process)).flatten();
    let rows = used.map(|class| match peak {
        None => Row { class: class.clone(), trend: trend(process, class), bytes_only: false },
        Some(at) => at_peak(process, class, at),
    });
    table::arrange(rows.collect(), &COLUMNS, app.tables.get(TableId::Classes), key)
}

/// The minute of the history at whose end most was allocated; none where more is now.
fn peak(process: &Process) -> Option<usize> {
    let history = process.class_history.as_ref()?;
    let small = process.size_classes.iter().flatten().map(|class| class.allocated_bytes);
    let large = process.large.iter().flat_map(|large| &large.classes).map(|bucket| bucket.allocated_bytes);
    let now = small.chain(large).fold(0, u64::saturating_add);
    history.highest().filter(|&at| history.sum(at) > now)
}

fn at_peak(process: &Process, class: &SizeClass, at: usize) -> Row {
    let series = process.class_history.as_ref().and_then(|history| history.of(Line::class(class.block_size)));
    let figure = |figures: fn(&crate::model::history::ClassSeries) -> &Vec<u64>| {
        series.and_then(|series| figures(series).get(at).copied()).unwrap_or(0)
    };
    let allocated_bytes = figure(|series| &series.allocated_bytes);
    let past = SizeClass {
        allocated_bytes,
        // Waste is then what was pinned: what was requested is not known.
        requested_bytes: allocated_bytes,
        pinned_bytes: figure(|series| &series.pinned_bytes),
        allocations_per_second: None,
        frees_per_second: None,
        growth_bytes_per_second: None,
        ..class.clone()
    };
    Row { trend: trend(process, class), class: past, bytes_only: true }
}

/// The minutes, where there are enough of them; else the looks.
fn trend(process: &Process, class: &SizeClass) -> Vec<u64> {
    let history = process.class_history.as_ref().filter(|history| history.times.len() >= usize::from(TREND));
    let series = history.and_then(|history| history.of(Line::class(class.block_size)));
    match series {
        Some(series) => series.allocated_bytes.iter().copied().chain([class.allocated_bytes]).collect(),
        None => class.recent_bytes.clone(),
    }
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.class.block_size
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.class.allocated_bytes == 0 { Look::Faint } else { Look::Plain }
}

/// When the peak was, where the table is about that.
pub(super) fn draw_above(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let time = app.shown().and_then(|process| process.class_history.as_ref()?.times.get(peak(process)?).copied());
    let text = match time {
        Some(time) => format!("AT THE PEAK: the minute that ended at {}; p shows the present", clock(time)),
        None => "AT THE PEAK: that is now; no minute has ended with more".to_owned(),
    };
    if area.height > 0 {
        put(buffer, (area.x, area.y), area.width, &text, false, theme.banner(), theme);
    }
}
