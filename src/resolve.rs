//! The stage `resolve`: looks up the release, the source and every base once, pins them by digest, and composes the
//! images.
//!
//! Later stages address everything by digest, so a base that moves while the job runs changes nothing. Images with
//! `run` lines get their upper layers from the build. The slowest step is making the layer of the executables, which is
//! read from the source and compressed once for each platform.

mod archive;
mod copied;
mod error;
pub mod executables;
mod extracted;
mod files;
mod image;
pub mod layout;
mod maker;
mod platforms;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use tempfile::TempDir;
use tokio::sync::{Mutex, OnceCell};

pub use copied::{Copied, CopiedImage};
pub use error::ResolveError;
pub use files::FilesError;
pub(crate) use image::content;
pub use image::{Image, Role};

use crate::action::{Event, Files, Log};
use crate::api::github::{GitHub, Release};
use crate::api::registry::Registries;
use crate::compose::binaries::Binaries;
use crate::compose::recipe::{Recipe, ResolvedSource};
use crate::compose::{self, Composed, Content};
use crate::error::Failure;
use crate::facts::{self, Facts, Teller};
use crate::image::layer::Layer;
use crate::image::manifest::Annotations;
use crate::image::{Digest, Location, PinnedName, PinnedReference, Platform, Reference, SourceName};
use crate::plan::{Made, Plan, Variant};
use error::one_or_several;
use image::Store;
use maker::Maker;
use sources::{Finder, Source};

/// The plan with its source and bases pinned, and the composed images.
#[derive(Debug)]
pub struct Resolved {
    /// What will be published, without variants that had to be left out.
    pub plan: Plan,
    /// The release, if it is published.
    pub release: Option<Release>,
    /// A clause that says that GitHub has no published release of this version. `None` for development builds, and
    /// without GitHub.
    pub unreleased: Option<String>,
    /// Variants that a dry run left out because their base requires a login that is missing: a sentence for each base.
    pub without_login: Vec<String>,
    /// The source with tags of its own; `None` if it gets none.
    pub tagged_source: Option<TaggedSource>,
    /// The variants, in the order of the plan.
    pub variants: Vec<ResolvedVariant>,
    /// The layers of the executables, shared by variants.
    pub executables: Executables,
    images: Images,
}

/// The source as an image that gets tags of its own.
#[derive(Clone, Debug)]
pub struct TaggedSource {
    /// The source as it was found.
    pub as_resolved: Content,
    /// The same manifests under an index of ours, with annotations.
    pub annotated: Content,
}

/// A variant, pinned and composed.
#[derive(Clone, Debug)]
pub struct ResolvedVariant {
    /// The variant as planned.
    pub variant: Variant,
    /// The image, if it was built elsewhere. Then there are neither recipes nor composed images.
    pub copied: Option<Copied>,
    /// The digest of its source, as it was found: of an index, or of a manifest for one platform. `None` for an image
    /// built elsewhere.
    pub source: Option<Digest>,
    /// The base as it was found; `None` for `scratch`, and for an image built elsewhere.
    pub base: Option<PinnedReference>,
    /// The newest `created` of the base's configs, if any has one.
    pub base_created: Option<DateTime<Utc>>,
    /// The annotations of its manifests.
    pub annotations: Annotations,
    /// The annotations of its index: those of its manifests, and our own.
    pub index_annotations: Annotations,
    /// What each image is made of, sorted by platform.
    pub recipes: Vec<Recipe>,
    /// The image of each recipe, still without the layers of `run` lines.
    pub composed: Vec<Composed>,
    /// Platforms of the source that were left out only because the base lacks them.
    pub left_out: Vec<Platform>,
}

impl ResolvedVariant {
    /// The index to publish; `None` for a variant with `run` lines, which must be built first.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        if let Some(copied) = &self.copied {
            return Some(copied.content.clone());
        }
        let composed: Vec<&Composed> = self.composed.iter().collect();
        self.variant.run.is_empty().then(|| compose::index(&composed, &self.index_annotations))
    }

    /// The platforms that it is published for.
    #[must_use]
    pub fn platforms(&self) -> BTreeSet<Platform> {
        let copied = self.copied.iter().flat_map(|copied| &copied.images).map(|copied| &copied.image.platform);
        self.recipes.iter().map(|recipe| &recipe.platform).chain(copied).cloned().collect()
    }
}

/// The layers of the executables, each made on demand. Variants with the same `binaries` share one per platform.
#[derive(Debug)]
pub struct Executables {
    layers: Mutex<BTreeMap<LayerKey, Arc<Layer>>>,
    directory: std::path::PathBuf,
}

/// Everything that the bytes of a layer depend on.
type LayerKey = (Digest, Platform, Binaries);

impl Executables {
    async fn of(
        &self,
        registries: &Registries,
        platform: &Platform,
        (store, source): (&Store, &ResolvedSource),
        binaries: &Binaries,
    ) -> Result<Arc<Layer>, ResolveError> {
        // One at a time: compressing takes all cores and most of the memory that a run needs.
        let mut layers = self.layers.lock().await;
        let key = (source.name.digest().clone(), platform.clone(), binaries.clone());
        if let Some(layer) = layers.get(&key) {
            return Ok(layer.clone());
        }
        let layer = Arc::new(executables::layer(registries, store, source, platform, binaries, &self.directory).await?);
        layers.insert(key, layer.clone());
        Ok(layer)
    }

    /// The layer of a recipe that has been composed.
    pub async fn made(&self, recipe: &Recipe) -> Arc<Layer> {
        let key = (recipe.source.name.digest().clone(), recipe.platform.clone(), recipe.binaries.clone());
        self.layers.lock().await[&key].clone()
    }
}

/// The manifests of sources and bases.
#[derive(Debug)]
struct Images {
    sources: BTreeMap<SourceName, Source>,
    /// Manifests and configs, each read once.
    read: std::sync::Mutex<BTreeMap<PinnedName, Arc<OnceCell<ResolvedSource>>>>,
}

impl Resolved {
    /// A source as it was found; `None` for one that wasn't looked up.
    #[must_use]
    pub fn source(&self, name: &SourceName) -> Option<&Image> {
        self.images.sources.get(name).map(|source| &source.image)
    }

    /// The images made of the plan's source, if that is a set of files: one for each platform.
    #[must_use]
    pub fn made_source(&self) -> &[Composed] {
        let planned = self.plan.source.as_ref().and_then(|source| self.images.sources.get(&source.name));
        planned.map(|source| &source.made[..]).unwrap_or_default()
    }

    /// Logs the digests: a line for each source and for each variant.
    pub fn tell(&self, log: &Log) {
        if let Some(unreleased) = &self.unreleased {
            log.line(&format!("{unreleased}: everything but the release notes is done"));
        }
        for (name, source) in &self.images.sources {
            log.image(name, None, source.image.top.digest().as_str());
        }
        for variant in &self.variants {
            let platforms: Vec<String> = variant.platforms().iter().map(ToString::to_string).collect();
            // The name of most images that were built elsewhere contains their digest.
            let copied =
                variant.copied.as_ref().filter(|_| variant.variant.made.elsewhere().is_some_and(|at| !at.is_pinned()));
            let digest = variant.base.as_ref().map(PinnedReference::digest).or(copied.map(|copied| &copied.digest));
            let digest = digest.map(|digest| format!("{digest}  ")).unwrap_or_default();
            let found = format!("{digest}for `{}`  {}", variant.variant.name, platforms.join(", "));
            match &variant.variant.made {
                Made::Here(base) => log.image(base, None, &found),
                Made::Elsewhere(image) => log.image(image, None, &found),
            }
        }
    }

    /// The same variant on another image of its base, as this run would compose it; on `scratch` if there is none.
    ///
    /// # Errors
    /// The base doesn't exist or can't be used, or a registry fails.
    pub async fn on_base(
        &self,
        registries: &Registries,
        variant: &Variant,
        base: Option<PinnedReference>,
    ) -> Result<ResolvedVariant, ResolveError> {
        let base = match base.map(Reference::from) {
            Some(base) => Some(image::look_up(registries, Role::Base, &base).await?),
            None => None,
        };
        let maker = Maker { registries, plan: &self.plan, images: &self.images, executables: &self.executables };
        maker.variant(variant, base.as_ref()).await
    }
}

/// Looks up release, sources, bases and facts of `plan`, and composes the images. Files of the workspace are read
/// through `files`; other files are written to `directory`.
///
/// # Errors
/// Missing and unusable sources and bases, all in one error; or a registry or GitHub doesn't answer.
pub async fn resolve(
    mut plan: Plan,
    event: &Event,
    github: Option<&GitHub>,
    registries: &Registries,
    files: &dyn Files,
    directory: &TempDir,
) -> Result<Resolved, Failure> {
    // The first variant on a base stands for all of them.
    let (mut bases, mut copied) = (BTreeMap::<&Reference, &Variant>::new(), BTreeMap::<&Location, &Variant>::new());
    for variant in &plan.variants {
        if let Some(base) = variant.made.base_reference() {
            bases.entry(base).or_insert(variant);
        }
        if let Some(location) = variant.made.elsewhere() {
            copied.entry(location).or_insert(variant);
        }
    }
    let finder = Finder { plan: &plan, registries, files, directory: directory.path() };
    let (found, images, bases, copied) = tokio::join!(
        facts::find_release(&plan, event, github),
        finder.images(),
        join_all(bases.into_iter().map(|(base, variant)| async move {
            let found = image::look_up(registries, Role::Base, base).await;
            (base.clone(), found.map_err(|error| error.of(variant)))
        })),
        join_all(copied.into_iter().map(|(location, variant)| async move {
            let found = copied::look_up(registries, files, directory.path(), location).await;
            (location.clone(), found.map_err(|error| error.at(&variant.place)))
        }))
    );
    let found = found?;
    let mut problems = Vec::new();
    let found_images = those_found(images, &mut problems);
    let found_copied = those_found(copied, &mut problems);
    let needs_login = |problem: &ResolveError| plan.dry_run && lacks_login(problem, registries);
    let (closed, bases): (Vec<_>, Vec<_>) =
        bases.into_iter().partition(|(_, base)| base.as_ref().is_err_and(needs_login));
    let found_bases = those_found(bases, &mut problems);
    let mut closed: BTreeMap<_, _> = closed.into_iter().filter_map(|(name, base)| Some((name, base.err()?))).collect();
    let is_closed = |variant: &Variant| variant.made.base_reference().is_some_and(|base| closed.contains_key(base));
    if !closed.is_empty() && plan.variants.iter().all(is_closed) {
        problems.extend(std::mem::take(&mut closed).into_values());
    }
    one_or_several(problems)?;
    let without_login = leave_out(&mut plan, &closed);
    if !plan.version.is_prerelease()
        && let Some(prerelease) = found.prerelease
    {
        plan.not_final = prerelease.then(|| format!("GitHub has the release of {} as a pre-release", plan.version));
    }
    let finder = Finder { plan: &plan, registries, files, directory: directory.path() };
    let teller = Teller::new(&plan, event, github);
    let sources = finder.sources(found_images, &teller).await?;
    let base = |variant: &Variant| variant.made.base_reference().map(|base| &found_bases[base]);
    let problems = plan.variants.iter().filter_map(|variant| {
        let name = variant.source.as_ref()?;
        let error = platforms::choose(variant, name, &sources[name].image, base(variant)).err()?;
        Some(placed(&plan, variant, error))
    });
    one_or_several(problems.collect())?;
    let of_copied = match plan.source.as_ref().and_then(|source| sources.get(&source.name)) {
        Some(source) => source.facts.clone(),
        // Facts in the image itself come first. Facts that any of the images lacks are looked up once for all.
        None if found_copied.values().all(|found| found.facts().is_complete()) => Facts::default(),
        None => teller.complete(Facts::default()).await?,
    };
    let read = sources.values().filter_map(|source| source.read.clone());
    let read = read.map(|read| (read.name.clone(), Arc::new(OnceCell::new_with(Some(read)))));
    let images = Images { read: std::sync::Mutex::new(read.collect()), sources };
    let executables = Executables { layers: Mutex::default(), directory: Path::to_owned(directory.path()) };
    let maker = Maker { registries, plan: &plan, images: &images, executables: &executables };
    let variants = plan.variants.iter().map(async |variant| {
        match variant.made.elsewhere() {
            Some(location) => maker.copied(variant, &found_copied[location], &of_copied),
            None => maker.variant(variant, base(variant)).await,
        }
        .map_err(|error| placed(&plan, variant, error))
    });
    let (variants, tagged_source) = tokio::join!(join_all(variants), maker.tagged_source());
    let (variants, problems): (Vec<_>, Vec<_>) = variants.into_iter().partition(Result::is_ok);
    one_or_several(problems.into_iter().filter_map(Result::err).collect())?;
    Ok(Resolved {
        unreleased: found.unreleased(&plan, github),
        release: found.release,
        tagged_source: tagged_source?,
        variants: variants.into_iter().filter_map(Result::ok).collect(),
        without_login,
        executables,
        images,
        plan,
    })
}

/// The items that were found, by name. Errors about the others are added to `problems`.
fn those_found<N: Ord, T>(
    looked_up: impl IntoIterator<Item = (N, Result<T, ResolveError>)>,
    problems: &mut Vec<ResolveError>,
) -> BTreeMap<N, T> {
    let mut those_found = BTreeMap::new();
    for (name, found) in looked_up {
        match found {
            Ok(found) => drop(those_found.insert(name, found)),
            Err(problem) => problems.push(problem),
        }
    }
    those_found
}

/// Adds the variant's place to an error about its base, its platforms or its own source.
fn placed(plan: &Plan, variant: &Variant, error: ResolveError) -> ResolveError {
    match plan.own_source(variant) {
        Some(_) => error.at(&variant.place),
        None => error.of(variant),
    }
}

/// Whether an image is hidden from anonymous users, and we have no credentials for it.
fn lacks_login(problem: &ResolveError, registries: &Registries) -> bool {
    match problem {
        ResolveError::Entry { error, .. } => lacks_login(error, registries),
        ResolveError::Unavailable { image, cause, .. } => {
            cause.is_refusal() && !registries.has_credentials(image.repository())
        }
        _ => false,
    }
}

/// Takes the variants on `closed` bases out of the plan: pull requests from forks have no secrets, and the other
/// variants should be tried nevertheless.
fn leave_out(plan: &mut Plan, closed: &BTreeMap<Reference, ResolveError>) -> Vec<String> {
    let mut without_login = Vec::new();
    for base in closed.keys() {
        let is_on = |variant: &Variant| variant.made.base_reference() == Some(base);
        let names: Vec<String> = plan
            .variants
            .iter()
            .filter(|variant| is_on(variant))
            .map(|variant| format!("`{}`", variant.name))
            .collect();
        plan.variants.retain(|variant| !is_on(variant));
        let registry = base.repository().registry();
        without_login.push(format!(
            "left out of this dry run: {}, since the base `{base}` needs a login at `{registry}`, which is missing",
            names.join(", ")
        ));
    }
    without_login
}

impl Images {
    /// The manifest and config of an image for one platform.
    async fn read(
        &self,
        registries: &Registries,
        image: &Image,
        platform: &Platform,
    ) -> Result<ResolvedSource, ResolveError> {
        let name = image.manifest(platform);
        let cell = self.read.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone();
        cell.get_or_try_init(|| image::read(registries, &image.store, name.digest())).await.cloned()
    }
}
