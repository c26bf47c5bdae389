//! What to build: one variant for one platform, with everything addressed by digest.

use super::run::RunInstruction;
use crate::image::config::Changes;
use crate::image::{Config, Manifest, PinnedReference, Platform};

/// An image of a registry for one platform, resolved: it can't change any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The manifest of this platform (never an index).
    pub reference: PinnedReference,
    /// The manifest.
    pub manifest: Manifest,
    /// The config that the manifest names.
    pub config: Config,
}

/// One variant for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The variant's name in the plan, which is also its most specific tag: `alpine3.23`.
    pub variant: String,
    /// The platform of the image.
    pub platform: Platform,
    /// The image under the variant.
    pub base: ResolvedImage,
    /// The scratch image with the executables.
    pub source: ResolvedImage,
    /// Where the executables are in the source: `/uv`, `/uvx`. They go to [`DESTINATION`] under the same file names.
    pub binaries: Vec<String>,
    /// The variant's changes to the base's config.
    pub changes: Changes,
    /// Extra `RUN` lines of a Dockerfile, after the executables are in place.
    pub run: Vec<RunInstruction>,
    /// When the tool was made, in RFC 3339 with seconds and `Z`, where that is known; no other time gets into an image.
    pub created: Option<String>,
}

/// The folder in which a variant has the executables.
pub const DESTINATION: &str = "/usr/local/bin";
