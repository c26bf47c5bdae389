//! The terminal that people sit at: its width, its colours, and progress bars that leave the log's lines as they are.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};
use terminal_size::{Height, Width, terminal_size_of};

/// How often bars are drawn in a second, at most.
const HERTZ: u8 = 20;

/// The columns of a table where nobody knows how many there are.
const COLUMNS: usize = 100;

/// How wide standard output is. `columns` is the variable of that name, which counts where there is no terminal.
#[must_use]
pub fn width(columns: Option<&str>) -> usize {
    let given = || columns.and_then(|columns| columns.trim().parse().ok()).filter(|columns| *columns > 0);
    terminal_size_of(io::stdout()).map(|(Width(columns), _)| columns.into()).or_else(given).unwrap_or(COLUMNS)
}

/// Errors.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Warnings.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Hints, and whatever else is good to know.
pub const HINT: Style = AnsiColor::Cyan.on_default().bold();
/// Titles.
pub const TITLE: Style = Style::new().bold();

/// Whether a stream gets colours: a terminal does, unless it is a dumb one or [`NO_COLOR`](https://no-color.org) is set, and whatever
/// there is does with [`CLICOLOR_FORCE`](https://bixense.com/clicolors/).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Colours(bool);

impl Colours {
    /// Those of standard output.
    #[must_use]
    pub fn of_output() -> Self {
        Self(AutoStream::choice(&io::stdout()) != ColorChoice::Never)
    }

    /// Those of standard error.
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

/// Bars on standard error; `None` where that is no terminal, or one that can't take a line back.
#[must_use]
pub fn bars(term: Option<&str>) -> Option<MultiProgress> {
    let is_able = io::stderr().is_terminal() && term != Some("dumb");
    is_able.then(|| {
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(StandardError::default()), HERTZ);
        MultiProgress::with_draw_target(target)
    })
}

/// Standard error, for the library that draws the bars. Nothing fails: a terminal that was closed is no reason to stop publishing, and the
/// library would panic.
#[derive(Debug, Default)]
struct StandardError {
    /// What the next `flush` writes, all at once, so that nothing flickers.
    drawn: Mutex<String>,
}

impl StandardError {
    fn draw(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
        Ok(())
    }

    /// Moves the cursor, with the last letter of the [escape sequence](https://www.ecma-international.org/publications-and-standards/standards/ecma-48/).
    fn go(&self, steps: usize, letter: char) -> io::Result<()> {
        // 0 would count as 1.
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
