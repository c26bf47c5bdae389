//! Names of sources: the images with the executables. Not all of them are in a registry.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::platform::Platform;
use super::reference::{Digest, InvalidName, PinnedReference, Reference, Repository};

/// What the name of an OCI layout begins with, as in Skopeo, Podman and Buildah.
pub const LAYOUT: &str = "oci:";
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

/// An image of an [OCI layout](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutName {
    /// The folder or archive.
    pub path: String,
    /// Which of its images, by the annotation `org.opencontainers.image.ref.name`; not needed where there is one.
    pub image: Option<String>,
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

impl FromStr for LayoutName {
    type Err = InvalidName;

    /// `PATH`, or `PATH:IMAGE`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // The names of images are tags, so a colon before the last slash belongs to the path.
        let colon = text.rfind(':').filter(|colon| !text[*colon..].contains('/'));
        let (path, image) = match colon {
            Some(colon) => (&text[..colon], Some(text[colon + 1..].to_owned())),
            None => (text, None),
        };
        if path.trim().is_empty() || image.as_ref().is_some_and(String::is_empty) {
            return Err(InvalidName::Layout(format!("{LAYOUT}{text}")));
        }
        Ok(Self { path: path.to_owned(), image })
    }
}

impl FromStr for SourceName {
    type Err = InvalidName;

    /// The name of an image, in a registry or in a layout.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.strip_prefix(LAYOUT) {
            Some(layout) => layout.parse().map(Self::Layout),
            None => text.parse().map(Self::Image),
        }
    }
}

impl fmt::Display for LayoutName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LAYOUT}{}", self.path)?;
        self.image.iter().try_for_each(|image| write!(f, ":{image}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_a_layout_is_named_behind_its_path() {
        for (text, path, image) in [
            ("oci:dist/image.tar", "dist/image.tar", None),
            ("oci:dist:1.2.3", "dist", Some("1.2.3")),
            ("oci:a:b/c", "a:b/c", None),
            ("oci:/tmp/x:latest", "/tmp/x", Some("latest")),
        ] {
            let SourceName::Layout(layout) = text.parse().unwrap() else { panic!("{text} is a layout") };
            assert_eq!((layout.path.as_str(), layout.image.as_deref()), (path, image), "{text}");
            assert_eq!(SourceName::Layout(layout).to_string(), text);
        }
        for text in ["oci:", "oci::1", "oci:dist:"] {
            assert!(text.parse::<SourceName>().is_err(), "{text}");
        }
        assert!(matches!("ghcr.io/acme/tool".parse(), Ok(SourceName::Image(_))));
    }
}
