//! Building: one image for each variant and platform, composed, and built on the engine to be compared and run.

pub mod compose;
pub mod dockerfile;
pub mod engine;
pub mod recipe;
pub mod source;

use futures_util::{Stream, StreamExt as _, stream};

use crate::error::Failure;
use crate::resolve::{Resolved, ResolvedVariant};
use compose::Composed;
use engine::{BuildError, EngineBuilder, OnEngine};
use recipe::Recipe;

/// An image, composed and built.
#[derive(Debug)]
pub struct Built<'a> {
    /// The variant.
    pub variant: &'a ResolvedVariant,
    /// What it was built from.
    pub recipe: &'a Recipe,
    /// What will be published.
    pub composed: Composed,
    /// What the engine has.
    pub on_engine: OnEngine,
}

/// Builds everything, `at_once` images at the same time: as a stream, so that an image can be verified and leave the engine
/// before the next ones are built. Those of one base follow each other.
pub fn build<'a>(
    resolved: &'a Resolved,
    builder: &'a EngineBuilder<'_>,
    at_once: usize,
) -> impl Stream<Item = Result<Built<'a>, Failure>> {
    let mut images: Vec<(&ResolvedVariant, &Recipe)> = resolved
        .variants
        .iter()
        .flat_map(|variant| variant.recipes.iter().map(move |recipe| (variant, recipe)))
        .collect();
    images.sort_by_key(|(_, recipe)| &recipe.base.reference);
    stream::iter(images)
        .map(async |(variant, recipe)| {
            let executables = &resolved.executables[&recipe.platform];
            let composed = compose::image(recipe, executables, &[], &variant.annotations)
                .map_err(|cause| BuildError::Base(recipe.variant.clone(), cause))?;
            let on_engine = builder.build(recipe, &composed, executables).await?;
            Ok(Built { variant, recipe, composed, on_engine })
        })
        .buffer_unordered(at_once)
}
