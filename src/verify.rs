//! Looks at every image and runs it, before anybody can pull it.
//!
//! Structure: the base's layers are an unchanged prefix, and the executables that the engine sees in the image are, byte
//! for byte, those of the layer that will be published. Behaviour: the engine runs the commands of the plan.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _};

use crate::api::engine::{Engine, EngineError, Runnable};
use crate::build::Built;
use crate::build::compose::Composed;
use crate::error::{Fault, Situation};
use crate::image::{Digest, Platform};
use crate::plan::Check;
use crate::resolve::Resolved;

/// How long a command of a variant may take, emulated ones included.
const LIMIT: Duration = Duration::from_secs(60);

/// Why an image must not be published.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The layers under the executables are not the base's.
    #[error("variant `{variant}` for `{platform}` does not have the layers of its base")]
    BaseChanged {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
    },
    /// An executable in the image isn't the one of the source.
    #[error("`{path}` in variant `{variant}` for `{platform}` is not the one of the source: {difference}")]
    Executable {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// Where it is in the variant.
        path: String,
        /// What differs.
        difference: String,
    },
    /// A command of the plan fails, or says something else.
    #[error(
        "`{command}` in variant `{variant}` for `{platform}` {what}\n{output}\n\
         hint: nothing was published; run it with `docker run` on the base, or change `verify` of the variant"
    )]
    Command {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// The command.
        command: String,
        /// What went wrong.
        what: String,
        /// The end of what it printed.
        output: String,
    },
    /// The engine doesn't answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Situation for VerifyError {
    fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            _ => Fault::Publication,
        }
    }
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did what the plan says.
    Passed,
    /// It could not be run here, for this reason.
    Skipped(String),
}

/// An image that may be published. Only this module makes one.
#[derive(Debug)]
pub struct VerifiedImage {
    /// The variant's name.
    pub variant: String,
    /// The image.
    pub composed: Composed,
    /// The checks of the plan and what became of them.
    pub checks: Vec<(Check, Outcome)>,
    _private: (),
}

/// Everything that may be published. Only this module makes one.
#[derive(Debug)]
pub struct Verified {
    /// The plan, pinned.
    pub resolved: Resolved,
    /// One for each variant and platform, in the order of the plan.
    pub images: Vec<VerifiedImage>,
    _private: (),
}

/// Verifies images as they come from the builder, several at once; an image leaves the engine as soon as it is verified.
///
/// # Errors
/// The first image that isn't what the plan says.
pub async fn verify(
    built: impl Stream<Item = Result<Built, Failure>>,
    engine: &Engine,
    at_once: usize,
    log: &Log,
) -> Result<Vec<VerifiedImage>, Failure> {
    built
        .map(async |built| Ok(image(built?, engine, log).await?))
        .buffered(at_once)
        .try_collect()
        .await
}
