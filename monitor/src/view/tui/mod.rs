//! The screen.
//!
//! ```text
//! feed      looks, keys and signals, as messages            (I/O, threads)
//! terminal  the terminal, taken and given back              (I/O)
//! save      what is shown, as a file                        (I/O)
//! app, act  the state, and how events and keys change it    (pure)
//! data      the looks that are shown                        (pure)
//! keys      every key: what it does, help and hints
//! hits      what lies under the mouse
//! frame     the whole screen, from the state
//!   process, graph: the overview
//!   tables: processes, compare, classes, class, threads, large, safety, log
//!   help, watch: what lies over them
//!   table, value, plot, theme: what they are made of
//! ```

mod act;
mod app;
mod class;
mod classes;
mod compare;
mod data;
mod feed;
mod frame;
mod graph;
mod help;
mod hits;
mod keys;
mod large;
mod log;
mod plot;
mod process;
mod processes;
mod safety;
mod save;
mod table;
mod tables;
mod terminal;
#[cfg(test)]
pub(crate) mod tests;
mod theme;
mod threads;
mod value;
mod views;
mod watch;

use crate::cli::TerminalArgs;
use crate::error::Error;
use crate::model::{Identity, Time};
use crate::run::{self, Watched};
use crate::source::against::Against;
use crate::source::{Look, Selection, Target};
use app::{App, Event, Program, Request, Start};
use feed::{Message, Order};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGTSTP};
use signal_hook::low_level::emulate_default_handler;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;
use terminal::Screen;
use theme::Theme;

/// Whether stdout is a terminal that can be drawn on.
pub(crate) fn is_possible() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Every key with its meaning, for the manual.
pub(crate) fn all_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    keys::all()
}

/// What to show, and how often.
pub(crate) struct Options {
    /// The processes.
    pub(crate) selection: Selection,
    /// Time between two looks.
    pub(crate) interval: Duration,
    /// An earlier snapshot to compare with.
    pub(crate) against: Option<PathBuf>,
    /// How it looks.
    pub(crate) terminal: TerminalArgs,
}

/// Shows the screen until the user leaves it. Returns the exit code.
pub(crate) fn run(options: Options) -> Result<u8, Error> {
    let Options { selection, interval, against, terminal } = options;
    let targets = match &selection {
        Selection::All => 0,
        Selection::Targets(targets) => targets.len(),
    };
    let against = against.as_deref().map(|path| Against::read(path, &selection)).transpose()?;
    let (out, inbox) = mpsc::channel();
    let (orders, ordered) = mpsc::channel();
    feed::take_looks(selection, None, interval, ordered, out.clone());
    let Ok(Message::All(first)) = inbox.recv() else { return Err(looks_ended()) };
    let mut first = first?;
    if first.snapshot.processes.is_empty() && targets != 0 && !first.problems.is_empty() {
        return Err(first.problems.swap_remove(0));
    }
    let start = match (&first.snapshot.processes[..], targets, against) {
        ([process, ..], _, Some(against)) => Start::Against(process.id, against.side(process)?),
        ([process], 1, None) => Start::Process(process.id, None),
        ([_, _], 2, None) => Start::Pair,
        _ => Start::List,
    };
    let mut app = App::new((0, 0), interval, start.clone());
    if let Start::Process(id, _) | Start::Against(id, _) = start {
        let _ = orders.send(Order::Follow(Some(id)));
    }
    app.update(list_event(first));
    Session { app, orders, out, inbox, terminal, program: None, ended: None }.run()
}

/// Shows the screen on a program that this monitor has started, until that ends or the user leaves; on `q` it asks
/// whether to leave the program running or to end it. Returns the exit code.
pub(crate) fn watch(watched: Watched, interval: Duration, terminal: TerminalArgs) -> Result<u8, Error> {
    let (pid, id) = (watched.pid(), watched.id);
    let (out, inbox) = mpsc::channel();
    let (orders, ordered) = mpsc::channel();
    feed::take_looks(Selection::Targets(vec![Target::Pid(pid)]), Some(id), interval, ordered, out.clone());
    let program = Program { command: watched.command.clone(), log: watched.log.display().to_string(), ended: None };
    let app = App::new((0, 0), interval, Start::Process(id, Some(program)));
    Session { app, orders, out, inbox, terminal, program: Some(watched), ended: None }.run()
}

/// One use of the screen.
struct Session {
    app: App,
    orders: Sender<Order>,
    out: Sender<Message>,
    inbox: Receiver<Message>,
    terminal: TerminalArgs,
    program: Option<Watched>,
    ended: Option<ExitStatus>,
}

/// Why the screen ends.
enum Way {
    Quit,
    EndProgram,
    /// By a signal that was to end us.
    Signal(i32),
}

impl Session {
    fn run(mut self) -> Result<u8, Error> {
        let theme = Theme::of_environment(self.terminal);
        Screen::await_turn();
        feed::take_signals(self.out.clone()).map_err(|cause| Error::io("watching for signals", cause))?;
        let mut screen =
            Screen::open(self.terminal.mouse).map_err(|cause| Error::io("taking over the terminal", cause))?;
        feed::take_keys(self.out.clone());
        let shown = self.show(&mut screen, &theme);
        drop(screen);
        match shown? {
            Way::Signal(signal) => {
                // Nothing is dropped by a signal.
                drop(self.program.take());
                emulate_default_handler(signal).map_err(|cause| Error::io("ending by the signal", cause))?;
                Ok(u8::try_from(128 + signal).unwrap_or(u8::MAX))
            }
            Way::EndProgram => self.program.map_or(Ok(0), Watched::end),
            Way::Quit => Ok(self.ended.map_or(0, run::exit_code)),
        }
    }

    fn show(&mut self, screen: &mut Screen, theme: &Theme) -> Result<Way, Error> {
        self.ask_size(screen)?;
        loop {
            self.notice_end()?;
            let app = &self.app;
            screen
                .draw(app.size(), |buffer| frame::draw(buffer, app, theme))
                .map_err(|cause| Error::io("drawing on the terminal", cause))?;
            let mut next = self.next_message()?;
            if next.is_none() {
                self.app.update(Event::Late);
            }
            while let Some(message) = next {
                if let Some(way) = self.take_in(message, screen)? {
                    return Ok(way);
                }
                next = self.inbox.try_recv().ok();
            }
        }
    }

    /// Waits for what happens next; nothing where the next look is long overdue.
    fn next_message(&self) -> Result<Option<Message>, Error> {
        let patience = self.app.interval() * 3 + Duration::from_secs(3);
        match self.inbox.recv_timeout(patience) {
            Ok(message) => Ok(Some(message)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(looks_ended()),
        }
    }

    fn take_in(&mut self, message: Message, screen: &mut Screen) -> Result<Option<Way>, Error> {
        let event = match message {
            Message::Key(key) => Event::Key(key),
            Message::Mouse(mouse) => Event::Mouse(mouse),
            Message::Paste(text) => Event::Paste(text),
            Message::Resize(columns, rows) => Event::Resize(columns, rows),
            Message::All(Ok(look)) => list_event(look),
            Message::All(Err(error)) => Event::Failed(error.to_string()),
            Message::One(id, Ok(mut process)) => {
                // Who crashes has no status; and of a parent's program that is known.
                if self.is_program(id) && self.ended.is_some_and(|status| status.code().is_some()) {
                    process.has_exited();
                }
                Event::Opened { time: Time::now(), process }
            }
            Message::One(id, Err(Error::NoSuchPid(_) | Error::Removed))
                if self.is_program(id) && self.ended.is_some() =>
            {
                Event::Lost { id, why: watch::NOTHING_LEFT.to_owned() }
            }
            Message::One(id, Err(error)) => Event::Lost { id, why: error.to_string() },
            Message::InputLost(cause) => return Err(Error::io("reading keys", cause)),
            // What it tells is asked for before every wait.
            Message::Signal(SIGCHLD) => return Ok(None),
            Message::Signal(SIGTSTP) => return self.step_aside(screen, true),
            Message::Signal(SIGCONT) => return self.step_aside(screen, false),
            Message::Signal(signal) => return Ok(Some(Way::Signal(signal))),
        };
        match self.app.update(event) {
            None => {}
            Some(Request::Quit) => return Ok(Some(Way::Quit)),
            Some(Request::EndProgram) => return Ok(Some(Way::EndProgram)),
            Some(Request::Save { time, processes }) => {
                let saved = save::save(time, processes);
                self.app.update(Event::Notice(saved));
            }
            Some(Request::Suspend) => return self.step_aside(screen, true),
            Some(Request::Follow(pid)) => self.orders.send(Order::Follow(pid)).map_err(|_| looks_ended())?,
            Some(Request::Interval(interval)) => {
                self.orders.send(Order::Interval(interval)).map_err(|_| looks_ended())?;
            }
        }
        Ok(None)
    }

    /// Lets the shell have the terminal until it continues us; or, having been continued, takes it over again.
    fn step_aside(&mut self, screen: &mut Screen, stop: bool) -> Result<Option<Way>, Error> {
        let work = || {
            if stop {
                let _ = emulate_default_handler(SIGTSTP);
            }
        };
        screen.step_aside(work).map_err(|cause| Error::io("taking the terminal back", cause))?;
        self.ask_size(screen)?;
        Ok(None)
    }

    fn ask_size(&mut self, screen: &Screen) -> Result<(), Error> {
        let (columns, rows) = screen.size().map_err(|cause| Error::io("asking for the terminal's size", cause))?;
        self.app.update(Event::Resize(columns, rows));
        Ok(())
    }

    /// Whether this is the program that was started.
    fn is_program(&self, id: Identity) -> bool {
        self.program.as_ref().is_some_and(|program| program.id == id)
    }

    /// Has the program ended? Its end wakes us, but it may also have come before we listened. Its last state is looked
    /// at at once.
    fn notice_end(&mut self) -> Result<(), Error> {
        if let (Some(program), None) = (&mut self.program, self.ended)
            && let Some(status) = program.ended()?
        {
            self.ended = Some(status);
            self.orders.send(Order::Follow(Some(program.id))).map_err(|_| looks_ended())?;
            self.app.update(Event::ProgramEnded(watch::in_words(status)));
        }
        Ok(())
    }
}

fn list_event(look: Look) -> Event {
    let Look { snapshot, problems } = look;
    let problems = problems.iter().map(ToString::to_string).collect();
    Event::List { time: snapshot.timestamp, processes: snapshot.processes, problems }
}

/// A look has panicked: its report is on its way to stderr.
fn looks_ended() -> Error {
    Error::io("watching the processes", std::io::Error::other("the watching thread has ended"))
}
