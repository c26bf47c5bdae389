//! Exact tags: each names one version for ever, so one that is taken is a conflict.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::tags::{TagOutcome, Write};
use super::{Artifact, Conflict, PublishError};
use crate::action::inputs::OnConflict;
use crate::api::registry::{Pulled, Registries};
use crate::image::{Digest, Document, Repository, Tag};

/// An artifact at a destination, with the index that its tags are to name there.
#[derive(Clone, Debug)]
pub(super) struct Shelved<'a> {
    pub(super) to: &'a Repository,
    pub(super) artifact: &'a Artifact,
    /// The artifact's own, or the one that its most specific exact tag names already, where that is kept.
    pub(super) index: Document,
    /// The exact tags with what they name now.
    named: Vec<(&'a Tag, Option<Pulled>)>,
    keeps: bool,
}

/// Looks what the exact tags name now, and decides what they are to name. Nothing is changed.
pub(super) async fn shelve<'a>(
    registries: &Registries,
    destinations: &'a [Repository],
    artifacts: &'a [Artifact],
    policy: OnConflict,
) -> Result<(Vec<Shelved<'a>>, Vec<Conflict>), PublishError> {
    let everywhere = destinations.iter().flat_map(|to| artifacts.iter().map(move |artifact| (to, artifact)));
    let mut shelved: Vec<Shelved<'a>> = stream::iter(everywhere)
        .map(async |(to, artifact)| {
            let mut named = Vec::new();
            for tag in &artifact.tags.exact {
                named.push((tag, registries.find(&to.tagged(tag.clone())).await?));
            }
            Ok::<_, PublishError>(Shelved {
                to,
                artifact,
                index: artifact.index.clone(),
                named,
                keeps: policy == OnConflict::Keep,
            })
        })
        .buffered(registries.concurrency())
        .try_collect()
        .await?;
    let conflicts: Vec<Conflict> = shelved.iter().flat_map(Shelved::conflicts).collect();
    match policy {
        OnConflict::Fail if !conflicts.is_empty() => return Err(PublishError::Conflicts(conflicts)),
        OnConflict::Keep => shelved.iter_mut().for_each(Shelved::keep),
        OnConflict::Fail | OnConflict::Replace => {}
    }
    Ok((shelved, conflicts))
}

impl<'a> Shelved<'a> {
    /// The exact tags that name something else than the artifact.
    fn taken(&self) -> impl Iterator<Item = (&'a Tag, &Pulled)> {
        let other = |pulled: &&Pulled| pulled.reference.digest() != self.artifact.index.digest();
        self.named.iter().filter_map(move |(tag, pulled)| Some((*tag, pulled.as_ref().filter(other)?)))
    }

    fn conflicts(&self) -> Vec<Conflict> {
        let conflict = |(tag, pulled): (&Tag, &Pulled)| Conflict {
            reference: self.to.tagged(tag.clone()),
            published: pulled.reference.digest().clone(),
            ours: self.artifact.index.digest().clone(),
        };
        self.taken().map(conflict).collect()
    }

    /// Lets what the most specific tag names already be the artifact. Another one that is taken says less: `0.9.26-alpine` may have
    /// been given to the variant on an older Alpine.
    fn keep(&mut self) {
        if let Some((_, Some(published))) = self.named.first() {
            self.index = published.document.clone();
        }
    }

    /// What the rolling tags of an entry are to name: what its exact tag names.
    pub(super) fn index_of(&self, entry: &str) -> &Document {
        let is_of_entry = |tag: &Tag| self.artifact.tags.reasons.get(tag).is_some_and(|reason| reason.entry == entry);
        let taken = self.named.iter().find(|(tag, _)| is_of_entry(tag)).and_then(|(_, pulled)| pulled.as_ref());
        taken.filter(|_| self.keeps).map_or(&self.index, |pulled| &pulled.document)
    }

    /// Where something else stays published than what was made: the destination and what was made, and what stays.
    pub(super) fn kept(&self) -> Option<((Repository, Digest), Digest)> {
        let (made, stays) = (self.artifact.index.digest(), self.index.digest());
        (made != stays).then(|| ((self.to.clone(), made.clone()), stays.clone()))
    }

    /// The exact tags, to be written.
    pub(super) fn writes(&self) -> impl Iterator<Item = Write<'a>> {
        self.named.iter().map(|(tag, named)| {
            let before = named.as_ref().map(|pulled| pulled.reference.digest());
            let outcome = match TagOutcome::of(before, &self.index) {
                TagOutcome::Moved(digest) if self.keeps => {
                    TagOutcome::Kept(format!("shows {digest} for this version already"))
                }
                outcome => outcome,
            };
            Write { to: self.to, tag, index: self.index.clone(), outcome }
        })
    }
}
