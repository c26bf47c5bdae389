//! What to build: one variant for one platform, with everything addressed by digest.

use crate::image::config::Changes;
use crate::image::{Config, Descriptor, Manifest, PinnedReference, Platform};

/// An image of a registry for one platform, resolved: it can't change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The manifest of this platform (never an index).
    pub reference: PinnedReference,
    /// The manifest, its layers under OCI's media types.
    pub manifest: Manifest,
    /// The config that the manifest names.
    pub config: Config,
}

/// What is under a variant on one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolvedBase {
    /// Nothing: this config, which has no layers.
    Scratch(Config),
    /// An image.
    Image(ResolvedImage),
}

impl ResolvedBase {
    /// The image; `None` for `scratch`.
    #[must_use]
    pub fn image(&self) -> Option<&ResolvedImage> {
        match self {
            Self::Scratch(_) => None,
            Self::Image(image) => Some(image),
        }
    }

    /// The config to start from.
    #[must_use]
    pub fn config(&self) -> &Config {
        match self {
            Self::Scratch(config) => config,
            Self::Image(image) => &image.config,
        }
    }

    /// The layers, the lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Descriptor] {
        self.image().map(|image| &image.manifest.layers[..]).unwrap_or_default()
    }
}

/// One variant for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The variant's name in the plan, which is also its most specific tag: `alpine3.23`.
    pub variant: String,
    /// The platform of the image.
    pub platform: Platform,
    /// What is under the variant.
    pub base: ResolvedBase,
    /// The scratch image with the executables.
    pub source: ResolvedImage,
    /// Where the executables are in the source: `/uv`, `/uvx`. They go to [`DESTINATION`] under the same file names.
    pub binaries: Vec<String>,
    /// The variant's changes to the base's config.
    pub changes: Changes,
    /// Extra `RUN` lines of a Dockerfile, after the executables are in place.
    pub run: Vec<String>,
    /// When the tool was made, in RFC 3339 with seconds and `Z`, where that is known; no other time gets into an image.
    pub created: Option<String>,
}

/// The folder in which a variant has the executables.
pub const DESTINATION: &str = "/usr/local/bin";
