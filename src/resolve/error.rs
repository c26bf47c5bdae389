//! Why a plan can't be resolved.

use super::Role;
use super::executables::SourceError;
use super::files::FilesError;
use crate::api::registry::RegistryError;
use crate::error::{Fault, Situation};
use crate::image::config::InvalidConfig;
use crate::image::manifest::InvalidManifest;
use crate::image::{Base, PinnedName, Platform, Reference};
use crate::layout::LayoutError;

/// Why the plan can't be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A platform was asked for that source or base don't have.
    #[error(
        "{role} `{image}` has no manifest for `{platform}`\n\
         hint: remove it from `platforms` of variant `{variant}`, or use one of: {}", list(.available)
    )]
    PlatformMissing {
        /// Source or base.
        role: Role,
        /// The image's name.
        image: String,
        /// The missing platform.
        platform: Platform,
        /// The variant that lists it.
        variant: String,
        /// The platforms of the image.
        available: Vec<Platform>,
    },
    /// `platforms: auto`, and source and base have none in common.
    #[error(
        "base `{base}` of variant `{variant}` has no platform of the source; it has: {}\nhint: the source has {}",
        list(.base_has), list(.source_has)
    )]
    NoPlatform {
        /// The base.
        base: Base,
        /// The variant.
        variant: String,
        /// The platforms of the base.
        base_has: Vec<Platform>,
        /// The platforms of the source.
        source_has: Vec<Platform>,
    },
    /// The registry doesn't have the image, or doesn't give it.
    #[error("{role} `{image}` can't be resolved")]
    Unavailable {
        /// Source or base.
        role: Role,
        /// The image.
        image: Reference,
        /// Why not.
        #[source]
        cause: RegistryError,
    },
    /// An image that can't be built upon.
    #[error("{role} `{image}` can't be used: {cause}")]
    Manifest {
        /// Source or base.
        role: Role,
        /// The image.
        image: PinnedName,
        /// Why not.
        cause: InvalidManifest,
    },
    /// An image that can't be built upon.
    #[error("{role} `{image}` can't be used: {cause}")]
    Config {
        /// Source or base.
        role: Role,
        /// The image.
        image: PinnedName,
        /// Why not.
        cause: InvalidConfig,
    },
    /// The executables.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An OCI layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Files that an image is to be made of.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// Several at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ResolveError>),
}

impl Situation for ResolveError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unavailable { cause, .. } => cause.fault(),
            Self::Source(error) => error.fault(),
            Self::Layout(error) => error.fault(),
            Self::Files(error) => error.fault(),
            Self::Several(errors) if errors.iter().any(|error| error.fault() == Fault::Publication) => {
                Fault::Publication
            }
            Self::PlatformMissing { .. }
            | Self::NoPlatform { .. }
            | Self::Manifest { .. }
            | Self::Config { .. }
            | Self::Several(_) => Fault::Input,
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    if platforms.is_empty() {
        return "none".to_owned();
    }
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// All problems as one.
pub(super) fn one_or_several(mut problems: Vec<ResolveError>) -> Result<(), ResolveError> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => Err(ResolveError::Several(problems)),
    }
}
