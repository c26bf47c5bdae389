//! What to build: one variant for one platform, with everything addressed by digest.

use std::collections::{BTreeMap, BTreeSet};

use super::binaries::{Binaries, Binary};
use super::run::RunInstruction;
use crate::image::config::Changes;
use crate::image::{Config, Descriptor, Manifest, PinnedName, PinnedReference, Platform};

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

/// The image with the executables for one platform, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSource {
    /// The manifest of this platform (never an index).
    pub name: PinnedName,
    /// The manifest, its layers under OCI's media types.
    pub manifest: Manifest,
    /// The config that the manifest names.
    pub config: Config,
}

impl From<ResolvedImage> for ResolvedSource {
    fn from(image: ResolvedImage) -> Self {
        Self { name: image.reference.into(), manifest: image.manifest, config: image.config }
    }
}

/// What is under a variant on one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost all of them are images")]
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
    pub source: ResolvedSource,
    /// What of the source goes where.
    pub binaries: Binaries,
    /// Where files go that are no executables, and so get the mode 0644 instead of 0755.
    pub not_executable: BTreeSet<String>,
    /// The interpreter of each executable that is linked dynamically, by where the executable goes.
    pub interpreters: BTreeMap<String, String>,
    /// The variant's changes to the base's config.
    pub changes: Changes,
    /// Extra `RUN` lines of a Dockerfile, after the executables are in place.
    pub run: Vec<RunInstruction>,
    /// When the tool was made, in RFC 3339 with seconds and `Z`, where that is known; no other time gets into an image.
    pub created: Option<String>,
}

impl Recipe {
    /// The permission bits of a file in the image.
    #[must_use]
    pub fn mode(&self, binary: &Binary) -> u32 {
        if self.not_executable.contains(binary.to()) { 0o644 } else { 0o755 }
    }
}

/// The folder in which a variant has the executables, unless `binaries` says otherwise.
pub const DESTINATION: &str = "/usr/local/bin";
