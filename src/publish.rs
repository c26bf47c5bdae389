//! Publishing without half a release: first content by digest, then exact tags, then rolling tags.
//!
//! Nobody sees a change until the first tag moves. Running it again finishes an interrupted run. Requests are those of
//! the [distribution specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md).

mod content;
mod tags;

use std::collections::BTreeMap;
use std::error::Error;

pub use content::Blobs;
pub use tags::Published;

use crate::action::Log;
use crate::api::registry::{Registries, RegistryError};
use crate::error::{Fault, StageError, together};
use crate::hint::{Flaw, Hinted, Hints};
use crate::image::{Digest, Reference, Repository};
use crate::plan::Plan;
use crate::stages::Stages;
use crate::survey::{SurveyError, Surveyed};
use crate::troubleshooting::Topic;
use crate::verify::Verified;

/// Why a publication failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A registry refuses, or can't be reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Destinations that refuse a push. Nothing has been built yet.
    #[error("{}", together(.0.iter().map(|error| error as &(dyn Error + 'static))))]
    Preflight(Vec<RegistryError>),
    /// A registry lacks a manifest that it accepted.
    #[error("`{reference}` isn't there after it was pushed")]
    ReadBack {
        /// What was looked for.
        reference: Reference,
    },
    /// The survey right before the first tag would have been written ended the run.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// Tags that couldn't be written, with the reasons. All others were written.
    #[error(
        "{} could not be written, all others were\n{}",
        count(.0.len()), .0.iter().map(|(tag, cause)| format!("`{tag}`: {cause}")).collect::<Vec<_>>().join("\n")
    )]
    Tags(Vec<(Reference, Flaw)>),
    /// Other runs keep moving the tags.
    #[error("other runs keep moving the same tags")]
    Contended,
}

fn count(tags: usize) -> String {
    if tags == 1 { "a tag".to_owned() } else { format!("{tags} tags") }
}

impl Hinted for PublishError {
    fn hints(&self) -> Hints {
        match self {
            Self::Registry(error) => error.hints(),
            Self::Preflight(errors) => errors.iter().map(Hinted::hints).collect(),
            Self::ReadBack { .. } => {
                "no tag was moved; run the job again, and look at the registry if it happens twice".into()
            }
            Self::Survey(error) => error.hints(),
            Self::Tags(tags) => {
                let again = Hints::from("run it again: what has already been published stays as it is");
                tags.iter().map(|(_, cause)| cause.hints()).chain([again]).collect()
            }
            Self::Contended => "give the workflow a `concurrency` group, and run it again".into(),
        }
    }
}

impl StageError for PublishError {
    fn topic(&self) -> Topic {
        match self {
            Self::Registry(error) => error.topic(),
            Self::Preflight(errors) => errors.first().map_or(Topic::Refused, StageError::topic),
            Self::ReadBack { .. } => Topic::Registry,
            Self::Survey(error) => error.topic(),
            Self::Tags(_) => Topic::Tags,
            Self::Contended => Topic::Contended,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Preflight(errors) if errors.iter().all(|error| error.fault() == Fault::Input) => Fault::Input,
            // Everything that the input names was found before anything was sent.
            Self::Preflight(_)
            | Self::Registry(_)
            | Self::ReadBack { .. }
            | Self::Survey(_)
            | Self::Tags(_)
            | Self::Contended => Fault::Publication,
        }
    }
}

/// Content that every destination has confirmed to have, by digest. Only [`push`] makes one.
#[expect(clippy::manual_non_exhaustive, reason = "nor may the other modules of this crate make one")]
#[derive(Debug)]
pub struct Pushed<'a> {
    /// The decisions about tags.
    pub surveyed: Surveyed<'a>,
    /// How many blobs of each index were there, mounted, copied or pushed, per destination.
    pub blobs: BTreeMap<(Repository, Digest), Blobs>,
    _private: (),
}

/// Checks that every destination accepts a push, without leaving anything there.
///
/// # Errors
/// Every refusal, with the registry, the repository and the setting to change.
pub async fn preflight(plan: &Plan, registries: &Registries) -> Result<(), PublishError> {
    let checks = plan.destinations.iter().map(|destination| registries.check_push(destination));
    let refusals: Vec<RegistryError> =
        futures_util::future::join_all(checks).await.into_iter().filter_map(Result::err).collect();
    if refusals.is_empty() { Ok(()) } else { Err(PublishError::Preflight(refusals)) }
}

/// Sends the verified images, and missing parts of images published earlier, to every destination by digest. They
/// aren't visible under a tag yet.
///
/// # Errors
/// A registry refuses a request, or doesn't confirm a manifest. What was sent before stays there, and a second
/// run continues from it.
pub async fn push<'a>(
    mut surveyed: Surveyed<'a>,
    verified: &[Verified],
    registries: &Registries,
    log: &Log,
) -> Result<Pushed<'a>, PublishError> {
    surveyed.built(verified).await?;
    let blobs = content::ensure(registries, &surveyed, &BTreeMap::new(), log).await?;
    Ok(Pushed { surveyed, blobs, _private: () })
}

/// Writes the tags, and records each in the ledger of `stages`. A stop request ends it early, after a last look at the
/// written tags.
///
/// # Errors
/// Exact tags are taken and `on-conflict` is `fail`, or a tag can't be written. A second run writes the
/// missing tags.
pub async fn tag<'a>(
    pushed: Pushed<'a>,
    registries: &Registries,
    stages: &Stages,
    log: &Log,
) -> Result<Published<'a>, PublishError> {
    tags::write(pushed, registries, stages, log).await
}
