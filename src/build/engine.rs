//! The engine's builder: the [Docker Engine](https://docs.docker.com/reference/api/engine/) builds an image, and the
//! result is compared with the composed one.
//!
//! The same image is made in two independent ways, and a difference between them stops the publication.

mod agreement;
mod folders;
mod interpreters;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use futures_util::future::try_join;
use serde_json::Value;

pub use agreement::Difference;
pub use folders::UnusableFolder;

use super::dockerfile::render;
use super::interpreter::MissingInterpreter;
use crate::api::engine::{
    Engine, EngineError, ExportedLayer, FileInImage, FilesLease, ImageLease, LocalImage, Progress, Solve,
};
use crate::compose::recipe::{Recipe, ResolvedImage};
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints, Input, REPORT_THIS};
use crate::image::config::Changes;
use crate::image::{Digest, PinnedReference, Platform};
use crate::troubleshooting::Topic;

/// Why an image was not built, or not as its recipe says.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The executables can't be put into a folder of the base.
    #[error(transparent)]
    Folder(#[from] UnusableFolder),
    /// The base lacks the interpreter of an executable.
    #[error(transparent)]
    Interpreter(#[from] MissingInterpreter),
    /// The engine can't unpack an image.
    #[error("`{0}` has layers that are compressed by zstd, which Docker Engines before version 23 can't unpack")]
    Zstd(PinnedReference),
    /// The layers aren't the base's with those of the recipe on top.
    #[error("the engine built `{image}` with other layers than its recipe has: {found}")]
    Layers {
        /// Variant and platform.
        image: String,
        /// What differs, as a clause.
        found: String,
    },
    /// The engine's config differs from the composed one.
    #[error(
        "the engine built `{image}` with another config than the composed one: {}",
        differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    )]
    Config {
        /// Variant and platform.
        image: String,
        /// Each field that differs.
        differences: Vec<Difference>,
    },
}

impl Hinted for BuildError {
    fn hints(&self) -> Hints {
        match self {
            Self::Engine(error) => error.hints(),
            Self::Folder(error) => error.hints(),
            Self::Interpreter(error) => error.hints(),
            Self::Zstd(_) => format!("update the engine, or set {}", Input("builder").set_to("registry")).into(),
            Self::Layers { .. } | Self::Config { .. } => REPORT_THIS.into(),
        }
    }
}

impl StageError for BuildError {
    fn topic(&self) -> Topic {
        match self {
            Self::Engine(error) => error.topic(),
            Self::Folder(error) => error.topic(),
            Self::Interpreter(error) => error.topic(),
            Self::Zstd(_) => Topic::EngineFailed,
            Self::Layers { .. } | Self::Config { .. } => Topic::Mismatch,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Engine(error) => error.fault(),
            Self::Folder(error) => error.fault(),
            Self::Interpreter(_) | Self::Zstd(_) => Fault::Input,
            Self::Layers { .. } | Self::Config { .. } => Fault::Publication,
        }
    }
}

/// Keeps the images that a recipe starts from on the engine. Take a hold for every recipe before the first build: an
/// image without a hold is removed.
#[derive(Debug)]
pub struct Hold {
    _base: Option<ImageLease>,
    _source: Option<ImageLease>,
}

/// The result of a build. The image is removed from the engine when this is dropped.
#[derive(Debug)]
pub struct BuiltImage {
    /// The image on the engine, for running commands.
    pub image: LocalImage,
    /// The platform that it was built for.
    pub platform: Platform,
    /// The executables as the engine sees them, in the order of the recipe's `binaries`.
    pub executables: Vec<FileInImage>,
    /// The layers of the `run` lines, lowest first. They belong above the layer of the executables.
    pub run_layers: Vec<RunLayer>,
    /// Warnings about the base's folders.
    pub warnings: Vec<String>,
}

/// The layer that one `run` line made.
#[derive(Debug)]
pub struct RunLayer {
    /// The command, for the config's history.
    pub created_by: String,
    /// The layer, exported from the engine.
    pub layer: ExportedLayer,
}

/// Announces the images that `recipe` starts from.
#[must_use]
pub fn hold(engine: &Engine, recipe: &Recipe) -> Hold {
    let base = recipe.base.image().map(|base| engine.lease(&base.reference));
    Hold { _base: base, _source: recipe.source.name.reference().map(|source| engine.lease(source)) }
}

/// Builds `recipe` on the engine, and checks the layers and the config of the result. `executables` is sent to the
/// engine if the source isn't in a registry. `progress` receives the progress of the base's download.
///
/// # Errors
/// The engine fails, or its image isn't what the recipe says.
pub async fn build(
    engine: &Engine,
    recipe: &Recipe,
    executables: &Path,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<BuiltImage, BuildError> {
    // Engines select an image by the platform in its config, not by the one in the index.
    let of_source = recipe.source.config.platform();
    let base = recipe.base.image().map(|base| (&base.reference, &base.manifest));
    let pulled_source = recipe.source.name.reference();
    for (reference, manifest) in base.into_iter().chain(pulled_source.map(|source| (source, &recipe.source.manifest))) {
        let has_zstd = manifest.layers.iter().any(|layer| layer.media_type.ends_with("zstd"));
        if has_zstd && !engine.reads_zstd() {
            return Err(BuildError::Zstd(reference.clone()));
        }
    }
    let source = pulled_source.map(|source| engine.lease(source));
    let base = recipe.base.image().map(|image| (image, engine.lease(&image.reference)));
    let pull_base = async {
        let Some((image, lease)) = &base else { return Ok(()) };
        lease.pull(&recipe.platform, &image.manifest.config.digest, progress).await
    };
    let pull_source = async {
        let Some(lease) = &source else { return Ok(()) };
        lease.pull(&of_source, &recipe.source.manifest.config.digest, &|_| {}).await
    };
    try_join(pull_source, pull_base).await?;
    let warnings = match &base {
        Some((image, lease)) => look_into(lease, image, recipe).await?,
        None => Vec::new(),
    };
    let stage = engine.stage();
    let dockerfile = render(recipe, &stage, engine.knows_link());
    let solve = Solve {
        dockerfile: dockerfile.text,
        arguments: dockerfile.arguments,
        platform: recipe.platform.clone(),
        commands: recipe.run.iter().map(ToString::to_string).collect(),
        executables: pulled_source.is_none().then(|| PathBuf::from(executables)),
    };
    let image = engine.solve(solve, &stage, &recipe.variant).await?;
    let inspected = image.inspect().await?;
    let added = added_layers(recipe, &inspected)?;
    // A Dockerfile can't remove labels of the base, so here the composed config keeps them as well.
    let changes = Changes { unlabel: BTreeSet::new(), ..recipe.changes.clone() };
    let composed = recipe.base.config().derive(&recipe.platform, recipe.created.as_deref(), &[], &changes);
    let differences = agreement::differences(&inspected["Config"], &composed.runtime());
    if !differences.is_empty() {
        return Err(BuildError::Config { image: name(recipe), differences });
    }
    let files = image.files().await?;
    let mut executables = Vec::new();
    for binary in recipe.binaries.iter() {
        executables.push(files.read(binary.to()).await?);
    }
    if recipe.run.is_empty() {
        folders::of_built(&files, recipe).await?;
    } else {
        interpreters::look_for(&files, recipe).await?;
    }
    let run_layers = export_run_layers(recipe, &image, &added).await?;
    Ok(BuiltImage { image, platform: recipe.platform.clone(), executables, run_layers, warnings })
}

/// Inspects the folders of a base that was pulled, and looks for the executables' interpreters there, unless `run`
/// lines may add them.
async fn look_into(lease: &ImageLease, base: &ResolvedImage, recipe: &Recipe) -> Result<Vec<String>, BuildError> {
    let files = lease.ask(&recipe.platform, &base.manifest.config.digest, || lease.files()).await?;
    of_base(&files, recipe).await
}

async fn of_base(files: &FilesLease, recipe: &Recipe) -> Result<Vec<String>, BuildError> {
    if recipe.run.is_empty() {
        interpreters::look_for(files, recipe).await?;
    }
    folders::of_base(files, recipe).await
}

fn name(recipe: &Recipe) -> String {
    format!("{} {}", recipe.variant, recipe.platform)
}

/// The diff ids above the base's. There must be exactly as many as the recipe makes: one for each folder that files of
/// the source go to, one for each `run` line, and one for `WORKDIR`, which creates its folder. The latter isn't
/// published: runtimes create the folder.
fn added_layers(recipe: &Recipe, inspected: &Value) -> Result<Vec<Digest>, BuildError> {
    let wrong = |found: String| BuildError::Layers { image: name(recipe), found };
    let layers: Option<Vec<Digest>> = inspected["RootFS"]["Layers"]
        .as_array()
        .map(|layers| layers.iter().filter_map(|layer| layer.as_str()?.parse().ok()).collect());
    let layers = layers.unwrap_or_default();
    let base = recipe.base.config().diff_ids();
    let Some(added) = layers.strip_prefix(&base[..]) else {
        return Err(wrong("the base's layers are not the lowest ones".to_owned()));
    };
    let folder = usize::from(recipe.changes.workdir.as_deref().is_some_and(|path| path != "/"));
    let expected = recipe.binaries.by_folder().len() + recipe.run.len() + folder;
    if added.len() != expected {
        return Err(wrong(format!("{} on top of the base's, instead of {expected}", added.len())));
    }
    Ok(added.to_vec())
}

async fn export_run_layers(
    recipe: &Recipe,
    image: &LocalImage,
    added: &[Digest],
) -> Result<Vec<RunLayer>, EngineError> {
    if recipe.run.is_empty() {
        return Ok(Vec::new());
    }
    let known = recipe.base.config().diff_ids().into_iter();
    let known: HashSet<Digest> = known.chain(recipe.base.layers().iter().map(|layer| layer.digest.clone())).collect();
    let below = recipe.binaries.by_folder().len();
    let wanted = &added[below..below + recipe.run.len()];
    // A `run` line may make a layer that the base also has: an empty one.
    let skipped = known.into_iter().filter(|digest| !wanted.contains(digest)).collect();
    let layers = image.export(wanted, &skipped).await?;
    let layers = recipe.run.iter().zip(layers);
    Ok(layers.map(|(run, layer)| RunLayer { created_by: format!("RUN {run}"), layer }).collect())
}
