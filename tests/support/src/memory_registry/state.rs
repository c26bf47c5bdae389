//! The content of a registry. Copies are cheap, because unchanged parts are shared.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use crate::image::Manifest;

/// The content of a [`MemoryRegistry`](super::MemoryRegistry) at one moment, without open uploads.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct State {
    repositories: Arc<BTreeMap<String, Arc<Repository>>>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<String, Bytes>,
    pub(super) manifests: BTreeMap<String, Stored>,
    /// `None` until the first tag is written: until then the repository has no list of tags.
    pub(super) tags: Option<BTreeMap<String, String>>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

impl State {
    /// The repositories that have ever had content, sorted.
    pub fn repositories(&self) -> Vec<String> {
        self.repositories.keys().cloned().collect()
    }

    /// The tags of a repository, sorted; none if there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.all_named(repository).into_keys().collect()
    }

    /// The tags of a repository, and the digest that each names.
    pub fn all_named(&self, repository: &str) -> BTreeMap<String, String> {
        self.repository(repository).and_then(|there| there.tags.clone()).unwrap_or_default()
    }

    /// The digest that a tag names, whether or not that manifest exists; `None` if there is no such tag.
    pub fn named(&self, repository: &str, tag: &str) -> Option<String> {
        self.repository(repository)?.tags.as_ref()?.get(tag).cloned()
    }

    /// The manifest that `reference` (a tag or a digest) names, if it exists.
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<Manifest> {
        let (_, stored) = self.repository(repository)?.find(reference)?;
        Some(Manifest { media_type: stored.media_type.clone(), bytes: stored.bytes.to_vec() })
    }

    /// The bytes of a blob, if the repository has it.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.repository(repository)?.blobs.get(digest).cloned()
    }

    /// The digests that a pull of `reference` needs and the repository lacks: the manifest itself, manifests of an
    /// index, configs and layers. If it is empty, pulls for every platform succeed.
    pub fn missing(&self, repository: &str, reference: &str) -> Vec<String> {
        let Some(there) = self.repository(repository) else { return vec![reference.to_owned()] };
        let Some((_, stored)) = there.find(reference) else {
            return vec![self.named(repository, reference).unwrap_or_else(|| reference.to_owned())];
        };
        let References { blobs, manifests } = References::of(&stored.bytes);
        let mut missing: Vec<String> = blobs.into_iter().filter(|blob| !there.blobs.contains_key(blob)).collect();
        missing.extend(manifests.iter().flat_map(|manifest| self.missing(repository, manifest)));
        missing
    }

    pub(super) fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.get(name).map(Arc::as_ref)
    }

    /// The repository, for changing it; it is created if it doesn't exist.
    pub(super) fn change(&mut self, name: &str) -> &mut Repository {
        Arc::make_mut(Arc::make_mut(&mut self.repositories).entry(name.to_owned()).or_default())
    }
}

impl Repository {
    /// The manifest that a tag or a digest names, with its digest.
    pub(super) fn find(&self, reference: &str) -> Option<(&str, &Stored)> {
        let digest = match reference.contains(':') {
            true => reference,
            false => self.tags.as_ref()?.get(reference)?,
        };
        self.manifests.get_key_value(digest).map(|(digest, stored)| (digest.as_str(), stored))
    }

    /// Removes a manifest and the tags that name it.
    pub(super) fn remove_with_tags(&mut self, digest: &str) -> bool {
        if let Some(tags) = &mut self.tags {
            tags.retain(|_, named| named != digest);
        }
        self.manifests.remove(digest).is_some()
    }
}

/// Shows the tags of every repository, for failed comparisons.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.repositories.iter()).finish()
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("blobs", &self.blobs.keys())
            .field("manifests", &self.manifests.keys())
            .field("tags", &self.tags)
            .finish()
    }
}

/// The digests that a manifest or an index refers to.
#[derive(Default)]
pub(super) struct References {
    pub(super) blobs: Vec<String>,
    pub(super) manifests: Vec<String>,
}

impl References {
    /// The references of a document, which has none if it isn't JSON. Layers that come from elsewhere don't count.
    pub(super) fn of(document: &[u8]) -> Self {
        let document: Value = serde_json::from_slice(document).unwrap_or_default();
        let digest = |descriptor: &Value| descriptor["digest"].as_str().map(str::to_owned);
        let list = |name: &str| document[name].as_array().cloned().unwrap_or_default();
        let is_here = |layer: &Value| {
            let media_type = layer["mediaType"].as_str().unwrap_or_default();
            !media_type.contains(".foreign.") && !media_type.contains(".nondistributable.")
        };
        let layers = list("layers").into_iter().filter(is_here);
        let blobs = layers.chain([document["config"].clone()]).filter_map(|blob| digest(&blob)).collect();
        Self { blobs, manifests: list("manifests").iter().filter_map(digest).collect() }
    }
}
