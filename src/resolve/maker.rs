//! Makes the images to publish: composes variants, and puts the source under an index of ours.

use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;

use super::image::{self, Image};
use super::sources::Source;
use super::{Executables, Images, ResolveError, ResolvedVariant, TaggedSource, copied, platforms};
use crate::api::registry::Registries;
use crate::compose::recipe::{Recipe, ResolvedBase, ResolvedImage, ResolvedSource};
use crate::compose::{self, Content};
use crate::facts::{self, Facts};
use crate::image::config::Changes;
use crate::image::manifest::{Annotations, ManifestOrIndex};
use crate::image::{Config, Descriptor, PinnedReference, Platform, Reference};
use crate::ownership::{BASE_CREATED_ANNOTATION, VERSION_ANNOTATION};
use crate::plan::{Plan, Variant};

/// Composes variants, and the source's index.
pub(super) struct Maker<'a> {
    pub(super) registries: &'a Registries,
    pub(super) plan: &'a Plan,
    pub(super) images: &'a Images,
    pub(super) executables: &'a Executables,
}

impl Maker<'_> {
    /// A variant built elsewhere, with its manifests unchanged.
    pub(super) fn copied(
        &self,
        variant: &Variant,
        found: &copied::Found,
        general: &Facts,
    ) -> Result<ResolvedVariant, ResolveError> {
        let facts = match self.plan.source {
            Some(_) => general.clone(),
            None => {
                let mut own = found.facts();
                own.state(&self.plan.stated);
                own.or(general)
            }
        };
        let mut annotations = facts.labels;
        annotations.extend(facts::of_variant(variant.version_label.as_str(), None));
        annotations.extend(found.base());
        annotations.extend(variant.changes.labels.clone());
        annotations.extend(variant.annotations.index.clone());
        annotations.extend(self.own_annotations(None));
        Ok(ResolvedVariant {
            variant: variant.clone(),
            copied: Some(found.copy(variant, &annotations)?),
            source: None,
            base: None,
            base_created: None,
            annotations: Annotations::new(),
            index_annotations: annotations,
            recipes: Vec::new(),
            composed: Vec::new(),
            left_out: Vec::new(),
        })
    }

    pub(super) async fn variant(
        &self,
        variant: &Variant,
        base: Option<&Image>,
    ) -> Result<ResolvedVariant, ResolveError> {
        let name = variant.source.as_ref().expect("a variant that is composed has a source");
        let Source { image: source, facts, .. } = &self.images.sources[name];
        let platforms = platforms::choose(variant, name, source, base)?;
        let named = variant.made.base_reference().zip(base);
        let bases = platforms.iter().map(|platform| self.base(named, platform));
        let bases = try_join_all(bases).await?;
        let base_created = bases.iter().filter_map(|base| base.image()?.config.created()).max();
        let base = named.map(|(name, base)| name.repository().pinned(base.top.digest().clone()));
        let labels = labels(facts, variant, base.as_ref());
        let changes =
            Changes { labels: labels.clone(), unlabel: facts::of_the_base_alone(), ..variant.changes.clone() };
        let (mut annotations, mut index_annotations) = (labels.clone(), labels);
        annotations.extend(variant.annotations.manifest.clone());
        index_annotations.extend(variant.annotations.index.clone());
        index_annotations.extend(self.own_annotations(base_created));

        let (mut recipes, mut composed) = (Vec::new(), Vec::new());
        for (platform, base) in platforms.iter().zip(bases) {
            let read = self.images.read(self.registries, source, platform).await?;
            let from = (&source.store, &read);
            let layer = self.executables.of(self.registries, platform, from, &variant.binaries).await?;
            let not_executable = layer.files.iter().filter(|file| file.mode & 0o111 == 0);
            let interpreters =
                layer.files.iter().filter_map(|file| Some((file.path.clone(), file.interpreter.clone()?)));
            let recipe = Recipe {
                variant: variant.name.clone(),
                platform: platform.clone(),
                base,
                source: read,
                binaries: variant.binaries.clone(),
                not_executable: not_executable.map(|file| file.path.clone()).collect(),
                interpreters: interpreters.collect(),
                changes: changes.clone(),
                run: variant.run.clone(),
                created: facts.created.map(facts::rfc3339),
            };
            composed.push(compose::image(&recipe, &layer, &[], &annotations));
            recipes.push(recipe);
        }
        Ok(ResolvedVariant {
            variant: variant.clone(),
            copied: None,
            source: Some(source.top.digest().clone()),
            base,
            base_created,
            annotations,
            index_annotations,
            recipes,
            composed,
            left_out: platforms::left_out(variant, source, &platforms),
        })
    }

    /// The base of a variant on one platform.
    async fn base(
        &self,
        base: Option<(&Reference, &Image)>,
        platform: &Platform,
    ) -> Result<ResolvedBase, ResolveError> {
        let Some((name, base)) = base else { return Ok(ResolvedBase::Scratch(Config::scratch(platform))) };
        let ResolvedSource { name: pinned, manifest, config } =
            self.images.read(self.registries, base, platform).await?;
        let reference = name.repository().pinned(pinned.digest().clone());
        Ok(ResolvedBase::Image(ResolvedImage { reference, manifest, config }))
    }

    /// Our own annotations, on which decisions about tags are based. They can't be overridden.
    fn own_annotations(&self, base_created: Option<DateTime<Utc>>) -> Annotations {
        let version = (VERSION_ANNOTATION.to_owned(), self.plan.version.to_string());
        let base = base_created.map(|created| (BASE_CREATED_ANNOTATION.to_owned(), facts::rfc3339(created)));
        [version].into_iter().chain(base).collect()
    }

    /// The source with all manifests of its index, including attestations.
    pub(super) async fn tagged_source(&self) -> Result<Option<TaggedSource>, ResolveError> {
        let Some(planned) = self.plan.source.as_ref().filter(|source| !source.tags.is_empty()) else { return Ok(None) };
        let Source { image: source, facts, .. } = &self.images.sources[&planned.name];
        let (as_resolved, listed) = match &source.content {
            ManifestOrIndex::Manifest(_) => {
                let content = image::single(source)?;
                let (platform, _) = source.platforms.first_key_value().expect("a manifest has one platform");
                let described = Descriptor { platform: Some(platform.into()), ..source.top.descriptor() };
                (Content { index: source.top.clone(), images: vec![content] }, vec![described])
            }
            ManifestOrIndex::Index(index) => {
                let images =
                    index.manifests.iter().map(|listed| image::read_listed(self.registries, &source.store, listed));
                let images = try_join_all(images).await?;
                (Content { index: source.top.clone(), images }, index.manifests.clone())
            }
        };
        let mut annotations = facts.labels.clone();
        annotations.insert(facts::VERSION.to_owned(), self.plan.version.to_string());
        annotations.extend(self.own_annotations(None));
        let annotated = compose::annotated(&as_resolved, listed, &annotations);
        Ok(Some(TaggedSource { as_resolved, annotated }))
    }
}

/// The labels of a variant, which are set as annotations on its manifests and its index as well.
fn labels(facts: &Facts, variant: &Variant, base: Option<&PinnedReference>) -> Annotations {
    let mut labels = facts.labels.clone();
    let version = variant.version_label.as_str();
    labels.extend(facts::of_variant(version, variant.made.base_reference().zip(base.map(PinnedReference::digest))));
    labels.extend(variant.changes.labels.clone());
    labels
}
