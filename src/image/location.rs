//! Where to find an image that was built elsewhere: in a registry, or on disk as an [OCI image
//! layout](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::layout::{LAYOUT, LayoutName, leads_outside};
use super::reference::{InvalidName, Reference, Repository};

/// Where to find an image that was built elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// In a registry.
    Registry(Reference),
    /// On disk.
    Layout(LayoutName),
}

impl Location {
    /// The repository, if the image is in a registry.
    #[must_use]
    pub fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Registry(reference) => Some(reference.repository()),
            Self::Layout(_) => None,
        }
    }

    /// Whether the image is named by its digest.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Registry(reference) => reference.digest().is_some(),
            Self::Layout(layout) => layout.is_pinned(),
        }
    }

    /// The path of a layout that, as written, leads out of the workspace.
    #[must_use]
    pub fn path_outside(&self) -> Option<&str> {
        match self {
            Self::Registry(_) => None,
            Self::Layout(layout) => Some(layout.path.as_str()).filter(|path| leads_outside(path)),
        }
    }

    /// Whether a different image may be there tomorrow, because it is named by a tag.
    #[must_use]
    pub fn may_move(&self) -> bool {
        matches!(self, Self::Registry(reference) if reference.digest().is_none())
    }
}

impl FromStr for Location {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.starts_with(LAYOUT) { text.parse().map(Self::Layout) } else { text.parse().map(Self::Registry) }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(layout) => layout.fmt(f),
        }
    }
}

impl Serialize for Location {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_location_reads_back_as_it_is_written() {
        for (text, may_move, is_pinned) in [
            (format!("ghcr.io/acme/candidates@{DIGEST}"), false, true),
            (format!("ghcr.io/acme/candidates:full@{DIGEST}"), false, true),
            ("ghcr.io/acme/candidates:full".to_owned(), true, false),
            ("oci:dist/full.tar".to_owned(), false, false),
            ("oci:dist/full:1.2.3".to_owned(), false, false),
            (format!("oci:dist/full@{DIGEST}"), false, true),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!((location.may_move(), location.is_pinned()), (may_move, is_pinned), "{text}");
            assert_eq!(location.to_string(), text);
        }
        assert!("oci:".parse::<Location>().is_err());
        assert!("Acme/x".parse::<Location>().is_err());
    }
}
