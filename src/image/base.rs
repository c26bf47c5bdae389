//! The base image of a variant, as a plan names it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::reference::{DOCKER_HUB, InvalidName, Reference};

/// Dockerfiles use this name for having no base. It isn't an image.
const SCRATCH: &str = "scratch";

/// The base image of a variant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// No base: the variant consists of the executables alone.
    Scratch,
    /// An image in a registry.
    Image(Reference),
}

impl Base {
    /// The name of the image; `None` for `scratch`.
    #[must_use]
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Scratch => None,
            Self::Image(reference) => Some(reference),
        }
    }

    /// As people write it: `alpine:3.23` for `docker.io/library/alpine:3.23`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let text = self.to_string();
        let short = text.strip_prefix(DOCKER_HUB).and_then(|text| text.strip_prefix('/'));
        short.map_or(text.as_str(), |path| path.strip_prefix("library/").unwrap_or(path)).to_owned()
    }
}

impl FromStr for Base {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == SCRATCH { Ok(Self::Scratch) } else { text.parse().map(Self::Image) }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scratch => f.write_str(SCRATCH),
            Self::Image(reference) => reference.fmt(f),
        }
    }
}

impl Serialize for Base {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
