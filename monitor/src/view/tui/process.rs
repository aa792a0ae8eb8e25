//! The overview of one process: what is to be said, the chain of bytes from what was requested to the RSS, then the rest
//! in words. Where rows are few, the least telling ones go first.

use super::app::App;
use super::table::{Value, put, put_number};
use super::theme::Theme;
use crate::model::{Chain, Process, State};
use crate::view::format::{bytes, count, duration, share, short, signed_bytes, signed_change};
use crate::view::verdict::{self, clock, misuse_count, span, verdict};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Columns of names, figures, changes and shares.
const NAME: u16 = 15;
const NOW: u16 = 9;
const CHANGE: u16 = 11;
const SHARE: u16 = 5;
/// Seconds after which the resident memory was measured long ago.
const OLD: f64 = 2.0;
/// Columns from which changes since the mark are shown.
const WITH_MARK: u16 = 72;

/// Names of the chain's links: sums, and what is added to them; and which go first where rows are few.
const LINKS: [(&str, &str, u8); 10] = [
    ("", "requested", 40),
    ("+", "rounding", 101),
    ("=", "allocated", 20),
    ("+", "pinned free", 70),
    ("+", "cached free", 80),
    ("+", "tables", 102),
    ("+", "other", 103),
    ("=", "resident", 60),
    ("+", "not heap", 90),
    ("=", "RSS", 30),
];
/// Ranks of the headline, its place, and the titles. No two rows have the same.
const HEADLINE: u8 = 10;
const PLACE: u8 = 50;
const TITLES: u8 = 104;

/// One row of the overview.
enum Row<'a> {
    Words { name: &'static str, text: String, style: Style },
    Titles,
    Link(usize, &'a Changes),
}

/// The chain, and how it has changed.
struct Changes {
    now: Chain,
    /// In the last minute: all of it, or per second.
    change: Chain,
    mark: Option<Chain>,
    scale: i64,
}

/// How many rows there is something for.
pub(super) fn wanted_rows(app: &App, theme: &Theme) -> u16 {
    app.shown().map_or(0, |process| words(app, process, theme).len() as u16 + LINKS.len() as u16 + 1)
}

/// Draws as much of the overview as fits.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let Some(process) = app.shown() else { return };
    let now = Chain::of(&process.totals);
    let minute = process.last_minute.unwrap_or_default();
    let changes = Changes {
        now,
        change: if app.rates { minute.per_second(60.0) } else { minute },
        mark: app.mark.map(|(_, marked)| now.since(&marked)),
        scale: now.links().into_iter().flatten().max().unwrap_or(0).max(1),
    };
    let mut rows: Vec<(u8, u8, Row<'_>)> = Vec::new();
    rows.extend(words(app, process, theme));
    rows.push((TITLES, 10, Row::Titles));
    rows.extend(LINKS.iter().enumerate().map(|(at, (_, _, rank))| (*rank, 11 + at as u8, Row::Link(at, &changes))));

    let mut ranks: Vec<u8> = rows.iter().map(|(rank, ..)| *rank).collect();
    ranks.sort_unstable();
    let lowest = ranks.get(usize::from(area.height)).copied().unwrap_or(u8::MAX);
    rows.retain(|(rank, ..)| *rank < lowest);
    rows.sort_by_key(|(_, place, _)| *place);
    for (line, (_, _, row)) in area.rows().zip(&rows) {
        match row {
            Row::Titles => draw_titles(buffer, line, app, process, theme),
            Row::Link(at, changes) => draw_link(buffer, line, *at, changes, process, theme),
            Row::Words { name, text, style } => {
                let indent = if name.is_empty() { 0 } else { 9.min(line.width) };
                buffer.set_stringn(line.x, line.y, name, usize::from(line.width), theme.label());
                put(buffer, (line.x + indent, line.y), line.width - indent, text, false, *style, theme);
            }
        }
    }
}

fn draw_titles(buffer: &mut Buffer, row: Rect, app: &App, process: &Process, theme: &Theme) {
    let mut title = |x: u16, width: u16, text: &str, right: bool| {
        let left = row.width.saturating_sub(x);
        put(buffer, (row.x + x, row.y), width.min(left), text, right, theme.quiet(), theme);
    };
    title(NAME, NOW, "now", true);
    title(NAME + NOW, CHANGE, if app.rates { "per second" } else { "last 1m" }, true);
    if row.width >= WITH_MARK {
        let since = match app.mark {
            Some((time, _)) if row.width >= 100 => format!("since {}", clock(time)),
            _ => "since mark".to_owned(),
        };
        title(NAME + NOW + CHANGE, mark_width(row), &since, true);
    }
    let bar = bar_area(row);
    if !bar.is_empty() {
        let text = if process.totals.rss_bytes.is_some() { "share of RSS" } else { "share of the heap" };
        title(bar.x - row.x, bar.width, text, false);
    }
}

fn mark_width(row: Rect) -> u16 {
    if row.width >= 100 { 16 } else { CHANGE }
}

fn draw_link(buffer: &mut Buffer, row: Rect, at: usize, changes: &Changes, process: &Process, theme: &Theme) {
    let (sign, name, _) = LINKS[at];
    let style = if sign == "+" { Style::new() } else { theme.strong() };
    let name = if sign.is_empty() { name.to_owned() } else { format!("{sign} {name}") };
    put(buffer, (row.x, row.y), NAME, &name, false, style, theme);
    let now = changes.now.links()[at];
    let shown = now.map_or("-".to_owned(), signed_bytes);
    put(buffer, (row.x + NAME, row.y), NOW, &shown, true, style, theme);
    let change = |change: Option<i64>| change.map_or("-".to_owned(), signed_change);
    let x = row.x + NAME + NOW;
    let left = row.right().saturating_sub(x);
    put(buffer, (x, row.y), CHANGE.min(left), &change(changes.change.links()[at]), true, Style::new(), theme);
    if row.width >= WITH_MARK {
        let since = change(changes.mark.and_then(|mark| mark.links()[at]));
        put(buffer, (x + CHANGE, row.y), mark_width(row), &since, true, Style::new(), theme);
    }

    let area = bar_area(row);
    let Some(now) = now.filter(|_| !area.is_empty()) else { return };
    let style = match at {
        0 | 2 => theme.layer(0),
        1 => theme.layer(1),
        3 => theme.layer(2),
        _ => Style::new(),
    };
    buffer.set_stringn(area.x, row.y, bar(now, changes.scale, area.width, theme), usize::from(area.width), style);
    let whole = process.totals.rss_bytes.or(process.totals.resident_bytes);
    if let Some(whole) = whole.filter(|&whole| whole != 0) {
        let share = share(now as f64 / whole as f64);
        put_number(buffer, (area.right(), row.y), SHARE, &share, Style::new(), theme);
    }
}

/// Where bars are drawn; empty where there is no room.
fn bar_area(row: Rect) -> Rect {
    let mark = if row.width >= WITH_MARK { mark_width(row) } else { 0 };
    let used = NAME + NOW + CHANGE + mark + 2;
    let width = row.width.saturating_sub(used + SHARE);
    if width < 8 { Rect::default() } else { Rect { x: row.x + used, width, ..row } }
}

/// A bar of `bytes` where `scale` fills `width`. What is there can be seen, however little.
fn bar(bytes: i64, scale: i64, width: u16, theme: &Theme) -> String {
    let steps = theme.symbols.growing;
    let (full, total) = (steps.len(), steps.len() * usize::from(width));
    let length = (bytes.max(0) as f64 / scale as f64 * total as f64).round() as usize;
    let length = length.min(total).max(usize::from(bytes > 0));
    let mut bar = steps[full - 1].repeat(length / full);
    if !length.is_multiple_of(full) {
        bar.push_str(steps[length % full - 1]);
    }
    bar
}

/// The rows of words: rank, place, and what they say. The headline stands above the chain, the rest below.
fn words<'a>(app: &App, process: &Process, theme: &Theme) -> Vec<(u8, u8, Row<'a>)> {
    let totals = &process.totals;
    let known = |figure: Option<u64>| figure.map_or("-".to_owned(), bytes);
    let number = |figure: Option<u64>| Value::Count(figure).show(theme);
    let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!(" ({}/s)", short(rate)));
    let row = |rank: u8, place: u8, name, text: String, style: Style| (rank, place, Row::Words { name, text, style });

    let mut rows = headline(app, process, theme);
    let error = totals.peak_error_bytes.filter(|&error| error != 0);
    let error = error.map_or(String::new(), |error| format!(" {} {}", theme.symbols.about, bytes(error)));
    let peaks = format!(
        "requested {}, allocated {}{error}, RSS {}",
        known(totals.peak_requested_bytes),
        known(totals.peak_allocated_bytes),
        known(totals.peak_rss_bytes),
    );
    rows.push(row(105, 30, "peaks", peaks, Style::new()));
    if let Some(age) = totals.resident_age_seconds.filter(|&age| age >= OLD) {
        let text = format!("measured {} ago: what has changed since is in other and not heap", duration(age));
        rows.push(row(55, 29, "resident", text, Style::new()));
    }
    if let Some(limits) = &process.limits {
        let whose = if limits.heap_growth_alone { " (heap's growth)" } else { "" };
        let ahead = limits.seconds_to_limit.filter(|_| !process.state.is_past());
        let left = ahead.map_or(String::new(), |left| format!("; met in {}{whose}", span(left)));
        let (limit, used) = (limits.cgroup_limit_bytes, limits.cgroup_used_bytes);
        let soon = ahead.is_some_and(|left| left < 3600.0);
        let (mark, style) = if soon { ("! ", theme.bad()) } else { ("", Style::new()) };
        let text = format!("{mark}cgroup {}, {} used{left}", bytes(limit), bytes(used));
        rows.push(row(48, 31, "limit", text, style));
    }
    if let Some(swap) = totals.swap_bytes.filter(|&swap| swap != 0) {
        rows.push(row(65, 32, "swap", format!("{} of the process are swapped out", bytes(swap)), theme.strong()));
    }
    let misuse = process.misuse.as_ref().filter(|misuse| misuse_count(misuse) != 0);
    if let Some(misuse) = misuse {
        let only_foreign = misuse.foreign_frees == misuse_count(misuse);
        let (mark, style) = if only_foreign { ("", Style::new()) } else { ("! ", theme.bad()) };
        let last = verdict::gravest(misuse).or(misuse.last.last());
        let last = last.map_or(String::new(), |event| format!("; last {}", verdict::misuse(event)));
        let kinds = [
            (misuse.double_frees, "double"),
            (misuse.invalid_frees, "invalid"),
            (misuse.corruptions, "corrupt"),
            (misuse.foreign_frees, "foreign"),
        ];
        let seen = kinds.iter().filter(|(times, _)| *times != 0);
        let seen: Vec<String> = seen.map(|(times, kind)| format!("{} {kind}", count(*times))).collect();
        rows.push(row(45, 33, "misuse", format!("{mark}{}{last}", seen.join(", ")), style));
    }
    let blocks = format!(
        "{} live, {} allocated{}, {} freed{}",
        totals.live_blocks.map_or("-".to_owned(), count),
        number(totals.allocations),
        rate(process.rates.allocations_per_second),
        number(totals.frees),
        rate(process.rates.frees_per_second),
    );
    rows.push(row(108, 34, "blocks", blocks, Style::new()));
    if app.size.1 > 24 {
        let growth =
            |growth: Option<i64>| growth.map_or("-".to_owned(), |growth| format!("{}/s", signed_change(growth)));
        let minute = process.last_minute.unwrap_or_default().per_second(60.0);
        let text = format!(
            "requested {}; over the last minute requested {}, allocated {}, RSS {}",
            growth(process.rates.requested_growth_bytes_per_second.map(|growth| growth.round() as i64)),
            growth(minute.requested_bytes),
            growth(minute.allocated_bytes),
            growth(minute.rss_bytes),
        );
        rows.push(row(111, 35, "growth", text, Style::new()));
        let threads = process.threads.as_ref().map_or("-".to_owned(), |threads| {
            format!(
                "{} live, {} started, {} ended; stranded {}, remote frees {}",
                count(threads.live),
                count(threads.started),
                count(threads.ended),
                bytes(threads.stranded_bytes),
                number(totals.remote_frees),
            )
        });
        rows.push(row(109, 36, "threads", threads, Style::new()));
        if misuse.is_none() && process.misuse.is_some() {
            rows.push(row(110, 37, "misuse", "none".to_owned(), theme.good()));
        }
    }
    rows
}

fn headline<'a>(app: &App, process: &Process, theme: &Theme) -> Vec<(u8, u8, Row<'a>)> {
    let row = |rank, place, text: String, style| (rank, place, Row::Words { name: "", text, style });
    let Some(mut verdict) = verdict(process) else {
        let why = match process.state {
            State::NoAccess => "NO ACCESS  it belongs to another user; run statsmon as that user or as root",
            State::Unpublished => "UNPUBLISHED  it has the library, but publishes nothing",
            _ => "watching: there is too little history yet to say anything",
        };
        return vec![row(HEADLINE, 0, why.to_owned(), theme.quiet())];
    };
    // The segment cannot tell, but who started the program can.
    let signal =
        app.program.as_ref().and_then(|program| program.ended.as_deref()).filter(|how| how.starts_with("killed"));
    let cause = process.misuse.as_ref().and_then(verdict::gravest);
    if let (State::Crashed, None, Some(signal)) = (process.state, cause, signal) {
        verdict.text = signal.to_owned();
    }
    let mark = if verdict.alarms { "! " } else { "" };
    let style = match (verdict.alarms, verdict.title) {
        (true, _) => theme.bad(),
        (_, "STABLE") => theme.good(),
        _ => theme.strong(),
    };
    let mut rows = vec![row(HEADLINE, 0, format!("{mark}{}  {}", verdict.title, verdict.text), style)];
    // In one row where they fit, else in two: the less telling one goes first where rows are few.
    let joined = verdict.place.join("    ");
    let fits = joined.chars().count() + 2 <= usize::from(app.size.0);
    let mut below = if fits && !joined.is_empty() { vec![joined] } else { verdict.place };
    below.extend(verdict.also.map(|also| format!("also {also}")));
    below.extend(Some(verdict.also_place.join("    ")).filter(|place| !place.is_empty()));
    // Of a dead process it matters more than the peaks where its growth came from.
    let ranks = if verdict.also_place.is_empty() { [PLACE, 106, 107] } else { [PLACE, 98, 99] };
    rows.extend(
        below
            .into_iter()
            .zip(ranks)
            .zip(1..)
            .map(|((text, rank), place)| row(rank, place, format!("  {text}"), Style::new())),
    );
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_the_smallest_amount_and_never_overflows() {
        let theme = Theme::new(true, true);
        assert_eq!(bar(1, 1_000_000, 10, &theme), "▏");
        assert_eq!(bar(0, 1_000_000, 10, &theme), "");
        assert_eq!(bar(-5, 10, 10, &theme), "");
        assert_eq!(bar(50, 10, 3, &theme), "███");
        assert_eq!(bar(10, 20, 5, &theme), "██▌");
        assert_eq!(bar(i64::MAX, 1, 2, &Theme::new(true, false)), "##");
    }
}
