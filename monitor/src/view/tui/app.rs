//! The screen's state, and how it changes: pure. Time, data and keys come in as events; what shall be done outside
//! goes out as a request.

use super::data::Data;
use super::keys::{self, Action, Context};
use super::table::TableState;
use super::{classes, frame, processes, threads};
use crate::model::{Process, Time};
use crossterm::event::{KeyEvent, KeyEventKind};
use std::time::Duration;

/// Something happened.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// A look at all selected processes, and what could not be seen.
    List { time: Time, processes: Vec<Process>, problems: Vec<String> },
    /// A look at the opened process.
    Opened { time: Time, process: Box<Process> },
    /// The opened process cannot be seen, and why.
    Lost { pid: u32, why: String },
    /// The looks themselves fail, and why.
    Failed(String),
    /// The program that was started for watching has ended, in words.
    ProgramEnded(String),
}

/// What shall be done outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Request {
    /// End the screen.
    Quit,
    /// End the program that was started, then the screen.
    EndProgram,
    /// Look at this one process from now on, or at all selected ones.
    Follow(Option<u32>),
    /// Look this often.
    Interval(Duration),
    /// Give the terminal back until the shell continues us.
    Suspend,
}

/// A tab of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tab {
    Overview,
    Classes,
    Threads,
}

impl Tab {
    /// All, in order.
    pub(super) const ALL: [Self; 3] = [Self::Overview, Self::Classes, Self::Threads];

    /// As in the line of tabs.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Classes => "Classes",
            Self::Threads => "Threads",
        }
    }
}

/// How far back the graphs reach: one of the history rings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Window {
    Minutes,
    Hours,
    Days,
}

impl Window {
    const ALL: [Self; 3] = [Self::Minutes, Self::Hours, Self::Days];
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

/// Times between two looks that can be chosen, in milliseconds.
const INTERVALS: [u64; 9] = [100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000];

/// The screen's state.
///
/// Invariant after every update: the open table's selection and offset are within its rows; `opened` is `Some`
/// wherever the list is not the root.
#[derive(Debug)]
pub(crate) struct App {
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// The process that is open; none: the list.
    pub(super) opened: Option<u32>,
    /// Whether Esc leads from a process to the list.
    pub(super) has_list: bool,
    pub(super) tab: Tab,
    pub(super) window: Window,
    pub(super) interval: Duration,
    /// First line of the help, while that is open.
    pub(super) help: Option<usize>,
    /// The question about the program is open.
    pub(super) asks: bool,
    pub(super) program: Option<Program>,
    /// Why looks fail at present.
    pub(super) failure: Option<String>,
    pub(super) processes: TableState,
    pub(super) classes: TableState,
    pub(super) threads: TableState,
    live: Data,
    frozen: Option<Data>,
}

impl App {
    /// A screen on the list of processes.
    pub(crate) fn list(size: (u16, u16), interval: Duration) -> Self {
        Self {
            size,
            opened: None,
            has_list: true,
            tab: Tab::Overview,
            window: Window::Minutes,
            interval,
            help: None,
            asks: false,
            program: None,
            failure: None,
            processes: TableState::sorted_by(processes::DEFAULT_SORT, true),
            classes: TableState::sorted_by(classes::DEFAULT_SORT, true),
            threads: TableState::sorted_by(threads::DEFAULT_SORT, true),
            live: Data::default(),
            frozen: None,
        }
    }

    /// A screen on one process, without a list behind it.
    pub(crate) fn process(size: (u16, u16), interval: Duration, pid: u32, program: Option<Program>) -> Self {
        Self { opened: Some(pid), has_list: false, program, ..Self::list(size, interval) }
    }

    /// Columns and rows of the screen.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.size
    }

    /// What is shown: the present, or what was when the screen was frozen.
    pub(super) fn data(&self) -> &Data {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    /// Whether the screen is frozen.
    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// The open process as it is shown.
    pub(super) fn shown(&self) -> Option<&Process> {
        self.data().process(self.opened?)
    }

    /// The open process a look earlier, and the seconds between.
    pub(super) fn earlier(&self) -> Option<(&Process, f64)> {
        self.data().earlier(self.opened?)
    }

    /// Where keys go.
    pub(super) fn context(&self) -> Context {
        match (self.asks, self.help, self.opened, self.tab) {
            (true, ..) => Context::Prompt,
            (_, Some(_), ..) => Context::Help,
            (.., None, _) => Context::List,
            (.., Tab::Overview) => Context::Overview,
            _ => Context::Table,
        }
    }

    /// The place that the help is about.
    pub(super) fn context_behind_help(&self) -> Context {
        match (self.opened, self.tab) {
            (None, _) => Context::List,
            (_, Tab::Overview) => Context::Overview,
            _ => Context::Table,
        }
    }

    /// Takes note of an event.
    pub(crate) fn update(&mut self, event: Event) -> Option<Request> {
        let request = match event {
            Event::Key(key) if key.kind == KeyEventKind::Release => None,
            Event::Key(key) => keys::action(self.context(), key).and_then(|action| self.act(action)),
            Event::Resize(columns, rows) => {
                self.size = (columns, rows);
                None
            }
            Event::List { time, processes, problems } => {
                self.failure = None;
                self.live.take_list(time, processes, problems);
                None
            }
            Event::Opened { time, process } => {
                if self.opened == Some(process.pid) {
                    self.failure = None;
                    self.live.take_opened(time, process);
                }
                None
            }
            Event::Lost { pid, why } => {
                if self.opened == Some(pid) {
                    self.live.lost = Some(why);
                }
                None
            }
            Event::Failed(why) => {
                self.failure = Some(why);
                None
            }
            Event::ProgramEnded(how) => {
                self.asks = false;
                if let Some(program) = &mut self.program {
                    program.ended = Some(how);
                }
                None
            }
        };
        self.settle();
        request
    }

    fn act(&mut self, action: Action) -> Option<Request> {
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
            Action::Back if self.asks => self.asks = false,
            Action::Back if self.help.is_some() => self.help = None,
            Action::Back => {
                if self.has_list && self.opened.take().is_some() {
                    self.forget_opened();
                    return Some(Request::Follow(None));
                }
            }
            Action::Open => return self.open(),
            Action::Freeze => self.frozen = if self.is_frozen() { None } else { Some(self.live.clone()) },
            Action::Slower => return self.change_interval(true),
            Action::Faster => return self.change_interval(false),
            Action::Wider => self.window = neighbour(&Window::ALL, self.window, 1, false),
            Action::Narrower => self.window = neighbour(&Window::ALL, self.window, -1, false),
            Action::NextTab => self.tab = neighbour(&Tab::ALL, self.tab, 1, true),
            Action::PreviousTab => self.tab = neighbour(&Tab::ALL, self.tab, -1, true),
            Action::Tab(number) => self.tab = Tab::ALL.get(number).copied().unwrap_or(self.tab),
            Action::SortLeft => self.sort_by_neighbour(false),
            Action::SortRight => self.sort_by_neighbour(true),
            Action::Invert => {
                let table = self.table();
                table.descending = !table.descending;
            }
            Action::Up => self.scroll(-1),
            Action::Down => self.scroll(1),
            Action::PageUp => self.scroll(-self.page().cast_signed()),
            Action::PageDown => self.scroll(self.page().cast_signed()),
            Action::First => self.scroll(isize::MIN),
            Action::Last => self.scroll(isize::MAX),
        }
        None
    }

    fn open(&mut self) -> Option<Request> {
        self.settle();
        let rows = processes::rows(self);
        let pid = rows.get(self.processes.position)?.pid;
        self.processes.selected = Some(u64::from(pid));
        self.forget_opened();
        self.opened = Some(pid);
        self.tab = Tab::Overview;
        Some(Request::Follow(Some(pid)))
    }

    fn forget_opened(&mut self) {
        self.live.forget_opened();
        for table in [&mut self.classes, &mut self.threads] {
            table.selected = None;
            table.position = 0;
            table.offset = 0;
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

    fn sort_by_neighbour(&mut self, right: bool) {
        let width = self.size.0;
        match (self.opened, self.tab) {
            (None, _) => self.processes.sort_by_neighbour(&processes::COLUMNS, width, right),
            (_, Tab::Threads) => self.threads.sort_by_neighbour(&threads::COLUMNS, width, right),
            _ => self.classes.sort_by_neighbour(&classes::COLUMNS, width, right),
        }
    }

    fn scroll(&mut self, by: isize) {
        if let Some(line) = &mut self.help {
            *line = line.saturating_add_signed(by);
            return;
        }
        let (keys, page) = (self.row_keys(), self.page());
        let table = self.table();
        if by == isize::MIN {
            // The top is a place, not a row: what comes to stand there is selected.
            (table.selected, table.position) = (None, 0);
        } else {
            table.step(&keys, by, page);
        }
    }

    /// Puts selection, offset and help within what there is to show.
    fn settle(&mut self) {
        if let Some(line) = self.help {
            self.help = Some(line.min(frame::help_overflow(self)));
        }
        let (keys, page) = (self.row_keys(), self.page());
        self.table().settle(&keys, page);
    }

    fn table(&mut self) -> &mut TableState {
        match (self.opened, self.tab) {
            (None, _) => &mut self.processes,
            (_, Tab::Threads) => &mut self.threads,
            _ => &mut self.classes,
        }
    }

    /// Which of how many rows is selected in the open table, if one is open.
    pub(super) fn place_in_table(&self) -> Option<(usize, usize)> {
        let (table, rows) = match (self.opened, self.tab) {
            (None, _) => (&self.processes, self.data().list.len()),
            (_, Tab::Overview) => return None,
            (_, Tab::Classes) => (&self.classes, classes::rows(self).len()),
            (_, Tab::Threads) => (&self.threads, threads::rows(self).len()),
        };
        (rows != 0).then_some((table.position + 1, rows))
    }

    /// The table that is open, or would be on the overview.
    #[cfg(test)]
    pub(super) fn open_table(&self) -> &TableState {
        match (self.opened, self.tab) {
            (None, _) => &self.processes,
            (_, Tab::Threads) => &self.threads,
            _ => &self.classes,
        }
    }

    fn row_keys(&self) -> Vec<u64> {
        match (self.opened, self.tab) {
            (None, _) => processes::rows(self).iter().map(processes::key).collect(),
            (_, Tab::Threads) => threads::rows(self).iter().map(threads::key).collect(),
            _ => classes::rows(self).iter().map(classes::key).collect(),
        }
    }

    /// Rows of a table that fit on the screen.
    fn page(&self) -> usize {
        usize::from(frame::body(self).height.saturating_sub(1)).max(1)
    }
}

/// The element `by` places from `current`; around the ends where `cyclic`, else not beyond them.
fn neighbour<T: Copy + PartialEq>(all: &[T], current: T, by: isize, cyclic: bool) -> T {
    let count = all.len().cast_signed();
    let at = all.iter().position(|&one| one == current).unwrap_or(0).cast_signed() + by;
    let at = if cyclic { at.rem_euclid(count) } else { at.clamp(0, count - 1) };
    all[at.unsigned_abs()]
}
