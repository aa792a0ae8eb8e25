//! Tables: one list of columns drives titles, texts, widths and sorting.

use super::theme::Theme;
pub(super) use super::value::{TREND, Value};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// One column of rows of type `R`.
pub(super) struct Column<R> {
    /// Above it.
    pub(super) title: &'static str,
    /// Cells it takes; the last visible text column takes what is left.
    pub(super) width: u16,
    /// Numbers stand to the right.
    pub(super) right: bool,
    /// Shown only where the table is at least this wide.
    pub(super) from_width: u16,
    /// Shown only where it is narrower than this.
    pub(super) below_width: u16,
    /// Whether it belongs to amounts, to rates, or to both.
    pub(super) mode: Mode,
    /// Sorted by this column, the largest stand on top at first.
    pub(super) descending: bool,
    /// Its cell in a row.
    pub(super) value: fn(&R) -> Value,
}

/// What a column belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Both,
    Amounts,
    Rates,
}

/// How wide a table is drawn, and what of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Room {
    /// Columns of the terminal.
    pub(super) width: u16,
    /// Rates are wanted, where there is no room for all.
    pub(super) rates: bool,
}

/// From this width on there is room for amounts and rates.
const ROOM_FOR_ALL: u16 = 132;

/// What the user has chosen in a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TableState {
    /// Index of the column sorted by.
    pub(super) sort: usize,
    /// Largest on top.
    pub(super) descending: bool,
    /// Identity of the selected row; the first row as long as nothing was selected.
    pub(super) selected: Option<u128>,
    /// Where it was last seen, for when it is gone.
    pub(super) position: usize,
    /// First row on the screen.
    pub(super) offset: usize,
    /// Only rows with this in one of their cells, whatever its case.
    pub(super) filter: String,
}

impl TableState {
    /// Sorted by column `sort`, nothing selected.
    pub(super) const fn sorted_by(sort: usize, descending: bool) -> Self {
        Self { sort, descending, selected: None, position: 0, offset: 0, filter: String::new() }
    }

    /// Takes note of the rows there are now: finds the selected one, and scrolls so that it can be seen on a page of
    /// `page` rows.
    pub(super) fn settle(&mut self, keys: &[u128], page: usize) {
        let unmoved =
            self.selected.filter(|_| keys.get(self.position).copied() == self.selected).map(|_| self.position);
        let found = unmoved.or_else(|| keys.iter().position(|&key| Some(key) == self.selected));
        self.go(keys, found.unwrap_or(self.position), page);
        if found.is_none() && self.position == 0 {
            self.selected = None;
        }
    }

    /// Selects the row `by` rows further.
    pub(super) fn step(&mut self, keys: &[u128], by: isize, page: usize) {
        self.settle(keys, page);
        self.go(keys, self.position.saturating_add_signed(by), page);
    }

    fn go(&mut self, keys: &[u128], position: usize, page: usize) {
        self.position = position.min(keys.len().saturating_sub(1));
        self.selected = keys.get(self.position).copied();
        self.offset = first_visible(self.offset, self.position, keys.len(), page);
    }

    /// Forgets the row that was selected.
    pub(super) fn start_over(&mut self) {
        (self.selected, self.position, self.offset) = (None, 0, 0);
    }

    /// Sorts by a column; by the same one again, the other way round.
    pub(super) fn sort_by<R>(&mut self, columns: &[Column<R>], column: usize) {
        if self.sort == column {
            self.descending = !self.descending;
        } else if let Some(chosen) = columns.get(column) {
            (self.sort, self.descending) = (column, chosen.descending);
        }
    }

    /// Sorts by the next visible column to the left or right.
    pub(super) fn sort_by_neighbour<R>(&mut self, columns: &[Column<R>], room: Room, right: bool) {
        let shown: Vec<usize> = visible(columns, room).map(|(index, _)| index).collect();
        if shown.is_empty() {
            return;
        }
        let at = shown.iter().position(|&index| index == self.sort).unwrap_or(0);
        let next = if right { (at + 1).min(shown.len() - 1) } else { at.saturating_sub(1) };
        if shown[next] != self.sort {
            self.sort = shown[next];
            self.descending = columns[self.sort].descending;
        }
    }
}

/// The first row to show so that `position` is on the page, moving as little as possible.
fn first_visible(offset: usize, position: usize, rows: usize, page: usize) -> usize {
    let page = page.max(1);
    offset.min(position).max((position + 1).saturating_sub(page)).min(rows.saturating_sub(page))
}

fn visible<R>(columns: &[Column<R>], room: Room) -> impl Iterator<Item = (usize, &Column<R>)> {
    let wanted = if room.rates { Mode::Rates } else { Mode::Amounts };
    let fits = move |column: &Column<R>| {
        (column.from_width..column.below_width).contains(&room.width)
            && (column.mode == Mode::Both || column.mode == wanted || room.width >= ROOM_FOR_ALL)
    };
    columns.iter().enumerate().filter(move |(_, column)| fits(column))
}

/// Rows as the state wants them: filtered and sorted; equal ones by their key, so that they do not dance.
pub(super) fn arrange<R, K: Ord>(rows: Vec<R>, columns: &[Column<R>], state: &TableState, key: fn(&R) -> K) -> Vec<R> {
    let mut rows = rows;
    if !state.filter.is_empty() {
        let wanted = state.filter.to_lowercase();
        let plain = Theme::new(false, false);
        let matches = |row: &R| {
            columns.iter().any(|column| match (column.value)(row) {
                Value::Trend(_) => false,
                value => value.show(&plain).to_lowercase().contains(&wanted),
            })
        };
        rows.retain(matches);
    }
    rows.sort_by_cached_key(key);
    let Some(column) = columns.get(state.sort) else { return rows };
    let mut keyed: Vec<(Value, R)> = rows.into_iter().map(|row| ((column.value)(&row), row)).collect();
    keyed.sort_by(|(one, _), (other, _)| if state.descending { other.order(one) } else { one.order(other) });
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// The column whose title stands at `x`, in a table that begins at `left`.
pub(super) fn column_at<R>(columns: &[Column<R>], area: Rect, room: Room, x: u16) -> Option<usize> {
    let places = places(columns, area, room);
    places.iter().find(|(_, left, width)| (left.saturating_sub(1)..left + width).contains(&x)).map(|(index, ..)| *index)
}

/// How a row is drawn. Its words say the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Look {
    Plain,
    Faint,
    Strong,
    Alarming,
}

/// Draws titles and the rows that fit, from rows that are arranged already.
pub(super) fn draw<R>(
    buffer: &mut Buffer,
    area: Rect,
    columns: &[Column<R>],
    rows: &[R],
    (state, room): (&TableState, Room),
    theme: &Theme,
    look: fn(&R) -> Look,
) {
    if area.is_empty() {
        return;
    }
    let places = places(columns, area, room);
    buffer.set_style(Rect { height: 1, ..area }, theme.title());
    for (index, x, width) in &places {
        let column = &columns[*index];
        let sorted_by = *index == state.sort;
        let mark = match (sorted_by, state.descending) {
            (false, _) => "",
            (true, true) => theme.symbols.descending,
            (true, false) => theme.symbols.ascending,
        };
        // In a column of one cell the mark takes the title's place.
        let title = if sorted_by && column.width == 1 { "" } else { column.title };
        let style = if sorted_by { theme.title().patch(theme.label()) } else { theme.title() };
        put(buffer, (*x, area.y), *width, &format!("{title}{mark}"), column.right, style, theme);
    }
    let page = usize::from(area.height - 1);
    let position = state.position.min(rows.len().saturating_sub(1));
    let offset = first_visible(state.offset, position, rows.len(), page);
    for (line, (at, row)) in rows.iter().enumerate().skip(offset).take(page).enumerate() {
        let y = area.y + 1 + line as u16;
        let mut style = match look(row) {
            Look::Plain => Style::new(),
            Look::Faint => theme.quiet(),
            Look::Strong => theme.strong(),
            Look::Alarming => theme.bad(),
        };
        if at == position {
            style = style.patch(theme.selected());
        }
        buffer.set_style(Rect { y, height: 1, ..area }, style);
        for (index, x, width) in &places {
            let column = &columns[*index];
            let shown = (column.value)(row).show(theme);
            match column.right {
                true => put_number(buffer, (*x, y), *width, &shown, style, theme),
                false => put(buffer, (*x, y), *width, &shown, false, style, theme),
            }
        }
    }
}

/// Where the visible columns stand: index, left edge, width.
fn places<R>(columns: &[Column<R>], area: Rect, room: Room) -> Vec<(usize, u16, u16)> {
    let shown: Vec<_> = visible(columns, room).collect();
    let fixed: u16 = shown.iter().map(|(_, column)| column.width + 1).sum();
    let spare = area.width.saturating_sub(fixed.saturating_sub(1));
    let stretched = shown.iter().rposition(|(_, column)| !column.right);
    let mut x = area.x;
    let mut places = Vec::new();
    for (at, (index, column)) in shown.into_iter().enumerate() {
        let width = column.width + if stretched == Some(at) { spare } else { 0 };
        let left = area.right().saturating_sub(x);
        if left == 0 {
            break;
        }
        places.push((index, x, width.min(left)));
        x = x.saturating_add(width + 1);
    }
    places
}

/// Writes text into a field of `width` cells, cut where it is too long.
pub(super) fn put(
    buffer: &mut Buffer,
    (x, y): (u16, u16),
    width: u16,
    text: &str,
    right: bool,
    style: Style,
    theme: &Theme,
) {
    use ratatui::text::Span;
    let wanted = Span::raw(text).width();
    let width = usize::from(width);
    if wanted > width {
        let (end, _) = buffer.set_stringn(x, y, text, width.saturating_sub(1), style);
        buffer.set_stringn(end, y, theme.symbols.ellipsis, width.min(1), style);
    } else {
        let indent = if right { width - wanted } else { 0 };
        buffer.set_stringn(x + indent as u16, y, text, width, style);
    }
}

/// Writes a number into a field of `width` cells, at its right. A part of it would be another number.
pub(super) fn put_number(
    buffer: &mut Buffer,
    place: (u16, u16),
    width: u16,
    number: &str,
    style: Style,
    theme: &Theme,
) {
    let fits = ratatui::text::Span::raw(number).width() <= usize::from(width);
    put(buffer, place, width, if fits { number } else { theme.symbols.ellipsis }, true, style, theme);
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column<(u64, u64)>; 2] = [
        Column {
            title: "ID",
            width: 4,
            right: true,
            from_width: 0,
            below_width: u16::MAX,
            mode: Mode::Both,
            descending: false,
            value: |row| Value::Id(Some(row.0)),
        },
        Column {
            title: "N",
            width: 4,
            right: true,
            from_width: 30,
            below_width: u16::MAX,
            mode: Mode::Both,
            descending: true,
            value: |row| Value::Count(Some(row.1)),
        },
    ];

    const fn room(width: u16) -> Room {
        Room { width, rates: false }
    }

    #[test]
    fn a_filter_keeps_the_rows_that_show_its_text() {
        let state = TableState { filter: "1".into(), ..TableState::sorted_by(0, false) };
        let rows = arrange(vec![(10, 5), (20, 1), (30, 7)], &COLUMNS, &state, |row| row.0);
        assert_eq!(rows, [(10, 5), (20, 1)]);
    }

    #[test]
    fn rows_with_equal_values_keep_the_order_of_their_keys() {
        let rows = vec![(3, 1), (1, 5), (2, 1), (4, 9)];
        let rows = arrange(rows, &COLUMNS, &TableState::sorted_by(1, true), |row| row.0);
        assert_eq!(rows, [(4, 9), (1, 5), (2, 1), (3, 1)]);
        let rows = arrange(rows, &COLUMNS, &TableState::sorted_by(0, true), |row| row.0);
        let keys: Vec<u64> = rows.iter().map(|row| row.0).collect();
        assert_eq!(keys, [4, 3, 2, 1]);
    }

    #[test]
    fn the_selection_follows_its_row_and_stays_near_when_that_goes() {
        let mut state = TableState::sorted_by(0, false);
        state.step(&[10, 20, 30], 1, 2);
        assert_eq!((state.selected, state.position), (Some(20), 1));
        state.settle(&[20, 10, 30], 2);
        assert_eq!((state.selected, state.position), (Some(20), 0));
        state.step(&[20, 10, 30], 99, 2);
        assert_eq!((state.selected, state.offset), (Some(30), 1));
        state.settle(&[20, 10], 2);
        assert_eq!((state.selected, state.position, state.offset), (Some(10), 1, 0));
        state.settle(&[], 2);
        assert_eq!((state.selected, state.position, state.offset), (None, 0, 0));
    }

    #[test]
    fn untouched_tables_keep_showing_their_top() {
        let mut state = TableState::sorted_by(0, false);
        state.settle(&[10, 20], 5);
        state.settle(&[5, 10, 20], 5);
        assert_eq!(state.position, 0);
    }

    #[test]
    fn sorting_skips_hidden_columns_and_stops_at_the_edges() {
        let mut state = TableState::sorted_by(0, false);
        state.sort_by_neighbour(&COLUMNS, room(20), true);
        assert_eq!(state.sort, 0);
        state.sort_by_neighbour(&COLUMNS, room(80), true);
        assert_eq!((state.sort, state.descending), (1, true));
        state.sort_by_neighbour(&COLUMNS, room(80), true);
        assert_eq!(state.sort, 1);
    }

    #[test]
    fn a_number_without_room_is_left_out_and_not_cut() {
        let area = Rect::new(0, 0, 8, 2);
        let mut buffer = Buffer::empty(area);
        let chosen = (&TableState::sorted_by(0, false), room(80));
        draw(&mut buffer, area, &COLUMNS, &[(12_345, 7)], chosen, &Theme::new(false, true), |_| Look::Plain);
        let row: String = (0..8).map(|x| buffer[(x, 1)].symbol()).collect();
        assert_eq!(row, "   …   7", "1234 would be another number");
    }
}
