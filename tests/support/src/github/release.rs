//! The state of the stand-in: releases, their tags and commits.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its id; 0 until the stand-in assigns one.
    pub id: u64,
    /// The name of its tag.
    pub tag: String,
    /// Its title.
    pub name: String,
    /// Its notes.
    pub body: String,
    /// Whether it is a draft, which has no tag yet.
    pub draft: bool,
    /// Whether it is a pre-release.
    pub prerelease: bool,
    /// The branch for creating the tag.
    pub target: String,
    /// The date of the tagged commit, RFC 3339.
    pub created_at: String,
    /// When it was published, RFC 3339.
    pub published_at: String,
    /// The commit that the tag points at.
    pub commit: String,
    /// The tag object's name, for an annotated tag.
    pub tag_object: Option<String>,
}

impl Release {
    /// A published release of `tag`, with that title, with notes in the style of cargo-dist, and with a lightweight
    /// tag. Equal tags give equal releases.
    pub fn new(tag: &str) -> Self {
        let body = format!(
            "## Release Notes\r\n\r\n### Bug fixes\r\n\r\n- Keep what comes after the notes\r\n\r\n## Install {tag}\r\n\r\n```sh\r\ncurl -LsSf https://example.org/{tag}/install.sh | sh\r\n```\r\n"
        );
        Self {
            id: 0,
            tag: tag.into(),
            name: tag.into(),
            body,
            draft: false,
            prerelease: false,
            target: "main".into(),
            created_at: "2026-01-15T20:50:55Z".into(),
            published_at: "2026-01-15T20:53:11Z".into(),
            commit: object_name(&format!("commit {tag}")),
            tag_object: None,
        }
    }

    /// Sets the notes.
    #[must_use]
    pub fn body(mut self, body: &str) -> Self {
        self.body = body.into();
        self
    }

    /// Makes it a draft.
    #[must_use]
    pub fn draft(mut self) -> Self {
        self.draft = true;
        self
    }

    /// Makes it a pre-release.
    #[must_use]
    pub fn prerelease(mut self) -> Self {
        self.prerelease = true;
        self
    }

    /// Makes its tag an annotated one: `git/ref/tags/…` then points at a tag object.
    #[must_use]
    pub fn annotated(mut self) -> Self {
        self.tag_object = Some(object_name(&format!("tag {}", self.tag)));
        self
    }

    /// Sets the date of publication (RFC 3339), which is also the commit's.
    #[must_use]
    pub fn published_at(mut self, date: &str) -> Self {
        self.published_at = date.into();
        self.created_at = date.into();
        self
    }

    /// Sets the tag's commit.
    #[must_use]
    pub fn commit(mut self, sha: &str) -> Self {
        self.commit = sha.into();
        self
    }
}

/// The current time in GitHub's format.
pub(super) fn now() -> String {
    DateTime::<Utc>::from(std::time::SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A name like those of git's objects, derived from a text.
pub(super) fn object_name(text: &str) -> String {
    crate::image::digest(text.as_bytes())["sha256:".len()..][..40].to_owned()
}
