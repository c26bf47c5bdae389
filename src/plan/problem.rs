//! Problems of the input: all of them in one error, each with its place and a hint.

use std::fmt;

use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input};
use crate::quote::{with_short_quotes, without_error_numbers};
use crate::troubleshooting::Topic;

/// A place in the input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// An input of the action. It is also the command-line option with the same name.
    Input(&'static str),
    /// A line and a column (both counted from 1) of a text.
    Line {
        /// The text, which is an input or a file.
        of: Text,
        /// The line.
        line: u64,
        /// The column.
        column: u64,
    },
    /// The event that started the workflow.
    Event(String),
}

/// A part of the input that consists of lines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Text {
    /// The text of an input.
    Input(&'static str),
    /// A file, by its path in the workspace.
    File(String),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Input(name) => name,
            Self::File(path) => path,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(name) => f.write_str(&Input(name).in_full()),
            Self::Line { of, line, column } => write!(f, "{of}:{line}:{column}"),
            Self::Event(name) => write!(f, "event `{name}`"),
        }
    }
}

/// One problem of the input.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    place: Place,
    situation: String,
    hints: Hints,
}

impl Problem {
    /// A problem at `place`, with the hints of `situation`.
    #[must_use]
    pub fn new(place: &Place, situation: impl Hinted) -> Self {
        let hints = situation.hints().map(with_short_quotes);
        let situation = with_short_quotes(&without_error_numbers(&situation.to_string()));
        Self { place: place.clone(), situation, hints }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(self, hint: impl fmt::Display) -> Self {
        Self { hints: with_short_quotes(&hint.to_string()).into(), ..self }
    }

    /// Where the problem is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.situation)
    }
}

impl Hinted for Problem {
    fn hints(&self) -> Hints {
        self.hints.clone()
    }
}

/// The problems because of which the input can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError(Vec<Problem>);

/// Maximum number of problems shown.
const SHOWN: usize = 30;

impl PlanError {
    /// Fails with `problems`, if there are any.
    ///
    /// # Errors
    /// There is at least one problem.
    pub fn unless_none(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// The problems, in the order in which they were found.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = &self.0[..] {
            return problem.fmt(f);
        }
        write!(f, "the input has {} problems", self.0.len())?;
        for problem in self.0.iter().take(SHOWN) {
            write!(f, "\n  {}: {}", problem.place, problem.situation)?;
            // Indented, so that each hint stays with its problem.
            problem.hints.iter().try_for_each(|hint| write!(f, "\n    hint: {hint}"))?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n  … and {more} more"),
        }
    }
}

impl std::error::Error for PlanError {}

impl From<Problem> for PlanError {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Hinted for PlanError {
    /// A single problem's hints. Several problems have their hints in the message, each below its problem.
    fn hints(&self) -> Hints {
        if let [problem] = &self.0[..] { problem.hints() } else { Hints::none() }
    }
}

impl StageError for PlanError {
    fn topic(&self) -> Topic {
        match self.0.first().map(Problem::place) {
            Some(Place::Input("version" | "version-pattern" | "version-scheme") | Place::Event(_)) => Topic::Version,
            Some(Place::Input("credentials")) => Topic::Credentials,
            Some(Place::Input("matrix" | "images-from") | Place::Line { .. }) => Topic::Matrix,
            Some(Place::Input(_)) | None => Topic::Inputs,
        }
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }

    fn place(&self) -> Option<&Place> {
        self.0.first().map(Problem::place)
    }
}

/// The word of `known` that is nearest to `word`, if it is near enough to have been meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // The distance takes time and memory for the length of both words; a longer word isn't a typing error.
    let known = known.into_iter().filter(|_| word.len() <= 64);
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
