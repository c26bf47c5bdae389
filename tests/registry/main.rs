//! The registry client with real registries: what it does, what it sends, and how it handles failures.

#![expect(clippy::unwrap_used, reason = "a failing setup fails its test")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use publish_variants::api::registry::{BlobOrigin, Credential, Ensured, Options, Registries, RegistryError};
use publish_variants::image::{Descriptor, Digest, Document, Manifest, MediaType, Repository};
use publish_variants::secret::Secret;
use tempfile::TempDir;

mod auth;
mod canned;
mod faults;
mod hostile;
mod presence;
mod pull;
mod push;
mod requests;
mod tags;
mod tls;
mod wild;

const PASSWORD: &str = "correct-horse-battery-staple";

/// A client with short waits and a folder of its own.
struct Client {
    registries: Registries,
    spool: TempDir,
}

impl Client {
    fn new() -> Self {
        Self::with(Options::default())
    }

    /// The user `publisher` at a registry.
    fn publisher(registry: &str) -> Self {
        Self::with(Options { credentials: vec![credential(registry)], ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let patience = Options { deadline: Duration::from_secs(20), ..options };
        Self::impatient(patience, spool)
    }

    fn impatient(options: Options, spool: TempDir) -> Self {
        let options = Options {
            first_wait: Duration::from_millis(5),
            idle: options.idle.min(Duration::from_secs(10)),
            spool: spool.path().to_owned(),
            ..options
        };
        Self { registries: Registries::new(options).unwrap(), spool }
    }

    /// How many blobs in transit are on disk.
    fn spooled(&self) -> usize {
        std::fs::read_dir(self.spool.path()).unwrap().count()
    }
}

fn credential(registry: &str) -> Credential {
    Credential { registry: registry.into(), username: "publisher".into(), password: Secret::new(PASSWORD).unwrap() }
}

fn repository(host: &str, path: &str) -> Repository {
    format!("{host}/{path}").parse().unwrap()
}

/// Random bytes, always the same ones for a seed, and a descriptor for them.
fn blob(seed: u64, length: usize) -> (Bytes, Descriptor) {
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Bytes = std::iter::repeat_with(|| random.u8(..)).take(length).collect();
    let descriptor = Descriptor::new(MediaType::LayerGzip, Digest::of(&bytes), length as u64);
    (bytes, descriptor)
}

/// An image with one config and one layer.
struct Image {
    config: Document,
    layer: (Bytes, Descriptor),
    manifest: Document,
}

impl Image {
    fn new(seed: u64) -> Self {
        let config = Document::new(MediaType::Config, &serde_json::json!({ "architecture": "amd64", "os": "linux" }));
        let layer = blob(seed, 300_000);
        let manifest = Manifest {
            schema_version: 2,
            media_type: MediaType::Manifest.as_str().into(),
            config: config.descriptor(),
            layers: vec![layer.1.clone()],
            annotations: Default::default(),
        };
        Self { config, layer, manifest: Document::new(MediaType::Manifest, &manifest) }
    }

    /// Pushes everything under the tag `latest`, the layer from a file. Returns how config, layer and manifest got
    /// there.
    async fn push(&self, registries: &Registries, to: &Repository) -> Result<[Ensured; 3], RegistryError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.layer.0).unwrap();
        self.push_with(registries, to, file.path()).await
    }

    async fn push_with(
        &self,
        registries: &Registries,
        to: &Repository,
        layer: &Path,
    ) -> Result<[Ensured; 3], RegistryError> {
        let config = BlobOrigin::Bytes(self.config.bytes());
        let config = registries.ensure_blob(to, &self.config.descriptor(), config).await?;
        let layer = registries.ensure_blob(to, &self.layer.1, BlobOrigin::File(layer)).await?;
        let manifest = registries.ensure_manifest(to, &self.manifest).await?;
        assert!(registries.move_tag(to, &"latest".parse().unwrap(), None, &self.manifest).await?);
        Ok([config, layer, manifest])
    }
}

/// An error as people see it, with its causes.
fn said(error: RegistryError) -> String {
    publish_variants::error::Failure::from(error).to_string()
}
