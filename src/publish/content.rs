//! Content by digest: blobs, then manifests, then indexes. No tag moves here, so nobody outside sees a change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Artifact, PublishError};
use crate::action::Log;
use crate::api::registry::{BlobOrigin, Ensured, Registries, RegistryError};
use crate::build::compose::{Blob, Origin};
use crate::image::{Digest, Document, Repository};

/// How blobs got to a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Blobs {
    /// They were there.
    pub already_there: u64,
    /// The registry took them from another of its repositories.
    pub mounted: u64,
    /// They came from another registry.
    pub copied: u64,
    /// They were made by this run.
    pub pushed: u64,
}

impl Blobs {
    fn count(&mut self, ensured: Ensured) {
        *match ensured {
            Ensured::AlreadyThere => &mut self.already_there,
            Ensured::Mounted => &mut self.mounted,
            Ensured::Copied => &mut self.copied,
            Ensured::Pushed => &mut self.pushed,
        } += 1;
    }

    fn add(&mut self, other: Self) {
        self.already_there += other.already_there;
        self.mounted += other.mounted;
        self.copied += other.copied;
        self.pushed += other.pushed;
    }

    /// Whether nothing had to be sent.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.mounted + self.copied + self.pushed == 0
    }
}

impl std::fmt::Display for Blobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.already_there, "already there"),
            (self.mounted, "mounted"),
            (self.copied, "copied"),
            (self.pushed, "pushed"),
        ];
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
    log: &Log,
) -> Result<BTreeMap<(Repository, Digest), Blobs>, PublishError> {
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

    let mut wanted = BTreeMap::<&Digest, (&Blob, BTreeSet<&Repository>)>::new();
    for (to, artifact) in &missing {
        for blob in artifact.blobs() {
            wanted.entry(&blob.descriptor.digest).or_insert_with(|| (blob, BTreeSet::new())).1.insert(to);
        }
    }
    let bar = log.progress("blobs", wanted.len() as u64);
    // Each blob once, to all destinations that lack it, so that it is read from its source once.
    let sent_blobs: BTreeMap<(Repository, Digest), Ensured> = stream::iter(wanted.into_values())
        .map(async |(blob, to)| {
            let to: Vec<Repository> = to.into_iter().cloned().collect();
            let ensured = registries.ensure_blob_everywhere(&to, &blob.descriptor, origin(blob)).await?;
            bar.step();
            let digest = &blob.descriptor.digest;
            Ok::<_, PublishError>(to.into_iter().map(|to| (to, digest.clone())).zip(ensured).collect::<Vec<_>>())
        })
        .buffer_unordered(registries.concurrency())
        .try_collect::<Vec<_>>()
        .await?
        .into_iter()
        .flatten()
        .collect();

    let manifests = missing.iter().flat_map(|(to, artifact)| artifact.images.iter().map(move |i| (*to, &i.manifest)));
    push(registries, manifests).await?;
    push(registries, missing.iter().map(|(to, artifact)| (*to, &artifact.index))).await?;
    read_back(registries, destinations, artifacts).await?;

    let mut tallies = BTreeMap::new();
    for to in destinations {
        for artifact in artifacts {
            let mut all = Blobs::default();
            for image in &artifact.images {
                let mut tally = Blobs::default();
                for blob in &image.blobs {
                    let sent = sent_blobs.get(&(to.clone(), blob.descriptor.digest.clone()));
                    tally.count(sent.copied().unwrap_or(Ensured::AlreadyThere));
                }
                let name = artifact.tags.exact.first().map_or_else(String::new, |tag| format!(":{tag}"));
                log.image(&format!("{to}{name}"), image.platform.as_ref(), &tally.to_string());
                all.add(tally);
            }
            tallies.insert((to.clone(), artifact.index.digest().clone()), all);
        }
    }
    Ok(tallies)
}

fn origin(blob: &Blob) -> BlobOrigin<'_> {
    match &blob.origin {
        Origin::Repository(repository) => BlobOrigin::Repository(repository),
        Origin::Document(document) => BlobOrigin::Bytes(document.bytes()),
        Origin::Executables(layer) => BlobOrigin::File(layer.compressed.path()),
        Origin::Run(layer) => BlobOrigin::File(layer.compressed.path()),
    }
}

/// Sends documents, each once to each destination, as many at once as the registries allow.
async fn push<'a>(
    registries: &Registries,
    documents: impl Iterator<Item = (&'a Repository, &'a Document)>,
) -> Result<(), PublishError> {
    let once: BTreeMap<(&Repository, &Digest), &Document> =
        documents.map(|(to, document)| ((to, document.digest()), document)).collect();
    stream::iter(once)
        .map(async |((to, _), document)| registries.ensure_manifest(to, document).await)
        .buffer_unordered(registries.concurrency())
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(())
}

/// Between the attempts to read what a registry has just taken: not all parts of a large one know at once. 31 seconds.
const READ_BACK: [u64; 6] = [500, 500, 2_000, 4_000, 8_000, 16_000];

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
            for wait in READ_BACK {
                match registries.manifest(&reference).await {
                    Ok(pulled) if pulled.document.bytes() == index.bytes() => return Ok(()),
                    Ok(_) => break,
                    Err(RegistryError::Missing(_)) => tokio::time::sleep(Duration::from_millis(wait)).await,
                    Err(error) => return Err(error.into()),
                }
            }
            Err(PublishError::ReadBack { reference })
        })
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}
