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
    /// The artifact's own, or the one that its exact tags name already, where that is kept.
    pub(super) index: Document,
    /// The exact tags with what they name now.
    named: Vec<(&'a Tag, Option<Pulled>)>,
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
            Ok::<_, PublishError>(Shelved { to, artifact, index: artifact.index.clone(), named })
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

    /// Lets all tags of the artifact name what the most specific one that is taken names, so that they agree.
    fn keep(&mut self) {
        let published = self.taken().next().map(|(_, pulled)| pulled.document.clone());
        if let Some(published) = published {
            self.index = published;
        }
    }

    /// Where something else stays published than what was made: the destination and what was made, and what stays.
    pub(super) fn kept(&self) -> Option<((Repository, Digest), Digest)> {
        let (made, stays) = (self.artifact.index.digest(), self.index.digest());
        (made != stays).then(|| ((self.to.clone(), made.clone()), stays.clone()))
    }

    /// The exact tags, to be written.
    pub(super) fn writes(&self) -> impl Iterator<Item = Write<'a>> {
        self.named.iter().map(|(tag, named)| Write {
            to: self.to,
            tag,
            index: self.index.clone(),
            outcome: TagOutcome::of(named.as_ref().map(|pulled| pulled.reference.digest()), &self.index),
        })
    }
}
