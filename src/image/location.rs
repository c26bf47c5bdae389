//! Where to find an image that was built elsewhere: in a registry, or on disk as an [OCI image
//! layout](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::reference::{Digest, InvalidName, Reference, Repository};
use crate::hint::{Hinted, Hints};

/// The prefix of a layout's path, as in skopeo.
const LAYOUT: &str = "oci:";

/// Where to find an image that was built elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// In a registry.
    Registry(Reference),
    /// On disk, in an OCI layout.
    Layout(LayoutPath),
}

/// An image in an OCI image layout.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutPath {
    path: PathBuf,
    digest: Option<Digest>,
}

impl LayoutPath {
    /// The layout: a folder, or a tar archive of one.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The digest of the image; `None` if it is the layout's only one.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }
}

/// Why a text isn't the location of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLocation {
    /// It isn't a valid image name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// `oci:` without a path.
    #[error("`oci:` has no path")]
    NoPath,
}

impl Hinted for InvalidLocation {
    fn hints(&self) -> Hints {
        match self {
            Self::Name(invalid) => invalid.hints(),
            Self::NoPath => {
                "write `oci:` and the path of an OCI layout, a folder or a tar archive, as `oci:dist/image.tar`".into()
            }
        }
    }
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
            Self::Layout(layout) => layout.digest.is_some(),
        }
    }

    /// Whether a different image may be there tomorrow, because it is named by a tag.
    #[must_use]
    pub fn may_move(&self) -> bool {
        matches!(self, Self::Registry(reference) if reference.digest().is_none())
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        let Some(layout) = text.strip_prefix(LAYOUT) else { return Ok(Self::Registry(text.parse()?)) };
        let (path, digest) = match layout.rsplit_once("@sha256:") {
            Some((path, hex)) => (path, Some(format!("sha256:{hex}").parse()?)),
            None => (layout, None),
        };
        if path.is_empty() {
            return Err(InvalidLocation::NoPath);
        }
        Ok(Self::Layout(LayoutPath { path: path.into(), digest }))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(reference) => reference.fmt(f),
            Self::Layout(layout) => {
                write!(f, "{LAYOUT}{}", layout.path.display())?;
                layout.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
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
    fn a_location_round_trips() {
        for (text, may_move) in [
            (format!("ghcr.io/acme/candidates@{DIGEST}"), false),
            (format!("ghcr.io/acme/candidates:full@{DIGEST}"), false),
            ("ghcr.io/acme/candidates:full".to_owned(), true),
            ("oci:dist/full.tar".to_owned(), false),
            (format!("oci:dist/full@{DIGEST}"), false),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!((location.to_string(), location.may_move()), (text, may_move));
        }
        assert_eq!("oci:".parse::<Location>(), Err(InvalidLocation::NoPath));
        assert!("oci:dist@sha256:abc".parse::<Location>().is_err());
        assert!("Acme/x".parse::<Location>().is_err());
    }
}
