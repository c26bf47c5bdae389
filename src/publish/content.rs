//! Content by digest: first blobs, then manifests, then indexes, and the source's index last. No tag moves here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::PublishError;
use crate::action::Log;
use crate::api::registry::{BlobOrigin, Ensured, Registries};
use crate::compose::{Blob, Content, Origin};
use crate::image::{Digest, Document, Repository};
use crate::quote::count;
use crate::survey::Surveyed;

/// How the blobs of an image got to a destination, as numbers of blobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Blobs {
    /// Blobs that were already there.
    pub already_there: usize,
    /// Blobs that were mounted from another repository of the registry.
    pub mounted: usize,
    /// Blobs that were copied from another registry.
    pub copied: usize,
    /// Blobs that were uploaded from this machine.
    pub pushed: usize,
    /// Manifests and indexes that were pushed.
    #[serde(skip)]
    pub manifests: usize,
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

    pub(crate) fn add(&mut self, other: Self) {
        self.already_there += other.already_there;
        self.mounted += other.mounted;
        self.copied += other.copied;
        self.pushed += other.pushed;
        self.manifests += other.manifests;
    }

    /// Whether nothing had to be sent.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.mounted + self.copied + self.pushed + self.manifests == 0
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
            counts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
        f.write_str(&said.join(", "))
    }
}

/// Ensures that every destination has all content of every index that a tag names there, or is about to name. Manifests
/// and blobs are looked up one by one, because an index may outlive them. Returns the tally of each index at each
/// destination; indexes in `done` are skipped.
///
/// # Errors
/// A registry refuses a request, or doesn't confirm a manifest.
pub(super) async fn ensure(
    registries: &Registries,
    surveyed: &Surveyed<'_>,
    done: &BTreeMap<(Repository, Digest), Blobs>,
    log: &Log,
) -> Result<BTreeMap<(Repository, Digest), Blobs>, PublishError> {
    let mut contents = surveyed.content_by_destination();
    contents.retain(|(to, _, content)| !done.contains_key(&((*to).clone(), content.digest().clone())));
    let mut wanted = BTreeMap::<&Digest, (&Blob, BTreeSet<&Repository>)>::new();
    for (to, _, content) in &contents {
        for blob in content.blobs() {
            wanted.entry(&blob.descriptor.digest).or_insert_with(|| (blob, BTreeSet::new())).1.insert(to);
        }
    }
    let bar = log.progress("blobs", wanted.len() as u64);
    // Each blob goes to all destinations that lack it, so that it is read from its source only once.
    let ensured_blobs: BTreeMap<(Repository, Digest), Ensured> = stream::iter(wanted.into_values())
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

    let is_source = |artifact: usize| surveyed.wanted.artifacts[artifact].variant.is_none();
    // If the source is a single manifest, its tags name that manifest, which therefore comes last.
    let is_last =
        |digest: &Digest| contents.iter().any(|(_, number, top)| is_source(*number) && top.digest() == digest);
    let (mut manifests, mut indexes, mut source) = (Vec::new(), Vec::new(), Vec::new());
    for (to, artifact, content) in &contents {
        let images = content.images.iter().map(|image| &image.manifest).filter(|manifest| !is_last(manifest.digest()));
        manifests.extend(images.map(|manifest| (*to, manifest)));
        if is_source(*artifact) { &mut source } else { &mut indexes }.push((*to, &content.index));
    }
    // GHCR orders a package's versions by the first push of a manifest: a new source index that comes last heads the
    // page.
    let mut pushed = BTreeSet::new();
    // A registry may refuse an index whose manifests it doesn't see yet, so each group is there before the next.
    for documents in [manifests, indexes, source] {
        let missing = push(registries, documents).await?;
        read_back(registries, &missing).await?;
        pushed.extend(missing);
    }

    Ok(tallies(surveyed, contents, &ensured_blobs, &pushed, log))
}

/// Counts what was done for each index at each destination, and logs it. `pushed` are the manifests that were missing.
fn tallies(
    surveyed: &Surveyed<'_>,
    contents: Vec<(&Repository, usize, &Content)>,
    ensured_blobs: &BTreeMap<(Repository, Digest), Ensured>,
    pushed: &BTreeSet<(Repository, Digest)>,
    log: &Log,
) -> BTreeMap<(Repository, Digest), Blobs> {
    let (mut tallies, mut complete) = (BTreeMap::new(), BTreeMap::<Repository, usize>::new());
    for (to, artifact, content) in contents {
        // Attestations, and other non-images that an index lists.
        let (mut all, mut others, mut entries) = (Blobs::default(), Blobs::default(), 0);
        let name = surveyed.wanted.artifacts[artifact].tags.exact.first();
        let name = name.map_or_else(|| to.to_string(), |tag| to.tagged(tag.clone()).to_string());
        for image in &content.images {
            let mut tally = Blobs::default();
            for blob in &image.blobs {
                tally.count(ensured_blobs[&(to.clone(), blob.descriptor.digest.clone())]);
            }
            match &image.platform {
                Some(_) if log.is_verbose() => log.image(&name, image.platform.as_ref(), &tally.to_string()),
                Some(_) => {}
                None => {
                    others.add(tally);
                    entries += 1;
                }
            }
            all.add(tally);
        }
        if entries > 0 && log.is_verbose() {
            log.image(&name, None, &format!("{others} of {entries} entries without a platform"));
        }
        let of_content = |(repository, digest): &&(Repository, Digest)| {
            repository == to
                && (digest == content.digest() || content.images.iter().any(|image| image.manifest.digest() == digest))
        };
        all.manifests = pushed.iter().filter(of_content).count();
        if all.is_unchanged() {
            *complete.entry(to.clone()).or_default() += 1;
        } else if !log.is_verbose() {
            log.image(&name, None, &format!("{all}, {}", count(all.manifests, "manifest")));
        }
        tallies.insert((to.clone(), content.digest().clone()), all);
    }
    for (to, images) in complete.into_iter().filter(|_| !log.is_verbose()) {
        log.image(&to, None, &format!("{} already complete", count(images, "image")));
    }
    tallies
}

fn origin(blob: &Blob) -> BlobOrigin<'_> {
    match &blob.origin {
        Origin::Repository(repository) => BlobOrigin::Repository(repository),
        Origin::Document(document) => BlobOrigin::Bytes(document.bytes()),
        Origin::Section(section) => BlobOrigin::Section(&section.path, section.start),
        Origin::Executables(layer) => BlobOrigin::File(layer.compressed.path()),
        Origin::Run(layer) => BlobOrigin::File(layer.compressed.path()),
    }
}

/// Pushes documents, each once to each destination, as many in parallel as the registries allow. Returns those that
/// were missing.
async fn push(
    registries: &Registries,
    documents: Vec<(&Repository, &Document)>,
) -> Result<BTreeSet<(Repository, Digest)>, PublishError> {
    let place = |to: &Repository, document: &Document| (to.clone(), document.digest().clone());
    let once: BTreeMap<(Repository, Digest), &Document> =
        documents.into_iter().map(|(to, document)| (place(to, document), document)).collect();
    stream::iter(once)
        .map(async |(place, document)| {
            let ensured = registries.ensure_manifest(&place.0, document).await?;
            Ok((ensured != Ensured::AlreadyThere).then_some(place))
        })
        .buffer_unordered(registries.concurrency())
        .try_filter_map(async |pushed| Ok(pushed))
        .try_collect()
        .await
}

/// Looks up everything that was pushed, by digest. Everything else was looked up before the push.
async fn read_back(registries: &Registries, pushed: &BTreeSet<(Repository, Digest)>) -> Result<(), PublishError> {
    stream::iter(pushed)
        .map(async |(to, digest)| {
            if registries.confirm(to, digest).await? {
                return Ok(());
            }
            Err(PublishError::ReadBack { reference: to.pinned(digest.clone()).into() })
        })
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}
