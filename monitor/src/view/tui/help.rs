//! The help: every key that means something in the view behind it.

use super::app::App;
use super::keys::{self, Context};
use super::theme::Theme;
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

/// In the list alone: the states as a narrow one has them.
const STATES: [(&str, &str); 3] =
    [("S: L, R", "live, replaced"), ("S: E, C", "exited, crashed"), ("S: N, U", "no access, unpublished")];

/// The help's lines: keys or a word, and what they mean.
fn lines(context: Context) -> Vec<(String, &'static str)> {
    let keys = keys::in_context(context).filter(|binding| !binding.shown.is_empty());
    let keys = keys.map(|binding| (binding.shown.to_owned(), binding.help));
    let states = if context == Context::List { &STATES[..] } else { &[] };
    let words = states.iter().chain(&WORDS).map(|&(word, meaning)| (word.to_owned(), meaning));
    keys.chain([(String::new(), "")]).chain(words).collect()
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
