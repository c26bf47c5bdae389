//! Recipes: the ingredients of one variant on one platform, all addressed by digest.

use std::collections::{BTreeMap, BTreeSet};

use super::binaries::{Binaries, Binary};
use super::run::RunInstruction;
use crate::image::config::Changes;
use crate::image::{Config, Descriptor, Manifest, PinnedName, PinnedReference, Platform};

/// An image in a registry for one platform, resolved, so that it can't change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The manifest of this platform (never an index).
    pub reference: PinnedReference,
    /// The manifest; its layers have OCI's media types.
    pub manifest: Manifest,
    /// The config that the manifest refers to.
    pub config: Config,
}

/// The image with the executables for one platform, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSource {
    /// The manifest of this platform (never an index).
    pub name: PinnedName,
    /// The manifest; its layers have OCI's media types.
    pub manifest: Manifest,
    /// The config that the manifest refers to.
    pub config: Config,
}

impl From<ResolvedImage> for ResolvedSource {
    fn from(image: ResolvedImage) -> Self {
        Self { name: image.reference.into(), manifest: image.manifest, config: image.config }
    }
}

/// The base of a variant on one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "almost all of them are images")]
pub enum ResolvedBase {
    /// No base: a config without layers.
    Scratch(Config),
    /// A base image.
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

    /// The layers, lowest first.
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
    /// The base to build on.
    pub base: ResolvedBase,
    /// The scratch image with the executables.
    pub source: ResolvedSource,
    /// Which files of the source go where.
    pub binaries: Binaries,
    /// The targets of files that aren't executable, which get mode 0644 instead of 0755.
    pub not_executable: BTreeSet<String>,
    /// The interpreter of each dynamically linked executable, by the executable's target.
    pub interpreters: BTreeMap<String, String>,
    /// The variant's changes to the base's config.
    pub changes: Changes,
    /// Extra `RUN` lines of a Dockerfile, after the executables are in place.
    pub run: Vec<RunInstruction>,
    /// The date of the tool in RFC 3339, with seconds and `Z`, if it is known. No other date gets into an image.
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
