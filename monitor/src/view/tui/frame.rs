//! The whole screen: top line, tabs, the open view, messages, hints.

use super::app::{App, Tab};
use super::keys;
use super::table::put;
use super::theme::Theme;
use super::{classes, graph, help, process, processes, threads, watch};
use crate::model::{Process, Time};
use crate::view::format::{count, duration, harmless};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// The smallest screen that shows anything but its own size.
pub(super) const LEAST: (u16, u16) = (40, 10);
/// Most lines of messages.
const MESSAGES: usize = 3;

/// Draws the screen.
pub(super) fn draw(buffer: &mut Buffer, app: &App, theme: &Theme) {
    let area = buffer.area;
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return too_small(buffer, area);
    }
    let line = |y: u16| Rect { y, height: 1, ..area };
    header(buffer, line(0), app, theme);
    let body = body_of(area, app);
    if let Some(pid) = app.opened {
        tabs(buffer, line(1), app, theme);
        opened(buffer, body, app, pid, theme);
    } else if app.help.is_none() {
        processes::draw(buffer, body, app, theme);
    }
    if app.help.is_some() {
        help::draw(buffer, body, app, theme);
    }
    for (y, (message, style)) in (body.bottom()..).zip(messages(app, theme)) {
        put(buffer, (area.x, y), area.width, &harmless(&message), false, style, theme);
    }
    hints(buffer, line(area.bottom() - 1), app, theme);
    if app.asks {
        watch::draw_question(buffer, area, app, theme);
    }
}

/// The part of the screen that belongs to the open view.
pub(super) fn body(app: &App) -> Rect {
    let (width, height) = app.size;
    body_of(Rect { x: 0, y: 0, width, height }, app)
}

fn body_of(area: Rect, app: &App) -> Rect {
    let above = if app.opened.is_some() { 2 } else { 1 };
    let below = 1 + messages(app, &Theme::new(false, false)).len() as u16;
    Rect { y: area.y + above, height: area.height.saturating_sub(above + below), ..area }
}

/// How many lines of the help do not fit.
pub(super) fn help_overflow(app: &App) -> usize {
    help::overflow(app, body(app).height)
}

fn too_small(buffer: &mut Buffer, area: Rect) {
    let actual = format!("this is {}x{}", area.width, area.height);
    let needed = format!("statsmon needs {}x{}", LEAST.0, LEAST.1);
    for (row, text) in area.rows().zip([needed, actual]) {
        buffer.set_stringn(row.x, row.y, text, row.width.into(), Style::new());
    }
}

fn header(buffer: &mut Buffer, row: Rect, app: &App, theme: &Theme) {
    let mut parts: Vec<(String, Style)> = Vec::new();
    if row.width >= 60 {
        parts.push(("statsmon".into(), theme.quiet()));
    }
    let interval = format!("every {}", short_interval(app.interval));
    if app.opened.is_some() {
        match app.shown() {
            Some(process) => {
                parts.push((format!("{} {}", harmless(&process.name), process.pid), theme.header()));
                parts.push(state(app, process, theme));
                parts.extend(process.uptime_seconds.map(|up| (format!("up {}", duration(up)), Style::new())));
                parts.extend(process.threads.as_ref().map(|threads| {
                    let threads = threads.live;
                    let noun = if threads == 1 { "thread" } else { "threads" };
                    (format!("{} {noun}", count(threads)), Style::new())
                }));
            }
            None => parts.push((format!("process {}", app.opened.unwrap_or(0)), theme.header())),
        }
    } else {
        let processes = app.data().list.len();
        let noun = if processes == 1 { "process" } else { "processes" };
        parts.push((format!("{processes} {noun}"), theme.header()));
    }
    parts.push((interval, Style::new()));

    let time = app.data().time.map_or(String::new(), clock);
    let right = if app.is_frozen() { format!(" FROZEN {time} ") } else { time };
    let right_width = row.width.min(right.len() as u16);
    let right_x = row.right() - right_width;
    let right_style = if app.is_frozen() { theme.banner() } else { theme.quiet() };
    buffer.set_stringn(right_x, row.y, right, right_width.into(), right_style);

    let mut x = row.x;
    for (at, (text, style)) in parts.iter().enumerate() {
        let left = right_x.saturating_sub(x + 1);
        if at > 1 && usize::from(left) < text.chars().count() {
            break;
        }
        put(
            buffer,
            (x, row.y),
            left.min(ratatui::text::Span::raw(text.as_str()).width() as u16),
            text,
            false,
            *style,
            theme,
        );
        x = x.saturating_add(ratatui::text::Span::raw(text.as_str()).width() as u16 + 2).min(right_x);
    }
}

/// The state in words. A process that is seen no more has not said how it ended.
fn state(app: &App, process: &Process, theme: &Theme) -> (String, Style) {
    let gone = app.data().lost.is_some() && !process.state.is_dead();
    let word = if gone { "GONE" } else { processes::state_in_words(process.state) };
    let style = if word == "LIVE" { theme.good() } else { theme.bad() };
    (word.to_owned(), style)
}

fn tabs(buffer: &mut Buffer, row: Rect, app: &App, theme: &Theme) {
    let mut x = row.x;
    for (number, tab) in (1..).zip(Tab::ALL) {
        let (text, style) = match tab == app.tab {
            true => (format!("[{number} {}]", tab.title()), theme.selected()),
            false => (format!(" {number} {} ", tab.title()), theme.quiet()),
        };
        (x, _) = buffer.set_stringn(x, row.y, text, row.right().saturating_sub(x).into(), style);
    }
    let left = row.right().saturating_sub(x + 2);
    if let Some(process) = app.shown().filter(|_| left >= 10) {
        put(buffer, (x + 2, row.y), left, &harmless(&process.command), true, theme.quiet(), theme);
    }
}

fn opened(buffer: &mut Buffer, body: Rect, app: &App, pid: u32, theme: &Theme) {
    if app.help.is_some() {
        return;
    }
    let Some(process) = app.shown() else {
        let text = format!("No figures of process {pid} yet.");
        return put(
            buffer,
            (body.x, body.y),
            body.width.min(body.height * body.width),
            &text,
            false,
            theme.quiet(),
            theme,
        );
    };
    match app.tab {
        Tab::Overview => {
            // Figures first; what a graph can use is left to it.
            let upper = Rect { height: process::ROWS.min(body.height), ..body };
            let lower = Rect { y: upper.bottom(), height: body.height - upper.height, ..body };
            process::draw(buffer, upper, process, theme);
            graph::draw(buffer, lower, process, app.window, theme);
        }
        Tab::Classes => classes::draw(buffer, body, app, theme),
        Tab::Threads => threads::draw(buffer, body, app, theme),
    }
}

/// What must be said: failures first.
fn messages(app: &App, theme: &Theme) -> Vec<(String, Style)> {
    let mut messages = Vec::new();
    messages.extend(app.failure.as_ref().map(|why| (format!("! {why}"), theme.bad())));
    if app.opened.is_some() {
        messages.extend(app.data().lost.as_ref().map(|why| (format!("! {why}"), theme.bad())));
    } else {
        messages.extend(app.data().problems.iter().map(|why| (format!("! {why}"), theme.bad())));
    }
    messages.truncate(MESSAGES - 1);
    messages.extend(app.program.as_ref().map(|program| (watch::status(program), Style::new())));
    messages
}

fn hints(buffer: &mut Buffer, row: Rect, app: &App, theme: &Theme) {
    let place = app.place_in_table().filter(|_| app.help.is_none() && !app.asks);
    let place = place.map_or(String::new(), |(at, rows)| format!("{at}/{rows}"));
    put(buffer, (row.x, row.y), row.width, &place, true, theme.quiet(), theme);
    let right = row.right() - place.len() as u16;

    let mut x = row.x;
    for (keys, word) in keys::hints(app.context()) {
        if word == "back" && !app.has_list {
            continue;
        }
        let width = (keys.len() + word.len() + 1) as u16;
        if x + width >= right {
            break;
        }
        (x, _) = buffer.set_stringn(x, row.y, &keys, row.width.into(), theme.label());
        (x, _) = buffer.set_stringn(x + 1, row.y, word, row.width.into(), theme.quiet());
        x += 2;
    }
}

/// The time of day, UTC.
fn clock(time: Time) -> String {
    let stamp = time.to_string();
    format!("{}Z", stamp.get(11..19).unwrap_or_default())
}

fn short_interval(interval: std::time::Duration) -> String {
    let seconds = interval.as_secs_f64();
    if seconds < 1.0 { format!("{seconds:.1}s") } else { format!("{seconds:.0}s") }
}
