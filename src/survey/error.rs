//! Why a run ends before any tag is written.

use crate::api::github;
use crate::api::registry::RegistryError;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input};
use crate::image::{Digest, Platform, Reference};
use crate::resolve::ResolveError;
use crate::troubleshooting::Topic;

/// Why a run ends before any tag is written.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    /// A registry refuses, or can't be reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// GitHub doesn't answer.
    #[error(transparent)]
    GitHub(#[from] github::Error),
    /// The base of an image that an earlier run has published can't be looked up.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Exact tags are taken, and `on-conflict` is `fail`.
    #[error("{}", lines(.0))]
    Conflicts(Vec<Conflict>),
    /// Rolling tags would lose platforms.
    #[error(
        "{}",
        lines(.lost)
    )]
    Platforms {
        /// The tags.
        lost: Vec<LostPlatforms>,
        /// The platforms of the first variant, as its line `platforms:` would list them.
        platforms: String,
    },
}

impl Hinted for SurveyError {
    fn hints(&self) -> Hints {
        match self {
            Self::Registry(error) => error.hints(),
            Self::GitHub(error) => error.hints(),
            Self::Resolve(error) => error.hints(),
            Self::Conflicts(_) => {
                format!("no tag was moved; set {} to `keep` or to `replace`", Input("on-conflict")).into()
            }
            Self::Platforms { platforms, .. } => format!(
                "no tag was moved; run it again when they exist, or set `platforms: {platforms}` for the variant to publish without them"
            ).into(),
        }
    }
}

impl StageError for SurveyError {
    fn topic(&self) -> Topic {
        match self {
            Self::Registry(error) => error.topic(),
            Self::GitHub(error) => error.topic(),
            Self::Resolve(error) => error.topic(),
            Self::Conflicts(_) => Topic::Conflicts,
            Self::Platforms { .. } => Topic::LostPlatforms,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Registry(error) => error.fault(),
            Self::GitHub(error) => error.fault(),
            Self::Resolve(error) => error.fault(),
            Self::Conflicts(_) | Self::Platforms { .. } => Fault::Publication,
        }
    }
}

fn lines(list: &[impl ToString]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// An exact tag that names another image than this release's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` already names {published}, {why}")]
pub struct Conflict {
    /// The tag.
    pub reference: Reference,
    /// The digest of that image.
    pub published: Digest,
    /// Why it isn't this release.
    pub why: String,
}

/// A rolling tag that would lose platforms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{reference}` would lose {}, which its {lacking} doesn't have", platforms(.lost))]
pub struct LostPlatforms {
    /// The tag.
    pub reference: Reference,
    /// The platforms.
    pub lost: Vec<Platform>,
    /// The key of the image that lacks them: `base`, or `image` if it was built elsewhere.
    pub lacking: &'static str,
}

pub(super) fn platforms<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> String {
    platforms.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
