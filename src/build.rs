//! Building: one image for each variant and platform on the engine, to be compared with the composed one and run; unless `builder` is
//! `registry`. Only what no tag names yet is built.

pub mod dockerfile;
pub mod engine;
pub mod interpreter;

use std::path::Path;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _, stream};

use crate::action::Log;
use crate::api::engine::{Engine, FileInImage};
use crate::compose::recipe::{DESTINATION, Recipe};
use crate::compose::{self, Composed, RunLayer};
use crate::error::{Failure, Fault, Situation};
use crate::image::layer::{Compressed, InstalledFile, Layer};
use crate::image::{PinnedReference, Platform};
use crate::resolve::{Resolved, ResolvedVariant};
use engine::BuiltImage;

/// An image, composed and built.
#[derive(Debug)]
pub struct Built<'a> {
    /// The variant.
    pub variant: &'a ResolvedVariant,
    /// What it was built from.
    pub recipe: &'a Recipe,
    /// What will be published.
    pub composed: Composed,
    /// What the engine has, where one builds; it is removed there with this value.
    pub on_engine: Option<BuiltImage>,
}

/// What the engine built is not what would be published.
#[derive(Debug, thiserror::Error)]
pub enum Mismatch {
    /// Files go to a folder that nobody has looked at in the base.
    #[error(
        "`{path}` of variant `{variant}` can't be put into base `{base}`: nobody has looked whether `{folder}` is a folder there\n\
         hint: where it is a link, the link would be gone, with all that is found through it; set `builder: engine`, which looks, or leave the \
         file in `{DESTINATION}`"
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
    /// Another file than in the layer.
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

impl Situation for Mismatch {
    fn fault(&self) -> Fault {
        match self {
            Self::FolderUnseen { .. } => Fault::Input,
            Self::Executable { .. } | Self::Run(..) => Fault::Publication,
        }
    }
}

/// Builds `variants`, `at_once` images at the same time: as a stream, so that an image can be verified and leave the
/// engine before the next ones are built. Those of one base follow each other, and the base leaves after the last. Files go
/// to `directory`.
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
    let mut images: Vec<_> = variants.into_iter().flat_map(of_variant).collect();
    images.sort_by_key(|(_, recipe, _)| recipe.base.image().map(|base| &base.reference));
    // All are announced before the first is built, so that none is removed too early.
    let hold = |recipe| engine.map(|engine| engine::hold(engine, recipe));
    let images: Vec<_> =
        images.into_iter().map(|(variant, recipe, composed)| (variant, recipe, composed, hold(recipe))).collect();
    if engine.is_none() && images.iter().any(|(_, recipe, ..)| recipe.base.image().is_some()) {
        log.line(&format!(
            "`builder: registry` doesn't look into bases: that {DESTINATION} is a folder there wasn't checked"
        ));
    }
    let is_unseen = |recipe: &Recipe| recipe.base.image().is_some() && interpreter::needed(recipe).next().is_some();
    if engine.is_none() && images.iter().any(|(_, recipe, ..)| is_unseen(recipe)) {
        log.line(
            "`builder: registry` doesn't look into bases: some executables are linked dynamically, and whether the bases have their \
             interpreters wasn't checked",
        );
    }
    stream::iter(images)
        .map(move |(variant, recipe, composed, hold)| async move {
            let _hold = hold;
            interpreter::refuse_on_scratch(recipe)?;
            let (on_engine, composed) = match engine {
                Some(engine) => {
                    let (built, composed) = image(resolved, engine, directory, variant, recipe, composed, log).await?;
                    (Some(built), composed)
                }
                None => {
                    require_seen_folders(recipe)?;
                    (None, composed.clone())
                }
            };
            Ok(Built { variant, recipe, composed, on_engine })
        })
        .buffer_unordered(at_once)
}

/// Builds an image on the engine; gives the composed one with the layers of `run` lines, which only the engine can make.
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

/// Refuses files in folders that nobody can look at in the base, which are all but [`DESTINATION`]: in a layer with `bin/tool`, the folder
/// replaces a link `/bin` of the base.
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

/// The files that the engine sees must be, byte for byte, those of the layer.
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
        .then(|| format!("its mode is {mode:o}, its owner {uid}:{gid}; it would be {:o} and 0:0", expected.mode))
}

/// The layers of the `run` lines, compressed as ours is.
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
