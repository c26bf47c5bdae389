//! Gathers a report from the results of the stages.

use std::collections::{BTreeMap, BTreeSet};

use super::tags::ENTRY;
use super::{
    Base, BuiltPlatform, Check, Copied, Destination, KeptTag, Outcome, OwnSource, Report, RollingTag, Source, Stage,
    Status, Tally, Variant,
};
use crate::compose::recipe::{DESTINATION, ResolvedSource};
use crate::compose::{Composed, Content};
use crate::facts;
use crate::hint::Input;
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Digest, Platform, Repository, SourceName, Tag};
use crate::ownership::{Decision, Image, Reason, TagKind, TagOutcome, Verdict};
use crate::plan::{self, Made, Plan};
use crate::publish::{Blobs, Published};
use crate::resolve::{self, Resolved, ResolvedVariant};
use crate::survey::Surveyed;
use crate::verify::{self, Verified};

/// Why checks are skipped if an earlier run published the image.
const PUBLISHED: &str = "it is published";

impl Report {
    /// The report of a publication.
    #[must_use]
    pub fn of_publication(published: &Published<'_>, verified: &[Verified]) -> Self {
        let status = if published.is_unchanged() { Status::Unchanged } else { Status::Published };
        let of_run = OfRun {
            status,
            surveyed: &published.surveyed,
            verified,
            outcomes: published.outcomes.clone(),
            blobs: published.blobs.clone(),
        };
        of_run.report(Vec::new())
    }

    /// The report of a dry run, with the tags that would be written.
    #[must_use]
    pub fn of_dry_run(surveyed: &Surveyed<'_>, verified: &[Verified], stages: Vec<Stage>) -> Self {
        let place = |decision: &Decision| (decision.destination.clone(), decision.tag.clone());
        let outcomes = surveyed.decisions.tags.iter().map(|decision| (place(decision), decision.outcome())).collect();
        OfRun { status: Status::DryRun, surveyed, verified, outcomes, blobs: BTreeMap::new() }.report(stages)
    }

    /// Finds the variants that are new or gone since an earlier release. `earlier` are the notes of earlier releases,
    /// newest first; the first of them with a section about the same repositories and variants counts.
    pub fn compare_with<'a>(&mut self, mut earlier: impl Iterator<Item = &'a str>) {
        if let Some(changes) = earlier.find_map(|notes| super::notes::changes_since(notes, self)) {
            (self.new_variants, self.dropped_variants) = (changes.new, changes.dropped);
        }
    }
}

/// The results that a report is gathered from.
struct OfRun<'a> {
    status: Status,
    surveyed: &'a Surveyed<'a>,
    verified: &'a [Verified],
    outcomes: BTreeMap<(Repository, Tag), TagOutcome>,
    blobs: BTreeMap<(Repository, Digest), Blobs>,
}

impl OfRun<'_> {
    fn report(&self, stages: Vec<Stage>) -> Report {
        let resolved = self.surveyed.resolved;
        let variants = resolved.variants.iter().enumerate();
        let source = self.surveyed.wanted.artifacts.iter().position(|artifact| artifact.variant.is_none());
        Report {
            status: self.status,
            version: resolved.plan.version.to_string(),
            source: self.source().map(|(name, image)| Source {
                reference: name.clone(),
                digest: image.top.digest().clone(),
                destinations: source.map(|number| self.destinations(number)).unwrap_or_default(),
                sizes: source_sizes(image, resolved),
            }),
            variants: variants.map(|(number, variant)| self.variant(number, variant)).collect(),
            unreleased: resolved.unreleased.clone(),
            dropped_variants: Vec::new(),
            new_variants: Vec::new(),
            comparison: None,
            next_tag_forms: next_tag_forms(&resolved.plan),
            warnings: self.warnings(),
            stages,
            tag_forms: resolved.plan.tag_forms(ENTRY),
            tally: self.tally(),
        }
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for outcome in self.outcomes.values() {
            *match outcome {
                TagOutcome::Unchanged => &mut tally.unchanged,
                TagOutcome::Created => &mut tally.created,
                TagOutcome::Moved(_) => &mut tally.moved,
                TagOutcome::Kept(_) => &mut tally.kept,
                TagOutcome::GivenTo(_) => &mut tally.given,
            } += 1;
        }
        tally
    }

    /// The plan's source, or if each variant has its own, the first of these. `None` if all variants were built
    /// elsewhere.
    fn source(&self) -> Option<(&SourceName, &resolve::Image)> {
        let resolved = self.surveyed.resolved;
        let of_plan = resolved.plan.source.iter().map(|source| &source.name);
        let own = resolved.variants.iter().filter_map(|variant| variant.variant.source.as_ref());
        of_plan.chain(own).find_map(|name| Some((name, resolved.source(name)?)))
    }

    fn variant(&self, number: usize, resolved: &ResolvedVariant) -> Variant {
        let content = self.image(number).and_then(|digest| self.surveyed.content(digest));
        let destinations = self.destinations(number);
        let digest = content.map(|content| content.digest().clone());
        let digest = digest.filter(|digest| destinations.iter().any(|there| there.digest.as_ref() == Some(digest)));
        let own_source = resolved.variant.source.as_ref().zip(resolved.source.as_ref());
        let own_source = own_source.filter(|(name, _)| self.source().is_none_or(|(reported, _)| reported != *name));
        let own_source = own_source.map(|(name, digest)| OwnSource { reference: name.clone(), digest: digest.clone() });
        let made = self.verified.iter().any(|image| image.variant == resolved.variant.name);
        // An index that an earlier run made from another image hasn't been compared with this one.
        let is_known = resolved.copied.is_none() || self.surveyed.wanted.artifacts[number].composed == digest;
        Variant {
            name: resolved.variant.name.clone(),
            entries: resolved.variant.tags.entries(),
            is_vouched_for: made || (resolved.variant.run.is_empty() && is_known),
            source: own_source,
            base: match &resolved.variant.made {
                Made::Here(named) => Some(Base {
                    reference: named.clone(),
                    digest: content.and_then(base).or_else(|| resolved.base.as_ref().map(|base| base.digest().clone())),
                }),
                Made::Elsewhere(_) => content.and_then(said_base),
            },
            image: resolved
                .variant
                .made
                .elsewhere()
                .zip(resolved.copied.as_ref())
                .map(|(location, copied)| Copied { reference: location.clone(), digest: copied.digest.clone() }),
            platforms: match (&digest, content) {
                (Some(_), Some(content)) => self.platforms(resolved, content),
                _ => Vec::new(),
            },
            deprecated: resolved.variant.deprecated.clone(),
            destinations,
            digest,
        }
    }

    /// The image of this release, which its tags name or will name.
    fn image(&self, number: usize) -> Option<&Digest> {
        match &self.surveyed.decisions.images[number] {
            Image::Published { digest, .. } => Some(digest),
            Image::Composed => self.surveyed.wanted.artifacts[number].composed.as_ref(),
        }
    }

    /// A warning if a variant was built again elsewhere: the image that was published first stays.
    fn other_image(&self, number: usize, resolved: &ResolvedVariant) -> Option<String> {
        let ours = &resolved.copied.as_ref()?.content;
        let published = self.surveyed.content(self.image(number)?)?;
        let manifests =
            |content: &Content| content.images.iter().map(|image| image.manifest.digest().clone()).collect::<Vec<_>>();
        (manifests(ours) != manifests(published)).then(|| {
            format!(
                "`{}` has already been published for this version, as `{}`, from another image than `{}`: it stays as it is, \
                 unless {replace} is set",
                resolved.variant.name,
                published.digest(),
                resolved.variant.made.elsewhere().map(ToString::to_string).unwrap_or_default(),
                replace = Input("on-conflict").set_to("replace")
            )
        })
    }

    fn platforms(&self, resolved: &ResolvedVariant, content: &Content) -> Vec<BuiltPlatform> {
        let images = content.images.iter().filter_map(|image| Some((image.platform.clone()?, image)));
        images
            .map(|(platform, image)| BuiltPlatform {
                digest: image.manifest.digest().clone(),
                size: image.size(),
                checks: self.checks(resolved, image.manifest.digest()),
                platform,
            })
            .collect()
    }

    fn checks(&self, resolved: &ResolvedVariant, manifest: &Digest) -> Vec<Check> {
        let check = |check: &plan::Check, outcome| Check { command: check.command.join(" "), outcome };
        match self.verified.iter().find(|image| image.image.manifest.digest() == manifest) {
            Some(verified) => verified.checks.iter().map(|(planned, outcome)| check(planned, outcome.into())).collect(),
            None => {
                let skipped = || Outcome::Skipped { reason: PUBLISHED.to_owned() };
                resolved.variant.checks.iter().map(|planned| check(planned, skipped())).collect()
            }
        }
    }

    fn destinations(&self, number: usize) -> Vec<Destination> {
        self.surveyed.wanted.destinations.iter().map(|to| self.destination(number, to)).collect()
    }

    fn destination(&self, number: usize, to: &Repository) -> Destination {
        let mut destination = Destination {
            repository: to.clone(),
            digest: None,
            exact: Vec::new(),
            rolling: Vec::new(),
            kept: Vec::new(),
            blobs: Blobs::default(),
        };
        let is_dry_run = self.status == Status::DryRun;
        let decisions = self.surveyed.decisions.tags.iter();
        for decision in decisions.filter(|decision| decision.artifact == number && decision.destination == *to) {
            let tag = decision.tag.clone();
            let reason = match &self.outcomes[&(to.clone(), tag.clone())] {
                TagOutcome::Kept(reason) => reason.to_string(),
                TagOutcome::GivenTo(version) if is_dry_run => format!("belongs to {version}, which is newer"),
                TagOutcome::GivenTo(version) => format!("was moved to {version}, which is newer"),
                outcome @ (TagOutcome::Unchanged | TagOutcome::Created | TagOutcome::Moved(_)) => {
                    let named = decision.verdict.digest().or(decision.now.as_ref());
                    match decision.kind {
                        TagKind::Exact => {
                            destination.digest = destination.digest.or_else(|| named.cloned());
                            destination.exact.push(tag);
                        }
                        TagKind::Rolling => {
                            let previous = match outcome {
                                TagOutcome::Moved(previous) if !is_dry_run => Some(previous.clone()),
                                _ => None,
                            };
                            destination.rolling.push(RollingTag { tag, previous });
                        }
                    }
                    continue;
                }
            };
            destination.kept.push(KeptTag { tag, reason });
        }
        let sent = destination.digest.clone().and_then(|digest| self.blobs.get(&(to.clone(), digest)));
        destination.blobs = sent.copied().unwrap_or_default();
        destination
    }

    fn warnings(&self) -> Vec<String> {
        let left_out = left_out(&self.surveyed.resolved.variants);
        let off_path = off_path(&self.surveyed.resolved.variants);
        // Several platforms of a variant may have the same warning.
        let folders: BTreeSet<String> = self.verified.iter().flat_map(|image| image.warnings.clone()).collect();
        let unseen =
            self.surveyed.unseen.iter().map(|(repository, why)| format!("`{repository}` couldn't be read: {why}"));
        // Tags with the same reason share a warning.
        let mut by_reason = Vec::<(&Reason, Vec<String>)>::new();
        for decision in &self.surveyed.decisions.tags {
            let Verdict::Stays(reason) = &decision.verdict else { continue };
            if !reason.is_worth_a_warning() {
                continue;
            }
            let tag = format!("`{}`", decision.reference());
            match by_reason.iter_mut().find(|(other, _)| *other == reason) {
                Some((_, tags)) => tags.push(tag),
                None => by_reason.push((reason, vec![tag])),
            }
        }
        let kept = by_reason.into_iter().map(|(reason, tags)| kept(reason, &tags));
        let others = self.surveyed.resolved.variants.iter().enumerate();
        let others = others.filter_map(|(number, variant)| self.other_image(number, variant));
        let without_login = self.surveyed.resolved.without_login.iter().cloned();
        let about_images = without_login.chain(left_out).chain(off_path).chain(others);
        about_images.chain(folders).chain(unseen).chain(kept).collect()
    }
}

/// The tags that the templates make of an entry in the next release; empty if this is a release.
fn next_tag_forms(plan: &Plan) -> Vec<String> {
    if plan.version.as_commit().is_none() {
        return Vec::new();
    }
    let templates = plan.tag_templates.iter().filter(|template| !template.has_sha());
    templates.map(|template| template.to_string().replace("{tag}", ENTRY)).collect()
}

/// The bytes that a pull of the source transfers, for each platform that variants have.
fn source_sizes(source: &resolve::Image, resolved: &Resolved) -> Vec<(Platform, u64)> {
    let of_source = |image: &ResolvedSource| match &source.content {
        ManifestOrIndex::Index(index) => index.manifests.iter().any(|manifest| manifest.digest == *image.name.digest()),
        ManifestOrIndex::Manifest(_) => image.name.digest() == source.top.digest(),
    };
    let images =
        resolved.variants.iter().flat_map(|variant| &variant.recipes).map(|recipe| (&recipe.platform, &recipe.source));
    let sizes: BTreeMap<Platform, u64> = images
        .filter(|(_, image)| of_source(image))
        .map(|(platform, image)| {
            let layers = image.manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
            (platform.clone(), image.manifest.config.size + layers)
        })
        .collect();
    sizes.into_iter().collect()
}

/// The warning about tags that stay for the same reason: which tags, why, and what to do. It names some of them; the
/// summary and the output `kept` list all.
fn kept(reason: &Reason, tags: &[String]) -> String {
    const NAMED: usize = 5;
    let more = tags.len().saturating_sub(NAMED);
    let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let names = format!("{}{and_more}", tags[..tags.len() - more].join(", "));
    let (stay, each) = if tags.len() == 1 { ("stays as it is", "it") } else { ("stay as they are", "each") };
    match reason {
        Reason::Unknown(cause) => format!("{names} {stay}: {cause}"),
        Reason::Taken { .. } => {
            let replace = Input("on-conflict").set_to("replace");
            format!("{names} {stay}: {each} {reason}; {replace} publishes this run's image there")
        }
        _ => format!("{names} {stay}: {each} {reason}"),
    }
}

/// The digest of the base, from the annotations of an index.
fn base(content: &Content) -> Option<Digest> {
    let index = ManifestOrIndex::parse(content.index.media_type(), content.index.bytes()).ok()?;
    index.annotations().get(facts::BASE_DIGEST)?.parse().ok()
}

/// The base of an image built elsewhere, as the annotations of its index name it.
fn said_base(content: &Content) -> Option<Base> {
    let index = ManifestOrIndex::parse(content.index.media_type(), content.index.bytes()).ok()?;
    let reference = index.annotations().get(facts::BASE_NAME)?.parse().ok()?;
    Some(Base { reference, digest: base(content) })
}

/// A warning for each set of platforms that variants leave out.
fn left_out(variants: &[ResolvedVariant]) -> Vec<String> {
    let mut by_platforms = Vec::<(String, Vec<&ResolvedVariant>)>::new();
    for variant in variants.iter().filter(|variant| !variant.left_out.is_empty()) {
        let platforms = variant.left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match by_platforms.iter_mut().find(|(other, _)| *other == platforms) {
            Some((_, others)) => others.push(variant),
            None => by_platforms.push((platforms, vec![variant])),
        }
    }
    let said = by_platforms.into_iter().map(|(platforms, variants)| match &variants[..] {
        [one] => {
            let of = one.variant.made.base().map(|base| format!("base `{base}`")).unwrap_or_default();
            format!("`{}` leaves out {platforms}, which {of} doesn't have", one.variant.name)
        }
        several => format!("{} leave out {platforms}, which their bases don't have", named(several)),
    });
    said.collect()
}

/// The names of several variants, as the subject of a sentence: `29 variants (`alpine`, `debian`, …)`.
fn named(variants: &[&ResolvedVariant]) -> String {
    const NAMED: usize = 5;
    let names: Vec<String> = variants.iter().take(NAMED).map(|variant| format!("`{}`", variant.variant.name)).collect();
    let more = if variants.len() > NAMED { ", …" } else { "" };
    format!("{} variants ({}{more})", variants.len(), names.join(", "))
}

/// A warning if shells won't find the executables, because the variant's `PATH` lacks their folder. The checks use full
/// paths, so they don't notice.
fn off_path(variants: &[ResolvedVariant]) -> Option<String> {
    let has_folder = |path: &str| path.split(':').any(|folder| folder.trim_end_matches('/') == DESTINATION);
    let is_found = |composed: &Composed| composed.config.environment().get("PATH").is_some_and(|path| has_folder(path));
    let variants: Vec<&ResolvedVariant> =
        variants.iter().filter(|variant| !variant.composed.iter().all(is_found)).collect();
    let (who, whose) = match &variants[..] {
        [] => return None,
        [one] => (format!("`{}` has", one.variant.name), "its"),
        several => (format!("{} have", named(several)), "their"),
    };
    Some(format!(
        "{who} no `{DESTINATION}` in {whose} `PATH`, so {whose} shells don't find the executables; `env: {{ PATH: \"{DESTINATION}:${{PATH}}\" }}` adds it"
    ))
}

impl From<&verify::Outcome> for Outcome {
    fn from(outcome: &verify::Outcome) -> Self {
        match outcome {
            verify::Outcome::Passed => Self::Passed,
            verify::Outcome::Skipped(reason) => Self::Skipped { reason: reason.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_about_tags_that_stay_says_which_why_and_what_to_do() {
        let tags: Vec<String> = (1..=7).map(|number| format!("`v{number}`")).collect();
        let taken = Reason::Taken { digest: Digest::of(b"x"), why: "which another tool has published".to_owned() };
        let digest = Digest::of(b"x");
        assert_eq!(
            kept(&taken, &tags[..1]),
            format!(
                "`v1` stays as it is: it already names {digest}, which another tool has published; `on-conflict: replace` publishes this \
                 run's image there"
            )
        );
        assert_eq!(
            kept(&Reason::ChildrenMissing("1.5.0".parse().unwrap()), &tags),
            "`v1`, `v2`, `v3`, `v4`, `v5` and 2 more stay as they are: each belongs to 1.5.0, which is newer and has missing parts; \
             run 1.5.0 again to restore them"
        );
        assert_eq!(kept(&Reason::Unknown("no answer".to_owned()), &tags[..1]), "`v1` stays as it is: no answer");
    }
}
