//! The screen.
//!
//! ```text
//! feed      looks, keys and signals, as messages            (I/O, threads)
//! terminal  the terminal, taken and given back              (I/O)
//! app       the state, and how events change it             (pure)
//! data      the looks that are shown                        (pure)
//! keys      every key: what it does, help and hints
//! frame     the whole screen, from the state
//!   processes, process, graph, classes, threads, help, watch: its parts
//!   table, theme: what they are made of
//! ```

mod app;
mod classes;
mod data;
mod feed;
mod frame;
mod graph;
mod help;
mod keys;
mod process;
mod processes;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod theme;
mod threads;
mod watch;

use crate::error::Error;
use crate::model::Time;
use crate::run::{self, Watched};
use crate::source::{Look, Selection, Target};
use app::{App, Event, Program, Request};
use feed::{Message, Order};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGTSTP};
use signal_hook::low_level::emulate_default_handler;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;
use terminal::Screen;
use theme::Theme;

/// What to show, and how often.
pub(crate) struct Options {
    /// The processes.
    pub(crate) selection: Selection,
    /// Time between two looks.
    pub(crate) interval: Duration,
}

/// Shows the screen until the user leaves it. Returns the exit code.
pub(crate) fn run(options: Options) -> Result<u8, Error> {
    let Options { selection, interval } = options;
    let single = matches!(&selection, Selection::Targets(targets) if targets.len() == 1);
    let all = selection == Selection::All;
    let (out, inbox) = mpsc::channel();
    let (orders, ordered) = mpsc::channel();
    feed::take_looks(selection, None, interval, ordered, out.clone());
    let Ok(Message::All(first)) = inbox.recv() else { return Err(looks_ended()) };
    let mut first = first?;
    if first.snapshot.processes.is_empty() && !all && !first.problems.is_empty() {
        return Err(first.problems.swap_remove(0));
    }
    let mut app = match first.snapshot.processes.first() {
        Some(process) if single => {
            let _ = orders.send(Order::Follow(Some(process.pid)));
            App::process((0, 0), interval, process.pid, None)
        }
        _ => App::list((0, 0), interval),
    };
    app.update(list_event(first));
    Session { app, orders, out, inbox, program: None, ended: None }.run()
}

/// Shows the screen on a program that this monitor has started, until that ends or the user leaves; on `q` it asks
/// whether to leave the program running or to end it. Returns the exit code.
pub(crate) fn watch(watched: Watched, interval: Duration) -> Result<u8, Error> {
    let pid = watched.pid();
    let (out, inbox) = mpsc::channel();
    let (orders, ordered) = mpsc::channel();
    feed::take_looks(Selection::Targets(vec![Target::Pid(pid)]), Some(pid), interval, ordered, out.clone());
    let program = Program { command: watched.command.clone(), log: watched.log.display().to_string(), ended: None };
    let app = App::process((0, 0), interval, pid, Some(program));
    Session { app, orders, out, inbox, program: Some(watched), ended: None }.run()
}

/// One use of the screen.
struct Session {
    app: App,
    orders: Sender<Order>,
    out: Sender<Message>,
    inbox: Receiver<Message>,
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
        let theme = Theme::of_environment();
        feed::take_signals(self.out.clone()).map_err(|cause| Error::io("watching for signals", cause))?;
        let mut screen = Screen::open().map_err(|cause| Error::io("taking over the terminal", cause))?;
        feed::take_keys(self.out.clone());
        let shown = self.show(&mut screen, &theme);
        drop(screen);
        match shown? {
            Way::Signal(signal) => {
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
            let mut next = Some(self.inbox.recv().map_err(|_| looks_ended())?);
            while let Some(message) = next {
                if let Some(way) = self.take_in(message, screen)? {
                    return Ok(way);
                }
                next = self.inbox.try_recv().ok();
            }
        }
    }

    fn take_in(&mut self, message: Message, screen: &mut Screen) -> Result<Option<Way>, Error> {
        let event = match message {
            Message::Key(key) => Event::Key(key),
            Message::Resize(columns, rows) => Event::Resize(columns, rows),
            Message::All(Ok(look)) => list_event(look),
            Message::All(Err(error)) => Event::Failed(error.to_string()),
            Message::One(_, Ok(process)) => Event::Opened { time: Time::now(), process },
            Message::One(pid, Err(error)) => Event::Lost { pid, why: error.to_string() },
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

    /// Has the program ended? Its end wakes us, but it may also have come before we listened.
    fn notice_end(&mut self) -> Result<(), Error> {
        if let (Some(program), None) = (&mut self.program, self.ended)
            && let Some(status) = program.ended()?
        {
            self.ended = Some(status);
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
