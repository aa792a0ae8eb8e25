//! What the program did wrong, how exact the figures are, and what could not be read.

use super::app::App;
use super::table::{self, Column, Look, Mode, Value, put};
use super::tables::TableId;
use super::theme::Theme;
use crate::model::{MisuseEvent, Process, State};
use crate::view::format::{bytes, count, duration};
use crate::view::verdict::{code, misuse_count};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// One misuse.
pub(super) struct Row {
    event: MisuseEvent,
    /// Name of the thread, where that still lives.
    thread: Option<String>,
}

/// Sorted at first by time, the last on top.
pub(super) const SORT: (usize, bool) = (0, true);

const fn words(title: &'static str, width: u16, from_width: u16, value: fn(&Row) -> Value) -> Column<Row> {
    Column { title, width, right: false, from_width, below_width: u16::MAX, mode: Mode::Both, descending: false, value }
}

/// The columns.
pub(super) static COLUMNS: [Column<Row>; 6] = [
    Column { descending: true, ..words("TIME", 9, 64, |row| Value::Clock(row.event.time)) },
    words("WHAT", 17, 0, |row| Value::Text(what(&row.event))),
    words("CALL", 22, 76, |row| Value::Text(format!("{}({})", row.event.call, row.event.address))),
    Column {
        right: true,
        descending: true,
        ..words("SIZE", 7, 90, |row| Value::Bytes(row.event.requested_bytes.or(row.event.block_size)))
    },
    words("THREAD", 15, 100, |row| {
        Value::Text(match &row.thread {
            Some(name) => format!("{} {name}", row.event.tid),
            None => row.event.tid.to_string(),
        })
    }),
    words("CALLER", 15, 0, |row| {
        let event = &row.event;
        Value::Text(code(&event.caller, event.module.as_deref(), event.module_offset.as_deref()))
    }),
];

fn what(event: &MisuseEvent) -> String {
    let kind = event.kind.replace('_', " ");
    match event.frees {
        Some(frees) if frees > 1 => format!("{} {kind}", count(frees)),
        _ => kind,
    }
}

/// The recorded misuses, arranged.
pub(super) fn rows(app: &App) -> Vec<Row> {
    let Some(process) = app.shown() else { return Vec::new() };
    let name = |tid: u32| {
        let threads = process.threads.as_ref()?;
        threads.rows.iter().find(|row| row.tid == Some(tid)).map(|row| row.name.clone())
    };
    let events = process.misuse.iter().flat_map(|misuse| &misuse.last);
    let rows = events.map(|event| Row { thread: name(event.tid), event: event.clone() }).collect();
    table::arrange(rows, &COLUMNS, app.tables.get(TableId::Safety), key)
}

/// Identity of a row.
pub(super) fn key(row: &Row) -> u64 {
    row.event.number << 1 | u64::from(row.event.frees.is_some())
}

/// How a row is drawn.
pub(super) fn look(row: &Row) -> Look {
    if row.event.kind == "foreign" { Look::Plain } else { Look::Alarming }
}

/// Rows above the table.
pub(super) fn above(app: &App) -> u16 {
    app.shown().map_or(0, |process| lines(process).len() as u16)
}

/// Draws everything but the events.
pub(super) fn draw_above(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let Some(process) = app.shown() else { return };
    for (row, (text, alarming)) in area.rows().zip(lines(process)) {
        let style = if alarming { theme.bad() } else { Style::new() };
        put(buffer, (row.x, row.y), row.width, &text, false, style, theme);
    }
}

/// What there is to say, and whether it is alarming.
fn lines(process: &Process) -> Vec<(String, bool)> {
    let mut lines = Vec::new();
    if let Some(misuse) = &process.misuse {
        let bugs = misuse_count(misuse) != misuse.foreign_frees;
        let mark = if bugs { "! " } else { "" };
        lines.push((
            format!(
                "{mark}misuse: {} double, {} invalid, {} corrupt, {} foreign",
                count(misuse.double_frees),
                count(misuse.invalid_frees),
                count(misuse.corruptions),
                count(misuse.foreign_frees),
            ),
            bugs,
        ));
    }
    let totals = &process.totals;
    lines.push((
        match totals.peak_error_bytes {
            Some(0) => "peaks are exact: one thread so far".to_owned(),
            Some(error) => format!("peaks are exact to {}: several threads", bytes(error)),
            None => "peaks are not known".to_owned(),
        },
        false,
    ));
    if let Some(threads) = &process.threads {
        lines.push(match threads.without_row {
            0 => ("every thread has a row of its own".to_owned(), false),
            many => (format!("{} threads found no row, and count in the shared one", count(many)), false),
        });
    }
    let age = totals.resident_age_seconds.map(|age| format!("resident memory was measured {} ago", duration(age)));
    lines.extend(age.map(|text| (text, false)));
    lines.extend(process.unread.iter().map(|what| (format!("not read: {what}"), false)));
    let reason = match process.state {
        State::NoAccess => Some("its heap may not be read: it belongs to another user"),
        State::Unpublished => Some("its heap cannot be read: it publishes nothing"),
        State::Replaced => Some("it has become another program: these are its last figures before"),
        State::Exited | State::Crashed => Some("the process has ended: these are its last figures"),
        State::Live => None,
    };
    lines.extend(reason.map(|text| (text.to_owned(), false)));
    lines.push((String::new(), false));
    lines
}
