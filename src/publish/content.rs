//! Content by digest: blobs, then manifests, then indexes. No tag moves here, so nobody outside sees a change.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Artifact, PublishError};
use crate::api::registry::{BlobOrigin, Ensured, Registries};
use crate::build::compose::{Blob, Origin};
use crate::image::{Digest, Document, Repository};

/// How blobs and manifests came to be where they are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// Were there before.
    pub there: usize,
    /// Mounted from another repository of the registry.
    pub mounted: usize,
    /// Copied from another registry.
    pub copied: usize,
    /// Sent from here.
    pub pushed: usize,
}

impl Tally {
    fn count(&mut self, ensured: Ensured) {
        *match ensured {
            Ensured::AlreadyThere => &mut self.there,
            Ensured::Mounted => &mut self.mounted,
            Ensured::Copied => &mut self.copied,
            Ensured::Pushed => &mut self.pushed,
        } += 1;
    }

    /// Whether nothing had to be sent.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.mounted + self.copied + self.pushed == 0
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [(self.there, "there"), (self.mounted, "mounted"), (self.copied, "copied"), (self.pushed, "pushed")];
        let said: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        f.write_str(&said.join(", "))
    }
}

/// Makes sure that every destination has all content of every artifact, and reads the indexes back. Gives the tally of
/// each artifact at each destination.
///
/// # Errors
/// A registry refuses something, or gives back another index than it was sent.
pub(super) async fn ensure(
    registries: &Registries,
    destinations: &[Repository],
    artifacts: &[Artifact],
) -> Result<BTreeMap<(Repository, Digest), Tally>, PublishError> {
    let everywhere = destinations.iter().flat_map(|to| artifacts.iter().map(move |artifact| (to, artifact)));
    // An index is sent after all that it points at, so where it is there, the rest is as well.
    let missing: Vec<(&Repository, &Artifact)> = stream::iter(everywhere)
        .map(async |(to, artifact)| {
            let there = registries.has_manifest(to, artifact.index.digest()).await?;
            Ok::<_, PublishError>((!there).then_some((to, artifact)))
        })
        .buffer_unordered(registries.concurrency())
        .try_filter_map(async |missing| Ok(missing))
        .try_collect()
        .await?;

    let blobs = missing.iter().flat_map(|(to, artifact)| artifact.blobs().map(move |blob| (*to, blob)));
    let blobs = each_once(blobs, |blob| &blob.descriptor.digest);
    let sent_blobs = concurrently(registries, blobs, async |to, blob: &Blob| {
        Ok((blob.descriptor.digest.clone(), ensure_blob(registries, to, blob).await?))
    })
    .await?;

    let manifests = missing.iter().flat_map(|(to, artifact)| artifact.images.iter().map(move |i| (*to, &i.manifest)));
    let manifests = each_once(manifests, Document::digest);
    concurrently(registries, manifests, async |to, manifest: &Document| {
        Ok((manifest.digest().clone(), registries.ensure_manifest(to, manifest).await?))
    })
    .await?;

    let indexes = each_once(missing.iter().map(|(to, artifact)| (*to, &artifact.index)), Document::digest);
    concurrently(registries, indexes, async |to, index: &Document| {
        Ok((index.digest().clone(), registries.ensure_manifest(to, index).await?))
    })
    .await?;
    read_back(registries, destinations, artifacts).await?;

    let mut tallies = BTreeMap::new();
    for to in destinations {
        for artifact in artifacts {
            let mut tally = Tally::default();
            for blob in artifact.blobs() {
                let sent = sent_blobs.get(&(to.clone(), blob.descriptor.digest.clone()));
                tally.count(sent.copied().unwrap_or(Ensured::AlreadyThere));
            }
            tallies.insert((to.clone(), artifact.index.digest().clone()), tally);
        }
    }
    Ok(tallies)
}

async fn ensure_blob(registries: &Registries, to: &Repository, blob: &Blob) -> Result<Ensured, PublishError> {
    let origin = match &blob.origin {
        Origin::Repository(repository) => BlobOrigin::Repository(repository),
        Origin::Document(document) => BlobOrigin::Bytes(document.bytes()),
        Origin::Executables(layer) => BlobOrigin::File(layer.path()),
        Origin::Run(layer) => BlobOrigin::File(layer.blob.path()),
    };
    Ok(registries.ensure_blob(to, &blob.descriptor, origin).await?)
}

/// What several artifacts share is sent once to each destination.
fn each_once<'a, T>(
    items: impl Iterator<Item = (&'a Repository, &'a T)>,
    digest: impl Fn(&T) -> &Digest,
) -> Vec<(&'a Repository, &'a T)> {
    let mut seen = BTreeSet::new();
    items.filter(|(to, item)| seen.insert(((*to).clone(), digest(item).clone()))).collect()
}

/// Does `work` for each item, as many at once as the registries allow; stops at the first failure.
async fn concurrently<'a, T>(
    registries: &Registries,
    items: Vec<(&'a Repository, &'a T)>,
    work: impl AsyncFn(&'a Repository, &'a T) -> Result<(Digest, Ensured), PublishError>,
) -> Result<BTreeMap<(Repository, Digest), Ensured>, PublishError> {
    stream::iter(items)
        .map(async |(to, item)| {
            let (digest, ensured) = work(to, item).await?;
            Ok(((to.clone(), digest), ensured))
        })
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}

/// Reads every index by digest, at every destination.
async fn read_back(
    registries: &Registries,
    destinations: &[Repository],
    artifacts: &[Artifact],
) -> Result<(), PublishError> {
    let everywhere = destinations.iter().flat_map(|to| artifacts.iter().map(move |artifact| (to, &artifact.index)));
    stream::iter(everywhere)
        .map(async |(to, index)| {
            let reference = to.pinned(index.digest().clone());
            let pulled = registries.manifest(&reference).await?;
            if pulled.document.bytes() == index.bytes() {
                Ok(())
            } else {
                Err(PublishError::ReadBack { reference })
            }
        })
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}
