//! Compares published images with those that this run composes: whether an earlier run began the release with them, on
//! an earlier base.

use std::collections::BTreeMap;

use super::answers::{is_missing, unless_unreadable};
use super::{SurveyError, Surveyed};
use crate::compose::kinship::{self, Published};
use crate::compose::{Blob, Composed, Content, ImageContent, Origin};
use crate::facts;
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Config, Descriptor, Digest, Document, Index, MediaType, Platform, Repository};
use crate::resolve::{self, ResolveError, ResolvedVariant};

impl Surveyed<'_> {
    /// Compares a published image with the variant on that image's base. Returns the content if it is this release,
    /// else why it isn't.
    pub(super) async fn compare(
        &self,
        variant: &ResolvedVariant,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Result<Content, String>, SurveyError> {
        let pulled = match self.read_ours(repository, digest).await? {
            Ok(pulled) => pulled,
            Err(why) => return Ok(Err(why)),
        };
        let ManifestOrIndex::Index(index) = &pulled.content else {
            return Ok(Err("which is for one platform, without an index".to_owned()));
        };
        if let Some(copied) = &variant.copied {
            return self.published(repository, pulled.document.clone(), index, &copied.content).await;
        }
        let base = index.annotations.get(facts::BASE_DIGEST).and_then(|digest| digest.parse::<Digest>().ok());
        let base = match (variant.variant.made.base_reference(), base) {
            (Some(name), Some(base)) => Some(name.repository().pinned(base)),
            (Some(_), None) => return Ok(Err("which doesn't say on which base it is".to_owned())),
            // Without a base it is either the image that this run composes or another release's.
            (None, _) => None,
        };
        let then = match self.resolved.on_base(self.registries, &variant.variant, base).await {
            Ok(then) => then,
            Err(ResolveError::Unavailable { cause, .. }) if !is_missing(&cause) => return Err(cause.into()),
            Err(ResolveError::Source(error)) => return Err(ResolveError::Source(error).into()),
            Err(_) => return Ok(Err("whose base can't be read any more".to_owned())),
        };
        let (images, published) = match self.read_images(repository, &index.manifests, &then.composed).await? {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        let run_lines = variant.variant.run.len();
        let annotations = (&index.annotations, &then.index_annotations);
        let differs = match kinship::difference(annotations, (&published, &then.composed), run_lines) {
            Some(difference) => Some(format!("which was made by another plan: {difference}")),
            None => self.executables_differ(repository, &published, &then.composed).await?,
        };
        Ok(differs.map_or(Ok(Content { index: pulled.document, images }), Err))
    }

    /// The content of an index of this version, as it is: an image built elsewhere can't be composed again for a
    /// comparison. Blobs that it shares with `ours` can be sent again from their origin.
    async fn published(
        &self,
        repository: &Repository,
        document: Document,
        index: &Index,
        ours: &Content,
    ) -> Result<Result<Content, String>, SurveyError> {
        let mut images = Vec::new();
        for listed in &index.manifests {
            if let Some(known) = ours.images.iter().find(|image| *image.manifest.digest() == listed.digest) {
                images.push(known.clone());
                continue;
            }
            match unless_unreadable(self.registries.manifest(&repository.pinned(listed.digest.clone())).await)? {
                Ok(pulled) => images.push(resolve::content(repository, &pulled, listed.image_platform())),
                Err(_) => return Ok(Err("which has missing parts".to_owned())),
            }
        }
        Ok(Ok(Content { index: document, images }))
    }

    /// Compares a published index with the source's manifests. Returns the content if it is this release, else why it
    /// isn't.
    pub(super) async fn compare_source(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Result<Content, String>, SurveyError> {
        let pulled = match self.read_ours(repository, digest).await? {
            Ok(pulled) => pulled,
            Err(why) => return Ok(Err(why)),
        };
        let source = self.resolved.tagged_source.as_ref().expect("only a source with tags is asked about");
        // The configs of a source that was made here contain facts, which a later run may know better.
        let made = self.resolved.made_source();
        if let (ManifestOrIndex::Index(index), false) = (&pulled.content, made.is_empty()) {
            let (images, published) = match self.read_images(repository, &index.manifests, made).await? {
                Ok(read) => read,
                Err(why) => return Ok(Err(why)),
            };
            let annotated = source.annotated.index.bytes();
            let annotated =
                ManifestOrIndex::parse(source.annotated.index.media_type(), annotated).expect("we have written it");
            let annotations = (&index.annotations, annotated.annotations());
            let differs = match kinship::difference(annotations, (&published, made), 0) {
                Some(difference) => Some(format!("which was made of other files: {difference}")),
                None => self.executables_differ(repository, &published, made).await?,
            };
            return Ok(differs.map_or(Ok(Content { index: pulled.document, images }), Err));
        }
        let digests = |content: &ManifestOrIndex| match content {
            ManifestOrIndex::Index(index) => index.manifests.iter().map(|listed| listed.digest.clone()).collect(),
            ManifestOrIndex::Manifest(_) => Vec::new(),
        };
        let listed: Vec<Digest> = source.annotated.images.iter().map(|image| image.manifest.digest().clone()).collect();
        if digests(&pulled.content) != listed {
            return Ok(Err("which has other manifests than the source".to_owned()));
        }
        Ok(Ok(Content { index: pulled.document, images: source.annotated.images.clone() }))
    }

    /// Unpacks the executables' layers whose bytes aren't the composed ones, and says how one differs from what its
    /// config states.
    async fn executables_differ(
        &self,
        repository: &Repository,
        published: &[Published],
        composed: &[Composed],
    ) -> Result<Option<String>, SurveyError> {
        for (layer, stated) in kinship::compressed_otherwise(published, composed) {
            let unpacked = match unless_unreadable(self.registries.diff_id(repository, layer).await)? {
                Ok(unpacked) => unpacked,
                Err(_) => return Ok(Some("which has missing parts".to_owned())),
            };
            if !unpacked.is_ok_and(|diff_id| diff_id == stated) {
                return Ok(Some("whose layer of executables isn't the one that its config states".to_owned()));
            }
        }
        Ok(None)
    }

    /// The images that a published index lists, or why they can't be compared. `composed` are the images of this run.
    async fn read_images(
        &self,
        repository: &Repository,
        listed: &[Descriptor],
        composed: &[Composed],
    ) -> Result<Result<(Vec<ImageContent>, Vec<Published>), String>, SurveyError> {
        let (mut images, mut published) = (Vec::new(), Vec::new());
        for listed in listed {
            let Some(platform) = listed.image_platform() else {
                return Ok(Err("which has entries without a platform".to_owned()));
            };
            let pulled = self.registries.manifest(&repository.pinned(listed.digest.clone())).await;
            let pulled = match unless_unreadable(pulled)? {
                Ok(pulled) => pulled,
                Err(_) => return Ok(Err("which has missing parts".to_owned())),
            };
            let ManifestOrIndex::Manifest(manifest) = pulled.content.clone() else {
                return Ok(Err("which has an index in its index".to_owned()));
            };
            let bytes = match unless_unreadable(self.registries.small_blob(repository, &manifest.config).await)? {
                Ok(bytes) => bytes,
                Err(_) => return Ok(Err("which has missing parts".to_owned())),
            };
            let Ok(config) = Config::parse(&bytes) else {
                return Ok(Err("whose config can't be read".to_owned()));
            };
            let mut content = resolve::content(repository, &pulled, Some(platform.clone()));
            know_origins(&mut content, composed, &platform, &manifest.config, bytes);
            images.push(content);
            published.push(Published { platform, manifest, config });
        }
        Ok(Ok((images, published)))
    }
}

/// Sets the origins of a published image's blobs, in case a destination lacks them: the base's repository for its
/// layers, the composed layer for the executables, memory for the config.
fn know_origins(
    content: &mut ImageContent,
    composed: &[Composed],
    platform: &Platform,
    config: &Descriptor,
    bytes: bytes::Bytes,
) {
    let of_platform = composed.iter().filter(|composed| composed.platform == *platform);
    let known = of_platform.flat_map(|composed| &composed.blobs);
    let known: BTreeMap<&Digest, &Blob> = known.map(|blob| (&blob.descriptor.digest, blob)).collect();
    for blob in &mut content.blobs {
        if let Some(known) = known.get(&blob.descriptor.digest) {
            blob.origin = known.origin.clone();
        } else if blob.descriptor.digest == config.digest {
            blob.origin = Origin::Document(Document::received(MediaType::Config.as_str(), bytes.clone()));
        }
    }
}
