//! Composes images: config, manifest and index, from the base's manifest and config and the digests of the layers on
//! top of it.
//!
//! Pure. Whichever builder is chosen, the bytes composed here are the ones that get published.

pub mod binaries;
pub mod kinship;
pub mod recipe;
pub mod run;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::image::config::{AddedLayer, Changes};
use crate::image::layer::{Compressed, Layer};
use crate::image::manifest::{Annotations, DescribedPlatform};
use crate::image::{Config, Descriptor, Digest, Document, Index, Manifest, MediaType, Platform, Repository};
use binaries::{Binaries, Binary};
use recipe::{Recipe, ResolvedImage};

/// An image for one platform, ready to be pushed.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The platform that the image runs on.
    pub platform: Platform,
    /// The config, which is one of `blobs` as well.
    pub config: Config,
    /// The manifest, as the bytes that are pushed.
    pub manifest: Document,
    /// The blobs of the manifest: the layers, lowest first, then the config.
    pub blobs: Vec<Blob>,
}

/// An index with everything that it refers to: a variant or the source, as registries store it.
#[derive(Clone, Debug)]
pub struct Content {
    /// The document that tags name: an index, or the source's manifest if it has no index.
    pub index: Document,
    /// The images that the index lists; for a source without an index, its one image.
    pub images: Vec<ImageContent>,
}

/// A manifest with everything that it refers to.
#[derive(Clone, Debug)]
pub struct ImageContent {
    /// The platform; `None` for attestations, and for index entries without one.
    pub platform: Option<Platform>,
    /// The manifest, as the bytes that are pushed.
    pub manifest: Document,
    /// The config and the layers.
    pub blobs: Vec<Blob>,
}

impl Composed {
    /// The digest of the config, by which engines know the image.
    #[must_use]
    pub fn config_digest(&self) -> &Digest {
        &self.blobs.last().expect("the config is the last of an image's blobs").descriptor.digest
    }
}

impl Content {
    /// The digest of the index.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        self.index.digest()
    }

    /// Every blob of every image.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.images.iter().flat_map(|image| &image.blobs)
    }
}

impl ImageContent {
    /// The size of a pull in bytes: the config and the compressed layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }
}

impl From<&Composed> for ImageContent {
    fn from(composed: &Composed) -> Self {
        Self {
            platform: Some(composed.platform.clone()),
            manifest: composed.manifest.clone(),
            blobs: composed.blobs.clone(),
        }
    }
}

/// A blob, and where its bytes come from.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest, size and media type.
    pub descriptor: Descriptor,
    /// Where the bytes are.
    pub origin: Origin,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In another repository: a layer of the base.
    Repository(Repository),
    /// In memory: a config or a manifest.
    Document(Document),
    /// On disk: a part of an OCI layout in a tar archive.
    Section(Section),
    /// On disk: the layer of the executables.
    Executables(Arc<Layer>),
    /// On disk: the layer of a `run` line.
    Run(Arc<RunLayer>),
}

impl Origin {
    /// Our own file with exactly the bytes of the blob, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Repository(_) | Self::Document(_) | Self::Section(_) => None,
            Self::Executables(layer) => Some(layer.compressed.path()),
            Self::Run(layer) => Some(layer.compressed.path()),
        }
    }
}

/// A part of a file. Its length is the size of the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The file that it is a part of.
    pub path: PathBuf,
    /// The offset of its first byte.
    pub start: u64,
}

/// A layer that a `run` line made.
#[derive(Debug)]
pub struct RunLayer {
    /// Its compressed file, with digests and size.
    pub compressed: Compressed,
    /// The command that made it, for `docker history`.
    pub created_by: String,
}

/// Composes the image of `recipe`: the base's layers, `executables`, and the layers of the `run` lines.
#[must_use]
pub fn image(recipe: &Recipe, executables: &Arc<Layer>, run: &[Arc<RunLayer>], annotations: &Annotations) -> Composed {
    let mut blobs = recipe.base.image().map(layers).unwrap_or_default();
    let descriptor = executables.compressed.descriptor.clone();
    blobs.push(Blob { descriptor, origin: Origin::Executables(executables.clone()) });
    blobs.extend(
        run.iter()
            .map(|layer| Blob { descriptor: layer.compressed.descriptor.clone(), origin: Origin::Run(layer.clone()) }),
    );

    let created_by = copied(&recipe.binaries);
    let mut added = vec![AddedLayer { diff_id: executables.compressed.diff_id.clone(), created_by }];
    added.extend(
        run.iter().map(|layer| AddedLayer {
            diff_id: layer.compressed.diff_id.clone(),
            created_by: layer.created_by.clone(),
        }),
    );
    let derived = recipe.base.config().derive(&recipe.platform, recipe.created.as_deref(), &added, &recipe.changes);
    with_config(&recipe.platform, blobs, derived, annotations)
}

/// Composes a scratch image of files, shaped like a source image: one layer, and a config with nothing but `changes`.
#[must_use]
pub fn scratch(
    platform: &Platform,
    files: &Arc<Layer>,
    created: Option<&str>,
    changes: &Changes,
    annotations: &Annotations,
) -> Composed {
    let descriptor = files.compressed.descriptor.clone();
    let blobs = vec![Blob { descriptor, origin: Origin::Executables(files.clone()) }];
    let paths: Vec<&str> = files.files.iter().map(|file| file.path.trim_start_matches('/')).collect();
    let created_by = format!("COPY {} /", paths.join(" "));
    let added = [AddedLayer { diff_id: files.compressed.diff_id.clone(), created_by }];
    let config = Config::scratch(platform).derive(platform, created, &added, changes);
    with_config(platform, blobs, config, annotations)
}

/// The image with `layers` and the config `derived`.
fn with_config(platform: &Platform, layers: Vec<Blob>, derived: Config, annotations: &Annotations) -> Composed {
    let mut blobs = layers;
    let config = Document::new(MediaType::Config, derived.as_json());
    let manifest = Manifest {
        schema_version: 2,
        media_type: MediaType::Manifest.as_str().to_owned(),
        config: config.descriptor(),
        layers: blobs.iter().map(|layer| layer.descriptor.clone()).collect(),
        annotations: annotations.clone(),
    };
    let manifest = Document::new(MediaType::Manifest, &manifest);
    blobs.push(Blob { descriptor: config.descriptor(), origin: Origin::Document(config) });
    Composed { platform: platform.clone(), config: derived, manifest, blobs }
}

/// The layers of a base, as blobs to copy from its repository.
fn layers(base: &ResolvedImage) -> Vec<Blob> {
    let origin = || Origin::Repository(base.reference.repository().clone());
    base.manifest.layers.iter().map(|layer| Blob { descriptor: layer.clone(), origin: origin() }).collect()
}

/// The history entry of the layer of the executables, for `docker history`.
fn copied(binaries: &Binaries) -> String {
    let of_folder = |(folder, files): (&str, Vec<&Binary>)| {
        let (kept, renamed): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|file| file.from().rsplit('/').next() == Some(file.name()));
        let kept = (!kept.is_empty()).then(|| {
            let paths: Vec<&str> = kept.iter().map(|file| file.from()).collect();
            format!("COPY {} {folder}/", paths.join(" "))
        });
        let renamed = renamed.into_iter().map(|file| format!("COPY {} {}", file.from(), file.to()));
        kept.into_iter().chain(renamed).collect::<Vec<_>>()
    };
    binaries.by_folder().into_iter().flat_map(of_folder).collect::<Vec<_>>().join("; ")
}

/// The index of a variant: one image for each platform, sorted by platform.
#[must_use]
pub fn index(images: &[&Composed], annotations: &Annotations) -> Content {
    let mut images = images.to_vec();
    images.sort_by_cached_key(|image| image.platform.to_string());
    let describe = |image: &&Composed| Descriptor {
        platform: Some(DescribedPlatform::from(&image.platform)),
        ..image.manifest.descriptor()
    };
    let index = document(images.iter().map(describe).collect(), annotations);
    Content { index, images: images.into_iter().map(ImageContent::from).collect() }
}

/// An index of ours with unchanged manifests: the source's, or those of a variant built elsewhere.
#[must_use]
pub fn annotated(source: &Content, listed: Vec<Descriptor>, annotations: &Annotations) -> Content {
    Content { index: document(listed, annotations), images: source.images.clone() }
}

fn document(manifests: Vec<Descriptor>, annotations: &Annotations) -> Document {
    let index = Index {
        schema_version: 2,
        media_type: MediaType::Index.as_str().to_owned(),
        manifests,
        annotations: annotations.clone(),
    };
    Document::new(MediaType::Index, &index)
}
