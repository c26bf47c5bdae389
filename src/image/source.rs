//! Names of sources, the images with the executables. They may be in a registry, in an OCI layout, or made of files.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::layout::{LAYOUT, LayoutName, leads_outside};
use super::platform::Platform;
use super::reference::{Digest, InvalidName, PinnedReference, Reference, Repository};

/// The word that stands for an image made of files.
pub const FILES: &str = "files";

/// Where the executables come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceName {
    /// An image in a registry.
    Image(Reference),
    /// An image in an OCI layout of the workspace.
    Layout(LayoutName),
    /// An image made of files of the workspace.
    Files(Vec<SourceFile>),
}

/// A file of the workspace for an image made of files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFile {
    /// The platform that it is for.
    pub platform: Platform,
    /// The file, or the archive that contains it, relative to the workspace.
    pub path: String,
    /// Its path within the archive, if it is in one.
    pub entry: Option<String>,
    /// Its absolute path in the image.
    pub to: String,
}

impl SourceName {
    /// The name of the image, if it is in a registry.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Image(reference) => Some(reference),
            Self::Layout(_) | Self::Files(_) => None,
        }
    }

    /// A path in the name that, as written, leads out of the workspace.
    #[must_use]
    pub fn path_outside(&self) -> Option<&str> {
        let paths: Vec<&str> = match self {
            Self::Image(_) => Vec::new(),
            Self::Layout(layout) => vec![&layout.path],
            Self::Files(files) => files.iter().map(|file| file.path.as_str()).collect(),
        };
        paths.into_iter().find(|path| leads_outside(path))
    }

    /// The repository, if the image is in a registry.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.reference().map(Reference::repository)
    }
}

impl FromStr for SourceName {
    type Err = InvalidName;

    /// Parses the name of an image in a registry or in a layout.
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

/// Written as a line of `source`.
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

/// A manifest or an index by digest, in a registry or in a local source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinnedName {
    /// In a registry.
    Image(PinnedReference),
    /// In an OCI layout, or made of files.
    Local(SourceName, Digest),
}

impl PinnedName {
    /// The digest of the manifest or index.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        match self {
            Self::Image(reference) => reference.digest(),
            Self::Local(_, digest) => digest,
        }
    }

    /// The reference, if it is in a registry.
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
