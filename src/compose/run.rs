//! The text of one [`RUN`](https://docs.docker.com/reference/dockerfile/#run) instruction of a Dockerfile.

use std::fmt;
use std::str::FromStr;

use crate::hint::{Hinted, Hints};
use serde::Serialize;

/// The text after `RUN`: a line, or several lines of which all but the last end with a backslash. Comments and blank
/// lines, which BuildKit would ignore, have been removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct RunInstruction(String);

/// A text that isn't the rest of exactly one `RUN` instruction: BuildKit would find other instructions in it, or
/// continue into the ones after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRun {
    /// There is nothing but blanks and comments.
    #[error("this item of `run` has no command")]
    Empty,
    /// The instruction's own name is part of it.
    #[error("this item of `run` begins with `RUN` itself")]
    Named,
    /// A line that isn't continued, though others follow.
    #[error("this item of `run` is more than one instruction: `{0}` ends before the last line")]
    Ends(String),
    /// The last line is continued.
    #[error("the last line of this item of `run` ends with `\\`: `{0}`")]
    Continued(String),
    /// Whether this line is continued depends on the engine: up to Docker 20.10, BuildKit goes by the last backslash
    /// alone.
    #[error("`{0}` ends with two backslashes, which not all engines read alike")]
    Ambiguous(String),
    /// A here-document: its lines would be taken for lines of the Dockerfile.
    #[error("this item of `run` has a here-document, `{0}`")]
    HereDocument(String),
    /// A line that is too long for BuildKit.
    #[error("this item of `run` has a line of {0} bytes, and a Dockerfile's may have {LONGEST}")]
    TooLong(usize),
    /// Something that no line of a Dockerfile can hold.
    #[error("this item of `run` has a control character: {0:?}")]
    Control(char),
}

impl Hinted for InvalidRun {
    fn hints(&self) -> Hints {
        match self {
            Self::Empty => "write the command to run, such as `apk add git`".into(),
            Self::Named => "leave out the word `RUN`".into(),
            Self::Ends(_) => {
                "end every line but the last with `\\`, or make each instruction an item of its own".into()
            }
            Self::Continued(_) => "remove the backslash".into(),
            Self::Ambiguous(_) => "end the line with one `\\` to continue it, or with something else".into(),
            Self::HereDocument(_) => "write the text with `printf '%s\\n' …`".into(),
            Self::TooLong(_) => "continue it on the next line with `\\`".into(),
            Self::Control(_) => "remove it".into(),
        }
    }
}

/// The longest line in bytes: BuildKit reads up to 64 KiB, including the instruction's name and the line end.
const LONGEST: usize = 65_000;

impl RunInstruction {
    /// Whether it is a JSON list of a program and its arguments, which needs no shell.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.0.starts_with('[')
    }
}

impl FromStr for RunInstruction {
    type Err = InvalidRun;

    fn from_str(text: &str) -> Result<Self, InvalidRun> {
        if let Some(control) = text.replace("\r\n", "\n").chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'))
        {
            return Err(InvalidRun::Control(control));
        }
        let is_said = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
        let lines: Vec<&str> = text.trim().lines().filter(is_said).collect();
        let Some((last, others)) = lines.split_last() else { return Err(InvalidRun::Empty) };
        for line in &lines {
            if line.len() > LONGEST {
                return Err(InvalidRun::TooLong(line.len()));
            }
            if without_trailing_blanks(line).ends_with("\\\\") {
                return Err(InvalidRun::Ambiguous(line.trim().to_owned()));
            }
        }
        if lines[0].split_whitespace().next() == Some("RUN") {
            return Err(InvalidRun::Named);
        }
        if let Some(line) = others.iter().find(|line| !is_continued(line)) {
            return Err(InvalidRun::Ends(line.trim().to_owned()));
        }
        if is_continued(last) {
            return Err(InvalidRun::Continued(last.trim().to_owned()));
        }
        let instruction: String =
            lines.iter().map(|line| without_trailing_blanks(line).trim_end_matches('\\')).collect();
        if let Some(word) = here_document(&instruction) {
            return Err(InvalidRun::HereDocument(word));
        }
        // Removing comments may leave blanks at the beginning or the end.
        Ok(Self(lines.join("\n").trim().to_owned()))
    }
}

impl fmt::Display for RunInstruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A line without the blanks that may follow its backslash.
fn without_trailing_blanks(line: &str) -> &str {
    line.trim_end_matches([' ', '\t'])
}

/// Whether the instruction continues on the next line. BuildKit also looks at the character before the backslash, which
/// must not be another backslash.
fn is_continued(line: &str) -> bool {
    without_trailing_blanks(line).ends_with('\\')
}

/// The word that begins a here-document, as BuildKit recognises it: digits, `<<`, an optional `-`, and a name, all
/// outside of quotes.
fn here_document(instruction: &str) -> Option<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut characters = instruction.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (c, None) if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            ('\\', None | Some('"')) => {
                word.push(character);
                word.extend(characters.next());
            }
            (c @ ('\'' | '"'), None) => {
                quote = Some(c);
                word.push(c);
            }
            (c, open) => {
                if open == Some(c) {
                    quote = None;
                }
                word.push(c);
            }
        }
    }
    words.push(word);
    words.into_iter().find(|word| {
        let name = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<");
        let name = name.map(|name| name.strip_prefix('-').unwrap_or(name));
        name.is_some_and(|name| !name.is_empty() && !name.contains('<'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_instruction_is_accepted() {
        for (text, instruction) in [
            ("apk add git", "apk add git"),
            ("  true  \n", "true"),
            ("apk add \\\n  git\n", "apk add \\\n  git"),
            ("apk add \\ \t\r\n  git\r\n", "apk add \\ \t\n  git"),
            ("# tools\napk add \\\n  # for git\n\n  git\n# end\n", "apk add \\\n  git"),
            ("\\\n true", "\\\n true"),
            ("echo a\\b '\\'", "echo a\\b '\\'"),
            ("cat << EOF", "cat << EOF"),
            ("cat <<<word; echo $((1<<2)) '<<EOF' \"x <<EOF\"", "cat <<<word; echo $((1<<2)) '<<EOF' \"x <<EOF\""),
        ] {
            assert_eq!(
                text.parse::<RunInstruction>().map(|run| run.to_string()),
                Ok(instruction.to_owned()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_text_that_engines_would_read_differently_is_refused() {
        use InvalidRun::{Ambiguous, Continued, Control, Empty, Ends, HereDocument, Named, TooLong};
        let long = "x".repeat(70_000);
        for (text, why) in [
            ("", Empty),
            (" \n# nothing\n", Empty),
            ("RUN true", Named),
            ("true\nUSER root", Ends("true".to_owned())),
            ("true\n\nUSER root", Ends("true".to_owned())),
            ("true \\\u{a0}\nUSER root", Ends("true \\".to_owned())),
            ("true \\", Continued("true \\".to_owned())),
            ("true \\\n true\\", Continued("true\\".to_owned())),
            ("true \\\n # the end", Continued("true \\".to_owned())),
            ("echo a\\\\\nUSER root", Ambiguous("echo a\\\\".to_owned())),
            ("echo a\\\\ ", Ambiguous("echo a\\\\".to_owned())),
            ("echo \\\\\\\n true", Ambiguous("echo \\\\\\".to_owned())),
            ("cat <<EOF", HereDocument("<<EOF".to_owned())),
            ("cat 3<<-'EOF' >x", HereDocument("3<<-'EOF'".to_owned())),
            ("true\rUSER root", Control('\r')),
            ("true\u{0}", Control('\u{0}')),
            (long.as_str(), TooLong(70_000)),
        ] {
            assert_eq!(text.parse::<RunInstruction>(), Err(why), "{text:?}");
        }
    }
}
