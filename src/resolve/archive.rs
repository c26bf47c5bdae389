//! A file from a release archive: tar (plain, or compressed by gzip, zstd or xz) or zip.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};

use rawzip::{CompressionMethod, RECOMMENDED_BUFFER_SIZE, ZipArchive};

use crate::image::unpack::archive::Archive;
use crate::image::unpack::compression;
use crate::image::unpack::tree::{Found, Tree};

/// How many files an error suggests.
const OFFERED: usize = 8;

/// Why a file can't be taken from an archive.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no file at this path. The archive has these files, among others.
    Missing(Vec<String>),
    /// The path isn't a file, but this.
    NoFile(String),
    /// It has privileges that would be lost.
    Privileged(&'static str),
    /// The archive can't be read.
    Unreadable(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// Passes the content of the file at `path` in `archive` to `take`.
///
/// # Errors
/// There is no such file, or the archive is damaged.
pub(super) fn read<T>(mut archive: File, path: &str, take: impl FnOnce(&mut dyn Read) -> T) -> Result<T, Refusal> {
    let mut magic = Vec::new();
    (&archive).take(4).read_to_end(&mut magic)?;
    archive.rewind()?;
    // An empty zip file begins with its end record.
    if magic.starts_with(b"PK\x03\x04") || magic.starts_with(b"PK\x05\x06") {
        return zip(archive, path, take);
    }
    let tree = tree(&archive)?;
    let number = match tree.find(&format!("/{path}")) {
        Found::File(file) if file.mode & 0o6000 != 0 => return Err(Refusal::Privileged("is setuid or setgid")),
        Found::File(file) if file.capabilities => return Err(Refusal::Privileged("has capabilities")),
        Found::File(file) => file.entry,
        Found::Other(kind) => return Err(Refusal::NoFile(kind.to_owned())),
        Found::Dangling(target) => return Err(Refusal::NoFile(format!("a link to `{target}`, which doesn't exist"))),
        Found::Nothing | Found::Undecided => {
            let files = tree.some_files(OFFERED);
            return Err(Refusal::Missing(files.iter().map(|path| path.trim_start_matches('/').to_owned()).collect()));
        }
    };
    archive.rewind()?;
    let mut entries = Archive::new(content(&archive)?);
    for _ in 0..=number {
        entries.next_entry()?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    }
    Ok(take(&mut entries))
}

/// The files in a tar archive, whose checksum is verified.
fn tree(archive: &File) -> io::Result<Tree> {
    let (mut content, mut tree) = (content(archive)?, Tree::default());
    tree.read_layer(&mut content)?;
    tree.complete();
    // The checksum follows the end of the archive and its padding.
    io::copy(&mut content, &mut io::sink())?;
    Ok(tree)
}

fn content(archive: &File) -> io::Result<Box<dyn Read + '_>> {
    compression::open_release(BufReader::with_capacity(1 << 16, archive))
}

/// Like [`read`], for a [zip file](https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT). If a name occurs
/// several times, the last entry counts.
fn zip<T>(archive: File, path: &str, take: impl FnOnce(&mut dyn Read) -> T) -> Result<T, Refusal> {
    let malformed = |error: rawzip::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
    let archive = ZipArchive::from_file(archive, &mut buffer).map_err(malformed)?;
    let (mut found, mut others) = (None, Vec::new());
    let mut entries = archive.entries(&mut buffer);
    while let Some(entry) = entries.next_entry().map_err(malformed)? {
        let Ok(name) = entry.file_path().try_normalize() else { continue };
        let name = name.as_ref().trim_end_matches('/');
        let mode = entry.mode();
        if name == path {
            let kind = match () {
                () if entry.is_dir() => Some("a folder"),
                () if mode.is_symlink() => Some("a link"),
                () if entry.flags().is_encrypted() => Some("an encrypted file"),
                () => None,
            };
            found = Some((kind, mode.value() & 0o6000 != 0, entry.compression_method(), entry.wayfinder()));
        } else if !entry.is_dir() && others.len() < OFFERED {
            others.push(name.to_owned());
        }
    }
    let (kind, privileged, method, wayfinder) = found.ok_or(Refusal::Missing(others))?;
    if let Some(kind) = kind {
        return Err(Refusal::NoFile(kind.to_owned()));
    }
    if privileged {
        return Err(Refusal::Privileged("is setuid or setgid"));
    }
    let entry = archive.get_entry(wayfinder).map_err(malformed)?;
    match method {
        CompressionMethod::STORE => Ok(take(&mut entry.verifying_reader(entry.reader()))),
        CompressionMethod::DEFLATE => {
            let inflated = flate2::read::DeflateDecoder::new(entry.reader());
            Ok(take(&mut entry.verifying_reader(inflated)))
        }
        _ => Err(Refusal::NoFile("compressed in another way than by deflate".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// A zip file with entries, each with name, mode and content.
    fn zipped(entries: &[(&str, u32, &[u8])]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        let mut archive = rawzip::ZipArchiveWriter::new(&mut file);
        for (name, mode, content) in entries {
            let method = CompressionMethod::DEFLATE;
            let (mut entry, config) =
                archive.new_file(name).unix_permissions(*mode).compression_method(method).start().unwrap();
            let deflated = flate2::write::DeflateEncoder::new(&mut entry, flate2::Compression::fast());
            let mut writer = config.wrap(deflated);
            writer.write_all(content).unwrap();
            let (deflated, descriptor) = writer.finish().unwrap();
            deflated.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        archive.finish().unwrap();
        file.rewind().unwrap();
        file
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn taken(archive: File, path: &str) -> Result<Vec<u8>, Refusal> {
        read(archive, path, |content| {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).map(|_| bytes)
        })?
        .map_err(Refusal::from)
    }

    #[test]
    fn a_file_of_a_zip_archive_is_found_and_checked() {
        let entries =
            || zipped(&[("x/tool", 0o100_755, b"first"), ("x/su", 0o104_755, b""), ("x/tool", 0o100_755, b"last")]);
        assert_eq!(taken(entries(), "x/tool").unwrap(), b"last");
        assert!(matches!(taken(entries(), "x/su"), Err(Refusal::Privileged(_))));
        let missing = taken(entries(), "tool").unwrap_err();
        assert!(matches!(&missing, Refusal::Missing(files) if files.contains(&"x/su".to_owned())), "{missing:?}");
        let link = zipped(&[("tool", 0o120_777, b"x/tool")]);
        assert!(matches!(taken(link, "tool"), Err(Refusal::NoFile(_))));

        let mut damaged = Vec::new();
        zipped(&[("tool", 0o100_755, &[b'x'; 100])]).read_to_end(&mut damaged).unwrap();
        let at = damaged.windows(4).position(|bytes| bytes == b"tool").unwrap() + 6;
        damaged[at] ^= 0x10;
        assert!(matches!(taken(file(&damaged), "tool"), Err(Refusal::Unreadable(_))), "its checksum is another one");
    }

    #[test]
    fn the_checksum_after_a_tar_archive_is_verified() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(5);
        archive.append_data(&mut header, "x/tool", &b"first"[..]).unwrap();
        let archive = archive.into_inner().unwrap();
        let padded = [&archive[..], &[0; 10_240]].concat();
        let gzip = {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(&padded).unwrap();
            gzip.finish().unwrap()
        };
        let zstd = ruzstd::encoding::compress_to_vec(&padded[..], ruzstd::encoding::CompressionLevel::Fastest);
        let followed = [&gzip[..], &[0; 512]].concat();
        for good in [&archive, &padded, &gzip, &zstd, &followed] {
            assert_eq!(taken(file(good), "x/tool").unwrap(), b"first");
        }
        for (compressed, checksum) in [(&gzip, gzip.len() - 8), (&zstd, zstd.len() - 4)] {
            let mut damaged = compressed.clone();
            damaged[checksum] ^= 1;
            assert!(matches!(taken(file(&damaged), "x/tool"), Err(Refusal::Unreadable(_))));
            let cut = &compressed[..checksum];
            assert!(matches!(taken(file(cut), "x/tool"), Err(Refusal::Unreadable(_))));
        }
    }
}
