//! Composes the image of a recipe: its config, its manifest, and the index over its platforms.
//!
//! Pure. What is published is what is composed here, whichever builder is used: an image is a list of layers and a
//! config, so it can be computed from the base's manifest and config and the digests of the layers on top.

use std::sync::Arc;

use super::recipe::{DESTINATION, Recipe};
use crate::image::config::AddedLayer;
use crate::image::layer::{Compressed, Layer};
use crate::image::manifest::{Annotations, DescribedPlatform, InvalidManifest};
use crate::image::{Config, Descriptor, Document, Index, Manifest, MediaType, Platform, Repository};

/// An image for one platform, ready to be pushed.
#[derive(Clone, Debug)]
pub struct Composed {
    /// What it runs on.
    pub platform: Platform,
    /// The config.
    pub config: Config,
    /// The manifest.
    pub manifest: Document,
    /// What the manifest points at: the layers, the lowest first, and then the config.
    pub blobs: Vec<Blob>,
}

/// A blob and where its bytes come from.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Points at the blob.
    pub descriptor: Descriptor,
    /// Where the bytes are.
    pub origin: Origin,
}

/// Where the bytes of a blob are.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In another repository: a layer of the base.
    Repository(Repository),
    /// In memory: a config.
    Document(Document),
    /// On disk: the executables.
    Executables(Arc<Layer>),
    /// On disk: made by a `run` line.
    Run(Arc<RunLayer>),
}

/// A layer that a `run` line made.
#[derive(Debug)]
pub struct RunLayer {
    /// The layer.
    pub compressed: Compressed,
    /// What made it, for `docker history`.
    pub created_by: String,
}

impl Composed {
    /// The bytes of the image in a registry: config and layers.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.descriptor.size).sum()
    }
}

/// Composes the image of `recipe`: the base's layers, `executables`, and the layers of the `run` lines.
///
/// # Errors
/// A base with a layer that registries don't hold.
pub fn image(
    recipe: &Recipe,
    executables: &Arc<Layer>,
    run: &[Arc<RunLayer>],
    annotations: &Annotations,
) -> Result<Composed, InvalidManifest> {
    let from_base = |layer: &Descriptor| {
        let origin = Origin::Repository(recipe.base.reference.repository().clone());
        layer.to_oci_layer().map(|descriptor| Blob { descriptor, origin })
    };
    let mut blobs = recipe.base.manifest.layers.iter().map(from_base).collect::<Result<Vec<_>, _>>()?;
    let descriptor = executables.compressed.descriptor.clone();
    blobs.push(Blob { descriptor, origin: Origin::Executables(executables.clone()) });
    blobs.extend(
        run.iter()
            .map(|layer| Blob { descriptor: layer.compressed.descriptor.clone(), origin: Origin::Run(layer.clone()) }),
    );

    let created_by = format!("COPY {} {DESTINATION}/", recipe.binaries.join(" "));
    let mut added = vec![AddedLayer { diff_id: executables.compressed.diff_id.clone(), created_by }];
    added.extend(
        run.iter().map(|layer| AddedLayer {
            diff_id: layer.compressed.diff_id.clone(),
            created_by: layer.created_by.clone(),
        }),
    );
    let derived = recipe.base.config.derive(&recipe.platform, &recipe.created, &added, &recipe.changes);
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
    Ok(Composed { platform: recipe.platform.clone(), config: derived, manifest, blobs })
}

/// The index over the images of one variant, one for each platform, in the order of the platforms' names.
#[must_use]
pub fn index(images: &[&Composed], annotations: &Annotations) -> Document {
    let describe = |image: &&Composed| Descriptor {
        platform: Some(DescribedPlatform::from(&image.platform)),
        ..image.manifest.descriptor()
    };
    let mut images = images.to_vec();
    images.sort_by_cached_key(|image| image.platform.to_string());
    let index = Index {
        schema_version: 2,
        media_type: MediaType::Index.as_str().to_owned(),
        manifests: images.iter().map(describe).collect(),
        annotations: annotations.clone(),
    };
    Document::new(MediaType::Index, &index)
}
