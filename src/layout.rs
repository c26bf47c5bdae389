//! [OCI image layouts](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md): folders and tar archives, as
//! `docker buildx build --output type=oci`, Skopeo and Podman write them.
//!
//! An image is read completely at the start, manifests into memory and blobs into files of our own, each checked
//! against its digest, so later changes of the workspace don't matter. Blobs that the layout lacks are skipped: a
//! layout may hold one of several platforms.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use crate::action::Files;
use crate::compose::{Content, Origin};
use crate::error::{Fault, StageError};
use crate::hint::{FREE_DISK, Hinted, Hints, MADE_BEFORE, of_path};
use crate::image::manifest::{Index, InvalidManifest, ManifestOrIndex};
use crate::image::source::{LAYOUT, LayoutName};
use crate::image::unpack::archive::{Archive, Kind};
use crate::image::unpack::compression;
use crate::image::{Descriptor, Digest, Document, MediaType};
use crate::troubleshooting::Topic;

/// The largest manifest that registries take, in bytes.
const LARGEST_DOCUMENT: u64 = 4 << 20;
/// A layout with more manifests, or an archive with more entries, is a mistake.
const MOST_DOCUMENTS: usize = 1_000;
const MOST_ENTRIES: usize = 100_000;
/// The annotation with the name of an image, which is usually a tag.
const NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation of containerd and buildx, with the repository as well.
const FULL_NAME: &str = "io.containerd.image.name";

/// An image of a layout: its index or manifest, with everything that it refers to.
#[derive(Debug)]
pub struct Layout {
    top: Document,
    documents: BTreeMap<Digest, Document>,
    blobs: BTreeMap<Digest, Origin>,
}

/// Why a layout can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// It isn't there, or can't be read.
    #[error("`{layout}` can't be read")]
    Unreadable {
        /// The layout.
        layout: LayoutName,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Something else.
    #[error("`{0}` is no OCI layout: it has no `index.json`")]
    NoLayout(LayoutName),
    /// A document that isn't what it should be.
    #[error("`{layout}` can't be used: {cause}")]
    Document {
        /// The layout.
        layout: LayoutName,
        /// What is wrong.
        cause: InvalidManifest,
    },
    /// A blob with other bytes than its name says.
    #[error("`{layout}` is damaged: {what}")]
    Damaged {
        /// The layout.
        layout: LayoutName,
        /// What is wrong.
        what: String,
    },
    /// Several images, of which none was named, or none of that name.
    #[error("`{layout}` has {}", found(*.several))]
    Choice {
        /// The layout.
        layout: LayoutName,
        /// Whether there are several that may be meant.
        several: bool,
        /// The names of its images.
        names: Vec<String>,
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

fn found(several: bool) -> &'static str {
    if several { "several images" } else { "no such image" }
}

fn choice(layout: &LayoutName, names: &[String]) -> String {
    if names.is_empty() {
        return format!("write one image to the layout, or give each a name (the annotation `{NAME}` in `index.json`)");
    }
    format!("write `{LAYOUT}{}:NAME` with the name of one of them: {}", layout.path, names.join(", "))
}

impl Hinted for LayoutError {
    fn hints(&self) -> Hints {
        match self {
            Self::Unreadable { .. } => of_path(MADE_BEFORE),
            Self::NoLayout(_) => "`docker buildx build --output type=oci,dest=image.tar` writes one".into(),
            Self::Document { cause, .. } => cause.hints(),
            Self::Damaged { .. } => "make it again".into(),
            Self::Choice { layout, names, .. } => choice(layout, names).into(),
            Self::Disk { .. } => FREE_DISK.into(),
        }
    }
}

impl StageError for LayoutError {
    fn topic(&self) -> Topic {
        match self {
            Self::Unreadable { .. }
            | Self::NoLayout(_)
            | Self::Document { .. }
            | Self::Damaged { .. }
            | Self::Choice { .. } => Topic::Files,
            Self::Disk { .. } => Topic::Disk,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Disk { .. } => Fault::Publication,
            Self::Unreadable { .. }
            | Self::NoLayout(_)
            | Self::Document { .. }
            | Self::Damaged { .. }
            | Self::Choice { .. } => Fault::Input,
        }
    }
}

impl Layout {
    /// Reads the image that `name` names. Its blobs are written to files in `directory`.
    ///
    /// # Errors
    /// There is no layout, it has no such image, it is damaged, or the disk is full.
    pub fn open(files: &dyn Files, name: &LayoutName, directory: &Path) -> Result<Self, LayoutError> {
        let reader = Reader::open(files, name, directory)?;
        let index = reader.index()?;
        let ManifestOrIndex::Index(entries) = reader.parse(&index)? else { unreachable!("it was parsed as an index") };
        let top = match choose(&entries, name)? {
            Some(listed) => reader.document(&listed)?.ok_or_else(|| {
                reader.damaged(format!("its `index.json` names {}, which isn't there", listed.digest))
            })?,
            None => index,
        };
        let mut layout = Self { top: top.clone(), documents: BTreeMap::new(), blobs: BTreeMap::new() };
        let mut unread = vec![top];
        while let Some(document) = unread.pop() {
            if layout.documents.len() > MOST_DOCUMENTS {
                return Err(reader.damaged(format!("it has more than {MOST_DOCUMENTS} manifests")));
            }
            match reader.parse(&document)? {
                ManifestOrIndex::Index(index) => {
                    for listed in index.manifests.iter().filter(|listed| !layout.documents.contains_key(&listed.digest))
                    {
                        unread.extend(reader.document(listed)?);
                    }
                }
                ManifestOrIndex::Manifest(manifest) => {
                    for blob in manifest.layers.iter().chain([&manifest.config]) {
                        if let Some(file) = reader.blob(blob)? {
                            layout.blobs.insert(blob.digest.clone(), Origin::File(file));
                        }
                    }
                }
            }
            layout.documents.insert(document.digest().clone(), document);
        }
        Ok(layout)
    }

    /// An image that was composed here.
    #[must_use]
    pub fn of(content: &Content) -> Self {
        let documents = content.images.iter().map(|image| &image.manifest).chain([&content.index]);
        Self {
            top: content.index.clone(),
            documents: documents.map(|document| (document.digest().clone(), document.clone())).collect(),
            blobs: content.blobs().map(|blob| (blob.descriptor.digest.clone(), blob.origin.clone())).collect(),
        }
    }

    /// The image's index, or its manifest if it has no index.
    #[must_use]
    pub fn top(&self) -> &Document {
        &self.top
    }

    /// A manifest or an index; `None` if the layout lacks it.
    #[must_use]
    pub fn document(&self, digest: &Digest) -> Option<&Document> {
        self.documents.get(digest)
    }

    /// Where the bytes of a blob are; `None` if the layout lacks it.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<&Origin> {
        self.blobs.get(digest)
    }
}

/// The entry of `index.json` that is the image; `None` if its entries are the image's platforms, as after `buildah
/// manifest push --all`.
fn choose(index: &Index, name: &LayoutName) -> Result<Option<Descriptor>, LayoutError> {
    let is_named = |listed: &&Descriptor| match &name.image {
        Some(image) => [NAME, FULL_NAME].iter().any(|key| listed.annotations.get(*key) == Some(image)),
        None => true,
    };
    let meant: Vec<&Descriptor> = index.manifests.iter().filter(is_named).collect();
    let names = |listed: &[&Descriptor]| -> BTreeSet<Option<String>> {
        listed.iter().map(|listed| listed.annotations.get(NAME).cloned()).collect()
    };
    let digests: BTreeSet<&Digest> = meant.iter().map(|listed| &listed.digest).collect();
    let platforms: Vec<_> = meant.iter().filter_map(|listed| listed.image_platform()).collect();
    let is_one_for_each = platforms.len() > 1
        && platforms.iter().collect::<BTreeSet<_>>().len() == platforms.len()
        && names(&meant).len() == 1;
    match (digests.len(), meant.first()) {
        (1, Some(listed)) => Ok(Some((*listed).clone())),
        (2.., _) if name.image.is_none() && is_one_for_each => Ok(None),
        (several, _) => Err(LayoutError::Choice {
            layout: name.clone(),
            several: several > 1,
            names: names(&index.manifests.iter().collect::<Vec<_>>()).into_iter().flatten().collect(),
        }),
    }
}

/// Reads the files of a layout.
struct Reader<'a> {
    files: &'a dyn Files,
    name: &'a LayoutName,
    directory: &'a Path,
    /// The files of an archive, which is read once. The files of a folder are read on demand.
    unpacked: Option<BTreeMap<String, Spooled>>,
}

/// A copy of a file of the layout.
#[derive(Clone)]
struct Spooled {
    path: Arc<TempPath>,
    digest: Digest,
    size: u64,
}

impl<'a> Reader<'a> {
    fn open(files: &'a dyn Files, name: &'a LayoutName, directory: &'a Path) -> Result<Self, LayoutError> {
        let mut reader = Self { files, name, directory, unpacked: None };
        if !files.is_folder(Path::new(&name.path)) {
            let file = files.open(Path::new(&name.path)).map_err(|cause| reader.unreadable(cause))?;
            reader.unpacked = Some(reader.unpack(BufReader::with_capacity(1 << 16, file))?);
        }
        Ok(reader)
    }

    /// Unpacks the layout's files from an archive, under names of our own. If a file occurs twice, the last one counts.
    fn unpack(&self, file: impl io::BufRead) -> Result<BTreeMap<String, Spooled>, LayoutError> {
        let no_archive = |cause| self.unreadable(cause);
        let mut archive = Archive::new(compression::open(file).map_err(no_archive)?);
        let (mut unpacked, mut count) = (BTreeMap::new(), 0);
        while let Some(entry) = archive.next_entry().map_err(no_archive)? {
            count += 1;
            if count > MOST_ENTRIES {
                return Err(self.damaged(format!("it has more than {MOST_ENTRIES} entries")));
            }
            let belongs = entry.path == "/index.json" || entry.path.starts_with("/blobs/sha256/");
            if matches!(entry.kind, Kind::File { .. }) && belongs {
                let spooled = self.spool(&mut archive)?;
                unpacked.insert(entry.path, spooled);
            }
        }
        Ok(unpacked)
    }

    /// A file of the layout; `None` if there is none.
    fn file(&self, path: &str) -> Result<Option<Spooled>, LayoutError> {
        if let Some(unpacked) = &self.unpacked {
            return Ok(unpacked.get(&format!("/{path}")).cloned());
        }
        match self.files.open(&Path::new(&self.name.path).join(path)) {
            Ok(mut file) => self.spool(&mut file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.unreadable(cause)),
        }
    }

    fn spool(&self, from: &mut dyn Read) -> Result<Spooled, LayoutError> {
        let disk = |cause| LayoutError::Disk { layout: self.name.clone(), cause };
        let mut to = NamedTempFile::new_in(self.directory).map_err(disk)?;
        let (mut hash, mut size, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            let length = from.read(&mut buffer).map_err(|cause| self.unreadable(cause))?;
            if length == 0 {
                break;
            }
            hash.update(&buffer[..length]);
            to.write_all(&buffer[..length]).map_err(disk)?;
            size += length as u64;
        }
        Ok(Spooled { path: Arc::new(to.into_temp_path()), digest: Digest::from_hash(hash), size })
    }

    fn index(&self) -> Result<Document, LayoutError> {
        let index = self.file("index.json")?.ok_or_else(|| LayoutError::NoLayout(self.name.clone()))?;
        self.read(&index, MediaType::Index.as_str())
    }

    /// A blob, checked against its digest; `None` if the layout lacks it.
    fn blob(&self, blob: &Descriptor) -> Result<Option<Arc<TempPath>>, LayoutError> {
        Ok(self.checked(blob)?.map(|spooled| spooled.path))
    }

    /// A manifest or an index, checked against its digest; `None` if the layout lacks it, and for other media types.
    fn document(&self, listed: &Descriptor) -> Result<Option<Document>, LayoutError> {
        if !listed.is_index() && !listed.is_manifest() {
            return Ok(None);
        }
        self.checked(listed)?.map(|spooled| self.read(&spooled, &listed.media_type)).transpose()
    }

    fn checked(&self, blob: &Descriptor) -> Result<Option<Spooled>, LayoutError> {
        let Some(spooled) = self.file(&format!("blobs/sha256/{}", blob.digest.hex()))? else { return Ok(None) };
        if spooled.digest != blob.digest || spooled.size != blob.size {
            return Err(self.damaged(format!(
                "the blob {} has {} bytes with the digest {}, and should have {} bytes",
                blob.digest, spooled.size, spooled.digest, blob.size
            )));
        }
        Ok(Some(spooled))
    }

    fn read(&self, spooled: &Spooled, media_type: &str) -> Result<Document, LayoutError> {
        if spooled.size > LARGEST_DOCUMENT {
            return Err(self.damaged(format!("a manifest has more than {} MiB", LARGEST_DOCUMENT >> 20)));
        }
        let bytes = std::fs::read(&*spooled.path);
        let bytes = bytes.map_err(|cause| LayoutError::Disk { layout: self.name.clone(), cause })?;
        Ok(Document::received(media_type, bytes.into()))
    }

    fn parse(&self, document: &Document) -> Result<ManifestOrIndex, LayoutError> {
        let parsed = ManifestOrIndex::parse(document.media_type(), document.bytes());
        parsed.map_err(|cause| LayoutError::Document { layout: self.name.clone(), cause })
    }

    fn unreadable(&self, cause: io::Error) -> LayoutError {
        LayoutError::Unreadable { layout: self.name.clone(), cause }
    }

    fn damaged(&self, what: String) -> LayoutError {
        LayoutError::Damaged { layout: self.name.clone(), what }
    }
}
