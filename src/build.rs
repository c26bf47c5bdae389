//! Building: one image for each variant and platform, on the engine and composed, and the two compared.

pub mod compose;
pub mod dockerfile;
pub mod engine;
pub mod recipe;
pub mod source;

use futures_util::{Stream, StreamExt as _, stream};

use crate::error::Failure;
use crate::resolve::{Resolved, ResolvedVariant};
use compose::Composed;
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
    /// What the engine has; it is removed there with this value.
    pub on_engine: engine::OnEngine,
}
