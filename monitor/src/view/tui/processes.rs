//! The list of processes.

use super::app::App;
use super::table::{self, Column, Value};
use super::theme::Theme;
use crate::model::{Process, State};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

/// One process.
pub(super) struct Row {
    /// Its PID.
    pub(super) pid: u32,
    state: State,
    requested: Option<u64>,
    allocated: Option<u64>,
    rss: Option<u64>,
    allocations_per_second: Option<f64>,
    growth: Option<f64>,
    threads: Option<u64>,
    misuses: Option<u64>,
    command: String,
}

/// Sorted by this column at first: allocated bytes.
pub(super) const DEFAULT_SORT: usize = 3;

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, descending: true, value }
}

/// The columns.
pub(super) const COLUMNS: [Column<Row>; 10] = [
    Column { descending: false, ..number("PID", 7, 0, |row| Value::Id(Some(u64::from(row.pid)))) },
    Column {
        title: "STATE",
        width: 11,
        right: false,
        from_width: 48,
        descending: false,
        value: |row| Value::Text(state_in_words(row.state).to_owned()),
    },
    number("REQUESTED", 10, 60, |row| Value::Bytes(row.requested)),
    number("ALLOCATED", 10, 0, |row| Value::Bytes(row.allocated)),
    number("RSS", 9, 68, |row| Value::Bytes(row.rss)),
    number("GROWTH/S", 10, 110, |row| Value::Growth(row.growth)),
    number("ALLOC/S", 8, 76, |row| Value::Rate(row.allocations_per_second)),
    number("THR", 4, 90, |row| Value::Count(row.threads)),
    number("MISUSE", 7, 100, |row| Value::Count(row.misuses)),
    Column {
        title: "COMMAND",
        width: 8,
        right: false,
        from_width: 0,
        descending: false,
        value: |row| Value::Text(row.command.clone()),
    },
];

/// A state as the screen has it.
pub(super) fn state_in_words(state: State) -> &'static str {
    match state {
        State::Live => "LIVE",
        State::Exited => "EXITED",
        State::Crashed => "CRASHED",
        State::NoAccess => "NO ACCESS",
        State::Unpublished => "UNPUBLISHED",
    }
}

/// The processes, sorted.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let mut rows: Vec<Row> = app.data().list.iter().map(row).collect();
    table::sort(&mut rows, &COLUMNS, &app.processes, key);
    rows
}

fn row(process: &Process) -> Row {
    Row {
        pid: process.pid,
        state: process.state,
        requested: process.totals.requested_bytes,
        allocated: process.totals.allocated_bytes,
        rss: process.totals.rss_bytes,
        allocations_per_second: process.rates.allocations_per_second,
        growth: process.rates.requested_growth_bytes_per_second,
        threads: process.threads.as_ref().map(|threads| threads.live),
        misuses: process.misuse.as_ref().map(super::process::misuse_count),
        command: process.command.clone(),
    }
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    u64::from(row.pid)
}

/// Draws the list.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let rows = rows(app);
    if rows.is_empty() && area.height > 2 {
        let middle = Rect { y: area.y + 1, height: 2, ..area };
        let lines = ["No process with the library yet.", "Start one with: statsmon run -- COMMAND"];
        for (row, text) in middle.rows().zip(lines) {
            buffer.set_line(row.x, row.y, &Line::styled(text, theme.quiet()), row.width);
        }
        return;
    }
    table::draw(buffer, area, &COLUMNS, &rows, &app.processes, theme, |row| row.state != State::Live);
}
