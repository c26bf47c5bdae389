//! Small images made in memory, in milliseconds and without any other program: an index, manifests, configs, and layers
//! with a few files.
//!
//! Specifications: the OCI [image index], [manifest] and [config]; the media types of Docker's [schema 2].
//!
//! [image index]: https://github.com/opencontainers/image-spec/blob/main/image-index.md
//! [manifest]: https://github.com/opencontainers/image-spec/blob/main/manifest.md
//! [config]: https://github.com/opencontainers/image-spec/blob/main/config.md
//! [schema 2]: https://distribution.github.io/distribution/spec/manifest-v2-2/

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

mod layout;

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The family of media types an image is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaTypes {
    /// `application/vnd.oci.image.*`.
    Oci,
    /// `application/vnd.docker.*`, as in most images on Docker Hub.
    Docker,
}

impl MediaTypes {
    /// The media type of an index (Docker: manifest list).
    pub fn index(self) -> &'static str {
        self.pick(
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
        )
    }

    /// The media type of a manifest.
    pub fn manifest(self) -> &'static str {
        self.pick("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
    }

    /// The media type of a config.
    pub fn config(self) -> &'static str {
        self.pick("application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json")
    }

    /// The media type of a gzip-compressed layer.
    pub fn layer(self) -> &'static str {
        self.pick("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip")
    }

    fn pick(self, oci: &'static str, docker: &'static str) -> &'static str {
        match self {
            Self::Oci => oci,
            Self::Docker => docker,
        }
    }
}

/// A file of a layer.
#[derive(Debug, Clone)]
pub struct File {
    path: String,
    mode: u32,
    owner: u64,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    Symlink(String),
    HardLink(String),
}

impl File {
    fn new(path: &str, mode: u32, content: Content) -> Self {
        Self { path: path.trim_start_matches('/').into(), mode, owner: 0, content }
    }

    /// Sets its mode.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// Sets its owner, and the group with the same number.
    #[must_use]
    pub fn owner(self, owner: u64) -> Self {
        Self { owner, ..self }
    }
}

/// An executable file (mode 0755).
pub fn executable(path: &str, bytes: impl Into<Vec<u8>>) -> File {
    File::new(path, 0o755, Content::Bytes(bytes.into()))
}

/// A plain file (mode 0644).
pub fn file(path: &str, bytes: impl Into<Vec<u8>>) -> File {
    File::new(path, 0o644, Content::Bytes(bytes.into()))
}

/// A symbolic link.
pub fn symlink(path: &str, target: &str) -> File {
    File::new(path, 0o777, Content::Symlink(target.into()))
}

/// Another name of a file earlier in the layer.
pub fn hard_link(path: &str, target: &str) -> File {
    File::new(path, 0o755, Content::HardLink(target.trim_start_matches('/').into()))
}

/// The description of an image; [`TinyImage::build`] makes it.
#[derive(Debug, Clone)]
pub struct TinyImage {
    platforms: Vec<String>,
    layers: Vec<(Option<String>, Vec<File>)>,
    config: Map<String, Value>,
    annotations: Map<String, Value>,
    created: Option<String>,
    media_types: MediaTypes,
    attestations: bool,
    without_index: bool,
}

impl TinyImage {
    /// An image for `platforms` (`linux/amd64`, `linux/arm/v7`) under one OCI index, without any layer yet.
    pub fn new(platforms: &[&str]) -> Self {
        assert!(!platforms.is_empty(), "an image has at least one platform");
        Self {
            platforms: platforms.iter().map(ToString::to_string).collect(),
            layers: Vec::new(),
            config: Map::new(),
            annotations: Map::new(),
            created: Some("2026-01-15T00:00:00Z".into()),
            media_types: MediaTypes::Oci,
            attestations: false,
            without_index: false,
        }
    }

    /// A scratch image of a tool: for each platform (amd64 and arm64 only), the executables `names` in the root, each
    /// of which prints `<name> <version>`.
    pub fn tool(platforms: &[&str], names: &[&str], version: &str) -> Self {
        platforms.iter().fold(Self::new(platforms), |image, platform| {
            let print = |name: &&str| executable(name, crate::elf::printing(platform, &format!("{name} {version}\n")));
            image.layer_for(platform, names.iter().map(print).collect())
        })
    }

    /// Adds a layer for all platforms.
    #[must_use]
    pub fn layer(mut self, files: Vec<File>) -> Self {
        self.layers.push((None, files));
        self
    }

    /// Adds a layer for one platform only.
    #[must_use]
    pub fn layer_for(mut self, platform: &str, files: Vec<File>) -> Self {
        self.layers.push((Some(platform.into()), files));
        self
    }

    /// Sets a key of the config's `config` object (`Env`, `Cmd`, `Labels`, `OnBuild` …).
    #[must_use]
    pub fn config(mut self, key: &str, value: Value) -> Self {
        self.config.insert(key.into(), value);
        self
    }

    /// Sets an annotation of the index, or of the manifest if there is no index.
    #[must_use]
    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Sets the date (RFC 3339), or removes it.
    #[must_use]
    pub fn created(mut self, created: Option<&str>) -> Self {
        self.created = created.map(str::to_owned);
        self
    }

    /// Writes the image in another family of media types.
    #[must_use]
    pub fn media_types(mut self, media_types: MediaTypes) -> Self {
        self.media_types = media_types;
        self
    }

    /// Adds an `unknown/unknown` manifest with an in-toto statement for each platform, like BuildKit.
    #[must_use]
    pub fn attestations(mut self) -> Self {
        self.attestations = true;
        self
    }

    /// Leaves out the index, so that a tag names the manifest. For an image with one platform.
    #[must_use]
    pub fn without_index(mut self) -> Self {
        self.without_index = true;
        self
    }

    /// The image's bytes. The same description always gives the same bytes.
    pub fn build(&self) -> Image {
        let mut image = Image { blobs: Vec::new(), manifests: Vec::new() };
        let annotated = self.without_index;
        let built: Vec<_> =
            self.platforms.iter().map(|platform| self.manifest(platform, annotated, &mut image.blobs)).collect();
        if self.without_index {
            assert!(built.len() == 1 && !self.attestations, "only an image of one platform does without an index");
            image.manifests = built;
            return image;
        }
        let mut entries: Vec<Value> =
            self.platforms.iter().zip(&built).map(|(p, manifest)| entry(manifest, p)).collect();
        image.manifests.extend(built);
        if self.attestations {
            for subject in &image.manifests.clone() {
                let manifest = self.attestation(subject, &mut image.blobs);
                let mut entry = entry(&manifest, "unknown/unknown");
                entry["annotations"] = json!({
                    "vnd.docker.reference.type": "attestation-manifest",
                    "vnd.docker.reference.digest": subject.digest(),
                });
                entries.push(entry);
                image.manifests.push(manifest);
            }
        }
        let mut index = json!({ "schemaVersion": 2, "mediaType": self.media_types.index(), "manifests": entries });
        if !self.annotations.is_empty() {
            index["annotations"] = Value::Object(self.annotations.clone());
        }
        image.manifests.push(Manifest::new(self.media_types.index(), &index));
        image
    }

    fn manifest(&self, platform: &str, annotated: bool, blobs: &mut Vec<Vec<u8>>) -> Manifest {
        let layers = self.layers.iter().filter(|(only, _)| only.as_deref().is_none_or(|only| only == platform));
        let tars: Vec<Vec<u8>> = layers.map(|(_, files)| tar(files)).collect();
        let mut config = json!({
            "created": self.created,
            "config": self.config,
            "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|tar| digest(tar)).collect::<Vec<_>>() },
            "history": tars.iter().map(|_| json!({ "created": "2026-01-15T00:00:00Z", "created_by": "COPY files /" })).collect::<Vec<_>>(),
        });
        if self.created.is_none() {
            config.as_object_mut().expect("it is an object").remove("created");
        }
        for (key, value) in platform_object(platform) {
            config[key] = value;
        }
        let config = config.to_string().into_bytes();
        let layers: Vec<Vec<u8>> = tars.iter().map(|tar| gzip(tar)).collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.media_types.manifest(),
            "config": descriptor(self.media_types.config(), &config),
            "layers": layers.iter().map(|layer| descriptor(self.media_types.layer(), layer)).collect::<Vec<_>>(),
        });
        if annotated && !self.annotations.is_empty() {
            manifest["annotations"] = Value::Object(self.annotations.clone());
        }
        blobs.push(config);
        blobs.extend(layers);
        Manifest::new(self.media_types.manifest(), &manifest)
    }

    fn attestation(&self, subject: &Manifest, blobs: &mut Vec<Vec<u8>>) -> Manifest {
        let statement = json!({
            "_type": "https://in-toto.io/Statement/v0.1",
            "predicateType": "https://slsa.dev/provenance/v0.2",
            "subject": [{ "name": "image", "digest": { "sha256": subject.digest().trim_start_matches("sha256:") } }],
            "predicate": {},
        });
        let statement = statement.to_string().into_bytes();
        let config = json!({
            "architecture": "unknown", "os": "unknown", "config": {},
            "rootfs": { "type": "layers", "diff_ids": [digest(&statement)] },
        });
        let config = config.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": self.media_types.manifest(),
            "config": descriptor(self.media_types.config(), &config),
            "layers": [descriptor("application/vnd.in-toto+json", &statement)],
        });
        blobs.extend([config, statement]);
        Manifest::new(self.media_types.manifest(), &manifest)
    }
}

/// A manifest or an index: its bytes and their media type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The media type that it is pushed under.
    pub media_type: String,
    /// Its exact bytes.
    pub bytes: Vec<u8>,
}

impl Manifest {
    fn new(media_type: &str, value: &Value) -> Self {
        Self { media_type: media_type.into(), bytes: value.to_string().into_bytes() }
    }

    /// `sha256:…` of its bytes.
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    /// Its content as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("a manifest is JSON")
    }
}

/// An image in memory: everything to push, in an order that a registry accepts.
#[derive(Debug, Clone)]
pub struct Image {
    /// Configs and layers.
    pub blobs: Vec<Vec<u8>>,
    /// The manifests. A tag names the last one (the index, or the only manifest).
    pub manifests: Vec<Manifest>,
}

impl Image {
    /// The manifest that a tag names.
    pub fn top(&self) -> &Manifest {
        self.manifests.last().expect("an image has a manifest")
    }
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(bytes), "size": bytes.len() })
}

fn entry(manifest: &Manifest, platform: &str) -> Value {
    let mut entry = descriptor(&manifest.media_type, &manifest.bytes);
    entry["platform"] = Value::Object(platform_object(platform));
    entry
}

fn platform_object(platform: &str) -> Map<String, Value> {
    let parts: Vec<&str> = platform.split('/').collect();
    let keys = ["os", "architecture", "variant"];
    assert!((2..=3).contains(&parts.len()), "`{platform}` is no platform");
    keys.into_iter().zip(parts).map(|(key, part)| (key.to_owned(), part.into())).collect()
}

fn tar(files: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(file.mode);
        if file.owner > 0 {
            header.set_uid(file.owner);
            header.set_gid(file.owner);
        }
        let (kind, target) = match &file.content {
            Content::Bytes(bytes) => {
                header.set_size(bytes.len() as u64);
                header.set_entry_type(tar::EntryType::Regular);
                tar.append_data(&mut header, &file.path, bytes.as_slice()).expect("a tar can be written to memory");
                continue;
            }
            Content::Symlink(target) => (tar::EntryType::Symlink, target),
            Content::HardLink(target) => (tar::EntryType::Link, target),
        };
        header.set_size(0);
        header.set_entry_type(kind);
        tar.append_link(&mut header, &file.path, target).expect("a tar can be written to memory");
    }
    tar.into_inner().expect("a tar can be written to memory")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("gzip can be written to memory")
}

#[cfg(test)]
mod tests;
