//! What a step writes for the runner: [workflow
//! commands](https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands) and the files named
//! by `GITHUB_OUTPUT`, `GITHUB_STEP_SUMMARY` and `GITHUB_ARTIFACTS`.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::troubleshooting::Topic;

/// The longest step summary that GitHub shows, in bytes.
pub const LONGEST_SUMMARY: usize = 1024 * 1024;

/// The level of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The step fails because of it.
    Error,
    /// Somebody should look at it.
    Warning,
    /// For information only.
    Notice,
}

impl Level {
    /// The command's name, which is also the word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// `::error title=…::…`: an annotation on the run, on one line. With a file, a line and a column, GitHub shows it there
/// as well.
#[must_use]
pub fn annotation(level: Level, title: &str, at: Option<(&str, u64, u64)>, message: &str) -> String {
    let at = at.map_or_else(String::new, |(file, line, column)| {
        format!(",file={},line={line},col={column}", escape_property(file))
    });
    format!("::{} title={}{at}::{}", level.as_str(), escape_property(title), escape_data(message))
}

/// `::add-mask::…`: the runner shows `***` for `value` from now on.
#[must_use]
pub fn add_mask(value: &str) -> String {
    format!("::add-mask::{}", escape_data(value))
}

/// `::group::…`: the following lines are folded under `title`, until [`END_GROUP`].
#[must_use]
pub fn group(title: &str) -> String {
    format!("::group::{}", escape_data(title))
}

/// Ends a group.
pub const END_GROUP: &str = "::endgroup::";

/// Escapes the data of a command, in the way that the
/// [runner](https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs) reverses.
fn escape_data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes a property of a command.
fn escape_property(text: &str) -> String {
    escape_data(text).replace(':', "%3A").replace(',', "%2C")
}

/// `line`, changed so that the runner doesn't take it for a command, whoever wrote it: `::…` at its start, `##[…`
/// anywhere.
#[must_use]
pub fn not_a_command(line: &str) -> String {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    let text = match text.strip_prefix("::") {
        Some(rest) => format!(": :{rest}"),
        None => text.to_owned(),
    };
    format!("{indent}{}", text.replace("##[", "## ["))
}

/// A file of the runner that can't be written.
#[derive(Debug, thiserror::Error)]
#[error("`{}` can't be written", path.display())]
pub struct NotWritten {
    /// The variable that names it.
    pub variable: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub cause: io::Error,
}

impl Hinted for NotWritten {
    fn hints(&self) -> Hints {
        format!("the runner names it in `{}`; is it mounted into the action's container?", self.variable).into()
    }
}

impl StageError for NotWritten {
    fn topic(&self) -> Topic {
        Topic::Runner
    }

    fn fault(&self) -> Fault {
        Fault::Publication
    }
}

/// The runner's files. Nothing is written to a file without a path, as at a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// The file in `GITHUB_OUTPUT`.
    pub output: Option<PathBuf>,
    /// The file in `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
    /// The file in `GITHUB_ARTIFACTS`.
    pub artifacts: Option<PathBuf>,
}

impl Files {
    /// The files that the environment names. An empty variable names none.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let path = |name| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        Self {
            output: path("GITHUB_OUTPUT"),
            summary: path("GITHUB_STEP_SUMMARY"),
            artifacts: path("GITHUB_ARTIFACTS"),
        }
    }

    /// Sets the step's outputs in a single write.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set_outputs(&self, outputs: &[(&str, String)]) -> Result<(), NotWritten> {
        let Some(path) = &self.output else { return Ok(()) };
        let text: String = outputs.iter().map(|(name, value)| assignment(name, value, fastrand::u128(..))).collect();
        append(path, &text).map_err(|cause| NotWritten { variable: "GITHUB_OUTPUT", path: path.clone(), cause })
    }

    /// Declares artifacts, one per line.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn declare_artifacts(&self, lines: &str) -> Result<(), NotWritten> {
        let Some(path) = &self.artifacts else { return Ok(()) };
        append(path, lines).map_err(|cause| NotWritten { variable: "GITHUB_ARTIFACTS", path: path.clone(), cause })
    }

    /// Adds to the job's summary. A text that is too long for GitHub is cut at the end of a line, with a note.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn append_summary(&self, markdown: &str) -> Result<(), NotWritten> {
        let Some(path) = &self.summary else { return Ok(()) };
        let there = std::fs::metadata(path).map_or(0, |file| usize::try_from(file.len()).unwrap_or(usize::MAX));
        let text = shortened(markdown, LONGEST_SUMMARY.saturating_sub(there));
        append(path, &text).map_err(|cause| NotWritten { variable: "GITHUB_STEP_SUMMARY", path: path.clone(), cause })
    }
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

/// `name<<delimiter`, the value, the delimiter: the [format for multi-line
/// values](https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#multiline-strings).
///
/// The delimiter is derived from a random number, and doesn't occur in the value, so no value can end early and set
/// another output.
fn assignment(name: &str, value: &str, random: u128) -> String {
    debug_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{name:?}");
    let mut number = random;
    let delimiter = loop {
        let delimiter = format!("delimiter_{number:032x}");
        if !value.contains(&delimiter) {
            break delimiter;
        }
        number = number.wrapping_add(1);
    };
    format!("{name}<<{delimiter}\n{value}\n{delimiter}\n")
}

/// `markdown` cut to at most `limit` bytes of whole lines, with everything closed that was open at the cut.
fn shortened(markdown: &str, limit: usize) -> String {
    const SAYS_SO: &str = "\n\nThe whole summary is longer than GitHub allows; the rest is in the output `images`.\n";
    if markdown.len() <= limit {
        return markdown.to_owned();
    }
    // Room for closing everything that is open at the cut.
    const CLOSING: usize = 256;
    let Some(mut end) = limit.checked_sub(SAYS_SO.len() + CLOSING) else { return String::new() };
    while !markdown.is_char_boundary(end) {
        end -= 1;
    }
    let kept = &markdown[..markdown[..end].rfind('\n').map_or(0, |newline| newline + 1)];
    let fences = kept.lines().filter(|line| line.starts_with("```")).count();
    let open = kept.matches("<details>").count().saturating_sub(kept.matches("</details>").count());
    let mut text = kept.to_owned();
    if fences % 2 == 1 {
        text.push_str("```\n");
    }
    text.push_str(&"\n</details>\n".repeat(open.min(16)));
    text + SAYS_SO
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses `GITHUB_OUTPUT` like the runner's `FileCommandManager`.
    fn read_outputs(text: &str) -> Vec<(String, String)> {
        let mut lines = text.split('\n');
        let mut outputs = Vec::new();
        while let Some(line) = lines.next().filter(|line| !line.is_empty()) {
            let (name, delimiter) = line.split_once("<<").expect("only this form is written");
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            outputs.push((name.to_owned(), value.join("\n")));
        }
        outputs
    }

    #[test]
    fn commands_are_escaped() {
        assert_eq!(
            annotation(Level::Error, "a: b, 100%", None, "one\r\ntwo: 50%, done"),
            "::error title=a%3A b%2C 100%25::one%0D%0Atwo: 50%25, done"
        );
        assert_eq!(
            annotation(Level::Warning, "a", Some(("b,c:d.yml", 3, 5)), "odd"),
            "::warning title=a,file=b%2Cc%3Ad.yml,line=3,col=5::odd"
        );
        assert_eq!(add_mask("a\nb%"), "::add-mask::a%0Ab%25");
        assert_eq!(group("Build: x"), "::group::Build: x");
    }

    #[test]
    fn foreign_output_is_never_a_command() {
        for (line, harmless) in [
            ("::set-env name=PATH::x", ": :set-env name=PATH::x"),
            (" \t::stop-commands::x", " \t: :stop-commands::x"),
            ("see ##[error]no", "see ## [error]no"),
            ("##[##[group]", "## [## [group]"),
            ("std::fmt::Debug", "std::fmt::Debug"),
            ("", ""),
        ] {
            assert_eq!(not_a_command(line), harmless);
        }
    }

    #[test]
    fn outputs_round_trip() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { output: Some(folder.path().join("output")), ..Files::default() };
        let outputs = [
            ("status", "published".to_owned()),
            ("empty", String::new()),
            ("tags", "a:1\na:2\n\nb".to_owned()),
            ("evil", "x\nEOF\ndelimiter_0\nstatus<<E\nunchanged\nE\nk=v".to_owned()),
        ];
        files.set_outputs(&outputs[..1]).unwrap();
        files.set_outputs(&outputs[1..]).unwrap();
        let text = std::fs::read_to_string(folder.path().join("output")).unwrap();
        let read: Vec<_> = outputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(read_outputs(&text), read);
    }

    #[test]
    fn a_value_that_guesses_its_delimiter_gets_another() {
        let guess = format!("delimiter_{:032x}", u128::MAX);
        let text = assignment("images", &format!("x\n{guess}\nstatus=forged"), u128::MAX);
        assert_eq!(read_outputs(&text), [("images".to_owned(), format!("x\n{guess}\nstatus=forged"))]);
    }

    #[test]
    fn a_long_summary_is_cut_at_a_line_and_closed() {
        let line = "| ünï | 0123456789 |\n";
        let long = format!("# Title\n\n<details>\n\n```text\n{}```\n</details>\n", line.repeat(1_000));
        let cut = shortened(&long, 4_000);
        assert!(cut.len() <= 4_000, "{}", cut.len());
        assert!(cut.starts_with("# Title\n"));
        assert!(cut.contains("|\n```\n\n</details>\n") && cut.contains("longer than GitHub allows"), "{cut}");
        assert_eq!(shortened(&long, long.len()), long);
        assert_eq!(shortened(&long, 10), "");
    }

    #[test]
    fn summaries_share_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("summary");
        let files = Files { summary: Some(path.clone()), ..Files::default() };
        for _ in 0..3 {
            files.append_summary(&"0123456789\n".repeat(50_000)).unwrap();
        }
        assert!(std::fs::metadata(path).unwrap().len() <= LONGEST_SUMMARY as u64);
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_its_variable() {
        let files =
            Files::of(|name| Some(if name == "GITHUB_OUTPUT" { "/nowhere/output".into() } else { String::new() }));
        assert_eq!(files.summary, None);
        let error = files.set_outputs(&[("status", "published".into())]).unwrap_err();
        assert_eq!(error.to_string(), "`/nowhere/output` can't be written");
        assert!(error.hints().iter().all(|hint| hint.contains("GITHUB_OUTPUT")) && !error.hints().is_empty());
    }
}
