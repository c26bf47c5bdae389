//! Names of sources, the images with the executables. They may be in a registry, in an OCI layout, or made of files.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::platform::Platform;
use super::reference::{Digest, InvalidName, PinnedReference, Reference, Repository};

/// The prefix of the name of an OCI layout, as in Skopeo, Podman and Buildah.
pub const LAYOUT: &str = "oci:";
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

/// An image in an [OCI layout](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutName {
    /// The folder or tar archive, relative to the workspace.
    pub path: String,
    /// Which of its images is meant, by the annotation `org.opencontainers.image.ref.name`; `None` if there is only
    /// one.
    pub image: Option<String>,
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
        let is_outside = |path: &&str| path.starts_with('/') || path.split('/').any(|part| part == "..");
        paths.into_iter().find(is_outside)
    }

    /// The repository, if the image is in a registry.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        self.reference().map(Reference::repository)
    }
}

impl FromStr for LayoutName {
    type Err = InvalidName;

    /// Parses `PATH` or `PATH:IMAGE`.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        // Image names are tags, which have no slash, so a colon before the last slash belongs to the path.
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

    /// Parses the name of an image in a registry or in a layout.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_of_a_layout_is_named_after_its_path() {
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
