//! How a run fails: a situation, its cause, a hint and whose fault it was.
//!
//! Every stage has one error enum. Its `Display` is the situation, and where something can be done
//! about it a second line that starts with `hint: `; the cause is in `source()`.

use std::error::Error;
use std::fmt;

use crate::plan::Place;
use crate::quote::quoted;

/// Whose fault a failure is; it decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The input can't be used. Nothing was touched; a rerun fails the same way. Exit code 2.
    Input,
    /// The input was fine and the publication failed. A rerun picks up what is missing. Exit code 1.
    Publication,
}

impl Fault {
    /// Both.
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
                "the publication failed or was stopped, as every failure after the first write; run it again, it picks up what is missing"
            }
            Self::Input => {
                "the input can't be used (inputs, event, matrix, a base that doesn't exist, no engine); nothing was published"
            }
        }
    }
}

/// An error of one of the stages.
pub trait Situation: Error + Send + Sync + 'static {
    /// Whose fault it is.
    fn fault(&self) -> Fault;

    /// Where in the input it stands, if it is about a place there; of several, the first.
    fn place(&self) -> Option<&Place> {
        None
    }
}

/// A stage's error on its way to the user.
#[derive(Debug)]
pub struct Failure {
    fault: Fault,
    place: Option<Place>,
    error: anyhow::Error,
}

impl<S: Situation> From<S> for Failure {
    fn from(situation: S) -> Self {
        Self { fault: situation.fault(), place: situation.place().cloned(), error: situation.into() }
    }
}

impl Failure {
    /// The same as the cause of `situation`, which came about after something was published: not the input's fault any more.
    #[must_use]
    pub fn after_publishing(self, situation: &'static str) -> Self {
        Self { fault: Fault::Publication, place: self.place, error: self.error.context(situation) }
    }

    /// Where in the input it stands, for an annotation.
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

/// The first line of an error: the situation, without its hint.
pub(crate) fn first_line(error: &dyn Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// What an error says. The JSON parser repeats what it can't read, however long that is.
fn message(error: &(dyn Error + 'static)) -> String {
    if error.is::<serde_json::Error>() { quoted(&error.to_string()) } else { error.to_string() }
}

/// What a chain of errors says: the situation and then each cause, and apart from them the hints.
fn said<'a>(chain: impl Iterator<Item = &'a (dyn Error + 'static)>) -> (Vec<String>, Vec<String>) {
    let (mut situations, mut hints) = (Vec::<String>::new(), Vec::<String>::new());
    for message in chain.map(message) {
        let (hint, situation): (Vec<&str>, Vec<&str>) = message.lines().partition(|line| line.starts_with("hint: "));
        let situation = situation.join("\n");
        // Some libraries repeat their cause in their own message.
        if !situations.iter().any(|said| said.contains(&situation)) {
            situations.push(situation);
        }
        for hint in hint {
            if !hints.iter().any(|said| said == hint) {
                hints.push(hint.to_owned());
            }
        }
    }
    (situations, hints)
}

/// Several errors as one message: each situation with its causes, those with the same causes together, then every hint once.
pub(crate) fn together<'a>(errors: impl IntoIterator<Item = &'a (dyn Error + 'static)>) -> String {
    let mut groups = Vec::<(Vec<String>, Vec<String>)>::new();
    let mut hints = Vec::<String>::new();
    for error in errors {
        let (mut situations, of_error) = said(anyhow::Chain::new(error));
        let causes = situations.split_off(1);
        match groups.iter_mut().find(|(_, others)| !causes.is_empty() && *others == causes) {
            Some((heads, _)) => heads.append(&mut situations),
            None => groups.push((situations, causes)),
        }
        hints.extend(of_error.into_iter().filter(|hint| !hints.contains(hint)).collect::<Vec<_>>());
    }
    let causes =
        |causes: Vec<String>| causes.into_iter().map(|cause| format!("\n  cause: {cause}")).collect::<String>();
    let groups = groups.into_iter().map(|(heads, of_heads)| format!("{}{}", heads.join("\n"), causes(of_heads)));
    groups.chain(hints).collect::<Vec<_>>().join("\n")
}

/// The situation, then each cause, then each hint, on lines of their own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (situations, hints) = said(self.error.chain());
        f.write_str(&situations.join("\n  cause: "))?;
        for hint in hints {
            write!(f, "\n{hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Stage {
        #[error("base `debian` has no manifest\nhint: use another")]
        Missing(#[source] std::io::Error),
    }

    impl Situation for Stage {
        fn fault(&self) -> Fault {
            Fault::Input
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
    fn several_errors_keep_their_causes_and_say_nothing_twice() {
        let missing = |why| Stage::Missing(std::io::Error::other(why));
        let errors = [missing("not found"), missing("refused"), missing("not found")];
        let expected = "base `debian` has no manifest\nbase `debian` has no manifest\n  cause: not found\n\
                        base `debian` has no manifest\n  cause: refused\nhint: use another";
        assert_eq!(together(errors.iter().map(|error| error as &(dyn Error + 'static))), expected);
    }

    #[test]
    fn what_the_json_parser_repeats_is_shortened() {
        let json = serde_json::from_str::<u8>(&format!("{:?}", "x".repeat(1_000))).unwrap_err();
        let failure =
            Failure { fault: Fault::Input, place: None, error: anyhow::Error::new(json).context("it is no manifest") };
        let said = failure.to_string();
        assert!(said.starts_with("it is no manifest\n  cause: ") && said.len() < 120 && said.ends_with('…'), "{said}");
    }
}
