//! Every view of given processes, at several sizes.

use super::answers::press;
use super::pictures::COLOUR;
use crate::model::compare::Side;
use crate::model::{Process, Time};
use crate::view::tui::app::{App, Event, Start};
use crate::view::tui::frame;
use crossterm::event::KeyCode::{self, Char};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::Duration;

/// Keys that lead through all views of a process.
const TOUR: [KeyCode; 26] = [
    Char('a'),
    Char(']'),
    Char(']'),
    Char('M'),
    Char('2'),
    Char('d'),
    Char('a'),
    Char('p'),
    Char('>'),
    Char('I'),
    KeyCode::End,
    KeyCode::Enter,
    KeyCode::Down,
    KeyCode::Esc,
    Char('3'),
    KeyCode::End,
    Char('>'),
    Char('4'),
    KeyCode::PageDown,
    Char('5'),
    KeyCode::End,
    Char('>'),
    Char('6'),
    KeyCode::End,
    Char('?'),
    Char('?'),
];

/// Draws the looks at a process one after the other, then every view of the last, on one of four screens: alone, beside
/// what it was, in the list, as a pair. Sizes are the smallest there is, the smallest that is enough, the usual one, and
/// `size`.
pub(crate) fn draw(looks: &[Process], screen: usize, size: (u16, u16)) {
    let Some(first) = looks.first() else { return };
    let time = |at: usize| Time::now().plus_seconds(at as u64);
    let start = match screen {
        0 => Start::Process(first.id, None),
        1 => Start::Against(first.id, Side::of(first, time(0))),
        2 => Start::List,
        _ => Start::Pair,
    };
    let mut app = App::new(size, Duration::from_secs(1), start);
    for (at, look) in looks.iter().enumerate() {
        app.update(if screen < 2 {
            Event::Opened { time: time(at), process: Box::new(look.clone()) }
        } else {
            Event::List { time: time(at), processes: looks.to_vec(), problems: vec![] }
        });
        frames(&app, size);
    }
    // From the list it is opened first.
    let way: &[KeyCode] = if screen < 2 { &[] } else { &[KeyCode::Esc, KeyCode::Enter] };
    for &key in way.iter().chain(&TOUR) {
        press(&mut app, key);
        frames(&app, size);
    }
}

fn frames(app: &App, size: (u16, u16)) {
    for (width, height) in [(1, 1), (40, 10), (80, 24), size] {
        let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
        frame::draw(&mut buffer, app, &COLOUR);
        let steers = buffer.content.iter().find(|cell| cell.symbol().chars().any(char::is_control));
        assert_eq!(steers, None);
    }
}
