//! One size class: its figures, its history, and which threads allocate and free its blocks.

use super::app::App;
use super::graph::{self, Graph};
use super::table::{self, Column, Look, Mode, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::{Line, Thread, ThreadLine, ThreadState};
use crate::view::format::{bytes, count, short};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// What a thread did with blocks of the class.
pub(super) struct Row {
    index: u64,
    thread: Thread,
    done: ThreadLine,
}

/// Sorted at first by bytes allocated by the thread.
pub(super) const SORT: (usize, bool) = (2, true);

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 8] = [
    Column { descending: false, ..number("TID", 7, 0, |row| Value::Id(row.thread.tid.map(u64::from))) },
    Column { right: false, descending: false, ..number("NAME", 8, 0, |row| Value::Text(row.thread.name.clone())) },
    number("ALLOC BY", 10, 0, |row| Value::Bytes(Some(row.done.allocated_by_bytes))),
    number("FREED BY", 10, 0, |row| Value::Bytes(Some(row.done.freed_by_bytes))),
    number("NET", 10, 60, |row| {
        let (one, other) = (row.done.allocated_by_bytes, row.done.freed_by_bytes);
        Value::Change(Some(one.cast_signed().saturating_sub(other.cast_signed())))
    }),
    number("ALLOCS", 8, 52, |row| Value::Count(Some(row.done.allocations))),
    number("FREES", 8, 66, |row| Value::Count(Some(row.done.frees))),
    number("OF ROW", 7, 77, |row| Value::Count(Some(row.thread.row_generation))),
];

/// The threads that ever had blocks of the open class, arranged.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let Some(class) = app.class.map(Line::class) else { return Vec::new() };
    let threads = app.shown().and_then(|process| process.threads.as_ref());
    let threads = threads.map(|threads| threads.rows.as_slice()).unwrap_or_default();
    let rows = (0..).zip(threads).filter_map(|(index, thread): (u64, &Thread)| {
        let done = thread.classes.iter().find(|done| done.line == class)?;
        Some(Row { index, thread: thread.clone(), done: *done })
    });
    table::arrange(rows.collect(), &COLUMNS, app.tables.get(TableId::Class), key)
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.thread.tid.map_or(u64::MAX - row.index, u64::from)
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.thread.state == ThreadState::Ended { Look::Faint } else { Look::Plain }
}

/// Rows of words above the graph.
const WORDS: u16 = 4;

/// Rows above the table: figures and graph.
pub(super) fn above(body: Rect) -> u16 {
    let graph = body.height.saturating_sub(WORDS) / 2;
    if graph >= graph::LEAST_ROWS { WORDS + graph } else { WORDS }
}

/// Draws the figures and the graph.
pub(super) fn draw_above(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let (Some(process), Some(size)) = (app.shown(), app.class) else { return };
    let class = process.size_classes.iter().flatten().find(|class| class.block_size == size);
    let Some(class) = class else { return };
    let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!(" ({}/s)", short(rate)));
    let words = [
        format!(
            "Size class {size}: blocks of {size} bytes, {} in a slab of {}",
            class.slab_bytes / size.max(1),
            bytes(class.slab_bytes)
        ),
        format!(
            "{} live, {} free, in {} slabs",
            count(class.live_blocks),
            count(class.free_list_length),
            count(class.slabs),
        ),
        format!(
            "{} requested, {} allocated, {} pinned",
            bytes(class.requested_bytes),
            bytes(class.allocated_bytes),
            bytes(class.pinned_bytes),
        ),
        format!(
            "{} allocated{}, {} freed{} since the start",
            count(class.allocations),
            rate(class.allocations_per_second),
            count(class.frees),
            rate(class.frees_per_second),
        ),
    ];
    for (at, (row, text)) in area.rows().zip(&words).enumerate() {
        let style = if at == 0 { theme.strong() } else { Style::new() };
        put(buffer, (row.x, row.y), row.width, text, false, style, theme);
    }
    let used = WORDS.min(area.height);
    let rest = Rect { y: area.y + used, height: area.height - used, ..area };
    if rest.height >= graph::LEAST_ROWS {
        Graph::of_class(process, class, app.window).draw(buffer, rest, theme);
    }
}
