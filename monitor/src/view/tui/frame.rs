//! The whole screen: top line, tabs, the open view, messages, hints.

use super::app::{App, Tab};
use super::keys;
use super::table::put;
use super::tables::{self, TableId};
use super::theme::Theme;
use super::{graph, help, process, processes, watch};
use crate::model::Process;
use crate::view::format::{count, harmless};
use crate::view::verdict::clock;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// The smallest screen that shows anything but its own size.
pub(super) const LEAST: (u16, u16) = (40, 10);
/// Most lines of messages.
const MESSAGES: usize = 3;

/// The row of the tabs.
pub(super) const TABS: u16 = 1;

/// Draws the screen.
pub(super) fn draw(buffer: &mut Buffer, app: &App, theme: &Theme) {
    let area = buffer.area;
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return too_small(buffer, area);
    }
    let line = |y: u16| Rect { y, height: 1, ..area };
    header(buffer, line(0), app, theme);
    let body = body_of(area, app);
    if app.compares {
        sides(buffer, line(TABS), app, theme);
    } else if app.opened.is_some() {
        tabs(buffer, line(TABS), app, theme);
    }
    if app.help.is_some() {
        help::draw(buffer, body, app, theme);
    } else {
        view(buffer, body, app, theme);
    }
    for (y, (message, style)) in (body.bottom()..).zip(messages(app, theme)) {
        put(buffer, (area.x, y), area.width, &harmless(&message), false, style, theme);
    }
    hints(buffer, line(area.bottom() - 1), app, theme);
    if app.asks {
        watch::draw_question(buffer, area, app, theme);
    }
}

fn view(buffer: &mut Buffer, body: Rect, app: &App, theme: &Theme) {
    match app.table_id() {
        Some(TableId::Processes) if app.data().list.is_empty() => processes::draw_empty(buffer, body, theme),
        Some(TableId::Compare) if app.comparison().is_none() => {
            let text = "Two processes are needed to compare, and one of them is not there.";
            put(buffer, (body.x, body.y), body.width, text, false, theme.quiet(), theme);
        }
        Some(TableId::Processes | TableId::Compare) => table_in(buffer, body, app, theme),
        _ if app.shown().is_none() => {
            put(buffer, (body.x, body.y), body.width, &watch::no_figures(app), false, theme.quiet(), theme);
        }
        Some(_) => table_in(buffer, body, app, theme),
        None => overview(buffer, body, app, theme),
    }
}

fn table_in(buffer: &mut Buffer, body: Rect, app: &App, theme: &Theme) {
    if let Some(id) = app.table_id() {
        tables::draw(buffer, body, app, id, theme);
    }
}

/// Figures first; then a graph has what is left, and no less than it needs where there is much room.
fn overview(buffer: &mut Buffer, body: Rect, app: &App, theme: &Theme) {
    let wanted = process::wanted_rows(app, theme);
    let graphs = if body.height >= 18 { graph::LEAST_ROWS + 1 } else { 0 };
    let upper = Rect { height: wanted.min(body.height - graphs), ..body };
    let lower = Rect { y: upper.bottom(), height: body.height - upper.height, ..body };
    process::draw(buffer, upper, app, theme);
    if let Some(process) = app.shown() {
        graph::draw(buffer, lower, process, app.window, theme);
    }
}

/// The part of the screen that belongs to the open view.
pub(super) fn body(app: &App) -> Rect {
    let (width, height) = app.size;
    body_of(Rect { x: 0, y: 0, width, height }, app)
}

fn body_of(area: Rect, app: &App) -> Rect {
    let above = if app.opened.is_some() || app.compares { TABS + 1 } else { 1 };
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
    if app.opened.is_some() {
        match app.shown() {
            Some(process) => {
                parts.push((format!("{} {}", harmless(&process.name), process.pid), theme.header()));
                parts.push(state(app, process, theme));
                parts.extend(process.uptime_seconds.map(|up| (format!("up {}", brief(up)), Style::new())));
                parts.extend(process.threads.as_ref().map(|threads| {
                    let threads = threads.live;
                    let noun = if threads == 1 { "thread" } else { "threads" };
                    (format!("{} {noun}", count(threads)), Style::new())
                }));
            }
            None => parts.push((app.opened.map_or(String::new(), |id| id.to_string()), theme.header())),
        }
    } else {
        let processes = app.data().list.len();
        let noun = if processes == 1 { "process" } else { "processes" };
        parts.push((format!("{processes} {noun}"), theme.header()));
        if app.is_stale() {
            parts.push(("STALE".to_owned(), theme.bad()));
        }
    }
    parts.push((format!("every {}", short_interval(app.interval)), Style::new()));
    if app.opened.is_some() {
        parts.push((format!("window {}", app.window.short()), Style::new()));
    }

    let time = app.data().time.map_or(String::new(), |time| clock(time).trim_end_matches('Z').to_owned());
    let right = if app.is_frozen() { format!(" FROZEN {time} ") } else { time };
    let right_width = row.width.min(right.len() as u16);
    let right_x = row.right() - right_width;
    let right_style = if app.is_frozen() { theme.banner() } else { theme.quiet() };
    buffer.set_stringn(right_x, row.y, right, right_width.into(), right_style);

    let width = |text: &str| ratatui::text::Span::raw(text).width() as u16;
    // Our own name goes first where there is too little room, then what stands furthest to the right.
    let all: u16 = parts.iter().map(|(text, _)| width(text) + 2).fold(0, u16::saturating_add);
    if all > right_x.saturating_sub(row.x) && parts.len() > 1 && row.width >= 60 {
        parts.remove(0);
    }
    let mut x = row.x;
    for (at, (text, style)) in parts.iter().enumerate() {
        let left = right_x.saturating_sub(x + 1);
        let wanted = width(text);
        if at > 1 && left < wanted {
            continue;
        }
        put(buffer, (x, row.y), left.min(wanted), text, false, *style, theme);
        x = x.saturating_add(wanted + 2).min(right_x);
    }
}

/// The state in words. A process that is seen no more has not said how it ended.
fn state(app: &App, process: &Process, theme: &Theme) -> (String, Style) {
    let stale = app.is_stale() && !process.state.is_dead();
    let word = if stale { "STALE" } else { processes::state_in_words(process.state, process.is_stopped()) };
    let style = if word == "LIVE" { theme.good() } else { theme.bad() };
    (word.to_owned(), style)
}

/// Every tab and the columns it takes.
pub(super) fn tab_places(app: &App) -> impl Iterator<Item = (Tab, std::ops::Range<u16>)> + use<> {
    let narrow = app.size.0 < 60;
    let mut x = 0;
    Tab::ALL.into_iter().map(move |tab| {
        let left = x;
        x += tab_text(tab, narrow).len() as u16 + 2;
        (tab, left..x)
    })
}

fn tab_text(tab: Tab, narrow: bool) -> String {
    let number = Tab::ALL.iter().position(|&one| one == tab).unwrap_or(0) + 1;
    let title = tab.title();
    // "1Over 2Clas …": enough to know them by.
    if narrow { format!("{number}{}", &title[..title.len().min(3)]) } else { format!("{number} {title}") }
}

fn tabs(buffer: &mut Buffer, row: Rect, app: &App, theme: &Theme) {
    let mut end = row.x;
    for (tab, range) in tab_places(app) {
        let text = tab_text(tab, app.size.0 < 60);
        let (text, style) = match tab == app.tab {
            true => (format!("[{text}]"), theme.selected()),
            false => (format!(" {text} "), theme.quiet()),
        };
        let left = row.right().saturating_sub(range.start);
        buffer.set_stringn(row.x + range.start, row.y, text, left.into(), style);
        end = row.x + range.end;
    }
    let left = row.right().saturating_sub(end + 2);
    if let Some(process) = app.shown().filter(|_| left >= 10) {
        put(buffer, (end + 2, row.y), left, &harmless(&process.command), true, theme.quiet(), theme);
    }
}

/// What is compared, in the place of the tabs.
fn sides(buffer: &mut Buffer, row: Rect, app: &App, theme: &Theme) {
    if let Some(comparison) = app.comparison() {
        let text = format!(
            "LEFT {}   RIGHT {}",
            crate::view::comparison::side(&comparison.left),
            crate::view::comparison::side(&comparison.right)
        );
        put(buffer, (row.x, row.y), row.width, &text, false, theme.strong(), theme);
    }
}

/// What must be said: failures first, then the answer to a key, which must not be lost among standing problems.
fn messages(app: &App, theme: &Theme) -> Vec<(String, Style)> {
    let mut messages = Vec::new();
    messages.extend(app.failure.as_ref().map(|why| (format!("! {why}"), theme.bad())));
    messages.extend(app.notice.as_ref().map(|text| (text.clone(), theme.strong())));
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
    let place = match app.help {
        Some(_) => help::place(app, body(app).height),
        None => app.place_in_table().filter(|_| !app.asks),
    };
    let place = place.map_or(String::new(), |(at, rows)| format!("{at}/{rows}"));
    put(buffer, (row.x, row.y), row.width, &place, true, theme.quiet(), theme);
    let right = row.right() - place.len() as u16;

    let mut x = row.x;
    if let Some(filter) = filter(app) {
        (x, _) = buffer.set_stringn(x, row.y, &filter, usize::from(right.saturating_sub(x)), theme.strong());
        x += 2;
    }
    for (keys, word) in keys::hints(app.context()) {
        if word == "back" && !app.has_list || word == "more" && place.is_empty() {
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

/// The open table's filter, with a cursor while it is typed.
fn filter(app: &App) -> Option<String> {
    let filter = &app.tables.get(app.table_id().filter(|_| app.help.is_none())?).filter;
    let cursor = if app.types { "_" } else { "" };
    (app.types || !filter.is_empty()).then(|| format!("/{}{cursor}", harmless(filter)))
}

/// A long time in few letters: `3d04h`, `2h07m`, `3m05s`, `12s`.
fn brief(seconds: f64) -> String {
    match seconds.max(0.0) as u64 {
        whole @ 0..60 => format!("{whole}s"),
        whole @ 60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        whole @ 3600..86400 => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
        whole => format!("{}d{:02}h", whole / 86400, whole / 3600 % 24),
    }
}

fn short_interval(interval: std::time::Duration) -> String {
    let seconds = interval.as_secs_f64();
    if seconds < 1.0 { format!("{seconds:.1}s") } else { format!("{seconds:.0}s") }
}
