//! The files of a layout: in a folder, or as parts of a tar archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::{LayoutError, damaged, too_large};
use crate::compose::Section;
use crate::image::layout::LayoutName;
use crate::image::unpack::archive::{Archive, Kind};
use crate::image::unpack::compression;
use crate::image::{Descriptor, Digest, Document, MediaType};

/// The largest document (an index, a manifest or a config) that is read, in bytes.
const LARGEST_DOCUMENT: u64 = 8 << 20;
/// An archive with more entries is a mistake.
const MOST_ENTRIES: usize = 100_000;

/// A layout on disk.
pub(super) struct Disk<'a> {
    name: &'a LayoutName,
    files: Files,
}

enum Files {
    /// In this folder, whose path has no links.
    Folder(PathBuf),
    /// In this archive: the offset and the length of each file's content.
    Archive(PathBuf, BTreeMap<String, (u64, u64)>),
}

impl<'a> Disk<'a> {
    /// Opens the layout at `real`, which is a path without links. A compressed archive is decompressed into a file in
    /// `directory`.
    pub(super) fn open(name: &'a LayoutName, real: &Path, directory: &Path) -> Result<Self, LayoutError> {
        let unreadable = |cause| LayoutError::Unreadable { layout: name.clone(), cause };
        if real.is_dir() {
            return Ok(Self { name, files: Files::Folder(real.to_owned()) });
        }
        let archive = unpacked(name, real, directory)?.unwrap_or_else(|| real.to_owned());
        let entries = entries(&archive).map_err(unreadable)?;
        Ok(Self { name, files: Files::Archive(archive, entries) })
    }

    /// `index.json`.
    pub(super) fn index(&self, media_type: &MediaType) -> Result<Document, LayoutError> {
        let index = self.find("index.json")?.ok_or_else(|| LayoutError::NoLayout(self.name.clone()))?;
        Ok(Document::received(media_type.as_str(), self.read("`index.json`", index)?))
    }

    /// The place of a blob, after checking its digest; `None` if the layout lacks it.
    pub(super) fn blob(&self, blob: &Descriptor) -> Result<Option<Section>, LayoutError> {
        let Some(section) = self.section(blob)? else { return Ok(None) };
        let mut hash = Sha256::new();
        let read = open(&section).and_then(|file| io::copy(&mut file.take(blob.size), &mut hash));
        read.map_err(|cause| self.unreadable(cause))?;
        has_digest(self.name, blob, &Digest::from_hash(hash))?;
        Ok(Some(section))
    }

    /// The place of a blob, after checking its length; `None` if the layout lacks it.
    fn section(&self, blob: &Descriptor) -> Result<Option<Section>, LayoutError> {
        let Some((section, length)) = self.find(&file_of(&blob.digest))? else { return Ok(None) };
        if length != blob.size {
            let what = format!("the blob `{}` has {length} bytes instead of {}", blob.digest, blob.size);
            return Err(damaged(self.name, what));
        }
        Ok(Some(section))
    }

    /// A manifest or an index; `None` if the layout lacks it, and for other content.
    pub(super) fn document(&self, listed: &Descriptor) -> Result<Option<Document>, LayoutError> {
        if !listed.is_index() && !listed.is_manifest() {
            return Ok(None);
        }
        Ok(self.small_blob(listed)?.map(|bytes| Document::received(&listed.media_type, bytes)))
    }

    /// The config of a manifest; `None` if the layout lacks it, or if it is too large to be a config.
    pub(super) fn config(&self, config: &Descriptor) -> Result<Option<Bytes>, LayoutError> {
        if config.size > LARGEST_DOCUMENT { Ok(None) } else { self.small_blob(config) }
    }

    fn small_blob(&self, blob: &Descriptor) -> Result<Option<Bytes>, LayoutError> {
        let Some(section) = self.section(blob)? else { return Ok(None) };
        let bytes = self.read(&format!("the blob `{}`", blob.digest), (section, blob.size))?;
        has_digest(self.name, blob, &Digest::of(&bytes))?;
        Ok(Some(bytes))
    }

    /// The place of a file, and its length; `None` if the layout lacks it.
    fn find(&self, file: &str) -> Result<Option<(Section, u64)>, LayoutError> {
        match &self.files {
            Files::Folder(folder) => match in_folder(folder, file) {
                Ok(found) => Ok(Some(found)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(cause) => Err(self.unreadable(cause)),
            },
            Files::Archive(path, entries) => {
                let section = |start| Section { path: path.clone(), start };
                Ok(entries.get(file).map(|(start, length)| (section(*start), *length)))
            }
        }
    }

    fn read(&self, what: &str, (section, length): (Section, u64)) -> Result<Bytes, LayoutError> {
        if length > LARGEST_DOCUMENT {
            return Err(too_large(self.name, format!("{what} has more than {} MiB", LARGEST_DOCUMENT >> 20)));
        }
        let mut bytes = Vec::new();
        let read = open(&section).and_then(|file| file.take(length).read_to_end(&mut bytes));
        read.map_err(|cause| self.unreadable(cause))?;
        Ok(bytes.into())
    }

    fn unreadable(&self, cause: io::Error) -> LayoutError {
        LayoutError::Unreadable { layout: self.name.clone(), cause }
    }
}

/// Copies a layer into a file in `directory`, and checks its digest.
pub(super) fn copy(
    name: &LayoutName,
    section: &Section,
    layer: &Descriptor,
    directory: &Path,
) -> Result<TempPath, LayoutError> {
    let unreadable = |cause| LayoutError::Unreadable { layout: name.clone(), cause };
    let mut from = open(section).map_err(unreadable)?.take(layer.size);
    let (copy, digest) = spool(name, &mut from, directory)?;
    has_digest(name, layer, &digest)?;
    Ok(copy.into_temp_path())
}

fn has_digest(name: &LayoutName, blob: &Descriptor, digest: &Digest) -> Result<(), LayoutError> {
    if *digest == blob.digest {
        return Ok(());
    }
    Err(damaged(name, format!("the blob `{}` has the digest `{digest}`", blob.digest)))
}

fn file_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn open(section: &Section) -> io::Result<File> {
    let mut file = File::open(&section.path)?;
    file.seek(SeekFrom::Start(section.start))?;
    Ok(file)
}

/// The place and the length of a file in a folder. Links out of the folder are refused.
fn in_folder(folder: &Path, file: &str) -> io::Result<(Section, u64)> {
    let path = folder.join(file).canonicalize()?;
    if !path.starts_with(folder) {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("`{file}` is, or is behind, a link out of the layout"),
        ));
    }
    let found = path.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{file}` is not a file")));
    }
    Ok((Section { path, start: 0 }, found.len()))
}

/// Decompresses an archive into a file in `directory`, which isn't removed here; `None` if it isn't compressed.
fn unpacked(name: &LayoutName, archive: &Path, directory: &Path) -> Result<Option<PathBuf>, LayoutError> {
    let unreadable = |cause| LayoutError::Unreadable { layout: name.clone(), cause };
    // Opening a pipe would wait for a writer.
    if !archive.is_file() {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "it is neither a folder nor a file");
        return Err(unreadable(cause));
    }
    let file = File::open(archive).map_err(unreadable)?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    if !compression::is_compressed(&mut file).map_err(unreadable)? {
        return Ok(None);
    }
    let mut content = compression::open(file).map_err(unreadable)?;
    let (unpacked, _) = spool(name, &mut content, directory)?;
    let (_, path) = unpacked.keep().map_err(|kept| LayoutError::Disk { layout: name.clone(), cause: kept.error })?;
    Ok(Some(path))
}

/// Writes all of `from` to a file in `directory`, and returns that with its digest.
fn spool(name: &LayoutName, from: &mut dyn Read, directory: &Path) -> Result<(NamedTempFile, Digest), LayoutError> {
    let disk = |cause| LayoutError::Disk { layout: name.clone(), cause };
    let mut to = NamedTempFile::new_in(directory).map_err(disk)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let length = from.read(&mut buffer).map_err(|cause| LayoutError::Unreadable { layout: name.clone(), cause })?;
        if length == 0 {
            return Ok((to, Digest::from_hash(hash)));
        }
        hash.update(&buffer[..length]);
        to.write_all(&buffer[..length]).map_err(disk)?;
    }
}

/// The files of a tar archive, each with the offset and the length of its content, which isn't read. Of several entries
/// with one name, the last counts.
fn entries(path: &Path) -> io::Result<BTreeMap<String, (u64, u64)>> {
    let (mut archive, mut entries) = (Archive::new(File::open(path)?), BTreeMap::new());
    while let Some(entry) = archive.next_entry()? {
        let start = archive.skip_content()?;
        if let Kind::File { size, .. } = entry.kind {
            entries.insert(entry.path.trim_start_matches('/').to_owned(), (start, size));
        }
        if entries.len() > MOST_ENTRIES {
            return Err(io::Error::other(format!("it has more than {MOST_ENTRIES} files")));
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(append: impl FnOnce(&mut tar::Builder<&File>)) -> NamedTempFile {
        let file = NamedTempFile::new().unwrap();
        let mut archive = tar::Builder::new(file.as_file());
        append(&mut archive);
        archive.into_inner().unwrap();
        file
    }

    fn header(kind: tar::EntryType, content: &[u8]) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        header
    }

    #[test]
    fn the_files_of_an_archive_are_found_without_reading_their_content() {
        let blob = format!("blobs/sha256/{}", "a".repeat(64));
        let files = [("index.json", &b"{}"[..]), (&*blob, &[b'x'; 600]), ("index.json", b"{ }")];
        let archive = archive(|archive| {
            archive.append_data(&mut header(tar::EntryType::Directory, b""), "blobs/", &b""[..]).unwrap();
            for (name, content) in files {
                archive.append_data(&mut header(tar::EntryType::Regular, content), name, content).unwrap();
            }
        });
        let found = entries(archive.path()).unwrap();
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), [&*blob, "index.json"]);
        for (name, content) in &files[1..] {
            let (start, length) = found[*name];
            let mut bytes = Vec::new();
            let section = Section { path: archive.path().to_owned(), start };
            open(&section).unwrap().take(length).read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes, *content);
        }
    }

    #[test]
    fn an_archive_with_a_huge_name_is_an_error() {
        let name = vec![b'x'; 2 << 20];
        let archive = archive(|archive| {
            let mut header = header(tar::EntryType::GNULongName, &name);
            archive.append_data(&mut header, "././@LongLink", &name[..]).unwrap();
        });
        let error = entries(archive.path()).unwrap_err();
        assert!(error.to_string().contains("more than 1 MiB"), "{error}");
    }
}
