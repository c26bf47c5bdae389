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
        match self.fault {
            Fault::Publication => 1,
            Fault::Input => 2,
        }
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

/// The situation, then each cause, then each hint, on lines of their own.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages: Vec<String> = self.error.chain().map(message).collect();
        let (mut situations, mut hints) = (Vec::<String>::new(), Vec::<String>::new());
        for message in &messages {
            let (hint, situation): (Vec<&str>, Vec<&str>) =
                message.lines().partition(|line| line.starts_with("hint: "));
            let situation = situation.join("\n");
            // Some libraries repeat their cause in their own message.
            if !situations.iter().any(|said| said.contains(&situation)) {
                situations.push(situation);
            }
            hints.extend(hint.into_iter().map(str::to_owned));
        }
        hints.dedup();
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
    fn what_the_json_parser_repeats_is_shortened() {
        let json = serde_json::from_str::<u8>(&format!("{:?}", "x".repeat(1_000))).unwrap_err();
        let failure =
            Failure { fault: Fault::Input, place: None, error: anyhow::Error::new(json).context("it is no manifest") };
        let said = failure.to_string();
        assert!(said.starts_with("it is no manifest\n  cause: ") && said.len() < 120 && said.ends_with('…'), "{said}");
    }
}
