//! Gathers a report from what the stages did.

use std::collections::BTreeMap;

use super::{
    Base, BuiltPlatform, Check, Destination, KeptTag, Outcome, Report, RollingTag, Source, Stage, Status, Variant,
};
use crate::build::compose::{self, Composed};
use crate::image::{Digest, Repository};
use crate::plan::{self, Tags};
use crate::publish::{Published, TagOutcome};
use crate::resolve::{Resolved, ResolvedVariant};
use crate::verify::{self, Verified};

impl Report {
    /// The report of a run. `published` is what was published, and `None` after a dry run: then it shows the tags that would be written.
    #[must_use]
    pub fn gather(
        resolved: &Resolved,
        verified: &[Verified],
        published: Option<&Published>,
        stages: Vec<Stage>,
    ) -> Self {
        let plan = &resolved.plan;
        let status = match published {
            None => Status::DryRun,
            Some(published) if published.is_unchanged() => Status::Unchanged,
            Some(_) => Status::Published,
        };
        let at = |digest: &Digest, tags: &Tags| {
            plan.destinations.iter().map(|to| destination(to, digest, tags, published)).collect::<Vec<_>>()
        };
        let source_digest = resolved.source.reference.digest();
        let has_tags = plan.source.tags.iter().next().is_some();
        let source = Source {
            reference: plan.source.reference.clone(),
            digest: source_digest.clone(),
            destinations: if has_tags { at(source_digest, &plan.source.tags) } else { Vec::new() },
        };
        let variants = resolved
            .variants
            .iter()
            .map(|resolved| {
                let mut images: Vec<&Verified> =
                    verified.iter().filter(|image| image.variant == resolved.variant.name).collect();
                images.sort_by_cached_key(|image| image.composed.platform.to_string());
                let composed: Vec<&Composed> = images.iter().map(|image| &image.composed).collect();
                let made = compose::index(&composed, &resolved.annotations).digest().clone();
                let destinations = at(&made, &resolved.variant.tags);
                let digest = destinations.first().map_or(&made, |first| &first.digest).clone();
                let is_kept = digest != made;
                Variant {
                    name: resolved.variant.name.clone(),
                    base: Base { reference: resolved.variant.base.clone(), digest: resolved.base.digest().clone() },
                    destinations,
                    platforms: if is_kept { Vec::new() } else { images.into_iter().map(platform).collect() },
                    deprecated: resolved.variant.deprecated.clone(),
                    digest,
                    kept_instead_of: is_kept.then_some(made),
                }
            })
            .collect();
        let mut warnings: Vec<String> = resolved.variants.iter().filter_map(left_out).collect();
        warnings.extend(published.into_iter().flat_map(|published| &published.conflicts).map(ToString::to_string));
        Self {
            status,
            version: plan.version.to_string(),
            source,
            variants,
            dropped_variants: Vec::new(),
            warnings,
            stages,
        }
    }
}

impl Report {
    /// The variants that an earlier release had and this one hasn't. `earlier` are the notes of earlier releases, the newest
    /// first; the first that tell of variants count.
    pub fn dropped_since<'a>(&self, mut earlier: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names = || self.variants.iter().map(|variant| variant.name.as_str());
        earlier.find_map(|notes| super::notes::dropped_variants(notes, names())).unwrap_or_default()
    }
}

fn left_out(resolved: &ResolvedVariant) -> Option<String> {
    let platforms: Vec<String> = resolved.left_out.iter().map(ToString::to_string).collect();
    let name = &resolved.variant.name;
    (!platforms.is_empty()).then(|| {
        format!("`{name}` leaves out {}, which base `{}` doesn't have", platforms.join(", "), resolved.variant.base)
    })
}

fn platform(image: &Verified) -> BuiltPlatform {
    let check = |(check, outcome): &(plan::Check, verify::Outcome)| Check {
        command: check.command.join(" "),
        outcome: match outcome {
            verify::Outcome::Passed => Outcome::Passed,
            verify::Outcome::Skipped(reason) => Outcome::Skipped { reason: reason.clone() },
        },
    };
    BuiltPlatform {
        platform: image.composed.platform.clone(),
        digest: image.composed.manifest.digest().clone(),
        size: image.composed.size(),
        checks: image.checks.iter().map(check).collect(),
    }
}

fn destination(to: &Repository, digest: &Digest, tags: &Tags, published: Option<&Published>) -> Destination {
    let outcomes = published.map_or_else(BTreeMap::new, |published| published.tags_at(to));
    let mut destination = Destination {
        repository: to.clone(),
        digest: published.map_or_else(|| digest.clone(), |published| published.shown(to, digest)),
        exact: Vec::new(),
        rolling: Vec::new(),
        kept: tags.kept.iter().map(|kept| KeptTag { tag: kept.tag.clone(), reason: kept.reason.clone() }).collect(),
        blobs: published
            .and_then(|published| published.blobs.get(&(to.clone(), digest.clone())))
            .copied()
            .unwrap_or_default(),
    };
    for tag in &tags.exact {
        match outcomes.get(tag) {
            Some(TagOutcome::Kept(reason)) => {
                destination.kept.push(KeptTag { tag: tag.clone(), reason: reason.clone() });
            }
            _ => destination.exact.push(tag.clone()),
        }
    }
    for rolling in &tags.rolling {
        let tag = rolling.tag.clone();
        match outcomes.get(&tag) {
            Some(TagOutcome::Kept(reason)) => destination.kept.push(KeptTag { tag, reason: reason.clone() }),
            Some(TagOutcome::GivenTo(version)) => {
                let reason = format!("it belongs to `{version}`, which is newer, and shows that now");
                destination.kept.push(KeptTag { tag, reason });
            }
            Some(TagOutcome::Moved(previous)) => {
                destination.rolling.push(RollingTag { tag, previous: Some(previous.clone()) });
            }
            Some(TagOutcome::Created | TagOutcome::Unchanged) | None => {
                destination.rolling.push(RollingTag { tag, previous: None });
            }
        }
    }
    destination
}
