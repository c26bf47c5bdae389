//! The user's terminal: its width, its colours, and progress bars that don't disturb the log's lines.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};
use terminal_size::{Height, Width, terminal_size_of};

/// How often bars are drawn per second, at most.
const HERTZ: u8 = 20;

/// The width of a table if that of the terminal isn't known.
const COLUMNS: usize = 100;

/// The width of standard output in columns. If that isn't a terminal, `columns`, the value of `COLUMNS`, counts.
#[must_use]
pub fn width(columns: Option<&str>) -> usize {
    let given = || columns.and_then(|columns| columns.trim().parse().ok()).filter(|columns| *columns > 0);
    terminal_size_of(io::stdout()).map(|(Width(columns), _)| columns.into()).or_else(given).unwrap_or(COLUMNS)
}

/// Errors.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Warnings.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Hints and notices.
pub const HINT: Style = AnsiColor::Cyan.on_default().bold();
/// Titles.
pub const TITLE: Style = Style::new().bold();

/// Whether a stream gets colours: a terminal does, unless it is dumb or [`NO_COLOR`](https://no-color.org) is set, and
/// with [`CLICOLOR_FORCE`](https://bixense.com/clicolors/) every stream does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colours(bool);

impl Colours {
    /// The colours of standard output.
    #[must_use]
    pub fn of_output() -> Self {
        Self(AutoStream::choice(&io::stdout()) != ColorChoice::Never)
    }

    /// The colours of standard error.
    #[must_use]
    pub fn of_error() -> Self {
        Self(AutoStream::choice(&io::stderr()) != ColorChoice::Never)
    }

    /// `text` in a style.
    #[must_use]
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.0 { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

/// Bars on standard error; `None` if that isn't a terminal, or a dumb one, which can't erase lines.
#[must_use]
pub fn bars(term: Option<&str>) -> Option<MultiProgress> {
    let is_able = io::stderr().is_terminal() && term != Some("dumb");
    is_able.then(|| {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(StandardError::default()), HERTZ);
        MultiProgress::with_draw_target(target)
    })
}

/// Standard error, for the library that draws the bars. Errors are ignored: a closed terminal is no reason to stop
/// publishing, and the library would panic.
#[derive(Debug, Default)]
struct StandardError {
    /// The text for the next `flush`, which writes it at once, so that nothing flickers.
    drawn: Mutex<String>,
}

impl StandardError {
    fn draw(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    /// Moves the cursor: `letter` ends the [escape
    /// sequence](https://www.ecma-international.org/publications-and-standards/standards/ecma-48/).
    fn go(&self, steps: usize, letter: char) -> io::Result<()> {
        // The terminal would take 0 for 1.
        if steps > 0 { self.draw(&format!("\u{1b}[{steps}{letter}")) } else { Ok(()) }
    }
}

impl TermLike for StandardError {
    fn width(&self) -> u16 {
        terminal_size_of(io::stderr()).map_or(80, |(Width(columns), _)| columns)
    }

    fn height(&self) -> u16 {
        terminal_size_of(io::stderr()).map_or(24, |(_, Height(rows))| rows)
    }

    fn move_cursor_up(&self, rows: usize) -> io::Result<()> {
        self.go(rows, 'A')
    }

    fn move_cursor_down(&self, rows: usize) -> io::Result<()> {
        self.go(rows, 'B')
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.go(columns, 'C')
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.go(columns, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.draw(line)?;
        self.draw("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.draw(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.draw("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.drawn.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = io::stderr().write_all(drawn.as_bytes());
        Ok(())
    }
}
