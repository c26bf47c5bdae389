//! The scratch image of `source: files`: files of the workspace, or of archives in it, one layer for each platform.
//!
//! It depends only on the files, the facts and the labels: times, owners and modes in the workspace don't matter.
//! Files that Linux can execute (ELF and scripts) get mode 0755, all others 0644.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek as _};
use std::path::Path;
use std::sync::Arc;

use super::archive::{self, Refusal};
use super::extracted::{ExtractError, Extracted, LARGEST};
use crate::action::Files;
use crate::compose::{self, Composed, Content};
use crate::error::{Fault, StageError};
use crate::facts::{self, Facts};
use crate::hint::{FREE_DISK, Hinted, Hints, Input, MADE_BEFORE, of_path};
use crate::image::Platform;
use crate::image::config::Changes;
use crate::image::layer::{InstalledFile, Layer};
use crate::image::manifest::Annotations;
use crate::image::source::SourceFile;
use crate::troubleshooting::Topic;

/// Why an image can't be made of files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The file or archive doesn't exist, or can't be read.
    #[error("`{path}` of {} can't be read", Input("source"))]
    Unreadable {
        /// The file or archive.
        path: String,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The archive doesn't contain the file.
    #[error("archive `{archive}` has no file `{entry}`")]
    Missing {
        /// The archive.
        archive: String,
        /// The path that was asked for.
        entry: String,
        /// Some of the files in the archive.
        available: Vec<String>,
    },
    /// The path in the archive isn't that of a file.
    #[error("`{entry}` in archive `{archive}` is {kind}")]
    NoFile {
        /// The archive.
        archive: String,
        /// The path that was asked for.
        entry: String,
        /// What it is instead, with an article.
        kind: String,
    },
    /// An executable for another platform, or for another operating system.
    #[error("`{file}` is not an executable for `{platform}`: {found}")]
    WrongMachine {
        /// The file.
        file: String,
        /// Its platform.
        platform: Platform,
        /// What its first bytes say, as a clause.
        found: String,
    },
    /// The file has privileges that the published one wouldn't have.
    #[error("`{0}` {1}, which variants don't carry over")]
    Privileged(String, &'static str),
    /// A file of more than 2 GiB.
    #[error("`{0}` has more than {LARGEST} bytes")]
    TooLarge(String),
    /// The disk is full.
    #[error("the files of {} could not be written to disk", Input("source"))]
    Disk(#[source] io::Error),
}

fn offer(available: &[String]) -> String {
    if available.is_empty() {
        return "it is an archive without files".to_owned();
    }
    format!("it has {}", available.join(", "))
}

impl Hinted for FilesError {
    fn hints(&self) -> Hints {
        match self {
            Self::Unreadable { .. } => of_path(MADE_BEFORE),
            Self::Missing { available, .. } => offer(available).into(),
            Self::NoFile { .. } => format!("name the file itself in {}", Input("source")).into(),
            Self::WrongMachine { .. } | Self::TooLarge(_) => format!("check the line in {}", Input("source")).into(),
            Self::Privileged(..) => "put the file into the archive without it".into(),
            Self::Disk(_) => FREE_DISK.into(),
        }
    }
}

impl StageError for FilesError {
    fn topic(&self) -> Topic {
        match self {
            Self::WrongMachine { .. } | Self::Privileged(..) => Topic::Executables,
            Self::Unreadable { .. } | Self::Missing { .. } | Self::NoFile { .. } | Self::TooLarge(_) => Topic::Files,
            Self::Disk(_) => Topic::Disk,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Disk(_) => Fault::Publication,
            Self::Unreadable { .. }
            | Self::Missing { .. }
            | Self::NoFile { .. }
            | Self::WrongMachine { .. }
            | Self::Privileged(..)
            | Self::TooLarge(_) => Fault::Input,
        }
    }
}

/// Makes an image of `listed`. `labels` are set on its config, and as annotations on its manifests. Files are written
/// to `directory`.
///
/// # Errors
/// A file can't be read, isn't for its platform, or would lose privileges; or the disk is full.
pub(super) async fn image(
    files: &dyn Files,
    listed: &[SourceFile],
    facts: &Facts,
    labels: &Annotations,
    directory: &Path,
) -> Result<(Content, Vec<Composed>), FilesError> {
    let opened = listed.iter().map(|file| {
        let opened = files.open(Path::new(&file.path));
        let opened = opened.map_err(|cause| FilesError::Unreadable { path: file.path.clone(), cause })?;
        Ok((file.clone(), opened))
    });
    let opened: Vec<Opened> = opened.collect::<Result<_, FilesError>>()?;
    let (facts, labels, directory) = (facts.clone(), labels.clone(), directory.to_owned());
    let made = tokio::task::spawn_blocking(move || make(opened, &facts, &labels, &directory)).await;
    made.unwrap_or_else(|panic| Err(FilesError::Disk(io::Error::other(panic))))
}

/// A file of the workspace, open.
type Opened = (SourceFile, Box<dyn Read + Send>);

fn make(
    opened: Vec<Opened>,
    facts: &Facts,
    labels: &Annotations,
    directory: &Path,
) -> Result<(Content, Vec<Composed>), FilesError> {
    let mut by_platform = BTreeMap::<Platform, Vec<InstalledFile>>::new();
    let mut entrypoints = BTreeMap::<Platform, String>::new();
    for (file, opened) in opened {
        let installed = install(opened, &file, directory)?;
        if installed.mode & 0o111 != 0 {
            entrypoints.entry(file.platform.clone()).or_insert_with(|| installed.path.clone());
        }
        by_platform.entry(file.platform).or_default().push(installed);
    }
    let created = facts.created.map(facts::rfc3339);
    let mut composed = Vec::new();
    for (platform, installed) in by_platform {
        let layer = Arc::new(Layer::write(installed, directory).map_err(FilesError::Disk)?);
        let entrypoint = entrypoints.remove(&platform).map(|path| vec![path]);
        let changes = Changes { labels: labels.clone(), entrypoint, ..Changes::default() };
        composed.push(compose::scratch(&platform, &layer, created.as_deref(), &changes, labels));
    }
    let content = compose::index(&composed.iter().collect::<Vec<_>>(), &Annotations::new());
    Ok((content, composed))
}

/// Copies a file to `directory`, unless it is an executable for another platform.
fn install(mut opened: impl Read, file: &SourceFile, directory: &Path) -> Result<InstalledFile, FilesError> {
    let unreadable = |cause| FilesError::Unreadable { path: file.path.clone(), cause };
    let Some(entry) = &file.entry else { return write(&mut opened, file, directory) };
    // Copied, since an archive is read twice, and a zip file from its end.
    let mut copy = tempfile::tempfile_in(directory).map_err(FilesError::Disk)?;
    io::copy(&mut opened, &mut copy).map_err(unreadable)?;
    copy.rewind().map_err(FilesError::Disk)?;
    let (archive, named) = (file.path.clone(), entry.clone());
    archive::read(copy, entry, |content| write(content, file, directory)).unwrap_or_else(|refusal| {
        Err(match refusal {
            Refusal::Missing(available) => FilesError::Missing { archive, entry: named, available },
            Refusal::NoFile(kind) => FilesError::NoFile { archive, entry: named, kind },
            Refusal::Privileged(privilege) => FilesError::Privileged(format!("{archive}!{named}"), privilege),
            Refusal::Unreadable(cause) => FilesError::Unreadable { path: archive, cause },
        })
    })
}

fn write(from: &mut dyn Read, file: &SourceFile, directory: &Path) -> Result<InstalledFile, FilesError> {
    let name = || file.entry.as_ref().map_or_else(|| file.path.clone(), |entry| format!("{}!{entry}", file.path));
    let extracted = Extracted::copy(from.take(LARGEST + 1), &file.platform, false, directory);
    let extracted = extracted.map_err(|error| match error {
        ExtractError::Unreadable(cause) => FilesError::Unreadable { path: file.path.clone(), cause },
        ExtractError::Disk(cause) => FilesError::Disk(cause),
        ExtractError::WrongMachine(found) => {
            FilesError::WrongMachine { file: name(), platform: file.platform.clone(), found }
        }
    })?;
    if extracted.size > LARGEST {
        return Err(FilesError::TooLarge(name()));
    }
    Ok(extracted.installed_at(file.to.clone()))
}
