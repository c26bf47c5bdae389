//! The stage `build`: one image for each variant and platform on the engine, to be compared with the composed one and
//! to be run. `builder: registry` skips it. Only images that no tag names yet are built.

pub mod copied;
pub mod dockerfile;
pub mod engine;
pub mod interpreter;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};

use crate::action::Log;
use crate::api::engine::{Attempt, Engine, EngineError, FileInImage, ImageLease, LocalImage};
use crate::compose::recipe::{DESTINATION, Recipe};
use crate::compose::{self, Composed, RunLayer};
use crate::error::{Failure, Fault, StageError};
use crate::hint::{FREE_DISK, Hinted, Hints, Input, REPORT_THIS};
use crate::image::layer::{Compressed, InstalledFile, Layer};
use crate::image::{PinnedReference, Platform};
use crate::resolve::{CopiedImage, Resolved, ResolvedVariant};
use crate::troubleshooting::Topic;
use copied::PulledImage;
use engine::{BuiltImage, Hold};

/// An image that was composed and built here, or that was built elsewhere.
#[derive(Debug)]
pub struct Built<'a> {
    /// The variant that it is an image of, for one platform.
    pub variant: &'a ResolvedVariant,
    /// What will be published.
    pub image: Composed,
    /// Its counterpart on the engine, which is removed there when this value is dropped.
    pub on_engine: OnEngine,
}

/// The engine's copy of an image.
#[derive(Debug)]
pub enum OnEngine {
    /// The engine built it.
    Built(BuiltImage),
    /// It was built elsewhere, and pulled from a registry.
    Pulled(PulledImage),
    /// It was built elsewhere, and loaded from an OCI layout.
    Loaded(LocalImage),
    /// There is no copy, for this reason.
    Nothing(String),
}

impl OnEngine {
    /// Runs a command in the image.
    ///
    /// # Errors
    /// The engine doesn't answer. A failing command isn't an error.
    pub async fn run(&self, platform: &Platform, command: &[String], limit: Duration) -> Result<Attempt, EngineError> {
        match self {
            Self::Built(built) => built.image.run(platform, command, limit).await,
            Self::Pulled(pulled) => pulled.run(platform, command, limit).await,
            Self::Loaded(loaded) => loaded.run(platform, command, limit).await,
            Self::Nothing(reason) => Ok(Attempt::Skipped(reason.clone())),
        }
    }

    /// Warnings about the base's folders.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        match self {
            Self::Built(built) => &built.warnings,
            Self::Pulled(_) | Self::Loaded(_) | Self::Nothing(_) => &[],
        }
    }
}

/// An image to get onto the engine.
enum Task<'a> {
    Build(&'a ResolvedVariant, &'a Recipe, &'a Composed, Option<Hold>),
    Fetch(&'a ResolvedVariant, &'a CopiedImage, Option<ImageLease>),
}

/// The engine's image differs from the one that would be published.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// Files go to a folder that hasn't been inspected in the base.
    #[error(
        "`{path}` of variant `{variant}` can't be put into base `{base}`: nothing has checked whether `{folder}` is a folder there"
    )]
    FolderUnseen {
        /// The variant.
        variant: String,
        /// Its base.
        base: PinnedReference,
        /// The file.
        path: String,
        /// Its folder.
        folder: String,
    },
    /// A file in the engine's image differs from the one in the layer.
    #[error(
        "`{path}` in the engine's image of variant `{variant}` for `{platform}` is not the one that would be published: {difference}"
    )]
    Executable {
        /// The variant.
        variant: String,
        /// Its platform.
        platform: Platform,
        /// The file.
        path: String,
        /// What differs.
        difference: String,
    },
    /// The disk is full.
    #[error("the layers of the `run` lines of variant `{0}` can't be compressed")]
    Run(String, #[source] std::io::Error),
}

impl Hinted for Mismatch {
    fn hints(&self) -> Hints {
        match self {
            Self::FolderUnseen { .. } => format!(
                "if it is a link, a folder would replace the link and hide everything behind it; set {}, which looks into the \
                 base, or leave the file in `{DESTINATION}`", Input("builder").set_to("engine")
            ).into(),
            Self::Executable { .. } => REPORT_THIS.into(),
            Self::Run(..) => FREE_DISK.into(),
        }
    }
}

impl StageError for Mismatch {
    fn topic(&self) -> Topic {
        match self {
            Self::FolderUnseen { .. } => Topic::Folder,
            Self::Executable { .. } => Topic::Mismatch,
            Self::Run(..) => Topic::Disk,
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::FolderUnseen { .. } => Fault::Input,
            Self::Executable { .. } | Self::Run(..) => Fault::Publication,
        }
    }
}

/// Builds `variants`, up to `at_once` images in parallel. The result is a stream, so that an image can be verified and
/// removed from the engine before the next ones are built. Images on the same base follow each other, and the base is
/// removed after the last of them. Files go to `directory`.
pub fn build<'a>(
    resolved: &'a Resolved,
    variants: Vec<&'a ResolvedVariant>,
    engine: Option<&'a Engine>,
    directory: &'a Path,
    at_once: usize,
    log: &'a Log,
) -> impl Stream<Item = Result<Built<'a>, Failure>> {
    let of_variant = |variant: &'a ResolvedVariant| {
        variant.recipes.iter().zip(&variant.composed).map(move |(recipe, composed)| (variant, recipe, composed))
    };
    let mut images: Vec<_> = variants.iter().copied().flat_map(of_variant).collect();
    images.sort_by_key(|(_, recipe, _)| recipe.base.image().map(|base| &base.reference));
    // All images are announced before the first build, so that no base is removed too early.
    let hold = |recipe| engine.map(|engine| engine::hold(engine, recipe));
    let tasks = images.iter().map(|(variant, recipe, composed)| Task::Build(variant, recipe, composed, hold(recipe)));
    let copied = variants.iter().copied().flat_map(|variant| {
        let images = variant.copied.iter().flat_map(|copied| &copied.images);
        images.map(move |image| {
            let hold = engine.zip(image.reference.as_ref());
            Task::Fetch(variant, image, hold.map(|(engine, reference)| engine.lease(reference)))
        })
    });
    let tasks: Vec<Task<'a>> = tasks.chain(copied).collect();
    if engine.is_none() {
        let on_bases = images.iter().filter(|(_, recipe, ..)| recipe.base.image().is_some());
        let folders: BTreeSet<&str> = on_bases.flat_map(|(_, recipe, ..)| recipe.binaries.folders()).collect();
        if !folders.is_empty() {
            let folders: Vec<String> = folders.into_iter().map(|folder| format!("`{folder}`")).collect();
            log.line(&format!(
                "{} can't inspect bases; not checked to be folders there: {}",
                Input("builder").set_to("registry"),
                folders.join(", ")
            ));
        }
    }
    let is_unseen = |recipe: &Recipe| recipe.base.image().is_some() && interpreter::needed(recipe).next().is_some();
    if engine.is_none() && images.iter().any(|(_, recipe, ..)| is_unseen(recipe)) {
        log.line(&format!(
            "{} can't inspect bases; not checked to have the interpreters of dynamically linked executables",
            Input("builder").set_to("registry")
        ));
    }
    stream::iter(tasks)
        .map(move |task| async move {
            if let Task::Build(_, recipe, ..) = &task {
                interpreter::refuse_on_scratch(recipe)?;
            }
            match (task, engine) {
                (Task::Build(variant, recipe, composed, _hold), Some(engine)) => {
                    let (built, image) = image(resolved, engine, directory, variant, recipe, composed, log).await?;
                    Ok(Built { variant, image, on_engine: OnEngine::Built(built) })
                }
                (Task::Build(variant, recipe, composed, _), None) => {
                    require_seen_folders(recipe)?;
                    let on_engine = OnEngine::Nothing(NOTHING_RUNS.to_owned());
                    Ok(Built { variant, image: composed.clone(), on_engine })
                }
                (Task::Fetch(variant, copied, _hold), engine) => {
                    let on_engine = fetch(engine, variant, copied, directory).await?;
                    Ok(Built { variant, image: copied.image.clone(), on_engine })
                }
            }
        })
        .buffer_unordered(at_once)
}

/// Why no command is run when there is no engine.
pub const NOTHING_RUNS: &str = "`builder: registry` runs nothing";

/// Gets an image that was built elsewhere onto the engine, if there is a command to run in it.
async fn fetch(
    engine: Option<&Engine>,
    variant: &ResolvedVariant,
    copied: &CopiedImage,
    directory: &Path,
) -> Result<OnEngine, EngineError> {
    let Some(engine) = engine else { return Ok(OnEngine::Nothing(NOTHING_RUNS.to_owned())) };
    let platform = &copied.image.platform;
    let has_zstd = copied.image.blobs.iter().any(|blob| blob.descriptor.media_type.ends_with("zstd"));
    if variant.variant.checks.is_empty() {
        Ok(OnEngine::Nothing("there is nothing to run".to_owned()))
    } else if !platform.is_linux() {
        Ok(OnEngine::Nothing("the engine runs images of Linux".to_owned()))
    } else if let Some(reason) = engine.cannot_run(platform) {
        Ok(OnEngine::Nothing(reason))
    } else if has_zstd && !engine.reads_zstd() {
        Ok(OnEngine::Nothing(
            "Docker Engines before version 23 can't unpack layers that are compressed by zstd".to_owned(),
        ))
    } else {
        Ok(match &copied.reference {
            Some(reference) => OnEngine::Pulled(copied::pull(engine, reference, copied).await?),
            None => OnEngine::Loaded(copied::load(engine, &variant.variant.name, copied, directory).await?),
        })
    }
}

/// Builds an image on the engine. Returns the composed image with the layers of its `run` lines, which only the engine
/// can make.
async fn image(
    resolved: &Resolved,
    engine: &Engine,
    directory: &Path,
    variant: &ResolvedVariant,
    recipe: &Recipe,
    composed: &Composed,
    log: &Log,
) -> Result<(BuiltImage, Composed), Failure> {
    let executables = resolved.executables.made(recipe).await;
    let bar = log.progress(&format!("{}  {}", recipe.variant, recipe.platform), 0);
    let built =
        engine::build(engine, recipe, executables.compressed.path(), &|pull| bar.at(pull.current, pull.total)).await?;
    compare_executables(recipe, &executables, &built.executables)?;
    if recipe.run.is_empty() {
        return Ok((built, composed.clone()));
    }
    let run = run_layers(recipe, &built, directory).await?;
    let composed = compose::image(recipe, &executables, &run, &variant.annotations);
    Ok((built, composed))
}

/// Refuses files in folders that can't be inspected in the base. Only [`DESTINATION`] is certain: a layer with
/// `bin/tool` would replace the base's link `/bin` by a folder.
fn require_seen_folders(recipe: &Recipe) -> Result<(), Mismatch> {
    let Some(base) = recipe.base.image() else { return Ok(()) };
    let Some(unseen) = recipe.binaries.iter().find(|binary| binary.folder() != DESTINATION) else { return Ok(()) };
    Err(Mismatch::FolderUnseen {
        variant: recipe.variant.clone(),
        base: base.reference.clone(),
        path: unseen.to().to_owned(),
        folder: unseen.folder().to_owned(),
    })
}

/// The files that the engine sees must be identical to those of the layer.
fn compare_executables(recipe: &Recipe, layer: &Layer, found: &[FileInImage]) -> Result<(), Mismatch> {
    for expected in &layer.files {
        let file = found.iter().find(|file| file.path == expected.path);
        let difference = file.map_or_else(|| Some("it is not there".to_owned()), |file| difference(expected, file));
        if let Some(difference) = difference {
            return Err(Mismatch::Executable {
                variant: recipe.variant.clone(),
                platform: recipe.platform.clone(),
                path: expected.path.clone(),
                difference,
            });
        }
    }
    Ok(())
}

fn difference(expected: &InstalledFile, found: &FileInImage) -> Option<String> {
    let FileInImage { digest, mode, uid, gid, .. } = found;
    if *digest != expected.digest {
        return Some(format!("its digest is {digest}, the source's is {}", expected.digest));
    }
    ((*mode, *uid, *gid) != (expected.mode, 0, 0))
        .then(|| format!("its mode is {mode:o}, its owner {uid}:{gid}, instead of {:o} and 0:0", expected.mode))
}

/// The layers of the `run` lines, compressed in the same way as the layer of the executables.
async fn run_layers(recipe: &Recipe, on_engine: &BuiltImage, directory: &Path) -> Result<Vec<Arc<RunLayer>>, Mismatch> {
    let mut layers = Vec::new();
    for made in &on_engine.run_layers {
        let failed = |cause| Mismatch::Run(recipe.variant.clone(), cause);
        let (archive, directory) = (made.layer.file.try_clone().map_err(failed)?, directory.to_owned());
        let compressing = tokio::task::spawn_blocking(move || Compressed::read(&mut &archive, &directory));
        let compressed = compressing.await.map_err(std::io::Error::other).and_then(|done| done).map_err(failed)?;
        layers.push(Arc::new(RunLayer { compressed, created_by: made.created_by.clone() }));
    }
    Ok(layers)
}
