//! The overview of one process: the chain of bytes from what was requested to what is resident, then the rest in
//! words. Where rows are few, the least telling ones go first.

use super::table::{Value, put};
use super::theme::Theme;
use crate::model::{Misuse, MisuseEvent, Process, State};
use crate::view::format::{bytes, count, harmless, short, signed_bytes};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// Columns of names, figures, changes and shares.
const NAME: u16 = 15;
const NOW: u16 = 10;
const CHANGE: u16 = 12;
const SHARE: u16 = 5;

/// One link of the chain.
struct Link {
    sign: &'static str,
    name: &'static str,
    bytes: Option<i64>,
    last_minute: Option<i64>,
    rank: u8,
}

impl Link {
    /// Whether it is the sum of those above it.
    fn is_sum(&self) -> bool {
        self.sign != "+"
    }
}

/// From requested bytes to resident ones.
fn chain(process: &Process) -> [Link; 10] {
    let totals = &process.totals;
    let signed = |bytes: Option<u64>| bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let minus = |one: Option<i64>, other: Option<i64>| Some(one?.saturating_sub(other?));
    let [requested, allocated, pinned, cached] =
        [totals.requested_bytes, totals.allocated_bytes, totals.pinned_bytes, totals.cached_bytes].map(signed);
    let [resident, rss] = [totals.resident_bytes, totals.rss_bytes].map(signed);

    // The history's last point is the end of the last full second: a minute before it are sixty more.
    let seconds = process.history.as_ref().map(|history| history.seconds.as_slice()).unwrap_or_default();
    let then = seconds.len().checked_sub(61).map(|at| &seconds[at]);
    let before = then.map(|point| {
        [point.requested_bytes, point.allocated_bytes, point.pinned_bytes, point.cached_bytes].map(|bytes| bytes as i64)
    });
    let since = |now: Option<i64>, which: usize| minus(now, before.map(|before| before[which]));
    let rounding_before = before.map(|[requested, allocated, ..]| allocated.saturating_sub(requested));
    let rounding = minus(allocated, requested);

    let link = |sign, name, bytes, last_minute, rank| Link { sign, name, bytes, last_minute, rank };
    [
        link("", "requested", requested, since(requested, 0), 2),
        link("+", "rounding", rounding, minus(rounding, rounding_before), 8),
        link("=", "allocated", allocated, since(allocated, 1), 1),
        link("+", "pinned free", pinned, since(pinned, 2), 6),
        link("+", "cached free", cached, since(cached, 3), 7),
        link("+", "tables", signed(totals.metadata_bytes), None, 12),
        link("+", "other", totals.other_bytes, None, 13),
        link("=", "resident", resident, None, 5),
        link("+", "not heap", minus(rss, resident), None, 14),
        link("=", "RSS", rss, None, 3),
    ]
}

/// Rows that the overview takes at most.
pub(super) const ROWS: u16 = 15;

/// Draws as much of the overview as fits.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, process: &Process, theme: &Theme) {
    let links = chain(process);
    let facts = facts(process, theme);
    let mut ranks: Vec<u8> = links.iter().map(|link| link.rank).chain(facts.iter().map(|fact| fact.rank)).collect();
    ranks.push(TITLES_RANK);
    ranks.sort_unstable();
    let lowest = ranks.get(usize::from(area.height)).copied().unwrap_or(u8::MAX);

    let whole = process.totals.rss_bytes.or(process.totals.resident_bytes);
    let scale = links.iter().filter_map(|link| link.bytes).max().unwrap_or(0).max(1);
    let mut rows = area.rows();
    if TITLES_RANK < lowest
        && let Some(row) = rows.next()
    {
        draw_titles(buffer, row, process, theme);
    }
    for (link, row) in links.iter().filter(|link| link.rank < lowest).zip(rows.by_ref()) {
        draw_link(buffer, row, link, scale, whole, theme);
    }
    for (fact, row) in facts.iter().filter(|fact| fact.rank < lowest).zip(rows) {
        buffer.set_stringn(row.x, row.y, fact.name, usize::from(row.width), theme.label());
        let x = row.x + 9.min(row.width);
        put(buffer, (x, row.y), row.right() - x, &fact.text, false, fact.style, theme);
    }
}

const TITLES_RANK: u8 = 15;

fn draw_titles(buffer: &mut Buffer, row: Rect, process: &Process, theme: &Theme) {
    let bar = bar_area(row);
    put(buffer, (row.x + NAME, row.y), NOW.min(row.width - NAME), "now", true, theme.quiet(), theme);
    put(buffer, (row.x + NAME + NOW, row.y), CHANGE, "last 1m", true, theme.quiet(), theme);
    if !bar.is_empty() {
        let title = if process.totals.rss_bytes.is_some() { "share of RSS" } else { "share of the heap" };
        put(buffer, (bar.x, row.y), bar.width, title, false, theme.quiet(), theme);
        if let Some(swap) = process.totals.swap_bytes.filter(|&swap| swap != 0) {
            let text = format!("swapped out {}", bytes(swap));
            let x = bar.x + title.len() as u16 + 2;
            put(buffer, (x, row.y), row.right().saturating_sub(x), &text, true, theme.strong(), theme);
        }
    }
}

fn draw_link(buffer: &mut Buffer, row: Rect, link: &Link, scale: i64, whole: Option<u64>, theme: &Theme) {
    let style = if link.is_sum() { theme.strong() } else { Style::new() };
    let name = if link.sign.is_empty() { link.name.to_owned() } else { format!("{} {}", link.sign, link.name) };
    put(buffer, (row.x, row.y), NAME, &name, false, style, theme);
    let now = link.bytes.map_or("-".to_owned(), signed_bytes);
    put(buffer, (row.x + NAME, row.y), NOW, &now, true, style, theme);
    let change = link.last_minute.map_or("-".to_owned(), signed_change);
    put(buffer, (row.x + NAME + NOW, row.y), CHANGE, &change, true, Style::new(), theme);

    let area = bar_area(row);
    let Some(bytes) = link.bytes else { return };
    if area.is_empty() {
        return;
    }
    let style = match link.name {
        "rounding" => theme.layer(1),
        "pinned free" => theme.layer(2),
        "requested" | "allocated" => theme.layer(0),
        _ => Style::new(),
    };
    buffer.set_stringn(area.x, row.y, bar(bytes, scale, area.width, theme), usize::from(area.width), style);
    if let Some(whole) = whole.filter(|&whole| whole != 0) {
        // Adding zero turns the -0 that a small negative share is rounded to into 0.
        let share = format!("{:.0}%", (bytes as f64 * 100.0 / whole as f64).round() + 0.0);
        put(buffer, (area.right(), row.y), SHARE, &share, true, Style::new(), theme);
    }
}

/// Where bars are drawn; empty where there is no room.
fn bar_area(row: Rect) -> Rect {
    let used = NAME + NOW + CHANGE + 2;
    let width = row.width.saturating_sub(used + SHARE);
    if width < 8 {
        return Rect::default();
    }
    Rect { x: row.x + used, width, ..row }
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

fn signed_change(bytes: i64) -> String {
    match bytes {
        0 => "0".to_owned(),
        1.. => format!("+{}", signed_bytes(bytes)),
        _ => signed_bytes(bytes),
    }
}

/// A line in words.
struct Fact {
    name: &'static str,
    text: String,
    style: Style,
    rank: u8,
}

fn facts(process: &Process, theme: &Theme) -> Vec<Fact> {
    let totals = &process.totals;
    let known = |figure: Option<u64>| figure.map_or("-".to_owned(), bytes);
    let plain = |name, text, rank| Fact { name, text, style: Style::new(), rank };
    let number = |figure: Option<u64>| Value::Count(figure).show();
    let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!(" ({}/s)", short(rate)));

    let error = totals.peak_error_bytes.filter(|&error| error != 0);
    let error = error.map_or(String::new(), |error| format!(" {} {}", theme.symbols.about, bytes(error)));
    let peaks = format!(
        "requested {}, allocated {}{error}, RSS {}",
        known(totals.peak_requested_bytes),
        known(totals.peak_allocated_bytes),
        known(totals.peak_rss_bytes),
    );
    let blocks = format!(
        "{} live, {} allocated{}, {} freed{}",
        totals.live_blocks.map_or("-".to_owned(), count),
        number(totals.allocations),
        rate(process.rates.allocations_per_second),
        number(totals.frees),
        rate(process.rates.frees_per_second),
    );
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
    vec![
        plain("peaks", peaks, 9),
        plain("blocks", blocks, 10),
        plain("threads", threads, 11),
        misuse_fact(process, theme),
    ]
}

/// All wrong frees and damaged lists.
pub(super) fn misuse_count(misuse: &Misuse) -> u64 {
    [misuse.foreign_frees, misuse.double_frees, misuse.invalid_frees, misuse.corruptions]
        .into_iter()
        .fold(0, u64::saturating_add)
}

fn misuse_fact(process: &Process, theme: &Theme) -> Fact {
    let fact = |text, style| Fact { name: "misuse", text, style, rank: 4 };
    let Some(misuse) = &process.misuse else { return fact("-".to_owned(), Style::new()) };
    let kinds = [
        (misuse.double_frees, "double"),
        (misuse.invalid_frees, "invalid"),
        (misuse.corruptions, "corrupt list"),
        (misuse.foreign_frees, "foreign"),
    ];
    let seen: Vec<String> = kinds
        .iter()
        .filter(|(times, _)| *times != 0)
        .map(|(times, kind)| format!("{} {kind}", count(*times)))
        .collect();
    if seen.is_empty() {
        return fact("none".to_owned(), theme.good());
    }
    let last = misuse.last.last().map_or(String::new(), |event| format!("; last {}", misuse_in_words(event)));
    // A program may well hand foreign pointers around; the other kinds are bugs.
    let only_foreign = misuse.foreign_frees == misuse_count(misuse);
    let (mark, style) = match process.state {
        _ if only_foreign => ("", Style::new()),
        State::Crashed => ("! likely the cause: ", theme.bad()),
        _ => ("! ", theme.bad()),
    };
    fact(format!("{mark}{}{last}", seen.join(", ")), style)
}

/// A misuse as one line has room for.
fn misuse_in_words(event: &MisuseEvent) -> String {
    let kind = event.kind.replace('_', " ");
    let size = event.requested_bytes.or(event.block_size).map_or(String::new(), |size| format!(" of {}", bytes(size)));
    format!("{kind} in {}({}){size} from {}", event.call, harmless(&event.address), harmless(&event.caller))
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
