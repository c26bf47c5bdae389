//! What becomes of tags, and writing them.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::{StreamExt as _, stream};

use super::PublishError;
use crate::action::Log;
use crate::api::registry::Registries;
use crate::image::{Digest, Document, Repository, Tag};
use crate::version::Version;

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

/// A tag to write.
#[derive(Clone, Debug)]
pub(super) struct Write<'a> {
    pub(super) to: &'a Repository,
    pub(super) tag: &'a Tag,
    pub(super) index: Document,
    pub(super) outcome: TagOutcome,
}

impl TagOutcome {
    /// What becomes of a tag that named `before` and is to name `index`.
    pub(super) fn of(before: Option<&Digest>, index: &Document) -> Self {
        match before {
            None => Self::Created,
            Some(digest) if digest == index.digest() => Self::Unchanged,
            Some(digest) => Self::Moved(digest.clone()),
        }
    }
}

/// What came of writing tags.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) outcomes: Outcomes,
    /// The first that couldn't be written.
    pub(super) failure: Option<PublishError>,
}

impl Written {
    /// # Errors
    /// One of the tags couldn't be written.
    pub(super) fn all(self) -> Result<Outcomes, PublishError> {
        self.failure.map_or(Ok(self.outcomes), Err)
    }
}

/// Writes tags, and tells of each when it is written. All at once: while tags are written, and only then, outsiders see some that
/// have moved and some that have not. One that can't be written is no reason to leave the others as they are.
pub(super) async fn write(registries: &Registries, log: &Log, writes: impl IntoIterator<Item = Write<'_>>) -> Written {
    let results: Vec<Result<_, PublishError>> = stream::iter(writes)
        .map(async |write| {
            if matches!(write.outcome, TagOutcome::Created | TagOutcome::Moved(_) | TagOutcome::GivenTo(_)) {
                registries.put_tag(write.to, write.tag, &write.index).await?;
            }
            log.image(&write.to.tagged(write.tag.clone()), None, &write.outcome.to_string());
            Ok(((write.to.clone(), write.tag.clone()), write.outcome))
        })
        .buffer_unordered(registries.concurrency())
        .collect()
        .await;
    let mut written = Written { outcomes: Outcomes::new(), failure: None };
    for result in results {
        match result {
            Ok((tag, outcome)) => drop(written.outcomes.insert(tag, outcome)),
            Err(error) => written.failure = written.failure.or(Some(error)),
        }
    }
    written
}
