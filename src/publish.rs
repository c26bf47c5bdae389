//! Publishing without half a release: content by digest, exact tags, rolling tags, in this order.
//!
//! Until the first tag moves nobody outside sees a change, and what is interrupted is finished by running it again.
//! Requests are those of the [distribution specification](https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md).

mod content;
mod exact;
pub mod guard;
mod rolling;
mod tags;

use std::collections::BTreeMap;

pub use content::Blobs;
pub use tags::{Outcomes, TagOutcome};

use crate::action::inputs::{OnConflict, Rolling};
use crate::action::{Inputs, Log};
use crate::api::registry::{Registries, RegistryError};
use crate::build::compose::{self, Blob, Composed, Origin};
use crate::error::{Fault, Situation};
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Digest, Document, Manifest, PinnedReference, Platform, Reference, Repository, Tag};
use crate::plan::{Plan, Tags};
use crate::resolve::{Resolved, ResolvedVariant};
use crate::verify::Verified;

/// An exact tag that named another digest before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Conflict {
    /// The tag.
    pub reference: Reference,
    /// What it named.
    pub published: Digest,
    /// What this run made.
    pub ours: Digest,
}

/// Why a publication failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A registry refuses, or can't be reached.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A registry gives back something else than it was sent.
    #[error(
        "`{reference}` doesn't read back as it was pushed\nhint: no tag was moved; run the job again, and look at the registry if it happens twice"
    )]
    ReadBack {
        /// What was read.
        reference: PinnedReference,
    },
    /// Exact tags are taken, and `on-conflict` is `fail`.
    #[error("{}\nhint: no tag was moved; set `on-conflict` to `keep` or to `replace`", conflicts(.0))]
    Conflicts(Vec<Conflict>),
}

impl Situation for PublishError {
    fn fault(&self) -> Fault {
        match self {
            // What the input names was found before anything was built.
            Self::Registry(RegistryError::Missing(_)) => Fault::Publication,
            Self::Registry(error) => error.fault(),
            Self::ReadBack { .. } | Self::Conflicts(_) => Fault::Publication,
        }
    }
}

fn conflicts(conflicts: &[Conflict]) -> String {
    conflicts.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is published as {}, and this run made {}", self.reference, self.published, self.ours)
    }
}

impl From<&Inputs> for TagPolicy {
    fn from(inputs: &Inputs) -> Self {
        Self { rolling: inputs.rolling, on_conflict: inputs.on_conflict }
    }
}

/// What has tags of its own: a variant, or the source.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// The variant's name; `None` for the source.
    pub variant: Option<String>,
    /// What the tags will name.
    pub index: Document,
    /// What the index points at. Empty where `index` is a manifest itself.
    pub images: Vec<Image>,
    /// The tags.
    pub tags: Tags,
}

/// An image for one platform and what it points at.
#[derive(Clone, Debug)]
pub struct Image {
    /// What it runs on, where that is known.
    pub platform: Option<Platform>,
    /// The manifest.
    pub manifest: Document,
    /// Config and layers.
    pub blobs: Vec<Blob>,
}

impl Artifact {
    fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.images.iter().flat_map(|image| &image.blobs)
    }
}

/// Content that every destination has, by digest, and has given back. Only [`push`] makes one.
#[expect(clippy::manual_non_exhaustive, reason = "nor may the other modules of this crate make one")]
#[derive(Debug)]
pub struct Pushed {
    /// What was pushed, the source last if its own tags were asked for.
    pub artifacts: Vec<Artifact>,
    /// How the content of each artifact came to each destination.
    pub blobs: BTreeMap<(Repository, Digest), Blobs>,
    _private: (),
}

/// A publication that every destination has confirmed. Only [`tag`] makes one.
#[expect(clippy::manual_non_exhaustive, reason = "nor may the other modules of this crate make one")]
#[derive(Debug)]
pub struct Published {
    /// What was published, the source last if its own tags were asked for.
    pub artifacts: Vec<Artifact>,
    /// How the content of each artifact came to each destination.
    pub blobs: BTreeMap<(Repository, Digest), Blobs>,
    /// What became of each tag.
    pub tags: Outcomes,
    /// Exact tags that named something else.
    pub conflicts: Vec<Conflict>,
    /// Where exact tags are taken and stay: the destination and what this run made, and what its tags name instead.
    pub kept: BTreeMap<(Repository, Digest), Digest>,
    _private: (),
}

impl Published {
    /// What the tags of an artifact name at a destination: `made` by this run, or what was there and is kept.
    #[must_use]
    pub fn shown(&self, to: &Repository, made: &Digest) -> Digest {
        self.kept.get(&(to.clone(), made.clone())).unwrap_or(made).clone()
    }

    /// What became of each tag of a destination.
    #[must_use]
    pub fn tags_at(&self, destination: &Repository) -> BTreeMap<&Tag, &TagOutcome> {
        let here = self.tags.iter().filter(|((repository, _), _)| repository == destination);
        here.map(|((_, tag), outcome)| (tag, outcome)).collect()
    }

    /// Whether all of it was there before.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let still = |outcome: &TagOutcome| matches!(outcome, TagOutcome::Unchanged | TagOutcome::Kept(_));
        self.blobs.values().all(Blobs::is_unchanged) && self.tags.values().all(still)
    }
}

/// How tags are treated.
#[derive(Clone, Copy, Debug, Default)]
pub struct TagPolicy {
    /// When rolling tags move.
    pub rolling: Rolling,
    /// What to do with exact tags that are taken.
    pub on_conflict: OnConflict,
}

/// Checks that every destination takes a push, without leaving anything there.
///
/// # Errors
/// The first refusal, with the registry, the repository and the setting to change.
pub async fn preflight(plan: &Plan, registries: &Registries) -> Result<(), PublishError> {
    let checks = plan.destinations.iter().map(|destination| registries.check_push(destination));
    futures_util::future::try_join_all(checks).await?;
    Ok(())
}

/// Brings what was verified to every destination, by digest: nobody sees it yet.
///
/// # Errors
/// A registry refuses something for good, or gives back something else than it was sent. What is there by then stays
/// there, and a second run goes on from it.
pub async fn push(
    resolved: &Resolved,
    verified: &[Verified],
    registries: &Registries,
    log: &Log,
) -> Result<Pushed, PublishError> {
    let mut artifacts = artifacts(resolved, verified);
    artifacts.extend(source(resolved, registries).await?);
    let blobs = content::ensure(registries, &resolved.plan.destinations, &artifacts, log).await?;
    Ok(Pushed { artifacts, blobs, _private: () })
}

/// Lets the tags name what was pushed.
///
/// # Errors
/// Exact tags are taken and the policy is to fail; or a registry refuses. A second run writes the tags that are missing.
pub async fn tag(
    pushed: Pushed,
    plan: &Plan,
    registries: &Registries,
    policy: TagPolicy,
    log: &Log,
) -> Result<Published, PublishError> {
    let Pushed { artifacts, blobs, .. } = pushed;
    // Everything is looked up before the first tag is written, so that they are all written at once.
    let (shelved, conflicts) = exact::shelve(registries, &plan.destinations, &artifacts, policy.on_conflict).await?;
    // The source's own rolling tags come last, so that it heads the page of the package.
    let (variants, source): (Vec<_>, Vec<_>) = shelved.into_iter().partition(|at| at.artifact.variant.is_some());
    let found = [
        rolling::look(registries, plan, policy.rolling, &variants).await?,
        rolling::look(registries, plan, policy.rolling, &source).await?,
    ];

    let exact = variants.iter().chain(&source).flat_map(exact::Shelved::writes);
    let mut outcomes = tags::write(registries, log, exact).await.all()?;
    for found in &found {
        outcomes.extend(rolling::advance(registries, plan, policy.rolling, found, log).await?);
    }
    outcomes.extend([&variants, &source].into_iter().flat_map(|shelved| rolling::withheld(shelved)));
    let kept = variants.iter().chain(&source).filter_map(exact::Shelved::kept).collect();
    Ok(Published { blobs, tags: outcomes, conflicts, kept, artifacts, _private: () })
}

/// One for each variant: the index over its verified images.
fn artifacts(resolved: &Resolved, verified: &[Verified]) -> Vec<Artifact> {
    let artifact = |variant: &ResolvedVariant| {
        let images: Vec<&Composed> = verified
            .iter()
            .filter(|image| image.variant == variant.variant.name)
            .map(|image| &image.composed)
            .collect();
        Artifact {
            variant: Some(variant.variant.name.clone()),
            index: compose::index(&images, &variant.annotations),
            images: images
                .into_iter()
                .map(|image| Image {
                    platform: Some(image.platform.clone()),
                    manifest: image.manifest.clone(),
                    blobs: image.blobs.clone(),
                })
                .collect(),
            tags: variant.variant.tags.clone(),
        }
    };
    resolved.variants.iter().map(artifact).collect()
}

/// The source as it is, for the destinations where its own tags are wanted.
async fn source(resolved: &Resolved, registries: &Registries) -> Result<Option<Artifact>, PublishError> {
    let source = &resolved.source;
    let tags = resolved.plan.source.tags.clone();
    if tags.iter().next().is_none() {
        return Ok(None);
    }
    let repository = source.reference.repository();
    let mut images = Vec::new();
    match &source.content {
        ManifestOrIndex::Manifest(manifest) => images.push(source_image(repository, &source.document, manifest)),
        ManifestOrIndex::Index(index) => {
            for descriptor in &index.manifests {
                let pulled = registries.manifest(&repository.pinned(descriptor.digest.clone())).await?;
                if let ManifestOrIndex::Manifest(manifest) = &pulled.content {
                    images.push(source_image(repository, &pulled.document, manifest));
                }
            }
        }
    }
    Ok(Some(Artifact { variant: None, index: source.document.clone(), images, tags }))
}

fn source_image(repository: &Repository, document: &Document, manifest: &Manifest) -> Image {
    let descriptors = manifest.layers.iter().chain([&manifest.config]);
    let origin = || Origin::Repository(repository.clone());
    let blobs = descriptors.map(|descriptor| Blob { descriptor: descriptor.clone(), origin: origin() }).collect();
    Image { platform: None, manifest: document.clone(), blobs }
}
