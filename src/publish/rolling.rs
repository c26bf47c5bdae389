//! Rolling tags: looked at before the exact tags are written, moved right after, and looked at once more.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::PublishError;
use super::exact::Shelved;
use super::guard::{self, Verdict};
use super::tags::{Outcomes, TagOutcome, Write, write};
use crate::action::Log;
use crate::action::inputs::Rolling as Policy;
use crate::api::registry::{Pulled, Registries, RegistryError};
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Digest, Document, Repository, Tag};
use crate::plan::{Plan, RollingTag};
use crate::version::Version;

/// The label and annotation that tell the version of an image.
const VERSION: &str = "org.opencontainers.image.version";

/// A rolling tag at a destination, and what is known about it.
#[derive(Debug)]
pub(super) struct Rolling<'a> {
    at: &'a Shelved<'a>,
    rolling: &'a RollingTag,
    /// What it is to name.
    index: &'a Document,
    before: Option<Digest>,
    shown: Option<Version>,
}

/// How often the tags of a repository are looked at again after rolling tags have moved. Each time that more is found
/// another run has finished in between.
const LOOKS: usize = 5;

/// Looks what the rolling tags of `shelved` show now.
pub(super) async fn look<'a>(
    registries: &Registries,
    plan: &Plan,
    policy: Policy,
    shelved: &'a [Shelved<'a>],
) -> Result<Vec<Rolling<'a>>, PublishError> {
    // Some registries have a permission of its own for this: better to know before a tag is written.
    let listed = all_tags(registries, policy, shelved.iter().map(|at| at.to)).await?;
    let tags = shelved.iter().flat_map(|at| at.artifact.tags.rolling.iter().map(move |rolling| (at, rolling)));
    stream::iter(tags)
        .map(async |(at, rolling)| look_at(registries, plan, &listed, at, rolling).await)
        .buffered(registries.concurrency())
        .try_collect()
        .await
}

/// Moves the tags of `found` that are this version's to move, then looks again whether they still are.
pub(super) async fn advance(
    registries: &Registries,
    plan: &Plan,
    policy: Policy,
    found: &[Rolling<'_>],
    log: &Log,
) -> Result<Outcomes, PublishError> {
    let mut outcomes = Outcomes::new();
    let mut judged = BTreeMap::new();
    let mut now: Vec<Option<Digest>> = found.iter().map(|rolling| rolling.before.clone()).collect();
    let mut failure = None;
    for _ in 0..LOOKS {
        let tags = all_tags(registries, policy, found.iter().map(|rolling| rolling.at.to)).await?;
        let mut writes = Vec::new();
        for (number, rolling) in found.iter().enumerate() {
            let verdict = verdict(plan, policy, &tags, rolling);
            // The first look decides about all of them, a later one only about what has changed since.
            if judged.insert(number, verdict.clone()).as_ref() != Some(&verdict) {
                let write = carry_out(registries, rolling, now[number].as_ref(), verdict).await?;
                if !matches!(write.outcome, TagOutcome::Kept(_)) {
                    now[number] = Some(write.index.digest().clone());
                }
                writes.push(write);
            }
        }
        if writes.is_empty() {
            break;
        }
        // Also after a failure there is another look: a tag that was written late may have been another run's by then.
        let written = write(registries, log, writes).await;
        outcomes.extend(written.outcomes);
        failure = failure.or(written.failure);
    }
    failure.map_or(Ok(outcomes), Err)
}

/// The rolling tags that don't go to this version, whatever the registry has.
pub(super) fn withheld(shelved: &[Shelved<'_>]) -> Outcomes {
    let kept = shelved.iter().flat_map(|at| at.artifact.tags.kept.iter().map(move |kept| (at.to, kept)));
    kept.map(|(to, kept)| ((to.clone(), kept.tag.clone()), TagOutcome::Kept(kept.reason.clone()))).collect()
}

async fn look_at<'a>(
    registries: &Registries,
    plan: &Plan,
    listed: &BTreeMap<Repository, Vec<Tag>>,
    at: &'a Shelved<'a>,
    rolling: &'a RollingTag,
) -> Result<Rolling<'a>, PublishError> {
    let index = at.index_of(&rolling.entry);
    let Some(found) = registries.find(&at.to.tagged(rolling.tag.clone())).await? else {
        return Ok(Rolling { at, rolling, index, before: None, shown: None });
    };
    let before = found.reference.digest().clone();
    let shown = if before == *index.digest() {
        Some(plan.version.clone())
    } else {
        let label = version_label(registries, at.to, &found.content).await?;
        let published = listed.get(at.to).map(|tags| exact_versions(plan, rolling, tags)).unwrap_or_default();
        label.and_then(|label| version_of(plan, rolling, &label, &published))
    };
    Ok(Rolling { at, rolling, index, before: Some(before), shown })
}

/// What an image says about its version.
enum VersionLabel {
    /// Itself.
    Own(String),
    /// In its config, where it may come from the base: Ubuntu's says `24.04`.
    Inheritable(String),
}

/// The version in a label such as `0.9.26-alpine3.22`, also where this plan's variants have no such entry any more.
/// `published` are the versions that the tag's entry has an exact tag of.
fn version_of(
    plan: &Plan,
    rolling: &RollingTag,
    label: &VersionLabel,
    published: &[(Version, Tag)],
) -> Option<Version> {
    let (VersionLabel::Own(text) | VersionLabel::Inheritable(text)) = label;
    if let Some((version, _)) = plan.exact_tags.read(text) {
        return Some(version);
    }
    let (first, _) = text.split_once('-').unwrap_or((text, ""));
    let known = plan.source_exact_tags.read(text).map(|(version, _)| version).or_else(|| first.parse().ok())?;
    let may_be_the_bases = matches!(label, VersionLabel::Inheritable(_)) && first == text && !rolling.entry.is_empty();
    (!may_be_the_bases || published.iter().any(|(version, _)| *version == known)).then_some(known)
}

/// The versions of which the rolling tag's entry has an exact tag.
fn exact_versions(plan: &Plan, rolling: &RollingTag, tags: &[Tag]) -> Vec<(Version, Tag)> {
    let mut found = if rolling.entry.is_empty() {
        let entries = entries(plan);
        plan.source_exact_tags.read_all(tags.iter().filter(|tag| !is_of_a_variant(tag, &entries)))
    } else {
        plan.exact_tags.read_all(tags)
    };
    found.remove(rolling.entry.as_str()).unwrap_or_default()
}

/// What variants are called in tags.
fn entries(plan: &Plan) -> HashSet<&str> {
    plan.variants.iter().flat_map(|variant| variant.tags.reasons.values()).map(|reason| reason.entry.as_str()).collect()
}

/// Where a variant is called `22`, `22`, `1.2-22` and `1.2.3-22` are its tags, though each could be a version of the source's.
fn is_of_a_variant(tag: &Tag, entries: &HashSet<&str>) -> bool {
    let tag = tag.as_str();
    let ends = tag.match_indices('-').map(|(at, dash)| &tag[at + dash.len()..]);
    std::iter::once(tag).chain(ends).any(|end| entries.contains(end))
}

/// What an image says about its version: the annotation of its index or manifest, else the label of its config. One of which
/// parts are gone, as after somebody's cleaning up, says nothing.
async fn version_label(
    registries: &Registries,
    repository: &Repository,
    content: &ManifestOrIndex,
) -> Result<Option<VersionLabel>, PublishError> {
    let manifest = match content {
        ManifestOrIndex::Index(index) => {
            if let Some(label) = index.annotations.get(VERSION) {
                return Ok(Some(VersionLabel::Own(label.clone())));
            }
            let Some(first) = index.manifests.first() else { return Ok(None) };
            match unless_missing(registries.manifest(&repository.pinned(first.digest.clone())).await)? {
                Some(Pulled { content: ManifestOrIndex::Manifest(manifest), .. }) => manifest,
                _ => return Ok(None),
            }
        }
        ManifestOrIndex::Manifest(manifest) => manifest.clone(),
    };
    if let Some(label) = manifest.annotations.get(VERSION) {
        return Ok(Some(VersionLabel::Own(label.clone())));
    }
    let Some(config) = unless_missing(registries.small_blob(repository, &manifest.config).await)? else {
        return Ok(None);
    };
    // Something else than an image may stand under a tag: then it has no version.
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    Ok(config["config"]["Labels"][VERSION].as_str().map(|label| VersionLabel::Inheritable(label.to_owned())))
}

fn unless_missing<T>(found: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match found {
        Err(RegistryError::Missing(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// All tags of each repository, if they count.
async fn all_tags(
    registries: &Registries,
    policy: Policy,
    repositories: impl Iterator<Item = &Repository>,
) -> Result<BTreeMap<Repository, Vec<Tag>>, PublishError> {
    let repositories: BTreeSet<&Repository> = repositories.filter(|_| policy == Policy::Guard).collect();
    stream::iter(repositories)
        .map(async |repository| Ok((repository.clone(), registries.tags(repository).await?)))
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}

fn verdict(plan: &Plan, policy: Policy, tags: &BTreeMap<Repository, Vec<Tag>>, rolling: &Rolling<'_>) -> Verdict {
    let published = tags.get(rolling.at.to).map(|tags| exact_versions(plan, rolling.rolling, tags)).unwrap_or_default();
    let situation =
        guard::Situation { series: &rolling.rolling.series, shown: rolling.shown.clone(), published: &published };
    guard::judge(policy, &plan.version, &situation)
}

/// `now` is what the tag names at this moment.
async fn carry_out<'a>(
    registries: &Registries,
    rolling: &Rolling<'a>,
    now: Option<&Digest>,
    verdict: Verdict,
) -> Result<Write<'a>, PublishError> {
    let Rolling { at, rolling: RollingTag { tag, .. }, index, .. } = rolling;
    let (index, outcome) = match verdict {
        Verdict::Keep(reason) => ((*index).clone(), TagOutcome::Kept(reason)),
        Verdict::Move => ((*index).clone(), TagOutcome::of(now, index)),
        Verdict::GiveTo(version, exact) => match registries.find(&at.to.tagged(exact)).await? {
            Some(theirs) if Some(theirs.reference.digest()) == now => {
                (theirs.document, TagOutcome::Kept(format!("shows {version}, which is newer")))
            }
            Some(theirs) => (theirs.document, TagOutcome::GivenTo(version)),
            None => ((*index).clone(), TagOutcome::Kept(format!("{version}, which is newer, was just removed"))),
        },
    };
    Ok(Write { to: at.to, tag, index, outcome })
}
