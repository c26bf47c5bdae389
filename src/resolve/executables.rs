//! The executables: found in the layers of the source image, and put into the one layer that all variants share.
//!
//! First the layers are read from the top down, until the entries for all files of `binaries` are known. Then only
//! these entries are written to disk. Whatever their mode and owner were, in the layer the files belong to root and
//! have mode 0755, or 0644 if they aren't executable.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use super::extracted::{ExtractError, Extracted, LARGEST};
use super::image::{LayerFile, Store};
use super::layout::LayoutError;
use crate::api::registry::{Registries, RegistryError};
use crate::compose::binaries::{Binaries, Binary};
use crate::compose::recipe::ResolvedSource;
use crate::error::{Fault, StageError};
use crate::hint::{FREE_DISK, Hinted, Hints, Input};
use crate::image::layer::{InstalledFile, Layer};
use crate::image::unpack::archive::Archive;
use crate::image::unpack::compression;
use crate::image::unpack::tree::{File, Found, Tree};
use crate::image::{PinnedName, Platform};
use crate::troubleshooting::Topic;

/// How many files an error suggests.
const OFFERED: usize = 8;

/// The source image that an error is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceImage {
    /// The source.
    pub reference: PinnedName,
    /// The platform that it is published for. Its config may say another.
    pub platform: Platform,
}

/// Why the executables can't be taken from the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The image has no such file.
    #[error("source `{}` has no file `{path}` for `{}`", .image.reference, .image.platform)]
    Missing {
        /// The source.
        image: SourceImage,
        /// The path that was asked for.
        path: String,
        /// Some of the files that the image has.
        available: Vec<String>,
    },
    /// The path is a folder, a device, or a link to nothing.
    #[error("`{path}` of source `{}` is {kind}", .image.reference)]
    NoFile {
        /// The source.
        image: SourceImage,
        /// The path that was asked for.
        path: String,
        /// What it is instead, with an article.
        kind: String,
    },
    /// An executable for another platform, or not an executable at all.
    #[error(
        "`{path}` of source `{}` is not an executable for `{}`: {found}", .image.reference, .image.platform
    )]
    WrongMachine {
        /// The source.
        image: SourceImage,
        /// The path that was asked for.
        path: String,
        /// What its first bytes say, as a clause.
        found: String,
    },
    /// The file has privileges that the published one wouldn't have.
    #[error(
        "`{path}` of source `{}` {privilege}, which variants don't carry over",
        .image.reference
    )]
    Privileged {
        /// The source.
        image: SourceImage,
        /// The path that was asked for.
        path: String,
        /// Which privileges, as a predicate of the file.
        privilege: &'static str,
    },
    /// A file of more than 2 GiB.
    #[error("`{path}` of source `{}` has {size} bytes, more than the {LARGEST} that are allowed", .image.reference)]
    TooLarge {
        /// The source.
        image: SourceImage,
        /// The path that was asked for.
        path: String,
        /// Its length in bytes.
        size: u64,
    },
    /// A layer with a compression that we don't read.
    #[error(
        "a layer of source `{}` has the media type `{media_type}`", .image.reference
    )]
    Compression {
        /// The source.
        image: SourceImage,
        /// The media type.
        media_type: String,
    },
    /// An OCI layout is damaged.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The registry doesn't serve the layer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer that is damaged, so that no engine could unpack it, either.
    #[error("a layer of source `{}` for `{}` can't be unpacked", .image.reference, .image.platform)]
    Damaged {
        /// The source.
        image: SourceImage,
        /// What is wrong with it.
        #[source]
        cause: io::Error,
    },
    /// The disk is full.
    #[error("the executables of source `{}` could not be written to disk", .image.reference)]
    Disk {
        /// The source.
        image: SourceImage,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

impl Hinted for SourceError {
    fn hints(&self) -> Hints {
        match self {
            Self::Missing { available, .. } => offer(available).into(),
            Self::NoFile { .. } => format!("name the executable itself in {}", Input("binaries")).into(),
            Self::WrongMachine { .. } => {
                format!("build the source for that platform, or leave it out with {}", Input("platforms")).into()
            }
            Self::Privileged { .. } => {
                "build the source without it, and give containers their privileges when they are started (`--cap-add`, `--user`)".into()
            }
            Self::TooLarge { .. } => format!("check {}", Input("binaries")).into(),
            Self::Compression { .. } => "push the source with layers compressed by gzip or zstd".into(),
            Self::Layout(error) => error.hints(),
            Self::Registry(error) => error.hints(),
            Self::Damaged { .. } => "build and push the source again".into(),
            Self::Disk { .. } => FREE_DISK.into(),
        }
    }
}

impl StageError for SourceError {
    fn topic(&self) -> Topic {
        match self {
            Self::Missing { .. }
            | Self::NoFile { .. }
            | Self::WrongMachine { .. }
            | Self::Privileged { .. }
            | Self::TooLarge { .. } => Topic::Executables,
            Self::Compression { .. } | Self::Damaged { .. } => Topic::Unusable,
            Self::Layout(error) => error.topic(),
            Self::Registry(error) => error.topic(),
            Self::Disk { .. } => Topic::Disk,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Registry(error) => error.fault(),
            Self::Layout(error) => error.fault(),
            Self::Disk { .. } => Fault::Publication,
            Self::Missing { .. }
            | Self::NoFile { .. }
            | Self::WrongMachine { .. }
            | Self::Privileged { .. }
            | Self::TooLarge { .. }
            | Self::Compression { .. }
            | Self::Damaged { .. } => Fault::Input,
        }
    }
}

fn offer(available: &[String]) -> String {
    if available.is_empty() {
        return format!("the image is empty; check {}", Input("source"));
    }
    format!("check {}; the image has {}", Input("binaries"), available.join(", "))
}

/// Reads `binaries` from `source`, which is published for `platform`, and makes their layer. Files are written to
/// `directory`, and removed together with the layer.
///
/// # Errors
/// A file is missing in the source, isn't for the platform, or would lose privileges; or a registry doesn't
/// answer.
pub(super) async fn layer(
    registries: &Registries,
    store: &Store,
    source: &ResolvedSource,
    platform: &Platform,
    binaries: &Binaries,
    directory: &Path,
) -> Result<Layer, SourceError> {
    let image = SourceImage { reference: source.name.clone(), platform: platform.clone() };
    let damaged = |cause| SourceError::Damaged { image: image.clone(), cause };
    let (mut tree, mut blobs) = (Tree::default(), Vec::new());
    // From the top down: once the upper layers decide a path, the lower ones aren't needed.
    let mut undecided = source.manifest.layers.iter().rev();
    while binaries.iter().any(|binary| tree.find(binary.from()) == Found::Undecided) {
        let Some(descriptor) = undecided.next() else {
            tree.complete();
            break;
        };
        if !compression::is_read(&descriptor.media_type) {
            return Err(SourceError::Compression { image, media_type: descriptor.media_type.clone() });
        }
        let blob = store.layer(registries, descriptor, directory).await?;
        let file = open(&blob).map_err(damaged)?;
        tree = blocking(move || {
            tree.read_layer(compression::open(file)?)?;
            Ok(tree)
        })
        .await
        .map_err(damaged)?;
        blobs.push(blob);
    }
    let wanted = Wanted::of(&tree, binaries, &image)?;
    let (directory, disk) = (directory.to_owned(), image.clone());
    let work = move || {
        let files = wanted.extract(&image, &blobs, &directory)?;
        Layer::write(files, &directory).map_err(|cause| SourceError::Disk { image: image.clone(), cause })
    };
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(SourceError::Disk { image: disk, cause: io::Error::other(panic) }))
}

fn open(layer: &LayerFile) -> io::Result<io::BufReader<std::fs::File>> {
    let path = layer.path().ok_or(io::ErrorKind::NotFound)?;
    Ok(io::BufReader::with_capacity(1 << 16, std::fs::File::open(path)?))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The entries to read, by layer and number, each with the files to make of it.
#[derive(Debug)]
struct Wanted(BTreeMap<usize, BTreeMap<usize, Vec<Binary>>>);

impl Wanted {
    fn of(tree: &Tree, binaries: &Binaries, image: &SourceImage) -> Result<Self, SourceError> {
        let mut wanted = BTreeMap::<usize, BTreeMap<usize, Vec<Binary>>>::new();
        for binary in binaries.iter() {
            let (image, path) = (image.clone(), binary.from().to_owned());
            let no_file = |kind| Err(SourceError::NoFile { image: image.clone(), path: path.clone(), kind });
            match tree.find(binary.from()) {
                Found::File(file) => {
                    carried_over(&file, &image, &path)?;
                    wanted.entry(file.layer).or_default().entry(file.entry).or_default().push(binary.clone());
                }
                Found::Other(kind) => return no_file(kind.to_owned()),
                Found::Dangling(target) => return no_file(format!("a link to `{target}`, which doesn't exist")),
                Found::Nothing | Found::Undecided => {
                    return Err(SourceError::Missing { image, path, available: tree.some_files(OFFERED) });
                }
            }
        }
        Ok(Self(wanted))
    }

    /// Reads the entries. `blobs` are the layers, uppermost first.
    fn extract(
        &self,
        image: &SourceImage,
        blobs: &[LayerFile],
        directory: &Path,
    ) -> Result<Vec<InstalledFile>, SourceError> {
        let damaged = |cause| SourceError::Damaged { image: image.clone(), cause };
        let mut files = Vec::new();
        for (layer, entries) in &self.0 {
            let content = compression::open(open(&blobs[*layer]).map_err(damaged)?).map_err(damaged)?;
            extract(content, entries, image, directory, &mut files)?;
        }
        Ok(files)
    }
}

/// Refuses a file with privileges that a layer of ours wouldn't preserve.
fn carried_over(file: &File, image: &SourceImage, path: &str) -> Result<(), SourceError> {
    let (image, path) = (image.clone(), path.to_owned());
    let privilege = match file.mode & 0o6000 {
        0 if file.capabilities => "has capabilities",
        0 if file.size > LARGEST => return Err(SourceError::TooLarge { image, path, size: file.size }),
        0 => return Ok(()),
        0o2000 => "is setgid",
        _ => "is setuid",
    };
    Err(SourceError::Privileged { image, path, privilege })
}

/// Reads `entries` of one layer.
fn extract(
    content: impl Read,
    entries: &BTreeMap<usize, Vec<Binary>>,
    image: &SourceImage,
    directory: &Path,
    files: &mut Vec<InstalledFile>,
) -> Result<(), SourceError> {
    let damaged = |cause| SourceError::Damaged { image: image.clone(), cause };
    let mut archive = Archive::new(content);
    let last = entries.keys().next_back().copied().unwrap_or_default();
    for number in 0..=last {
        archive.next_entry().map_err(damaged)?.ok_or_else(|| damaged(io::ErrorKind::UnexpectedEof.into()))?;
        let Some(binaries) = entries.get(&number) else { continue };
        let must_be_executable = binaries.iter().any(Binary::must_be_executable);
        let extracted = Extracted::copy(&mut archive, &image.platform, must_be_executable, directory);
        let extracted = extracted.map_err(|error| match error {
            ExtractError::Unreadable(cause) => damaged(cause),
            ExtractError::Disk(cause) => SourceError::Disk { image: image.clone(), cause },
            ExtractError::WrongMachine(found) => {
                SourceError::WrongMachine { image: image.clone(), path: binaries[0].from().to_owned(), found }
            }
        })?;
        files.extend(binaries.iter().map(|binary| extracted.installed_at(binary.to().to_owned())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use crate::image::Digest;

    /// An archive with files, each with mode and content.
    fn archive(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, mode, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_uid(1000);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn arm64() -> SourceImage {
        let reference = PinnedName::Image(format!("ghcr.io/astral-sh/uv@{}", Digest::of(b"")).parse().unwrap());
        SourceImage { reference, platform: "linux/arm64".parse().unwrap() }
    }

    fn take(archive: &[u8], binaries: &[&str]) -> Result<Vec<InstalledFile>, SourceError> {
        let mut tree = Tree::default();
        tree.read_layer(archive).unwrap();
        tree.complete();
        let wanted = Wanted::of(&tree, &binaries.iter().copied().collect(), &arm64())?;
        let (mut files, none) = (Vec::new(), BTreeMap::new());
        let entries = wanted.0.get(&0).unwrap_or(&none);
        extract(archive, entries, &arm64(), &std::env::temp_dir(), &mut files)?;
        Ok(files)
    }

    /// The first bytes of an executable for arm64, and a few more.
    const ARM64: &[u8] = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0 and more than the head of it";

    #[test]
    fn files_are_taken_whatever_their_mode_and_owner() {
        let archive = archive(&[
            ("uv", 0o555, ARM64),
            ("x/LICENSE", 0o444, b"MIT"),
            ("run", 0o700, b"#!/bin/sh"),
            ("lib", 0, ARM64),
        ]);
        let binaries =
            ["/uv", "/x/LICENSE -> /usr/share/uv/", "/run -> /opt/run", "/lib -> /opt/lib.so", "/uv -> /bin/uvx"];
        let files = take(&archive, &binaries).unwrap();
        let found: Vec<_> = files.iter().map(|file| (file.path.as_str(), file.mode, file.size)).collect();
        let length = ARM64.len() as u64;
        assert_eq!(
            found,
            [
                ("/usr/local/bin/uv", 0o755, length),
                ("/bin/uvx", 0o755, length),
                ("/usr/share/uv/LICENSE", 0o644, 3),
                ("/opt/run", 0o755, 9),
                ("/opt/lib.so", 0o755, length)
            ]
        );
        for file in &files {
            assert_eq!(Digest::of(&std::fs::read(file.content.path()).unwrap()), file.digest);
        }
    }

    #[test]
    fn an_error_about_a_missing_file_names_those_in_the_image() {
        let error =
            Failure::from(take(&archive(&[("uv", 0o755, b"#!"), ("uvx", 0o755, b"#!")]), &["/ruff"]).unwrap_err())
                .to_string();
        assert!(
            error.ends_with("has no file `/ruff` for `linux/arm64`\nhint: check `binaries`; the image has /uv, /uvx"),
            "{error}"
        );
    }

    #[test]
    fn executables_of_another_platform_are_refused_before_they_are_written() {
        let mut amd64 = ARM64.to_vec();
        amd64[18] = 62;
        for (content, expected) in [
            (
                &amd64[..],
                "for `linux/arm64`: its ELF header says machine 62 (amd64), 64 bits, little-endian\nhint: build",
            ),
            (b"text", "it is neither an ELF file nor a script"),
            (b"", "it is an empty file"),
            (b"MZ\x90\0", "it is a Windows executable"),
            (b"\xcf\xfa\xed\xfe\x0c\0\0\x01", "it is a macOS executable"),
        ] {
            let error = Failure::from(take(&archive(&[("uv", 0o755, content)]), &["/uv"]).unwrap_err()).to_string();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let error = take(&archive(&[("uv", 0o755, &amd64)]), &["/uv -> /opt/uv"]).unwrap_err();
        assert!(matches!(error, SourceError::WrongMachine { .. }), "wherever it goes: {error}");
    }

    #[test]
    fn privileges_that_would_be_lost_are_refused() {
        for (mode, expected) in [(0o4755, "is setuid"), (0o2755, "is setgid"), (0o6755, "is setuid")] {
            let error = Failure::from(take(&archive(&[("uv", mode, ARM64)]), &["/uv"]).unwrap_err()).to_string();
            assert!(error.contains(&format!("{expected}, which variants don't carry over\nhint: ")), "{error}");
        }
        assert!(take(&archive(&[("uv", 0o1755, ARM64), ("su", 0o4755, ARM64)]), &["/uv"]).is_ok());
        let large = File { layer: 0, entry: 0, size: LARGEST + 1, mode: 0o755, capabilities: false };
        let error = Failure::from(carried_over(&large, &arm64(), "/uv").unwrap_err()).to_string();
        assert!(error.contains("has 2147483649 bytes"), "{error}");
        let capable = File { size: 1, capabilities: true, ..large };
        let error = Failure::from(carried_over(&capable, &arm64(), "/uv").unwrap_err()).to_string();
        assert!(error.contains("has capabilities, which"), "{error}");
    }
}
