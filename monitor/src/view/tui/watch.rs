//! `run --watch`: the screen on a program that this monitor has started.

use super::app::{App, Program};
use super::keys::{self, Context};
use super::theme::Theme;
use crate::view::format::harmless;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// What is said of a program that has ended without having been seen.
pub(super) const NOTHING_LEFT: &str = "it left no statistics; STATSALLOC_VERBOSE=1 makes it say why";

/// Why there are no figures of the process that is open.
pub(super) fn no_figures(app: &App) -> String {
    let Some(id) = app.opened else { return String::new() };
    match app.program.as_ref().and_then(|program| program.ended.as_ref()) {
        Some(_) => format!("No figures of {id}: it ended before it could be looked at."),
        None => format!("No figures of {id} yet."),
    }
}

/// How the program fares, and where its output is.
pub(super) fn status(program: &Program) -> String {
    match &program.ended {
        None => format!("output: {}", program.log),
        Some(how) => format!("the program has ended: {how}; output: {}", program.log),
    }
}

/// An exit status in words.
pub(super) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => match signal_hook::low_level::signal_name(signal) {
            Some(name) => format!("killed by {name}"),
            None => format!("killed by signal {signal}"),
        },
        (None, None) => "it is not known how".to_owned(),
    }
}

/// Draws the question what shall become of the program.
pub(super) fn draw_question(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let command = app.program.as_ref().map_or("", |program| &program.command);
    let mut lines = vec![(String::new(), format!("{} is still running.", harmless(command)))];
    lines.extend(keys::in_context(Context::Prompt).map(|binding| (binding.shown.to_owned(), binding.help.to_owned())));
    let width = area.width.min(60);
    let height = (lines.len() as u16 + 2).min(area.height);
    let place = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    for row in place.rows() {
        buffer.set_stringn(row.x, row.y, " ".repeat(row.width.into()), row.width.into(), Style::reset());
    }
    let rule = theme.symbols.rule.repeat(width.into());
    for y in [place.y, place.bottom() - 1] {
        buffer.set_stringn(place.x, y, &rule, width.into(), theme.quiet());
    }
    for (y, (keys, text)) in (place.y + 1..place.bottom() - 1).zip(lines) {
        for x in [place.x, place.right() - 1] {
            buffer.set_stringn(x, y, theme.symbols.side, 1, theme.quiet());
        }
        let indent = if keys.is_empty() { 2 } else { 13 };
        buffer.set_stringn(place.x + 2, y, keys, usize::from(width).saturating_sub(3), theme.label());
        let room = width.saturating_sub(indent + 1);
        super::table::put(buffer, (place.x + indent, y), room, &text, false, theme.strong(), theme);
    }
}
