//! [Commits](https://docs.github.com/en/rest/commits/commits) and the [tags](https://docs.github.com/en/rest/git/refs)
//! that point at them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Error, GitHub};

/// A commit of the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its full hexadecimal name.
    pub sha: String,
    /// The committer's date.
    pub date: Option<DateTime<Utc>>,
}

impl GitHub {
    /// The commit that `tag` points at, directly or through an annotated tag.
    ///
    /// # Errors
    /// There is no such tag, no answer until the deadline, or a refusal.
    pub async fn commit_of_tag(&self, tag: &str) -> Result<Commit, Error> {
        self.commit(&format!("tags/{tag}"), tag).await
    }

    /// The commit of the first of `tags` that exists, or `None`.
    ///
    /// # Errors
    /// There is no answer until the deadline, or a refusal.
    pub async fn find_commit(&self, tags: &[&str]) -> Result<Option<Commit>, Error> {
        for tag in tags {
            match self.commit_of_tag(tag).await {
                Ok(commit) => return Ok(Some(commit)),
                Err(Error::NoTag { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Whether there is a tag of this name.
    pub(super) async fn has_tag(&self, tag: &str) -> Result<bool, Error> {
        match self.get::<IgnoredAny>(self.url(&["git", "ref", "tags", tag])).await {
            Ok(_) => Ok(true),
            // GitHub answers 409 if a repository has no commits yet.
            Err(Error::NotFound { .. } | Error::Refused { status: 409, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A commit by its full name.
    ///
    /// # Errors
    /// There is no such commit, no answer until the deadline, or a refusal.
    pub async fn commit_by_sha(&self, sha: &str) -> Result<Commit, Error> {
        self.commit(sha, sha).await.map_err(|error| match error {
            Error::NoTag { repository, tag: sha } => Error::NoCommit { repository, sha },
            error => error,
        })
    }

    async fn commit(&self, reference: &str, name: &str) -> Result<Commit, Error> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            commit: Git,
        }
        #[derive(Deserialize)]
        struct Git {
            committer: Option<Committer>,
        }
        #[derive(Deserialize)]
        struct Committer {
            date: Option<DateTime<Utc>>,
        }
        match self.get(self.url(&["commits", reference])).await {
            Ok(Answer { sha, commit }) => Ok(Commit { sha, date: commit.committer.and_then(|by| by.date) }),
            // GitHub answers 422 if a reference points at nothing.
            Err(Error::NotFound { .. } | Error::Refused { status: 422, .. }) => {
                Err(Error::NoTag { repository: self.repository.clone(), tag: name.to_owned() })
            }
            Err(error) => Err(error),
        }
    }
}
