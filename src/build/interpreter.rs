//! The interpreters of dynamically linked executables: an executable doesn't start if its interpreter isn't in the
//! base.

use crate::compose::recipe::Recipe;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::image::Platform;
use crate::troubleshooting::Topic;

/// A base without the interpreter of an executable.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{executable}` of variant `{variant}` for `{platform}` is linked dynamically and needs `{interpreter}`, which base `{base}` doesn't have"
)]
pub struct MissingInterpreter {
    /// The variant.
    pub variant: String,
    /// Its platform.
    pub platform: Platform,
    /// Where the executable goes.
    pub executable: String,
    /// What it needs.
    pub interpreter: String,
    /// The base.
    pub base: String,
}

impl Hinted for MissingInterpreter {
    fn hints(&self) -> Hints {
        "a static executable runs on every base: build it for a musl target, or with `CGO_ENABLED=0`; or give the variant the `source` that was \
         built for its base".into()
    }
}

impl StageError for MissingInterpreter {
    fn topic(&self) -> Topic {
        Topic::Executables
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// The executables of `recipe` and their interpreters, except for interpreters among the variant's own files.
pub(super) fn needed(recipe: &Recipe) -> impl Iterator<Item = (&str, &str)> {
    let brought = |interpreter: &str| recipe.binaries.iter().any(|binary| binary.to() == interpreter);
    let needed =
        recipe.interpreters.iter().map(|(executable, interpreter)| (executable.as_str(), interpreter.as_str()));
    needed.filter(move |(_, interpreter)| !brought(interpreter))
}

/// The error about one of [`needed`].
pub(super) fn missing(recipe: &Recipe, executable: &str, interpreter: &str) -> MissingInterpreter {
    MissingInterpreter {
        variant: recipe.variant.clone(),
        platform: recipe.platform.clone(),
        executable: executable.to_owned(),
        interpreter: interpreter.to_owned(),
        base: recipe.base.image().map_or_else(|| "scratch".to_owned(), |base| base.reference.to_string()),
    }
}

/// Refuses executables that need an interpreter on `scratch`, which has none.
///
/// # Errors
/// An executable needs an interpreter.
pub(super) fn refuse_on_scratch(recipe: &Recipe) -> Result<(), MissingInterpreter> {
    match needed(recipe).next().filter(|_| recipe.base.image().is_none()) {
        Some((executable, interpreter)) => Err(missing(recipe, executable, interpreter)),
        None => Ok(()),
    }
}
