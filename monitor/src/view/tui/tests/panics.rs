//! A panic gives the terminal back before it is reported.

use crate::view::tui::terminal::Screen;
use tests::terminal::Terminal;

/// What the other test runs in a terminal of its own.
#[test]
#[ignore = "panics, which is the point of it"]
fn panics_with_the_screen_open() {
    let mut screen = Screen::open(true).unwrap();
    screen.draw((80, 24), |buffer| buffer.set_string(0, 0, "about to panic", ratatui::style::Style::new())).unwrap();
    panic!("on purpose");
}

#[test]
fn a_panic_leaves_a_sane_terminal_and_its_report() {
    if tests::missing(&["tmux"]) {
        return;
    }
    let own = std::env::current_exe().unwrap();
    let name = "view::tui::tests::panics::panics_with_the_screen_open";
    // A trace would push the message off the screen.
    let script = format!("RUST_BACKTRACE=0 {} --exact {name} --ignored --nocapture; stty -a; read -r x", own.display());
    let terminal = Terminal::open(&["sh", "-c", &script]);
    let screen = terminal.wait("the end", |screen| screen.contains("icanon"));
    assert!(screen.contains("on purpose") && !screen.contains("about to panic"), "{screen}");
    assert!(!screen.contains("-icanon") && !screen.contains("-echo "), "{screen}");
    assert_eq!(terminal.ask("#{alternate_on} #{cursor_flag} #{mouse_any_flag}"), "0 1 0", "{screen}");
}
