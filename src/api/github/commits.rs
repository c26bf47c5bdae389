//! [Commits](https://docs.github.com/en/rest/commits/commits) and the [tags](https://docs.github.com/en/rest/git/refs) that lead to them.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Error, GitHub};

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its forty digits.
    pub sha: String,
    /// When it was committed.
    pub date: Option<DateTime<Utc>>,
}

impl GitHub {
    /// The commit that `tag` leads to, also through the object of an annotated tag.
    ///
    /// # Errors
    /// No such tag, no answer until the deadline, or a refusal.
    pub async fn commit_of_tag(&self, tag: &str) -> Result<Commit, Error> {
        self.commit(&format!("tags/{tag}"), tag).await
    }

    /// The commit that the first of `tags` that exists leads to, or `None`.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
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
            // 409 is how GitHub says that a repository has no commit yet.
            Err(Error::NotFound { .. } | Error::Refused { status: 409, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A commit by its digits.
    ///
    /// # Errors
    /// No such commit, no answer until the deadline, or a refusal.
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
            // 422 is how GitHub says that a reference leads nowhere.
            Err(Error::NotFound { .. } | Error::Refused { status: 422, .. }) => {
                Err(Error::NoTag { repository: self.repository.clone(), tag: name.to_owned() })
            }
            Err(error) => Err(error),
        }
    }
}
