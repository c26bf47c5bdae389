//! [Releases](https://docs.github.com/en/rest/releases/releases), and what a version counts as by them.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Error, GitHub};
use crate::ownership::Standing;

/// How many pages of a hundred releases are looked through for drafts. GitHub lists the newest first.
const DRAFT_PAGES: usize = 3;
/// The most releases that GitHub gives at once.
const PER_PAGE: usize = 100;

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
        self.find_release(tags).await?.ok_or_else(|| {
            let tags = tags.iter().map(ToString::to_string).collect();
            Error::NoRelease { repository: self.repository.clone(), tags, anonymous: self.anonymous }
        })
    }

    /// The published release of the first of `tags` that has one, or `None`.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn find_release(&self, tags: &[&str]) -> Result<Option<Release>, Error> {
        for tag in tags {
            if let Some(release) = self.release_by_tag(tag).await? {
                return Ok(Some(release));
            }
        }
        Ok(None)
    }

    /// What the version is whose tag has one of these spellings (`1.2.3`, `v1.2.3`). The first spelling counts that has a
    /// release, a tag, or a draft that is marked as a pre-release. Drafts are seen with a token that may write, and among the 300
    /// newest releases; they are read once.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn standing(&self, tags: &[&str]) -> Result<Standing, Error> {
        for tag in tags {
            match self.release_by_tag(tag).await? {
                Some(release) if release.prerelease => return Ok(Standing::Prerelease),
                Some(_) => return Ok(Standing::Final),
                None => {}
            }
            let drafts = self.drafts.get_or_try_init(|| self.list_drafts()).await?;
            if drafts.iter().any(|draft| draft.prerelease && draft.tag_name == *tag) {
                return Ok(Standing::Prerelease);
            }
            if self.has_tag(tag).await? {
                return Ok(Standing::Tagged);
            }
        }
        Ok(Standing::Absent)
    }

    /// The drafts that the token may see.
    async fn list_drafts(&self) -> Result<Vec<Release>, Error> {
        let mut drafts = Vec::new();
        if self.anonymous {
            return Ok(drafts);
        }
        for page in 1..=DRAFT_PAGES {
            let releases = self.list_releases(page).await?;
            let is_last = releases.len() < PER_PAGE;
            drafts.extend(releases.into_iter().filter(|release| release.draft));
            if is_last {
                break;
            }
        }
        Ok(drafts)
    }

    /// A page of releases, counted from 1.
    async fn list_releases(&self, page: usize) -> Result<Vec<Release>, Error> {
        let mut url = self.url(&["releases"]);
        url.query_pairs_mut().append_pair("per_page", &PER_PAGE.to_string());
        if page > 1 {
            url.query_pairs_mut().append_pair("page", &page.to_string());
        }
        self.get(url).await
    }

    /// The releases published before `release`, or until now without one, the newest first; at most the hundred that GitHub lists on its first page.
    ///
    /// # Errors
    /// No answer until the deadline, or a refusal.
    pub async fn previous_releases(&self, release: Option<&Release>) -> Result<Vec<Release>, Error> {
        let mut releases = self.list_releases(1).await?;
        releases.retain(|other| {
            let comes_before = |release: &Release| {
                // A draft that is about to be published comes after all that are.
                other.id != release.id
                    && release.published_at.is_none_or(|published| other.published_at <= Some(published))
            };
            !other.draft && other.published_at.is_some() && release.is_none_or(comes_before)
        });
        releases.sort_by_key(|release| std::cmp::Reverse(release.published_at));
        Ok(releases)
    }
}

/// GitHub writes empty notes as `null`.
fn empty_for_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
