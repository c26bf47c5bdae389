//! Images as their registries have them.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use super::ResolveError;
use crate::api::registry::{Pulled, Registries, RegistryError};
use crate::compose::recipe::ResolvedImage;
use crate::compose::{Blob, ImageContent, Origin};
use crate::image::config::InvalidConfig;
use crate::image::manifest::{InvalidManifest, ManifestOrIndex};
use crate::image::{Config, Descriptor, Index, PinnedReference, Platform, Reference, Repository};

/// The role of an image in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has the executables.
    Source,
    /// Variants are made on it.
    Base,
    /// Something else has built it, and it is a variant as it is.
    Image,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Base => "base",
            Self::Image => "image",
        })
    }
}

/// An image as its registry has it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The document under its name: an index, or a manifest for one platform.
    pub top: Pulled,
    /// The manifest for each platform.
    pub platforms: BTreeMap<Platform, PinnedReference>,
}

impl Image {
    pub(super) fn has(&self) -> Vec<Platform> {
        self.platforms.keys().cloned().collect()
    }
}

/// More indexes within an index than these are a mistake.
const MOST_INDEXES: usize = 16;

pub(super) async fn look_up(registries: &Registries, role: Role, reference: &Reference) -> Result<Image, ResolveError> {
    let unavailable = |cause| ResolveError::Unavailable { role, image: reference.clone(), cause };
    let top = ask(registries, role, || registries.resolve(reference)).await.map_err(unavailable)?;
    let platforms = match &top.content {
        ManifestOrIndex::Index(index) => platforms(registries, role, reference.repository(), index.clone()).await?,
        ManifestOrIndex::Manifest(_) => {
            let image = read(registries, role, &top.reference).await?;
            [(image.config.platform(), top.reference.clone())].into()
        }
    };
    Ok(Image { top, platforms })
}

/// The manifest of each platform of an index. Of two entries for one platform the first counts, as for `docker pull`. Entries that
/// don't say their platform count for that of their config, if there is no other entry for it; artifacts among them don't.
async fn platforms(
    registries: &Registries,
    role: Role,
    repository: &Repository,
    index: Index,
) -> Result<BTreeMap<Platform, PinnedReference>, ResolveError> {
    let unavailable =
        |image: PinnedReference| move |cause| ResolveError::Unavailable { role, image: Reference::from(image), cause };
    let (mut found, mut unsaid) = (BTreeMap::new(), Vec::new());
    let (mut indexes, mut nested) = (VecDeque::from([index]), Vec::new());
    let mut read_indexes = 0;
    while let Some(index) = indexes.pop_front() {
        for listed in index.manifests {
            let reference = repository.pinned(listed.digest.clone());
            if listed.is_index() {
                nested.push(reference);
            } else if let Some(platform) = listed.image_platform() {
                found.entry(platform).or_insert(reference);
            } else if listed.lacks_platform() {
                unsaid.push(reference);
            }
        }
        // An index may list [indexes](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md), what they list as well.
        for reference in nested.drain(..) {
            read_indexes += 1;
            if read_indexes > MOST_INDEXES {
                return Err(ResolveError::Manifest { role, image: reference, cause: InvalidManifest::Nested });
            }
            let pulled = ask(registries, role, || registries.manifest(&reference))
                .await
                .map_err(unavailable(reference.clone()))?;
            if let ManifestOrIndex::Index(index) = pulled.content {
                indexes.push_back(index);
            }
        }
    }
    for reference in unsaid {
        match read(registries, role, &reference).await {
            Ok(image) => drop(found.entry(image.config.platform()).or_insert(reference)),
            // An artifact.
            Err(ResolveError::Config { .. } | ResolveError::Manifest { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Asks for a part of an image. What this project has built may have been pushed a moment ago, by the job before this one; a base has
/// been there for long.
pub(super) async fn ask<T, F: Future<Output = Result<T, RegistryError>>>(
    registries: &Registries,
    role: Role,
    question: impl Fn() -> F,
) -> Result<T, RegistryError> {
    match role {
        Role::Source | Role::Image => registries.patiently(question).await,
        Role::Base => question().await,
    }
}

/// The manifest and config of one platform's image.
pub(super) async fn read(
    registries: &Registries,
    role: Role,
    reference: &PinnedReference,
) -> Result<ResolvedImage, ResolveError> {
    let unavailable = |cause| ResolveError::Unavailable { role, image: Reference::from(reference.clone()), cause };
    let unusable = |cause| ResolveError::Manifest { role, image: reference.clone(), cause };
    let manifest = ask(registries, role, || registries.manifest(reference)).await.map_err(unavailable)?;
    let mut manifest = match manifest.content {
        ManifestOrIndex::Manifest(manifest) => manifest,
        ManifestOrIndex::Index(index) => return Err(unusable(InvalidManifest::Unsupported(index.media_type))),
    };
    let layers = manifest.layers.iter().map(Descriptor::to_oci_layer).collect::<Result<_, _>>();
    manifest.layers = layers.map_err(unusable)?;
    let config = ask(registries, role, || registries.small_blob(reference.repository(), &manifest.config)).await;
    let config = config.map_err(unavailable)?;
    let config = Config::parse(&config)
        .and_then(|config| match (config.diff_ids().len(), manifest.layers.len()) {
            (diff_ids, layers) if diff_ids == layers => Ok(config),
            (diff_ids, layers) => {
                Err(InvalidConfig::Malformed(format!("it names {diff_ids} layers, and the manifest {layers}")))
            }
        })
        .map_err(|cause| ResolveError::Config { role, image: reference.clone(), cause })?;
    Ok(ResolvedImage { reference: reference.clone(), manifest, config })
}

/// A manifest that the source's index lists, an attestation perhaps, with all that it points at.
pub(super) async fn read_listed(
    registries: &Registries,
    repository: &Repository,
    listed: &Descriptor,
) -> Result<ImageContent, ResolveError> {
    let reference = repository.pinned(listed.digest.clone());
    let unavailable =
        |cause| ResolveError::Unavailable { role: Role::Source, image: Reference::from(reference.clone()), cause };
    let pulled = ask(registries, Role::Source, || registries.manifest(&reference)).await.map_err(unavailable)?;
    if let ManifestOrIndex::Index(index) = &pulled.content {
        let cause = InvalidManifest::Unsupported(index.media_type.clone());
        return Err(ResolveError::Manifest { role: Role::Source, image: reference, cause });
    }
    Ok(content(repository, &pulled, listed.image_platform()))
}

/// A manifest of `repository` with all that it points at.
pub(crate) fn content(repository: &Repository, pulled: &Pulled, platform: Option<Platform>) -> ImageContent {
    let descriptors: Vec<&Descriptor> = match &pulled.content {
        ManifestOrIndex::Manifest(manifest) => manifest.layers.iter().chain([&manifest.config]).collect(),
        ManifestOrIndex::Index(_) => Vec::new(),
    };
    let blob = |descriptor: &Descriptor| Blob {
        descriptor: descriptor.clone(),
        origin: Origin::Repository(repository.clone()),
    };
    ImageContent { platform, manifest: pulled.document.clone(), blobs: descriptors.into_iter().map(blob).collect() }
}
