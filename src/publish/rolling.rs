//! Rolling tags: looked at before the exact tags are written, moved right after, and looked at once more.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::PublishError;
use super::exact::Shelved;
use super::guard::{self, Verdict};
use super::tags::{Outcomes, TagOutcome, Write, write};
use crate::action::Log;
use crate::action::inputs::Rolling as Policy;
use crate::api::registry::{Pulled, Registries, RegistryError};
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Digest, Repository, Tag};
use crate::plan::{Plan, RollingTag};
use crate::version::Version;

/// The label and annotation that tell the version of an image.
const VERSION: &str = "org.opencontainers.image.version";

/// A rolling tag at a destination, and what is known about it.
#[derive(Debug)]
pub(super) struct Rolling<'a> {
    at: &'a Shelved<'a>,
    rolling: &'a RollingTag,
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
    shelved: &'a [Shelved<'a>],
) -> Result<Vec<Rolling<'a>>, PublishError> {
    let tags = shelved.iter().flat_map(|at| at.artifact.tags.rolling.iter().map(move |rolling| (at, rolling)));
    stream::iter(tags)
        .map(async |(at, rolling)| look_at(registries, plan, at, rolling).await)
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
    for _ in 0..LOOKS {
        let tags = all_tags(registries, found).await?;
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
        outcomes.extend(write(registries, log, writes).await?);
    }
    Ok(outcomes)
}

/// The rolling tags that don't go to this version, whatever the registry has.
pub(super) fn withheld(shelved: &[Shelved<'_>]) -> Outcomes {
    let kept = shelved.iter().flat_map(|at| at.artifact.tags.kept.iter().map(move |kept| (at.to, kept)));
    kept.map(|(to, kept)| ((to.clone(), kept.tag.clone()), TagOutcome::Kept(kept.reason.clone()))).collect()
}

async fn look_at<'a>(
    registries: &Registries,
    plan: &Plan,
    at: &'a Shelved<'a>,
    rolling: &'a RollingTag,
) -> Result<Rolling<'a>, PublishError> {
    let Some(found) = registries.find(&at.to.tagged(rolling.tag.clone())).await? else {
        return Ok(Rolling { at, rolling, before: None, shown: None });
    };
    let before = found.reference.digest().clone();
    let shown = if before == *at.index.digest() {
        Some(plan.version.clone())
    } else {
        let label = version_label(registries, at.to, &found.content).await?;
        label.and_then(|label| version_of(plan, &label))
    };
    Ok(Rolling { at, rolling, before: Some(before), shown })
}

/// The version in a label such as `0.9.26-alpine3.22`, also where this plan's variants have no such entry any more.
fn version_of(plan: &Plan, label: &str) -> Option<Version> {
    let known = plan.exact_tags.read(label).or_else(|| plan.source_exact_tags.read(label));
    let (first, _) = label.split_once('-').unwrap_or((label, ""));
    known.map(|(version, _)| version).or_else(|| first.parse().ok())
}

/// What an image says about its version: the annotation of its index or manifest, else the label of its config. One of which
/// parts are gone, as after somebody's cleaning up, says nothing.
async fn version_label(
    registries: &Registries,
    repository: &Repository,
    content: &ManifestOrIndex,
) -> Result<Option<String>, PublishError> {
    let manifest = match content {
        ManifestOrIndex::Index(index) => {
            if let Some(label) = index.annotations.get(VERSION) {
                return Ok(Some(label.clone()));
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
        return Ok(Some(label.clone()));
    }
    let Some(config) = unless_missing(registries.small_blob(repository, &manifest.config).await)? else {
        return Ok(None);
    };
    // Something else than an image may stand under a tag: then it has no version.
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    Ok(config["config"]["Labels"][VERSION].as_str().map(str::to_owned))
}

fn unless_missing<T>(found: Result<T, RegistryError>) -> Result<Option<T>, RegistryError> {
    match found {
        Err(RegistryError::Missing(_)) => Ok(None),
        found => found.map(Some),
    }
}

/// All tags of each repository.
async fn all_tags(
    registries: &Registries,
    found: &[Rolling<'_>],
) -> Result<BTreeMap<Repository, Vec<Tag>>, PublishError> {
    let repositories: BTreeSet<&Repository> = found.iter().map(|rolling| rolling.at.to).collect();
    stream::iter(repositories)
        .map(async |repository| Ok((repository.clone(), registries.tags(repository).await?)))
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}

fn verdict(plan: &Plan, policy: Policy, tags: &BTreeMap<Repository, Vec<Tag>>, rolling: &Rolling<'_>) -> Verdict {
    let readers = [&plan.exact_tags, &plan.source_exact_tags];
    let reader = readers[usize::from(rolling.rolling.entry.is_empty())];
    let published = reader.read_all(tags.get(rolling.at.to).into_iter().flatten());
    let situation = guard::Situation {
        series: &rolling.rolling.series,
        shown: rolling.shown.clone(),
        published: published.get(rolling.rolling.entry.as_str()).map_or(&[], Vec::as_slice),
    };
    guard::judge(policy, &plan.version, &situation)
}

/// `now` is what the tag names at this moment.
async fn carry_out<'a>(
    registries: &Registries,
    rolling: &Rolling<'a>,
    now: Option<&Digest>,
    verdict: Verdict,
) -> Result<Write<'a>, PublishError> {
    let Rolling { at, rolling: RollingTag { tag, .. }, .. } = rolling;
    let (index, outcome) = match verdict {
        Verdict::Keep(reason) => (at.index.clone(), TagOutcome::Kept(reason)),
        Verdict::Move => (at.index.clone(), TagOutcome::of(now, &at.index)),
        Verdict::GiveTo(version, exact) => match registries.find(&at.to.tagged(exact)).await? {
            Some(theirs) if Some(theirs.reference.digest()) == now => {
                (theirs.document, TagOutcome::Kept(format!("shows {version}, which is newer")))
            }
            Some(theirs) => (theirs.document, TagOutcome::GivenTo(version)),
            None => (at.index.clone(), TagOutcome::Kept(format!("{version}, which is newer, was just removed"))),
        },
    };
    Ok(Write { to: at.to, tag, index, outcome })
}
