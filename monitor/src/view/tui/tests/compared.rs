//! Two processes side by side: what is shown of a change, and what it is sorted by.

use super::answers::{paired, press};
use super::{fixture, pictures};
use crate::model::Totals;
use crate::view::tui::app::*;
use crate::view::tui::tables::{self, TableId};
use crossterm::event::KeyCode;

#[test]
fn differences_are_sorted_by_their_size_whichever_way_they_go() {
    let mut app = paired((80, 40));
    let mut processes = fixture::processes();
    processes.truncate(2);
    processes[1].totals.cached_bytes = Some(1 << 30);
    app.update(Event::List { time: fixture::NOW, processes, problems: vec![] });
    let differences = |app: &App| -> Vec<i64> {
        let totals = &app.comparison().unwrap().totals;
        let by_row = |&row: &u128| totals.get(usize::try_from(row).unwrap()).and_then(|total| total.difference);
        tables::keys(app, TableId::Compare).iter().filter_map(by_row).collect()
    };
    let mixed = differences(&app);
    assert!(mixed.iter().any(|&difference| difference < 0) && mixed.iter().any(|&difference| difference > 0));
    for _ in 0..4 {
        press(&mut app, KeyCode::Char('>'));
    }
    press(&mut app, KeyCode::Char('<'));
    let sorted = differences(&app);
    assert!(sorted.is_sorted_by_key(|difference| std::cmp::Reverse(difference.unsigned_abs())), "{sorted:?}");
    // At first the sizes stand so, below the totals.
    let mut app = paired((80, 40));
    let mut processes = fixture::processes();
    processes.truncate(2);
    let class = processes[1].size_classes.iter_mut().flatten().find(|class| class.block_size == 80).unwrap();
    class.allocated_bytes = 0;
    app.update(Event::List { time: fixture::NOW, processes, problems: vec![] });
    let drawn = pictures::draw(&app, &pictures::COLOUR).to_string();
    let at = |figure: &str| drawn.find(figure).unwrap_or_else(|| panic!("{figure} is not in\n{drawn}"));
    assert!(at("requested") < at("threads") && at("threads") < at("class 80") && at("class 80") < at("class 16 "));
}

/// The rows of the comparison with these figures of the left and the right, as they are drawn.
fn compared(left: impl Fn(&mut Totals), right: impl Fn(&mut Totals)) -> String {
    let mut app = paired((80, 40));
    let mut processes = fixture::processes();
    processes.truncate(2);
    left(&mut processes[0].totals);
    right(&mut processes[1].totals);
    app.update(Event::List { time: fixture::NOW, processes, problems: vec![] });
    pictures::draw(&app, &pictures::COLOUR).to_string()
}

#[track_caller]
fn change_of<'a>(drawn: &'a str, figure: &str) -> &'a str {
    let row = drawn.lines().find(|line| line.trim_start_matches('"').starts_with(figure));
    let row = row.unwrap_or_else(|| panic!("{figure} is not in\n{drawn}"));
    row.trim_end_matches('"').split_whitespace().last().unwrap()
}

#[test]
fn a_change_of_nothing_or_less_is_a_dash() {
    let drawn = compared(
        |totals| (totals.other_bytes, totals.swap_bytes, totals.cached_bytes) = (Some(-5509), Some(0), Some(1000)),
        |totals| (totals.other_bytes, totals.swap_bytes, totals.cached_bytes) = (Some(297_984), Some(9), Some(800)),
    );
    assert_eq!(["other", "swap", "cached"].map(|figure| change_of(&drawn, figure)), ["-", "-", "-20%"], "{drawn}");
}

#[test]
fn no_change_is_cut_so_that_it_reads_as_a_smaller_one() {
    let drawn = compared(
        |totals| (totals.other_bytes, totals.cached_bytes, totals.frees) = (Some(1000), Some(10), Some(0)),
        |totals| (totals.other_bytes, totals.cached_bytes, totals.frees) = (Some(-9340), Some(15_295), Some(12 << 30)),
    );
    assert_eq!(["other", "cached"].map(|figure| change_of(&drawn, figure)), ["<-999%", ">999%"], "{drawn}");
    assert!(drawn.contains("+12.9G"), "{drawn}");
}

#[test]
fn changes_are_sorted_by_their_size_and_not_by_their_letters() {
    let mut app = paired((80, 40));
    (0..5).for_each(|_| drop(press(&mut app, KeyCode::Char('>'))));
    assert_eq!(app.tables.get(TableId::Compare).sort, 4);
    let drawn = pictures::draw(&app, &pictures::COLOUR).to_string();
    let changes = drawn.lines().filter_map(|line| line.trim_end_matches('"').split_whitespace().last());
    let changes: Vec<f64> = changes.filter_map(|word| word.strip_suffix('%')?.parse().ok()).collect();
    assert!(changes.len() > 5 && changes.is_sorted_by(|one, next| one >= next), "{drawn}");
}
