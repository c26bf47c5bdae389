//! Facts about the tool, for labels and annotations: its vendor, its commit, its date and the like.
//!
//! The same sources, bases and plan give the same bytes, so facts don't depend on the event, the release, the clock or
//! the machine. Each fact comes from the first of these that has it: an input (`labels`, `annotations`, `revision`,
//! `created`, `repository-url`), the source image, GitHub; without GitHub, the variables of another forge, then the git
//! work tree. An unknown fact is left out, and the base's own value is dropped as well. A source of facts that doesn't
//! answer is an error: leaving its facts out would change the digest.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, TimeZone as _, Utc};
use tokio::sync::OnceCell;

use crate::action::Event;
use crate::api::github::{self, GitHub, Release, Standing};
use crate::error::{Fault, StageError};
use crate::hint::{Hinted, Hints};
use crate::image::manifest::Annotations;
use crate::image::{Config, Digest, Reference};
use crate::plan::{Plan, RepositoryFacts};
use crate::troubleshooting::Topic;
use crate::work_tree::{Unreadable, WorkTree};

/// The facts, by their [pre-defined keys](https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md) of
/// the image specification without the common prefix.
pub const KEYS: [&str; 9] =
    ["created", "description", "documentation", "licenses", "revision", "source", "title", "url", "vendor"];

/// Facts about the commit, and facts about its repository.
const OF_COMMIT: [&str; 2] = ["revision", "created"];
const OF_REPOSITORY: [&str; 5] = ["description", "licenses", "source", "title", "url"];

/// The annotation and label with the version: `0.9.26-alpine3.23`.
pub const VERSION: &str = "org.opencontainers.image.version";

/// The annotation and label with the digest of the base.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// The annotation and label with the name of the base.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";

const PREFIX: &str = "org.opencontainers.image.";

/// Earlier dates are placeholders: some builders write 1970 (the Unix epoch) or 1980 (the earliest date of zip files)
/// into configs.
const EARLIEST: i32 = 1990;

/// Whether a label or an annotation of this name holds a fact.
#[must_use]
pub fn is_fact(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|key| KEYS.contains(&key))
}

/// The facts about the tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The facts as labels and annotations.
    pub labels: Annotations,
    /// The date for the image's config.
    pub created: Option<DateTime<Utc>>,
}

/// Facts that inputs state. They override the facts in the source image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// The tool's repository.
    pub repository: Option<RepositoryFacts>,
    /// The commit that the version was made from.
    pub revision: Option<String>,
    /// When the version was made.
    pub created: Option<DateTime<Utc>>,
}

/// Why a fact can't be determined.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The event's release doesn't exist.
    #[error("release `{0}` no longer exists")]
    NoRelease(String),
    /// GitHub doesn't answer, or refuses.
    #[error(transparent)]
    GitHub(#[from] github::Error),
    /// The work tree.
    #[error(transparent)]
    WorkTree(#[from] Unreadable),
}

impl Hinted for FactsError {
    fn hints(&self) -> Hints {
        match self {
            Self::NoRelease(_) => "publish it again, or dispatch the workflow with its version".into(),
            Self::GitHub(error) => error.hints(),
            Self::WorkTree(error) => error.hints(),
        }
    }
}

impl StageError for FactsError {
    fn topic(&self) -> Topic {
        match self {
            Self::NoRelease(_) => Topic::Release,
            Self::GitHub(error) => error.topic(),
            Self::WorkTree(error) => error.topic(),
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::GitHub(error) => error.fault(),
            Self::WorkTree(error) => error.fault(),
            Self::NoRelease(_) => Fault::Input,
        }
    }
}

/// The facts in the source image: annotations of its index, else labels of its config. For `created`, the config's
/// field counts as well, if it is from 1990 or later.
#[must_use]
pub fn of_source(annotations: &Annotations, config: &Config) -> Facts {
    let labels = config.labels();
    let says = |key: &&str| {
        let name = format!("{PREFIX}{key}");
        let value = annotations.get(&name).or_else(|| labels.get(&name)).filter(|value| !value.is_empty())?;
        Some((name, value.clone()))
    };
    let mut facts = Facts { labels: KEYS.iter().filter_map(says).collect(), created: None };
    let name = format!("{PREFIX}created");
    let said =
        facts.labels.get(&name).and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(|time| time.to_utc());
    let earliest = Utc.with_ymd_and_hms(EARLIEST, 1, 1, 0, 0, 0).earliest();
    let field = || config.created().filter(|created| Some(*created) >= earliest);
    facts.created = said.or_else(field);
    if !facts.labels.contains_key(&name) {
        facts.labels.extend(facts.created.map(|created| (name, rfc3339(created))));
    }
    facts
}

/// The facts about the base among annotations or labels.
#[must_use]
pub fn of_base(says: &Annotations) -> Annotations {
    let of_base =
        says.iter().filter(|(name, value)| [BASE_NAME, BASE_DIGEST].contains(&name.as_str()) && !value.is_empty());
    of_base.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A time as it is written into images: RFC 3339 in UTC, to the second.
#[must_use]
pub fn rfc3339(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Labels that describe only the base and are dropped: all facts but `vendor`, and the version.
#[must_use]
pub fn of_the_base_alone() -> BTreeSet<String> {
    let keys = KEYS.iter().filter(|key| **key != "vendor").map(|key| format!("{PREFIX}{key}"));
    keys.chain([VERSION, BASE_DIGEST, BASE_NAME].map(str::to_owned)).collect()
}

/// Facts about the tool from GitHub, another forge or the work tree. Each of them is asked when a fact is first
/// missing, and once in a run.
pub struct Teller<'a> {
    plan: &'a Plan,
    event: &'a Event,
    github: Option<&'a GitHub>,
    commit: OnceCell<MadeFrom>,
    repository: OnceCell<RepositoryFacts>,
}

impl<'a> Teller<'a> {
    /// Prepares to ask; nothing is requested yet.
    #[must_use]
    pub fn new(plan: &'a Plan, event: &'a Event, github: Option<&'a GitHub>) -> Self {
        Self { plan, event, github, commit: OnceCell::new(), repository: OnceCell::new() }
    }

    /// Completes the source's facts with those that the inputs state, then with those of GitHub, the forge or the work
    /// tree.
    ///
    /// # Errors
    /// GitHub doesn't answer, or doesn't know the repository or the commit; the work tree can't be read.
    pub async fn complete(&self, mut facts: Facts) -> Result<Facts, FactsError> {
        facts.state(&self.plan.stated);
        if facts.lacks(&OF_COMMIT) {
            let commit = self.commit.get_or_try_init(|| commit(self.plan, self.event, self.github)).await?;
            facts.learn("revision", commit.revision.clone());
            facts.created = facts.created.or(commit.date);
            facts.learn("created", facts.created.map(rfc3339));
        }
        if facts.lacks(&OF_REPOSITORY) {
            let repository = self.repository.get_or_try_init(|| self.ask_for_repository()).await?;
            for (key, value) in [
                ("description", &repository.description),
                ("licenses", &repository.license),
                ("source", &repository.html_url),
                ("title", &repository.name),
                ("url", &repository.html_url),
            ] {
                facts.learn(key, Some(value.clone()));
            }
        }
        Ok(facts)
    }

    /// Asks GitHub, because the event's payload may be outdated when a run is repeated. A dry run may lack the
    /// permission.
    async fn ask_for_repository(&self) -> Result<RepositoryFacts, FactsError> {
        match (self.github, &self.event.repository) {
            (Some(github), told) => match (github.repository().await, told) {
                (Ok(found), _) => Ok(repository(found)),
                (Err(_), Some(told)) if self.plan.dry_run => Ok(told.clone()),
                (Err(error), _) => Err(error.into()),
            },
            (None, Some(told)) => Ok(told.clone()),
            (None, None) => elsewhere(self.plan, self.event),
        }
    }
}

impl Facts {
    /// Whether every fact that GitHub could add is known.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.lacks(&OF_COMMIT) && !self.lacks(&OF_REPOSITORY)
    }

    fn lacks(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| !self.labels.contains_key(&format!("{PREFIX}{key}")))
    }

    /// These facts, completed from `general`.
    #[must_use]
    pub fn or(mut self, general: &Self) -> Self {
        for (name, value) in &general.labels {
            self.labels.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.created = self.created.or(general.created);
        self
    }

    /// Sets the facts that inputs state.
    pub fn state(&mut self, stated: &Stated) {
        let address = stated.repository.as_ref().map(|repository| repository.html_url.clone());
        self.created = stated.created.or(self.created);
        for (key, value) in [
            ("revision", stated.revision.clone()),
            ("created", stated.created.map(rfc3339)),
            ("source", address.clone()),
            ("url", address),
        ] {
            if let Some(value) = value {
                self.labels.insert(format!("{PREFIX}{key}"), value);
            }
        }
    }

    fn learn(&mut self, key: &str, value: Option<String>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.labels.entry(format!("{PREFIX}{key}")).or_insert(value);
        }
    }
}

/// The commit that the version was made from.
#[derive(Default)]
struct MadeFrom {
    revision: Option<String>,
    date: Option<DateTime<Utc>>,
}

/// The commit that the inputs state, else the one of the version's tag, else the one of the run.
async fn commit(plan: &Plan, event: &Event, github: Option<&GitHub>) -> Result<MadeFrom, FactsError> {
    let of_run = plan.revision.as_ref().or(event.commit.as_ref());
    let tags: Vec<&str> = plan.release.iter().flat_map(|release| &release.tags).map(String::as_str).collect();
    let (tags, commit) = match &plan.stated.revision {
        Some(stated) => (Vec::new(), Some(stated)),
        None => (tags, of_run),
    };
    let found = match (github, &event.work_tree) {
        (Some(github), _) => match (github.find_commit(&tags).await?, commit) {
            (Some(found), _) => Some((found.sha, found.date)),
            (None, Some(sha)) => github.commit_by_sha(sha).await.map(|found| Some((found.sha, found.date)))?,
            (None, None) => None,
        },
        (None, Some(tree)) => tree.commit(&tags, commit.map(String::as_str))?.map(|found| (found.sha, found.date)),
        (None, None) => commit.map(|sha| (sha.clone(), None)),
    };
    let Some((revision, date)) = found else { return Ok(MadeFrom::default()) };
    let is_of_run = event.commit.as_ref() == Some(&revision);
    Ok(MadeFrom { date: date.or(event.date.filter(|_| is_of_run)), revision: Some(revision) })
}

/// The facts about the repository, without GitHub and without an event that describes it.
fn elsewhere(plan: &Plan, event: &Event) -> Result<RepositoryFacts, FactsError> {
    if let Some(stated) = &plan.stated.repository {
        return Ok(stated.clone());
    }
    let origin = event.work_tree.as_ref().map(WorkTree::origin).transpose()?.flatten();
    Ok(origin.as_deref().and_then(RepositoryFacts::at).unwrap_or_default())
}

fn repository(facts: github::Facts) -> RepositoryFacts {
    RepositoryFacts {
        name: facts.name,
        full_name: facts.full_name,
        description: facts.description.unwrap_or_default(),
        html_url: facts.html_url,
        license: facts.license.and_then(|license| license.spdx_id).unwrap_or_default(),
    }
}

/// The release of a plan's version at GitHub.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The release, if it is published.
    pub release: Option<Release>,
    /// Whether the release, or its draft, is marked as a pre-release. `None` if there is neither, or without GitHub.
    pub prerelease: Option<bool>,
}

impl Found {
    /// A clause that says that GitHub has no published release of the plan's version.
    #[must_use]
    pub fn unreleased(&self, plan: &Plan, github: Option<&GitHub>) -> Option<String> {
        let (Some(wanted), Some(_), None) = (&plan.release, github, &self.release) else { return None };
        let tags: Vec<String> = wanted.tags.iter().map(|tag| format!("`{tag}`")).collect();
        Some(format!("GitHub has no published release {} yet", tags.join(" or ")))
    }
}

/// Finds the release of the plan's version. Only a `release` event requires one: images are often published before the
/// release.
///
/// # Errors
/// GitHub doesn't answer, or the run was started by a release that is gone.
pub async fn find_release(plan: &Plan, event: &Event, github: Option<&GitHub>) -> Result<Found, FactsError> {
    let (Some(wanted), Some(github)) = (&plan.release, github) else { return Ok(Found::default()) };
    let tags: Vec<&str> = wanted.tags.iter().map(String::as_str).collect();
    if let Some(release) = github.find_release(&tags).await? {
        return Ok(Found { prerelease: Some(release.prerelease), release: Some(release) });
    }
    if event.is_release() && !plan.dry_run {
        return Err(FactsError::NoRelease(wanted.tags.first().cloned().unwrap_or_default()));
    }
    let flagged = github.standing(&tags).await? == Standing::Prerelease;
    Ok(Found { release: None, prerelease: flagged.then_some(true) })
}

/// The OCI annotations that differ between variants: version and base. The name of a base on a loopback registry is
/// left out: it means nothing on other machines, and the same base would give different bytes. `scratch` isn't an
/// image, and has neither name nor digest.
#[must_use]
pub fn of_variant(version: &str, base: Option<(&Reference, &Digest)>) -> Annotations {
    let name = base.filter(|(base, _)| !base.repository().is_on_loopback()).map(|(base, _)| base.to_string());
    let digest = base.map(|(_, digest)| digest.to_string());
    let own = [("version", Some(version.to_owned())), ("base.name", name), ("base.digest", digest)];
    own.into_iter().filter_map(|(key, value)| Some((format!("{PREFIX}{key}"), value?))).collect()
}
