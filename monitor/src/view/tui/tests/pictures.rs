//! The screen as it is drawn from fixed models: symbols, and the styles that carry meaning.

use super::answers::{listed, opened, press};
use crate::model::State;
use crate::view::tui::app::{App, Event, Program};
use crate::view::tui::frame;
use crate::view::tui::theme::Theme;
use crossterm::event::KeyCode::{self, Char};
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use std::time::Duration;

const COLOUR: Theme = Theme::new(true, true);
const MONOCHROME: Theme = Theme::new(false, true);
const ASCII: Theme = Theme::new(false, false);

fn draw(app: &App, theme: &Theme) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(app.size.0, app.size.1)).unwrap();
    terminal.draw(|frame| frame::draw(frame.buffer_mut(), app, theme)).unwrap();
    terminal.backend().clone()
}

fn with_keys(mut app: App, keys: &[KeyCode]) -> App {
    for &key in keys {
        press(&mut app, key);
    }
    app
}

/// The style's modifiers and colour where `text` first stands.
fn look_of(buffer: &Buffer, text: &str) -> (Modifier, Color) {
    for y in 0..buffer.area.height {
        let line: Vec<&str> = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        for x in 0..line.len() {
            if line[x..].concat().starts_with(text) {
                let cell = &buffer[(x as u16, y)];
                return (cell.modifier, cell.fg);
            }
        }
    }
    panic!("\"{text}\" is not on the screen")
}

#[test]
fn overview_80x24() {
    let picture = draw(&opened((80, 24)), &COLOUR);
    assert_snapshot!(picture);
    let buffer = picture.buffer();
    assert_eq!(look_of(buffer, "LIVE"), (Modifier::BOLD, Color::Green));
    assert_eq!(look_of(buffer, "[1 Overview]").0, Modifier::REVERSED);
    assert_eq!(look_of(buffer, "= allocated").0, Modifier::BOLD);
    assert_eq!(look_of(buffer, "! 1 double"), (Modifier::BOLD, Color::Red));
}

#[test]
fn overview_120x40() {
    assert_snapshot!(draw(&opened((120, 40)), &COLOUR));
}

#[test]
fn overview_40x12() {
    assert_snapshot!(draw(&opened((40, 12)), &COLOUR));
}

#[test]
fn overview_ascii_over_two_hours() {
    assert_snapshot!(draw(&with_keys(opened((80, 24)), &[Char(']')]), &ASCII));
}

#[test]
fn monochrome_uses_modifiers_only() {
    let mut screens = vec![listed((80, 24)), with_keys(opened((80, 24)), &[Char('?')])];
    for tab in ['1', '2', '3'] {
        screens.push(with_keys(opened((120, 40)), &[Char(tab), Char(' ')]));
    }
    let program = Program { command: "sleep 9".into(), log: "/tmp/log".into(), ended: None };
    screens.push(with_keys(App::process((80, 24), Duration::from_secs(1), 1, Some(program)), &[Char('q')]));
    for app in &screens {
        let picture = draw(app, &MONOCHROME);
        for cell in &picture.buffer().content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
        }
    }
    let picture = draw(&screens[2], &MONOCHROME);
    assert_eq!(look_of(picture.buffer(), " FROZEN").0, Modifier::BOLD | Modifier::REVERSED);
    assert_eq!(look_of(picture.buffer(), "[1 Overview]").0, Modifier::REVERSED);
    assert_snapshot!(draw(&opened((80, 24)), &MONOCHROME));
}

#[test]
fn classes_80x24() {
    let picture = draw(&with_keys(opened((80, 24)), &[Char('2'), KeyCode::Down, KeyCode::Down]), &COLOUR);
    assert_snapshot!(picture);
    assert_eq!(look_of(picture.buffer(), "ALLOCATED▼").0, Modifier::BOLD | Modifier::UNDERLINED);
    assert_eq!(picture.buffer()[(0, 5)].modifier, Modifier::REVERSED);
}

#[test]
fn classes_120x40_scrolled_to_the_end() {
    assert_snapshot!(draw(&with_keys(opened((120, 40)), &[Char('2'), KeyCode::End, Char('I')]), &COLOUR));
}

#[test]
fn classes_40x12() {
    assert_snapshot!(draw(&with_keys(opened((40, 12)), &[Char('2')]), &COLOUR));
}

#[test]
fn threads_80x24() {
    let picture = draw(&with_keys(opened((80, 24)), &[Char('3')]), &COLOUR);
    assert_snapshot!(picture);
    assert_eq!(look_of(picture.buffer(), "   4699").0, Modifier::DIM);
}

#[test]
fn threads_120x40() {
    assert_snapshot!(draw(&with_keys(opened((120, 40)), &[Char('3')]), &COLOUR));
}

#[test]
fn threads_40x12() {
    assert_snapshot!(draw(&with_keys(opened((40, 12)), &[Char('3')]), &COLOUR));
}

#[test]
fn processes_80x24() {
    let picture = draw(&listed((80, 24)), &COLOUR);
    assert_snapshot!(picture);
    assert_eq!(look_of(picture.buffer(), "     77").0, Modifier::DIM);
}

#[test]
fn processes_120x40() {
    assert_snapshot!(draw(&listed((120, 40)), &COLOUR));
}

#[test]
fn processes_40x12() {
    assert_snapshot!(draw(&listed((40, 12)), &COLOUR));
}

#[test]
fn no_processes_yet() {
    assert_snapshot!(draw(&App::list((40, 12), Duration::from_secs(1)), &COLOUR));
}

#[test]
fn help_of_the_overview() {
    assert_snapshot!(draw(&with_keys(opened((80, 24)), &[Char('?')]), &COLOUR));
}

#[test]
fn a_crashed_target_keeps_its_last_frame() {
    let mut app = opened((80, 24));
    let mut dead = super::fixture::process();
    dead.state = State::Crashed;
    dead.totals.rss_bytes = None;
    app.update(Event::Opened { time: super::fixture::NOW, process: Box::new(dead) });
    let picture = draw(&app, &COLOUR);
    assert_snapshot!(picture);
    assert_eq!(look_of(picture.buffer(), "CRASHED"), (Modifier::BOLD, Color::Red));
}

#[test]
fn the_question_about_a_running_program() {
    let program = Program { command: "sleep 9".into(), log: "/tmp/statsmon.log".into(), ended: None };
    let app = App::process((80, 24), Duration::from_secs(1), 4711, Some(program));
    assert_snapshot!(draw(&with_keys(app, &[Char('q')]), &COLOUR));
}

#[test]
fn a_screen_too_small_says_how_much_is_needed() {
    let picture = draw(&listed((39, 10)), &COLOUR);
    assert_eq!(look_of(picture.buffer(), "statsmon needs 40x10").0, Modifier::empty());
    look_of(picture.buffer(), "this is 39x10");
    draw(&listed((1, 1)), &COLOUR);
}
