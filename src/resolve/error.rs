//! Why a plan can't be resolved.

use std::error::Error;

use super::Role;
use super::executables::SourceError;
use super::files::FilesError;
use super::layout::LayoutError;
use crate::api::registry::RegistryError;
use crate::error::{Fault, StageError, together};
use crate::hint::{Flaw, Hinted, Hints, Input};
use crate::image::config::InvalidConfig;
use crate::image::manifest::InvalidManifest;
use crate::image::{Base, Digest, Location, PinnedName, Platform, Reference};
use crate::plan::{Place, Variant};
use crate::troubleshooting::Topic;

/// Why the plan can't be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The source, the base or the image lacks a platform that was asked for.
    #[error("{role} `{image}` has no manifest for `{platform}`")]
    PlatformMissing {
        /// Source, base, or an image that was built elsewhere.
        role: Role,
        /// The image.
        image: String,
        /// The missing platform.
        platform: Platform,
        /// The variants that list it.
        variants: Vec<String>,
        /// The platforms of the image.
        available: Vec<Platform>,
    },
    /// With `platforms: auto`, source and base have no platform in common.
    #[error(
        "base `{base}` of variant `{variant}` has no platform of the source; it has: {}",
        list(.base_has)
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
    /// The registry doesn't have the image, or refuses to serve it.
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
    /// A manifest that no variant can be built on.
    #[error("{role} `{image}` can't be used: {cause}")]
    Manifest {
        /// Source or base.
        role: Role,
        /// The image.
        image: PinnedName,
        /// Why not.
        cause: InvalidManifest,
    },
    /// A config that no variant can be built on.
    #[error("{role} `{image}` can't be used: {cause}")]
    Config {
        /// Source or base.
        role: Role,
        /// The image.
        image: PinnedName,
        /// Why not.
        cause: InvalidConfig,
    },
    /// An image, built elsewhere, that can't be copied.
    #[error("image `{image}` can't be used: `{manifest}`: {cause}")]
    Copied {
        /// The image.
        image: Location,
        /// The manifest at fault, which is one of the image's.
        manifest: Digest,
        /// Why not.
        cause: Flaw,
    },
    /// An index without an image.
    #[error("image `{image}` of variant `{variant}` has no image for any platform")]
    NoImage {
        /// The image.
        image: Location,
        /// The variant.
        variant: String,
    },
    /// An OCI layout can't be used.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The executables can't be taken from the source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The image of `source: files` can't be made.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// An error about an entry of the matrix.
    #[error("{place}: {error}")]
    Entry {
        /// The entry's place.
        place: Place,
        /// The error.
        #[source]
        error: Box<ResolveError>,
    },
    /// Several errors at once.
    #[error("{}", together(.0.iter().map(|error| error as &(dyn Error + 'static))))]
    Several(Vec<ResolveError>),
}

impl ResolveError {
    /// The error with the variant's place in the matrix, unless it is about the source.
    pub(super) fn of(self, variant: &Variant) -> Self {
        match self {
            Self::PlatformMissing { .. }
            | Self::NoPlatform { .. }
            | Self::Unavailable { role: Role::Base, .. }
            | Self::Manifest { role: Role::Base, .. }
            | Self::Config { role: Role::Base, .. }
            | Self::Copied { .. }
            | Self::NoImage { .. } => self.at(&variant.place),
            other => other,
        }
    }

    /// The error with a place in the matrix.
    pub(super) fn at(self, place: &Place) -> Self {
        match self {
            Self::Entry { .. } => self,
            error => Self::Entry { place: place.clone(), error: Box::new(error) },
        }
    }
}

impl Hinted for ResolveError {
    fn hints(&self) -> Hints {
        match self {
            Self::PlatformMissing { variants, available, .. } => {
                format!("remove it from `platforms` of {}, or use one of: {}", of_variants(variants), list(available))
                    .into()
            }
            Self::NoPlatform { source_has, .. } => format!("the source has {}", list(source_has)).into(),
            Self::Unavailable { role: Role::Source, image, cause: RegistryError::Missing(_) }
                if image.tag().is_some_and(|tag| tag.as_str().starts_with("sha-")) =>
            {
                format!(
                    "nothing has been pushed for this commit yet: push it in an earlier job, or set {} to an existing image, \
                     such as that of the latest release",
                    Input("source")
                )
                .into()
            }
            Self::Unavailable { cause, .. } => cause.hints(),
            Self::Manifest { cause, .. } => cause.hints(),
            Self::Config { cause, .. } => cause.hints(),
            Self::Copied { cause, .. } => cause.hints(),
            Self::NoImage { .. } => "name an image or an index of images; artifacts and attestations aren't images".into(),
            Self::Layout(error) => error.hints(),
            Self::Source(error) => error.hints(),
            Self::Files(error) => error.hints(),
            Self::Entry { error, .. } => error.hints(),
            Self::Several(errors) => errors.iter().map(Hinted::hints).collect(),
        }
    }
}

impl StageError for ResolveError {
    fn topic(&self) -> Topic {
        match self {
            Self::PlatformMissing { .. } | Self::NoPlatform { .. } | Self::NoImage { .. } => Topic::Platforms,
            Self::Unavailable { cause, .. } => cause.topic(),
            Self::Manifest { .. } | Self::Config { .. } | Self::Copied { .. } => Topic::Unusable,
            Self::Layout(error) => error.topic(),
            Self::Source(error) => error.topic(),
            Self::Files(error) => error.topic(),
            Self::Entry { error, .. } => error.topic(),
            Self::Several(errors) => errors.first().map_or(Topic::NotFound, Self::topic),
        }
    }

    fn place(&self) -> Option<&Place> {
        match self {
            Self::Entry { place, .. } => Some(place),
            Self::Several(errors) => errors.iter().find_map(Self::place),
            _ => None,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Entry { error, .. } => error.fault(),
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
            | Self::Copied { .. }
            | Self::NoImage { .. }
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

fn of_variants(names: &[String]) -> String {
    const NAMED: usize = 5;
    let quoted: Vec<String> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    match names.len() {
        1 => format!("variant {}", quoted.concat()),
        2..=NAMED => format!("variants {}", quoted.join(", ")),
        count => format!("{count} variants ({}, …)", quoted.join(", ")),
    }
}

impl ResolveError {
    /// Merges `other` into this error if it is the same problem, possibly of another variant, whose name is then added.
    /// Returns whether it is.
    fn takes_in(&mut self, other: &Self) -> bool {
        let text = |error: &Self| (together([error as &(dyn Error + 'static)]), error.hints());
        match (&mut *self, other) {
            // The place stays that of the first variant.
            (Self::Entry { error, .. }, Self::Entry { error: other, .. }) => error.takes_in(other),
            (
                Self::PlatformMissing { role, image, platform, variants, .. },
                Self::PlatformMissing {
                    role: other_role,
                    image: other_image,
                    platform: other_platform,
                    variants: more,
                    ..
                },
            ) => {
                let is_same = *role == *other_role && image == other_image && platform == other_platform;
                if is_same {
                    variants.extend(more.iter().cloned());
                }
                is_same
            }
            _ => text(self) == text(other),
        }
    }
}

/// All problems as one error. A problem that several variants share is reported once.
pub(super) fn one_or_several(problems: Vec<ResolveError>) -> Result<(), ResolveError> {
    let mut distinct = Vec::<ResolveError>::new();
    for problem in problems {
        if !distinct.iter_mut().any(|known| known.takes_in(&problem)) {
            distinct.push(problem);
        }
    }
    match distinct.len() {
        0 => Ok(()),
        1 => Err(distinct.remove(0)),
        _ => Err(ResolveError::Several(distinct)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;

    fn missing(variant: &str, platform: &str) -> ResolveError {
        ResolveError::PlatformMissing {
            role: Role::Source,
            image: "ghcr.io/acme/tool:1.4.0".parse().unwrap(),
            platform: platform.parse().unwrap(),
            variants: vec![variant.to_owned()],
            available: vec!["linux/amd64".parse().unwrap()],
        }
    }

    #[test]
    fn a_problem_of_many_variants_is_reported_once() {
        let many = (1..=29).map(|number| missing(&format!("v{number}"), "linux/arm64")).collect();
        let expected = "source `ghcr.io/acme/tool:1.4.0` has no manifest for `linux/arm64`\n\
                        hint: remove it from `platforms` of 29 variants (`v1`, `v2`, `v3`, `v4`, `v5`, …), or use one of: linux/amd64";
        assert_eq!(Failure::from(one_or_several(many).unwrap_err()).to_string(), expected);
    }

    #[test]
    fn missing_bases_keep_their_own_causes_and_share_the_hint() {
        let base = |name: &str| ResolveError::Unavailable {
            role: Role::Base,
            image: name.parse().unwrap(),
            cause: RegistryError::Missing(name.to_owned()),
        };
        let error =
            one_or_several(vec![base("quay.io/a:1"), base("quay.io/b:2"), missing("v", "linux/386")]).unwrap_err();
        let expected = "base `quay.io/a:1` can't be resolved\n  cause: `quay.io/a:1` does not exist\n\
                        base `quay.io/b:2` can't be resolved\n  cause: `quay.io/b:2` does not exist\n\
                        source `ghcr.io/acme/tool:1.4.0` has no manifest for `linux/386`\n\
                        hint: check the spelling; if the image is private, check that `credentials` may pull it\n\
                        hint: remove it from `platforms` of variant `v`, or use one of: linux/amd64";
        assert_eq!(Failure::from(error).to_string(), expected);
    }

    #[test]
    fn if_nothing_was_pushed_for_a_commit_the_hint_suggests_another_source() {
        let missing = |name: &str| ResolveError::Unavailable {
            role: Role::Source,
            image: name.parse().unwrap(),
            cause: RegistryError::Missing(name.to_owned()),
        };
        let hint = |name: &str| missing(name).hints().iter().collect::<Vec<_>>().join("\n");
        let of_commit = hint("ghcr.io/acme/tool:sha-0123456");
        assert!(
            of_commit.contains("nothing has been pushed for this commit yet") && of_commit.contains("set `source`")
        );
        assert!(hint("ghcr.io/acme/tool:1.2.3").starts_with("check the spelling"));
    }
}
