//! One size class: its figures, its history, and which threads allocate and free its blocks.

use super::app::App;
use super::graph::{self, Graph};
use super::table::{self, Column, Look, Mode, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::{Line, Part, ThreadLine, ThreadState, Threads};
use crate::view::format::{bytes, count, short};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// What a thread did with blocks of the class.
pub(super) struct Row {
    index: u64,
    tid: Option<u32>,
    name: String,
    has_ended: bool,
    row_generation: Option<u64>,
    done: Done,
}

/// Figures of one thread, or of several.
#[derive(Default)]
struct Done {
    allocations: Part,
    frees: Part,
    allocated_by: Part,
    freed_by: Part,
}

/// Sorted at first by bytes allocated by the thread.
pub(super) const SORT: (usize, bool) = (2, true);

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 8] = [
    Column { descending: false, ..number("TID", 7, 0, |row| Value::Id(row.tid.map(u64::from))) },
    Column { right: false, descending: false, ..number("NAME", 8, 0, |row| Value::Text(row.name.clone())) },
    number("ALLOC BY", 10, 0, |row| Value::BytesUpTo(row.done.allocated_by)),
    number("FREED BY", 10, 0, |row| Value::BytesUpTo(row.done.freed_by)),
    number("NET", 10, 60, |row| {
        let both = row.done.allocated_by.exact().zip(row.done.freed_by.exact());
        Value::Change(both.map(|(one, other)| one.cast_signed().saturating_sub(other.cast_signed())))
    }),
    number("ALLOCS", 8, 52, |row| Value::CountUpTo(row.done.allocations)),
    number("FREES", 8, 66, |row| Value::CountUpTo(row.done.frees)),
    number("OF ROW", 7, 77, |row| Value::Count(row.row_generation)),
];

/// The threads that may have had blocks of the open class, arranged; those before them in their rows are one.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let Some(class) = app.class.map(Line::class) else { return Vec::new() };
    let process = app.shown();
    let threads = process.and_then(|process| process.threads.as_ref());
    let threads = threads.map(|threads| threads.rows.as_slice()).unwrap_or_default();
    let mut rows = Vec::new();
    let mut ended = Done::default();
    for (index, thread) in (0..).zip(threads) {
        let Some(line) = thread.classes.iter().find(|line| line.line == class) else { continue };
        ended.add_others(line);
        rows.push(Row {
            index,
            tid: thread.tid,
            name: thread.name.clone(),
            has_ended: thread.state == ThreadState::Ended,
            row_generation: Some(thread.row_generation),
            done: Done {
                allocations: line.allocations,
                frees: line.frees,
                allocated_by: line.allocated_by_bytes,
                freed_by: line.freed_by_bytes,
            },
        });
    }
    rows.retain(|row| row.done.is_any());
    if ended.is_any() {
        let index = threads.len() as u64;
        let name = Threads::earlier(process.is_some_and(|process| process.forked_from.is_some()));
        rows.push(Row { index, tid: None, name: name.to_owned(), has_ended: true, row_generation: None, done: ended });
    }
    table::arrange(rows, &COLUMNS, app.tables.get(TableId::Class), key)
}

impl Done {
    /// Adds what the earlier threads of a row did.
    fn add_others(&mut self, line: &ThreadLine) {
        let rest = |whole: u64, part: Part| Part {
            least: whole.saturating_sub(part.most),
            most: whole.saturating_sub(part.least),
        };
        self.allocations = self.allocations.plus(rest(line.row_allocations, line.allocations));
        self.frees = self.frees.plus(rest(line.row_frees, line.frees));
        self.allocated_by = self.allocated_by.plus(rest(line.row_allocated_by_bytes, line.allocated_by_bytes));
        self.freed_by = self.freed_by.plus(rest(line.row_freed_by_bytes, line.freed_by_bytes));
    }

    fn is_any(&self) -> bool {
        self.allocations.most != 0 || self.frees.most != 0
    }
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.tid.map_or(u64::MAX - row.index, u64::from)
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.has_ended { Look::Faint } else { Look::Plain }
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
