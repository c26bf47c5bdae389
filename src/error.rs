//! How a run fails: with a situation, its causes, hints, and an exit code that says whose fault it was.
//!
//! Every stage has one error enum. Its `Display` is the situation, its `source()` the cause, and its `hints()` say what
//! the user can do about it.

use std::error::Error;
use std::fmt;

pub use crate::hint::{Hinted, Hints};
use crate::plan::Place;
use crate::quote::{quoted, without_error_numbers};
use crate::troubleshooting::Topic;

/// Whose fault a failure is; it decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input can't be used. Nothing was written, and a rerun fails in the same way. Exit code 2.
    Input,
    /// The input was fine, but publishing failed. Another run finishes the work. Exit code 1.
    Publication,
}

impl Fault {
    /// Both faults, in the order of their exit codes.
    pub const ALL: [Self; 2] = [Self::Publication, Self::Input];

    /// The exit code of the process.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Publication => 1,
            Self::Input => 2,
        }
    }

    /// What the exit code means, for the reference.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Publication => {
                "the run failed or was stopped; its last lines say what was published. If the cause was temporary, run it again: it adds what is missing"
            }
            Self::Input => {
                "the input can't be used (inputs, event, matrix, a base that doesn't exist, no engine); nothing was published"
            }
        }
    }
}

/// An error that a run may end with.
pub trait StageError: Error + Hinted + Send + Sync + 'static {
    /// Whose fault it is.
    fn fault(&self) -> Fault;

    /// The section of the troubleshooting page about it; of several, the first one's.
    fn topic(&self) -> Topic;

    /// The place in the input that the error is about, if any; the first of several.
    fn place(&self) -> Option<&Place> {
        None
    }
}

/// A stage's error, ready to be shown to the user.
#[derive(Clone, Debug)]
pub struct Failure {
    fault: Fault,
    place: Option<Place>,
    topic: Topic,
    /// The situation, then each cause.
    situations: Vec<String>,
    hints: Hints,
}

impl<E: StageError> From<E> for Failure {
    fn from(error: E) -> Self {
        let (situations, hints) = (situations(&error), error.hints());
        Self { fault: error.fault(), place: error.place().cloned(), topic: error.topic(), situations, hints }
    }
}

impl Failure {
    /// This failure as the cause of `situation`, after something was published: from then on, it isn't the input's
    /// fault.
    #[must_use]
    pub fn after_publishing(mut self, situation: &str) -> Self {
        self.situations.insert(0, situation.to_owned());
        Self { fault: Fault::Publication, ..self }
    }

    /// This failure with all texts changed by `change`.
    #[must_use]
    pub fn map(&self, change: impl Fn(&str) -> String) -> Self {
        let situations = self.situations.iter().map(|text| change(text)).collect();
        Self { situations, hints: self.hints.map(change), ..self.clone() }
    }

    /// The situation and its causes, on lines of their own, without the hints.
    #[must_use]
    pub fn situation(&self) -> String {
        self.situations.join("\n  cause: ")
    }

    /// What can be done about it.
    #[must_use]
    pub fn hints(&self) -> &Hints {
        &self.hints
    }

    /// The section of the troubleshooting page about it.
    #[must_use]
    pub fn topic(&self) -> Topic {
        self.topic
    }

    /// The place in the input that an annotation points at.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.fault.exit_code()
    }
}

/// The first line of an error.
pub(crate) fn first_line(error: &dyn Error) -> String {
    without_error_numbers(error.to_string().lines().next().unwrap_or_default())
}

/// The message of an error. The JSON parser quotes unexpected values at full length, so its messages are cut.
fn message(error: &(dyn Error + 'static)) -> String {
    let message = error.to_string();
    if error.is::<serde_json::Error>() { quoted(&message) } else { without_error_numbers(&message) }
}

/// A chain of errors in two parts: the situation with its causes, and the hints.
fn situations(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut situations = Vec::<String>::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = message(error);
        // Some libraries repeat their cause in their own message.
        if !situations.iter().any(|said| said.contains(&message)) {
            situations.push(message);
        }
        next = error.source();
    }
    situations
}

/// Several errors as one message: each situation with its causes, grouped by equal causes, then every hint once.
pub(crate) fn together<'a>(errors: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut groups = Vec::<(Vec<String>, Vec<String>)>::new();
    for error in errors {
        let mut situations = situations(error);
        let causes = situations.split_off(1);
        match groups.iter_mut().find(|(_, others)| !causes.is_empty() && *others == causes) {
            Some((heads, _)) => heads.append(&mut situations),
            None => groups.push((situations, causes)),
        }
    }
    let causes =
        |causes: Vec<String>| causes.into_iter().map(|cause| format!("\n  cause: {cause}")).collect::<String>();
    let groups = groups.into_iter().map(|(heads, of_heads)| format!("{}{}", heads.join("\n"), causes(of_heads)));
    groups.collect::<Vec<_>>().join("\n")
}

/// The situation, the causes and the hints, each on a line of its own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hints.below(&self.situation()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Stage {
        #[error("base `debian` has no manifest")]
        Missing(#[source] std::io::Error),
        #[error("it is no manifest")]
        Malformed(#[source] serde_json::Error),
    }

    impl Hinted for Stage {
        fn hints(&self) -> Hints {
            "use another".into()
        }
    }

    impl StageError for Stage {
        fn fault(&self) -> Fault {
            Fault::Input
        }

        fn topic(&self) -> Topic {
            Topic::NotFound
        }
    }

    #[test]
    fn the_hint_comes_after_the_causes() {
        let failure = Failure::from(Stage::Missing(std::io::Error::other("not found")));
        assert_eq!(failure.to_string(), "base `debian` has no manifest\n  cause: not found\nhint: use another");
        assert_eq!(failure.exit_code(), 2);
        let later = failure.after_publishing("half of it is there");
        let expected =
            "half of it is there\n  cause: base `debian` has no manifest\n  cause: not found\nhint: use another";
        assert_eq!((later.to_string().as_str(), later.exit_code()), (expected, 1));
    }

    #[test]
    fn a_hint_in_the_words_of_another_program_is_not_ours() {
        let failure = Failure::from(Stage::Missing(std::io::Error::other("fatal\nhint: git push --force\nend")));
        assert_eq!(failure.hints(), &Hints::from("use another"));
        let expected = "base `debian` has no manifest\n  cause: fatal\nhint: git push --force\nend";
        assert_eq!(failure.situation(), expected);
    }

    #[test]
    fn several_errors_keep_their_causes_and_say_nothing_twice() {
        let missing = |why| Stage::Missing(std::io::Error::other(why));
        let errors = [missing("not found"), missing("refused"), missing("not found")];
        let expected = "base `debian` has no manifest\nbase `debian` has no manifest\n  cause: not found\n\
                        base `debian` has no manifest\n  cause: refused";
        assert_eq!(together(errors.iter().map(|error| error as &(dyn Error + 'static))), expected);
    }

    #[test]
    fn what_the_json_parser_repeats_is_shortened() {
        let json = serde_json::from_str::<u8>(&format!("{:?}", "x".repeat(1_000))).unwrap_err();
        let said = situations(&Stage::Malformed(json)).join("\n");
        assert!(said.len() < 150 && said.ends_with('…'), "{said}");
    }
}
