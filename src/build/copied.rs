//! Images built elsewhere. Nothing is built; the engine gets them in order to run them.

use std::path::Path;
use std::time::Duration;

use crate::api::engine::{Attempt, Engine, EngineError, ImageLease, Loadable, LocalImage, Part};
use crate::compose::{Origin, Section};
use crate::image::{Digest, PinnedReference, Platform};
use crate::resolve::CopiedImage;

/// An image that the engine has pulled in order to run it. It is removed there when this value is dropped, unless it
/// was there before.
#[derive(Debug)]
pub struct PulledImage {
    lease: ImageLease,
    platform: Platform,
    config: Digest,
}

/// Pulls an image onto the engine.
///
/// # Errors
/// The engine can't pull it.
pub async fn pull(
    engine: &Engine,
    reference: &PinnedReference,
    copied: &CopiedImage,
) -> Result<PulledImage, EngineError> {
    // Engines select an image by the platform in its config, not by the one in the index.
    let (platform, config) = (copied.image.config.platform(), copied.image.config_digest().clone());
    let pulled = PulledImage { lease: engine.lease(reference), platform, config };
    pulled.lease.pull(&pulled.platform, &pulled.config, &|_| {}).await?;
    Ok(pulled)
}

/// Loads an image that isn't in a registry. The archive for the engine is made in `directory`.
///
/// # Errors
/// The engine refuses it.
pub async fn load(
    engine: &Engine,
    name: &str,
    copied: &CopiedImage,
    directory: &Path,
) -> Result<LocalImage, EngineError> {
    let parts = copied.image.blobs.iter().filter_map(|blob| match &blob.origin {
        Origin::Section(Section { path, start }) => Some(Part {
            digest: blob.descriptor.digest.clone(),
            path: path.clone(),
            start: *start,
            size: blob.descriptor.size,
        }),
        _ => None,
    });
    let mut layers: Vec<Part> = parts.collect();
    let config = layers.pop().expect("an image has a config, which is the last of its blobs");
    engine.load(Loadable { config, layers }, &copied.image.config.platform(), name, directory).await
}

impl PulledImage {
    /// Runs a command in it, like [`LocalImage::run`](crate::api::engine::LocalImage::run).
    ///
    /// # Errors
    /// The engine doesn't answer. A failing command isn't an error.
    pub async fn run(&self, platform: &Platform, command: &[String], limit: Duration) -> Result<Attempt, EngineError> {
        self.lease.ask(&self.platform, &self.config, || self.lease.run(platform, command, limit)).await
    }
}
