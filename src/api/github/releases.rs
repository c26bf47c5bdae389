//! [Releases](https://docs.github.com/en/rest/releases/releases), and the standing of a version that follows from them.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Error, GitHub};
use crate::ownership::Standing;

/// How many pages of a hundred releases are searched for drafts. GitHub lists the newest first.
const DRAFT_PAGES: usize = 3;
/// The largest page that GitHub sends.
const PER_PAGE: usize = 100;

/// The fields of a release that we use.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Release {
    /// GitHub's id of the release.
    pub id: u64,
    /// The name of its tag: `v0.9.26`.
    pub tag_name: String,
    /// The notes, as Markdown.
    #[serde(default, deserialize_with = "empty_for_null")]
    pub body: String,
    /// Whether it is unpublished.
    pub draft: bool,
    /// Whether it is marked as a pre-release.
    pub prerelease: bool,
    /// When it was published; `None` for a draft.
    pub published_at: Option<DateTime<Utc>>,
    /// The address of its page.
    pub html_url: String,
    /// The branch or commit for creating its tag.
    pub target_commitish: String,
}

impl GitHub {
    /// The published release of `tag`, or `None`. Drafts have no tags yet.
    ///
    /// # Errors
    /// There is no answer until the deadline, or a refusal.
    pub async fn release_by_tag(&self, tag: &str) -> Result<Option<Release>, Error> {
        match self.get(self.url(&["releases", "tags", tag])).await {
            Ok(release) => Ok(Some(release)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The published release of the first of `tags` that has one.
    ///
    /// # Errors
    /// [`Error::NoRelease`] with all of `tags`, and the errors of [`Self::release_by_tag`].
    pub async fn release(&self, tags: &[&str]) -> Result<Release, Error> {
        self.find_release(tags).await?.ok_or_else(|| {
            let tags = tags.iter().map(ToString::to_string).collect();
            Error::NoRelease { repository: self.repository.clone(), tags, anonymous: self.anonymous }
        })
    }

    /// The published release of the first of `tags` that has one, or `None`.
    ///
    /// # Errors
    /// There is no answer until the deadline, or a refusal.
    pub async fn find_release(&self, tags: &[&str]) -> Result<Option<Release>, Error> {
        for tag in tags {
            if let Some(release) = self.release_by_tag(tag).await? {
                return Ok(Some(release));
            }
        }
        Ok(None)
    }

    /// The standing of the version whose tag has one of these spellings (`1.2.3`, `v1.2.3`). It is that of the first
    /// spelling with a release, a tag, or a draft marked as a pre-release. Drafts are read once, and found only among
    /// the 300 newest releases, with a token that may write.
    ///
    /// # Errors
    /// There is no answer until the deadline, or a refusal.
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

    /// The drafts that the token can see.
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

    /// The releases published before `release` (or all without one), newest first: at most the hundred on GitHub's
    /// first page.
    ///
    /// # Errors
    /// There is no answer until the deadline, or a refusal.
    pub async fn previous_releases(&self, release: Option<&Release>) -> Result<Vec<Release>, Error> {
        let mut releases = self.list_releases(1).await?;
        releases.retain(|other| {
            let comes_before = |release: &Release| {
                // A draft that is about to be published comes after all published releases.
                other.id != release.id
                    && release.published_at.is_none_or(|published| other.published_at <= Some(published))
            };
            !other.draft && other.published_at.is_some() && release.is_none_or(comes_before)
        });
        releases.sort_by_key(|release| std::cmp::Reverse(release.published_at));
        Ok(releases)
    }
}

/// GitHub returns empty notes as `null`.
fn empty_for_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
