//! What things look like: the terminal's own colours, or none; Unicode symbols, or ASCII.
//!
//! Colour never says anything alone: a word or a mark stands beside it. Without colour a style has modifiers only,
//! because crossterm, told by `NO_COLOR` to use none, answers any colour with a reset that takes bold and reverse
//! with it.

use crate::cli::TerminalArgs;
use ratatui::style::{Color, Modifier, Style};

/// Looks for one kind of terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Theme {
    colour: bool,
    /// The characters that pictures are drawn with.
    pub(super) symbols: Symbols,
}

/// The characters that pictures are drawn with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Symbols {
    /// Filled from the bottom: one eighth to eight eighths. In ASCII only a full cell.
    pub(super) rising: &'static [&'static str],
    /// Filled from the left, likewise.
    pub(super) growing: &'static [&'static str],
    /// The layers of a stack, lowest first.
    pub(super) layers: [&'static str; 3],
    /// Graphs are made of dots, eight to a cell; `layers` is what they look like where they are dense.
    pub(super) dots: bool,
    /// Columns of a trend, the lowest first.
    pub(super) sparks: &'static [&'static str],
    /// Sorted with the smallest, or the largest, on top.
    pub(super) ascending: &'static str,
    pub(super) descending: &'static str,
    /// An axis, lying, the side of a box, and where text is cut.
    pub(super) rule: &'static str,
    pub(super) side: &'static str,
    pub(super) ellipsis: &'static str,
    /// More or less.
    pub(super) about: &'static str,
    /// Before a figure that may be less.
    pub(super) at_most: &'static str,
}

const BRAILLE: Symbols = Symbols { layers: ["⣿", "⡪", "⡂"], dots: true, ..BLOCKS };

const BLOCKS: Symbols = Symbols {
    rising: &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    growing: &["▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"],
    layers: ["█", "▒", "░"],
    dots: false,
    sparks: &["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    ascending: "▲",
    descending: "▼",
    rule: "─",
    side: "│",
    ellipsis: "…",
    about: "±",
    at_most: "≤",
};

const ASCII: Symbols = Symbols {
    rising: &["#"],
    growing: &["#"],
    layers: ["#", "+", "."],
    dots: false,
    sparks: &["_", ".", "-", "=", "*", "#"],
    ascending: "^",
    descending: "v",
    rule: "-",
    side: "|",
    ellipsis: "~",
    about: "+-",
    at_most: "<",
};

impl Theme {
    /// A theme with or without colour, in Unicode or ASCII.
    pub(crate) const fn new(colour: bool, unicode: bool) -> Self {
        Self { colour, symbols: if unicode { BRAILLE } else { ASCII } }
    }

    /// The same with blocks instead of dots, for terminals whose fonts have none.
    pub(crate) const fn with_blocks(self) -> Self {
        Self { symbols: if self.symbols.dots { BLOCKS } else { self.symbols }, ..self }
    }

    /// The theme for what the user wants and the environment says of the terminal: `NO_COLOR`, `TERM`, and the locale's
    /// character set.
    pub(crate) fn of_environment(wanted: TerminalArgs) -> Self {
        let get = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(get).unwrap_or_default().to_lowercase();
        let unicode = !wanted.ascii && (locale.contains("utf-8") || locale.contains("utf8"));
        let theme = Self::new(!wanted.no_color && get("NO_COLOR").is_none(), unicode);
        // The kernel's own console has blocks, but no Braille.
        if get("TERM").is_some_and(|term| term.starts_with("linux")) { theme.with_blocks() } else { theme }
    }

    /// The screen's top line.
    pub(super) fn header(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A banner that must not be overlooked.
    pub(super) fn banner(&self) -> Style {
        self.coloured(Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED)
    }

    /// The tab that is open, or the row that is selected.
    pub(super) fn selected(&self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Titles of columns.
    pub(super) fn title(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// Words that name a figure, keys, hints.
    pub(super) fn label(&self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// What matters less: units of time, closed tabs, processes that may not be read.
    pub(super) fn quiet(&self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Sums.
    pub(super) fn strong(&self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// All is well.
    pub(super) fn good(&self) -> Style {
        self.coloured(Color::Green).add_modifier(Modifier::BOLD)
    }

    /// Something is wrong.
    pub(super) fn bad(&self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// The layers of a stack, lowest first.
    pub(super) fn layer(&self, layer: usize) -> Style {
        self.coloured([Color::Green, Color::Yellow, Color::Magenta][layer % 3])
    }

    /// A cell shared by two layers, where the terminal can show that.
    pub(super) fn layer_over(&self, layer: usize, above: usize) -> Style {
        let style = self.layer(layer);
        match self.layer(above).fg {
            Some(above) => style.bg(above),
            None => style,
        }
    }

    fn coloured(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }
}
