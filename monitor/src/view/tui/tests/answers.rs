//! What keys and events do.

use super::{fixture, pictures};
use crate::model::{Chain, Identity, Process, State, log};
use crate::view::tui::app::*;
use crate::view::tui::keys::Context;
use crate::view::tui::tables::{self, TableId};
use crate::view::tui::theme::Theme;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

pub(super) fn press(app: &mut App, code: KeyCode) -> Option<Request> {
    app.update(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

pub(super) fn listed(size: (u16, u16)) -> App {
    let mut app = App::new(size, SECOND, Start::List);
    app.update(Event::List { time: fixture::NOW, processes: fixture::processes(), problems: vec![] });
    app
}

pub(super) fn opened(size: (u16, u16)) -> App {
    let mut app = App::new(size, SECOND, Start::Process(fixture::id(4711), None));
    let mut earlier = fixture::process();
    earlier.totals.requested_bytes = earlier.totals.requested_bytes.map(|bytes| bytes - (500 << 20));
    let then = crate::model::Time(fixture::NOW.0 - 600_000_000_000);
    app.update(Event::Opened { time: then, process: Box::new(earlier) });
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(fixture::process()) });
    app
}

/// Two processes side by side.
pub(super) fn paired(size: (u16, u16)) -> App {
    let mut app = App::new(size, SECOND, Start::Pair);
    let mut processes = fixture::processes();
    processes.truncate(2);
    app.update(Event::List { time: fixture::NOW, processes, problems: vec![] });
    app
}

#[test]
fn enter_opens_the_selected_process_and_esc_returns_to_it() {
    let mut app = listed((80, 24));
    press(&mut app, KeyCode::Down);
    assert_eq!(press(&mut app, KeyCode::Enter), Some(Request::Follow(Some(fixture::id(812)))));
    assert_eq!(app.shown().map(|process| process.name.as_str()), Some("less"));
    assert_eq!(press(&mut app, KeyCode::Esc), Some(Request::Follow(None)));
    assert_eq!((app.opened, app.tables.get(TableId::Processes).selected), (None, Some(fixture::id(812).number())));
}

#[test]
fn enter_opens_the_selected_one_of_two_dead_with_one_pid() {
    let mut app = listed((80, 24));
    let ids = [11, 12].map(|inode| Identity::Segment { device: 3, inode });
    let dead = ids.map(|id| Process { id, pid: 1, state: State::Crashed, ..fixture::process() });
    app.update(Event::List { time: fixture::NOW, processes: dead.to_vec(), problems: vec![] });
    press(&mut app, KeyCode::Down);
    assert_eq!(press(&mut app, KeyCode::Enter), Some(Request::Follow(Some(ids[1]))));
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(dead[0].clone()) });
    assert_eq!(app.shown().map(|process| process.id), Some(ids[1]));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.tables.get(TableId::Processes).position, 1);
}

#[test]
fn esc_does_not_leave_a_process_that_was_asked_for_alone() {
    let mut app = opened((80, 24));
    assert_eq!(press(&mut app, KeyCode::Esc), None);
    assert_eq!(app.opened, Some(fixture::id(4711)));
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
    app.update(Event::Lost { id: fixture::id(4711), why: "no process 4711".into() });
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
    app.update(Event::Lost { id: fixture::id(4711), why: "gone".into() });
    assert!(app.opened.is_none() && app.data().lost.is_none());
    assert_eq!(app.data().time, Some(fixture::NOW));
}

#[test]
fn tabs_go_round_and_digits_choose() {
    let mut app = opened((80, 24));
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.tab, Tab::Log);
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.tab, Tab::Overview);
    press(&mut app, KeyCode::Char('2'));
    assert_eq!((app.tab, app.context()), (Tab::Classes, Context::Classes));
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
    let classes = |app: &App| app.tables.get(TableId::Classes).clone();
    let selected = classes(&app).selected;
    press(&mut app, KeyCode::Char('I'));
    assert_eq!(classes(&app).selected, selected);
    assert!(classes(&app).position > 3 && !classes(&app).descending);
    press(&mut app, KeyCode::Char('<'));
    assert_eq!(classes(&app).sort, 3);
    press(&mut app, KeyCode::Home);
    assert_eq!((classes(&app).position, classes(&app).offset), (0, 0));
    press(&mut app, KeyCode::End);
    assert!(classes(&app).position > 60 && classes(&app).offset > 0);
}

#[test]
fn q_asks_only_while_a_started_program_runs() {
    let program = Program { command: "sleep 9".into(), log: "/tmp/log".into(), ended: None };
    let mut app = App::new((80, 24), SECOND, Start::Process(fixture::id(1), Some(program)));
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

fn write(app: &mut App, text: &str) {
    for character in text.chars() {
        press(app, KeyCode::Char(character));
    }
}

#[test]
fn a_filter_takes_every_letter_and_esc_drops_it() {
    let mut app = listed((80, 24));
    write(&mut app, "/q");
    assert_eq!(app.context(), Context::Filter);
    press(&mut app, KeyCode::Backspace);
    write(&mut app, "LESS");
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.context(), app.place_in_table()), (Context::List, Some((1, 1))));
    assert_eq!(press(&mut app, KeyCode::Enter), Some(Request::Follow(Some(fixture::id(812)))));
    press(&mut app, KeyCode::Esc);
    assert_eq!((app.opened, app.place_in_table()), (None, Some((1, 1))));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.place_in_table(), Some((2, 5)), "the selection stays with its row");
}

#[test]
fn a_filter_finds_the_name_that_a_process_is_asked_for_by() {
    let mut app = App::new((80, 24), SECOND, Start::List);
    let mut processes = fixture::processes();
    processes[0].name = "worker-3".into();
    app.update(Event::List { time: fixture::NOW, processes, problems: vec![] });
    write(&mut app, "/worker-3");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place_in_table(), Some((1, 1)));
}

#[test]
fn what_is_pasted_is_text_for_the_filter_and_no_keys() {
    let mut app = listed((80, 24));
    assert_eq!(app.update(Event::Paste("q /s M".into())), None);
    assert_eq!((app.context(), app.place_in_table()), (Context::List, listed((80, 24)).place_in_table()));
    write(&mut app, "/");
    app.update(Event::Paste("LE\x1bSS\n".into()));
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.context(), app.place_in_table()), (Context::List, Some((1, 1))));
}

#[test]
fn enter_opens_a_class_and_esc_closes_it_before_the_process() {
    let mut app = opened((80, 24));
    write(&mut app, "2");
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert!(app.class.is_some());
    assert_eq!((app.context(), app.place_in_table()), (Context::Class, Some((1, 5))));
    press(&mut app, KeyCode::Esc);
    assert_eq!((app.class, app.context()), (None, Context::Classes));
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Tab);
    assert_eq!((app.class, app.tab), (None, Tab::Threads));
}

#[test]
fn a_mark_is_where_changes_are_counted_from() {
    let mut app = opened((80, 24));
    let since = |app: &App| app.mark.map(|(time, _)| time);
    assert!(since(&app) < Some(fixture::NOW), "the first look is the first mark");
    write(&mut app, "M");
    assert_eq!(since(&app), Some(fixture::NOW));
    assert!(app.notice.is_some());
    press(&mut app, KeyCode::Tab);
    assert!(app.notice.is_none());
}

#[test]
fn an_exec_is_the_next_mark() {
    let mut app = opened((80, 24));
    let then = app.mark.unwrap().0;
    let mut process = fixture::process();
    let event = log::Event::Exec { before: "sh".into(), name: "orderd".into() };
    process.log.push(log::Entry { time: fixture::NOW, event });
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(process.clone()) });
    assert!(then < fixture::NOW && app.mark == Some((fixture::NOW, Chain::of(&process.totals))));
}

#[test]
fn the_peak_of_a_heap_that_grows_is_the_present() {
    let mut app = opened((80, 24));
    write(&mut app, "2p");
    let drawn = |app: &App| pictures::draw(app, &Theme::new(false, false)).to_string();
    assert!(drawn(&app).contains("AT THE PEAK: the minute that ended"), "{}", drawn(&app));
    let mut process = fixture::process();
    process.size_classes.as_mut().unwrap()[0].allocated_bytes = 1 << 50;
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(process) });
    assert!(drawn(&app).contains("AT THE PEAK: that is now"), "{}", drawn(&app));
}

#[test]
fn saving_asks_for_what_is_shown() {
    let mut app = opened((80, 24));
    let Some(Request::Save { time, processes }) = press(&mut app, KeyCode::Char('s')) else { panic!() };
    assert_eq!((time, processes.len(), processes[0].pid), (fixture::NOW, 1, 4711));
    let mut app = App::new((80, 24), SECOND, Start::List);
    assert_eq!(press(&mut app, KeyCode::Char('s')), None);
}

#[test]
fn a_pair_is_compared_and_can_be_opened_one_by_one() {
    let mut app = paired((80, 24));
    assert_eq!(app.context(), Context::Compare);
    let comparison = app.comparison().unwrap();
    assert_eq!((comparison.left.pid, comparison.right.pid), (Some(4711), Some(812)));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.context(), Context::List);
    assert_eq!(press(&mut app, KeyCode::Enter), Some(Request::Follow(Some(fixture::id(4711)))));
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Char('c'));
    assert_eq!(app.context(), Context::Compare);
    let mut alone = listed((80, 24));
    press(&mut alone, KeyCode::Char('c'));
    assert!(alone.notice.is_some() && alone.context() == Context::List);
}

#[test]
fn overdue_looks_are_stale_until_the_next_one() {
    let mut app = opened((80, 24));
    app.update(Event::Late);
    assert!(app.is_stale());
    app.update(Event::Opened { time: fixture::NOW, process: Box::new(fixture::process()) });
    assert!(!app.is_stale());
}

fn click(app: &mut App, column: u16, row: u16) -> Option<Request> {
    let kind = MouseEventKind::Down(MouseButton::Left);
    app.update(Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
}

#[test]
fn the_mouse_chooses_tabs_rows_and_columns() {
    let mut app = opened((80, 24));
    click(&mut app, 16, 1);
    assert_eq!(app.tab, Tab::Classes);
    click(&mut app, 4, 2);
    let classes = app.tables.get(TableId::Classes);
    assert_eq!((classes.sort, classes.descending), (0, false), "sorted by size");
    click(&mut app, 4, 2);
    assert!(app.tables.get(TableId::Classes).descending);
    click(&mut app, 4, 7);
    assert_eq!(app.tables.get(TableId::Classes).position, 4);
    let wheel = MouseEvent { kind: MouseEventKind::ScrollDown, column: 1, row: 9, modifiers: KeyModifiers::NONE };
    app.update(Event::Mouse(wheel));
    assert_eq!(app.tables.get(TableId::Classes).position, 7);
    click(&mut app, 4, 10);
    assert!(app.class.is_some(), "a second click enters");
    let mut list = listed((80, 24));
    assert_eq!(click(&mut list, 3, 3), None);
    assert_eq!(click(&mut list, 3, 3), Some(Request::Follow(Some(fixture::id(812)))));
}

#[test]
fn the_dead_stand_below_the_living_whatever_the_order() {
    let mut app = listed((140, 24));
    for _ in 0..11 {
        for _ in 0..2 {
            let keys = tables::keys(&app, TableId::Processes);
            assert_eq!(
                keys.last(),
                Some(&fixture::id(999_999).number()),
                "by column {}",
                app.tables.get(TableId::Processes).sort
            );
            press(&mut app, KeyCode::Char('I'));
        }
        press(&mut app, KeyCode::Char('<'));
    }
    assert_eq!(app.tables.get(TableId::Processes).sort, 0);
}

#[test]
fn a_program_that_ended_unseen_is_not_waited_for() {
    let program = Program { command: "true".into(), log: "/tmp/log".into(), ended: None };
    let mut app = App::new((80, 24), SECOND, Start::Process(fixture::id(1), Some(program)));
    let drawn = |app: &App| pictures::draw(app, &pictures::COLOUR).to_string();
    assert!(drawn(&app).contains("No figures of process 1 yet."), "{}", drawn(&app));
    app.update(Event::ProgramEnded("exit status 0".into()));
    let drawn = drawn(&app);
    assert!(drawn.contains("it ended before it could be looked at") && !drawn.contains("yet"), "{drawn}");
}

#[test]
fn the_answer_to_a_key_is_shown_whatever_else_is_wrong() {
    let mut app = listed((80, 24));
    let problems = vec!["4711: permission denied".to_owned(); 5];
    app.update(Event::List { time: fixture::NOW, processes: fixture::processes(), problems });
    app.update(Event::Notice("! not saved".to_owned()));
    let drawn = pictures::draw(&app, &pictures::COLOUR).to_string();
    assert!(drawn.contains("! not saved") && drawn.contains("permission denied"), "{drawn}");
}
