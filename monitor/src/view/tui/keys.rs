//! Every key, once: this table drives what keys do, the help and the hints in the last line.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Quit,
    Help,
    Back,
    Suspend,
    Freeze,
    Slower,
    Faster,
    Wider,
    Narrower,
    NextTab,
    PreviousTab,
    Tab(usize),
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Open,
    SortLeft,
    SortRight,
    Invert,
    Filter,
    Accept,
    Rates,
    Unused,
    Peak,
    Mark,
    Save,
    Compare,
    Leave,
    End,
}

/// Where a key means something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Context {
    /// The list of processes.
    List = 1,
    /// A process: the tab with figures and graphs.
    Overview = 2,
    /// A process: a tab with a table.
    Table = 4,
    /// The help.
    Help = 8,
    /// The question what shall become of the program that was started.
    Prompt = 16,
    /// Two sides.
    Compare = 32,
    /// A process: the tab of size classes.
    Classes = 64,
    /// A size class.
    Class = 128,
    /// The text that rows are filtered by.
    Filter = 256,
}

const LIST: u16 = Context::List as u16;
const TABLE: u16 = Context::Table as u16;
const OVERVIEW: u16 = Context::Overview as u16;
const HELP: u16 = Context::Help as u16;
const PROMPT: u16 = Context::Prompt as u16;
const COMPARE: u16 = Context::Compare as u16;
const CLASSES: u16 = Context::Classes as u16;
const CLASS: u16 = Context::Class as u16;
const FILTER: u16 = Context::Filter as u16;
const ROWS: u16 = LIST | TABLE | COMPARE | CLASSES | CLASS;
const PROCESS: u16 = OVERVIEW | TABLE | CLASSES | CLASS;
const VIEWS: u16 = LIST | PROCESS | COMPARE;

/// Some keys that do the same.
pub(super) struct Binding {
    /// The keys, and what is held with them.
    chords: &'static [(KeyCode, KeyModifiers)],
    /// The [`Context`]s in which they do it.
    contexts: u16,
    /// What they do.
    action: Action,
    /// The keys as help and hints print them.
    pub(super) shown: &'static str,
    /// What they do, in words.
    pub(super) help: &'static str,
    /// The same in one or two words, where the last line shall name it.
    pub(super) hint: Option<&'static str>,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

const fn key(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), NONE)
}

const fn control(character: char) -> (KeyCode, KeyModifiers) {
    (KeyCode::Char(character), CONTROL)
}

const fn named(code: KeyCode) -> (KeyCode, KeyModifiers) {
    (code, NONE)
}

macro_rules! bindings {
    ($($contexts:expr, $action:expr, [$($chord:expr),+], $shown:literal, $help:literal, $hint:expr;)+) => {
        &[$(Binding {
            chords: &[$($chord),+], contexts: $contexts, action: $action, shown: $shown, help: $help, hint: $hint,
        }),+]
    };
}

static BINDINGS: &[Binding] = bindings! {
    PROMPT, Action::Leave, [key('l'), named(KeyCode::Enter)], "l Enter", "leave it running and quit", None;
    PROMPT, Action::End, [key('e')], "e", "end it and quit", None;
    PROMPT, Action::Back, [named(KeyCode::Esc), key('q'), control('c')], "Esc q", "go back to the screen", None;
    HELP, Action::Back, [named(KeyCode::Esc), key('q'), key('?'), key('h'), named(KeyCode::F(1)), named(KeyCode::Enter)],
        "Esc q ?", "close the help", Some("close");
    FILTER, Action::Accept, [named(KeyCode::Enter)], "Enter", "keep the filter", Some("keep");
    FILTER, Action::Back, [named(KeyCode::Esc)], "Esc", "drop the filter", Some("drop");
    VIEWS, Action::Quit, [key('q'), control('c')], "q Ctrl-C", "quit", Some("quit");
    HELP | FILTER, Action::Quit, [control('c')], "Ctrl-C", "quit", None;
    VIEWS, Action::Help, [key('?'), key('h'), named(KeyCode::F(1))], "? h F1", "this help", Some("help");
    LIST, Action::Open, [named(KeyCode::Enter)], "Enter", "open the process", Some("open");
    CLASSES, Action::Open, [named(KeyCode::Enter)], "Enter", "open the class: its history and its threads", Some("open");
    PROCESS | COMPARE | LIST, Action::Back, [named(KeyCode::Esc)], "Esc", "one step back: filter, class, comparison, list",
        Some("back");
    PROCESS, Action::NextTab, [named(KeyCode::Tab), named(KeyCode::Right)], "Tab Right", "next tab", Some("tabs");
    PROCESS, Action::PreviousTab, [named(KeyCode::BackTab), named(KeyCode::Left)], "Shift-Tab Left", "previous tab", None;
    PROCESS, Action::Tab(0), [key('1')], "1", "overview: the chain from requested to RSS, graphs", None;
    PROCESS, Action::Tab(1), [key('2')], "2", "size classes", None;
    PROCESS, Action::Tab(2), [key('3')], "3", "threads", None;
    PROCESS, Action::Tab(3), [key('4')], "4", "large blocks", None;
    PROCESS, Action::Tab(4), [key('5')], "5", "safety: misuse, exactness, what could not be read", None;
    PROCESS, Action::Tab(5), [key('6')], "6", "log: what has happened", None;
    ROWS | HELP | FILTER, Action::Up, [named(KeyCode::Up)], "Up k", "one row up", None;
    ROWS | HELP | FILTER, Action::Down, [named(KeyCode::Down)], "Down j", "one row down", None;
    ROWS | HELP, Action::Up, [key('k')], "", "", None;
    ROWS | HELP, Action::Down, [key('j')], "", "", None;
    ROWS | HELP | FILTER, Action::PageUp, [named(KeyCode::PageUp)], "PgUp", "one page up", None;
    ROWS | FILTER, Action::PageDown, [named(KeyCode::PageDown)], "PgDn", "one page down", None;
    HELP, Action::PageDown, [named(KeyCode::PageDown)], "PgDn", "one page down", Some("more");
    ROWS | HELP, Action::First, [named(KeyCode::Home), key('g')], "Home g", "first row", None;
    ROWS | HELP, Action::Last, [named(KeyCode::End), key('G')], "End G", "last row", None;
    ROWS, Action::Filter, [key('/')], "/", "only rows with a text", Some("filter");
    ROWS, Action::SortLeft, [key('<'), key(',')], "<", "sort by the column to the left", Some("sort");
    ROWS, Action::SortRight, [key('>'), key('.')], ">", "sort by the column to the right", Some("sort");
    ROWS, Action::Invert, [key('I')], "I", "turn the order round", None;
    LIST | TABLE | CLASSES, Action::Rates, [key('a')], "a", "amounts in the table, or rates", Some("rates");
    OVERVIEW, Action::Rates, [key('a')], "a", "changes of the chain in the last minute, or per second", None;
    TABLE | CLASSES, Action::Unused, [key('d')], "d", "also what was never used", Some("unused");
    CLASSES, Action::Peak, [key('p')], "p", "as it was at the peak, or is now", Some("peak");
    OVERVIEW | CLASS, Action::Narrower, [key('[')], "[", "graph over less time", Some("time");
    OVERVIEW | CLASS, Action::Wider, [key(']')], "]", "graph over more time", Some("time");
    PROCESS, Action::Mark, [key('M')], "M", "mark: changes are counted from now", Some("mark");
    VIEWS, Action::Freeze, [key(' '), key('f'), key('Z')], "Space f Z", "freeze the screen, or let it go on", Some("freeze");
    VIEWS, Action::Slower, [key('+'), key('=')], "+", "look less often", Some("interval");
    VIEWS, Action::Faster, [key('-'), key('_')], "-", "look more often", Some("interval");
    VIEWS, Action::Save, [key('s')], "s", "save what is shown as JSON, here", Some("save");
    VIEWS, Action::Compare, [key('c')], "c", "compare, where there are two sides", None;
    VIEWS | HELP | FILTER, Action::Suspend, [control('z')], "Ctrl-Z", "suspend statsmon; the shell's `fg` resumes it", None;
};

/// What a key does here, if anything.
pub(super) fn action(context: Context, event: KeyEvent) -> Option<Action> {
    // Capitals and signs arrive with or without Shift, as the terminal likes.
    let held = match event.code {
        KeyCode::Char(_) | KeyCode::BackTab => event.modifiers.difference(KeyModifiers::SHIFT),
        _ => event.modifiers,
    };
    in_context(context).find(|binding| binding.chords.contains(&(event.code, held))).map(|binding| binding.action)
}

/// The keys that mean something here, in the order of the help.
pub(super) fn in_context(context: Context) -> impl Iterator<Item = &'static Binding> {
    BINDINGS.iter().filter(move |binding| binding.contexts & context as u16 != 0)
}

/// Every key of the views with its meaning, for the manual. What a key does in several places differently is told for each.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let told = |binding: &&Binding| binding.contexts & VIEWS != 0 && !binding.shown.is_empty();
    BINDINGS.iter().filter(told).map(|binding| (binding.shown, binding.help))
}

/// The last line's hints: keys and a word, neighbours with the same word together.
pub(super) fn hints(context: Context) -> Vec<(String, &'static str)> {
    let mut hints: Vec<(String, &'static str)> = Vec::new();
    for binding in in_context(context) {
        let Some(word) = binding.hint else { continue };
        let first = binding.shown.split(' ').next().unwrap_or_default();
        match hints.last_mut() {
            Some((keys, last)) if *last == word => {
                keys.push(' ');
                keys.push_str(first);
            }
            _ => hints.push((first.to_owned(), word)),
        }
    }
    hints
}

#[cfg(test)]
pub(super) fn all_chords() -> impl Iterator<Item = KeyEvent> {
    BINDINGS.iter().flat_map(|binding| binding.chords).map(|&(code, modifiers)| KeyEvent::new(code, modifiers))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXTS: [Context; 9] = [
        Context::List,
        Context::Overview,
        Context::Table,
        Context::Help,
        Context::Prompt,
        Context::Compare,
        Context::Classes,
        Context::Class,
        Context::Filter,
    ];

    #[test]
    fn no_key_has_two_meanings_in_one_place() {
        for context in CONTEXTS {
            let mut chords: Vec<_> = in_context(context).flat_map(|binding| binding.chords).collect();
            let all = chords.len();
            chords.sort_by_key(|chord| format!("{chord:?}"));
            chords.dedup();
            assert_eq!(chords.len(), all, "{context:?}");
        }
    }

    #[test]
    fn capitals_and_signs_work_with_and_without_shift() {
        for modifiers in [NONE, KeyModifiers::SHIFT] {
            let event = KeyEvent::new(KeyCode::Char('G'), modifiers);
            assert_eq!(action(Context::List, event), Some(Action::Last));
        }
        let event = KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT);
        assert_eq!(action(Context::Overview, event), Some(Action::PreviousTab));
        assert_eq!(action(Context::List, KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT)), None);
    }

    #[test]
    fn hints_with_the_same_word_stand_together() {
        let hints = hints(Context::List);
        assert!(hints.contains(&("< >".to_owned(), "sort")));
        assert_eq!(hints[0], ("q".to_owned(), "quit"));
    }
}
