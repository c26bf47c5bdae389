//! The executables: found in the layers of the source image, made into the one layer that all variants share.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Component, Path};

use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::{Role, image};
use crate::api::registry::{Registries, RegistryError};
use crate::compose::recipe::{DESTINATION, ResolvedImage};
use crate::error::{Fault, Situation};
use crate::image::layer::{Executable, Layer};
use crate::image::platform::ElfIdentity;
use crate::image::{Digest, PinnedReference, Platform};

/// Why the executables can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The image has no such file.
    #[error("source `{source_image}` has no file `{path}` for `{platform}`\nhint: {hint}", hint = offer(.available))]
    Missing {
        /// The source.
        source_image: PinnedReference,
        /// Which of its images.
        platform: Platform,
        /// What was asked for.
        path: String,
        /// The files that are there, some of them.
        available: Vec<String>,
    },
    /// The path is there, and is a link, a folder or a device.
    #[error("`{path}` of source `{source_image}` is {kind}\nhint: name the executable itself in `binaries`")]
    NoFile {
        /// The source.
        source_image: PinnedReference,
        /// What was asked for.
        path: String,
        /// What is there.
        kind: String,
    },
    /// An executable of another platform, or none.
    #[error("`{path}` of source `{source_image}` is no executable for `{platform}`: {found}")]
    WrongMachine {
        /// The source.
        source_image: PinnedReference,
        /// Which of its images.
        platform: Platform,
        /// What was asked for.
        path: String,
        /// What is there.
        found: String,
    },
    /// A compression that we don't read.
    #[error(
        "a layer of source `{0}` has the media type `{1}`\nhint: push the source with layers compressed by gzip or zstd"
    )]
    Compression(PinnedReference, String),
    /// The registry doesn't give the layer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The layer is damaged, or the disk is full.
    #[error("the executables of source `{0}` could not be unpacked")]
    Unpack(PinnedReference, #[source] io::Error),
}

impl Situation for SourceError {
    fn fault(&self) -> Fault {
        match self {
            Self::Registry(error) => error.fault(),
            Self::Unpack(..) => Fault::Publication,
            Self::Missing { .. } | Self::NoFile { .. } | Self::WrongMachine { .. } | Self::Compression(..) => {
                Fault::Input
            }
        }
    }
}

fn offer(available: &[String]) -> String {
    if available.is_empty() {
        return "the image is empty; check `source`".to_owned();
    }
    format!("check `binaries`; the image has {}", available.join(", "))
}

/// Reads `binaries` out of `source` and makes the layer of them. Files go to `directory` and are gone with the layer.
///
/// # Errors
/// A binary that the source doesn't have or that isn't for its platform; a registry that doesn't answer.
pub async fn layer(
    registries: &Registries,
    source: &ResolvedImage,
    binaries: &[String],
    directory: &Path,
) -> Result<Layer, SourceError> {
    let reference = &source.reference;
    let mut search = Search::new(binaries);
    // From the top down: the uppermost layer that has a path decides.
    for descriptor in source.manifest.layers.iter().rev() {
        if search.is_over() {
            break;
        }
        let compression = Compression::of(&descriptor.media_type)
            .ok_or_else(|| SourceError::Compression(reference.clone(), descriptor.media_type.clone()))?;
        let spool = || registries.spool_blob(reference.repository(), descriptor, directory);
        let blob = image::ask(registries, Role::Source, spool).await?;
        let directory = directory.to_owned();
        search = blocking(move || {
            search.layer(compression.open(std::fs::File::open(blob.path())?)?, &directory)?;
            Ok(search)
        })
        .await
        .map_err(|cause| SourceError::Unpack(reference.clone(), cause))?;
    }
    let executables = search.finish(source)?;
    let directory = directory.to_owned();
    blocking(move || Layer::write(executables, DESTINATION, &directory))
        .await
        .map_err(|cause| SourceError::Unpack(reference.clone(), cause))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[derive(Clone, Copy)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    fn of(media_type: &str) -> Option<Self> {
        let (_, suffix) = media_type.rsplit_once(".tar")?;
        match suffix {
            "" => Some(Self::None),
            "+gzip" | ".gzip" => Some(Self::Gzip),
            "+zstd" | ".zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn open(self, blob: std::fs::File) -> io::Result<Box<dyn Read>> {
        let blob = io::BufReader::with_capacity(1 << 16, blob);
        Ok(match self {
            Self::None => Box::new(blob),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(blob)),
            Self::Zstd => Box::new(ruzstd::decoding::StreamingDecoder::new(blob).map_err(io::Error::other)?),
        })
    }
}

/// What became of a path that we look for.
enum Found {
    File(Executable, [u8; 20]),
    Other(String),
    /// A [whiteout](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts) removed it.
    Removed,
}

/// Looks for paths in layers, from the top down.
struct Search {
    found: BTreeMap<String, Option<Found>>,
    seen: BTreeSet<String>,
}

/// How many of the other files are remembered, to be offered in an error.
const OFFERED: usize = 8;

impl Search {
    fn new(binaries: &[String]) -> Self {
        Self { found: binaries.iter().map(|path| (path.clone(), None)).collect(), seen: BTreeSet::new() }
    }

    fn is_over(&self) -> bool {
        self.found.values().all(Option::is_some)
    }

    fn layer(&mut self, archive: impl Read, directory: &Path) -> io::Result<()> {
        let mut removed = Vec::new();
        let mut archive = tar::Archive::new(archive);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let Some(path) = absolute(&entry.path()?) else { continue };
            if let Some(whiteout) = Whiteout::of(&path) {
                removed.push(whiteout);
                continue;
            }
            let kind = entry.header().entry_type();
            if kind.is_file() && self.seen.len() < OFFERED {
                self.seen.insert(path.clone());
            }
            if let Some(slot @ None) = self.found.get_mut(&path) {
                *slot =
                    Some(if kind.is_file() { extract(&mut entry, path, directory)? } else { Found::Other(name(kind)) });
            }
        }
        // A whiteout speaks of the layers below, not of its own.
        for (path, slot) in &mut self.found {
            if slot.is_none() && removed.iter().any(|whiteout| whiteout.covers(path)) {
                *slot = Some(Found::Removed);
            }
        }
        Ok(())
    }

    fn finish(self, source: &ResolvedImage) -> Result<Vec<Executable>, SourceError> {
        let source_image = source.reference.clone();
        let platform = source.config.platform();
        let available: Vec<String> = self.seen.into_iter().collect();
        let mut executables = Vec::new();
        for (path, found) in self.found {
            match found {
                Some(Found::File(executable, head)) => {
                    if let Some(found) = wrong_machine(&head, &platform) {
                        return Err(SourceError::WrongMachine { source_image, platform, path, found });
                    }
                    executables.push(executable);
                }
                Some(Found::Other(kind)) => return Err(SourceError::NoFile { source_image, path, kind }),
                None | Some(Found::Removed) => {
                    return Err(SourceError::Missing { source_image, platform, path, available });
                }
            }
        }
        Ok(executables)
    }
}

enum Whiteout {
    /// A file, or a folder with all that is in it.
    Path(String),
    /// All that is in a folder.
    Inside(String),
}

impl Whiteout {
    fn of(path: &str) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/')?;
        match name.strip_prefix(".wh.")? {
            ".wh..opq" => Some(Self::Inside(folder.to_owned())),
            name => Some(Self::Path(format!("{folder}/{name}"))),
        }
    }

    fn covers(&self, path: &str) -> bool {
        let (folder, itself) = match self {
            Self::Path(removed) => (removed, path == removed),
            Self::Inside(folder) => (folder, false),
        };
        itself || path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The path of an entry as `/usr/bin/x`; `None` for the root itself and for one that climbs out of it.
fn absolute(path: &Path) -> Option<String> {
    let mut absolute = String::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => {
                absolute.push('/');
                absolute.push_str(name.to_str()?);
            }
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    (!absolute.is_empty()).then_some(absolute)
}

fn name(kind: tar::EntryType) -> String {
    match kind {
        tar::EntryType::Symlink => "a symbolic link",
        tar::EntryType::Link => "a hard link",
        tar::EntryType::Directory => "a folder",
        _ => "neither a file nor a folder",
    }
    .to_owned()
}

fn extract(from: &mut impl Read, path: String, directory: &Path) -> io::Result<Found> {
    let mut content = NamedTempFile::new_in(directory)?;
    let (mut hash, mut size, mut head) = (Sha256::new(), 0u64, [0; 20]);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        let bytes = &buffer[..length];
        if size < 20 {
            let at = usize::try_from(size).expect("less than 20");
            let length = bytes.len().min(20 - at);
            head[at..at + length].copy_from_slice(&bytes[..length]);
        }
        hash.update(bytes);
        size += length as u64;
        io::Write::write_all(&mut content, bytes)?;
    }
    Ok(Found::File(Executable { path, size, digest: Digest::from_hash(hash), content }, head))
}

/// What the file is, if it can't run on `platform`. A script is taken as it is: its interpreter comes with the base.
fn wrong_machine(head: &[u8], platform: &Platform) -> Option<String> {
    if head.starts_with(b"#!") {
        return None;
    }
    match (ElfIdentity::of(head), platform.elf()) {
        (None, _) => Some("it is neither an ELF file nor a script".to_owned()),
        (Some(found), Some(expected)) if found != expected => {
            Some(format!("its ELF header says machine {}, {} bits", found.machine, found.bits))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::image::{Config, Descriptor, Manifest, MediaType};

    /// An archive of files (with content), or of symbolic links (with `->` and a target).
    fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o755);
            match content.strip_prefix(b"->") {
                Some(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    archive.append_link(&mut header, path, std::str::from_utf8(target).unwrap()).unwrap();
                }
                None => {
                    header.set_size(content.len() as u64);
                    archive.append_data(&mut header, path, *content).unwrap();
                }
            }
        }
        archive.into_inner().unwrap()
    }

    fn search(binaries: &[&str], top_down: &[&[(&str, &[u8])]]) -> Result<Vec<Executable>, SourceError> {
        let mut search = Search::new(&binaries.iter().map(ToString::to_string).collect::<Vec<_>>());
        for layer in top_down {
            search.layer(&archive(layer)[..], &std::env::temp_dir()).unwrap();
        }
        let config = json!({ "os": "linux", "architecture": "arm64", "rootfs": { "diff_ids": [] } });
        search.finish(&ResolvedImage {
            reference: format!("ghcr.io/astral-sh/uv@{}", Digest::of(b"")).parse().unwrap(),
            manifest: Manifest {
                schema_version: 2,
                media_type: String::new(),
                config: Descriptor::new(MediaType::Config, Digest::of(b""), 0),
                layers: Vec::new(),
                annotations: BTreeMap::new(),
            },
            config: Config::parse(config.to_string().as_bytes()).unwrap(),
        })
    }

    #[test]
    fn the_uppermost_layer_that_has_a_file_decides() {
        let found =
            search(&["/uv", "/bin/x"], &[&[("./uv", b"#!new")], &[("uv", b"#!old"), ("bin/x", b"#!x")]]).unwrap();
        let digests: Vec<_> = found.iter().map(|e| (e.name(), e.digest.clone())).collect();
        assert_eq!(digests, [("x", Digest::of(b"#!x")), ("uv", Digest::of(b"#!new"))]);
    }

    #[test]
    fn what_a_whiteout_removed_is_not_there() {
        for whiteout in [".wh.bin", "bin/.wh.uv", "bin/.wh..wh..opq", ".wh..wh..opq"] {
            let found = search(&["/bin/uv"], &[&[(whiteout, b"")], &[("bin/uv", b"#!")]]);
            assert!(matches!(found, Err(SourceError::Missing { .. })), "{whiteout} was ignored");
        }
        let found = search(&["/bin/uv"], &[&[("bin/.wh..wh..opq", b""), ("bin/uv", b"#!")], &[("bin/uv", b"#!")]]);
        assert!(found.is_ok(), "a file in the whiteout's own layer stays");
    }

    #[test]
    fn a_missing_binary_names_those_that_are_there() {
        let error = search(&["/ruff"], &[&[("uv", b"#!"), ("uvx", b"#!")]]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("has no file `/ruff` for `linux/arm64`\nhint: check `binaries`; the image has /uv, /uvx"),
            "{text}"
        );
    }

    #[test]
    fn links_and_executables_of_another_machine_are_refused() {
        let error = search(&["/uvx"], &[&[("uvx", b"->uv")]]).unwrap_err();
        assert!(error.to_string().contains("is a symbolic link"), "{error}");
        let mut amd64 = *b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0";
        let error = search(&["/uv"], &[&[("uv", &amd64)]]).unwrap_err();
        assert!(error.to_string().ends_with("its ELF header says machine 62, 64 bits"), "{error}");
        amd64[18] = 183;
        assert!(search(&["/uv"], &[&[("uv", &amd64)]]).is_ok());
        assert!(matches!(search(&["/uv"], &[&[("uv", b"text")]]), Err(SourceError::WrongMachine { .. })));
    }
}
