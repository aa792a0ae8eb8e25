//! All tables by name: what differs from one to the next is in their own files, what is common to all is here once.

use super::app::App;
use super::table::{self, Room, TableState, put};
use super::theme::Theme;
use super::{class, classes, compare, large, log, processes, safety, threads};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TableId {
    Processes,
    Compare,
    Classes,
    /// The threads of the class that is open.
    Class,
    Threads,
    Large,
    Safety,
    Log,
}

impl TableId {
    /// All, in the order of [`Tables`].
    pub(super) const ALL: [Self; 8] = [
        Self::Processes,
        Self::Compare,
        Self::Classes,
        Self::Class,
        Self::Threads,
        Self::Large,
        Self::Safety,
        Self::Log,
    ];
}

/// What the user has chosen in each table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Tables([TableState; 8]);

/// Evaluates an expression with `$table` standing for the module of a table.
macro_rules! in_table {
    ($id:expr, $table:ident => $body:expr) => {
        match $id {
            TableId::Processes => in_table!(@ processes as $table, $body),
            TableId::Compare => in_table!(@ compare as $table, $body),
            TableId::Classes => in_table!(@ classes as $table, $body),
            TableId::Class => in_table!(@ class as $table, $body),
            TableId::Threads => in_table!(@ threads as $table, $body),
            TableId::Large => in_table!(@ large as $table, $body),
            TableId::Safety => in_table!(@ safety as $table, $body),
            TableId::Log => in_table!(@ log as $table, $body),
        }
    };
    (@ $module:ident as $table:ident, $body:expr) => {{
        use $module as $table;
        $body
    }};
}

impl Tables {
    /// Every table as it is at first.
    pub(super) fn new() -> Self {
        Self(TableId::ALL.map(|id| in_table!(id, of => TableState::sorted_by(of::SORT.0, of::SORT.1))))
    }

    /// What was chosen in a table.
    pub(super) fn get(&self, id: TableId) -> &TableState {
        &self.0[id as usize]
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, id: TableId) -> &mut TableState {
        &mut self.0[id as usize]
    }
}

/// Identities of a table's rows, as they are shown.
#[allow(clippy::useless_conversion, reason = "the keys of one table are wider than those of the others")]
pub(super) fn keys(app: &App, id: TableId) -> Vec<u128> {
    in_table!(id, of => of::rows(app).iter().map(|row| u128::from(of::key(row))).collect())
}

/// Sorts a table by the next visible column.
pub(super) fn sort_by_neighbour(state: &mut TableState, id: TableId, room: Room, right: bool) {
    in_table!(id, of => state.sort_by_neighbour(&of::COLUMNS, room, right));
}

/// Sorts a table by the column at `x`.
pub(super) fn sort_by_column_at(state: &mut TableState, id: TableId, (area, room): (Rect, Room), x: u16) {
    in_table!(id, of => {
        if let Some(column) = table::column_at(&of::COLUMNS, area, room, x) {
            state.sort_by(&of::COLUMNS, column);
        }
    });
}

/// The part of a view that its table has: what is above it belongs to the view.
pub(super) fn area(app: &App, id: TableId, body: Rect) -> Rect {
    let above = match id {
        TableId::Class => class::above(body),
        TableId::Threads => threads::ABOVE,
        TableId::Large => large::ABOVE,
        TableId::Safety => safety::above(app),
        TableId::Compare => 0,
        TableId::Classes => u16::from(app.at_peak),
        TableId::Processes | TableId::Log => 0,
    };
    // A table has its titles and a row, whatever becomes of the rest.
    let above = above.min(body.height.saturating_sub(2));
    Rect { y: body.y + above, height: body.height - above, ..body }
}

/// Draws a table with what is above it.
pub(super) fn draw(buffer: &mut Buffer, body: Rect, app: &App, id: TableId, theme: &Theme) {
    let area = area(app, id, body);
    let above = Rect { height: area.y - body.y, ..body };
    match id {
        TableId::Class => class::draw_above(buffer, above, app, theme),
        TableId::Classes => classes::draw_above(buffer, above, app, theme),
        TableId::Threads => threads::draw_above(buffer, above, app, theme),
        TableId::Large => large::draw_above(buffer, above, app, theme),
        TableId::Safety => safety::draw_above(buffer, above, app, theme),
        TableId::Processes | TableId::Compare | TableId::Log => {}
    }
    let chosen = (app.tables.get(id), app.room());
    in_table!(id, of => table::draw(buffer, area, &of::COLUMNS, &of::rows(app), chosen, theme, of::look));
    if area.height > 1 && keys(app, id).is_empty() {
        let text = match id {
            _ if !app.tables.get(id).filter.is_empty() => "no row has this text; Esc drops the filter",
            TableId::Safety => "no misuse so far",
            TableId::Large => "no large block so far; d shows all sizes",
            TableId::Classes => "no small block so far; d shows all sizes",
            _ => "nothing yet",
        };
        put(buffer, (area.x, area.y + 1), area.width, text, false, theme.quiet(), theme);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_title_has_room_for_the_mark_of_the_order() {
        for id in TableId::ALL {
            in_table!(id, of => for column in &of::COLUMNS {
                // In a column of one cell the mark takes the title's place.
                let width = if column.width == 1 { 2 } else { usize::from(column.width) };
                assert!(column.title.len() < width, "{} of {id:?}", column.title);
            });
        }
    }
}
