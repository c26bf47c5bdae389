//! Names of sources: the images with the executables. Not all of them are in a registry.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::layout::{LAYOUT, LayoutName};
use super::platform::Platform;
use super::reference::{Digest, InvalidName, PinnedReference, Reference, Repository};

/// What stands for an image that is made of files.
pub const FILES: &str = "files";

/// Where the executables come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceName {
    /// An image of a registry.
    Image(Reference),
    /// An image of an OCI layout in the workspace.
    Layout(LayoutName),
    /// An image that is made of files of the workspace.
    Files(Vec<SourceFile>),
}

/// A file of the workspace that goes into an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFile {
    /// What it runs on.
    pub platform: Platform,
    /// The file, or the archive that it is in.
    pub path: String,
    /// Its path within the archive.
    pub entry: Option<String>,
    /// Where it goes, as an absolute path.
    pub to: String,
}

impl SourceName {
    /// The image, if it is one of a registry.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Image(reference) => Some(reference),
            Self::Layout(_) | Self::Files(_) => None,
        }
    }

    /// A path of it that leads out of the workspace as it is written.
    #[must_use]
    pub fn path_outside(&self) -> Option<&str> {
        let paths: Vec<&str> = match self {
            Self::Image(_) => Vec::new(),
            Self::Layout(layout) => vec![&layout.path],
            Self::Files(files) => files.iter().map(|file| file.path.as_str()).collect(),
        };
        let is_outside = |path: &&str| path.starts_with('/') || path.split('/').any(|part| part == "..");
        paths.into_iter().find(is_outside)
    }

    /// The repository, if it is in one.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.reference().map(Reference::repository)
    }
}

impl FromStr for SourceName {
    type Err = InvalidName;

    /// The name of an image, in a registry or in a layout.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.starts_with(LAYOUT) { text.parse().map(Self::Layout) } else { text.parse().map(Self::Image) }
    }
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reference) => reference.fmt(f),
            Self::Layout(layout) => layout.fmt(f),
            Self::Files(_) => f.write_str(FILES),
        }
    }
}

/// As it is written in a line of `source`.
impl fmt::Display for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.platform, self.path)?;
        self.entry.iter().try_for_each(|entry| write!(f, "!{entry}"))?;
        write!(f, " -> {}", self.to)
    }
}

impl Serialize for SourceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A manifest or an index, by digest: of a registry, or of a source that is in none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinnedName {
    /// In a registry.
    Image(PinnedReference),
    /// On this machine.
    Local(SourceName, Digest),
}

impl PinnedName {
    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Image(reference) => reference.digest(),
            Self::Local(_, digest) => digest,
        }
    }

    /// Its reference, if it is in a registry.
    #[must_use]
    pub fn reference(&self) -> Option<&PinnedReference> {
        match self {
            Self::Image(reference) => Some(reference),
            Self::Local(..) => None,
        }
    }
}

impl From<PinnedReference> for PinnedName {
    fn from(reference: PinnedReference) -> Self {
        Self::Image(reference)
    }
}

impl fmt::Display for PinnedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(reference) => reference.fmt(f),
            Self::Local(name, _) => name.fmt(f),
        }
    }
}
