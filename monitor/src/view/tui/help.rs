//! The help: every key that means something in the view behind it.

use super::app::App;
use super::keys::{self, Context};
use super::theme::Theme;
use crate::model::diagnosis::Kind;
use crate::view::verdict::title;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

const WORDS: [(&str, &str); 14] = [
    ("requested", "bytes the program asked for, live"),
    ("rounding", "what its blocks have beyond that"),
    ("allocated", "bytes of the blocks that hold them"),
    ("pinned", "free blocks in slabs that are in use"),
    ("cached", "free memory kept for reuse; given back after a while"),
    ("tables", "the allocator's own records"),
    ("other", "resident memory that none of these explains"),
    ("not heap", "the rest of the RSS: code, stacks, maps, other allocators"),
    ("waste", "rounding and pinned"),
    ("alloc by", "asked for by calls of this thread, whoever frees it"),
    ("r.out r.in", "blocks it freed of others' heaps; others freed of its heap"),
    ("left adopted", "bytes of slabs it left at its end; took over from ended ones"),
    ("-, at most", "where an ended thread may have done it that had its heap"),
    ("stranded", "bytes left by ended threads that nobody has taken over"),
];

/// What is said of a process.
const VERDICTS: [(Kind, &str); 13] = [
    (Kind::NotHeap, "most of the RSS, or of its growth, lies outside the heap"),
    (Kind::LeakSuspected, "it has grown evenly for minutes or longer; so does a cache"),
    (Kind::WarmingUp, "it has grown so, but ever more slowly"),
    (Kind::Growing, "it grows, but not for long, or has come back from as high"),
    (Kind::Filling, "blocks allocated before are touched: only the RSS grows"),
    (Kind::Fragmentation, "a quarter of the resident heap is pinned"),
    (Kind::Rounding, "a quarter of what is allocated was not asked for"),
    (Kind::Cache, "a quarter of the resident heap is free memory, kept long"),
    (Kind::Churn, "as much as the heap holds comes and goes each second"),
    (Kind::ThreadChurn, "ten threads a second end"),
    (Kind::Stranded, "ended threads have left a tenth of what is allocated"),
    (Kind::Stable, "none of these, and nothing moves"),
    (Kind::Varying, "none of these; it goes up and down"),
];

/// In the list alone: the states as a narrow one has them.
const STATES: [(&str, &str); 3] =
    [("S: L, S, R", "live, stopped, replaced"), ("S: E, C", "exited, crashed"), ("S: N, U", "no access, unpublished")];

/// The help's lines: keys or a word, and what they mean.
fn lines(context: Context) -> Vec<(String, &'static str)> {
    let keys = keys::in_context(context).filter(|binding| !binding.shown.is_empty());
    let keys = keys.map(|binding| (binding.shown.to_owned(), binding.help));
    let states = if context == Context::List { &STATES[..] } else { &[] };
    let said = |&(word, meaning): &(&str, &'static str)| (word.to_owned(), meaning);
    let empty = || [(String::new(), "")];
    let words = states.iter().chain(&WORDS).map(said);
    let verdicts = VERDICTS.map(|(kind, meaning)| (title(kind).to_owned(), meaning));
    keys.chain(empty()).chain(words).chain(empty()).chain(verdicts).collect()
}

/// The last line that is shown in `height` rows, and how many there are; nothing where all are.
pub(super) fn place(app: &App, height: u16) -> Option<(usize, usize)> {
    let (below, all) = (overflow(app, height), lines(app.context_behind_help()).len());
    (below > 0).then(|| (app.help.unwrap_or(0).min(below) + usize::from(height), all))
}

/// How many lines do not fit into `height` rows.
pub(super) fn overflow(app: &App, height: u16) -> usize {
    lines(app.context_behind_help()).len().saturating_sub(usize::from(height))
}

/// Draws the help.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, app: &App, theme: &Theme) {
    let lines = lines(app.context_behind_help());
    let first = app.help.unwrap_or(0).min(overflow(app, area.height));
    let column = 16.min(area.width / 2);
    for (row, (name, meaning)) in area.rows().zip(lines.iter().skip(first)) {
        buffer.set_stringn(row.x, row.y, name, usize::from(column), theme.label());
        let x = row.x + column;
        let style = ratatui::style::Style::new();
        super::table::put(buffer, (x, row.y), row.width - column, meaning, false, style, theme);
    }
}
