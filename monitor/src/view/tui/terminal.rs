//! The terminal: taken over, and given back on every way out.

use crossterm::cursor::{Hide, Show};
use crossterm::event::{DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture};
use crossterm::execute;
use crossterm::style::ResetColor;
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::fs::File;
use std::io::{self, IsTerminal as _, Stdout, stdout};
use std::os::fd::AsFd as _;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// Whether the terminal is ours at present.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Whether the mouse goes with it.
static MOUSE: AtomicBool = AtomicBool::new(false);

/// The terminal, ours as long as this lives.
///
/// Its size is what it was told last, not asked for at every frame: on finding a new one, the library would ask the
/// terminal where the cursor is, and the answer would be taken for keys.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over, with the mouse where that is wanted; a panic of any thread gives it back before it is
    /// reported.
    pub(super) fn open(mouse: bool) -> io::Result<Self> {
        MOUSE.store(mouse, SeqCst);
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                give_back();
                report(info);
            }));
        });
        take()?;
        let terminal = blank(Rect::default()).inspect_err(|_| give_back())?;
        Ok(Self { terminal })
    }

    /// Waits until the terminal may be changed: the first change by a program in the background stops it. Before any signal
    /// is taken: one that is taken does not end a program that is stopped again as soon as it goes on.
    pub(super) fn await_turn() {
        let own = io::stdin();
        // As the library chooses.
        let controlling = (!own.is_terminal()).then(|| File::open("/dev/tty").ok()).flatten();
        let terminal = controlling.as_ref().map_or(own.as_fd(), File::as_fd);
        if let Ok(settings) = tcgetattr(terminal) {
            // Nothing is changed by it. Where nobody could have it go on, the kernel refuses, and says so again below.
            let _ = tcsetattr(terminal, OptionalActions::Now, &settings);
        }
    }

    /// Columns and rows, asked of the terminal.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        crossterm::terminal::size()
    }

    /// Draws a screen of `width` columns and `height` rows: what differs from the one before it.
    pub(super) fn draw(&mut self, (width, height): (u16, u16), paint: impl FnOnce(&mut Buffer)) -> io::Result<()> {
        let area = Rect { x: 0, y: 0, width, height };
        if self.terminal.get_frame().area() != area {
            self.terminal = blank(area)?;
        }
        self.terminal.draw(|frame| paint(frame.buffer_mut()))?;
        Ok(())
    }

    /// Gives the terminal back while `work` runs, then takes it over again; the next screen is drawn anew.
    pub(super) fn step_aside(&mut self, work: impl FnOnce()) -> io::Result<()> {
        give_back();
        work();
        take()?;
        self.terminal = blank(Rect::default())?;
        Ok(())
    }
}

/// A cleared terminal of which `area` is drawn on.
fn blank(area: Rect) -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    execute!(stdout(), Clear(ClearType::All))?;
    Terminal::with_options(CrosstermBackend::new(stdout()), TerminalOptions { viewport: Viewport::Fixed(area) })
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, SeqCst);
    execute!(stdout(), EnterAlternateScreen, Hide, EnableBracketedPaste).inspect_err(|_| give_back())?;
    if MOUSE.load(SeqCst) { execute!(stdout(), EnableMouseCapture).inspect_err(|_| give_back()) } else { Ok(()) }
}

/// Gives the terminal back, once. There is nobody to tell if that fails: it may be gone.
fn give_back() {
    if TAKEN.swap(false, SeqCst) {
        if MOUSE.load(SeqCst) {
            let _ = execute!(stdout(), DisableMouseCapture);
        }
        let _ = execute!(stdout(), DisableBracketedPaste, ResetColor, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}
