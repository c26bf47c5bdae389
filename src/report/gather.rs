//! Gathers a report from the results of the stages.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Base, BuiltPlatform, Check, Destination, KeptTag, Outcome, OwnSource, Report, RollingTag, Source, Stage, Status,
    Variant,
};
use crate::compose::recipe::DESTINATION;
use crate::compose::{Composed, Content};
use crate::facts;
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Digest, Repository, SourceName, Tag};
use crate::ownership::{Decision, Image, Reason, TagKind, Verdict};
use crate::plan;
use crate::publish::{Blobs, Published, TagOutcome};
use crate::resolve::ResolvedVariant;
use crate::survey::Surveyed;
use crate::verify::{self, Verified};

/// The reason of checks that were skipped because an earlier run has published the image.
const PUBLISHED: &str = "it is published";

impl Report {
    /// The report of a publication.
    #[must_use]
    pub fn of_publication(published: &Published<'_>, verified: &[Verified]) -> Self {
        let status = if published.is_unchanged() { Status::Unchanged } else { Status::Published };
        let of_run = OfRun {
            surveyed: &published.surveyed,
            verified,
            outcomes: published.outcomes.clone(),
            blobs: published.blobs.clone(),
        };
        of_run.report(status, Vec::new())
    }

    /// The report of a dry run: the tags are those that would be written.
    #[must_use]
    pub fn of_dry_run(surveyed: &Surveyed<'_>, verified: &[Verified], stages: Vec<Stage>) -> Self {
        let outcome = |decision: &Decision| {
            let outcome = match &decision.verdict {
                Verdict::Stays(reason) => TagOutcome::Kept(reason.clone()),
                Verdict::Give { version, .. } => TagOutcome::GivenTo(version.clone()),
                Verdict::Right | Verdict::Write(_) => TagOutcome::Unchanged,
            };
            ((decision.destination.clone(), decision.tag.clone()), outcome)
        };
        let outcomes = surveyed.decisions.tags.iter().map(outcome).collect();
        OfRun { surveyed, verified, outcomes, blobs: BTreeMap::new() }.report(Status::DryRun, stages)
    }

    /// The variants that an earlier release had and this one hasn't. `earlier` are the notes of earlier releases, the newest
    /// first; the first with a section of ours counts.
    pub fn dropped_since<'a>(&self, mut earlier: impl Iterator<Item = &'a str>) -> Vec<String> {
        let names = || self.variants.iter().map(|variant| variant.name.as_str());
        earlier.find_map(|notes| super::notes::dropped_variants(notes, names())).unwrap_or_default()
    }
}

/// The results that a report is gathered from.
struct OfRun<'a> {
    surveyed: &'a Surveyed<'a>,
    verified: &'a [Verified],
    outcomes: BTreeMap<(Repository, Tag), TagOutcome>,
    blobs: BTreeMap<(Repository, Digest), Blobs>,
}

impl OfRun<'_> {
    fn report(&self, status: Status, stages: Vec<Stage>) -> Report {
        let resolved = self.surveyed.resolved;
        let variants = resolved.variants.iter().enumerate();
        let reported = self.source();
        let source = self.surveyed.wanted.artifacts.iter().position(|artifact| artifact.variant.is_none());
        Report {
            status,
            version: resolved.plan.version.to_string(),
            source: Source {
                reference: reported.0.clone(),
                digest: reported.1.clone(),
                destinations: source.map(|number| self.destinations(number)).unwrap_or_default(),
            },
            variants: variants.map(|(number, variant)| self.variant(number, variant)).collect(),
            dropped_variants: Vec::new(),
            warnings: self.warnings(),
            stages,
        }
    }

    /// The plan's source; where every variant has its own, the first one's.
    fn source(&self) -> (&SourceName, &Digest) {
        let resolved = self.surveyed.resolved;
        match resolved.source() {
            Some(digest) => (&resolved.plan.source.name, digest),
            None => {
                let first = resolved.variants.first().expect("a plan has variants, or a source that is asked for");
                (&first.variant.source, &first.source)
            }
        }
    }

    fn variant(&self, number: usize, resolved: &ResolvedVariant) -> Variant {
        let content = self.image(number).and_then(|digest| self.surveyed.content(digest));
        let destinations = self.destinations(number);
        let digest = content.map(|content| content.digest().clone());
        let digest = digest.filter(|digest| destinations.iter().any(|there| there.digest.as_ref() == Some(digest)));
        let own_source = OwnSource { reference: resolved.variant.source.clone(), digest: resolved.source.clone() };
        let own_source = Some(own_source).filter(|own| own.reference != *self.source().0);
        let made = self.verified.iter().any(|image| image.variant == resolved.variant.name);
        Variant {
            name: resolved.variant.name.clone(),
            is_vouched_for: made || resolved.variant.run.is_empty(),
            source: own_source,
            base: Base {
                reference: resolved.variant.base.clone(),
                digest: content.and_then(base).or_else(|| resolved.base.as_ref().map(|base| base.digest().clone())),
            },
            platforms: match (&digest, content) {
                (Some(_), Some(content)) => self.platforms(resolved, content),
                _ => Vec::new(),
            },
            deprecated: resolved.variant.deprecated.clone(),
            destinations,
            digest,
        }
    }

    /// The image of this release, which its tags name or are to name.
    fn image(&self, number: usize) -> Option<&Digest> {
        match &self.surveyed.decisions.images[number] {
            Image::Published { digest, .. } => Some(digest),
            Image::Composed => self.surveyed.wanted.artifacts[number].composed.as_ref(),
        }
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
        match self.verified.iter().find(|image| image.composed.manifest.digest() == manifest) {
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
        let decisions = self.surveyed.decisions.tags.iter();
        for decision in decisions.filter(|decision| decision.artifact == number && decision.destination == *to) {
            let tag = decision.tag.clone();
            let reason = match &self.outcomes[&(to.clone(), tag.clone())] {
                TagOutcome::Kept(reason) => reason.to_string(),
                TagOutcome::GivenTo(version) => {
                    format!("it belongs to `{version}`, which is newer, and shows that now")
                }
                outcome @ (TagOutcome::Unchanged | TagOutcome::Created | TagOutcome::Moved(_)) => {
                    let named = decision.verdict.digest().or(decision.now.as_ref());
                    match decision.kind {
                        TagKind::Exact => {
                            destination.digest = destination.digest.or_else(|| named.cloned());
                            destination.exact.push(tag);
                        }
                        TagKind::Rolling => {
                            let previous = match outcome {
                                TagOutcome::Moved(previous) => Some(previous.clone()),
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
        let left_out = self.surveyed.resolved.variants.iter().filter_map(left_out);
        let off_path = self.surveyed.resolved.variants.iter().filter_map(off_path);
        // The same for several platforms of a variant.
        let folders: BTreeSet<String> = self.verified.iter().flat_map(|image| image.warnings.clone()).collect();
        let unseen =
            self.surveyed.unseen.iter().map(|(repository, why)| format!("`{repository}` couldn't be looked at: {why}"));
        // Several tags with the same reason make one warning.
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
        let kept = by_reason.into_iter().map(|(reason, tags)| format!("{} stays: it {reason}", tags.join(", ")));
        left_out.chain(off_path).chain(folders).chain(unseen).chain(kept).collect()
    }
}

/// The digest of the base, in the annotations of an index.
fn base(content: &Content) -> Option<Digest> {
    let index = ManifestOrIndex::parse(content.index.media_type(), content.index.bytes()).ok()?;
    index.annotations().get(facts::BASE_DIGEST)?.parse().ok()
}

fn left_out(resolved: &ResolvedVariant) -> Option<String> {
    let platforms: Vec<String> = resolved.left_out.iter().map(ToString::to_string).collect();
    let name = &resolved.variant.name;
    (!platforms.is_empty()).then(|| {
        format!("`{name}` leaves out {}, which base `{}` doesn't have", platforms.join(", "), resolved.variant.base)
    })
}

/// Shells don't find the executables where the variant's `PATH` doesn't have their folder. The checks use full paths.
fn off_path(resolved: &ResolvedVariant) -> Option<String> {
    let has_folder = |path: &str| path.split(':').any(|folder| folder.trim_end_matches('/') == DESTINATION);
    let is_found = |composed: &Composed| composed.config.environment().get("PATH").is_some_and(|path| has_folder(path));
    (!resolved.composed.iter().all(is_found)).then(|| {
        format!(
            "`{}` has no `{DESTINATION}` in its `PATH`, so its shells don't find the executables; `env: {{ PATH: \"{DESTINATION}:${{PATH}}\" }}` adds it",
            resolved.variant.name
        )
    })
}

impl From<&verify::Outcome> for Outcome {
    fn from(outcome: &verify::Outcome) -> Self {
        match outcome {
            verify::Outcome::Passed => Self::Passed,
            verify::Outcome::Skipped(reason) => Self::Skipped { reason: reason.clone() },
        }
    }
}
