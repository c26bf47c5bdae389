//! Images in registries, and sources in layouts.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempPath;

use super::ResolveError;
use super::executables::SourceError;
use super::layout::Layout;
use crate::api::registry::{Pulled, Registries, RegistryError, SpooledBlob};
use crate::compose::recipe::ResolvedSource;
use crate::compose::{Blob, ImageContent, Origin};
use crate::image::config::InvalidConfig;
use crate::image::manifest::{InvalidManifest, ManifestOrIndex};
use crate::image::{
    Config, Descriptor, Digest, Document, Index, PinnedName, Platform, Reference, Repository, SourceName,
};

/// The role of an image in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It contains the executables.
    Source,
    /// Variants are built on it.
    Base,
    /// It was built elsewhere, and becomes a variant unchanged.
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

/// An image in a registry or in a layout.
#[derive(Clone, Debug)]
pub struct Image {
    pub(super) store: Store,
    /// The document that its name points at: an index, or a manifest for one platform.
    pub top: Document,
    /// The same document, parsed.
    pub content: ManifestOrIndex,
    /// The digest of the manifest for each platform.
    pub platforms: BTreeMap<Platform, Digest>,
}

impl Image {
    pub(super) fn has(&self) -> Vec<Platform> {
        self.platforms.keys().cloned().collect()
    }

    /// The name of the manifest for a platform, which must be one of [`Image::platforms`].
    pub(super) fn manifest(&self, platform: &Platform) -> PinnedName {
        self.store.name(self.platforms[platform].clone())
    }
}

/// Where the manifests and blobs of an image are stored.
#[derive(Clone, Debug)]
pub(super) enum Store {
    Registry(Role, Repository),
    Layout(SourceName, Arc<Layout>),
}

impl Store {
    fn role(&self) -> Role {
        match self {
            Self::Registry(role, _) => *role,
            Self::Layout(..) => Role::Source,
        }
    }

    pub(super) fn name(&self, digest: Digest) -> PinnedName {
        match self {
            Self::Registry(_, repository) => repository.pinned(digest).into(),
            Self::Layout(name, _) => PinnedName::Local(name.clone(), digest),
        }
    }

    /// A manifest or an index; `None` if a layout lacks it.
    async fn document(
        &self,
        registries: &Registries,
        digest: &Digest,
    ) -> Result<Option<(Document, ManifestOrIndex)>, ResolveError> {
        match self {
            Self::Registry(role, repository) => {
                let reference = repository.pinned(digest.clone());
                let pulled = ask(registries, *role, || registries.manifest(&reference)).await;
                let pulled = pulled.map_err(|cause| unavailable(*role, reference.into(), cause))?;
                Ok(Some((pulled.document, pulled.content)))
            }
            Self::Layout(_, layout) => {
                let Some(document) = layout.document(digest) else { return Ok(None) };
                let content = ManifestOrIndex::parse(document.media_type(), document.bytes());
                let content = content.map_err(|cause| self.unusable(digest, cause))?;
                Ok(Some((document.clone(), content)))
            }
        }
    }

    async fn config(
        &self,
        registries: &Registries,
        digest: &Digest,
        config: &Descriptor,
    ) -> Result<Bytes, ResolveError> {
        match self {
            Self::Registry(role, repository) => {
                let config = ask(registries, *role, || registries.small_blob(repository, config)).await;
                config.map_err(|cause| unavailable(*role, repository.pinned(digest.clone()).into(), cause))
            }
            Self::Layout(_, layout) => Ok(layout.config(&config.digest)?.clone()),
        }
    }

    /// A file with the content of a layer.
    pub(super) async fn layer(
        &self,
        registries: &Registries,
        layer: &Descriptor,
        directory: &Path,
    ) -> Result<LayerFile, SourceError> {
        match self {
            Self::Registry(role, repository) => {
                let spool = || registries.spool_blob(repository, layer, directory);
                Ok(LayerFile::Spooled(ask(registries, *role, spool).await?))
            }
            Self::Layout(_, layout) => Ok(match layout.blob(&layer.digest)? {
                Origin::Section(section) => LayerFile::Copied(layout.copy(section, layer, directory).await?),
                ours => LayerFile::Kept(ours.clone()),
            }),
        }
    }

    fn unusable(&self, digest: &Digest, cause: InvalidManifest) -> ResolveError {
        ResolveError::Manifest { role: self.role(), image: self.name(digest.clone()), cause }
    }

    fn incomplete(&self, digest: &Digest) -> ResolveError {
        let Self::Layout(_, layout) = self else { unreachable!("a registry says itself what it lacks") };
        layout.lacks(digest).into()
    }

    /// A manifest with everything that it refers to.
    fn content(
        &self,
        document: Document,
        parsed: &ManifestOrIndex,
        platform: Option<Platform>,
    ) -> Result<ImageContent, ResolveError> {
        let blob = |descriptor: &Descriptor| {
            let origin = match self {
                Self::Registry(_, repository) => Origin::Repository(repository.clone()),
                Self::Layout(_, layout) => layout.blob(&descriptor.digest)?.clone(),
            };
            Ok::<_, ResolveError>(Blob { descriptor: descriptor.clone(), origin })
        };
        let blobs = descriptors(parsed).into_iter().map(blob).collect::<Result<_, _>>()?;
        Ok(ImageContent { platform, manifest: document, blobs })
    }
}

/// A file with a layer of a source.
#[derive(Debug)]
pub(super) enum LayerFile {
    Spooled(SpooledBlob),
    Copied(TempPath),
    Kept(Origin),
}

impl LayerFile {
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Spooled(blob) => Some(blob.path()),
            Self::Copied(path) => Some(path),
            Self::Kept(origin) => origin.path(),
        }
    }
}

/// More indexes within an index are a mistake.
const MOST_INDEXES: usize = 16;

fn unavailable(role: Role, image: Reference, cause: RegistryError) -> ResolveError {
    ResolveError::Unavailable { role, image, cause }
}

/// Looks up an image in a registry.
pub(super) async fn look_up(registries: &Registries, role: Role, reference: &Reference) -> Result<Image, ResolveError> {
    let top = ask(registries, role, || registries.resolve(reference)).await;
    let top = top.map_err(|cause| unavailable(role, reference.clone(), cause))?;
    let store = Store::Registry(role, reference.repository().clone());
    with_platforms(registries, store, top.document, top.content).await
}

/// Looks up an image in a layout.
pub(super) async fn of_layout(
    registries: &Registries,
    name: &SourceName,
    layout: Arc<Layout>,
) -> Result<Image, ResolveError> {
    let digest = layout.top().digest().clone();
    let store = Store::Layout(name.clone(), layout);
    let top = store.document(registries, &digest).await?;
    let (top, content) = top.ok_or_else(|| store.incomplete(&digest))?;
    with_platforms(registries, store, top, content).await
}

async fn with_platforms(
    registries: &Registries,
    store: Store,
    top: Document,
    content: ManifestOrIndex,
) -> Result<Image, ResolveError> {
    let platforms = match &content {
        ManifestOrIndex::Index(index) => platforms(registries, &store, index.clone()).await?,
        ManifestOrIndex::Manifest(_) => {
            let image = read(registries, &store, top.digest()).await?;
            [(image.config.platform(), top.digest().clone())].into()
        }
    };
    Ok(Image { store, top, content, platforms })
}

/// The manifest for each platform of an index. If there are two entries for a platform, the first one counts, as for
/// `docker pull`. An entry without a platform counts for the platform of its config, unless there is another entry for
/// it. Artifacts don't count, and neither do manifests that a layout lacks.
async fn platforms(
    registries: &Registries,
    store: &Store,
    index: Index,
) -> Result<BTreeMap<Platform, Digest>, ResolveError> {
    let is_there = |digest: &Digest| match store {
        Store::Registry(..) => true,
        Store::Layout(_, layout) => layout.document(digest).is_some(),
    };
    let (mut found, mut unsaid) = (BTreeMap::new(), Vec::new());
    let (mut indexes, mut nested) = (VecDeque::from([index]), Vec::new());
    let mut read_indexes = 0;
    while let Some(index) = indexes.pop_front() {
        for listed in index.manifests.into_iter().filter(|listed| is_there(&listed.digest)) {
            if listed.is_index() {
                nested.push(listed.digest);
            } else if let Some(platform) = listed.image_platform() {
                found.entry(platform).or_insert(listed.digest);
            } else if listed.lacks_platform() {
                unsaid.push(listed.digest);
            }
        }
        // An index may list [indexes](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md), and
        // these may list others.
        for digest in nested.drain(..) {
            read_indexes += 1;
            if read_indexes > MOST_INDEXES {
                return Err(store.unusable(&digest, InvalidManifest::Nested));
            }
            if let Some((_, ManifestOrIndex::Index(index))) = store.document(registries, &digest).await? {
                indexes.push_back(index);
            }
        }
    }
    for digest in unsaid {
        match read(registries, store, &digest).await {
            Ok(image) => drop(found.entry(image.config.platform()).or_insert(digest)),
            // It is an artifact, not an image.
            Err(ResolveError::Config { .. } | ResolveError::Manifest { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Requests a part of an image. This project's own images may have been pushed a moment ago, by the job before this
/// one, so a missing one is requested again; a base has been there for a long time.
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

/// The manifest and config of an image for one platform.
pub(super) async fn read(
    registries: &Registries,
    store: &Store,
    digest: &Digest,
) -> Result<ResolvedSource, ResolveError> {
    let unusable = |cause| store.unusable(digest, cause);
    let (_, content) = store.document(registries, digest).await?.ok_or_else(|| store.incomplete(digest))?;
    let mut manifest = match content {
        ManifestOrIndex::Manifest(manifest) => manifest,
        ManifestOrIndex::Index(index) => return Err(unusable(InvalidManifest::Unsupported(index.media_type))),
    };
    let layers = manifest.layers.iter().map(Descriptor::to_oci_layer).collect::<Result<_, _>>();
    manifest.layers = layers.map_err(unusable)?;
    let config = store.config(registries, digest, &manifest.config).await?;
    let config = Config::parse(&config)
        .and_then(|config| match (config.diff_ids().len(), manifest.layers.len()) {
            (diff_ids, layers) if diff_ids == layers => Ok(config),
            (diff_ids, layers) => {
                Err(InvalidConfig::Malformed(format!("it names {diff_ids} layers, and the manifest {layers}")))
            }
        })
        .map_err(|cause| ResolveError::Config { role: store.role(), image: store.name(digest.clone()), cause })?;
    Ok(ResolvedSource { name: store.name(digest.clone()), manifest, config })
}

/// A manifest that the source's index lists, possibly an attestation, with everything that it refers to.
pub(super) async fn read_listed(
    registries: &Registries,
    store: &Store,
    listed: &Descriptor,
) -> Result<ImageContent, ResolveError> {
    let found = store.document(registries, &listed.digest).await?;
    let (document, content) = found.ok_or_else(|| store.incomplete(&listed.digest))?;
    if let ManifestOrIndex::Index(index) = &content {
        return Err(store.unusable(&listed.digest, InvalidManifest::Unsupported(index.media_type.clone())));
    }
    store.content(document, &content, listed.image_platform())
}

/// The image itself, if it is for one platform and has no index.
pub(super) fn single(image: &Image) -> Result<ImageContent, ResolveError> {
    image.store.content(image.top.clone(), &image.content, None)
}

/// A manifest of `repository`, with everything that it refers to.
pub(crate) fn content(repository: &Repository, pulled: &Pulled, platform: Option<Platform>) -> ImageContent {
    let blob = |descriptor: &Descriptor| Blob {
        descriptor: descriptor.clone(),
        origin: Origin::Repository(repository.clone()),
    };
    ImageContent {
        platform,
        manifest: pulled.document.clone(),
        blobs: descriptors(&pulled.content).into_iter().map(blob).collect(),
    }
}

fn descriptors(content: &ManifestOrIndex) -> Vec<&Descriptor> {
    match content {
        ManifestOrIndex::Manifest(manifest) => manifest.layers.iter().chain([&manifest.config]).collect(),
        ManifestOrIndex::Index(_) => Vec::new(),
    }
}
