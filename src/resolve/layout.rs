//! [OCI image layouts](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md): folders and tar
//! archives, as written by `docker buildx build --output type=oci`, Skopeo and Podman.
//!
//! The whole image is checked against its digests when it is opened. Manifests and configs are then kept in memory;
//! layers stay in their files. If the files change later, the change isn't published: registries check the digest of
//! every upload, and layers that we unpack are copied first, and checked while they are copied. A layout may have only
//! some of an index's platforms, so images that the index lists and the layout lacks are left out.

mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::TempPath;

use crate::action::Files;
use crate::compose::{Content, Origin, Section};
use crate::error::{Fault, Hinted, Hints, StageError};
use crate::hint::FREE_DISK;
use crate::image::layout::{LayoutImage, LayoutName};
use crate::image::manifest::{Index, InvalidManifest, ManifestOrIndex};
use crate::image::{Descriptor, Digest, Document, MediaType};
use crate::troubleshooting::Topic;
use disk::Disk;

/// The maximum number of manifests.
const MOST_DOCUMENTS: usize = 1_000;
/// The annotation with the name of an image, usually a tag.
const NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation of containerd and buildx, which includes the repository.
const FULL_NAME: &str = "io.containerd.image.name";

/// An image of a layout: its index or manifest, with everything that this refers to.
#[derive(Debug)]
pub struct Layout {
    /// `None` for an image that was composed here.
    name: Option<LayoutName>,
    top: Document,
    documents: BTreeMap<Digest, Document>,
    configs: BTreeMap<Digest, Bytes>,
    blobs: BTreeMap<Digest, Origin>,
}

/// Why a layout can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The layout doesn't exist, or can't be read.
    #[error("`{layout}` can't be read")]
    Unreadable {
        /// The layout.
        layout: LayoutName,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The folder or archive isn't a layout.
    #[error("`{0}` is not an OCI layout: it has no `index.json`")]
    NoLayout(LayoutName),
    /// A document isn't a valid index or manifest.
    #[error("`{layout}` can't be used: {cause}")]
    Document {
        /// The layout.
        layout: LayoutName,
        /// What is wrong.
        cause: InvalidManifest,
    },
    /// A file doesn't match its digest or size.
    #[error("`{layout}` is damaged: {what}")]
    Damaged {
        /// The layout.
        layout: LayoutName,
        /// What is wrong.
        what: String,
    },
    /// There is more in it than is read.
    #[error("`{layout}` is too large: {what}")]
    TooLarge {
        /// The layout.
        layout: LayoutName,
        /// What there is too much of.
        what: String,
    },
    /// The layout lacks a part of the image.
    #[error("`{layout}` lacks `{digest}`, which its manifest names")]
    Incomplete {
        /// The layout.
        layout: LayoutName,
        /// What is missing.
        digest: Digest,
    },
    /// There are several images and none was chosen, or the chosen one doesn't exist.
    #[error("`{layout}` {}", found(.layout, *.listed))]
    Choice {
        /// The layout.
        layout: LayoutName,
        /// How many images it lists.
        listed: usize,
        /// The name by which each of its images can be chosen.
        offered: Vec<LayoutName>,
    },
    /// The disk is full.
    #[error("the blobs of `{layout}` could not be written to disk")]
    Disk {
        /// The layout.
        layout: LayoutName,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

fn found(layout: &LayoutName, listed: usize) -> String {
    match layout.image {
        Some(_) => "isn't one of the layout's images".to_owned(),
        None => format!("has {listed} images"),
    }
}

fn choice(offered: &[LayoutName]) -> String {
    let offered: Vec<String> = offered.iter().map(|layout| format!("`{layout}`")).collect();
    if offered.is_empty() {
        return "write the layout again, with an image in it".to_owned();
    }
    format!("name one of its images: {}", offered.join(", "))
}

impl Hinted for LayoutError {
    fn hints(&self) -> Hints {
        match self {
            Self::Unreadable { .. } => {
                "the path is relative to the workspace; does an earlier step make or download the layout?".into()
            }
            Self::NoLayout(_) => "`docker buildx build --output type=oci,dest=image.tar` writes one".into(),
            Self::Document { cause, .. } => cause.hints(),
            Self::Damaged { .. } => "write the layout again".into(),
            Self::TooLarge { .. } => "images have a few dozen small manifests; is this the right layout?".into(),
            Self::Incomplete { .. } => "write the layout again, for all platforms".into(),
            Self::Choice { offered, .. } => choice(offered).into(),
            Self::Disk { .. } => FREE_DISK.into(),
        }
    }
}

impl StageError for LayoutError {
    fn topic(&self) -> Topic {
        match self {
            Self::Disk { .. } => Topic::Disk,
            Self::Unreadable { .. }
            | Self::NoLayout(_)
            | Self::Document { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::Incomplete { .. }
            | Self::Choice { .. } => Topic::Files,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Disk { .. } => Fault::Publication,
            Self::Unreadable { .. }
            | Self::NoLayout(_)
            | Self::Document { .. }
            | Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::Incomplete { .. }
            | Self::Choice { .. } => Fault::Input,
        }
    }
}

/// Opens the image that `name` names. If its archive is compressed, that is decompressed into `directory`.
///
/// # Errors
/// There is no layout, or no such image; something in it is damaged; the disk is full.
pub(super) async fn open(files: &dyn Files, name: &LayoutName, directory: &Path) -> Result<Layout, LayoutError> {
    let unreadable = |cause| LayoutError::Unreadable { layout: name.clone(), cause };
    let real = files.locate(Path::new(&name.path)).map_err(unreadable)?;
    let (name, directory) = (name.clone(), directory.to_owned());
    let panicked = {
        let layout = name.clone();
        |panic| LayoutError::Unreadable { layout, cause: io::Error::other(panic) }
    };
    tokio::task::spawn_blocking(move || Layout::read(name, &real, &directory)).await.map_err(panicked)?
}

impl Layout {
    /// The image that `name` names, of the layout at `real`, which is a path without links.
    fn read(name: LayoutName, real: &Path, directory: &Path) -> Result<Self, LayoutError> {
        let disk = Disk::open(&name, real, directory)?;
        let index = disk.index(&MediaType::Index)?;
        let ManifestOrIndex::Index(entries) = parse(&name, &index)? else { unreachable!("it was parsed as an index") };
        let top = match choose(&entries, &name)? {
            Some(listed) => disk.document(&listed)?.ok_or_else(|| incomplete(&name, &listed.digest))?,
            None => index,
        };
        let mut documents = BTreeMap::from([(top.digest().clone(), top.clone())]);
        let (mut unparsed, mut configs, mut blobs) = (vec![top.clone()], BTreeMap::new(), BTreeMap::new());
        while let Some(document) = unparsed.pop() {
            match parse(&name, &document)? {
                ManifestOrIndex::Index(index) => {
                    for listed in &index.manifests {
                        if documents.contains_key(&listed.digest) {
                            continue;
                        }
                        if documents.len() > MOST_DOCUMENTS {
                            let what = format!("the image has more than {MOST_DOCUMENTS} manifests");
                            return Err(too_large(&name, what));
                        }
                        if let Some(document) = disk.document(listed)? {
                            documents.insert(listed.digest.clone(), document.clone());
                            unparsed.push(document);
                        }
                    }
                }
                ManifestOrIndex::Manifest(manifest) => {
                    let all = manifest.layers.iter().chain([&manifest.config]);
                    for blob in all.filter(|blob| !blobs.contains_key(&blob.digest)).collect::<Vec<_>>() {
                        if let Some(section) = disk.blob(blob)? {
                            blobs.insert(blob.digest.clone(), Origin::Section(section));
                        }
                    }
                    if let Some(config) = disk.config(&manifest.config)? {
                        configs.insert(manifest.config.digest.clone(), config);
                    }
                }
            }
        }
        Ok(Self { name: Some(name), top, documents, configs, blobs })
    }

    /// An image that was composed here.
    #[must_use]
    pub fn of(content: &Content) -> Self {
        let documents = content.images.iter().map(|image| &image.manifest).chain([&content.index]);
        let configs = content.blobs().filter_map(|blob| match &blob.origin {
            Origin::Document(config) => Some((blob.descriptor.digest.clone(), config.bytes().clone())),
            _ => None,
        });
        Self {
            name: None,
            top: content.index.clone(),
            documents: documents.map(|document| (document.digest().clone(), document.clone())).collect(),
            configs: configs.collect(),
            blobs: content.blobs().map(|blob| (blob.descriptor.digest.clone(), blob.origin.clone())).collect(),
        }
    }

    /// The image's index, or its only manifest.
    #[must_use]
    pub fn top(&self) -> &Document {
        &self.top
    }

    /// A manifest or an index; `None` if the layout lacks it.
    #[must_use]
    pub fn document(&self, digest: &Digest) -> Option<&Document> {
        self.documents.get(digest)
    }

    /// The config of a manifest.
    ///
    /// # Errors
    /// The layout lacks it.
    pub fn config(&self, digest: &Digest) -> Result<&Bytes, LayoutError> {
        self.configs.get(digest).ok_or_else(|| self.lacks(digest))
    }

    /// Where the bytes of a blob are.
    ///
    /// # Errors
    /// The layout lacks it.
    pub fn blob(&self, digest: &Digest) -> Result<&Origin, LayoutError> {
        self.blobs.get(digest).ok_or_else(|| self.lacks(digest))
    }

    /// A copy of a layer in a file of `directory`, checked against its digest.
    ///
    /// # Errors
    /// It is damaged, or the disk is full.
    pub(super) async fn copy(
        &self,
        section: &Section,
        layer: &Descriptor,
        directory: &Path,
    ) -> Result<TempPath, LayoutError> {
        let name = self.name.clone().expect("an image that was composed here has files of its own");
        let panicked = {
            let layout = name.clone();
            |panic| LayoutError::Disk { layout, cause: io::Error::other(panic) }
        };
        let (section, layer, directory) = (section.clone(), layer.clone(), PathBuf::from(directory));
        tokio::task::spawn_blocking(move || disk::copy(&name, &section, &layer, &directory)).await.map_err(panicked)?
    }

    /// The error that the layout lacks a part of the image.
    pub(super) fn lacks(&self, digest: &Digest) -> LayoutError {
        incomplete(self.name.as_ref().expect("an image that was composed here is complete"), digest)
    }
}

fn parse(name: &LayoutName, document: &Document) -> Result<ManifestOrIndex, LayoutError> {
    let parsed = ManifestOrIndex::parse(document.media_type(), document.bytes());
    parsed.map_err(|cause| LayoutError::Document { layout: name.clone(), cause })
}

fn incomplete(name: &LayoutName, digest: &Digest) -> LayoutError {
    LayoutError::Incomplete { layout: name.clone(), digest: digest.clone() }
}

fn damaged(name: &LayoutName, what: String) -> LayoutError {
    LayoutError::Damaged { layout: name.clone(), what }
}

fn too_large(name: &LayoutName, what: String) -> LayoutError {
    LayoutError::TooLarge { layout: name.clone(), what }
}

/// The entry of `index.json` that is the image. `None` if `index.json` itself is the image's index, with an entry for
/// each platform, as `buildah manifest push --all` writes it. An image may be listed under several names.
fn choose(index: &Index, name: &LayoutName) -> Result<Option<Descriptor>, LayoutError> {
    let is_meant = |listed: &&Descriptor| match &name.image {
        Some(LayoutImage::Named(image)) => names(listed).any(|name| name == image),
        Some(LayoutImage::Digest(digest)) => listed.digest == *digest,
        None => true,
    };
    let meant: Vec<&Descriptor> = index.manifests.iter().filter(is_meant).collect();
    match (digests(&meant), meant.first()) {
        (1, Some(listed)) => Ok(Some((*listed).clone())),
        (2.., _) if name.image.is_none() && is_one_for_each_platform(&meant) => Ok(None),
        _ => Err(LayoutError::Choice {
            layout: name.clone(),
            listed: digests(&index.manifests.iter().collect::<Vec<_>>()),
            offered: offer(index, name),
        }),
    }
}

fn names(listed: &Descriptor) -> impl Iterator<Item = &String> {
    [NAME, FULL_NAME].into_iter().filter_map(|key| listed.annotations.get(key))
}

fn digests(listed: &[&Descriptor]) -> usize {
    listed.iter().map(|listed| &listed.digest).collect::<BTreeSet<_>>().len()
}

/// Whether the entries are for different platforms, and share one name or have none.
fn is_one_for_each_platform(listed: &[&Descriptor]) -> bool {
    let platforms: Vec<_> = listed.iter().filter_map(|listed| listed.image_platform()).collect();
    let distinct: BTreeSet<_> = platforms.iter().collect();
    let names: BTreeSet<_> = listed.iter().map(|listed| listed.annotations.get(NAME)).collect();
    platforms.len() > 1 && distinct.len() == platforms.len() && names.len() == 1
}

/// The name by which each image can be chosen: its own, if no other image has it, else its digest.
fn offer(index: &Index, layout: &LayoutName) -> Vec<LayoutName> {
    let mut offered = BTreeMap::new();
    for listed in &index.manifests {
        let is_its_own = |name: &&String| {
            index
                .manifests
                .iter()
                .all(|other| other.digest == listed.digest || names(other).all(|other| other != *name))
        };
        let image = match listed.annotations.get(NAME).filter(is_its_own) {
            Some(name) => LayoutImage::Named(name.clone()),
            None => LayoutImage::Digest(listed.digest.clone()),
        };
        offered.entry(&listed.digest).or_insert_with(|| layout.with(image));
    }
    offered.into_values().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest(number: usize) -> Document {
        let config = Descriptor::new(MediaType::Config, Digest::of(b"{}"), 2);
        let annotations = json!({ "number": number.to_string() });
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": [], "annotations": annotations });
        Document::new(MediaType::Manifest, &manifest)
    }

    /// Reads a layout of `manifests` and an index that lists `listed`.
    fn read(manifests: &[Document], listed: &[Descriptor]) -> Result<Layout, LayoutError> {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let index = Document::new(MediaType::Index, &json!({ "schemaVersion": 2, "manifests": listed }));
        for document in manifests.iter().chain([&index]) {
            std::fs::write(blobs.join(document.digest().hex()), document.bytes()).unwrap();
        }
        let top = json!({ "schemaVersion": 2, "manifests": [index.descriptor()] });
        std::fs::write(folder.path().join("index.json"), top.to_string()).unwrap();
        let real = folder.path().canonicalize().unwrap();
        Layout::read("oci:layout".parse().unwrap(), &real, &real)
    }

    #[test]
    fn a_manifest_counts_once_however_often_it_is_listed() {
        let manifest = manifest(0);
        let layout = read(std::slice::from_ref(&manifest), &vec![manifest.descriptor(); 2 * MOST_DOCUMENTS]).unwrap();
        assert_eq!(layout.documents.len(), 2);
        assert_eq!(layout.document(manifest.digest()), Some(&manifest));
    }

    #[test]
    fn manifests_beyond_the_limit_are_not_read() {
        let manifests: Vec<Document> = (0..=MOST_DOCUMENTS).map(manifest).collect();
        let mut listed: Vec<Descriptor> = manifests.iter().map(Document::descriptor).collect();
        // Reading this one would fail.
        listed[MOST_DOCUMENTS].size += 1;
        let error = read(&manifests, &listed).unwrap_err();
        assert!(matches!(error, LayoutError::TooLarge { .. }), "{error:?}");
        assert_eq!(read(&manifests, &listed[..MOST_DOCUMENTS]).unwrap().documents.len(), MOST_DOCUMENTS + 1);
    }
}
