//! Programs at a terminal: a pseudo-terminal of Python's, and the screen that its output makes.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::json;

/// Runs a program at a pseudo-terminal, copies its output, and exits with its status.
const PYTHON: &str = "
import fcntl, json, os, pty, struct, sys, termios
given = json.loads(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24, given['columns'], 0, 0))
    os.chdir(given['folder'])
    os.execvpe(given['command'][0], given['command'], given['environment'])
while True:
    try:
        written = os.read(terminal, 65536)
    except OSError:
        break
    if not written:
        break
    sys.stdout.buffer.write(written)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// The result of a program at a terminal.
#[derive(Debug)]
pub struct Done {
    /// The exit code.
    pub code: Option<i32>,
    /// Every byte that it wrote, escape sequences included.
    pub written: String,
    /// The lines on the screen and in its history at the end, as people select and copy them: a line that the terminal
    /// wrapped is one line.
    pub lines: Vec<String>,
}

/// Runs `command` at a terminal of `columns`, with the variables that are set on the command and no others.
pub fn run(command: &Command, columns: usize) -> Done {
    let text = |text: &std::ffi::OsStr| text.to_str().expect("arguments and variables are Unicode").to_owned();
    let environment: BTreeMap<String, String> =
        command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect();
    let folder = command.get_current_dir().map_or_else(std::env::temp_dir, ToOwned::to_owned);
    let words: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(text).collect();
    let given = json!({ "columns": columns, "command": words, "environment": environment, "folder": folder });
    let output = Command::new("python3").args(["-c", PYTHON, &given.to_string()]).output().expect("Python is there");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = String::from_utf8(output.stdout).expect("output is Unicode");
    Done { code: output.status.code(), lines: Screen::of(&written, columns).lines(), written }
}

/// The cells of a terminal that grows with its content.
#[derive(Debug, Default)]
struct Screen {
    /// The characters of each row, and whether the row goes on in the next one.
    rows: Vec<(Vec<char>, bool)>,
    row: usize,
    column: usize,
}

impl Screen {
    fn of(written: &str, columns: usize) -> Self {
        let mut screen = Self::default();
        let mut rest = written.chars();
        while let Some(c) = rest.next() {
            match c {
                '\r' => screen.column = 0,
                '\n' => screen.row += 1,
                '\u{1b}' => {
                    assert_eq!(rest.next(), Some('['), "an escape sequence that this screen doesn't know");
                    let mut parameter = String::new();
                    let end = rest.by_ref().find(|c| {
                        let ends = c.is_ascii_alphabetic();
                        if !ends {
                            parameter.push(*c);
                        }
                        ends
                    });
                    screen.obey(end.expect("an escape sequence ends"), &parameter);
                }
                c => screen.put(c, columns),
            }
        }
        screen
    }

    fn cells(&mut self) -> &mut (Vec<char>, bool) {
        if self.rows.len() <= self.row {
            self.rows.resize_with(self.row + 1, Default::default);
        }
        &mut self.rows[self.row]
    }

    fn put(&mut self, c: char, columns: usize) {
        if self.column == columns {
            self.cells().1 = true;
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let (cells, _) = self.cells();
        if cells.len() <= column {
            cells.resize(column + 1, ' ');
        }
        cells[column] = c;
        self.column += 1;
    }

    fn obey(&mut self, sequence: char, parameter: &str) {
        let number = parameter.parse().unwrap_or(1);
        match sequence {
            'A' => self.row = self.row.saturating_sub(number),
            'B' => self.row += number,
            'C' => self.column += number,
            'D' => self.column = self.column.saturating_sub(number),
            'K' if parameter == "2" => *self.cells() = Default::default(),
            'K' => {
                let column = self.column;
                self.cells().0.truncate(column);
            }
            // Colours, and whether the cursor is visible.
            'm' | 'h' | 'l' => {}
            other => panic!("this screen doesn't know `{other}`"),
        }
    }

    fn lines(self) -> Vec<String> {
        let mut lines = vec![String::new()];
        for (cells, goes_on) in self.rows {
            lines.last_mut().expect("there is a line").extend(cells);
            if !goes_on {
                lines.push(String::new());
            }
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_shows_what_was_written_last_and_joins_what_it_has_wrapped() {
        let lines = |written: &str| Screen::of(written, 5).lines();
        assert_eq!(lines("one\r\ntwo\r\n"), ["one", "two"]);
        assert_eq!(lines("1234567\r\nx"), ["1234567", "x"]);
        assert_eq!(lines("12345\r\nx"), ["12345", "x"]);
        assert_eq!(lines("bar\r\u{1b}[2K\u{1b}[1mtext\u{1b}[0m\r\nbar"), ["text", "bar"]);
        assert_eq!(lines("one\r\ntwo\u{1b}[1A\r\u{1b}[2Knew"), ["new", "two"]);
    }

    #[test]
    fn a_program_has_a_terminal_of_that_width() {
        let mut command = Command::new("sh");
        let done = run(command.env_clear().env("PATH", "/usr/bin:/bin").args(["-c", "stty size; exit 3"]), 80);
        assert_eq!((done.code, &done.lines[..]), (Some(3), &["24 80".to_owned()][..]));
        assert_eq!(done.written, "24 80\r\n");
    }
}
