//! Descriptors, manifests and indexes.
//!
//! Shapes: [descriptor](https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md),
//! [manifest](https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md),
//! [index](https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md). Docker's older media types are
//! read but never written.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use super::platform::Platform;
use super::reference::Digest;
use crate::hint::{Hinted, Hints};
use crate::quote::quoted;

/// Annotations or labels, sorted so that they are always written in the same order.
pub type Annotations = BTreeMap<String, String>;

/// The media types that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// An image index.
    Index,
    /// An image manifest.
    Manifest,
    /// An image config.
    Config,
    /// A layer, compressed by gzip.
    LayerGzip,
}

impl MediaType {
    /// The media type as registries spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "application/vnd.oci.image.index.v1+json",
            Self::Manifest => "application/vnd.oci.image.manifest.v1+json",
            Self::Config => "application/vnd.oci.image.config.v1+json",
            Self::LayerGzip => "application/vnd.oci.image.layer.v1.tar+gzip",
        }
    }
}

/// Docker's media type for an index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's media type for a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The [layers](https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md) that everybody can read. There are
/// encrypted ones as well.
const OCI_LAYERS: [&str; 3] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
];

/// The media types of image configs. In indexes made by crane, images have them as their `artifactType`.
const IMAGE_CONFIGS: [&str; 2] = [MediaType::Config.as_str(), "application/vnd.docker.container.image.v1+json"];

/// The annotation that marks an attestation in an index. Its value is the kind of attestation.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// The annotation with the digest of the manifest that an attestation is about.
const ATTESTED: &str = "vnd.docker.reference.digest";

/// The media types that we accept for a manifest, as an `Accept` header.
pub const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why a document can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidManifest {
    /// Not JSON of the announced shape.
    #[error("the document is not a valid `{}`", quoted(media_type))]
    Malformed {
        /// The media type under which the registry sent it.
        media_type: String,
        /// The parser's error.
        #[source]
        cause: serde_json::Error,
    },
    /// Docker's manifest format from before 2016, or something that isn't an image.
    #[error(
        "the media type `{}` is not supported",
        quoted(.0)
    )]
    Unsupported(String),
    /// A document that is both an index and a manifest, or that states another type than its registry does: readers
    /// would disagree about it.
    #[error("the document is ambiguous: {0}")]
    Ambiguous(String),
    /// An index that contains too many other indexes.
    #[error("there are too many indexes within the index")]
    Nested,
    /// An index within an index, where none is allowed.
    #[error("it is an index within the index")]
    Within,
    /// A layer that registries don't store.
    #[error(
        "layer `{0}` is a foreign layer (`{media_type}`), which registries don't hold",
        media_type = quoted(.1)
    )]
    ForeignLayer(Digest, String),
}

impl Hinted for InvalidManifest {
    fn hints(&self) -> Hints {
        match self {
            Self::Malformed { .. } | Self::Ambiguous(_) => "push the image again with a current tool".into(),
            Self::Unsupported(_) => {
                "push the image again with a current tool, as an OCI or Docker schema 2 image".into()
            }
            Self::Nested | Self::Within => "name an index that lists its images itself".into(),
            Self::ForeignLayer(..) => "use a base without foreign layers".into(),
        }
    }
}

/// A reference to a blob or a manifest, by media type, digest and size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the content.
    pub media_type: String,
    /// The digest of the content.
    pub digest: Digest,
    /// The length of the content in bytes.
    pub size: u64,
    /// Download locations outside of the registry; only foreign layers have them.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Annotations on this reference, which the content itself doesn't contain.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// In an index: the kind of an artifact that isn't an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// In an index: the platform of a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescribedPlatform>,
}

impl Descriptor {
    /// A descriptor with only the three required fields.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        let media_type = media_type.as_str().to_owned();
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            platform: None,
        }
    }

    /// The platform of the image that this refers to. `None` for attestations, whose platform is `unknown/unknown`, for
    /// artifacts, and if there is no platform.
    #[must_use]
    pub fn image_platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref().filter(|_| self.may_be_image()).map(Platform::from);
        platform.filter(Platform::is_specified)
    }

    /// Whether this may refer to an image whose platform is only in its config.
    #[must_use]
    pub fn lacks_platform(&self) -> bool {
        self.may_be_image() && self.is_manifest() && self.platform.as_ref().is_none_or(|platform| platform.is_empty())
    }

    /// The manifest that this attestation is about; `None` if this isn't an attestation.
    #[must_use]
    pub fn attests(&self) -> Option<&str> {
        self.annotations.get(ATTESTATION)?;
        self.annotations.get(ATTESTED).map(String::as_str)
    }

    /// Whether this refers to another index.
    #[must_use]
    pub fn is_index(&self) -> bool {
        is_index(&self.media_type)
    }

    /// Whether this refers to a manifest.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        is_manifest(&self.media_type)
    }

    /// Neither attestations, by the mark that
    /// [BuildKit](https://github.com/moby/buildkit/blob/v0.26.0/docs/attestations/attestation-storage.md) gives them,
    /// nor artifacts are images.
    fn may_be_image(&self) -> bool {
        let artifact = self.artifact_type.as_deref().filter(|kind| !kind.is_empty() && !IMAGE_CONFIGS.contains(kind));
        artifact.is_none() && !self.annotations.contains_key(ATTESTATION)
    }

    /// This layer for an OCI manifest: the same blob with the OCI media type.
    ///
    /// # Errors
    /// This is a foreign layer, or not a layer at all.
    pub fn to_oci_layer(&self) -> Result<Self, InvalidManifest> {
        let media_type = match self.media_type.as_str() {
            "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.docker.image.rootfs.diff.tar.gzip" => MediaType::LayerGzip.as_str(),
            "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
            foreign if foreign.contains(".foreign.") || foreign.contains(".nondistributable.") => {
                return Err(InvalidManifest::ForeignLayer(self.digest.clone(), foreign.to_owned()));
            }
            oci if OCI_LAYERS.contains(&oci) => oci,
            other => return Err(InvalidManifest::Unsupported(other.to_owned())),
        };
        if !self.urls.is_empty() {
            return Err(InvalidManifest::ForeignLayer(self.digest.clone(), self.media_type.clone()));
        }
        Ok(Self { media_type: media_type.to_owned(), ..self.clone() })
    }
}

/// The platform of a descriptor, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribedPlatform {
    /// A value of `GOARCH`; empty if it is missing.
    #[serde(default, deserialize_with = "or_null")]
    pub architecture: String,
    /// A value of `GOOS`; empty if it is missing.
    #[serde(default, deserialize_with = "or_null")]
    pub os: String,
    /// The version of the operating system; Windows only.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Required features of the operating system; Windows only.
    #[serde(rename = "os.features", default, deserialize_with = "or_null", skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The variant of the architecture: `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl DescribedPlatform {
    /// Whether it is empty, as some tools write it if they don't know the platform.
    fn is_empty(&self) -> bool {
        self.os.is_empty() && self.architecture.is_empty()
    }
}

impl From<&DescribedPlatform> for Platform {
    fn from(described: &DescribedPlatform) -> Self {
        Self::new(&described.os, &described.architecture, described.variant.as_deref())
    }
}

impl From<&Platform> for DescribedPlatform {
    fn from(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture().to_owned(),
            os: platform.os().to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: platform.variant().map(str::to_owned),
        }
    }
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u8,
    /// The media type that the manifest itself states.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The reference to the image's config.
    pub config: Descriptor,
    /// References to the layers, lowest first.
    #[serde(deserialize_with = "or_null")]
    pub layers: Vec<Descriptor>,
    /// Annotations of the image.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

/// An image for several platforms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    #[serde(default)]
    pub schema_version: u8,
    /// The media type that the index itself states.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// References to the manifests, one for each platform.
    #[serde(deserialize_with = "or_null")]
    pub manifests: Vec<Descriptor>,
    /// Annotations of the image.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

/// A document that a registry returns for a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there are few of them at a time")]
pub enum ManifestOrIndex {
    /// An image for one platform.
    Manifest(Manifest),
    /// An image for several.
    Index(Index),
}

impl ManifestOrIndex {
    /// The annotations of the image.
    #[must_use]
    pub fn annotations(&self) -> &Annotations {
        match self {
            Self::Manifest(manifest) => &manifest.annotations,
            Self::Index(index) => &index.annotations,
        }
    }

    /// Parses a document with the given media type.
    ///
    /// # Errors
    /// The media type isn't that of an image, or the bytes don't match it.
    pub fn parse(media_type: &str, bytes: &[u8]) -> Result<Self, InvalidManifest> {
        let malformed = |cause| InvalidManifest::Malformed { media_type: media_type.to_owned(), cause };
        // The header may have parameters, as in `application/json; charset=utf-8`.
        match media_type.split(';').next().unwrap_or_default().trim() {
            index if is_index(index) => {
                unambiguous(index, bytes)?;
                serde_json::from_slice(bytes).map(Self::Index).map_err(malformed)
            }
            manifest if is_manifest(manifest) => {
                unambiguous(manifest, bytes)?;
                serde_json::from_slice(bytes).map(Self::Manifest).map_err(malformed)
            }
            other => Err(InvalidManifest::Unsupported(other.to_owned())),
        }
    }
}

fn is_index(media_type: &str) -> bool {
    [MediaType::Index.as_str(), DOCKER_INDEX].contains(&media_type)
}

fn is_manifest(media_type: &str) -> bool {
    [MediaType::Manifest.as_str(), DOCKER_MANIFEST].contains(&media_type)
}

/// Refuses documents that some readers take for a manifest and others for an index, as the
/// [specification](https://github.com/opencontainers/image-spec/security/advisories/GHSA-77vh-xpmg-72qh) asks.
fn unambiguous(media_type: &str, bytes: &[u8]) -> Result<(), InvalidManifest> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Outline {
        #[serde(default)]
        media_type: Option<String>,
        #[serde(default)]
        config: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        layers: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
    }
    // Invalid JSON is reported when the whole document is parsed.
    let Ok(outline) = serde_json::from_slice::<Outline>(bytes) else { return Ok(()) };
    if outline.manifests.is_some() && (outline.config.is_some() || outline.layers.is_some()) {
        return Err(InvalidManifest::Ambiguous("it has both `manifests` and `config` or `layers`".to_owned()));
    }
    // Registries differ in whether they use OCI's or Docker's media type for the same kind.
    let other_kind = if is_index(media_type) { is_manifest } else { is_index };
    match outline.media_type.filter(|own| other_kind(own)) {
        Some(own) => Err(InvalidManifest::Ambiguous(format!(
            "its registry calls it `{media_type}`, and it calls itself `{own}`"
        ))),
        None => Ok(()),
    }
}

/// A value, or the default for `null`, which is how Go writes empty lists.
fn or_null<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Bytes that were serialised once, with their digest. Exactly these bytes are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    media_type: String,
    bytes: Bytes,
    digest: Digest,
}

impl Document {
    /// Serialises `value` under `media_type`.
    #[must_use]
    pub fn new(media_type: MediaType, value: &impl Serialize) -> Self {
        let bytes = serde_json::to_vec(value).expect("our documents have string keys only");
        Self::received(media_type.as_str(), bytes.into())
    }

    /// Bytes from a registry, under the media type that the registry sent.
    #[must_use]
    pub fn received(media_type: &str, bytes: Bytes) -> Self {
        Self { media_type: media_type.to_owned(), digest: Digest::of(&bytes), bytes }
    }

    /// The media type that the document is pushed with.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// The bytes that are pushed.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// A reference to the document.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        let size = self.bytes.len() as u64;
        Descriptor {
            media_type: self.media_type.clone(),
            ..Descriptor::new(MediaType::Manifest, self.digest.clone(), size)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), ..Descriptor::new(MediaType::LayerGzip, Digest::of(b""), 3) }
    }

    #[test]
    fn layers_keep_their_blob_and_get_the_oci_media_type() {
        let docker = layer("application/vnd.docker.image.rootfs.diff.tar.gzip");
        assert_eq!(docker.to_oci_layer().unwrap(), layer(MediaType::LayerGzip.as_str()));
        let zstd = layer("application/vnd.oci.image.layer.v1.tar+zstd");
        assert_eq!(zstd.to_oci_layer().unwrap(), zstd);
    }

    #[test]
    fn foreign_layers_are_refused() {
        for media_type in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        ] {
            assert!(matches!(layer(media_type).to_oci_layer(), Err(InvalidManifest::ForeignLayer(..))));
        }
        let elsewhere = Descriptor { urls: vec!["https://example.org".into()], ..layer(MediaType::LayerGzip.as_str()) };
        assert!(matches!(elsewhere.to_oci_layer(), Err(InvalidManifest::ForeignLayer(..))));
    }

    #[test]
    fn schema_1_is_refused_and_a_truncated_document_too() {
        let schema_1 = ManifestOrIndex::parse("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}");
        assert!(matches!(schema_1, Err(InvalidManifest::Unsupported(_))));
        let truncated = ManifestOrIndex::parse(MediaType::Index.as_str(), br#"{"schemaVersion":2,"manifests":["#);
        assert!(matches!(truncated, Err(InvalidManifest::Malformed { .. })));
    }

    #[test]
    fn a_document_has_the_digest_of_its_bytes() {
        let document = Document::new(MediaType::Config, &serde_json::json!({ "os": "linux" }));
        assert_eq!(&document.bytes()[..], br#"{"os":"linux"}"#);
        assert_eq!(document.descriptor().digest, Digest::of(br#"{"os":"linux"}"#));
        assert_eq!(document.descriptor().size, 14);
    }
}
