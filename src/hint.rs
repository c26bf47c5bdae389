//! Hints: what the user can do about an error. They are kept apart from its message, and never parsed out of it, since
//! a message may quote other programs.

use std::fmt;
use std::sync::OnceLock;

/// What can be done about an error: nothing, one thing or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints(Vec<String>);

impl Hints {
    /// There is nothing that we could suggest.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The hints, each once, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are no hints.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hints, each changed by `change`.
    #[must_use]
    pub fn map(&self, change: impl FnMut(&str) -> String) -> Self {
        Self(self.iter().map(change).collect())
    }

    /// `situation`, with the hints on lines below it.
    #[must_use]
    pub fn below(&self, situation: &str) -> String {
        self.iter().fold(situation.to_owned(), |text, hint| format!("{text}\nhint: {hint}"))
    }
}

impl From<&str> for Hints {
    fn from(hint: &str) -> Self {
        Self(vec![hint.to_owned()])
    }
}

impl From<String> for Hints {
    fn from(hint: String) -> Self {
        Self(vec![hint])
    }
}

impl FromIterator<Self> for Hints {
    fn from_iter<I: IntoIterator<Item = Self>>(hints: I) -> Self {
        let mut all = Vec::new();
        for hint in hints.into_iter().flat_map(|hints| hints.0) {
            if !all.contains(&hint) {
                all.push(hint);
            }
        }
        Self(all)
    }
}

/// Something that is wrong, with hints. `Display` is the situation alone.
pub trait Hinted: fmt::Display {
    /// What can be done about it, and about its causes.
    fn hints(&self) -> Hints;

    /// The situation, and each hint on a line of its own.
    fn with_hints(&self) -> String {
        self.hints().below(&format!("{self}"))
    }
}

impl<T: Hinted + ?Sized> Hinted for &T {
    fn hints(&self) -> Hints {
        (**self).hints()
    }
}

impl<T: Hinted + ?Sized> Hinted for Box<T> {
    fn hints(&self) -> Hints {
        (**self).hints()
    }
}

/// A plain text is a situation without hints.
impl Hinted for str {
    fn hints(&self) -> Hints {
        Hints::none()
    }
}

/// A plain text is a situation without hints.
impl Hinted for String {
    fn hints(&self) -> Hints {
        Hints::none()
    }
}

/// What is wrong with a text of the input. Whoever knows its place adds that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    situation: String,
    hints: Hints,
}

impl Flaw {
    /// A flaw with a hint, or without one if `hint` is [`Hints::none`].
    pub fn new(situation: impl Into<String>, hint: impl Into<Hints>) -> Self {
        Self { situation: situation.into(), hints: hint.into() }
    }

    /// The message of `error`, with its hints.
    pub fn of(error: &impl Hinted) -> Self {
        Self { situation: error.to_string(), hints: error.hints() }
    }
}

impl From<String> for Flaw {
    fn from(situation: String) -> Self {
        Self::new(situation, Hints::none())
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.situation)
    }
}

impl Hinted for Flaw {
    fn hints(&self) -> Hints {
        self.hints.clone()
    }
}

/// The hint for a full disk.
pub const FREE_DISK: &str = "free some disk space, or point `TMPDIR` to a folder that has more";
/// The hint for an error that only a bug can cause.
pub const REPORT_THIS: &str = "please report this; nothing was published";

/// The hint for a file of the input that can't be read: what its path is relative to, and in a job also `question`,
/// which is about the earlier steps.
#[must_use]
pub fn of_path(question: &str) -> Hints {
    match Reader::of_process() {
        Reader::Job => format!("the path is relative to the workspace; {question}").into(),
        Reader::Terminal => "the path is relative to the folder that the command is run in".into(),
    }
}

/// The hint for a matrix file that can't be read.
#[must_use]
pub fn of_matrix() -> Hints {
    match Reader::of_process() {
        Reader::Job => of_path("does an earlier step run `actions/checkout`?"),
        Reader::Terminal => "give the path of a YAML file, or `-f -` to read it from standard input".into(),
    }
}

/// The question for [`of_path`] about a file that a step of the job has to provide.
pub const MADE_BEFORE: &str = "does an earlier step make or download it?";

/// An input by its name, as the reader of the message would write it: `` `credentials` `` in a job, `` `--credentials` ``
/// at a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Input(pub &'static str);

/// Where messages are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// In the log of a job, whose workflow sets inputs.
    Job,
    /// At a terminal, or wherever else the command line was written.
    Terminal,
}

/// Where the messages of this process are read. It is set once, before the first message.
static READER: OnceLock<Reader> = OnceLock::new();

impl Reader {
    /// Words all messages of this process for this reader. By default, that is a job.
    pub fn settle(self) {
        let _ = READER.set(self);
    }

    fn of_process() -> Self {
        READER.get().copied().unwrap_or(Self::Job)
    }

    /// The name of `input`, as this reader writes it.
    fn name(self, input: &str) -> String {
        match self {
            Self::Job => input.to_owned(),
            Self::Terminal => format!("--{input}"),
        }
    }
}

impl Input {
    /// With a value: `` `builder: engine` `` or `` `--builder engine` ``.
    #[must_use]
    pub fn set_to(self, value: &str) -> String {
        let Self(name) = self;
        match Reader::of_process() {
            Reader::Job => format!("`{name}: {value}`"),
            Reader::Terminal => format!("`--{name} {value}`"),
        }
    }

    /// With the word “input” unless the hyphens of an option say enough: `` input `credentials` `` or
    /// `` `--credentials` ``.
    #[must_use]
    pub fn in_full(self) -> String {
        match Reader::of_process() {
            Reader::Job => format!("input {self}"),
            Reader::Terminal => self.to_string(),
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", Reader::of_process().name(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hints_are_given_once_each() {
        let hints: Hints = ["wait".into(), Hints::none(), "look".into(), "wait".into()].into_iter().collect();
        assert_eq!(hints.below("it is down"), "it is down\nhint: wait\nhint: look");
    }

    #[test]
    fn an_input_is_an_option_at_a_terminal() {
        // The reader isn't set in this process, so it is a job.
        assert_eq!(Input("credentials").to_string(), "`credentials`");
        assert_eq!(Input("builder").set_to("engine"), "`builder: engine`");
        assert_eq!(Input("images").in_full(), "input `images`");
        assert_eq!(Reader::Terminal.name("credentials"), "--credentials");
    }
}
