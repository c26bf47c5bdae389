//! [Releases](https://docs.github.com/en/rest/releases/releases).

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Error, GitHub};

/// A release, as far as we look at it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// Its tag, as written.
    pub tag_name: String,
    /// Its notes.
    #[serde(default, deserialize_with = "empty_for_null")]
    pub body: String,
    /// Whether it isn't published yet.
    pub draft: bool,
    /// Whether it is marked as a pre-release.
    pub prerelease: bool,
    /// When it was published; `None` for a draft.
    pub published_at: Option<DateTime<Utc>>,
    /// Its page.
    pub html_url: String,
    /// The branch or commit that its tag was to be made from.
    pub target_commitish: String,
}

impl GitHub {
    /// The published release of `tag`, or `None`. Drafts have no tag yet.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn release_by_tag(&self, tag: &str) -> Result<Option<Release>, Error> {
        match self.get(self.url(&["releases", "tags", tag])).await {
            Ok(release) => Ok(Some(release)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The release of the first of `tags` that has one.
    ///
    /// # Errors
    /// [`Error::NoRelease`], with all that was looked for, beside those of [`Self::release_by_tag`].
    pub async fn release(&self, tags: &[&str]) -> Result<Release, Error> {
        for tag in tags {
            if let Some(release) = self.release_by_tag(tag).await? {
                return Ok(release);
            }
        }
        let tags = tags.iter().map(ToString::to_string).collect();
        Err(Error::NoRelease { repository: self.repository.clone(), tags, anonymous: self.anonymous })
    }

    /// The releases published before `release`, the newest first; at most the hundred that GitHub lists on its first page.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn previous_releases(&self, release: &Release) -> Result<Vec<Release>, Error> {
        let mut url = self.url(&["releases"]);
        url.query_pairs_mut().append_pair("per_page", "100");
        let mut releases: Vec<Release> = self.get(url).await?;
        releases.retain(|other| {
            other.id != release.id && !other.draft && other.published_at.is_some()
                // A draft that is about to be published comes after all that are.
                && release.published_at.is_none_or(|published| other.published_at <= Some(published))
        });
        releases.sort_by_key(|release| std::cmp::Reverse(release.published_at));
        Ok(releases)
    }
}

/// GitHub writes empty notes as `null`.
fn empty_for_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
