//! What keys and events do.

use super::fixture;
use crate::model::State;
use crate::view::tui::app::*;
use crate::view::tui::keys::Context;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn press(app: &mut App, code: KeyCode) -> Option<Request> {
    app.update(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

pub(super) fn listed(size: (u16, u16)) -> App {
    let mut app = App::list(size, SECOND);
    app.update(Event::List { time: fixture::NOW, processes: fixture::processes(), problems: vec![] });
    app
}

pub(super) fn opened(size: (u16, u16)) -> App {
    let mut app = App::process(size, SECOND, 4711, None);
    let earlier = crate::model::Time(fixture::NOW.0 - 1_000_000_000);
    app.update(Event::Opened { time: earlier, process: Box::new(fixture::a_second_earlier()) });
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(fixture::process()) });
    app
}

#[test]
fn enter_opens_the_selected_process_and_esc_returns_to_it() {
    let mut app = listed((80, 24));
    press(&mut app, KeyCode::Down);
    assert_eq!(press(&mut app, KeyCode::Enter), Some(Request::Follow(Some(812))));
    assert_eq!(app.shown().map(|process| process.name.as_str()), Some("less"));
    assert_eq!(press(&mut app, KeyCode::Esc), Some(Request::Follow(None)));
    assert_eq!((app.opened, app.processes.selected), (None, Some(812)));
}

#[test]
fn esc_does_not_leave_a_process_that_was_asked_for_alone() {
    let mut app = opened((80, 24));
    assert_eq!(press(&mut app, KeyCode::Esc), None);
    assert_eq!(app.opened, Some(4711));
}

#[test]
fn a_frozen_screen_keeps_its_figures_while_data_goes_on() {
    let mut app = opened((80, 24));
    press(&mut app, KeyCode::Char(' '));
    let mut later = fixture::process();
    later.totals.live_blocks = Some(1);
    app.update(Event::Opened { time: crate::model::Time(fixture::NOW.0 + 1), process: Box::new(later) });
    assert_eq!(app.shown().and_then(|process| process.totals.live_blocks), Some(12_345_678));
    press(&mut app, KeyCode::Char('f'));
    assert_eq!(app.shown().and_then(|process| process.totals.live_blocks), Some(1));
}

#[test]
fn the_last_frame_stays_when_the_target_is_gone() {
    let mut app = opened((80, 24));
    app.update(Event::Lost { pid: 4711, why: "no process 4711".into() });
    assert!(app.shown().is_some() && app.data().lost.is_some());
    let mut dead = fixture::process();
    dead.state = State::Crashed;
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(dead) });
    assert_eq!(app.shown().map(|process| process.state), Some(State::Crashed));
    assert!(app.data().lost.is_none());
}

#[test]
fn looks_that_come_late_for_a_closed_process_change_nothing() {
    let mut app = listed((80, 24));
    let later = crate::model::Time(fixture::NOW.0 + 1);
    app.update(Event::Opened { time: later, process: Box::new(fixture::process()) });
    app.update(Event::Lost { pid: 4711, why: "gone".into() });
    assert!(app.opened.is_none() && app.data().lost.is_none());
    assert_eq!(app.data().time, Some(fixture::NOW));
}

#[test]
fn tabs_go_round_and_digits_choose() {
    let mut app = opened((80, 24));
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.tab, Tab::Threads);
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.tab, Tab::Overview);
    press(&mut app, KeyCode::Char('2'));
    assert_eq!((app.tab, app.context()), (Tab::Classes, Context::Table));
}

#[test]
fn the_interval_moves_within_its_steps() {
    let mut app = listed((80, 24));
    assert_eq!(press(&mut app, KeyCode::Char('+')), Some(Request::Interval(Duration::from_secs(2))));
    for _ in 0..20 {
        press(&mut app, KeyCode::Char('-'));
    }
    assert_eq!(app.interval, Duration::from_millis(100));
    assert_eq!(press(&mut app, KeyCode::Char('-')), None);
}

#[test]
fn sorting_changes_the_order_and_the_selection_follows_its_row() {
    let mut app = opened((120, 40));
    press(&mut app, KeyCode::Char('2'));
    for _ in 0..3 {
        press(&mut app, KeyCode::Down);
    }
    let selected = app.classes.selected;
    press(&mut app, KeyCode::Char('I'));
    assert_eq!(app.classes.selected, selected);
    assert!(app.classes.position > 3 && !app.classes.descending);
    press(&mut app, KeyCode::Char('<'));
    assert_eq!(app.classes.sort, 3);
    press(&mut app, KeyCode::Home);
    assert_eq!((app.classes.position, app.classes.offset), (0, 0));
    press(&mut app, KeyCode::End);
    assert!(app.classes.position > 60 && app.classes.offset > 0);
}

#[test]
fn q_asks_only_while_a_started_program_runs() {
    let program = Program { command: "sleep 9".into(), log: "/tmp/log".into(), ended: None };
    let mut app = App::process((80, 24), SECOND, 1, Some(program));
    assert_eq!(press(&mut app, KeyCode::Char('q')), None);
    assert_eq!(app.context(), Context::Prompt);
    assert_eq!(press(&mut app, KeyCode::Esc), None);
    assert_eq!(app.context(), Context::Overview);
    press(&mut app, KeyCode::Char('q'));
    assert_eq!(press(&mut app, KeyCode::Char('e')), Some(Request::EndProgram));
    assert_eq!(press(&mut app, KeyCode::Char('l')), Some(Request::Quit));
    app.update(Event::ProgramEnded("exit status 0".into()));
    assert_eq!(app.context(), Context::Overview);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Some(Request::Quit));
}

#[test]
fn help_opens_scrolls_and_closes() {
    let mut app = listed((80, 12));
    press(&mut app, KeyCode::Char('?'));
    assert_eq!(app.context(), Context::Help);
    press(&mut app, KeyCode::End);
    assert!(app.help.is_some_and(|line| line > 0 && line < 100));
    assert_eq!(press(&mut app, KeyCode::Char('q')), None);
    assert_eq!(app.context(), Context::List);
}
