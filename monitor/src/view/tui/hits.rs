//! What lies under the mouse.

use super::app::{App, Tab};
use super::frame;
use super::tables::{self, TableId};

/// Something that can be clicked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hit {
    Tab(Tab),
    /// The titles of a table, at this column of the screen.
    Title(TableId, u16),
    /// A row of a table.
    Row(TableId, usize),
}

/// What lies at column `x` and row `y`.
pub(super) fn hit(app: &App, x: u16, y: u16) -> Option<Hit> {
    if y == frame::TABS && app.opened.is_some() {
        return frame::tab_places(app).find(|(_, range)| range.contains(&x)).map(|(tab, _)| Hit::Tab(tab));
    }
    let id = app.table_id()?;
    let area = tables::area(app, id, frame::body(app));
    if !(area.y..area.bottom()).contains(&y) {
        return None;
    }
    if y == area.y {
        return Some(Hit::Title(id, x));
    }
    let row = app.tables.get(id).offset + usize::from(y - area.y - 1);
    (row < tables::keys(app, id).len()).then_some(Hit::Row(id, row))
}
