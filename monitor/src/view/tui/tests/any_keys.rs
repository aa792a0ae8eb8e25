//! Any keys, on any screen, with data coming and going: never a panic, always a state that makes sense.

use super::{answers, fixture};
use crate::model::Time;
use crate::view::tui::app::{App, Event, Program, Start, Tab};
use crate::view::tui::theme::Theme;
use crate::view::tui::{frame, keys, tables};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
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

fn mouse() -> impl Strategy<Value = Event> {
    let kinds = vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
    ];
    (prop::sample::select(kinds), 0..210_u16, 0..70_u16)
        .prop_map(|(kind, column, row)| Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
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
            (process.large, process.misuse, process.class_history) = (None, None, None);
            (process.diagnosis, process.limits, process.log) = (None, None, vec![]);
            process.totals = Default::default();
        }
        Event::Opened { time: Time(fixture::NOW.0 + second * 1_000_000_000), process: Box::new(process) }
    });
    prop_oneof![
        20 => key(),
        4 => mouse(),
        1 => Just(Event::Late),
        1 => Just(Event::Notice("told\x1b[2J".into())),
        2 => size().prop_map(|(columns, rows)| Event::Resize(columns, rows)),
        2 => list,
        2 => opened,
        1 => Just(Event::Lost { id: fixture::id(4711), why: "gone".into() }),
        1 => Just(Event::Failed("cannot look".into())),
        1 => Just(Event::ProgramEnded("exit status 1".into())),
    ]
}

fn consistent(app: &App) {
    if let Some(id) = app.table_id() {
        let (table, rows) = (app.tables.get(id), tables::keys(app, id).len());
        assert!(table.position < rows.max(1) && table.offset < rows.max(1), "{table:?} of {rows}");
    }
    assert!((100..=60_000).contains(&app.interval.as_millis()));
    assert!(app.class.is_none() || app.tab == Tab::Classes);
    assert!(!app.types || app.table_id().is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_keys_on_any_screen_are_survived(
        size in size(),
        start in 0..4,
        monochrome in any::<bool>(),
        events in prop::collection::vec(event(), 1..60),
    ) {
        let program = Program { command: "sleep 9".into(), log: "/tmp/log".into(), ended: None };
        let mut app = match start {
            0 => answers::listed(size),
            1 => answers::opened(size),
            2 => answers::paired(size),
            _ => App::new(size, Duration::from_secs(1), Start::Process(fixture::id(4711), Some(program))),
        };
        let theme = Theme::new(!monochrome, monochrome);
        let blocks = theme.with_blocks();
        for event in events {
            app.update(event);
            consistent(&app);
            // The terminal may have another size than the last event said.
            for (width, height) in [app.size, size] {
                let mut buffer = Buffer::empty(Rect { x: 0, y: 0, width, height });
                frame::draw(&mut buffer, &app, if width % 2 == 0 { &theme } else { &blocks });
                let steers = buffer.content.iter().any(|cell| cell.symbol().chars().any(char::is_control));
                prop_assert!(!steers);
            }
        }
    }
}
