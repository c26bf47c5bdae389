//! Exact tags: each names one version for ever. They are new, ours, begun or taken.

use std::collections::BTreeMap;

use super::Artifact;
use super::evidence::{Answer, Asker, Kinship, Lack};
use super::verdict::{Image, Reason, Verdict};
use crate::action::inputs::OnConflict;
use crate::image::{Digest, Repository, Tag};

/// The image that an exact tag names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// Nothing, or an image that `on-conflict: replace` gives up.
    Nothing,
    /// The image that this run composes, or the source as it was resolved.
    Ours(Digest),
    /// This release on the base with which an earlier run began it.
    Begun(Digest),
    /// Another image, and why it isn't this release.
    Taken(Digest, String),
    /// The registry didn't answer, for the given reason.
    Unknown(String),
}

impl Named {
    fn unknown(&self) -> Option<&str> {
        if let Self::Unknown(cause) = self { Some(cause) } else { None }
    }
}

/// An artifact's exact tags at all destinations, and the image of this release that they determine.
pub(super) struct Placed {
    named: BTreeMap<(Repository, Tag), Named>,
    pub(super) image: Image,
    composed: Option<Digest>,
}

impl Placed {
    /// Classifies the exact tags. A tag with an open question counts as new; the asker has collected the question.
    pub(super) fn of(asker: &Asker<'_>, artifact: &Artifact) -> Self {
        let mut named = BTreeMap::new();
        let mut image = Image::Composed;
        // If there are several images, the first destination wins, and there the most specific tag.
        for destination in &asker.wanted.destinations {
            for tag in &artifact.tags.exact {
                let kind = name(asker, artifact, destination, tag).unwrap_or_else(|lack| match lack {
                    Lack::Open => Named::Nothing,
                    Lack::Failed(cause) => Named::Unknown(cause),
                });
                if let (Image::Composed, Named::Ours(digest) | Named::Begun(digest)) = (&image, &kind) {
                    image = Image::Published { repository: destination.clone(), digest: digest.clone() };
                }
                named.insert((destination.clone(), tag.clone()), kind);
            }
        }
        Self { named, image, composed: artifact.composed.clone() }
    }

    /// The verdict on an exact tag.
    pub(super) fn verdict(&self, destination: &Repository, tag: &Tag) -> Verdict {
        match self.named(destination, tag) {
            Named::Nothing => Verdict::Write(self.digest()),
            Named::Ours(_) | Named::Begun(_) => Verdict::Right,
            Named::Taken(digest, why) => Verdict::Stays(Reason::Taken { digest: digest.clone(), why: why.clone() }),
            Named::Unknown(cause) => Verdict::Stays(Reason::Unknown(cause.clone())),
        }
    }

    /// The digest that an entry's first exact tag will name at a destination, which its rolling tags follow. `None` before a
    /// variant with `run` lines is built.
    ///
    /// # Errors
    /// Why the entry has no image of this release there.
    pub(super) fn of_entry(
        &self,
        artifact: &Artifact,
        destination: &Repository,
        entry: &str,
    ) -> Result<Option<Digest>, Reason> {
        let of_entry = artifact.tags.exact.iter().filter(|tag| artifact.tags.entry_of(tag) == entry);
        let named: Vec<_> = of_entry.map(|tag| (tag, self.named(destination, tag))).collect();
        if let Some((tag, _)) = named.iter().find(|(_, named)| matches!(named, Named::Taken(..))) {
            return Err(Reason::EntryTaken((*tag).clone()));
        }
        if let Some(cause) = named.iter().find_map(|(_, named)| named.unknown()) {
            return Err(Reason::Unknown(cause.to_owned()));
        }
        Ok(match named.first() {
            Some((_, Named::Ours(digest) | Named::Begun(digest))) => Some(digest.clone()),
            _ => self.digest(),
        })
    }

    fn named(&self, destination: &Repository, tag: &Tag) -> &Named {
        &self.named[&(destination.clone(), tag.clone())]
    }

    /// The digest of this release's image; `None` before a variant with `run` lines is built.
    fn digest(&self) -> Option<Digest> {
        match &self.image {
            Image::Published { digest, .. } => Some(digest.clone()),
            Image::Composed => self.composed.clone(),
        }
    }
}

fn name(asker: &Asker<'_>, artifact: &Artifact, destination: &Repository, tag: &Tag) -> Answer<Named> {
    let Some(digest) = asker.tag(destination, tag)? else { return Ok(Named::Nothing) };
    if [&artifact.composed, &artifact.as_resolved].into_iter().flatten().any(|ours| *ours == digest) {
        return Ok(Named::Ours(digest));
    }
    if asker.wanted.on_conflict == OnConflict::Replace {
        return Ok(Named::Nothing);
    }
    Ok(match asker.kinship(artifact, destination, &digest)? {
        Kinship::Begun => Named::Begun(digest),
        Kinship::Stranger(why) => Named::Taken(digest, why),
    })
}
