//! From tags to digests: the release, the source and every base, looked up once each.
//!
//! From here on everything is addressed by digest, so a base that moves while the job runs changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};

use crate::action::Log;
use crate::api::registry::{Pulled, Registries, RegistryError};
use crate::build::recipe::{Recipe, ResolvedImage};
use crate::build::source::{self, SourceError};
use crate::error::{Fault, Situation};
use crate::image::config::{Changes, InvalidConfig};
use crate::image::layer::Layer;
use crate::image::manifest::{Annotations, InvalidManifest, ManifestOrIndex};
use crate::image::{Config, PinnedReference, Platform, Reference};
use crate::plan::{Plan, Platforms, Variant};
use crate::provenance::Provenance;

/// Why the plan can't be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// A platform was asked for that source or base don't have.
    #[error(
        "{role} `{image}` has no manifest for `{platform}`\n\
         hint: remove it from `platforms` of variant `{variant}`, or use one of: {}", list(.available)
    )]
    PlatformMissing {
        /// `base` or `source`.
        role: &'static str,
        /// The image.
        image: Reference,
        /// What it lacks.
        platform: Platform,
        /// Who asks for it.
        variant: String,
        /// What it has.
        available: Vec<Platform>,
    },
    /// `platforms: auto`, and source and base have none in common.
    #[error(
        "base `{base}` of variant `{variant}` has no platform of the source: {}\nhint: the source has {}",
        list(.base_has), list(.source_has)
    )]
    NoPlatform {
        /// The base.
        base: Reference,
        /// The variant.
        variant: String,
        /// What the base has.
        base_has: Vec<Platform>,
        /// What the source has.
        source_has: Vec<Platform>,
    },
    /// The registry doesn't have the image, or doesn't give it.
    #[error("{role} `{image}` can't be resolved")]
    Unavailable {
        /// `base` or `source`.
        role: &'static str,
        /// The image.
        image: Reference,
        /// Why not.
        #[source]
        cause: RegistryError,
    },
    /// An image that can't be built upon.
    #[error("{role} `{image}` can't be used: {cause}")]
    Manifest {
        /// `base` or `source`.
        role: &'static str,
        /// The image.
        image: PinnedReference,
        /// Why not.
        cause: InvalidManifest,
    },
    /// An image that can't be built upon.
    #[error("{role} `{image}` can't be used: {cause}")]
    Config {
        /// `base` or `source`.
        role: &'static str,
        /// The image.
        image: PinnedReference,
        /// Why not.
        cause: InvalidConfig,
    },
    /// The executables.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Several at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<ResolveError>),
}

impl Situation for ResolveError {
    fn fault(&self) -> Fault {
        match self {
            Self::Unavailable { cause, .. } => cause.fault(),
            Self::Source(error) => error.fault(),
            Self::Several(errors) if errors.iter().any(|error| error.fault() == Fault::Publication) => {
                Fault::Publication
            }
            _ => Fault::Input,
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The plan with everything that it names found and pinned.
#[derive(Debug)]
pub struct Resolved {
    /// The plan.
    pub plan: Plan,
    /// The source as it was found: an index, or a manifest for one platform.
    pub source: Pulled,
    /// The variants, in the order of the plan.
    pub variants: Vec<ResolvedVariant>,
    /// The layer that all variants of a platform share.
    pub executables: BTreeMap<Platform, Arc<Layer>>,
}

/// A variant, pinned.
#[derive(Clone, Debug)]
pub struct ResolvedVariant {
    /// The variant as planned.
    pub variant: Variant,
    /// The base as it was found.
    pub base: PinnedReference,
    /// The annotations of the index and its manifests.
    pub annotations: Annotations,
    /// One for each platform, sorted.
    pub recipes: Vec<Recipe>,
    /// Platforms of the source that the base doesn't have.
    pub left_out: Vec<Platform>,
}

impl Resolved {
    /// How many images there are to be built: one for each variant and platform.
    #[must_use]
    pub fn images(&self) -> usize {
        self.variants.iter().map(|variant| variant.recipes.len()).sum()
    }

    /// Says what was found: a line for the source and for each variant.
    pub fn tell(&self, log: &Log) {
        log.image(&self.plan.source.reference, None, self.source.reference.digest().as_str());
        for variant in &self.variants {
            let platforms: Vec<String> = variant.recipes.iter().map(|recipe| recipe.platform.to_string()).collect();
            let found = format!("{}  for `{}`  {}", variant.base.digest(), variant.variant.name, platforms.join(", "));
            log.image(&variant.variant.base, None, &found);
        }
    }
}

/// Finds everything that `plan` names. Files go to `directory`.
///
/// # Errors
/// All that is missing or can't be used, at once; or a registry that doesn't answer.
pub async fn resolve(
    plan: Plan,
    provenance: &Provenance,
    registries: &Registries,
    directory: &Path,
) -> Result<Resolved, ResolveError> {
    let bases: BTreeSet<&Reference> = plan.variants.iter().map(|variant| &variant.base).collect();
    let (source, bases) = tokio::join!(
        look_up(registries, "source", &plan.source.reference),
        join_all(bases.into_iter().map(|base| async move { (base, look_up(registries, "base", base).await) }))
    );
    let source = source?;
    let (bases, problems): (Vec<_>, Vec<_>) = bases.into_iter().partition(|(_, image)| image.is_ok());
    one_or_several(problems.into_iter().filter_map(|(_, image)| image.err()).collect())?;
    let bases: BTreeMap<&Reference, Image> =
        bases.into_iter().filter_map(|(base, image)| Some((base, image.ok()?))).collect();

    let mut problems = Vec::new();
    let mut platforms = Vec::new();
    for variant in &plan.variants {
        match choose_platforms(variant, &plan.source.reference, &source, &bases[&variant.base]) {
            Ok(chosen) => platforms.push(chosen),
            Err(problem) => problems.push(problem),
        }
    }
    one_or_several(problems)?;

    let created = provenance.created.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let needed: BTreeSet<(&'static str, &PinnedReference)> = plan
        .variants
        .iter()
        .zip(&platforms)
        .flat_map(|(variant, chosen)| chosen.iter().map(move |platform| (variant, platform)))
        .flat_map(|(variant, platform)| {
            [("source", &source.platforms[platform]), ("base", &bases[&variant.base].platforms[platform])]
        })
        .collect();
    let images: BTreeMap<PinnedReference, ResolvedImage> =
        try_join_all(needed.into_iter().map(|(role, reference)| async move {
            Ok::<_, ResolveError>((reference.clone(), image(registries, role, reference).await?))
        }))
        .await?
        .into_iter()
        .collect();

    let variants: Vec<ResolvedVariant> = plan
        .variants
        .iter()
        .zip(platforms)
        .map(|(variant, chosen)| {
            let base = &bases[&variant.base];
            let labels = labels(variant, &base.top.reference, provenance);
            let recipe = |platform: &Platform| Recipe {
                variant: variant.name.clone(),
                platform: platform.clone(),
                base: images[&base.platforms[platform]].clone(),
                source: images[&source.platforms[platform]].clone(),
                binaries: plan.binaries.clone(),
                changes: Changes { labels: labels.clone(), ..variant.changes.clone() },
                run: variant.run.clone(),
                created: created.clone(),
            };
            let left_out = source.platforms.keys().filter(|platform| !chosen.contains(platform)).cloned().collect();
            let mut annotations = labels.clone();
            annotations.extend(variant.annotations.clone());
            ResolvedVariant {
                variant: variant.clone(),
                base: base.top.reference.clone(),
                annotations,
                recipes: chosen.iter().map(recipe).collect(),
                left_out,
            }
        })
        .collect();

    let seconds = u64::try_from(provenance.created.timestamp()).unwrap_or(0);
    let executables = executables(registries, &plan, &variants, seconds, directory).await?;
    Ok(Resolved { source: source.top, variants, executables, plan })
}

/// An image as its registry has it.
struct Image {
    top: Pulled,
    platforms: BTreeMap<Platform, PinnedReference>,
}

async fn look_up(registries: &Registries, role: &'static str, reference: &Reference) -> Result<Image, ResolveError> {
    let unavailable = |cause| ResolveError::Unavailable { role, image: reference.clone(), cause };
    let top = registries.resolve(reference).await.map_err(unavailable)?;
    let platforms = match &top.content {
        ManifestOrIndex::Index(index) => index
            .manifests
            .iter()
            .filter_map(|manifest| {
                let platform = Platform::from(manifest.platform.as_ref()?);
                (!platform.is_unknown()).then(|| (platform, reference.repository().pinned(manifest.digest.clone())))
            })
            .rev() // of two entries for one platform the first counts, as for `docker pull`
            .collect(),
        ManifestOrIndex::Manifest(_) => {
            let image = image(registries, role, &top.reference).await?;
            [(image.config.platform(), top.reference.clone())].into()
        }
    };
    Ok(Image { top, platforms })
}

/// The manifest and config of one platform's image.
async fn image(
    registries: &Registries,
    role: &'static str,
    reference: &PinnedReference,
) -> Result<ResolvedImage, ResolveError> {
    let unavailable = |cause| ResolveError::Unavailable { role, image: Reference::from(reference.clone()), cause };
    let unusable = |cause| ResolveError::Manifest { role, image: reference.clone(), cause };
    let manifest = match registries.manifest(reference).await.map_err(unavailable)?.content {
        ManifestOrIndex::Manifest(manifest) => manifest,
        ManifestOrIndex::Index(index) => return Err(unusable(InvalidManifest::Unsupported(index.media_type))),
    };
    for layer in &manifest.layers {
        layer.to_oci_layer().map_err(unusable)?;
    }
    let config = registries.small_blob(reference.repository(), &manifest.config).await.map_err(unavailable)?;
    let config = Config::parse(&config)
        .and_then(|config| match (config.diff_ids().len(), manifest.layers.len()) {
            (diff_ids, layers) if diff_ids == layers => Ok(config),
            (diff_ids, layers) => {
                Err(InvalidConfig::Malformed(format!("it names {diff_ids} layers, and the manifest {layers}")))
            }
        })
        .map_err(|cause| ResolveError::Config { role, image: reference.clone(), cause })?;
    Ok(ResolvedImage { reference: reference.clone(), manifest, config })
}

fn choose_platforms(
    variant: &Variant,
    source_name: &Reference,
    source: &Image,
    base: &Image,
) -> Result<Vec<Platform>, ResolveError> {
    let has = |image: &Image| image.platforms.keys().cloned().collect::<Vec<_>>();
    match &variant.platforms {
        Platforms::Auto => {
            let common: Vec<Platform> =
                source.platforms.keys().filter(|p| base.platforms.contains_key(p)).cloned().collect();
            if common.is_empty() {
                return Err(ResolveError::NoPlatform {
                    base: variant.base.clone(),
                    variant: variant.name.clone(),
                    base_has: has(base),
                    source_has: has(source),
                });
            }
            Ok(common)
        }
        Platforms::Listed(listed) => {
            for platform in listed {
                for (role, name, image) in [("source", source_name, source), ("base", &variant.base, base)] {
                    if !image.platforms.contains_key(platform) {
                        return Err(ResolveError::PlatformMissing {
                            role,
                            image: name.clone(),
                            platform: platform.clone(),
                            variant: variant.name.clone(),
                            available: has(image),
                        });
                    }
                }
            }
            let mut listed = listed.clone();
            listed.sort();
            listed.dedup();
            Ok(listed)
        }
    }
}

fn labels(variant: &Variant, base: &PinnedReference, provenance: &Provenance) -> Annotations {
    let mut labels = provenance.labels.clone();
    let own = [
        ("version", variant.version_label.to_string()),
        ("base.name", variant.base.to_string()),
        ("base.digest", base.digest().to_string()),
    ];
    labels.extend(own.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value)));
    labels.extend(variant.changes.labels.clone());
    labels
}

/// One layer for each platform that a variant needs.
async fn executables(
    registries: &Registries,
    plan: &Plan,
    variants: &[ResolvedVariant],
    created: u64,
    directory: &Path,
) -> Result<BTreeMap<Platform, Arc<Layer>>, ResolveError> {
    let sources: BTreeMap<&Platform, &ResolvedImage> =
        variants.iter().flat_map(|variant| &variant.recipes).map(|recipe| (&recipe.platform, &recipe.source)).collect();
    let mut layers = BTreeMap::new();
    // One after the other: compressing takes all cores and most of the memory that a run needs.
    for (platform, source) in sources {
        let layer = source::layer(registries, source, &plan.binaries, created, directory).await?;
        layers.insert(platform.clone(), Arc::new(layer));
    }
    Ok(layers)
}

fn one_or_several(mut problems: Vec<ResolveError>) -> Result<(), ResolveError> {
    match problems.len() {
        0 => Ok(()),
        1 => Err(problems.remove(0)),
        _ => Err(ResolveError::Several(problems)),
    }
}
