//! [OCI image layouts](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md) on disk: a folder, or a tar archive of
//! one, as `docker buildx build --output type=oci` writes it.
//!
//! A document is checked against its digest when it is read. Layers aren't copied; the registry that receives them
//! checks their digests. Links that lead out of the layout aren't followed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::compose::Section;
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::image::location::LayoutPath;
use crate::image::manifest::{InvalidManifest, ManifestOrIndex};
use crate::image::{Descriptor, Digest, Document, Index};
use crate::troubleshooting::Topic;

/// The largest document that is read (an index, a manifest or a config), in bytes.
const DOCUMENT: u64 = 8 << 20;
/// An archive with more entries is a mistake.
const MOST_ENTRIES: usize = 100_000;

/// An OCI image layout, opened.
#[derive(Debug)]
pub struct Layout {
    name: LayoutPath,
    files: Files,
    index: Index,
}

#[derive(Debug)]
enum Files {
    /// A folder, by its path with links resolved.
    Folder(PathBuf),
    /// An archive, with the offset and length of each file in it.
    Archive(PathBuf, BTreeMap<String, (u64, u64)>),
}

/// Why a layout can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// There is none.
    #[error("`{path}` is no OCI layout that could be read: {cause}")]
    Unreadable {
        /// The folder or the archive.
        path: String,
        /// Why not.
        cause: io::Error,
    },
    /// A blob is missing, or isn't what it should be.
    #[error("layout `{path}` is damaged: {what}")]
    Damaged {
        /// The folder or the archive.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// A document of it is no manifest.
    #[error("layout `{path}` can't be used: {cause}")]
    Document {
        /// The folder or the archive.
        path: String,
        /// Why not.
        cause: InvalidManifest,
    },
    /// It has several images, and none was chosen; or not the one that was.
    #[error("layout `{path}` {}", situation(.wanted.as_ref(), .has))]
    Choice {
        /// The folder or the archive.
        path: String,
        /// The image that was asked for.
        wanted: Option<Digest>,
        /// What there is.
        has: Vec<Digest>,
    },
}

fn situation(wanted: Option<&Digest>, has: &[Digest]) -> String {
    match wanted {
        Some(wanted) => format!("doesn't list the image `{wanted}`"),
        None => format!("lists {} images", has.len()),
    }
}

fn choice(path: &str, has: &[Digest]) -> String {
    let names: Vec<String> = has.iter().map(|digest| format!("`oci:{path}@{digest}`")).collect();
    match names.len() {
        0 => "write it again, with an image in it".to_owned(),
        _ => format!("choose one of {}", names.join(", ")),
    }
}

/// The error for a path at which there is no layout.
pub(super) fn unreadable(name: &LayoutPath, cause: io::Error) -> LayoutError {
    LayoutError::Unreadable { path: name.path().display().to_string(), cause }
}

impl Hinted for LayoutError {
    fn hints(&self) -> Hints {
        match self {
            Self::Unreadable { path, .. } => format!(
                "`docker buildx build --output type=oci,dest={path}` writes one; the path is relative to the workspace"
            )
            .into(),
            Self::Damaged { .. } => "write it again".into(),
            Self::Document { cause, .. } => cause.hints(),
            Self::Choice { path, has, .. } => choice(path, has).into(),
        }
    }
}

impl StageError for LayoutError {
    fn topic(&self) -> Topic {
        Topic::Files
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl Layout {
    /// Opens the layout `name` at `real`, its path with links resolved.
    ///
    /// # Errors
    /// There is no layout.
    pub fn open(name: &LayoutPath, real: &Path) -> Result<Self, LayoutError> {
        let unreadable = |cause| unreadable(name, cause);
        let files = if real.is_dir() {
            Files::Folder(real.to_owned())
        } else {
            Files::Archive(real.to_owned(), entries(real).map_err(unreadable)?)
        };
        let index = files.read("index.json", DOCUMENT).map_err(unreadable)?;
        let index = serde_json::from_slice(&index)
            .map_err(|_| unreadable(io::Error::new(io::ErrorKind::InvalidData, "its `index.json` is no index")))?;
        Ok(Self { name: name.clone(), files, index })
    }

    /// Its image: the one that was chosen, else the only one. An image with several names counts once.
    ///
    /// # Errors
    /// There are several images, or none.
    pub fn top(&self) -> Result<&Descriptor, LayoutError> {
        let has: BTreeSet<&Digest> = self.index.manifests.iter().map(|listed| &listed.digest).collect();
        let wanted = match (self.name.digest(), has.len()) {
            (Some(wanted), _) => Some(wanted),
            (None, 1) => has.first().copied(),
            (None, _) => None,
        };
        let found = wanted.and_then(|wanted| self.index.manifests.iter().find(|listed| listed.digest == *wanted));
        found.ok_or_else(|| LayoutError::Choice {
            path: self.path(),
            wanted: self.name.digest().cloned(),
            has: has.into_iter().cloned().collect(),
        })
    }

    /// A manifest or an index.
    ///
    /// # Errors
    /// It is missing or damaged, or isn't a manifest or an index.
    pub fn document(&self, listed: &Descriptor) -> Result<(Document, ManifestOrIndex), LayoutError> {
        let bytes = self.small_blob(listed)?;
        let content = ManifestOrIndex::parse(&listed.media_type, &bytes)
            .map_err(|cause| LayoutError::Document { path: self.path(), cause })?;
        Ok((Document::received(&listed.media_type, bytes), content))
    }

    /// A small blob, such as a config.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn small_blob(&self, blob: &Descriptor) -> Result<Bytes, LayoutError> {
        let bytes = self
            .files
            .read(&file_of(&blob.digest), DOCUMENT)
            .map_err(|cause| self.damaged(format!("blob `{}` can't be read: {cause}", blob.digest)))?;
        if Digest::of(&bytes) != blob.digest {
            return Err(self.damaged(format!("blob `{}` has another digest", blob.digest)));
        }
        Ok(bytes.into())
    }

    /// The location of a blob of any size.
    ///
    /// # Errors
    /// It is missing, or its length is wrong.
    pub fn section(&self, blob: &Descriptor) -> Result<Section, LayoutError> {
        let (section, length) = self
            .files
            .find(&file_of(&blob.digest))
            .map_err(|cause| self.damaged(format!("blob `{}` can't be read: {cause}", blob.digest)))?;
        if length != blob.size {
            return Err(self.damaged(format!("blob `{}` has {length} bytes instead of {}", blob.digest, blob.size)));
        }
        Ok(section)
    }

    fn path(&self) -> String {
        self.name.path().display().to_string()
    }

    fn damaged(&self, what: String) -> LayoutError {
        LayoutError::Damaged { path: self.path(), what }
    }
}

impl Files {
    /// The location of a file, and its length.
    fn find(&self, name: &str) -> io::Result<(Section, u64)> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name).canonicalize()?;
                if !path.starts_with(folder) {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is a link out of the layout"));
                }
                let found = path.metadata()?;
                if !found.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
                }
                Ok((Section { path, start: 0 }, found.len()))
            }
            Self::Archive(path, entries) => {
                let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the archive has no `{name}`"));
                let (start, length) = *entries.get(name).ok_or_else(missing)?;
                Ok((Section { path: path.clone(), start }, length))
            }
        }
    }

    fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        let (section, length) = self.find(name)?;
        if length > limit {
            return Err(io::Error::other(format!("`{name}` has more than {} MiB", limit >> 20)));
        }
        let mut file = File::open(&section.path)?;
        file.seek(SeekFrom::Start(section.start))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn file_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The files of a tar archive, each with offset and length. Contents are skipped, not read.
fn entries(path: &Path) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a folder nor a file"));
    }
    let mut magic = [0; 2];
    if file.read(&mut magic)? == 2 && magic == [0x1f, 0x8b] {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is compressed, and would have to be unpacked by `gunzip`",
        ));
    }
    file.rewind()?;
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(file).entries_with_seek()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() {
            let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
            entries.insert(name, (entry.raw_file_position(), entry.size()));
        }
        if entries.len() > MOST_ENTRIES {
            return Err(io::Error::other(format!("it has more than {MOST_ENTRIES} files")));
        }
    }
    Ok(entries)
}
