//! The list of processes.

use super::app::App;
use super::table::{self, Column, Look, Mode, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::{Identity, Process, State};
use crate::view::verdict;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// One process.
pub(super) struct Row {
    id: Identity,
    pid: u32,
    state: State,
    is_stopped: bool,
    requested: Option<u64>,
    allocated: Option<u64>,
    rss: Option<u64>,
    allocations_per_second: Option<f64>,
    growth: Option<f64>,
    threads: Option<u64>,
    misuses: Option<u64>,
    command: String,
    name: String,
    diagnosis: &'static str,
}

/// Sorted at first by allocated bytes, the most on top.
pub(super) const SORT: (usize, bool) = (5, true);

const fn number(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: true, from_width, below_width: u16::MAX, mode: Mode::Both, descending: true, value }
}

const fn words(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: false, from_width, below_width: u16::MAX, mode: Mode::Both, descending: false, value }
}

/// From this width on there is room for a state's name; where there is less, for its first letter.
const STATE_FROM: u16 = 48;

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 13] = [
    Column { descending: false, ..number("PID", 7, 0, |row| Value::Id(Some(u64::from(row.pid)))) },
    Column { below_width: STATE_FROM, ..words("S", 1, 0, |row| Value::Text(initial(row))) },
    words("STATE", 9, STATE_FROM, |row| Value::Text(state_in_words(row.state, row.is_stopped).to_owned())),
    words("DIAGNOSIS", 10, 0, |row| Value::Text(row.diagnosis.to_owned())),
    Column { mode: Mode::Amounts, ..number("REQUESTED", 10, 76, |row| Value::Bytes(row.requested)) },
    number("ALLOCATED", 10, 0, |row| Value::Bytes(row.allocated)),
    Column { mode: Mode::Amounts, ..number("RSS", 8, 66, |row| Value::Bytes(row.rss)) },
    number("GROWTH/S", 9, 60, |row| Value::Growth(row.growth)),
    Column { mode: Mode::Rates, ..number("ALLOC/S", 8, 76, |row| Value::Rate(row.allocations_per_second)) },
    Column { mode: Mode::Rates, ..number("THR", 4, 76, |row| Value::Count(row.threads)) },
    Column { mode: Mode::Rates, ..number("MISUSE", 7, 76, |row| Value::Count(row.misuses)) },
    words("COMMAND", 8, 0, |row| Value::Text(row.command.clone())),
    // Never shown, but found: what `statsmon NAME` goes by.
    words("NAME", 8, u16::MAX, |row| Value::Text(row.name.clone())),
];

/// A process's state as the screen has it.
pub(super) fn state_in_words(state: State, is_stopped: bool) -> &'static str {
    match state {
        State::Live if is_stopped => "STOPPED",
        State::Live => "LIVE",
        State::Replaced => "REPLACED",
        State::Exited => "EXITED",
        State::Crashed => "CRASHED",
        State::NoAccess => "NO ACCESS",
        State::Unpublished => "UNPUBLSHD",
    }
}

/// The first letter of [`state_in_words`], by which no two are confused.
fn initial(row: &Row) -> String {
    state_in_words(row.state, row.is_stopped).chars().take(1).collect()
}

/// The processes, arranged: the dead below the living, whatever the order.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let rows = app.data().list.iter().map(row).collect();
    let mut rows = table::arrange(rows, &COLUMNS, app.tables.get(TableId::Processes), key);
    rows.sort_by_key(|row| row.state.is_dead());
    rows
}

fn row(process: &Process) -> Row {
    Row {
        id: process.id,
        pid: process.pid,
        state: process.state,
        is_stopped: process.is_stopped(),
        requested: process.totals.requested_bytes,
        allocated: process.totals.allocated_bytes,
        rss: process.totals.rss_bytes,
        allocations_per_second: process.rates.allocations_per_second,
        growth: process.rates.requested_growth_bytes_per_second,
        threads: process.threads.as_ref().map(|threads| threads.live),
        misuses: process.misuse.as_ref().map(verdict::misuse_count),
        command: match process.state {
            State::NoAccess => format!("{} (another user's)", process.command),
            State::Unpublished => format!("{} (publishes nothing)", process.command),
            State::Replaced => match &process.replaced_by {
                Some(name) => format!("{} (became {name})", process.command),
                None => process.command.clone(),
            },
            _ => process.command.clone(),
        },
        name: process.name.clone(),
        diagnosis: verdict::word(process),
    }
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u128 {
    row.id.number()
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    match (row.state, row.diagnosis) {
        (State::Live, "leak?" | "misuse!") => Look::Strong,
        (State::Live, _) => Look::Plain,
        _ => Look::Faint,
    }
}

/// Says what to do where there is nothing to list.
pub(super) fn draw_empty(buffer: &mut Buffer, area: Rect, theme: &Theme) {
    let middle = Rect { y: area.y + 1, height: area.height.saturating_sub(1).min(2), ..area };
    let lines = ["No process with the library yet.", "Start one with: statsmon run -- COMMAND"];
    for (row, text) in middle.rows().zip(lines) {
        put(buffer, (row.x, row.y), row.width, text, false, theme.quiet(), theme);
    }
}
