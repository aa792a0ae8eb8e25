//! The screen as it is drawn from fixed models: symbols, and the styles that carry meaning.

use super::answers::{listed, opened, paired, press};
use crate::model::fake::{about, taken_over};
use crate::model::{Process, State};
use crate::view::tui::app::{App, Event, Program, Start};
use crate::view::tui::frame;
use crate::view::tui::theme::Theme;
use crossterm::event::KeyCode::{self, Char};
use insta::assert_snapshot;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use std::time::Duration;

pub(super) const COLOUR: Theme = Theme::new(true, true);
const MONOCHROME: Theme = Theme::new(false, true);
const ASCII: Theme = Theme::new(false, false);

pub(super) fn draw(app: &App, theme: &Theme) -> TestBackend {
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

/// A view, and the keys that lead to it from an open process.
const VIEWS: [(&str, &[KeyCode]); 10] = [
    ("overview", &[]),
    ("growth", &[Char('a')]),
    ("classes", &[Char('2')]),
    ("rates", &[Char('2'), Char('a')]),
    ("peak", &[Char('2'), Char('p')]),
    ("class", &[Char('2'), KeyCode::Down, KeyCode::Enter]),
    ("threads", &[Char('3')]),
    ("large", &[Char('4')]),
    ("safety", &[Char('5')]),
    ("log", &[Char('6')]),
];
const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (40, 12)];

/// Every picture of a screen: in colour, in one colour, in ASCII.
fn pictures(name: &str, app: impl Fn((u16, u16)) -> App) {
    for (width, height) in SIZES {
        let screen = app((width, height));
        let colour = draw(&screen, &COLOUR);
        assert_snapshot!(format!("{name}_{width}x{height}"), colour);
        let monochrome = draw(&screen, &MONOCHROME);
        for (cell, coloured) in monochrome.buffer().content.iter().zip(&colour.buffer().content) {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{name}");
            assert_eq!(cell.symbol(), coloured.symbol(), "{name}: colour adds no word");
        }
    }
    let ascii = draw(&app((80, 24)), &ASCII);
    assert_snapshot!(format!("{name}_ascii"), ascii);
    assert!(ascii.buffer().content.iter().all(|cell| cell.symbol().is_ascii()), "{name}");
}

#[test]
fn every_view_of_a_process() {
    for (name, keys) in VIEWS {
        pictures(name, |size| with_keys(opened(size), keys));
    }
}

#[test]
fn the_list_and_the_comparison() {
    pictures("processes", listed);
    pictures("compare", paired);
}

#[test]
fn the_dead_are_marked_on_the_smallest_screen_too() {
    let all = |size| {
        let mut app = listed(size);
        let mut processes = super::fixture::processes();
        let mut exited = processes[0].clone();
        (exited.id, exited.pid, exited.state) = (super::fixture::id(999_998), 999_998, State::Exited);
        let mut replaced = processes[0].clone();
        (replaced.id, replaced.pid, replaced.state) = (super::fixture::id(4713), 4713, State::Replaced);
        replaced.replaced_by = Some("evil\x1b[31m".into());
        processes.extend([exited, replaced]);
        app.update(Event::List { time: super::fixture::NOW, processes, problems: vec![] });
        app
    };
    // As wide as it is just before the names of the states fit, sorted by their letters, and as small as it can be.
    assert_snapshot!("states_47x10", draw(&with_keys(all((47, 10)), &[Char('<'), Char('<'), Char('I')]), &COLOUR));
    assert_snapshot!("states_40x10", draw(&all((40, 10)), &COLOUR));
    assert_snapshot!(
        "states_explained",
        draw(&with_keys(all((40, 12)), &[Char('?'), KeyCode::PageDown, KeyCode::PageDown]), &COLOUR)
    );
}

#[test]
fn what_matters_is_marked_by_style_and_by_word() {
    let overview = draw(&opened((80, 24)), &COLOUR);
    let buffer = overview.buffer();
    assert_eq!(look_of(buffer, "LIVE"), (Modifier::BOLD, Color::Green));
    assert_eq!(look_of(buffer, "[1 Overview]").0, Modifier::REVERSED);
    assert_eq!(look_of(buffer, "= allocated").0, Modifier::BOLD);
    assert_eq!(look_of(buffer, "! LEAK SUSPECTED"), (Modifier::BOLD, Color::Red));
    assert_eq!(look_of(buffer, "! 1 double"), (Modifier::BOLD, Color::Red));
    let classes = draw(&with_keys(opened((80, 24)), &[Char('2'), KeyCode::Down, KeyCode::Down]), &COLOUR);
    assert_eq!(look_of(classes.buffer(), "ALLOCATED▼").0, Modifier::BOLD | Modifier::UNDERLINED);
    assert_eq!(classes.buffer()[(0, 5)].modifier, Modifier::REVERSED);
    let threads = draw(&with_keys(opened((80, 24)), &[Char('3')]), &COLOUR);
    assert_eq!(look_of(threads.buffer(), "   4699").0, Modifier::DIM);
    let list = draw(&listed((80, 24)), &COLOUR);
    assert_eq!(look_of(list.buffer(), "     77").0, Modifier::DIM);
    let safety = draw(&with_keys(opened((80, 24)), &[Char('5')]), &COLOUR);
    assert_eq!(look_of(safety.buffer(), "! misuse"), (Modifier::BOLD, Color::Red));
    let frozen = draw(&with_keys(opened((80, 24)), &[Char(' ')]), &MONOCHROME);
    assert_eq!(look_of(frozen.buffer(), " FROZEN").0, Modifier::BOLD | Modifier::REVERSED);
}

#[test]
fn blocks_take_the_place_of_dots_on_a_console() {
    let blocks = COLOUR.with_blocks();
    assert_snapshot!(draw(&with_keys(opened((80, 24)), &[Char(']'), Char(']')]), &blocks));
}

#[test]
fn a_filter_that_is_typed_stands_in_the_last_line() {
    let keys = [Char('2'), Char('/'), Char('1'), Char('2')];
    assert_snapshot!(draw(&with_keys(opened((80, 24)), &keys), &COLOUR));
}

#[test]
fn classes_scrolled_to_the_end() {
    assert_snapshot!(draw(&with_keys(opened((120, 40)), &[Char('2'), KeyCode::End, Char('I'), Char('d')]), &COLOUR));
}

#[test]
fn no_processes_yet() {
    assert_snapshot!(draw(&App::new((40, 12), Duration::from_secs(1), Start::List), &COLOUR));
}

#[test]
fn help_of_the_classes() {
    assert_snapshot!(draw(&with_keys(opened((80, 40)), &[Char('2'), Char('?')]), &COLOUR));
}

#[test]
fn no_layer_of_a_graph_is_without_its_name() {
    for columns in 60..=160 {
        let picture = draw(&opened((columns, 24)), &COLOUR).to_string();
        assert!(picture.contains("req") && picture.contains("+pinned"), "{columns}: {picture}");
        assert_eq!(picture.contains("calls/s"), picture.contains("⣿ both"), "{columns}: {picture}");
    }
}

#[test]
fn a_stopped_process_is_told_in_the_header_in_a_narrow_list_and_in_its_help() {
    let mut stopped = super::fixture::process();
    stopped.stopped = Some(true);
    let mut app = opened((80, 24));
    app.update(Event::Opened { time: super::fixture::NOW, process: Box::new(stopped.clone()) });
    assert_eq!(look_of(draw(&app, &COLOUR).buffer(), "STOPPED"), (Modifier::BOLD, Color::Red));
    let mut list = App::new((40, 60), Duration::from_secs(1), Start::List);
    list.update(Event::List { time: super::fixture::NOW, processes: vec![stopped.clone()], problems: vec![] });
    let drawn = draw(&list, &COLOUR).to_string();
    assert!(drawn.lines().any(|line| line.contains(" 4711 S ")), "{drawn}");
    let help = draw(&with_keys(list, &[Char('?')]), &COLOUR).to_string();
    assert!(help.contains("S: L, S, R") && help.contains("live, stopped, replaced"), "{help}");
    // What may not be read says so, stopped or not.
    stopped.state = State::NoAccess;
    assert!(!stopped.is_stopped());
}

#[test]
fn a_crashed_target_keeps_its_last_frame_and_names_the_likely_cause() {
    let mut app = opened((80, 24));
    let mut dead = super::fixture::process();
    dead.state = State::Crashed;
    dead.totals.rss_bytes = None;
    app.update(Event::Opened { time: super::fixture::NOW, process: Box::new(dead) });
    let picture = draw(&app, &COLOUR);
    assert_snapshot!(picture);
    assert_eq!(look_of(picture.buffer(), "CRASHED"), (Modifier::BOLD, Color::Red));
    look_of(picture.buffer(), "likely cause: double free");
}

#[test]
fn of_a_crashed_target_it_is_shown_where_its_growth_came_from() {
    let mut app = opened((80, 24));
    let mut dead = super::fixture::process();
    dead.state = State::Crashed;
    dead.misuse.as_mut().unwrap().last.clear();
    app.update(Event::Opened { time: super::fixture::NOW, process: Box::new(dead) });
    let picture = draw(&app, &COLOUR).to_string();
    for line in ["also leak suspected before: ", "where: class 64, 96 % of growth    alloc. by: worker-3 71 %"] {
        assert!(picture.contains(line), "{picture}");
    }
}

#[test]
fn of_a_program_of_its_own_the_screen_does_not_guess_what_killed_it() {
    let program = Program { command: "worker".into(), log: "/tmp/statsmon.log".into(), ended: None };
    let process = super::fixture::process();
    let mut app = App::new((80, 24), Duration::from_secs(1), Start::Process(process.id, Some(program)));
    let mut dead = Process { state: State::Crashed, ..process };
    let headline = |app: &mut App, dead: &Process| {
        app.update(Event::Opened { time: super::fixture::NOW, process: Box::new(dead.clone()) });
        draw(app, &COLOUR).to_string().lines().find(|line| line.contains("! CRASHED")).unwrap().to_owned()
    };
    app.update(Event::ProgramEnded("killed by SIGSEGV".into()));
    assert!(headline(&mut app, &dead).contains("likely cause: double free"));
    dead.misuse.as_mut().unwrap().last.clear();
    assert!(headline(&mut app, &dead).contains("! CRASHED  killed by SIGSEGV  "));
    app.update(Event::ProgramEnded("exit status 3".into()));
    assert!(headline(&mut app, &dead).contains("killed, crashed or replaced by exec"));
}

#[test]
fn the_question_about_a_running_program() {
    let program = Program { command: "sleep 9".into(), log: "/tmp/statsmon.log".into(), ended: None };
    let app = App::new((80, 24), Duration::from_secs(1), Start::Process(super::fixture::id(4711), Some(program)));
    let app = with_keys(app, &[Char('q')]);
    assert_snapshot!(draw(&app, &COLOUR));
    assert!(draw(&app, &MONOCHROME).buffer().content.iter().all(|cell| cell.fg == Color::Reset));
}

#[test]
fn a_screen_too_small_says_how_much_is_needed() {
    let picture = draw(&listed((39, 10)), &COLOUR);
    assert_eq!(look_of(picture.buffer(), "statsmon needs 40x10").0, Modifier::empty());
    look_of(picture.buffer(), "this is 39x10");
    draw(&listed((1, 1)), &COLOUR);
}

#[test]
fn what_earlier_threads_of_a_row_did_is_not_shown_as_its_present_ones() {
    let mut app = opened((120, 40));
    let process = crate::model::Process {
        id: super::fixture::id(4711),
        pid: 4711,
        ..taken_over().process(about(State::Live), 12)
    };
    let time = crate::model::Time(super::fixture::NOW.0 + 1);
    app.update(Event::Opened { time, process: Box::new(process) });
    let cells = |app: &App, name: &str| -> Vec<String> {
        let screen = draw(app, &COLOUR).to_string();
        let line = screen.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{screen}"));
        line.split_once(name).unwrap().1.split_whitespace().map(str::to_owned).collect()
    };
    press(&mut app, Char('3'));
    // Blocks that others freed, bytes left behind, bytes taken over.
    assert_eq!(cells(&app, "innocent")[4..9], ["0", "-", "-", "0", "B"]);
    press(&mut app, Char('2'));
    app.class = Some(64);
    assert_eq!(cells(&app, "innocent")[..4], ["≤32", "B", "≤32", "B"]);
    assert_eq!(cells(&app, "ended threads")[..4], ["≤58.6", "KiB", "≤29.3", "KiB"]);
}
