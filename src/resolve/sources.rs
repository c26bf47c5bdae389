//! The sources of a plan, each looked up once, and the facts about the tool in each of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use super::files;
use super::image::{self, Image};
use super::layout::{self, Layout};
use super::{ResolveError, Role};
use crate::action::Files;
use crate::api::registry::Registries;
use crate::compose::Composed;
use crate::compose::recipe::ResolvedSource;
use crate::error::Failure;
use crate::facts::{self, Facts, Teller};
use crate::image::SourceName;
use crate::plan::Plan;

/// A source that was found.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) image: Image,
    pub(super) facts: Facts,
    /// The manifest and config that the facts are from.
    pub(super) read: Option<ResolvedSource>,
    /// The images made of it, if it is a set of files.
    pub(super) made: Vec<Composed>,
}

/// Looks up the sources of a plan.
pub(super) struct Finder<'a> {
    pub(super) plan: &'a Plan,
    pub(super) registries: &'a Registries,
    pub(super) files: &'a dyn Files,
    pub(super) directory: &'a Path,
}

impl Finder<'_> {
    /// Assigns errors about a source to the first entry of the matrix that names the source itself.
    fn of_entry(&self, name: &SourceName) -> impl Fn(ResolveError) -> ResolveError {
        let of = self.plan.variants.iter().find(|variant| self.plan.own_source(variant) == Some(name));
        move |error| match of {
            Some(variant) => error.at(&variant.place),
            None => error,
        }
    }

    /// Looks up the sources that are images already.
    pub(super) async fn images(&self) -> Vec<(SourceName, Result<Image, ResolveError>)> {
        let images = self.plan.sources().into_iter().map(async |name| {
            let found = self.image(name).await?;
            Some((name.clone(), found.map_err(self.of_entry(name))))
        });
        join_all(images).await.into_iter().flatten().collect()
    }

    async fn image(&self, name: &SourceName) -> Option<Result<Image, ResolveError>> {
        Some(match name {
            SourceName::Image(reference) => image::look_up(self.registries, Role::Source, reference).await,
            SourceName::Layout(at) => match layout::open(self.files, at, self.directory).await {
                Ok(layout) => image::of_layout(self.registries, name, Arc::new(layout)).await,
                Err(error) => Err(error.into()),
            },
            SourceName::Files(_) => return None,
        })
    }

    /// Adds the facts to `images`, and makes images of the sources that are files: their labels contain facts.
    ///
    /// # Errors
    /// A file can't be used, or a registry or GitHub doesn't answer.
    pub(super) async fn sources(
        &self,
        mut images: BTreeMap<SourceName, Image>,
        teller: &Teller<'_>,
    ) -> Result<BTreeMap<SourceName, Source>, Failure> {
        let sources = self.plan.sources().into_iter().map(|name| (name.clone(), images.remove(name)));
        let sources: Vec<_> = sources.collect();
        let sources = sources.into_iter().map(async |(name, image)| {
            let (facts, read) = match &image {
                Some(image) => self.of_source(image).await.map_err(self.of_entry(&name))?,
                None => (Facts::default(), None),
            };
            let facts = teller.complete(facts).await?;
            let (image, made) = match (image, &name) {
                (Some(image), _) => (image, Vec::new()),
                (None, SourceName::Files(listed)) => {
                    let mut labels = facts.labels.clone();
                    labels.insert(facts::VERSION.to_owned(), self.plan.version.to_string());
                    labels.extend(self.plan.labels.clone());
                    let made = files::image(self.files, listed, &facts, &labels, self.directory).await;
                    let (content, made) = made.map_err(|error| self.of_entry(&name)(error.into()))?;
                    (image::of_layout(self.registries, &name, Arc::new(Layout::of(&content))).await?, made)
                }
                (None, _) => unreachable!("all others were looked up"),
            };
            Ok::<_, Failure>((name, Source { image, facts, read, made }))
        });
        Ok(try_join_all(sources).await?.into_iter().collect())
    }

    /// The facts in a source's index, and in the config of its first Linux image, or of its first image.
    async fn of_source(&self, image: &Image) -> Result<(Facts, Option<ResolvedSource>), ResolveError> {
        let mut linux = image.platforms.iter().filter(|(platform, _)| platform.is_linux());
        let first = linux.next().or_else(|| image.platforms.first_key_value());
        let Some((_, first)) = first else { return Ok((Facts::default(), None)) };
        let read = image::read(self.registries, &image.store, first).await?;
        Ok((facts::of_source(image.content.annotations(), &read.config), Some(read)))
    }
}
