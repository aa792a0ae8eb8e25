//! What keys and the mouse do.

use super::app::{App, Request, Tab, Window};
use super::frame;
use super::hits::{self, Hit};
use super::keys::Action;
use super::tables::{self, TableId};
use crate::model::Chain;
use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use std::time::Duration;

/// Times between two looks that can be chosen, in milliseconds.
const INTERVALS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];
/// Rows that a turn of the wheel moves by.
const WHEEL: isize = 3;

impl App {
    /// Does what a key asks for.
    pub(super) fn act(&mut self, action: Action) -> Option<Request> {
        match action {
            Action::Quit => {
                if self.program.as_ref().is_none_or(|program| program.ended.is_some()) {
                    return Some(Request::Quit);
                }
                self.help = None;
                self.asks = true;
            }
            Action::Leave => return Some(Request::Quit),
            Action::End => return Some(Request::EndProgram),
            Action::Suspend => return Some(Request::Suspend),
            Action::Help => self.help = Some(0),
            Action::Back => return self.back(),
            Action::Open => return self.open(),
            Action::Compare => return self.toggle_comparison(),
            Action::Freeze => self.frozen = if self.is_frozen() { None } else { Some(self.live.clone()) },
            Action::Slower => return self.change_interval(true),
            Action::Faster => return self.change_interval(false),
            Action::Wider => self.window = neighbour(&Window::ALL, self.window, 1, false),
            Action::Narrower => self.window = neighbour(&Window::ALL, self.window, -1, false),
            Action::NextTab => self.go_to(neighbour(&Tab::ALL, self.tab, 1, true)),
            Action::PreviousTab => self.go_to(neighbour(&Tab::ALL, self.tab, -1, true)),
            Action::Tab(number) => self.go_to(Tab::ALL.get(number).copied().unwrap_or(self.tab)),
            Action::SortLeft => self.sort(false),
            Action::SortRight => self.sort(true),
            Action::Invert => {
                if let Some(table) = self.table() {
                    table.descending = !table.descending;
                }
            }
            Action::Filter => self.types = self.table_id().is_some(),
            Action::Accept => self.types = false,
            Action::Rates => self.rates = !self.rates,
            Action::Unused => self.unused = !self.unused,
            Action::Peak => self.at_peak = !self.at_peak,
            Action::Mark => self.set_mark(),
            Action::Save => return self.save(),
            Action::Up => self.scroll(-1),
            Action::Down => self.scroll(1),
            Action::PageUp => self.scroll(-self.page().cast_signed()),
            Action::PageDown => self.scroll(self.page().cast_signed()),
            Action::First => self.scroll(isize::MIN),
            Action::Last => self.scroll(isize::MAX),
        }
        None
    }

    /// One step out: of the question, the help, the filter, the class, the comparison, the process.
    fn back(&mut self) -> Option<Request> {
        if self.asks {
            self.asks = false;
        } else if self.help.is_some() {
            self.help = None;
        } else if self.types || self.filter_is_on() {
            self.types = false;
            if let Some(table) = self.table() {
                table.filter.clear();
            }
        } else if self.class.is_some() && !self.compares {
            self.class = None;
        } else if self.compares {
            self.compares = false;
        } else if self.has_list && self.opened.take().is_some() {
            self.forget_opened();
            return Some(Request::Follow(None));
        }
        None
    }

    fn filter_is_on(&mut self) -> bool {
        self.table().is_some_and(|table| !table.filter.is_empty())
    }

    /// Enters the selected row.
    fn open(&mut self) -> Option<Request> {
        self.settle();
        let id = self.table_id()?;
        let key = tables::keys(self, id).get(self.tables.get(id).position).copied()?;
        match id {
            TableId::Processes => {
                let opened = self.data().list.iter().map(|process| process.id).find(|id| id.number() == key)?;
                self.tables.get_mut(id).selected = Some(key);
                self.forget_opened();
                (self.opened, self.tab) = (Some(opened), Tab::Overview);
                return Some(Request::Follow(Some(opened)));
            }
            TableId::Classes => {
                self.class = Some(u64::try_from(key).ok()?);
                self.tables.get_mut(TableId::Class).start_over();
            }
            _ => {}
        }
        None
    }

    fn toggle_comparison(&mut self) -> Option<Request> {
        if self.against.is_some() || (self.is_pair && self.opened.is_none()) {
            self.compares = !self.compares;
        } else {
            self.notice = Some("nothing to compare with: statsmon PID PID, or statsmon PID --against FILE".to_owned());
        }
        None
    }

    fn go_to(&mut self, tab: Tab) {
        self.tab = tab;
        (self.class, self.types) = (None, false);
    }

    fn set_mark(&mut self) {
        let marked = self.data().time.zip(self.shown().map(|process| Chain::of(&process.totals)));
        if marked.is_some() {
            self.mark = marked;
            self.notice = Some("marked: changes are counted from here".to_owned());
        }
    }

    fn save(&self) -> Option<Request> {
        let processes = match self.opened {
            Some(_) => vec![self.shown()?.clone()],
            None => self.data().list.to_vec(),
        };
        Some(Request::Save { time: self.data().time?, processes })
    }

    fn forget_opened(&mut self) {
        self.live.forget_opened();
        (self.mark, self.class, self.frozen) = (None, None, None);
        for id in TableId::ALL.into_iter().filter(|&id| id != TableId::Processes) {
            let table = self.tables.get_mut(id);
            table.start_over();
            table.filter.clear();
        }
    }

    fn change_interval(&mut self, slower: bool) -> Option<Request> {
        let now = self.interval.as_millis();
        let choices = INTERVALS.into_iter();
        let chosen = match slower {
            true => choices.clone().find(|&choice| u128::from(choice) > now),
            false => choices.rev().find(|&choice| u128::from(choice) < now),
        };
        self.interval = Duration::from_millis(chosen?);
        Some(Request::Interval(self.interval))
    }

    fn sort(&mut self, right: bool) {
        let room = self.room();
        if let Some(id) = self.table_id() {
            tables::sort_by_neighbour(self.tables.get_mut(id), id, room, right);
        }
    }

    fn scroll(&mut self, by: isize) {
        if let Some(line) = &mut self.help {
            *line = line.saturating_add_signed(by);
            return;
        }
        let Some(id) = self.table_id() else { return };
        let (keys, page) = (tables::keys(self, id), self.page());
        let table = self.tables.get_mut(id);
        if by == isize::MIN {
            // The top is a place, not a row: what comes to stand there is selected.
            table.start_over();
        } else {
            table.step(&keys, by, page);
        }
    }

    /// Does what a click or a turn of the wheel asks for.
    pub(super) fn click(&mut self, mouse: MouseEvent) -> Option<Request> {
        if self.asks {
            return None;
        }
        match mouse.kind {
            MouseEventKind::ScrollUp => self.scroll(-WHEEL),
            MouseEventKind::ScrollDown => self.scroll(WHEEL),
            MouseEventKind::Down(MouseButton::Left) if self.help.is_none() => {
                return match hits::hit(self, mouse.column, mouse.row)? {
                    Hit::Tab(tab) => {
                        self.compares = false;
                        self.go_to(tab);
                        None
                    }
                    Hit::Title(id, x) => {
                        let place = (tables::area(self, id, frame::body(self)), self.room());
                        tables::sort_by_column_at(self.tables.get_mut(id), id, place, x);
                        None
                    }
                    // A click selects a row, and a second one enters it.
                    Hit::Row(id, row) if self.tables.get(id).position == row => self.open(),
                    Hit::Row(id, row) => {
                        let (keys, page) = (tables::keys(self, id), self.page());
                        let table = self.tables.get_mut(id);
                        let by = row.cast_signed() - table.position.cast_signed();
                        table.step(&keys, by, page);
                        None
                    }
                };
            }
            _ => {}
        }
        None
    }
}

/// The element `by` places from `current`; around the ends where `cyclic`, else not beyond them.
fn neighbour<T: Copy + PartialEq>(all: &[T], current: T, by: isize, cyclic: bool) -> T {
    let count = all.len().cast_signed();
    let at = all.iter().position(|&one| one == current).unwrap_or(0).cast_signed() + by;
    let at = if cyclic { at.rem_euclid(count) } else { at.clamp(0, count - 1) };
    all[at.unsigned_abs()]
}
