//! The screen's state, and what events make of it: pure. Time, data and keys come in as events; what shall be done
//! outside goes out as a request.

use super::data::Data;
use super::frame;
use super::keys::{self, Context};
use super::table::{Room, TableState};
use super::tables::{self, TableId, Tables};
pub(super) use super::views::{Tab, Window};
use crate::model::compare::{Side, compare};
use crate::model::log::{self as log_event, Entry};
use crate::model::{Chain, Comparison, Identity, Process, Time};
use crate::view::log;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent};
use std::time::Duration;

/// Something happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was used.
    Mouse(MouseEvent),
    /// Text was pasted: none of it is a key.
    Paste(String),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// A look at all selected processes, and what could not be seen.
    List { time: Time, processes: Vec<Process>, problems: Vec<String> },
    /// A look at the opened process.
    Opened { time: Time, process: Box<Process> },
    /// The opened process cannot be seen, and why.
    Lost { id: Identity, why: String },
    /// The looks themselves fail, and why.
    Failed(String),
    /// A look is long overdue.
    Late,
    /// Something to tell the user until the next key.
    Notice(String),
    /// The program that was started for watching has ended, in words.
    ProgramEnded(String),
}

/// What shall be done outside.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Request {
    /// End the screen.
    Quit,
    /// End the program that was started, then the screen.
    EndProgram,
    /// Look at this one process from now on, or at all selected ones.
    Follow(Option<Identity>),
    /// Look this often.
    Interval(Duration),
    /// Write what is shown, as JSON, to a file.
    Save { time: Time, processes: Vec<Process> },
    /// Give the terminal back until the shell continues us.
    Suspend,
}

/// A program that was started for watching.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Program {
    /// What was started.
    pub(crate) command: String,
    /// Where its output goes.
    pub(crate) log: String,
    /// How it ended, if it has.
    pub(crate) ended: Option<String>,
}

/// What the screen opens on.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// The list of processes.
    List,
    /// Two processes side by side, the list behind them.
    Pair,
    /// One process, with no list behind it.
    Process(Identity, Option<Program>),
    /// One process beside what it was.
    Against(Identity, Side),
}

/// The screen's state.
///
/// Invariant after every update: the open table's selection and offset are within its rows; `opened` is `Some` wherever
/// the list is not the root; `class` is `Some` on the tab of classes only.
#[derive(Debug)]
pub(crate) struct App {
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// The process that is open; none: the list.
    pub(super) opened: Option<Identity>,
    /// Whether Esc leads from a process to the list.
    pub(super) has_list: bool,
    /// The comparison is open.
    pub(super) compares: bool,
    /// The list is of two processes, so that there is something to compare.
    pub(super) is_pair: bool,
    /// What the open process is compared with.
    pub(super) against: Option<Side>,
    pub(super) tab: Tab,
    /// The size class that is open: its block size.
    pub(super) class: Option<u64>,
    pub(super) window: Window,
    pub(super) interval: Duration,
    /// Tables show rates where there is no room for all.
    pub(super) rates: bool,
    /// Tables show what was never used.
    pub(super) unused: bool,
    /// The classes are shown as they were at the peak.
    pub(super) at_peak: bool,
    /// Where changes are counted from.
    pub(super) mark: Option<(Time, Chain)>,
    /// First line of the help, while that is open.
    pub(super) help: Option<usize>,
    /// The question about the program is open.
    pub(super) asks: bool,
    /// Keys go into the open table's filter.
    pub(super) types: bool,
    pub(super) program: Option<Program>,
    /// Why looks fail at present.
    pub(super) failure: Option<String>,
    /// No look has come for a long time.
    pub(super) late: bool,
    /// What was told the user last.
    pub(super) notice: Option<String>,
    pub(super) tables: Tables,
    pub(super) live: Data,
    pub(super) frozen: Option<Data>,
    /// Both sides of what is compared, as they are shown; worked out once for each event.
    compared: Option<Comparison>,
}

impl App {
    /// A screen that has seen nothing yet.
    pub(crate) fn new(size: (u16, u16), interval: Duration, start: Start) -> Self {
        let mut app = Self {
            size,
            opened: None,
            has_list: true,
            compares: false,
            is_pair: false,
            against: None,
            tab: Tab::Overview,
            class: None,
            window: Window::TwoMinutes,
            interval,
            rates: false,
            unused: false,
            at_peak: false,
            mark: None,
            help: None,
            asks: false,
            types: false,
            program: None,
            failure: None,
            late: false,
            notice: None,
            tables: Tables::new(),
            live: Data::default(),
            frozen: None,
            compared: None,
        };
        match start {
            Start::List => {}
            Start::Pair => (app.compares, app.is_pair) = (true, true),
            Start::Process(id, program) => (app.opened, app.has_list, app.program) = (Some(id), false, program),
            Start::Against(id, side) => {
                (app.opened, app.has_list, app.compares, app.against) = (Some(id), false, true, Some(side));
            }
        }
        app
    }

    /// Columns and rows of the screen.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// Time between two looks.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }

    /// What is shown: the present, or what was when the screen was frozen.
    pub(super) fn data(&self) -> &Data {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// Whether the screen is frozen.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Whether what is shown as the present has stopped being it.
    pub(super) fn is_stale(&self) -> bool {
        self.late || self.failure.is_some() || self.live.lost.is_some()
    }

    /// The open process as it is shown.
    pub(super) fn shown(&self) -> Option<&Process> {
        self.data().process(self.opened?)
    }

    /// Both sides, where two are compared and known.
    pub(super) fn comparison(&self) -> Option<&Comparison> {
        self.compared.as_ref()
    }

    fn compare(&self) -> Option<Comparison> {
        let data = self.data();
        let side = |process: &Process| data.time.map(|time| Side::of(process, time));
        match (&self.against, &data.list[..]) {
            (Some(against), _) => Some(compare(against, &side(self.shown()?)?)),
            (None, [left, right]) if self.is_pair => Some(compare(&side(left)?, &side(right)?)),
            _ => None,
        }
    }

    /// Where keys go.
    pub(super) fn context(&self) -> Context {
        match (self.asks, self.help, self.types) {
            (true, ..) => Context::Prompt,
            (_, Some(_), _) => Context::Help,
            (.., true) => Context::Filter,
            _ => self.context_behind_help(),
        }
    }

    /// The place that the help is about.
    pub(super) fn context_behind_help(&self) -> Context {
        match (self.compares, self.opened, self.tab) {
            (true, ..) => Context::Compare,
            (_, None, _) => Context::List,
            (.., Tab::Overview) => Context::Overview,
            (.., Tab::Classes) if self.class.is_some() => Context::Class,
            (.., Tab::Classes) => Context::Classes,
            _ => Context::Table,
        }
    }

    /// The table that is open, if one is.
    pub(super) fn table_id(&self) -> Option<TableId> {
        Some(match (self.compares, self.opened, self.tab) {
            (true, ..) => TableId::Compare,
            (_, None, _) => TableId::Processes,
            (.., Tab::Overview) => return None,
            (.., Tab::Classes) if self.class.is_some() => TableId::Class,
            (.., Tab::Classes) => TableId::Classes,
            (.., Tab::Threads) => TableId::Threads,
            (.., Tab::Large) => TableId::Large,
            (.., Tab::Safety) => TableId::Safety,
            (.., Tab::Log) => TableId::Log,
        })
    }

    /// The open table's state.
    pub(super) fn table(&mut self) -> Option<&mut TableState> {
        let id = self.table_id()?;
        Some(self.tables.get_mut(id))
    }

    /// What tables have room for.
    pub(super) fn room(&self) -> Room {
        Room { width: self.size.0, rates: self.rates }
    }

    /// Takes note of an event.
    pub(crate) fn update(&mut self, event: Event) -> Option<Request> {
        let request = match event {
            Event::Key(key) if key.kind == KeyEventKind::Release => None,
            Event::Key(key) => self.take_key(key),
            Event::Mouse(mouse) => self.click(mouse),
            Event::Paste(text) => {
                self.paste(&text);
                None
            }
            Event::Resize(columns, rows) => {
                self.size = (columns, rows);
                None
            }
            Event::ProgramEnded(how) => {
                self.asks = false;
                if let Some(program) = &mut self.program {
                    program.ended = Some(how);
                }
                None
            }
            Event::Notice(text) => {
                self.notice = Some(text);
                None
            }
            seen => {
                self.take_look(seen);
                None
            }
        };
        self.compared = if self.compares { self.compare() } else { None };
        self.settle();
        request
    }

    fn take_look(&mut self, event: Event) {
        match event {
            Event::List { time, processes, problems } => {
                (self.failure, self.late) = (None, false);
                self.live.take_list(time, processes, problems);
            }
            Event::Opened { time, process } if self.opened == Some(process.id) => {
                (self.failure, self.late) = (None, false);
                if self.mark.is_none() {
                    self.mark = Some((time, Chain::of(&process.totals)));
                }
                if let Some(exec) = new_exec(&process, self.live.process(process.id)) {
                    // Another heap: what the one before it had is nothing to count from.
                    self.mark = Some((time, Chain::of(&process.totals)));
                    self.notice = Some(log::words(&exec.event));
                }
                self.live.take_opened(time, process);
            }
            Event::Lost { id, why } if self.opened == Some(id) => self.live.lost = Some(why),
            Event::Failed(why) => self.failure = Some(why),
            Event::Late => self.late = true,
            _ => {}
        }
    }

    fn take_key(&mut self, key: KeyEvent) -> Option<Request> {
        self.notice = None;
        if self.context() == Context::Filter && self.take_text(key) {
            return None;
        }
        keys::action(self.context(), key).and_then(|action| self.act(action))
    }

    /// Adds to the filter, where that is being written; elsewhere nothing is meant.
    fn paste(&mut self, text: &str) {
        if self.context() == Context::Filter {
            for character in text.chars() {
                self.take_text(KeyEvent::from(KeyCode::Char(character)));
            }
        }
    }

    /// A key for the filter's text. Others, such as the arrows, do what they always do.
    fn take_text(&mut self, key: KeyEvent) -> bool {
        const LONGEST: usize = 64;
        let plain = key.modifiers.difference(KeyModifiers::SHIFT).is_empty();
        let Some(table) = self.table() else { return false };
        match key.code {
            KeyCode::Char(character) if plain && !character.is_control() => {
                if table.filter.chars().count() < LONGEST {
                    table.filter.push(character);
                }
            }
            KeyCode::Backspace => drop(table.filter.pop()),
            _ => return false,
        }
        table.start_over();
        true
    }

    /// Puts selection, offset and help within what there is to show.
    pub(super) fn settle(&mut self) {
        if let Some(line) = self.help {
            self.help = Some(line.min(frame::help_overflow(self)));
        }
        if let Some(id) = self.table_id() {
            let (keys, page) = (tables::keys(self, id), self.page());
            self.tables.get_mut(id).settle(&keys, page);
        }
    }

    /// Which of how many rows is selected in the open table, if one is open.
    pub(super) fn place_in_table(&self) -> Option<(usize, usize)> {
        let id = self.table_id()?;
        let rows = tables::keys(self, id).len();
        (rows != 0).then_some((self.tables.get(id).position + 1, rows))
    }

    /// Rows of the open table that fit on the screen.
    pub(super) fn page(&self) -> usize {
        let body = frame::body(self);
        let area = self.table_id().map_or(body, |id| tables::area(self, id, body));
        usize::from(area.height.saturating_sub(1)).max(1)
    }
}

/// The exec that a process has gone through since it was last seen.
fn new_exec<'a>(process: &'a Process, before: Option<&Process>) -> Option<&'a Entry> {
    let exec = process.log.iter().rev().find(|entry| matches!(entry.event, log_event::Event::Exec { .. }))?;
    before.is_some_and(|before| !before.log.contains(exec)).then_some(exec)
}
