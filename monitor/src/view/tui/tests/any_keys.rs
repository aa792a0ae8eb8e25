//! Any keys, on any screen, with data coming and going: never a panic, always a state that makes sense.

use super::{answers, fixture};
use crate::model::Time;
use crate::view::tui::app::{App, Event, Program};
use crate::view::tui::theme::Theme;
use crate::view::tui::{frame, keys};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use std::time::Duration;

fn key() -> impl Strategy<Value = Event> {
    let chords: Vec<KeyEvent> = keys::all_chords().collect();
    prop_oneof![
        8 => prop::sample::select(chords),
        1 => any::<char>().prop_map(|character| KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE)),
    ]
    .prop_map(Event::Key)
}

fn size() -> impl Strategy<Value = (u16, u16)> {
    prop_oneof![(1..200_u16, 1..60_u16), (38..44_u16, 8..14_u16)]
}

fn event() -> impl Strategy<Value = Event> {
    let list = (0..6_usize).prop_map(|count| {
        let mut processes = fixture::processes();
        processes.truncate(count);
        Event::List { time: fixture::NOW, processes, problems: vec!["denied\x1b[2J".into(); count] }
    });
    let opened = (0..100_u64, any::<bool>()).prop_map(|(second, bare)| {
        let mut process = fixture::process();
        if bare {
            (process.threads, process.size_classes, process.history) = (None, None, None);
            process.totals = Default::default();
        }
        Event::Opened { time: Time(fixture::NOW.0 + second * 1_000_000_000), process: Box::new(process) }
    });
    prop_oneof![
        20 => key(),
        2 => size().prop_map(|(columns, rows)| Event::Resize(columns, rows)),
        2 => list,
        2 => opened,
        1 => Just(Event::Lost { pid: 4711, why: "gone".into() }),
        1 => Just(Event::Failed("cannot look".into())),
        1 => Just(Event::ProgramEnded("exit status 1".into())),
    ]
}

fn consistent(app: &App) {
    for (table, rows) in [
        (&app.processes, crate::view::tui::processes::rows(app).len()),
        (&app.classes, crate::view::tui::classes::rows(app).len()),
        (&app.threads, crate::view::tui::threads::rows(app).len()),
    ] {
        let shown = std::ptr::eq(table, app.open_table());
        assert!(!shown || (table.position < rows.max(1) && table.offset < rows.max(1)), "{table:?} of {rows}");
    }
    assert!((100..=60_000).contains(&app.interval.as_millis()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_keys_on_any_screen_are_survived(
        size in size(),
        start in 0..3,
        monochrome in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let program = Program { command: "sleep 9".into(), log: "/tmp/log".into(), ended: None };
        let mut app = match start {
            0 => answers::listed(size),
            1 => answers::opened(size),
            _ => App::process(size, Duration::from_secs(1), 4711, Some(program)),
        };
        let theme = Theme::new(!monochrome, monochrome);
        for event in events {
            app.update(event);
            consistent(&app);
            // The terminal may have another size than the last event said.
            for (width, height) in [app.size, size] {
                let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
                frame::draw(&mut buffer, &app, &theme);
                let steers = buffer.content.iter().any(|cell| cell.symbol().chars().any(char::is_control));
                prop_assert!(!steers);
            }
        }
    }
}
