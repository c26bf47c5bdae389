//! Splits command lines into words as a shell would, without anything that needs a shell.

use std::iter::Peekable;
use std::str::CharIndices;

/// Why a text isn't a single command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NoCommand {
    /// A quote isn't closed, or a backslash is the last character.
    Open,
    /// This many of its lines would each be a command.
    Several(usize),
    /// It is a shell's compound command on several lines, one of which begins with this word.
    Compound(String),
    /// The name of the program is empty: `'' --version`.
    Nameless,
}

impl NoCommand {
    /// What is wrong with `text`, and the hint.
    pub(super) fn explain(&self, text: &str) -> (String, String) {
        let first = text.trim().lines().next().unwrap_or_default();
        match self {
            Self::Open => (
                format!("`{first}` is not a command"),
                "is there a quote without its counterpart, or a backslash at the end?".to_owned(),
            ),
            Self::Several(count) => (
                format!("expected one command, found {count} lines"),
                "write a list: an item for each word of one command, or in `verify` one for each command".to_owned(),
            ),
            Self::Compound(word) => (
                format!("`{word}` belongs to a command that has several lines"),
                "write it on one line with `;`, or in quotes after `sh -c`".to_owned(),
            ),
            Self::Nameless => (format!("`{first}` begins with an empty word"), "name the program to run".to_owned()),
        }
    }
}

/// The words that begin or continue a compound command of a shell.
const COMPOUND: [&str; 14] =
    ["if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "{", "}"];

/// The commands in `text`, one per line. A line continues on the next one if a quote is open, and after `\`, `|`, `&&`
/// and `||`. Blank lines and comments are ignored.
///
/// # Errors
/// A line isn't a command.
pub(super) fn commands(text: &str) -> Result<Vec<Vec<String>>, NoCommand> {
    let mut lines = Lines { text, characters: text.char_indices().peekable() };
    let mut commands = Vec::new();
    while let Some(line) = lines.next()? {
        commands.extend(line);
    }
    let compound = commands.iter().find_map(|command| {
        // A command for a shell is still a single text.
        let line = if command.needs_shell { &command.text } else { command.words.first()? };
        COMPOUND.into_iter().find(|word| line.split([' ', '\t', ';']).next() == Some(*word))
    });
    match compound {
        Some(word) if commands.len() > 1 => Err(NoCommand::Compound(word.to_owned())),
        _ => commands.into_iter().map(Line::command).collect(),
    }
}

/// The one command in `text`; no words if it is blank.
///
/// # Errors
/// It isn't a command, or there are several.
pub(super) fn command(text: &str) -> Result<Vec<String>, NoCommand> {
    let mut commands = commands(text)?;
    match commands.len() {
        0 | 1 => Ok(commands.pop().unwrap_or_default()),
        several => Err(NoCommand::Several(several)),
    }
}

/// A line, parsed.
struct Line {
    words: Vec<String>,
    /// The line as it is written.
    text: String,
    /// Whether it contains something that only a shell can do.
    needs_shell: bool,
}

impl Line {
    fn command(self) -> Result<Vec<String>, NoCommand> {
        match self.words.first().map(String::as_str) {
            _ if self.needs_shell => Ok(["sh", "-c", &self.text].map(str::to_owned).to_vec()),
            Some("!") => Ok(["sh", "-c", &self.text].map(str::to_owned).to_vec()),
            Some("") => Err(NoCommand::Nameless),
            _ => Ok(self.words),
        }
    }
}

struct Lines<'a> {
    text: &'a str,
    characters: Peekable<CharIndices<'a>>,
}

impl Lines<'_> {
    /// The next line; `Some(None)` for a line without words, `None` at the end.
    fn next(&mut self) -> Result<Option<Option<Line>>, NoCommand> {
        let Some((start, _)) = self.characters.peek().copied() else { return Ok(None) };
        let (mut words, mut word, mut needs_shell) = (Vec::new(), None::<String>, false);
        // The last non-blank character of the line, and the character right before it.
        let (mut last, mut before_last) = (' ', ' ');
        let mut end = self.text.len();
        while let Some((at, character)) = self.characters.next() {
            let goes_on = last == '|' || (last == '&' && before_last == '&');
            match character {
                '\n' if !goes_on => {
                    end = at;
                    break;
                }
                c if c.is_whitespace() => {
                    words.extend(word.take());
                    continue;
                }
                '#' if word.is_none() => {
                    while self.characters.next_if(|(_, c)| *c != '\n').is_some() {}
                    // A shell ignores the comment as well.
                    continue;
                }
                '\'' => self.single_quoted(word.get_or_insert_default())?,
                '"' => needs_shell |= self.double_quoted(word.get_or_insert_default())?,
                '\\' => match self.escaped()? {
                    Some(c) => word.get_or_insert_default().push(c),
                    None => continue,
                },
                c => {
                    let word = word.get_or_insert_default();
                    needs_shell |= matches!(c, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '$' | '`' | '*' | '?' | '~');
                    needs_shell |= c == '=' && words.is_empty() && is_name(word);
                    word.push(c);
                }
            }
            (before_last, last) = (last, character);
        }
        words.extend(word);
        let line = (!words.is_empty()).then(|| {
            let lines: Vec<&str> = self.text[start..end].lines().collect();
            Line { words, text: lines.join("\n").trim().to_owned(), needs_shell }
        });
        Ok(Some(line))
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<(), NoCommand> {
        loop {
            match self.characters.next().ok_or(NoCommand::Open)? {
                (_, '\'') => return Ok(()),
                (_, c) => word.push(c),
            }
        }
    }

    /// Whether it contains something that only a shell can expand.
    fn double_quoted(&mut self, word: &mut String) -> Result<bool, NoCommand> {
        let mut needs_shell = false;
        loop {
            match self.characters.next().ok_or(NoCommand::Open)?.1 {
                '"' => return Ok(needs_shell),
                '\\' => {
                    if let Some(c) = self.escaped()? {
                        if !matches!(c, '"' | '\\' | '$' | '`') {
                            word.push('\\');
                        }
                        word.push(c);
                    }
                }
                c => {
                    needs_shell |= matches!(c, '$' | '`');
                    word.push(c);
                }
            }
        }
    }

    /// The character after a backslash; `None` for a line end, which is removed.
    fn escaped(&mut self) -> Result<Option<char>, NoCommand> {
        match self.characters.next().ok_or(NoCommand::Open)?.1 {
            '\n' => Ok(None),
            '\r' if self.characters.next_if(|(_, c)| *c == '\n').is_some() => Ok(None),
            c => Ok(Some(c)),
        }
    }
}

/// Whether a shell would parse `word=` at the beginning of a command as an assignment.
fn is_name(word: &str) -> bool {
    !word.is_empty()
        && !word.starts_with(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn lines_are_split_as_a_shell_would() {
        for (line, expected) in [
            ("python --version", &["python", "--version"][..]),
            ("  a  'b c' \"d \\\" e\"f g\\ h '' ", &["a", "b c", "d \" ef", "g h", ""]),
            ("uv --version | grep 1", &["sh", "-c", "uv --version | grep 1"]),
            ("echo \"$HOME\"", &["sh", "-c", "echo \"$HOME\""]),
            ("echo '$HOME'", &["echo", "$HOME"]),
            ("printf \"a\\nb\\$\"", &["printf", "a\\nb$"]),
            ("A=1 uv", &["sh", "-c", "A=1 uv"]),
            ("uv --a=1", &["uv", "--a=1"]),
            ("! uv bad", &["sh", "-c", "! uv bad"]),
            ("uv --version # as always", &["uv", "--version"]),
            ("uv a#b '#'", &["uv", "a#b", "#"]),
            ("python -c 'a\nb'", &["python", "-c", "a\nb"]),
            ("uv \\\n  --version \\\r\n x\n", &["uv", "--version", "x"]),
            ("uv a |\n  grep b &&\n  true", &["sh", "-c", "uv a |\n  grep b &&\n  true"]),
            ("# one\n\n  uv\r\n", &["uv"]),
            ("  ", &[]),
        ] {
            assert_eq!(command(line), Ok(owned(expected)), "{line}");
        }
        for (line, expected) in [
            ("'open", NoCommand::Open),
            ("\"open", NoCommand::Open),
            ("end\\", NoCommand::Open),
            ("'' x", NoCommand::Nameless),
            ("a\nb", NoCommand::Several(2)),
        ] {
            assert_eq!(command(line), Err(expected), "{line}");
        }
    }

    #[test]
    fn several_lines_are_several_commands() {
        let text = "uv --version\n# next\r\n\r\nuv 'self\ncheck'\nuv a | cat &&\n  true\nsleep 1 &\n";
        let expected = [
            &["uv", "--version"][..],
            &["uv", "self\ncheck"],
            &["sh", "-c", "uv a | cat &&\n  true"],
            &["sh", "-c", "sleep 1 &"],
        ];
        assert_eq!(commands(text).unwrap(), expected.map(owned));
    }

    #[test]
    fn a_loop_over_several_lines_is_refused_and_one_on_a_line_is_not() {
        assert_eq!(commands("for a in b; do\n  uv $a\ndone"), Err(NoCommand::Compound("for".to_owned())));
        let line = "for a in b; do uv $a; done";
        assert_eq!(commands(line).unwrap(), [owned(&["sh", "-c", line])]);
    }
}
