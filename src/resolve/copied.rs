//! Images built elsewhere, copied as they are: every manifest of their index, including attestations.
//!
//! No manifest is changed. The image gets an index of ours, with the annotations of every variant; platforms that
//! weren't asked for are left out, together with their attestations.

use std::collections::BTreeSet;
use std::path::Path;

use futures_util::future::try_join_all;

use super::image::ask;
use super::layout::{self, Layout};
use super::{ResolveError, Role};
use crate::action::Files;
use crate::api::registry::Registries;
use crate::compose::{self, Blob, Composed, Content, ImageContent, Origin};
use crate::facts::{self, Facts};
use crate::hint::{Flaw, Hinted};
use crate::image::manifest::{Annotations, DescribedPlatform, InvalidManifest, ManifestOrIndex};
use crate::image::{
    Config, Descriptor, Digest, Document, Location, Manifest, PinnedReference, Platform, Reference, Repository,
};
use crate::plan::{Platforms, Variant};

/// An image built elsewhere, as it will be published.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The digest that it was found under.
    pub digest: Digest,
    /// The unchanged manifests under an index of ours.
    pub content: Content,
    /// The image for each platform.
    pub images: Vec<CopiedImage>,
}

/// An image built elsewhere, for one platform.
#[derive(Clone, Debug)]
pub struct CopiedImage {
    /// The image in the form of a composed one.
    pub image: Composed,
    /// Its manifest, if it is in a registry.
    pub reference: Option<PinnedReference>,
}

/// An image built elsewhere, as it was found.
#[derive(Debug)]
pub(super) struct Found {
    location: Location,
    top: Document,
    annotations: Annotations,
    entries: Vec<Entry>,
}

/// One of its manifests.
#[derive(Debug)]
struct Entry {
    listed: Descriptor,
    content: ImageContent,
    /// The annotations in the manifest itself.
    annotations: Annotations,
    /// The config of an image; `None` for attestations and artifacts.
    config: Option<Config>,
}

/// Where its documents and blobs are read from.
enum Store<'a> {
    Registry(&'a Registries, &'a Repository),
    Layout(Layout),
}

/// Reads the image at `location`. What has to be unpacked for that goes to `directory`.
///
/// # Errors
/// The image doesn't exist, or can't be used.
pub(super) async fn look_up(
    registries: &Registries,
    files: &dyn Files,
    directory: &Path,
    location: &Location,
) -> Result<Found, ResolveError> {
    let (store, top, content) = match location {
        Location::Registry(reference) => {
            let unavailable = |cause| ResolveError::Unavailable { role: Role::Image, image: reference.clone(), cause };
            let top = ask(registries, Role::Image, || registries.resolve(reference)).await.map_err(unavailable)?;
            (Store::Registry(registries, reference.repository()), top.document, top.content)
        }
        Location::Layout(name) => {
            let layout = layout::open(files, name, directory).await?;
            let top = layout.top().clone();
            let content = ManifestOrIndex::parse(top.media_type(), top.bytes())
                .map_err(|cause| unusable(location, top.digest(), &cause))?;
            (Store::Layout(layout), top, content)
        }
    };
    let annotations = content.annotations().clone();
    let entries = match content {
        ManifestOrIndex::Index(index) => {
            try_join_all(index.manifests.into_iter().map(|listed| store.entry(location, listed))).await?
        }
        ManifestOrIndex::Manifest(manifest) => {
            vec![store.read(location, top.descriptor(), top.clone(), &manifest, true).await?.with_platform()]
        }
    };
    Ok(Found { location: location.clone(), top, annotations, entries })
}

impl Store<'_> {
    async fn entry(&self, location: &Location, listed: Descriptor) -> Result<Entry, ResolveError> {
        let (document, content) = match self {
            Self::Registry(registries, repository) => {
                let reference = repository.pinned(listed.digest.clone());
                let unavailable = |cause| ResolveError::Unavailable {
                    role: Role::Image,
                    image: Reference::from(reference.clone()),
                    cause,
                };
                let manifest = ask(registries, Role::Image, || registries.manifest(&reference)).await;
                let pulled = manifest.map_err(unavailable)?;
                (pulled.document, pulled.content)
            }
            Self::Layout(layout) => {
                let document = layout.document(&listed.digest).ok_or_else(|| layout.lacks(&listed.digest))?;
                let content = ManifestOrIndex::parse(document.media_type(), document.bytes());
                (document.clone(), content.map_err(|cause| unusable(location, &listed.digest, &cause))?)
            }
        };
        match content {
            ManifestOrIndex::Manifest(manifest) => self.read(location, listed, document, &manifest, false).await,
            ManifestOrIndex::Index(_) => Err(unusable(location, &listed.digest, &InvalidManifest::Within)),
        }
    }

    async fn read(
        &self,
        location: &Location,
        listed: Descriptor,
        manifest: Document,
        parsed: &Manifest,
        is_top: bool,
    ) -> Result<Entry, ResolveError> {
        for layer in &parsed.layers {
            if let Err(cause @ InvalidManifest::ForeignLayer(..)) = layer.to_oci_layer() {
                return Err(unusable(location, &listed.digest, &cause));
            }
        }
        let is_image = listed.image_platform().is_some() || listed.lacks_platform();
        let config = if is_image {
            match Config::of_finished(&self.config(&listed.digest, &parsed.config).await?) {
                Ok(config) => Some(config),
                // It is an artifact, not an image.
                Err(_) if listed.lacks_platform() && !is_top => None,
                Err(cause) => return Err(unusable(location, &listed.digest, &cause)),
            }
        } else {
            None
        };
        let platform = listed.image_platform().or_else(|| config.as_ref().map(Config::platform));
        let blobs = parsed.layers.iter().chain([&parsed.config]).map(|blob| self.blob(blob));
        let content = ImageContent { platform, manifest, blobs: blobs.collect::<Result<_, _>>()? };
        Ok(Entry { listed, content, annotations: parsed.annotations.clone(), config })
    }

    async fn config(&self, manifest: &Digest, config: &Descriptor) -> Result<bytes::Bytes, ResolveError> {
        match self {
            Self::Registry(registries, repository) => {
                let image = Reference::from(repository.pinned(manifest.clone()));
                let unavailable = |cause| ResolveError::Unavailable { role: Role::Image, image: image.clone(), cause };
                let read = || registries.small_blob(repository, config);
                ask(registries, Role::Image, read).await.map_err(unavailable)
            }
            Self::Layout(layout) => Ok(layout.config(&config.digest)?.clone()),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, ResolveError> {
        let origin = match self {
            Self::Registry(_, repository) => Origin::Repository((*repository).clone()),
            Self::Layout(layout) => layout.blob(&descriptor.digest)?.clone(),
        };
        Ok(Blob { descriptor: descriptor.clone(), origin })
    }
}

fn unusable(location: &Location, manifest: &Digest, cause: &impl Hinted) -> ResolveError {
    ResolveError::Copied { image: location.clone(), manifest: manifest.clone(), cause: Flaw::of(cause) }
}

impl Entry {
    /// The entry as an index would list it, with the platform of its config.
    fn with_platform(self) -> Self {
        let platform = self.content.platform.as_ref().map(DescribedPlatform::from);
        Self { listed: Descriptor { platform, ..self.listed }, ..self }
    }

    /// The image's platform; `None` for attestations and artifacts.
    fn platform(&self) -> Option<&Platform> {
        self.config.as_ref().and(self.content.platform.as_ref())
    }
}

impl Found {
    /// The digest that it was found under.
    pub(super) fn digest(&self) -> &Digest {
        self.top.digest()
    }

    /// The facts in its index, and in the config of its first Linux image, or of its first image.
    pub(super) fn facts(&self) -> Facts {
        let images = || self.entries.iter().filter_map(|entry| Some((entry.platform()?, entry.config.as_ref()?)));
        let linux = images().find(|(platform, _)| platform.is_linux());
        let first = linux.or_else(|| images().next());
        first.map(|(_, config)| facts::of_source(&self.annotations, config)).unwrap_or_default()
    }

    /// The facts about its base: annotations of its index, else annotations of its first image, else labels of that
    /// image.
    pub(super) fn base(&self) -> Annotations {
        let first = self.entries.iter().find(|entry| entry.config.is_some());
        let labels = first.and_then(|entry| entry.config.as_ref()).map(Config::labels).unwrap_or_default();
        let says = [Some(&self.annotations), first.map(|entry| &entry.annotations), Some(&labels)];
        let of_base = says.into_iter().flatten().map(facts::of_base);
        of_base.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The image of `variant` with `annotations`, for the variant's platforms.
    ///
    /// # Errors
    /// A requested platform is missing, or there is no image at all.
    pub(super) fn copy(&self, variant: &Variant, annotations: &Annotations) -> Result<Copied, ResolveError> {
        let has: BTreeSet<&Platform> = self.entries.iter().filter_map(Entry::platform).collect();
        let wanted: BTreeSet<&Platform> = match &variant.platforms {
            Platforms::Auto => has.clone(),
            Platforms::Listed(listed) => listed.iter().collect(),
        };
        let available = || has.iter().map(|platform| (*platform).clone()).collect::<Vec<Platform>>();
        if let Some(missing) = wanted.difference(&has).next() {
            return Err(ResolveError::PlatformMissing {
                role: Role::Image,
                image: self.location.to_string(),
                platform: (*missing).clone(),
                variants: vec![variant.name.clone()],
                available: available(),
            });
        }
        if wanted.is_empty() {
            return Err(ResolveError::NoImage { image: self.location.clone(), variant: variant.name.clone() });
        }
        let is_whole = variant.platforms == Platforms::Auto;
        let is_wanted = |entry: &&Entry| entry.platform().is_some_and(|platform| wanted.contains(platform));
        let kept: BTreeSet<&str> =
            self.entries.iter().filter(is_wanted).map(|entry| entry.listed.digest.as_str()).collect();
        let is_kept = |entry: &&Entry| {
            is_whole || is_wanted(entry) || entry.listed.attests().is_some_and(|image| kept.contains(image))
        };
        let entries: Vec<&Entry> = self.entries.iter().filter(is_kept).collect();
        let content =
            Content { index: self.top.clone(), images: entries.iter().map(|entry| entry.content.clone()).collect() };
        let listed = entries.iter().map(|entry| entry.listed.clone()).collect();
        let mut seen = BTreeSet::new();
        // If there are two entries for a platform, the first one counts, as for `docker pull`.
        let images = entries.iter().filter(|entry| entry.platform().is_some_and(|platform| seen.insert(platform)));
        Ok(Copied {
            digest: self.digest().clone(),
            content: compose::annotated(&content, listed, annotations),
            images: images.filter_map(|entry| self.image(entry)).collect(),
        })
    }

    fn image(&self, entry: &Entry) -> Option<CopiedImage> {
        let image = Composed {
            platform: entry.platform()?.clone(),
            config: entry.config.clone()?,
            manifest: entry.content.manifest.clone(),
            blobs: entry.content.blobs.clone(),
        };
        let repository = self.location.repository();
        Some(CopiedImage {
            image,
            reference: repository.map(|repository| repository.pinned(entry.listed.digest.clone())),
        })
    }
}
