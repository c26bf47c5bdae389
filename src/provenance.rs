//! When and from what the tool was released: what goes into every image beside the plan, and the release whose notes are
//! written. The event tells it, and what it doesn't tell is asked of GitHub.

use chrono::{DateTime, Utc};

use crate::action::Event;
use crate::api::github::{self, GitHub, Release};
use crate::error::{Fault, Situation};
use crate::image::manifest::Annotations;
use crate::plan::{Plan, RepositoryFacts, labels};

/// The origin of a version.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// When the release was published, or where there is none, when its commit was made. No other time gets into an
    /// image, so that a rerun gives the same bytes.
    pub created: DateTime<Utc>,
    /// The labels of every variant: title, description, url, source, licenses, revision, created.
    pub labels: Annotations,
    /// The release, where there is one.
    pub release: Option<Release>,
}

/// Why the origin isn't known.
#[derive(Debug, thiserror::Error)]
pub enum ProvenanceError {
    /// Not told which repository it is.
    #[error(
        "`GITHUB_REPOSITORY` is not set, so the release can't be found\nhint: run it in a workflow, or set it to `owner/name`"
    )]
    NoRepository,
    /// Neither a release nor a commit with a date.
    #[error("nothing tells when `{0}` was made\nhint: publish a release of it first")]
    NoTime(String),
    /// GitHub doesn't have it, or doesn't tell.
    #[error(transparent)]
    GitHub(#[from] github::Error),
}

impl Situation for ProvenanceError {
    fn fault(&self) -> Fault {
        match self {
            Self::GitHub(error) => error.fault(),
            Self::NoRepository | Self::NoTime(_) => Fault::Input,
        }
    }
}

/// Finds the origin of the plan's version.
///
/// # Errors
/// No such release, tag or repository; GitHub doesn't answer.
pub async fn find(plan: &Plan, event: &Event, github: Option<&GitHub>) -> Result<Provenance, ProvenanceError> {
    let release = find_release(plan, event, github).await?;
    let commit = match (&plan.revision, &release) {
        // A release says nothing of its commit, and may have been made from a tag that was there before.
        (None, Some(release)) => Some(asked(github)?.commit_of_tag(&release.tag_name).await?),
        (None, None) => {
            let tags = plan.release.iter().flat_map(|release| &release.tags);
            Some(first_commit(asked(github)?, tags).await?)
        }
        (Some(_), _) => None,
    };
    let told = plan.release.as_ref().and_then(|release| release.published_at.as_deref()?.parse().ok());
    let published = release.as_ref().and_then(|release| release.published_at).or(told);
    let revision = commit.as_ref().map(|commit| commit.sha.clone()).or(plan.revision.clone()).unwrap_or_default();
    let created = match (published, commit.and_then(|commit| commit.date)) {
        (Some(time), _) | (None, Some(time)) => time,
        (None, None) => {
            let commit = asked(github)?.commit_by_sha(&revision).await?;
            commit.date.ok_or_else(|| ProvenanceError::NoTime(plan.version.to_string()))?
        }
    };
    let facts = match &event.repository {
        Some(facts) => facts.clone(),
        None => facts(asked(github)?.repository().await?),
    };
    let time = created.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    Ok(Provenance { created, labels: labels::labels(&facts, &revision, &time), release })
}

/// The release of the plan's version. Where the event tells all about it, a run that may not ask GitHub goes without.
async fn find_release(plan: &Plan, event: &Event, github: Option<&GitHub>) -> Result<Option<Release>, ProvenanceError> {
    let Some(wanted) = &plan.release else { return Ok(None) };
    if plan.dry_run && wanted.published_at.is_some() {
        return Ok(None);
    }
    let tags: Vec<&str> = wanted.tags.iter().map(String::as_str).collect();
    match asked(github)?.release(&tags).await {
        Ok(release) => Ok(Some(release)),
        // The workflow of a tag may well run before its release is there.
        Err(github::Error::NoRelease { .. }) if event.is_tag() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn asked(github: Option<&GitHub>) -> Result<&GitHub, ProvenanceError> {
    github.ok_or(ProvenanceError::NoRepository)
}

async fn first_commit<'a>(
    github: &GitHub,
    tags: impl Iterator<Item = &'a String>,
) -> Result<github::Commit, ProvenanceError> {
    let mut last = None;
    for tag in tags {
        match github.commit_of_tag(tag).await {
            Ok(commit) => return Ok(commit),
            Err(error @ github::Error::NoTag { .. }) => last = last.or(Some(error)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(last.map_or(ProvenanceError::NoTime("the version".to_owned()), ProvenanceError::GitHub))
}

fn facts(facts: github::Facts) -> RepositoryFacts {
    RepositoryFacts {
        name: facts.name,
        full_name: facts.full_name,
        description: facts.description.unwrap_or_default(),
        html_url: facts.html_url,
        license: facts.license.and_then(|license| license.spdx_id).unwrap_or_default(),
    }
}
