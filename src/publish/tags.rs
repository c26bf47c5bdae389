//! Tags: exact ones, then rolling ones, once all content is readable everywhere.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::guard::{self, Verdict};
use super::{Artifact, Conflict, PublishError};
use crate::action::inputs::{OnConflict, Rolling as Policy};
use crate::api::registry::Registries;
use crate::image::manifest::ManifestOrIndex;
use crate::image::{Digest, Document, Repository, Tag};
use crate::plan::{Plan, RollingTag};
use crate::version::Version;

/// The label and annotation that tell the version of an image.
const VERSION: &str = "org.opencontainers.image.version";

/// What became of a tag at a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagOutcome {
    /// It named this digest before.
    Unchanged,
    /// It is new.
    Created,
    /// It named another digest before.
    Moved(Digest),
    /// It was left alone, for this reason.
    Kept(String),
    /// It belongs to a newer version, and that is what it names now.
    GivenTo(Version),
}

impl fmt::Display for TagOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Created => f.write_str("created"),
            Self::Moved(from) => write!(f, "moved from {from}"),
            Self::Kept(reason) => write!(f, "kept: {reason}"),
            Self::GivenTo(version) => write!(f, "given to {version}, which is newer"),
        }
    }
}

/// The tags of a repository as they are afterwards.
pub type Outcomes = BTreeMap<(Repository, Tag), TagOutcome>;

/// An artifact at a destination, with the index that its tags are to name there.
#[derive(Clone, Debug)]
pub(super) struct Shelved<'a> {
    pub(super) to: &'a Repository,
    pub(super) artifact: &'a Artifact,
    /// The artifact's own, or the one that its exact tags named before, where that is kept.
    pub(super) index: Document,
}

/// A tag to write.
struct Write<'a> {
    to: &'a Repository,
    tag: &'a Tag,
    index: Document,
    outcome: TagOutcome,
}

/// Looks what the exact tags name now, and decides what they are to name. Nothing is changed.
pub(super) async fn shelve<'a>(
    registries: &Registries,
    destinations: &'a [Repository],
    artifacts: &'a [Artifact],
    policy: OnConflict,
) -> Result<(Vec<Shelved<'a>>, Vec<Conflict>), PublishError> {
    let everywhere = destinations.iter().flat_map(|to| artifacts.iter().map(move |artifact| (to, artifact)));
    let looked: Vec<(Shelved<'a>, Option<Conflict>)> = stream::iter(everywhere)
        .map(async |(to, artifact)| {
            let mut shelved = Shelved { to, artifact, index: artifact.index.clone() };
            for tag in &artifact.tags.exact {
                let Some(found) = registries.find(&to.tagged(tag.clone())).await? else { continue };
                if found.reference.digest() == artifact.index.digest() {
                    continue;
                }
                let conflict = Conflict {
                    reference: to.tagged(tag.clone()),
                    published: found.reference.digest().clone(),
                    ours: artifact.index.digest().clone(),
                };
                if policy == OnConflict::Keep {
                    shelved.index = found.document;
                }
                return Ok((shelved, Some(conflict)));
            }
            Ok::<_, PublishError>((shelved, None))
        })
        .buffered(registries.concurrency())
        .try_collect()
        .await?;
    let (shelved, conflicts): (Vec<_>, Vec<_>) = looked.into_iter().unzip();
    let conflicts: Vec<Conflict> = conflicts.into_iter().flatten().collect();
    if policy == OnConflict::Fail && !conflicts.is_empty() {
        return Err(PublishError::Conflicts(conflicts));
    }
    Ok((shelved, conflicts))
}

/// Writes the exact tags.
pub(super) async fn exact(registries: &Registries, shelved: &[Shelved<'_>]) -> Result<Outcomes, PublishError> {
    let tags = shelved.iter().flat_map(|at| at.artifact.tags.exact.iter().map(move |tag| (at, tag)));
    let writes: Vec<Write<'_>> = stream::iter(tags)
        .map(async |(at, tag)| {
            let before = registries.find(&at.to.tagged(tag.clone())).await?;
            let outcome = outcome(before.map(|found| found.reference.digest().clone()), &at.index);
            Ok::<_, PublishError>(Write { to: at.to, tag, index: at.index.clone(), outcome })
        })
        .buffered(registries.concurrency())
        .try_collect()
        .await?;
    write(registries, writes).await
}

fn outcome(before: Option<Digest>, index: &Document) -> TagOutcome {
    match before {
        None => TagOutcome::Created,
        Some(digest) if digest == *index.digest() => TagOutcome::Unchanged,
        Some(digest) => TagOutcome::Moved(digest),
    }
}

/// All at once: while tags are written, and only then, outsiders see some that have moved and some that have not.
async fn write(registries: &Registries, writes: Vec<Write<'_>>) -> Result<Outcomes, PublishError> {
    stream::iter(writes)
        .map(async |write| {
            if matches!(write.outcome, TagOutcome::Created | TagOutcome::Moved(_) | TagOutcome::GivenTo(_)) {
                registries.put_tag(write.to, write.tag, &write.index).await?;
            }
            Ok(((write.to.clone(), write.tag.clone()), write.outcome))
        })
        .buffer_unordered(registries.concurrency())
        .try_collect()
        .await
}

/// A rolling tag at a destination, and what is known about it.
struct Rolling<'a> {
    at: &'a Shelved<'a>,
    rolling: &'a RollingTag,
    before: Option<Digest>,
    shown: Option<Version>,
}

/// How often the tags of a repository are looked at again after rolling tags have moved. Each time that more is found
/// another run has finished in between.
const LOOKS: usize = 5;

/// Moves the rolling tags that are this version's to move, then looks again whether they still are.
pub(super) async fn rolling(
    registries: &Registries,
    plan: &Plan,
    policy: Policy,
    shelved: &[Shelved<'_>],
) -> Result<Outcomes, PublishError> {
    let tags = shelved.iter().flat_map(|at| at.artifact.tags.rolling.iter().map(move |rolling| (at, rolling)));
    let found: Vec<Rolling<'_>> = stream::iter(tags)
        .map(async |(at, rolling)| look(registries, plan, at, rolling).await)
        .buffered(registries.concurrency())
        .try_collect()
        .await?;
    let mut outcomes = Outcomes::new();
    let mut judged = BTreeMap::new();
    for _ in 0..LOOKS {
        let exact = exact_tags(registries, shelved).await?;
        let mut writes = Vec::new();
        for (number, rolling) in found.iter().enumerate() {
            let verdict = verdict(plan, policy, &exact, rolling);
            // The first look decides about all of them, a later one only about what has changed since.
            if judged.insert(number, verdict.clone()).as_ref() == Some(&verdict) {
                continue;
            }
            writes.push(carry_out(registries, rolling, verdict).await?);
        }
        if writes.is_empty() {
            break;
        }
        outcomes.extend(write(registries, writes).await?);
    }
    for at in shelved {
        let kept = at.artifact.tags.kept.iter();
        outcomes.extend(kept.map(|kept| ((at.to.clone(), kept.tag.clone()), TagOutcome::Kept(kept.reason.clone()))));
    }
    Ok(outcomes)
}

async fn look<'a>(
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

/// What an image says about its version: the annotation of its index or manifest, else the label of its config.
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
            match registries.manifest(&repository.pinned(first.digest.clone())).await?.content {
                ManifestOrIndex::Manifest(manifest) => manifest,
                ManifestOrIndex::Index(_) => return Ok(None),
            }
        }
        ManifestOrIndex::Manifest(manifest) => manifest.clone(),
    };
    if let Some(label) = manifest.annotations.get(VERSION) {
        return Ok(Some(label.clone()));
    }
    let config = registries.small_blob(repository, &manifest.config).await?;
    // Something else than an image may stand under a tag: then it has no version.
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    Ok(config["config"]["Labels"][VERSION].as_str().map(str::to_owned))
}

/// The tags of each repository.
async fn exact_tags(
    registries: &Registries,
    shelved: &[Shelved<'_>],
) -> Result<BTreeMap<Repository, Vec<Tag>>, PublishError> {
    let repositories: std::collections::BTreeSet<&Repository> = shelved.iter().map(|at| at.to).collect();
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

async fn carry_out<'a>(
    registries: &Registries,
    rolling: &Rolling<'a>,
    verdict: Verdict,
) -> Result<Write<'a>, PublishError> {
    let Rolling { at, rolling: RollingTag { tag, .. }, before, .. } = rolling;
    let (index, outcome) = match verdict {
        Verdict::Keep(reason) => (at.index.clone(), TagOutcome::Kept(reason)),
        Verdict::Move => (at.index.clone(), outcome(before.clone(), &at.index)),
        Verdict::GiveTo(version, exact) => match registries.find(&at.to.tagged(exact)).await? {
            Some(theirs) if Some(theirs.reference.digest()) == before.as_ref() => {
                (theirs.document, TagOutcome::Kept(format!("shows {version}, which is newer")))
            }
            Some(theirs) => (theirs.document, TagOutcome::GivenTo(version)),
            None => (at.index.clone(), TagOutcome::Kept(format!("{version}, which is newer, was just removed"))),
        },
    };
    Ok(Write { to: at.to, tag, index, outcome })
}
