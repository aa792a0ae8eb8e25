//! What keeps the screen supplied: threads that wait for looks, keys and signals, and one channel they all send to.
//! Nothing here runs unless something has happened or a look is due.

use crate::error::Error;
use crate::model::derive::Detail;
use crate::model::{Identity, Process};
use crate::source::{Look, Selection, Watcher};
use crossterm::event::{self, KeyEvent, MouseEvent};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// What arrives.
pub(super) enum Message {
    /// A look at all selected processes.
    All(Result<Look, Error>),
    /// A look at one.
    One(Identity, Result<Box<Process>, Error>),
    Key(KeyEvent),
    Mouse(MouseEvent),
    Paste(String),
    Resize(u16, u16),
    /// No key will ever come again.
    InputLost(io::Error),
    /// One of [`SIGNALS`].
    Signal(i32),
}

/// The signals that arrive as messages.
const SIGNALS: [i32; 7] = [SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGCONT, SIGCHLD];

/// How the looks shall be taken.
pub(super) enum Order {
    /// At one process, or at all.
    Follow(Option<Identity>),
    /// This often.
    Interval(Duration),
}

/// Starts taking looks. They end when the other ends of the channels are gone.
pub(super) fn take_looks(
    selection: Selection,
    followed: Option<Identity>,
    interval: Duration,
    orders: Receiver<Order>,
    out: Sender<Message>,
) {
    // Of many processes a line each is shown; of those that were asked for, everything.
    let detail = if selection == Selection::All { Detail::Line } else { Detail::Full };
    thread::spawn(move || look_on(Watcher::with_detail(selection, detail), followed, interval, &orders, &out));
}

fn look_on(
    mut watcher: Watcher,
    mut followed: Option<Identity>,
    mut interval: Duration,
    orders: &Receiver<Order>,
    out: &Sender<Message>,
) {
    loop {
        let started = Instant::now();
        let message = match followed {
            None => Message::All(watcher.look()),
            Some(id) => Message::One(id, watcher.look_at(id).map(Box::new)),
        };
        if out.send(message).is_err() {
            return;
        }
        loop {
            match orders.recv_timeout(interval.saturating_sub(started.elapsed())) {
                Ok(Order::Interval(chosen)) => interval = chosen,
                Ok(Order::Follow(chosen)) => {
                    followed = chosen;
                    break;
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

/// Starts passing keys and changes of the terminal's size on.
pub(super) fn take_keys(out: Sender<Message>) {
    thread::spawn(move || {
        loop {
            let message = match event::read() {
                Ok(event::Event::Key(key)) => Message::Key(key),
                Ok(event::Event::Mouse(mouse)) => Message::Mouse(mouse),
                Ok(event::Event::Resize(columns, rows)) => Message::Resize(columns, rows),
                Ok(event::Event::Paste(text)) => Message::Paste(text),
                Ok(_) => continue,
                Err(cause) => {
                    let _ = out.send(Message::InputLost(cause));
                    return;
                }
            };
            if out.send(message).is_err() {
                return;
            }
        }
    });
}

/// Starts passing signals on instead of dying by them.
pub(super) fn take_signals(out: Sender<Message>) -> io::Result<()> {
    let mut signals = Signals::new(SIGNALS)?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if out.send(Message::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}
